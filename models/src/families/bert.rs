//! BERT: segments, absolute positions, a pooler before the classifier.

use super::{Architecture, Family, Transformer};
use crate::Result;
use crate::anatomy::{Anatomy, HeadNames};
use crate::config::{Keys, Spelling, TransformerConfig};
use crate::graph::encoder::{self, HeadActivation, LayerNames, Segments};
use crate::graph::{AttentionKind, Builder};
use crate::weights::Weights;

pub(super) static FAMILY: Family = Family { model_types: &["bert"], read };

/// The name in the weights that everything else is found by.
const ANCHOR: &str = "embeddings.word_embeddings.weight";

#[derive(Debug)]
struct Bert {
    segments: Segments,
}

fn read(keys: &Keys<'_>) -> Result<Transformer> {
    let config = TransformerConfig::read(keys, &Spelling::BERT)?;
    let segments = match segment_rows(keys)? {
        1 => Segments::AllFirst { rows: 1 },
        rows => Segments::Given { rows },
    };
    Ok(Transformer::new(config, Bert { segments }))
}

/// Rows of the table of segments, in the spelling that RoBERTa shares.
pub(super) fn segment_rows(keys: &Keys<'_>) -> Result<usize> {
    keys.count("type_vocab_size", 2, 1 << 16)
}

impl Architecture for Bert {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        body(b, self.segments)
    }

    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let model = encoder::prefix(b.weights, ANCHOR)?;
        let outer = encoder::head_prefix(b.weights, ANCHOR, "bert.")?;
        let (dense, scores) = (format!("{model}pooler.dense"), format!("{outer}classifier"));
        encoder::first_token_head(b, x, &dense, HeadActivation::Tanh, &scores)
    }

    fn fuses(&self) -> bool {
        true
    }

    fn anatomy(&self, config: &TransformerConfig, weights: &Weights) -> Result<Option<Anatomy>> {
        let prefix = encoder::prefix(weights, ANCHOR)?;
        let outer = encoder::head_prefix(weights, ANCHOR, "bert.")?;
        let head = HeadNames {
            dense: format!("{prefix}pooler.dense"),
            activation: HeadActivation::Tanh,
            scores: format!("{outer}classifier"),
        };
        Ok(Some(anatomy(config, &prefix, self.segments, head)))
    }
}

/// The vectors of all tokens, with tensors in BERT's spelling, which RoBERTa shares.
pub(super) fn body(b: &mut Builder<'_>, segments: Segments) -> Result<String> {
    let prefix = encoder::prefix(b.weights, ANCHOR)?;
    let width = b.config.hidden;
    let x = encoder::embeddings(b, &format!("{prefix}embeddings."), width, segments)?;
    layers(b, x, &prefix)
}

/// All layers, with tensors in BERT's spelling. `prefix` ends before `encoder`.
pub(super) fn layers(b: &mut Builder<'_>, mut x: String, prefix: &str) -> Result<String> {
    for layer in 0..b.config.layers {
        let names = layer_names(&format!("{prefix}encoder.layer.{layer}."));
        x = encoder::layer(b, &x, &names, &AttentionKind::default())?;
    }
    Ok(x)
}

/// Which tensor is what, in BERT's spelling, which RoBERTa shares.
pub(super) fn anatomy(
    config: &TransformerConfig,
    prefix: &str,
    segments: Segments,
    head: HeadNames,
) -> Anatomy {
    let anatomy = Anatomy::new(config, prefix, layer_names, "encoder.layer", head);
    match segments {
        Segments::None => anatomy,
        Segments::AllFirst { rows } => anatomy.with_segments(prefix, rows, false),
        Segments::Given { rows } => anatomy.with_segments(prefix, rows, true),
    }
}

/// The names of a layer's tensors.
fn layer_names(layer: &str) -> LayerNames {
    LayerNames {
        query: format!("{layer}attention.self.query"),
        key: format!("{layer}attention.self.key"),
        value: format!("{layer}attention.self.value"),
        attention_output: format!("{layer}attention.output.dense"),
        attention_norm: format!("{layer}attention.output.LayerNorm"),
        up: format!("{layer}intermediate.dense"),
        down: format!("{layer}output.dense"),
        output_norm: format!("{layer}output.LayerNorm"),
    }
}
