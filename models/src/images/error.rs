//! What can be wrong with the bytes of an image: one line each, that says what to do.

use super::decode::{DECODED_BYTES_MAX, FILE_BYTES_MAX, PIXELS_MAX, SIDE_MAX};

/// Why an image can't be used. The messages go after the name of the file or row.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImageError {
    /// There are no bytes.
    #[error("is empty")]
    Empty,

    /// The file is larger than any that is read.
    #[error("has {0} bytes; images are read up to {FILE_BYTES_MAX} bytes")]
    FileTooLarge(u64),

    /// The contents are those of a known kind of file that is no image, or none that is read.
    #[error("is {0}; supported are JPEG, PNG, WebP, GIF, BMP and TIFF")]
    OtherFormat(&'static str),

    /// The contents are nothing that is known.
    #[error("is not an image; supported are JPEG, PNG, WebP, GIF, BMP and TIFF")]
    NotAnImage,

    /// The header promises more pixels than are decoded.
    #[error(
        "has {width} x {height} pixels; images are read up to {PIXELS_MAX} pixels and {SIDE_MAX} on a side: scale it down"
    )]
    TooManyPixels {
        /// Columns.
        width: u64,
        /// Rows.
        height: u64,
    },

    /// Decoding would take more memory than is lent.
    #[error(
        "takes more than {DECODED_BYTES_MAX} bytes to decode: scale it down or save it with 8 bits a channel"
    )]
    TooMuchMemory,

    /// The file ends early, or is damaged.
    #[error("is a damaged {format} file: {problem}")]
    Damaged {
        /// The format's name.
        format: &'static str,
        /// What the decoder said, on one line.
        problem: String,
    },
}
