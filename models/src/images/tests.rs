//! Decoding and preparation against Pillow and the processors of `transformers`, and hostile files.
//! `scripts/make-image-fixtures.py` makes the files and what is expected of them.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use super::resize::{Filter, Window, resize};
use super::*;

const SIDE: usize = 32;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures/images")
}

/// All images with their names.
fn files() -> Vec<(String, Vec<u8>)> {
    let is_image = |name: &str| {
        [".png", ".jpg", ".webp", ".gif", ".bmp", ".tiff"].iter().any(|end| name.ends_with(end))
    };
    let mut files: Vec<(String, Vec<u8>)> = std::fs::read_dir(folder())
        .expect("fixtures")
        .map(|entry| entry.expect("an entry"))
        .map(|entry| (entry.file_name().to_string_lossy().into_owned(), entry.path()))
        .filter(|(name, _)| is_image(name))
        .map(|(name, path)| (name, std::fs::read(path).expect("a file")))
        .collect();
    files.sort();
    assert!(files.len() >= 20, "{} images", files.len());
    files
}

fn file(name: &str) -> Vec<u8> {
    std::fs::read(folder().join(name)).expect(name)
}

fn processor(name: &str) -> Preprocessing {
    let clip = Defaults {
        crops: true,
        side: SIDE,
        mean: [0.481_454_66, 0.457_827_5, 0.408_210_73],
        deviation: [0.268_629_54, 0.261_302_58, 0.275_777_11],
    };
    let siglip = Defaults { crops: false, side: SIDE, mean: [0.5; 3], deviation: [0.5; 3] };
    let defaults = if name == "clip" { clip } else { siglip };
    Preprocessing::read(&Value::Null, defaults).expect("defaults")
}

/// The largest and the mean difference of what a model sees and what the library makes of a file.
fn difference(name: &str, bytes: &[u8], processor_name: &str) -> (f32, f32) {
    let pixels = decode(bytes, false).expect(name);
    let mut seen = Vec::new();
    processor(processor_name).patches(&pixels, SIDE, &mut seen);
    let expected = file(&format!("{name}.{processor_name}"));
    let expected = expected.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes));
    assert_eq!(seen.len(), 3 * SIDE * SIDE, "{name}");
    let differences: Vec<f32> =
        seen.iter().zip(expected).map(|(seen, expected)| (seen - expected).abs()).collect();
    assert_eq!(differences.len(), seen.len(), "{name}");
    let largest = differences.iter().fold(0f32, |largest, value| largest.max(*value));
    (largest, differences.iter().sum::<f32>() / differences.len() as f32)
}

/// Lossless files to the last bit; JPEG within what two decoders may differ by, a step or two of
/// 255 in some values, mostly where colours are stored at half the size.
#[test]
fn every_kind_of_file_is_prepared_as_by_transformers() {
    for (name, bytes) in files() {
        let (largest_max, mean_max) =
            if name.ends_with(".jpg") { (0.03, 0.006) } else { (1e-6, 1e-6) };
        for processor in ["clip", "siglip"] {
            let (largest, mean) = difference(&name, &bytes, processor);
            let what = format!("{name}, {processor}: largest {largest}, mean {mean}");
            assert!(largest <= largest_max && mean <= mean_max, "{what}");
        }
    }
}

#[test]
fn hashes_are_those_of_imagehash() {
    let expected: Value = serde_json::from_slice(&file("hashes.json")).expect("JSON");
    // What has one colour, or is one pixel wide or high, lacks frequencies, and the library's hash
    // of those is what rounding leaves.
    let others = ["grey16.png", "one-pixel.png", "tall.png", "wide.png"];
    for (name, bytes) in files().into_iter().filter(|(name, _)| !others.contains(&&**name)) {
        let hash = perceptual_hash(&decode(&bytes, false).expect(&name));
        let want = expected[&name].as_str().expect("a hash");
        let want = u64::from_str_radix(want, 16).expect("digits");
        let bits = if name.ends_with(".jpg") { 2 } else { 0 };
        assert!((hash ^ want).count_ones() <= bits, "{name}: {hash:016x} is not {want:016x}");
    }
    let one = decode(&file("one-pixel.png"), false).expect("an image");
    assert_eq!(perceptual_hash(&one), 1 << 63, "only the mean is above the median");
    let small = decode(&file("photo.jpg"), false).expect("a photo");
    let thumbnail = thumbnail(&small, 128).expect("a thumbnail");
    let copy = perceptual_hash(&decode(&thumbnail, false).expect("a JPEG"));
    assert!((copy ^ perceptual_hash(&small)).count_ones() <= 4, "a smaller copy looks the same");
}

