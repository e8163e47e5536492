//! The models that come with Sembla: their names and where they are found.
//!
//! They lie in `models/builtin/` of the repository, and beside the executable or in
//! `share/sembla/models/builtin` of an installation. `SEMBLA_MODELS` names another folder.

use std::path::{Path, PathBuf};

use crate::installation::{Installed, places};

/// A model that comes with Sembla.
#[derive(Clone, Copy, Debug)]
pub struct Builtin {
    /// The name that SQL and the command line take.
    pub name: &'static str,
    /// Its folder.
    pub folder: &'static str,
    /// What it is, in a line.
    pub about: &'static str,
}

/// Every model that comes with Sembla; the first is the default of `embed(text)`.
pub const BUILTINS: &[Builtin] = &[
    Builtin {
        name: "minilm",
        folder: "all-MiniLM-L6-v2-q8",
        about: "all-MiniLM-L6-v2 in 8 bits: 384 components, English, Apache-2.0",
    },
    Builtin {
        name: "potion",
        folder: "potion-base-4M-int8",
        about: "potion-base-4M, static, 8 bits: 128 components, English, very fast, MIT",
    },
    Builtin {
        name: "multilingual",
        folder: "multilingual-small-q8",
        about: "a student of multilingual-e5-small, 8 bits: 384 components, English, German, Spanish, French and others, MIT",
    },
    SMALL_RERANKER,
];

/// The cross-encoder that re-ranks where no other is named and [`RERANKER`] was not fetched.
pub const SMALL_RERANKER: Builtin = Builtin {
    name: "reranker-small",
    folder: "reranker-small-q8",
    about: "a student of ms-marco-MiniLM-L-12-v2, a cross-encoder in 8 bits: English, Apache-2.0",
};

/// A better cross-encoder, which re-ranks where no other is named once it is there. It is too large
/// to be bundled: `scripts/fetch-reranker.sh` fetches it.
pub const RERANKER: Builtin = Builtin {
    name: "reranker",
    folder: "reranker",
    about: "ms-marco-MiniLM-L-12-v2, a cross-encoder: English, Apache-2.0",
};

/// The model of that name, in any case.
///
/// # Examples
/// ```
/// use sembla_models::builtin;
///
/// assert!(builtin::find("MiniLM").is_some());
/// assert!(builtin::find("sentence-transformers/all-MiniLM-L6-v2").is_none());
/// ```
pub fn find(name: &str) -> Option<&'static Builtin> {
    let is_named = |builtin: &&Builtin| builtin.name.eq_ignore_ascii_case(name);
    BUILTINS.iter().chain([&RERANKER]).find(is_named)
}

impl Builtin {
    /// Its directory, if one of the places that are looked at has it.
    pub fn path(&self) -> Option<PathBuf> {
        self.candidates().into_iter().find(|path| path.is_dir())
    }

    /// Where it may be, best first.
    pub fn candidates(&self) -> Vec<PathBuf> {
        if let Some(folder) = std::env::var_os("SEMBLA_MODELS").filter(|value| !value.is_empty()) {
            return vec![PathBuf::from(folder).join(self.folder)];
        }
        let below = Path::new("models").join("builtin").join(self.folder);
        match self.is_bundled() {
            true => places(Installed::Data, &below, &below),
            false => {
                let fetched = Path::new(".sembla").join("models").join(self.folder);
                places(Installed::Data, &below, &fetched)
            }
        }
    }

    /// Whether it comes with Sembla; else a script fetches it.
    pub fn is_bundled(&self) -> bool {
        self.name != RERANKER.name
    }
}
