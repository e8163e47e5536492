//! The inputs of a fused graph for one batch, by name. Nothing here runs.
//!
//! Every input is made when the graph asks for it, from the lengths of the texts and the layout.
//! Texts without a token that counts are left out: they have no row in any input.

use crate::config::TransformerConfig;
use crate::graph::Layout;
use crate::inputs::Sequence;
use crate::pool::PoolingMode;

/// What the longest text of a batch is rounded up to. Attention with a bias has a kernel that needs
/// no memory for all pairs, in 16 bits from 8 tokens a row, in 32 bits from 16.
const LONGEST_STEP_PACKED: usize = 16;

/// The same where padding costs: what matrix units of a GPU take.
const LONGEST_STEP_PADDED: usize = 8;

/// How many places each text of a batch has, if its longest has so many tokens.
pub(crate) fn places(layout: Layout, longest: usize, tokens_max: usize) -> usize {
    let step = match layout {
        Layout::Packed => LONGEST_STEP_PACKED,
        Layout::Padded => LONGEST_STEP_PADDED,
    };
    longest.next_multiple_of(step).min(tokens_max.max(longest))
}

/// A batch of texts.
pub(crate) struct FusedBatch<'a> {
    /// Those that have a token.
    texts: Vec<&'a Sequence>,
    /// Which of all they are.
    pub(super) present: Vec<bool>,
    /// Places that each text has.
    longest: usize,
    layout: Layout,
    config: &'a TransformerConfig,
    modes: &'a [PoolingMode],
}

/// An input: its shape and values.
#[derive(Debug, PartialEq)]
pub(super) struct FusedInput {
    pub(super) shape: Vec<i64>,
    pub(super) values: Values,
}

/// The values of an input.
#[derive(Debug, PartialEq)]
pub(super) enum Values {
    Whole(Vec<i32>),
    Float(Vec<f32>),
}

impl<'a> FusedBatch<'a> {
    /// The sequences `rows`, in that order. `modes` is how the graph pools.
    pub(crate) fn new(
        sequences: &'a [Sequence],
        rows: &[usize],
        layout: Layout,
        config: &'a TransformerConfig,
        modes: &'a [PoolingMode],
    ) -> Self {
        let counts =
            |text: &&Sequence| text.ids.len() > if modes.is_empty() { 0 } else { text.skip };
        let texts = rows.iter().map(|row| &sequences[*row]);
        let present = texts.clone().map(|text| counts(&text)).collect();
        let texts: Vec<&Sequence> = texts.filter(counts).collect();
        let longest = texts.iter().map(|text| text.ids.len()).max().unwrap_or(0);
        let longest = places(layout, longest, config.max_tokens());
        Self { texts, present, longest, layout, config, modes }
    }

    /// The input that a graph names so; `None` if texts have no such thing.
    pub(super) fn input(&self, name: &str) -> Option<FusedInput> {
        let (texts, longest) = (self.texts.len() as i64, self.longest as i64);
        let places = vec![texts, longest];
        let (shape, values) = match name {
            "input_ids" => self.per_token(|text| whole(text.ids.iter().copied())),
            "token_type_ids" => self.per_token(|text| match &text.type_ids {
                Some(types) => whole(types.iter().copied()),
                None => vec![0; text.ids.len()],
            }),
            "position_ids" => self.per_token(|text| {
                let mut positions = Vec::with_capacity(text.ids.len());
                self.config.push_positions(&text.ids, &mut positions);
                positions.into_iter().map(|position| i32::try_from(position).unwrap_or(0)).collect()
            }),
            "attention_mask" => (places, self.mask()),
            "token_offset" => (places, self.token_offset()),
            "token_rows" => (places, self.token_rows()),
            "cumulative_sequence_length" => (vec![texts + 1], self.starts()),
            "picked" => (vec![texts], self.picked()),
            "pool_weights" => {
                let shape = vec![texts, self.modes.len() as i64, longest];
                return Some(FusedInput { shape, values: Values::Float(self.pool_weights()) });
            }
            _ => return None,
        };
        Some(FusedInput { shape, values: Values::Whole(values) })
    }

    /// Where each text's rows begin in a matrix with a row for each token, and how many it has.
    pub(super) fn rows(&self) -> Vec<(usize, usize)> {
        let starts = self.row_starts();
        starts.into_iter().zip(&self.texts).map(|(start, text)| (start, text.ids.len())).collect()
    }

