//! Whether inputs are images rather than tables.

use sembla_models::images::has_image_name;
use sembla_readers::files::{blobs, list};

use crate::failure::{Failure, Result};

/// Whether all inputs of a command are images: files, folders and patterns with images and no
/// table. A folder with both is one of tables, as `folder/*.png` is one of images.
///
/// # Errors
/// When some inputs are images and others are tables.
pub fn are_images(inputs: &[String]) -> Result<bool> {
    let images = inputs.iter().filter(|input| is_images(input)).count();
    if images == 0 || images == inputs.len() {
        return Ok(images > 0);
    }
    Err(Failure::user(
        "some of the inputs are images and others are tables; run the command once for each kind",
    ))
}

fn is_images(input: &str) -> bool {
    // What a store holds is asked for where the images are read; here the name must say it.
    if input.contains("://") && !input.starts_with("file://") {
        return has_image_name(input);
    }
    blobs(input, &has_image_name)
        .is_ok_and(|found| found.iter().any(|file| has_image_name(file.name())))
        && list(input, None).map_or(true, |tables| tables.is_empty())
}
