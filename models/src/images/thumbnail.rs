//! A small JPEG of an image, for pages that people look at.

use image::ExtendedColorType;
use image::codecs::jpeg::JpegEncoder;

use super::Pixels;
use super::resize::{Filter, Window, resize};

/// Quality of the JPEG, of 100.
const QUALITY: u8 = 80;

/// The image within `side` × `side` pixels, never larger than it is, as a JPEG file.
///
/// `None` where the encoder gives up, which it does for no image of such a size.
pub fn thumbnail(pixels: &Pixels, side: usize) -> Option<Vec<u8>> {
    let side = side.clamp(1, 4096);
    let longest = pixels.width.max(pixels.height).max(1);
    let scaled = |length: usize| match longest > side {
        true => (length * side / longest).max(1),
        false => length,
    };
    let (width, height) = (scaled(pixels.width), scaled(pixels.height));
    let full = (width as u64, height as u64);
    let rgb = resize(pixels, full, Window::whole(width, height), Filter::Bicubic);
    let mut file = Vec::new();
    let encoder = JpegEncoder::new_with_quality(&mut file, QUALITY);
    let (width, height) = (u32::try_from(width).ok()?, u32::try_from(height).ok()?);
    let mut encoder = encoder;
    encoder.encode(&rgb, width, height, ExtendedColorType::Rgb8).ok()?;
    Some(file)
}
