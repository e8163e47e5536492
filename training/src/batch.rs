//! A batch of texts as the network takes it: their tokens one after another, without padding.

use sembla_models::trainable::Sequence;

/// Texts whose tokens lie one after another.
#[derive(Clone, Debug, Default)]
pub(crate) struct Batch {
    pub(crate) ids: Vec<u32>,
    /// The segment of each token.
    pub(crate) segments: Vec<u32>,
    /// Where each text begins, and the end of the last.
    pub(crate) starts: Vec<usize>,
    /// Tokens at the start of each text that pooling leaves out.
    pub(crate) skips: Vec<usize>,
}

impl Batch {
    pub(crate) fn new(texts: &[&Sequence]) -> Self {
        let mut batch = Self { starts: vec![0], ..Self::default() };
        for text in texts {
            batch.ids.extend(&text.ids);
            match &text.type_ids {
                Some(segments) => batch.segments.extend(segments),
                None => batch.segments.resize(batch.ids.len(), 0),
            }
            batch.starts.push(batch.ids.len());
            batch.skips.push(text.skip);
        }
        batch
    }

    pub(crate) fn texts(&self) -> usize {
        self.skips.len()
    }

    pub(crate) fn tokens(&self) -> usize {
        self.ids.len()
    }

    /// The first and the last token of a text, the latter not included.
    pub(crate) fn range(&self, text: usize) -> std::ops::Range<usize> {
        self.starts[text]..self.starts[text + 1]
    }

    /// The row of the table of positions for each token; with a padding id they are numbered after
    /// it, and padding does not count.
    pub(crate) fn positions(&self, padding: Option<usize>) -> Vec<u32> {
        let mut positions = Vec::with_capacity(self.tokens());
        for text in 0..self.texts() {
            let ids = &self.ids[self.range(text)];
            match padding {
                None => positions.extend(0..ids.len() as u32),
                Some(padding) => {
                    let mut seen = 0;
                    positions.extend(ids.iter().map(|id| {
                        let counts = u32::from(*id as usize != padding);
                        seen += counts;
                        seen * counts + padding as u32
                    }));
                }
            }
        }
        positions
    }
}
