//! Files of images: described, decoded, hashed and made small. What is described has the size that
//! decoding gives.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sembla_fuzz::only_uncaught_panics;
use sembla_models::images::{decode, describe, perceptual_hash, thumbnail};

fuzz_target!(|data: &[u8]| {
    only_uncaught_panics();
    // Errors are right answers.
    let described = describe(data);
    let Ok(pixels) = decode(data, false) else { return };
    let info = described.expect("what can be decoded can be described");
    assert_eq!((info.width as usize, info.height as usize), (pixels.width, pixels.height));
    perceptual_hash(&pixels);
    thumbnail(&pixels, 32);
    // Turned by its EXIF orientation: the same pixels.
    let upright = decode(data, true).expect("it was decoded before");
    assert_eq!(upright.width * upright.height, pixels.width * pixels.height);
});
