//! From an image to the numbers that a model sees, as its `preprocessor_config.json` says.
//!
//! The steps are those of the image processors of the Python library `transformers` in their Pillow
//! form: resize (by the shortest edge or to a size), crop from the centre, scale, normalise. What a
//! file says and this can't do is an error when the model loads. Graphs take patches, one row each,
//! rather than a picture: what a convolution with the stride of its kernel sees at once.

use serde_json::Value;

use super::Pixels;
use super::resize::{Filter, Window, resize};

/// The longest side that a model may see.
const SEEN_SIDE_MAX: u64 = 4096;

/// What holds where the file says nothing.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Defaults {
    /// Whether a single number for the size means the shortest edge, which is then cropped.
    pub(crate) crops: bool,
    /// Pixels on a side.
    pub(crate) side: usize,
    pub(crate) mean: [f64; 3],
    pub(crate) deviation: [f64; 3],
}

/// To which size an image is brought before it is cropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Target {
    /// Its shorter side has so many pixels, and the other keeps the proportion.
    Shortest(u64),
    /// Exactly so many columns and rows.
    Exact(u64, u64),
}

/// The steps before a model.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Preprocessing {
    target: Option<Target>,
    filter: Filter,
    /// Columns and rows that are kept around the centre.
    crop: Option<(u64, u64)>,
    /// The number that each value of each channel becomes.
    values: [Vec<f32>; 3],
}

impl Preprocessing {
    /// Reads the contents of a `preprocessor_config.json` (`Value::Null` where there is none).
    ///
    /// # Errors
    /// What is wrong with it, in words that go after its path.
    pub(crate) fn read(config: &Value, defaults: Defaults) -> Result<Self, String> {
        let flag = |key: &str, default: bool| match config.get(key) {
            None | Some(Value::Null) => Ok(default),
            Some(value) => {
                value.as_bool().ok_or(format!("{key} must be true or false, got {value}"))
            }
        };
        if flag("do_pad", false)? {
            return Err("do_pad is not supported".into());
        }
        let side = defaults.side as u64;
        let target = match flag("do_resize", true)? {
            true => Some(target(config.get("size"), defaults)?),
            false => None,
        };
        let crop = match flag("do_center_crop", defaults.crops)? {
            true => Some(size(config.get("crop_size"), "crop_size")?.unwrap_or((side, side))),
            false => None,
        };
        let filter = match config.get("resample") {
            None | Some(Value::Null) => Filter::Bicubic,
            Some(number) => number
                .as_u64()
                .and_then(Filter::numbered)
                .ok_or(format!("resample must be a filter of Pillow, 0 to 5, got {number}"))?,
        };
        let scale = match (flag("do_rescale", true)?, config.get("rescale_factor")) {
            (false, _) => 1.0,
            (true, None | Some(Value::Null)) => 1.0 / 255.0,
            (true, Some(factor)) => finite(factor, "rescale_factor")?,
        };
        let (mean, deviation) = match flag("do_normalize", true)? {
            true => (
                channels(config, "image_mean", defaults.mean)?,
                channels(config, "image_std", defaults.deviation)?,
            ),
            false => ([0.0; 3], [1.0; 3]),
        };
        if deviation.contains(&0.0) {
            return Err("image_std must not be 0".into());
        }
        let values = std::array::from_fn(|channel| {
            let (mean, deviation) = (mean[channel] as f32, deviation[channel] as f32);
            let value = |byte| ((f64::from(byte) * scale) as f32 - mean) / deviation;
            (0..=255_u8).map(value).collect()
        });
        Ok(Self { target, filter, crop, values })
    }

    /// Columns and rows of what comes out, where that is one size for all images.
    pub(crate) fn seen(&self) -> Option<(u64, u64)> {
        match (self.crop, self.target) {
            (Some(crop), _) => Some(crop),
            (None, Some(Target::Exact(width, height))) => Some((width, height)),
            (None, _) => None,
        }
    }

    /// The image as a model sees it, cropped but in bytes: `3 · width · height` of them.
    fn cropped(&self, image: &Pixels) -> Pixels {
        let (width, height) = (image.width as u64, image.height as u64);
        let full = match self.target {
            None => (width, height),
            Some(Target::Exact(width, height)) => (width, height),
            Some(Target::Shortest(side)) if width <= height => (side, longer(side, height, width)),
            Some(Target::Shortest(side)) => (longer(side, width, height), side),
        };
        let kept = self.crop.unwrap_or(full);
        let (left, columns, before) = cut(full.0, kept.0);
        let (top, rows, above) = cut(full.1, kept.1);
        let window = Window { left, top, width: columns, height: rows };
        let rgb = resize(image, full, window, self.filter);
        let (width, height) = (kept.0 as usize, kept.1 as usize);
        if (columns, rows) == (width, height) {
            return Pixels { width, height, rgb };
        }
        // A crop that is larger than the picture has black around it.
        let mut around = vec![0; 3 * width * height];
        for (row, source) in rgb.chunks_exact((3 * columns).max(1)).enumerate() {
            let at = 3 * ((above + row) * width + before);
            around[at..at + source.len()].copy_from_slice(source);
        }
        Pixels { width, height, rgb: around }
    }

