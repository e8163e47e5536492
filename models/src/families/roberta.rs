//! RoBERTa, XLM-RoBERTa and CamemBERT: BERT's layers, positions that count from the padding id, a
//! head of their own.

use super::{Architecture, Family, Transformer, bert};
use crate::Result;
use crate::anatomy::{Anatomy, HeadNames};
use crate::config::{Keys, Spelling, TransformerConfig};
use crate::graph::Builder;
use crate::graph::encoder::{self, HeadActivation, Segments};
use crate::weights::Weights;

pub(super) static FAMILY: Family =
    Family { model_types: &["roberta", "xlm-roberta", "camembert"], read };

/// The name in the weights that everything else is found by.
const ANCHOR: &str = "embeddings.word_embeddings.weight";

/// RoBERTa has a table of segments, but its tokenizers give every token segment 0.
#[derive(Debug)]
struct Roberta {
    segments: Segments,
}

fn read(keys: &Keys<'_>) -> Result<Transformer> {
    let spelling = match keys.text("model_type")? {
        Some("roberta") => Spelling { vocabulary: 50265, ..Spelling::BERT },
        _ => Spelling::BERT,
    };
    let padding = keys.number("pad_token_id", 1, 1 << 24)?;
    let config = TransformerConfig::read(keys, &spelling)?.with_positions_after(padding)?;
    let segments = Segments::AllFirst { rows: bert::segment_rows(keys)? };
    Ok(Transformer::new(config, Roberta { segments }))
}

impl Architecture for Roberta {
    fn body(&self, b: &mut Builder<'_>) -> Result<String> {
        bert::body(b, self.segments)
    }

    fn head(&self, b: &mut Builder<'_>, x: &str) -> Result<String> {
        let outer = encoder::head_prefix(b.weights, ANCHOR, "roberta.")?;
        let dense = format!("{outer}classifier.dense");
        encoder::first_token_head(
            b,
            x,
            &dense,
            HeadActivation::Tanh,
            &format!("{outer}classifier.out_proj"),
        )
    }

    fn fuses(&self) -> bool {
        true
    }

    fn anatomy(&self, config: &TransformerConfig, weights: &Weights) -> Result<Option<Anatomy>> {
        let prefix = encoder::prefix(weights, ANCHOR)?;
        let outer = encoder::head_prefix(weights, ANCHOR, "roberta.")?;
        let head = HeadNames {
            dense: format!("{outer}classifier.dense"),
            activation: HeadActivation::Tanh,
            scores: format!("{outer}classifier.out_proj"),
        };
        Ok(Some(bert::anatomy(config, &prefix, self.segments, head)))
    }
}