#[test]
fn headers_say_size_format_time_and_place() {
    for (name, width, height, format) in [
        ("rgb.png", 97, 61, "PNG"),
        ("tall.png", 1, 5000, "PNG"),
        ("photo.jpg", 500, 350, "JPEG"),
        ("lossy.webp", 300, 200, "WebP"),
        ("moving.gif", 97, 61, "GIF"),
        ("rgb.bmp", 97, 61, "BMP"),
        ("lzw.tiff", 97, 61, "TIFF"),
    ] {
        let info = describe(&file(name)).expect(name);
        assert_eq!((info.width, info.height, info.format), (width, height, format), "{name}");
        assert_eq!(info.taken, Taken::default(), "{name}");
    }
    let taken = describe(&file("turned.jpg")).expect("a photo").taken;
    assert_eq!(taken.time, Some([2024, 5, 17, 8, 30, 15]));
    let near = |got: Option<f64>, want: f64| got.is_some_and(|got| (got - want).abs() < 1e-4);
    assert!(near(taken.latitude, -33.8568) && near(taken.longitude, 151.215), "{taken:?}");
}

#[test]
fn exif_orientation_turns_the_picture() {
    let turned = file("turned.jpg");
    let (stored, upright) = (decode(&turned, false), decode(&turned, true));
    let (stored, upright) = (stored.expect("a photo"), upright.expect("a photo"));
    assert_eq!((stored.width, stored.height), (120, 80));
    assert_eq!((upright.width, upright.height), (80, 120));
    // Orientation 6: the stored picture is turned by 90 degrees clockwise.
    assert_eq!(upright.rgb[3 * 79..3 * 80], stored.rgb[..3]);
}

/// A part of a resized image is that part of the whole one.
#[test]
fn a_window_is_a_part_of_the_whole() {
    let image = decode(&file("rgb.png"), false).expect("an image");
    for filter in [0, 1, 2, 3, 4, 5].map(|number| Filter::numbered(number).expect("a filter")) {
        for (width, height) in [(40, 33), (97, 61), (200, 150), (5, 300)] {
            let full = (width as u64, height as u64);
            let whole = resize(&image, full, Window::whole(width, height), filter);
            let (left, top) = (width / 5, height / 3);
            let window = Window {
                left: left as u64,
                top: top as u64,
                width: width - 2 * left,
                height: height - 2 * top,
            };
            let part = resize(&image, full, window, filter);
            let rows = part.chunks_exact(3 * window.width).enumerate();
            for (row, got) in rows {
                let at = 3 * ((top + row) * width + left);
                assert!(got == &whole[at..at + got.len()], "{filter:?} {width} x {height}");
            }
        }
    }
}

/// The patches of a picture hold its values where a convolution would read them.
#[test]
fn patches_lie_row_by_row() {
    let pixels = decode(&file("rgb.png"), false).expect("an image");
    let (mut whole, mut patches) = (Vec::new(), Vec::new());
    processor("clip").patches(&pixels, SIDE, &mut whole);
    processor("clip").patches(&pixels, 10, &mut patches);
    assert_eq!(patches.len(), 9 * 300, "two columns and rows are left over");
    for (at, value) in patches.iter().enumerate() {
        let (patch, channel, row, column) = (at / 300, at / 100 % 3, at / 10 % 10, at % 10);
        let (row, column) = (patch / 3 * 10 + row, patch % 3 * 10 + column);
        assert_eq!(*value, whole[channel * SIDE * SIDE + row * SIDE + column]);
    }
}