    /// One number for each token, and 0 for padding where there is any.
    fn per_token(&self, of: impl Fn(&Sequence) -> Vec<i32>) -> (Vec<i64>, Vec<i32>) {
        let mut values = Vec::new();
        for (place, text) in self.texts.iter().enumerate() {
            values.extend(of(text));
            if self.layout == Layout::Padded {
                values.resize((place + 1) * self.longest, 0);
            }
        }
        let shape = match self.layout {
            Layout::Packed => vec![1, values.len() as i64],
            Layout::Padded => vec![self.texts.len() as i64, self.longest as i64],
        };
        (shape, values)
    }

    fn row_starts(&self) -> Vec<usize> {
        let mut start = 0;
        let width = |text: &Sequence| match self.layout {
            Layout::Packed => text.ids.len(),
            Layout::Padded => self.longest,
        };
        let begin = |text: &&Sequence| {
            start += width(text);
            start - width(text)
        };
        self.texts.iter().map(begin).collect()
    }

    fn starts(&self) -> Vec<i32> {
        let mut end = 0;
        let ends = self.texts.iter().map(|text| {
            end += text.ids.len() as i32;
            end
        });
        std::iter::once(0).chain(ends).collect()
    }

    fn mask(&self) -> Vec<i32> {
        let of = |text: &&Sequence| {
            let tokens = text.ids.len();
            (0..self.longest).map(move |place| i32::from(place < tokens))
        };
        self.texts.iter().flat_map(of).collect()
    }

    /// Where tokens would lie if texts were padded, one after another, then where padding would.
    fn token_offset(&self) -> Vec<i32> {
        let mask = self.mask();
        let places = |real: i32| {
            let has = move |(_, seen): &(usize, &i32)| **seen == real;
            mask.iter().enumerate().filter(has).map(|(place, _)| place as i32)
        };
        places(1).chain(places(0)).collect()
    }

    /// The row of each place of each text; the text's last one where it has none.
    fn token_rows(&self) -> Vec<i32> {
        let of = |(start, tokens): (usize, usize)| {
            (0..self.longest).map(move |place| (start + place.min(tokens - 1)) as i32)
        };
        self.rows().into_iter().flat_map(of).collect()
    }

    /// The row that stands for each text: its first, or what the only mode of pooling takes.
    fn picked(&self) -> Vec<i32> {
        let last = self.modes.first() == Some(&PoolingMode::LastToken);
        let of = |((start, tokens), text): ((usize, usize), &&Sequence)| {
            let place = if last { tokens - 1 } else { text.skip };
            (start + place) as i32
        };
        self.rows().into_iter().zip(&self.texts).map(of).collect()
    }

    fn pool_weights(&self) -> Vec<f32> {
        let mut values = Vec::new();
        for text in &self.texts {
            for mode in self.modes {
                let end = values.len() + self.longest;
                values.extend(mode.weights(text.ids.len(), text.skip).unwrap_or_default());
                values.resize(end, 0.0);
            }
        }
        values
    }
}

