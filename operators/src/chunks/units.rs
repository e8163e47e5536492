//! A text in units: words that are never cut, or parts of words that are too long for a chunk.
//!
//! Sums of their tokens make the length of any run of units one subtraction.

use super::{Measure, Word};
use crate::error::Result;

/// How strong a break between two units is; the strongest is the least.
pub(super) mod strength {
    /// A chunk always ends here, and the next one repeats nothing.
    pub(crate) const FORCED: u8 = 0;
    /// Before a heading.
    pub(crate) const HEADING: u8 = 1;
    /// A blank line.
    pub(crate) const PARAGRAPH: u8 = 2;
    /// The end of a line that is the end of a sentence too, or before an item of a list.
    pub(crate) const FULL_LINE: u8 = 3;
    /// The end of a sentence.
    pub(crate) const SENTENCE: u8 = 4;
    /// The end of a line.
    pub(crate) const LINE: u8 = 5;
    /// Behind a comma and the like.
    pub(crate) const CLAUSE: u8 = 6;
    /// White space.
    pub(crate) const WORD: u8 = 7;
    /// Nothing.
    pub(crate) const NONE: u8 = 8;
}

/// The units of a text. Gap `i` is before unit `i`; the last gap is the end of the text.
#[derive(Debug, Default)]
pub(super) struct Units {
    /// The first byte of each unit.
    starts: Vec<usize>,
    /// The byte behind each.
    ends: Vec<usize>,
    /// Tokens before each unit, and of all at the end.
    sums: Vec<u64>,
    /// Of each gap, how strong it is.
    strengths: Vec<u8>,
    /// Length of the text.
    bytes: usize,
}

impl Units {
    /// Measures a text. No unit has more than `tokens_max` tokens or half of `bytes_max`, unless
    /// it is one character, and no white space between two has more than a quarter.
    ///
    /// # Errors
    /// Those of `measure`.
    pub(super) fn of(
        text: &str,
        measure: &dyn Measure,
        tokens_max: usize,
        bytes_max: usize,
    ) -> Result<Self> {
        let words = measure.words(text)?;
        let mut units = Self { bytes: text.len(), sums: vec![0], ..Self::default() };
        for word in words {
            let piece = text.get(word.start..word.end).unwrap_or_default();
            let start = word.start + (piece.len() - piece.trim_start().len());
            let trimmed = piece.trim();
            if piece.is_empty() || start.min(word.end) < units.end() {
                units.add_tokens(word.tokens);
                continue;
            }
            // White space that is a token is a unit like any other.
            let word = match trimmed {
                "" => word,
                trimmed => Word { start, end: start + trimmed.len(), ..word },
            };
            units.space(text, word.start, bytes_max / 4);
            let mut tokens = word.tokens as usize;
            if !measure.adds_up() && tokens * 2 > tokens_max {
                let word = text.get(word.start..word.end).unwrap_or_default();
                tokens = measure.count(word)?.saturating_sub(measure.fixed());
            }
            if tokens > tokens_max || word.end - word.start > bytes_max / 2 {
                units.divide(text, word, measure, tokens_max, bytes_max / 2)?;
            } else {
                units.push(word, strength::NONE);
            }
        }
        units.space(text, text.len(), bytes_max / 4);
        units.strengths.push(strength::FORCED);
        Ok(units)
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.starts.len()
    }

    /// The byte of a gap: white space belongs to what is before it.
    pub(super) fn byte(&self, gap: usize) -> usize {
        if gap == 0 { 0 } else { self.starts.get(gap).copied().unwrap_or(self.bytes) }
    }

    /// The bytes of a unit.
    pub(super) fn range(&self, unit: usize) -> (usize, usize) {
        let at = |of: &[usize]| of.get(unit).copied().unwrap_or(self.bytes);
        (at(&self.starts), at(&self.ends))
    }

    /// Tokens between two gaps.
    pub(super) fn tokens(&self, from: usize, to: usize) -> usize {
        let sum = |gap: usize| self.sums.get(gap).copied().unwrap_or_default();
        sum(to).saturating_sub(sum(from)) as usize
    }

    /// The last gap up to `most` before which there are at most `tokens` from a gap on.
    pub(super) fn reach(&self, from: usize, most: usize, tokens: usize) -> usize {
        let limit = self.sums.get(from).copied().unwrap_or_default() + tokens as u64;
        let sums = self.sums.get(from..=most).unwrap_or_default();
        from + sums.partition_point(|sum| *sum <= limit).saturating_sub(1)
    }

