//! The models that sessions know by name: which there are, how each is to run, and the loaded ones.
//!
//! A model is loaded when it is first used and shared from then on. Loading itself is
//! `sembla_models`' work.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use sembla_models::builtin::Builtin;
use sembla_models::{Model, ModelError, ModelSpec, builtin};

/// The models of a process by name, in lower case. Names do not depend on case.
#[derive(Debug)]
pub(crate) struct Registry(RwLock<BTreeMap<String, Arc<Slot>>>);

/// The models as a session knows them: all sessions of an engine share names and loaded models,
/// and each has its own default.
#[derive(Debug)]
pub struct Models {
    registry: Arc<Registry>,
    /// The name that `embed(text)` without a model means.
    default: RwLock<String>,
}

/// One name: how its model runs, and the model once it is loaded.
struct Slot {
    name: String,
    spec: ModelSpec,
    /// Held while loading, so that two queries do not load the same model twice.
    model: Mutex<Option<Model>>,
}

/// One row of the list of models.
#[derive(Clone)]
pub struct ModelEntry {
    /// The name in SQL.
    pub name: String,
    /// Where the model is and how it runs.
    pub spec: ModelSpec,
    /// The model, if it has been loaded.
    pub model: Option<Model>,
    /// Whether this is the model that is used when none is named.
    pub is_default: bool,
}

impl Default for Models {
    fn default() -> Self {
        Self::new()
    }
}

impl Registry {
    /// The models that come with Sembla, none of them loaded yet.
    pub(crate) fn new() -> Self {
        let slots = builtin::BUILTINS.iter().map(|built| {
            (built.name.to_string(), Slot::new(built.name, ModelSpec::new(built.name)))
        });
        Self(RwLock::new(slots.collect()))
    }