fn whole(values: impl Iterator<Item = u32>) -> Vec<i32> {
    values.map(|value| i32::try_from(value).unwrap_or(0)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequence(tokens: usize, skip: usize) -> Sequence {
        let ids = (0..tokens as u32).map(|id| id + 5).collect();
        Sequence { ids, type_ids: None, truncated: false, skip }
    }

    fn config() -> TransformerConfig {
        let value = serde_json::json!({
            "model_type": "bert", "hidden_size": 8, "num_attention_heads": 2, "max_position_embeddings": 4,
        });
        let path = std::path::Path::new("config.json");
        crate::families::Transformer::parse(&value, path).expect("sound").config
    }

    fn whole_of(batch: &FusedBatch<'_>, name: &str) -> (Vec<i64>, Vec<i32>) {
        match batch.input(name).expect(name) {
            FusedInput { shape, values: Values::Whole(values) } => (shape, values),
            other => panic!("{name} is {other:?}"),
        }
    }

    /// The example of the operator's documentation: texts of 1, 2 and 4 tokens in four places each.
    #[test]
    fn the_inputs_of_packed_attention_are_those_of_its_documentation() {
        let (sequences, config) = ([sequence(1, 0), sequence(2, 0), sequence(4, 0)], config());
        let batch = FusedBatch::new(&sequences, &[0, 1, 2], Layout::Packed, &config, &[]);
        let offsets = vec![0, 4, 5, 8, 9, 10, 11, 1, 2, 3, 6, 7];
        assert_eq!(whole_of(&batch, "token_offset"), (vec![3, 4], offsets));
        assert_eq!(whole_of(&batch, "cumulative_sequence_length"), (vec![4], vec![0, 1, 3, 7]));
        assert_eq!(whole_of(&batch, "input_ids"), (vec![1, 7], vec![5, 5, 6, 5, 6, 7, 8]));
        assert_eq!(whole_of(&batch, "position_ids").1, [0, 0, 1, 0, 1, 2, 3]);
        assert_eq!(whole_of(&batch, "token_type_ids").1, [0; 7]);
        let rows = vec![0, 0, 0, 0, 1, 2, 2, 2, 3, 4, 5, 6];
        assert_eq!(whole_of(&batch, "token_rows"), (vec![3, 4], rows));
        assert_eq!(whole_of(&batch, "picked"), (vec![3], vec![0, 1, 3]));
        assert_eq!(batch.rows(), [(0, 1), (1, 2), (3, 4)]);
        assert_eq!(batch.input("offsets"), None);
    }

    #[test]
    fn padded_texts_are_filled_up() {
        let (sequences, config) = ([sequence(1, 0), sequence(3, 1)], config());
        let modes = [PoolingMode::Mean, PoolingMode::LastToken];
        let batch = FusedBatch::new(&sequences, &[1, 0], Layout::Padded, &config, &modes);
        let ids = vec![5, 6, 7, 0, 5, 0, 0, 0];
        assert_eq!(whole_of(&batch, "input_ids"), (vec![2, 4], ids));
        assert_eq!(whole_of(&batch, "attention_mask").1, [1, 1, 1, 0, 1, 0, 0, 0]);
        assert_eq!(batch.rows(), [(0, 3), (4, 1)]);
        let weights = batch.input("pool_weights").expect("weights");
        assert_eq!(weights.shape, [2, 2, 4]);
        let of_first = [0.0, 0.5, 0.5, 0.0, 0.0, 0.0, 1.0, 0.0];
        let of_second = [1.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0];
        assert_eq!(weights.values, Values::Float([of_first, of_second].concat()));
    }

    #[test]
    fn a_picked_row_is_that_of_the_mode() {
        let (sequences, config) = ([sequence(2, 0), sequence(3, 1)], config());
        for (modes, want) in
            [(&[PoolingMode::Cls][..], [0, 3]), (&[PoolingMode::LastToken], [1, 4]), (&[], [0, 3])]
        {
            let batch = FusedBatch::new(&sequences, &[0, 1], Layout::Packed, &config, modes);
            assert_eq!(whole_of(&batch, "picked").1, want, "{modes:?}");
        }
    }

    #[test]
    fn texts_without_a_token_that_counts_are_left_out() {
        let sequences = [sequence(0, 0), sequence(2, 2), sequence(3, 1)];
        let (config, rows) = (config(), [0, 1, 2]);
        let batch = |modes| FusedBatch::new(&sequences, &rows, Layout::Packed, &config, modes);
        let tokens = batch(&[]);
        assert_eq!(
            (&*tokens.present, tokens.rows()),
            (&[false, true, true][..], vec![(0, 2), (2, 3)])
        );
        let pooled = batch(&[PoolingMode::Cls]);
        assert_eq!((&*pooled.present, pooled.rows()), (&[false, false, true][..], vec![(0, 3)]));
        assert_eq!(whole_of(&pooled, "picked").1, [1]);
    }

    #[test]
    fn places_are_rounded_up_but_never_beyond_the_model() {
        for (layout, longest, tokens_max, want) in [
            (Layout::Packed, 1, 512, 16),
            (Layout::Packed, 16, 512, 16),
            (Layout::Packed, 17, 512, 32),
            (Layout::Packed, 505, 510, 510),
            (Layout::Padded, 17, 512, 24),
            (Layout::Padded, 9, 4, 9),
        ] {
            assert_eq!(places(layout, longest, tokens_max), want, "{layout:?} {longest}");
        }
    }
}