    /// The first gap from which on there are at most `tokens` to a gap.
    pub(super) fn reach_back(&self, to: usize, tokens: usize) -> usize {
        let sum = self.sums.get(to).copied().unwrap_or_default();
        let limit = sum.saturating_sub(tokens as u64);
        self.sums.get(..=to).unwrap_or_default().partition_point(|sum| *sum < limit)
    }

    /// How strong the break at a gap is.
    pub(super) fn strength(&self, gap: usize) -> u8 {
        self.strengths.get(gap).copied().unwrap_or(strength::FORCED)
    }

    /// Changes how strong the break at a gap within the text is, unless it is forced.
    pub(super) fn rate(&mut self, gap: usize, change: impl FnOnce(u8) -> u8) {
        let is_inner = gap > 0 && gap < self.len();
        let slot = self.strengths.get_mut(gap).filter(|_| is_inner);
        if let Some(slot) = slot.filter(|slot| **slot != strength::FORCED) {
            *slot = change(*slot);
        }
    }

    /// The unit that a byte is in or before.
    pub(super) fn unit_at(&self, byte: usize) -> usize {
        self.starts.partition_point(|start| *start < byte)
    }

    fn end(&self) -> usize {
        self.ends.last().copied().unwrap_or_default()
    }

    fn push(&mut self, word: Word, strength: u8) {
        self.starts.push(word.start);
        self.ends.push(word.end);
        self.strengths.push(strength);
        self.sums.push(self.sums.last().copied().unwrap_or_default() + u64::from(word.tokens));
    }

    fn add_tokens(&mut self, tokens: u32) {
        if let Some(sum) = self.sums.last_mut().filter(|_| !self.starts.is_empty()) {
            *sum += u64::from(tokens);
        }
    }

    /// Divides white space before a byte that is longer than `most` bytes.
    fn space(&mut self, text: &str, start: usize, most: usize) {
        while start.saturating_sub(self.end()) > most {
            let from = self.end();
            let end = border(text, from + most.max(1), from);
            self.push(Word { start: from, end, tokens: 0 }, strength::NONE);
        }
    }

    /// A word in parts. Each is a word by itself only where a chunk ends, so all of them end one.
    fn divide(
        &mut self,
        text: &str,
        word: Word,
        measure: &dyn Measure,
        tokens_max: usize,
        bytes_max: usize,
    ) -> Result<()> {
        let inner = if measure.adds_up() { strength::FORCED } else { strength::NONE };
        let mut start = word.start;
        let mut first = true;
        while start < word.end {
            let mut end = match start.saturating_add(bytes_max.max(1)) {
                end if end >= word.end => word.end,
                end => border(text, end, start),
            };
            let tokens = loop {
                let piece = text.get(start..end).unwrap_or_default();
                let tokens = measure.count(piece)?.saturating_sub(measure.fixed());
                let half = border(text, start + (end - start) / 2, start);
                if tokens <= tokens_max || half >= end {
                    break tokens as u32;
                }
                end = half;
            };
            self.push(Word { start, end, tokens }, if first { strength::NONE } else { inner });
            (start, first) = (end, false);
        }
        Ok(())
    }
}

/// The last border between characters up to a byte, but behind `start` in any case. A letter and
/// its accents, or the parts of an emoji, are one character where that is possible.
fn border(text: &str, byte: usize, start: usize) -> usize {
    let next = |from: usize| {
        text.get(from..)
            .and_then(|rest| rest.chars().next())
            .map_or(text.len(), |c| from + c.len_utf8())
    };
    let mut end = byte.min(text.len());
    while end > start && (!text.is_char_boundary(end) || joins(text, end)) {
        end -= 1;
    }
    if end > start {
        return end;
    }
    // One cluster alone is too long: it is cut between characters.
    let mut end = byte.min(text.len());
    while end > start && !text.is_char_boundary(end) {
        end -= 1;
    }
    if end > start { end } else { next(start) }
}

/// Whether what follows a byte belongs to the character before it.
fn joins(text: &str, byte: usize) -> bool {
    let is_joint = |c: char| {
        let is_accent = matches!(c, '\u{300}'..='\u{36f}' | '\u{20d0}'..='\u{20ff}');
        let is_of_emoji = matches!(c, '\u{fe00}'..='\u{fe0f}' | '\u{1f3fb}'..='\u{1f3ff}');
        is_accent || is_of_emoji || c == '\u{200d}'
    };
    let after = text.get(byte..).and_then(|rest| rest.chars().next());
    let before = text.get(..byte).and_then(|rest| rest.chars().next_back());
    after.is_some_and(is_joint) || before == Some('\u{200d}')
}
