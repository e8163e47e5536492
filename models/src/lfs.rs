//! Pointers of Git LFS, which lie in the place of a model's files where a repository was cloned
//! without them.

use std::path::Path;

use crate::{ModelError, Result};

/// What a pointer begins with: `version https://git-lfs.github.com/spec/v1`.
const BEGINNING: &[u8] = b"version https://git-lfs";

/// Rejects a file that is a pointer; `beginning` is what it begins with, 8 bytes or more.
///
/// # Errors
/// [`ModelError::BadModelFile`] that says how to get the file.
pub(crate) fn refuse_pointer(path: &Path, beginning: &[u8]) -> Result<()> {
    let compared = beginning.len().min(BEGINNING.len());
    if compared < 8 || beginning.get(..compared) != BEGINNING.get(..compared) {
        return Ok(());
    }
    Err(ModelError::file(
        path,
        "is a Git LFS pointer, not the file itself; run `git lfs pull` in its repository, or download the file",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pointer_says_how_to_get_the_file() {
        let pointer = b"version https://git-lfs.github.com/spec/v1\noid sha256:00\nsize 1\n";
        let path = Path::new("m/model.onnx");
        for beginning in [&pointer[..], &pointer[..8]] {
            let error = refuse_pointer(path, beginning).expect_err("a pointer").to_string();
            assert!(error.contains("m/model.onnx") && error.contains("git lfs pull"), "{error}");
        }
        for other in [&b""[..], b"version", b"versions of a model", b"\x08\x07\x12"] {
            refuse_pointer(path, other).expect("no pointer");
        }
    }
}