    // A thread that panicked while it held the lock has not left the map half changed: each change
    // is one call.
    fn read(&self) -> RwLockReadGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, BTreeMap<String, Arc<Slot>>> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Models {
    /// The models that come with Sembla, none of them loaded yet, shared with nobody.
    pub fn new() -> Self {
        Self::of(Arc::new(Registry::new()))
    }

    /// The models of a process, for one more session.
    pub(crate) fn of(registry: Arc<Registry>) -> Self {
        let default = builtin::BUILTINS.first().map(|built| built.name).unwrap_or_default();
        Self { registry, default: RwLock::new(default.to_string()) }
    }

    /// The model of that name, loaded now if it was not yet; `None` is the default model. A
    /// directory, an `.onnx` file or a hub id given as the name is loaded with default options and
    /// remembered under that name.
    ///
    /// # Errors
    /// [`ModelError::UnknownModel`] with the known names, and whatever loading says.
    pub fn get(&self, name: Option<&str>) -> Result<Model, ModelError> {
        self.slot(name)?.load()
    }

    /// Loads a model and gives it a name, in place of any that had it.
    ///
    /// # Errors
    /// Whatever loading says; the names stay as they were then.
    pub fn add(&self, name: &str, spec: ModelSpec) -> Result<Model, ModelError> {
        let slot = Slot::new(name, spec);
        let model = slot.load()?;
        self.registry.write().insert(key(name), slot);
        Ok(model)
    }

    /// Forgets a name. Queries that are running keep their model. Tells whether there was one.
    pub fn remove(&self, name: &str) -> bool {
        self.registry.write().remove(&key(name)).is_some()
    }

    /// Whether there is a model of that name.
    pub fn contains(&self, name: &str) -> bool {
        self.registry.read().contains_key(&key(name))
    }

    /// The name of the model that is used when none is named.
    pub fn default_name(&self) -> String {
        self.default.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Whether the session has the default model that every session begins with.
    pub(crate) fn has_usual_default(&self) -> bool {
        let usual = builtin::BUILTINS.first().map(|built| built.name);
        usual.is_some_and(|usual| usual == self.default_name())
    }

    /// Makes `name` the model that is used when none is named. It is loaded at its first use.
    ///
    /// # Errors
    /// [`ModelError::UnknownModel`] when the name is neither known nor looks like a directory, a
    /// file or a hub id.
    pub fn set_default(&self, name: &str) -> Result<(), ModelError> {
        let slot = self.slot(Some(name))?;
        *self.default.write().unwrap_or_else(PoisonError::into_inner) = slot.name.clone();
        Ok(())
    }

    /// The name of the loaded model with that fingerprint: the default one before others.
    pub(crate) fn name_of(&self, fingerprint: &str) -> Option<String> {
        let is_it = |entry: &ModelEntry| {
            entry.model.as_ref().is_some_and(|model| model.info().fingerprint == fingerprint)
        };
        let found = self.list().into_iter().filter(is_it);
        found.max_by_key(|entry| entry.is_default).map(|entry| entry.name)
    }

    /// Every model, by name. Loads none.
    pub fn list(&self) -> Vec<ModelEntry> {
        let default = self.default_name();
        let entry = |slot: &Arc<Slot>| ModelEntry {
            name: slot.name.clone(),
            spec: slot.spec.clone(),
            model: slot.loaded(),
            is_default: key(&slot.name) == key(&default),
        };
        self.registry.read().values().map(entry).collect()
    }

    /// The error for a name that is not known.
    pub(crate) fn unknown(&self, name: &str) -> ModelError {
        let slots = self.registry.read();
        let known: Vec<_> = slots.values().map(|slot| slot.name.as_str()).collect();
        let hint = format!("known models: {}; CREATE MODEL adds one", known.join(", "));
        ModelError::UnknownModel { name: name.to_string(), hint }
    }

    /// The slot of a name; one is made for a path or a hub id.
    fn slot(&self, name: Option<&str>) -> Result<Arc<Slot>, ModelError> {
        let name = name.map_or_else(|| self.default_name(), str::to_string);
        if let Some(slot) = self.registry.read().get(&key(&name)) {
            return Ok(Arc::clone(slot));
        }
        // What is not bundled is known by its name, but not listed until it is used.
        if !looks_like_a_place(&name) && builtin::find(&name).is_none_or(Builtin::is_bundled) {
            return Err(self.unknown(&name));
        }
        let slot = Slot::new(&name, ModelSpec::new(&name));
        slot.load()?;
        Ok(Arc::clone(self.registry.write().entry(key(&name)).or_insert(slot)))
    }
}

impl Slot {
    fn new(name: &str, spec: ModelSpec) -> Arc<Self> {
        Arc::new(Self { name: name.to_string(), spec, model: Mutex::new(None) })
    }

    fn load(&self) -> Result<Model, ModelError> {
        let mut model = self.model.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(model) = model.as_ref() {
            return Ok(model.clone());
        }
        let loaded = Model::load(&self.spec)?;
        tracing::debug!(name = self.name, source = self.spec.source, "model loaded");
        Ok(model.insert(loaded).clone())
    }

    /// The model if it is loaded; one that is being loaded now counts as not loaded.
    fn loaded(&self) -> Option<Model> {
        self.model.try_lock().ok().and_then(|model| model.clone())
    }
}

impl std::fmt::Debug for Slot {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Slot").field("name", &self.name).field("spec", &self.spec).finish()
    }
}

/// How a name is looked up. A path keeps its case.
fn key(name: &str) -> String {
    if looks_like_a_place(name) { name.to_string() } else { name.to_lowercase() }
}

/// Whether a name can only be a directory, an `.onnx` file or a hub id.
fn looks_like_a_place(name: &str) -> bool {
    name.contains(['/', '\\']) || name.ends_with(".onnx") || Path::new(name).is_dir()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_name_is_answered_with_the_known_ones() {
        let Err(error) = Models::new().get(Some("minlm")) else { panic!("it is not known") };
        assert_eq!(
            error.to_string(),
            "model 'minlm' is not known; known models: minilm, multilingual, potion, reranker-small; CREATE MODEL adds one"
        );
    }

    #[test]
    fn names_do_not_depend_on_case() {
        let models = Models::new();
        assert!(models.contains("MiniLM"));
        models.set_default("POTION").expect("it is known");
        assert_eq!(models.default_name(), "potion");
        assert!(models.remove("Potion"));
        assert!(!models.remove("potion"));
    }
}
