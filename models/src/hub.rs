//! Turns the source of a model into a local directory: a path, a built-in name, or an id of the
//! Hugging Face hub.
//!
//! The hub's cache is shared with Python: `HF_HOME`, `HF_HUB_CACHE`, `HF_TOKEN`, `HF_ENDPOINT` mean
//! what they mean there. A model that the cache holds is used without asking the network;
//! `HF_HUB_OFFLINE=1` never asks it.

use std::path::{Path, PathBuf};

use hf_hub::api::sync::{ApiBuilder, ApiError, ApiRepo};
use hf_hub::{Cache, Repo};

use crate::builtin::{self, BUILTINS};
use crate::{ModelError, Result};

/// A model's source, found.
pub(crate) struct Located {
    /// The directory or `.onnx` file.
    pub(crate) path: PathBuf,
    /// A short name for messages and metrics.
    pub(crate) name: String,
}

/// Finds a source, fetching it from the hub where it has to.
///
/// # Errors
/// [`ModelError::UnknownModel`] when it is nothing of all that, [`ModelError::Hub`] when the hub
/// can't give it.
pub(crate) fn find(source: &str) -> Result<Located> {
    let path = Path::new(source);
    if path.exists() {
        let name = path.file_name().map(|name| name.to_string_lossy().into_owned());
        return Ok(Located { path: path.into(), name: name.unwrap_or_else(|| source.into()) });
    }
    if let Some(builtin) = builtin::find(source) {
        let found = builtin.path().ok_or_else(|| ModelError::UnknownModel {
            name: source.into(),
            hint: match builtin.is_bundled() {
                true => format!(
                    "it is bundled with Sembla, but its folder '{}' does not exist; set SEMBLA_MODELS to the models/builtin folder that has it",
                    builtin.folder
                ),
                false => "it is not bundled; scripts/fetch-reranker.sh fetches it".into(),
            },
        })?;
        return Ok(Located { path: found, name: builtin.name.into() });
    }
    if is_hub_id(source) {
        return Ok(Located { path: from_hub(source)?, name: source.into() });
    }
    let known: Vec<_> = BUILTINS.iter().map(|builtin| builtin.name).collect();
    let hint = if source.contains(['/', '\\']) || source.starts_with('.') {
        "there is no such directory or .onnx file".to_string()
    } else {
        format!(
            "known models: {}; a directory or a hub id (owner/name) works too; CREATE MODEL names one",
            known.join(", ")
        )
    };
    Err(ModelError::UnknownModel { name: source.into(), hint })
}

/// Whether a source can be `owner/name` of the hub.
fn is_hub_id(source: &str) -> bool {
    let allowed = |part: &str| {
        !part.is_empty()
            && !part.starts_with('.')
            && part.len() <= 96
            && part.chars().all(|c| c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.'))
    };
    source.split_once('/').is_some_and(|(owner, name)| allowed(owner) && allowed(name))
}

/// Where Python's hub client keeps its cache.
fn cache() -> Cache {
    let named = |key: &str| std::env::var_os(key).filter(|value| !value.is_empty());
    named("HF_HUB_CACHE")
        .or_else(|| named("HUGGINGFACE_HUB_CACHE"))
        .map_or_else(Cache::from_env, |path| Cache::new(PathBuf::from(path)))
}

fn offline() -> bool {
    ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"].iter().any(|key| {
        std::env::var(key)
            .is_ok_and(|value| matches!(value.to_uppercase().as_str(), "1" | "TRUE" | "YES" | "ON"))
    })
}

/// The snapshot folder of a hub model.
fn from_hub(id: &str) -> Result<PathBuf> {
    let cache = cache();
    let repo = Repo::model(id.to_string());
    if let Some(folder) = cached(&cache, &repo) {
        return Ok(folder);
    }
    let fail = |message: String| ModelError::Hub { id: id.into(), message };
    if offline() {
        return Err(fail(format!(
            "it is not in the cache ({}) and HF_HUB_OFFLINE is set; unset it to download",
            cache.path().display()
        )));
    }
    let explain = |error: ApiError| {
        let text = crate::error::one_line(&error.to_string());
        let mend = if text.contains("404") || text.contains("401") || text.contains("403") {
            "check the id, and HF_TOKEN if the model is private"
        } else {
            "check the network, or use a local directory"
        };
        fail(format!("{text}; {mend}"))
    };
    let token = std::env::var("HF_TOKEN").ok().filter(|token| !token.is_empty());
    let token = token.or_else(|| cache.token());
    let mut builder = ApiBuilder::from_cache(cache.clone()).with_token(token).with_retries(3);
    if let Ok(endpoint) = std::env::var("HF_ENDPOINT") {
        builder = builder.with_endpoint(endpoint);
    }
    builder = builder.with_progress(std::io::IsTerminal::is_terminal(&std::io::stderr()));
    let api = builder.build().map_err(explain)?.repo(repo.clone());
    download(&api).map_err(explain)?;
    cached(&cache, &repo).ok_or_else(|| {
        fail("it has neither config.json nor modules.json; Sembla can't load it".into())
    })
}

