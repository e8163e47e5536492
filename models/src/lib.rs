//! Models for Sembla: texts and images in, vectors and scores out.
//!
//! This crate is the only one that knows ONNX Runtime and tokenizers. It loads a model directory in
//! the Hugging Face / Sentence-Transformers layout, builds the ONNX graph in Rust where the
//! directory has none, tokenises, batches, runs, pools and caches. It knows nothing of SQL, tables
//! or streams.
//!
//! Invariants:
//! * An embedding depends on the text, the model, the prompt and the precision, never on its
//!   neighbours in a batch.
//! * Everything about a model directory is checked at load, before the first text: the directory is
//!   untrusted input.
//! * Rows come out in input order.

pub mod anatomy;
mod backends;
#[doc(hidden)]
pub mod bench;
pub mod builtin;
mod cache;
pub mod cancel;
pub mod classifier;
mod config;
mod device;
mod directory;
pub mod error;
mod families;
mod graph;
mod hub;
pub mod images;
pub mod info;
mod inputs;
mod installation;
mod layout;
pub mod lengths;
mod lfs;
mod load;
pub mod model;
mod onnx;
mod onnxruntime;
mod ops;
pub mod panics;
mod pool;
pub mod provenance;
pub mod quantize;
pub mod spec;
mod stats;
mod towers;
pub mod trainable;
mod weights;
mod workers;

pub use cancel::CancelToken;
pub use classifier::Classifier;
pub use device::{Device, Gpus};
pub use error::{Fault, ModelError, Result};
pub use info::{
    Contrast, Embeddings, ImageEmbeddings, InputKind, ModelInfo, ModelKind, ModelStats, Prompt,
    Similarity, TokenCount,
};
pub use inputs::TokenSpan;
pub use lengths::Lengths;
pub use model::Model;
pub use quantize::{QuantizeReport, export, quantize};
pub use spec::{ModelSpec, Padding, Precision};
