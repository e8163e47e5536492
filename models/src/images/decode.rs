//! From the bytes of a file to RGB pixels, within limits that have names.
//!
//! Pixels are what Pillow's `convert("RGB")` gives: palettes are looked up, grey is repeated, alpha
//! is dropped, and of 16 bits the upper eight are kept. (Pillow clips 16-bit grey instead, which
//! makes such pictures white.) Colour profiles are not applied, as none of the models' own
//! processors do.

use std::io::Cursor;

use image::metadata::Orientation;
use image::{DynamicImage, ImageDecoder, ImageFormat, ImageReader, Limits};

use super::exif::{self, Taken};
use super::png::Png;
use super::{ImageError, sniff};
use crate::error::one_line;
use crate::panics::caught;

/// The largest file that is read.
pub const FILE_BYTES_MAX: u64 = 64 << 20;

/// Most pixels of an image.
pub const PIXELS_MAX: u64 = 100_000_000;

/// Most pixels on a side.
pub const SIDE_MAX: u64 = 1 << 20;

/// Most memory of one decoded image, what the decoder needs besides included.
pub const DECODED_BYTES_MAX: u64 = 512 << 20;

/// An image of eight bits a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pixels {
    /// Columns.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// Red, green and blue of each pixel, row by row: `3 · width · height` bytes.
    pub rgb: Vec<u8>,
}

/// What the header of an image says; its pixels are not decoded.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageInfo {
    /// Columns, as stored: before it is turned upright.
    pub width: u32,
    /// Rows, as stored.
    pub height: u32,
    /// `JPEG`, `PNG`, `WebP`, `GIF`, `BMP` or `TIFF`.
    pub format: &'static str,
    /// When and where it was taken, as far as its EXIF data say.
    pub taken: Taken,
}

/// Decodes an image. With `upright` it is turned as its EXIF orientation says.
///
/// Takes milliseconds for a megapixel, and at most [`DECODED_BYTES_MAX`] bytes and half as much
/// again for the result.
///
/// # Examples
/// ```
/// use sembla_models::images::decode;
///
/// let gif = b"GIF89a\x01\0\x01\0\x80\0\0\xff\0\0\0\0\0,\0\0\0\0\x01\0\x01\0\0\x02\x02D\x01\0;";
/// let pixels = decode(gif, true)?;
/// assert_eq!((pixels.width, pixels.height, &pixels.rgb[..]), (1, 1, &[255, 0, 0][..]));
///
/// let error = decode(b"<svg xmlns='http://www.w3.org/2000/svg'/>", true).unwrap_err();
/// assert!(error.to_string().starts_with("is an SVG drawing"));
/// # Ok::<(), sembla_models::images::ImageError>(())
/// ```
///
/// # Errors
/// [`ImageError`], in one line that says what to do.
pub fn decode(bytes: &[u8], upright: bool) -> Result<Pixels, ImageError> {
    let format = check_start(bytes)?;
    guarded(format, || {
        let (mut image, turn) = match format {
            ImageFormat::Png => {
                let png = open_png(bytes)?;
                let turn = png.exif.as_deref().and_then(Orientation::from_exif_chunk);
                (png.decode(|problem| damaged(format, problem))?, turn)
            }
            _ => {
                let mut decoder = open(bytes, format)?;
                let turn = decoder.orientation().ok();
                let image = DynamicImage::from_decoder(decoder);
                (image.map_err(|error| explain(format, &error))?, turn)
            }
        };
        if let (true, Some(turn)) = (upright, turn) {
            image.apply_orientation(turn);
        }
        Ok(rgb(image))
    })
}

/// Reads the header of an image.
///
/// # Errors
/// [`ImageError`], as far as the header shows it.
pub fn describe(bytes: &[u8]) -> Result<ImageInfo, ImageError> {
    let format = check_start(bytes)?;
    guarded(format, || {
        let (size, exif) = match format {
            ImageFormat::Png => {
                let png = open_png(bytes)?;
                ((png.width, png.height), png.exif)
            }
            _ => {
                let mut decoder = open(bytes, format)?;
                let exif = match format {
                    // EXIF data have the form of a TIFF file, and such a file has them itself.
                    ImageFormat::Tiff => Some(bytes.to_vec()),
                    _ => decoder.exif_metadata().ok().flatten(),
                };
                (decoder.dimensions(), exif)
            }
        };
        let taken = exif.map(exif::taken).unwrap_or_default();
        Ok(ImageInfo { width: size.0, height: size.1, format: sniff::name(format), taken })
    })
}

/// What can be seen without a decoder.
fn check_start(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
    let format = sniff::format(bytes)?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        return Err(ImageError::FileTooLarge(bytes.len() as u64));
    }
    if format == ImageFormat::Jpeg && !has_end(bytes) {
        return Err(damaged(format, "it ends before the picture does"));
    }
    Ok(format)
}