/// The snapshot folder, if it has a description, weights and a tokenizer.
///
/// `config.json` is the last file that a download writes, so its presence says that the rest is
/// there. Old Sentence-Transformers models keep it in the folder of their first module.
fn cached(cache: &Cache, repo: &Repo) -> Option<PathBuf> {
    let folder = snapshot(&cache.path().join(repo.folder_name()))?;
    let has = |name: &str| folder.join(name).exists();
    if !has("config.json") && !has("modules.json") {
        return None;
    }
    let weights = ["model.safetensors", "model.safetensors.index.json", "onnx/model.onnx"];
    let weights: Vec<&str> = weights.into_iter().chain(TOWERS).collect();
    let nested = || {
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut first = entries.filter(|e| e.file_name().to_string_lossy().starts_with("0_"));
        first.any(|entry| {
            entry.path().join("config.json").exists()
                && entry.path().join("model.safetensors").exists()
        })
    };
    let whole = has("config.json") && weights.iter().any(|name| has(name));
    (whole || nested()).then_some(folder)
}

/// The folder of a repository's files in the cache: the snapshot that `refs/main` names, or the
/// only one where nothing names one. A line break behind the name is no part of it.
fn snapshot(repo: &Path) -> Option<PathBuf> {
    let snapshots = repo.join("snapshots");
    if let Ok(name) = std::fs::read_to_string(repo.join("refs/main")) {
        let name = name.trim();
        let is_name = !name.is_empty() && name.chars().all(|letter| letter.is_ascii_alphanumeric());
        return is_name.then(|| snapshots.join(name));
    }
    let mut folders = std::fs::read_dir(snapshots).ok()?.flatten().map(|entry| entry.path());
    let only = folders.next()?;
    folders.next().is_none().then_some(only)
}

/// The graphs of a model of texts and images.
const TOWERS: [&str; 2] = ["onnx/text_model.onnx", "onnx/vision_model.onnx"];

/// Downloads what a model needs, and nothing else: configurations, the tokenizer, and one form of
/// the weights.
fn download(api: &ApiRepo) -> std::result::Result<(), ApiError> {
    let mut files: Vec<String> =
        api.info()?.siblings.into_iter().map(|sibling| sibling.rfilename).collect();
    files.sort_by_key(|file| file == "config.json");
    let has_safetensors = files.iter().any(|file| file.ends_with(".safetensors"));
    let has_towers = files.iter().any(|file| TOWERS.contains(&file.as_str()));
    for file in &files {
        let depth = file.matches('/').count();
        let wanted = match file.rsplit('.').next() {
            Some("json") => depth <= 1 && !file.starts_with("onnx/"),
            Some("safetensors") => depth <= 1,
            Some("onnx") => {
                let whole = matches!(file.as_str(), "onnx/model.onnx" | "model.onnx");
                let is_tower = TOWERS.contains(&file.as_str());
                !has_safetensors && if has_towers { is_tower } else { whole }
            }
            Some("onnx_data") => !has_safetensors,
            _ => false,
        };
        if wanted {
            api.get(file)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hub_ids_are_told_from_paths() {
        assert!(is_hub_id("sentence-transformers/all-MiniLM-L6-v2"));
        for source in ["minilm", "./models/x", "/abs/olute", "a/b/c", "../up", "owner/", "a b/c"] {
            assert!(!is_hub_id(source), "{source}");
        }
    }

    #[test]
    fn an_unknown_name_lists_the_known_ones() {
        let message = find("minilmm").err().expect("unknown").to_string();
        assert!(
            message.contains("'minilmm' is not known") && message.contains("potion"),
            "{message}"
        );
        let message = find("./no/such/folder").err().expect("unknown").to_string();
        assert!(message.contains("no such directory"), "{message}");
    }

    #[test]
    fn a_model_in_pythons_cache_is_found_without_the_network() {
        let folder = tempfile::tempdir().expect("folder");
        let repo = folder.path().join("models--owner--tiny");
        let snapshot = repo.join("snapshots/abc");
        std::fs::create_dir_all(&snapshot).expect("folders");
        std::fs::create_dir_all(repo.join("refs")).expect("folders");
        std::fs::write(repo.join("refs/main"), "abc").expect("ref");
        std::fs::write(snapshot.join("config.json"), "{}").expect("config");
        let cache = Cache::new(folder.path().into());
        let found = || cached(&cache, &Repo::model("owner/tiny".into()));
        assert_eq!(found(), None, "no weights yet");
        std::fs::write(snapshot.join("model.safetensors"), "x").expect("weights");
        assert_eq!(found(), Some(snapshot.clone()));
        std::fs::write(repo.join("refs/main"), "abc\n").expect("a ref with a line break");
        assert_eq!(found(), Some(snapshot.clone()));
        std::fs::remove_file(repo.join("refs/main")).expect("removed");
        assert_eq!(found(), Some(snapshot), "the only snapshot");
        std::fs::create_dir_all(repo.join("snapshots/def")).expect("another");
        assert_eq!(found(), None, "which of two is not known");
        std::fs::write(repo.join("refs/main"), "../../elsewhere").expect("a hostile ref");
        assert_eq!(found(), None);
    }
}
