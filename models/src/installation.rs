//! Where the files that come with Sembla may lie: its models and ONNX Runtime's library.
//!
//! An installation is the executable with these files beside it (an archive that was unpacked), or
//! in `lib/sembla` and `share/sembla` next to the `bin` folder that holds it (a Python wheel, a
//! package of the system). Links to the executable are followed. A checkout, which has them in
//! folders of its own, is found above the executable and above the working directory. Which file is
//! looked for, and the variables that name another, are left to `builtin` and `onnxruntime`.

use std::path::{Path, PathBuf};

/// How many folders above the executable may be the checkout: `target/release/deps` and its root.
const ABOVE_EXECUTABLE: usize = 4;

/// How many folders, from the working directory up, may be the checkout.
const ABOVE_HERE: usize = 4;

/// Every place of `file`, best first: `installed` is its path in the `lib/sembla` or `share/sembla`
/// of an installation, named by `kind`, and beside the executable; `checkout` is its path in a
/// checkout.
pub(crate) fn places(kind: Installed, installed: &Path, checkout: &Path) -> Vec<PathBuf> {
    let executable = std::env::current_exe().and_then(std::fs::canonicalize).ok();
    let here = std::env::current_dir().ok();
    places_of(executable.as_deref(), here.as_deref(), kind, installed, checkout)
}

/// What kind of file it is: it says in which folder of an installation it lies.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Installed {
    /// Machine code: `lib/sembla`.
    Library,
    /// Data that is the same on every processor: `share/sembla`.
    Data,
}

/// [`places`], for that executable and that working directory.
fn places_of(
    executable: Option<&Path>,
    here: Option<&Path>,
    kind: Installed,
    installed: &Path,
    checkout: &Path,
) -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(folder) = executable.and_then(Path::parent) {
        places.push(folder.join(installed));
        if let Some(prefix) = folder.parent() {
            let shared = match kind {
                Installed::Library => "lib",
                Installed::Data => "share",
            };
            places.push(prefix.join(shared).join("sembla").join(installed));
        }
        places.extend(folder.ancestors().take(ABOVE_EXECUTABLE).map(|up| up.join(checkout)));
    }
    if let Some(here) = here {
        places.extend(here.ancestors().take(ABOVE_HERE).map(|up| up.join(checkout)));
    }
    let mut seen = std::collections::HashSet::new();
    places.retain(|place| seen.insert(place.clone()));
    places
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// The first place that exists when only `present` does, with the executable at `executable`.
    fn found(executable: &str, here: &str, kind: Installed, present: &[&str]) -> Option<String> {
        let root = tempfile::tempdir().expect("a folder");
        for path in present {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().expect("a parent")).expect("a folder");
            fs::write(path, "").expect("a file");
        }
        let (installed, checkout) = match kind {
            Installed::Library => ("libx.so", ".sembla/onnxruntime/libx.so"),
            Installed::Data => ("models/builtin/m", "models/builtin/m"),
        };
        let (executable, here) = (root.path().join(executable), root.path().join(here));
        places_of(Some(&executable), Some(&here), kind, Path::new(installed), Path::new(checkout))
            .into_iter()
            .find(|place| place.exists())
            .map(|place| {
                place.strip_prefix(root.path()).expect("below").to_string_lossy().into_owned()
            })
    }

    #[test]
    fn an_unpacked_archive_has_its_files_beside_the_executable() {
        let present = ["opt/s/libx.so", "opt/s/models/builtin/m", "work/models/builtin/m"];
        assert_eq!(
            found("opt/s/sembla", "work", Installed::Library, &present).as_deref(),
            Some(present[0])
        );
        assert_eq!(
            found("opt/s/sembla", "work", Installed::Data, &present).as_deref(),
            Some(present[1])
        );
    }

    #[test]
    fn a_wheel_has_its_files_in_lib_and_share_of_the_environment() {
        let present = ["venv/lib/sembla/libx.so", "venv/share/sembla/models/builtin/m"];
        let executable = "venv/bin/sembla";
        assert_eq!(
            found(executable, "work", Installed::Library, &present).as_deref(),
            Some(present[0])
        );
        assert_eq!(
            found(executable, "work", Installed::Data, &present).as_deref(),
            Some(present[1])
        );
    }

    #[test]
    fn a_checkout_is_found_from_its_target_folder_and_from_within() {
        let present = ["repo/.sembla/onnxruntime/libx.so", "repo/models/builtin/m"];
        for (executable, here) in [
            ("repo/target/release/sembla", "elsewhere"),
            ("repo/target/release/deps/all-1", "elsewhere"),
            ("cache/release/deps/all-1", "repo/sql"),
        ] {
            assert_eq!(
                found(executable, here, Installed::Library, &present).as_deref(),
                Some(present[0])
            );
            assert_eq!(
                found(executable, here, Installed::Data, &present).as_deref(),
                Some(present[1])
            );
        }
        assert_eq!(found("cache/release/sembla", "elsewhere", Installed::Data, &present), None);
    }
}