/// Makes an error of a decoder's panic.
fn guarded<T>(
    format: ImageFormat,
    work: impl FnOnce() -> Result<T, ImageError>,
) -> Result<T, ImageError> {
    caught(work).unwrap_or_else(|panic| Err(damaged(format, &one_line(&panic))))
}

/// A decoder that has read the header, and whose image is within the limits.
fn open(bytes: &[u8], format: ImageFormat) -> Result<impl ImageDecoder + '_, ImageError> {
    let mut reader = ImageReader::with_format(Cursor::new(bytes), format);
    let mut limits = Limits::default();
    limits.max_alloc = Some(DECODED_BYTES_MAX);
    reader.limits(limits);
    let decoder = reader.into_decoder().map_err(|error| explain(format, &error))?;
    check_size(format, decoder.dimensions())?;
    if decoder.total_bytes() > DECODED_BYTES_MAX {
        return Err(ImageError::TooMuchMemory);
    }
    Ok(decoder)
}

/// The chunks of a PNG file whose image is within the limits.
fn open_png(bytes: &[u8]) -> Result<Png, ImageError> {
    let png = Png::open(bytes).map_err(|problem| damaged(ImageFormat::Png, &problem))?;
    check_size(ImageFormat::Png, (png.width, png.height))?;
    Ok(png)
}

fn check_size(format: ImageFormat, (width, height): (u32, u32)) -> Result<(), ImageError> {
    let (width, height) = (u64::from(width), u64::from(height));
    if width == 0 || height == 0 {
        return Err(damaged(format, "it has no pixels"));
    }
    if width > SIDE_MAX || height > SIDE_MAX || width * height > PIXELS_MAX {
        return Err(ImageError::TooManyPixels { width, height });
    }
    Ok(())
}

/// Whether a JPEG has its end mark. Its decoder would paint what is missing grey.
fn has_end(bytes: &[u8]) -> bool {
    let mut at = 2;
    // Segments until the first scan; what lies in them (a thumbnail, say) may have end marks.
    while let Some([0xff, kind, high, low]) = bytes.get(at..at + 4) {
        match kind {
            0xda => {
                let scans = bytes.get(at..).unwrap_or_default();
                return scans.windows(2).any(|pair| pair == [0xff, 0xd9]);
            }
            0xff => at += 1,
            _ => at += 2 + usize::from(u16::from_be_bytes([*high, *low])),
        }
    }
    // Something that the decoder names better.
    bytes.get(at).is_some()
}

fn damaged(format: ImageFormat, problem: &str) -> ImageError {
    ImageError::Damaged { format: sniff::name(format), problem: problem.to_string() }
}

/// A decoder's error as one of ours.
fn explain(format: ImageFormat, error: &image::ImageError) -> ImageError {
    match error {
        image::ImageError::Limits(_) => ImageError::TooMuchMemory,
        other => {
            let said = one_line(&other.to_string());
            let problem = said.rsplit_once("`: ").map_or(said.as_str(), |(_, what)| what);
            damaged(format, problem)
        }
    }
}

/// The pixels of whatever a decoder gave.
fn rgb(image: DynamicImage) -> Pixels {
    let (width, height) = (image.width() as usize, image.height() as usize);
    let upper = |value: u16| (value >> 8) as u8;
    let float = |value: f32| (value.clamp(0.0, 1.0) * 255.0).round() as u8;
    let rgb = match image {
        DynamicImage::ImageRgb8(image) => image.into_raw(),
        DynamicImage::ImageRgba8(image) => colours(image.as_raw(), 4, |value| value),
        DynamicImage::ImageLuma8(image) => greys(image.as_raw(), 1, |value| value),
        DynamicImage::ImageLumaA8(image) => greys(image.as_raw(), 2, |value| value),
        DynamicImage::ImageLuma16(image) => greys(image.as_raw(), 1, upper),
        DynamicImage::ImageLumaA16(image) => greys(image.as_raw(), 2, upper),
        DynamicImage::ImageRgb16(image) => colours(image.as_raw(), 3, upper),
        DynamicImage::ImageRgba16(image) => colours(image.as_raw(), 4, upper),
        DynamicImage::ImageRgb32F(image) => colours(image.as_raw(), 3, float),
        DynamicImage::ImageRgba32F(image) => colours(image.as_raw(), 4, float),
        other => other.into_rgb8().into_raw(),
    };
    Pixels { width, height, rgb }
}

/// The first three of `channels` values of each pixel.
fn colours<T: Copy>(values: &[T], channels: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
    values.chunks_exact(channels).flat_map(|pixel| [0, 1, 2].map(|i| byte(pixel[i]))).collect()
}

/// The first of `channels` values of each pixel, three times.
fn greys<T: Copy>(values: &[T], channels: usize, byte: impl Fn(T) -> u8) -> Vec<u8> {
    values.chunks_exact(channels).flat_map(|pixel| [byte(pixel[0]); 3]).collect()
}
