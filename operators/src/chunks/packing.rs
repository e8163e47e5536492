//! Packs the units of a text into chunks, from its beginning to its end: the most that fits, back
//! to the best break in it, then the next chunk from there or a little before.

use std::sync::Arc;

use super::markdown::{Heading, Outline};
use super::subjects::is_sentence;
use super::units::{Units, strength};
use super::{Chunk, ChunkOptions, Measure, Method};
use crate::error::{OperatorError, Result};

/// What is between two headings of a path.
const BELOW: &str = " > ";

/// A text that is being packed.
pub(super) struct Packing<'a> {
    pub(super) text: &'a str,
    pub(super) units: &'a Units,
    pub(super) outline: Option<&'a Outline>,
    pub(super) options: &'a ChunkOptions,
    pub(super) measure: &'a dyn Measure,
    pub(super) bytes_max: usize,
}

/// The headings above a chunk: what is shown of them, and what its text begins with.
#[derive(Default)]
struct Above {
    path: Option<Arc<str>>,
    context: Option<Arc<str>>,
    tokens: usize,
    bytes: usize,
}

impl Packing<'_> {
    /// The chunks.
    ///
    /// # Errors
    /// Those of the measure, and a character that no chunk has room for.
    pub(super) fn chunks(&self) -> Result<Vec<Chunk>> {
        let mut chunks = Vec::new();
        // The gap where the next chunk begins, and the one where the last one ended.
        let (mut from, mut done) = (0, 0);
        while done < self.units.len() {
            let above = self.above(from)?;
            let stop = self.stop(from);
            let (to, chunk) = self.chunk(from, done, stop, &above)?;
            if to <= done {
                // With what it repeats, it has no room for anything new.
                from = done;
                continue;
            }
            chunks.extend(chunk);
            // Another section or subject repeats nothing.
            let is_new = to == stop || self.units.strength(to) <= strength::HEADING;
            let back = if is_new { to } else { self.back(from, to) };
            let fits = self.fits(back, to + 1, &above, self.room(&above));
            (from, done) = (if fits { back } else { to }, to);
        }
        Ok(chunks)
    }

    /// Tokens that a chunk has for its own text.
    fn room(&self, above: &Above) -> usize {
        self.options.size.saturating_sub(self.measure.fixed() + above.tokens)
    }

    fn fits(&self, from: usize, to: usize, above: &Above, room: usize) -> bool {
        let bytes = self.units.byte(to) - self.units.byte(from) + above.bytes;
        to <= self.units.len() && self.units.tokens(from, to) <= room && bytes <= self.bytes_max
    }

    /// The next gap at which a chunk from a gap on has to end.
    fn stop(&self, from: usize) -> usize {
        let forced = |gap: &usize| self.units.strength(*gap) == strength::FORCED;
        // No chunk is longer, so there is no need to look further.
        let reach = self.units.reach(from, self.units.len(), self.options.size) + 1;
        let reach = reach.min(self.units.len()).max(from + 1);
        let mut stop = (from + 1..=reach).find(forced).unwrap_or(self.units.len());
        if let Some(outline) = self.outline {
            let section = outline.section(self.units.range(from).0);
            let level = outline.level(section);
            let later = outline.headings.iter().skip(section);
            let next = later.clone().find(|heading| level > 0 && heading.level <= level);
            if let Some(heading) = next {
                stop = stop.min(self.units.unit_at(heading.start)).max(from + 1);
            }
        }
        stop
    }

    /// The chunk from one gap on, and the gap where it ends, behind `done` if that is possible;
    /// none where it is white space alone.
    fn chunk(
        &self,
        from: usize,
        done: usize,
        stop: usize,
        above: &Above,
    ) -> Result<(usize, Option<Chunk>)> {
        let mut room = self.room(above);
        loop {
            let to = self.end((from, done.max(from)), stop, above, room);
            let (start, end) = self.range(from, to);
            let piece = self.text.get(start..end).unwrap_or_default();
            if piece.trim().is_empty() {
                return Ok((to, None));
            }
            let chunk = |tokens: usize| Chunk {
                start,
                end,
                tokens,
                heading_path: above.path.clone(),
                context: above.context.clone(),
            };
            let sum = self.units.tokens(from, to);
            if self.measure.adds_up() && sum <= room {
                return Ok((to, Some(chunk(self.measure.fixed() + above.tokens + sum))));
            }
            let tokens = self.measure.count(&chunk(0).text(self.text))?;
            if tokens <= self.options.size {
                return Ok((to, Some(chunk(tokens))));
            }
            if to == from + 1 && above.context.is_some() {
                let alone = Above { path: above.path.clone(), ..Above::default() };
                return self.chunk(from, done, stop, &alone);
            }
            if to == from + 1 {
                return Err(OperatorError::Option(format!(
                    "size must be at least {tokens}, got {}: a single character of the text takes that many tokens with \
                     the model's prompt and special tokens",
                    self.options.size
                )));
            }
            // Cut apart, the words are more tokens than they were together.
            room = sum.saturating_sub((tokens - self.options.size).max(1));
        }
    }

    /// The bytes of the units between two gaps.
    fn range(&self, from: usize, to: usize) -> (usize, usize) {
        let (start, end) = (self.units.byte(from), self.units.byte(to));
        if !self.options.method.trims() {
            return (start, end);
        }
        let piece = self.text.get(start..end).unwrap_or_default();
        let trimmed = piece.trim_start();
        let start = start + (piece.len() - trimmed.len());
        (start, start + trimmed.trim_end().len())
    }

    /// Where a chunk that begins at a gap ends; `done` is where the one before it did.
    fn end(&self, (from, done): (usize, usize), stop: usize, above: &Above, room: usize) -> usize {
        let mut fit = self.units.reach(from, stop, room);
        while fit > from + 1 && !self.fits(from, fit, above, room) {
            fit -= 1;
        }
        let fit = fit.max(from + 1);
        if fit == stop {
            return stop;
        }
        match self.options.method {
            Method::Tokens => fit,
            Method::Recursive | Method::Markdown => self.best(from, done, fit),
            Method::Sentence | Method::Semantic => {
                let ends = |gap: &usize| is_sentence(self.units.strength(*gap));
                let last = (done + 1..=fit).rev().find(ends);
                last.unwrap_or_else(|| self.best(from, done, fit))
            }
        }
    }

    /// The strongest break in the second half of the units between two gaps, of equal ones the
    /// last. A heading in the second quarter is as good.
    fn best(&self, from: usize, done: usize, fit: usize) -> usize {
        let all = self.units.tokens(from, fit);
        let mut best = fit;
        for gap in (done + 1..fit).rev() {
            let (tokens, rated) = (self.units.tokens(from, gap), self.units.strength(gap));
            if tokens * 4 < all {
                break;
            }
            let is_late = tokens * 2 >= all || rated <= strength::HEADING;
            if is_late && rated < self.units.strength(best) {
                best = gap;
            }
        }
        best
    }

    /// Where the chunk after one between two gaps begins.
    fn back(&self, from: usize, to: usize) -> usize {
        if self.options.overlap == 0 {
            return to;
        }
        let first = self.units.reach_back(to, self.options.overlap).max(from + 1);
        let mut gaps = first..to;
        let sentence = gaps.clone().find(|gap| is_sentence(self.units.strength(*gap)));
        match self.options.method {
            Method::Tokens => first,
            Method::Sentence | Method::Semantic => sentence.unwrap_or(to),
            Method::Recursive | Method::Markdown => sentence
                .or_else(|| gaps.find(|gap| self.units.strength(*gap) <= strength::WORD))
                .unwrap_or(to),
        }
    }

    /// The headings above a chunk that begins at a gap.
    fn above(&self, from: usize) -> Result<Above> {
        let Some(outline) = self.outline else { return Ok(Above::default()) };
        let start = self.units.range(from).0;
        let path = outline.path(outline.section(start));
        let title = |heading: &&Heading| heading.title.clone();
        let all: Vec<String> = path.iter().map(title).filter(|title| !title.is_empty()).collect();
        if all.is_empty() {
            return Ok(Above::default());
        }
        let shown: Arc<str> = all.join(BELOW).into();
        // A chunk that begins with a heading has that one already.
        let outer = path.iter().filter(|heading| heading.start < start);
        let mut outer: Vec<String> = outer.map(title).filter(|title| !title.is_empty()).collect();
        let room = self.options.size.saturating_sub(self.measure.fixed());
        while self.options.heading && !outer.is_empty() {
            let context = format!("{}\n\n", outer.join(BELOW));
            let tokens = self.measure.count(&context)?.saturating_sub(self.measure.fixed());
            if tokens <= room / 2 && context.len() <= self.bytes_max / 4 {
                let (bytes, context) = (context.len(), Some(context.into()));
                return Ok(Above { path: Some(shown), context, tokens, bytes });
            }
            // Of too many headings, the innermost say most.
            outer.remove(0);
        }
        Ok(Above { path: Some(shown), ..Above::default() })
    }
}
