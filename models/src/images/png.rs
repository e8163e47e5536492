//! PNG files: the chunks that decide the picture are picked out and checked here, the rest
//! (profiles, texts, animation) is left out, and what remains is decoded by `zune-png`.

use image::{DynamicImage, GrayAlphaImage, GrayImage, RgbImage, RgbaImage};
use zune_core::bytestream::ZCursor;
use zune_core::options::DecoderOptions;
use zune_core::result::DecodingResult;
use zune_png::PngDecoder;

use super::ImageError;
use super::decode::{DECODED_BYTES_MAX, SIDE_MAX};
use crate::error::one_line;

/// Bytes before the first chunk.
const SIGNATURE: &[u8] = b"\x89PNG\r\n\x1a\n";

/// Chunks that decide the pixels.
const NEEDED: [&[u8; 4]; 5] = [b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"];

/// A file whose chunks are whole.
pub(super) struct Png {
    pub(super) width: u32,
    pub(super) height: u32,
    /// Most bytes of a decoded pixel.
    pixel_bytes: u64,
    /// The chunks that decide the pixels.
    file: Vec<u8>,
    pub(super) exif: Option<Vec<u8>>,
}

impl Png {
    /// Walks over the chunks.
    ///
    /// # Errors
    /// What is wrong with them.
    pub(super) fn open(bytes: &[u8]) -> Result<Self, String> {
        const SHORT: &str = "it ends before the picture does";
        let mut rest = bytes.strip_prefix(SIGNATURE).ok_or("it has no signature")?;
        let (mut file, mut exif, mut header) = (SIGNATURE.to_vec(), None, None);
        loop {
            let (length, after) = rest.split_first_chunk::<4>().ok_or(SHORT)?;
            let length = u32::from_be_bytes(*length) as usize;
            // The name before the contents, and a checksum behind them.
            let chunk = after.get(..length.saturating_add(8)).ok_or(SHORT)?;
            let (name, contents) = (&chunk[..4], &chunk[4..4 + length]);
            if header.is_none() {
                header = Some(Header::read(name, contents)?);
            }
            if NEEDED.iter().any(|needed| &needed[..] == name) {
                file.extend_from_slice(&rest[..chunk.len() + 4]);
            } else if name == b"eXIf" {
                exif = Some(contents.to_vec());
            } else if name[0].is_ascii_uppercase() {
                let name = String::from_utf8_lossy(name).escape_default().to_string();
                return Err(format!("it has a chunk '{name}' that is not known"));
            }
            if name == b"IEND" {
                break;
            }
            rest = &rest[chunk.len() + 4..];
        }
        let Header { width, height, pixel_bytes } = header.ok_or(SHORT)?;
        Ok(Self { width, height, pixel_bytes, file, exif })
    }

    /// The picture, which the caller has found to be small enough.
    ///
    /// # Errors
    /// [`ImageError::TooMuchMemory`], or what the decoder says.
    pub(super) fn decode(
        &self,
        damaged: impl Fn(&str) -> ImageError,
    ) -> Result<DynamicImage, ImageError> {
        let pixels = u64::from(self.width) * u64::from(self.height);
        // What is unpacked, and the picture that is made of it.
        if 2 * pixels * self.pixel_bytes > DECODED_BYTES_MAX {
            return Err(ImageError::TooMuchMemory);
        }
        let side = SIDE_MAX as usize;
        let options = DecoderOptions::default()
            .set_max_width(side)
            .set_max_height(side)
            .png_set_confirm_crc(true)
            .inflate_set_confirm_adler(true)
            .png_set_strip_to_8bit(true);
        let mut decoder = PngDecoder::new_with_options(ZCursor::new(&self.file), options);
        let decoded =
            decoder.decode().map_err(|error| damaged(&one_line(&format!("{error:?}"))))?;
        let channels = decoder.colorspace().map_or(0, |space| space.num_components());
        let DecodingResult::U8(values) = decoded else {
            return Err(damaged("it has an unknown depth"));
        };
        let (width, height) = (self.width, self.height);
        let image = match channels {
            1 => GrayImage::from_raw(width, height, values).map(DynamicImage::ImageLuma8),
            2 => GrayAlphaImage::from_raw(width, height, values).map(DynamicImage::ImageLumaA8),
            3 => RgbImage::from_raw(width, height, values).map(DynamicImage::ImageRgb8),
            _ => RgbaImage::from_raw(width, height, values).map(DynamicImage::ImageRgba8),
        };
        image.ok_or_else(|| damaged("it has too few pixels"))
    }
}

/// What the first chunk says.
struct Header {
    width: u32,
    height: u32,
    pixel_bytes: u64,
}

impl Header {
    fn read(name: &[u8], contents: &[u8]) -> Result<Self, String> {
        let [w0, w1, w2, w3, h0, h1, h2, h3, depth, colour, ..] = *contents else {
            return Err("its first chunk is too short".into());
        };
        if name != b"IHDR" {
            return Err("its first chunk is not a header".into());
        }
        // A palette becomes colours; transparency may be a channel more.
        let channels = if matches!(colour, 0 | 4) { 2 } else { 4 };
        Ok(Self {
            width: u32::from_be_bytes([w0, w1, w2, w3]),
            height: u32::from_be_bytes([h0, h1, h2, h3]),
            pixel_bytes: channels * if depth > 8 { 2 } else { 1 },
        })
    }
}