#[test]
fn what_is_no_image_is_named() {
    let png = file("rgb.png");
    let mut bomb = png.clone();
    bomb[16..24].copy_from_slice(&[0x7f, 0xff, 0xff, 0xff, 0x7f, 0xff, 0xff, 0xff]);
    let mut huge = b"BM".to_vec();
    huge.extend([0; 12]);
    huge.extend(40_u32.to_le_bytes());
    huge.extend(i32::MAX.to_le_bytes());
    huge.extend(i32::MAX.to_le_bytes());
    huge.extend([1, 0, 24, 0]);
    huge.extend([0; 24]);
    let photo = file("photo.jpg");
    for (bytes, why) in [
        (&b""[..], "is empty"),
        (b"<?xml version='1.0'?><svg width='9'/>", "is an SVG drawing"),
        (b"%PDF-1.7 ...", "is a PDF document"),
        (b"\0\0\0\x18ftypheic....", "HEIC"),
        (b"just words", "is text; supported are JPEG"),
        (b"<html><body>404</body></html>", "is an HTML page"),
        (&[1, 2, 3, 4, 5, 6, 7, 8, 200, 201][..], "is not an image"),
        (&png[..png.len() / 2], "is a damaged PNG file"),
        (&photo[..photo.len() - 40], "is a damaged JPEG file: it ends before the picture does"),
        (&bomb, "pixels"),
        (&huge, ""),
    ] {
        let message = decode(bytes, true).expect_err(why).to_string();
        assert!(message.contains(why), "{message}");
        assert!(!message.contains('\n') && message.len() < 220, "{message}");
    }
}

/// Changed files give a picture or an error, never a panic that gets out, and never more pixels
/// than the limit.
#[test]
fn a_thousand_changed_files_do_no_harm() {
    let mut state = 0x2545_F491_4F6C_DD1D_u64;
    let mut random = |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below.max(1) as u64) as usize
    };
    let small: Vec<_> = files().into_iter().filter(|(_, bytes)| bytes.len() < 60_000).collect();
    let (mut sound, mut refused) = (0, 0);
    for step in 0..1000 {
        let (name, mut bytes) = small[step % small.len()].clone();
        for _ in 0..=random(6) {
            let at = random(bytes.len());
            match random(5) {
                0 => bytes.truncate(at.max(1)),
                1 => bytes[at] ^= 1 << random(8),
                2 => bytes[at] = [0, 0xff, 0x7f, 0x80][random(4)],
                // Headers are where sizes are.
                3 => {
                    let at = random(bytes.len().min(64));
                    bytes[at] = random(256) as u8;
                }
                _ => {
                    let piece = bytes[at..(at + random(40)).min(bytes.len())].to_vec();
                    bytes.splice(at..at, piece);
                }
            }
        }
        let _ = describe(&bytes);
        match decode(&bytes, true) {
            Ok(pixels) => {
                sound += 1;
                assert_eq!(pixels.rgb.len(), 3 * pixels.width * pixels.height, "{name}, {step}");
                assert!((pixels.width * pixels.height) as u64 <= PIXELS_MAX, "{name}, {step}");
            }
            Err(error) => {
                refused += 1;
                assert!(!error.to_string().contains('\n'), "{name}, {step}: {error}");
            }
        }
    }
    assert!(sound > 100 && refused > 100, "{sound} sound, {refused} refused");
}

#[test]
fn settings_that_cannot_be_followed_are_named() {
    let defaults = Defaults { crops: true, side: 224, mean: [0.5; 3], deviation: [0.5; 3] };
    let read = |config: &Value| Preprocessing::read(config, defaults);
    for (config, why) in [
        (json!({"size": {"shortest_edge": 0}}), "size.shortest_edge must be 1 to 4096"),
        (json!({"size": {"longest_edge": 9, "shortest_edge": 9}}), "longest_edge"),
        (json!({"size": {"width": 9}}), "size must have height and width"),
        (json!({"crop_size": 100_000}), "crop_size must be 1 to 4096"),
        (json!({"resample": 9}), "resample must be a filter"),
        (json!({"image_std": [0, 1, 1]}), "image_std must not be 0"),
        (json!({"image_mean": [0.5, 0.5]}), "image_mean must have a number for each of 3"),
        (json!({"do_resize": "yes"}), "do_resize must be true or false"),
        (json!({"do_pad": true}), "do_pad is not supported"),
    ] {
        let message = read(&config).expect_err(why);
        assert!(message.contains(why), "{message}");
    }
    assert_eq!(
        read(&json!({"size": 32, "crop_size": 20})).expect("old form").seen(),
        Some((20, 20))
    );
    let exact = json!({"size": {"height": 20, "width": 30}, "do_center_crop": false});
    assert_eq!(read(&exact).expect("exact").seen(), Some((30, 20)));
    let any = json!({"do_center_crop": false});
    assert_eq!(read(&any).expect("any shape").seen(), None);
}
