//! Images: bytes of a file in, upright RGB pixels out, and what a model or a person sees of them.
//!
//! The bytes are hostile input. What they are is decided by their contents, never by a name; their
//! size, their pixels and the memory that decoding takes are bounded by the constants of
//! [`decode`]; a decoder that panics gives an error. Formats: JPEG, PNG, WebP, GIF (its first
//! frame), BMP and TIFF. Running a model, reading files and caching is left to others.

mod decode;
mod error;
mod exif;
mod hash;
mod png;
mod preprocess;
mod resize;
mod sniff;
#[cfg(test)]
mod tests;
mod thumbnail;

pub use decode::{
    DECODED_BYTES_MAX, FILE_BYTES_MAX, ImageInfo, PIXELS_MAX, Pixels, SIDE_MAX, decode, describe,
};
pub use error::ImageError;
pub use exif::Taken;
pub use hash::{HASH_BITS, perceptual_hash};
pub use sniff::has_image_name;
pub use thumbnail::thumbnail;

pub(crate) use preprocess::{Defaults, Preprocessing};
