//! Colours of groups that differ from their neighbours' and can be seen on white and on black.
//!
//! They lie on a circle of OKLCH, a space in which equal lightness looks equal
//! (<https://bottosson.github.io/posts/oklab>). Each next hue is the golden angle further, so that
//! the first few, which are the largest groups, are far apart; lightness goes in steps of its own.

/// Degrees between the hues of one group and the next.
const GOLDEN_ANGLE: f64 = 137.507_764;
/// The first hue: blue.
const FIRST_HUE: f64 = 256.0;
const LIGHTNESS: [f64; 3] = [0.66, 0.74, 0.58];
const CHROMA: f64 = 0.145;

/// The colour of group number `index`, as `#rrggbb`.
pub(super) fn colour(index: usize) -> String {
    let hue = (FIRST_HUE + GOLDEN_ANGLE * index as f64).to_radians();
    let lightness = LIGHTNESS.get(index % LIGHTNESS.len()).copied().unwrap_or(0.66);
    let [red, green, blue] = srgb(lightness, CHROMA * hue.cos(), CHROMA * hue.sin());
    format!("#{red:02x}{green:02x}{blue:02x}")
}

/// OKLab to sRGB; what lies outside is brought to the nearest edge.
fn srgb(lightness: f64, a: f64, b: f64) -> [u8; 3] {
    let l = (lightness + 0.396_337_777_4 * a + 0.215_803_757_3 * b).powi(3);
    let m = (lightness - 0.105_561_345_8 * a - 0.063_854_172_8 * b).powi(3);
    let s = (lightness - 0.089_484_177_5 * a - 1.291_485_548_0 * b).powi(3);
    [
        4.076_741_662_1 * l - 3.307_711_591_3 * m + 0.230_969_929_2 * s,
        -1.268_438_004_6 * l + 2.609_757_401_1 * m - 0.341_319_396_5 * s,
        -0.004_196_086_3 * l - 0.703_418_614_7 * m + 1.707_614_701_0 * s,
    ]
    .map(|linear| {
        let linear: f64 = linear.clamp(0.0, 1.0);
        let encoded = if linear <= 0.003_130_8 {
            12.92 * linear
        } else {
            1.055 * linear.powf(1.0 / 2.4) - 0.055
        };
        (encoded * 255.0).round() as u8
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_colours_come_out() {
        assert_eq!(srgb(1.0, 0.0, 0.0), [255, 255, 255]);
        assert_eq!(srgb(0.0, 0.0, 0.0), [0, 0, 0]);
        // OKLab of pure red.
        assert_eq!(srgb(0.627_955, 0.224_863, 0.125_846), [255, 0, 0]);
    }

    #[test]
    fn the_first_hundred_colours_differ() {
        let colours: std::collections::HashSet<_> = (0..100).map(colour).collect();
        assert_eq!(colours.len(), 100);
    }
}
