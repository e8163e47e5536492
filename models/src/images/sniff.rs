//! What bytes are, by their contents: the formats that are decoded, and the names of others.

use image::ImageFormat;

use super::ImageError;

/// Ends of the names of image files.
const ENDINGS: &[&str] =
    &["jpg", "jpeg", "jpe", "jfif", "png", "webp", "gif", "bmp", "dib", "tif", "tiff"];

/// Whether a file is called like an image. What it is shows only its contents.
pub fn has_image_name(name: &str) -> bool {
    let ending = name.rsplit_once('.').map(|(_, ending)| ending);
    ending.is_some_and(|ending| ENDINGS.iter().any(|known| known.eq_ignore_ascii_case(ending)))
}

/// The name of a format that is decoded.
pub(super) fn name(format: ImageFormat) -> &'static str {
    match format {
        ImageFormat::Jpeg => "JPEG",
        ImageFormat::Png => "PNG",
        ImageFormat::WebP => "WebP",
        ImageFormat::Gif => "GIF",
        ImageFormat::Bmp => "BMP",
        ImageFormat::Tiff => "TIFF",
        _ => "image",
    }
}

/// The format of an image that can be decoded.
///
/// # Errors
/// [`ImageError::Empty`], [`ImageError::OtherFormat`] where the bytes are something else that has a
/// name, [`ImageError::NotAnImage`] where they are not.
pub(super) fn format(bytes: &[u8]) -> Result<ImageFormat, ImageError> {
    if bytes.is_empty() {
        return Err(ImageError::Empty);
    }
    let known = match bytes {
        [0xff, 0xd8, 0xff, ..] => ImageFormat::Jpeg,
        [0x89, b'P', b'N', b'G', 0x0d, 0x0a, 0x1a, 0x0a, ..] => ImageFormat::Png,
        [b'G', b'I', b'F', b'8', b'7' | b'9', b'a', ..] => ImageFormat::Gif,
        [b'R', b'I', b'F', b'F', _, _, _, _, b'W', b'E', b'B', b'P', ..] => ImageFormat::WebP,
        [b'I', b'I', 42, 0, ..] | [b'M', b'M', 0, 42, ..] => ImageFormat::Tiff,
        [b'B', b'M', ..] if bytes.len() >= 26 => ImageFormat::Bmp,
        _ => return Err(other(bytes).map_or(ImageError::NotAnImage, ImageError::OtherFormat)),
    };
    Ok(known)
}

/// The name of what is no image, or none that is read.
fn other(bytes: &[u8]) -> Option<&'static str> {
    let brand = bytes.get(4..12).filter(|name| name.starts_with(b"ftyp")).map(|name| &name[4..]);
    if let Some(brand) = brand {
        return Some(match brand {
            b"heic" | b"heix" | b"mif1" | b"msf1" => "a HEIC picture: save it as JPEG",
            b"avif" | b"avis" => "an AVIF picture: save it as JPEG or PNG",
            _ => "a video",
        });
    }
    let starts: [(&[u8], &str); 11] = [
        (b"%PDF", "a PDF document"),
        (b"\xff\x0a", "a JPEG XL picture: save it as JPEG or PNG"),
        (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture: save it as JPEG or PNG"),
        (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture: save it as JPEG or PNG"),
        (b"8BPS", "a Photoshop file: save it as PNG"),
        (b"\x00\x00\x01\x00", "an icon (ICO): save it as PNG"),
        (b"II+\0", "a BigTIFF picture: save it as TIFF or PNG"),
        (b"MM\0+", "a BigTIFF picture: save it as TIFF or PNG"),
        (b"PK\x03\x04", "a ZIP archive"),
        (b"\x1f\x8b", "a gzip file"),
        (b"PAR1", "a Parquet file"),
    ];
    let found = starts.iter().find(|(start, _)| bytes.starts_with(start));
    found.map(|(_, name)| *name).or_else(|| text(bytes))
}

/// Markup and text, by the first kilobyte.
fn text(bytes: &[u8]) -> Option<&'static str> {
    let start = &bytes[..bytes.len().min(1024)];
    let has = |what: &[u8]| start.windows(what.len()).any(|part| part.eq_ignore_ascii_case(what));
    if has(b"<svg") {
        return Some("an SVG drawing, which has no pixels: render it to PNG");
    }
    if has(b"<html") || has(b"<!doctype html") {
        return Some("an HTML page");
    }
    let is_text = std::str::from_utf8(start).map_or_else(
        // A character that the kilobyte cuts is no fault.
        |error| error.error_len().is_none() && error.valid_up_to() > 0,
        |_| true,
    );
    let printable = start.iter().all(|byte| *byte >= 0x20 || matches!(byte, b'\t' | b'\r' | b'\n'));
    (is_text && printable).then_some("text")
}