    /// The image as patches of `side` × `side` pixels, row by row, appended to `patches`: for each
    /// patch all its red values row by row, then green, then blue. What is left at the right and
    /// below after whole patches is not seen.
    pub(crate) fn patches(&self, image: &Pixels, side: usize, patches: &mut Vec<f32>) {
        let seen = self.cropped(image);
        for top in (0..(seen.height / side) * side).step_by(side) {
            for left in (0..(seen.width / side) * side).step_by(side) {
                for (channel, values) in self.values.iter().enumerate() {
                    for row in top..top + side {
                        let at = 3 * (row * seen.width + left);
                        let pixels = seen.rgb[at..at + 3 * side].chunks_exact(3);
                        patches.extend(pixels.map(|pixel| values[usize::from(pixel[channel])]));
                    }
                }
            }
        }
    }
}

/// The longer side that goes with a shorter one of `side`.
fn longer(side: u64, long: u64, short: u64) -> u64 {
    side * long / short.max(1)
}

/// Where a crop from the centre begins, how much of the picture it has, and how much room is before
/// that.
fn cut(full: u64, kept: u64) -> (u64, usize, usize) {
    match full >= kept {
        true => ((full - kept) / 2, kept as usize, 0),
        false => (0, full as usize, (kept - full).div_ceil(2) as usize),
    }
}

/// What `size` asks for.
fn target(value: Option<&Value>, defaults: Defaults) -> Result<Target, String> {
    let side = defaults.side as u64;
    let shortest = match value {
        None | Some(Value::Null) => defaults.crops.then_some(side),
        Some(value) => match value.get("shortest_edge") {
            Some(edge) if value.get("longest_edge").is_none_or(Value::is_null) => {
                Some(pixels(edge, "size.shortest_edge")?)
            }
            Some(_) => return Err("size with a longest_edge is not supported".into()),
            None if value.is_u64() && defaults.crops => Some(pixels(value, "size")?),
            None => None,
        },
    };
    if let Some(edge) = shortest {
        return Ok(Target::Shortest(edge));
    }
    let (width, height) = size(value, "size")?.unwrap_or((side, side));
    Ok(Target::Exact(width, height))
}

/// Columns and rows, from one number or from both.
fn size(value: Option<&Value>, key: &str) -> Result<Option<(u64, u64)>, String> {
    let Some(value) = value.filter(|value| !value.is_null()) else { return Ok(None) };
    if value.is_number() {
        let side = pixels(value, key)?;
        return Ok(Some((side, side)));
    }
    if let Some(edge) = value.get("shortest_edge") {
        let side = pixels(edge, key)?;
        return Ok(Some((side, side)));
    }
    match (value.get("width"), value.get("height")) {
        (Some(width), Some(height)) => Ok(Some((pixels(width, key)?, pixels(height, key)?))),
        _ => Err(format!("{key} must have height and width, or shortest_edge, got {value}")),
    }
}

/// A number of pixels on a side.
fn pixels(value: &Value, key: &str) -> Result<u64, String> {
    value
        .as_u64()
        .filter(|pixels| (1..=SEEN_SIDE_MAX).contains(pixels))
        .ok_or(format!("{key} must be 1 to {SEEN_SIDE_MAX} pixels, got {value}"))
}

fn finite(value: &Value, key: &str) -> Result<f64, String> {
    let number = value.as_f64().filter(|number| number.is_finite());
    number.ok_or(format!("{key} must be a number, got {value}"))
}

/// A number for each channel, or one for all.
fn channels(config: &Value, key: &str, default: [f64; 3]) -> Result<[f64; 3], String> {
    let Some(value) = config.get(key).filter(|value| !value.is_null()) else { return Ok(default) };
    if value.is_number() {
        return Ok([finite(value, key)?; 3]);
    }
    let items: Option<&[Value; 3]> =
        value.as_array().and_then(|items| items.as_slice().try_into().ok());
    let [red, green, blue] =
        items.ok_or(format!("{key} must have a number for each of 3 channels, got {value}"))?;
    Ok([finite(red, key)?, finite(green, key)?, finite(blue, key)?])
}
