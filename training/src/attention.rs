//! Attention within each text of a packed batch, and the way back through it.
//!
//! Tokens of all texts lie one after another; a text's tokens see each other and nothing else. The
//! weights of attention are not kept: the way back makes them again from queries and keys.

use rayon::prelude::*;
use sembla_processor::{Level, level, math};

use crate::random::Site;

/// What does not change from text to text.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention<'a> {
    pub(crate) hidden: usize,
    pub(crate) heads: usize,
    /// What is added to the score of a key by its distance from the query, `heads × (2·reach - 1)`.
    pub(crate) bias: Option<&'a DistanceBias>,
    pub(crate) dropout: Option<Site>,
}

/// What is added to scores by distance.
#[derive(Debug)]
pub(crate) struct DistanceBias {
    /// `heads × (2·reach - 1)`; the middle column is distance 0.
    pub(crate) values: Vec<f32>,
    /// Distances below this have a column.
    pub(crate) reach: usize,
}

impl DistanceBias {
    /// What is added for the keys `0..tokens` of the query at `query`.
    fn row(&self, head: usize, query: usize, tokens: usize) -> &[f32] {
        let width = 2 * self.reach - 1;
        let first = head * width + self.reach - 1 - query;
        &self.values[first..first + tokens]
    }
}

/// One text's part of a gradient of [`DistanceBias`], as wide as the text reaches.
pub(crate) struct BiasGradient {
    /// `heads × (2·tokens - 1)`.
    pub(crate) values: Vec<f32>,
    pub(crate) tokens: usize,
}

/// Buffers of one thread for one head of one text.
#[derive(Default)]
struct Scratch {
    /// Keys, and on the way back values, a column per token: `head width × padded tokens`.
    keys: Vec<f32>,
    values: Vec<f32>,
    /// Attention weights of one query, and their gradient.
    weights: Vec<f32>,
    dropped: Vec<f32>,
    gradient: Vec<f32>,
}

/// Tokens are padded to a multiple of this in the columns of [`Scratch`].
const LANES: usize = 16;

impl Attention<'_> {
    fn head_width(&self) -> usize {
        self.hidden / self.heads
    }

    /// Attention of `qkv` (`tokens × 3·hidden`) into `out` (`tokens × hidden`). `starts` has where
    /// each text begins, and the end of the last.
    pub(crate) fn forward(&self, qkv: &[f32], starts: &[usize], out: &mut [f32]) {
        let texts = split(out, starts, self.hidden);
        texts.into_par_iter().enumerate().for_each_init(
            Scratch::default,
            |scratch, (text, out)| {
                let (first, end) = (starts[text], starts[text + 1]);
                let qkv = &qkv[first * 3 * self.hidden..end * 3 * self.hidden];
                for head in 0..self.heads {
                    level::run(
                        Level::active(),
                        #[inline(always)]
                        || self.head_forward(qkv, first, head, scratch, out),
                    );
                }
            },
        );
    }

    /// One head of one text.
    #[inline(always)]
    fn head_forward(
        &self,
        qkv: &[f32],
        first: usize,
        head: usize,
        scratch: &mut Scratch,
        out: &mut [f32],
    ) {
        let (width, hidden) = (self.head_width(), self.hidden);
        let tokens = qkv.len() / (3 * hidden);
        let padded = tokens.next_multiple_of(LANES);
        columns(qkv, 3 * hidden, hidden + head * width, width, padded, &mut scratch.keys);
        scratch.weights.resize(padded, 0.0);
        scratch.dropped.resize(padded, 0.0);
        for query in 0..tokens {
            let place = query * 3 * hidden + head * width;
            self.weigh(&qkv[place..place + width], (first, head, query), tokens, scratch);
            let row = &mut out[query * hidden + head * width..][..width];
            row.fill(0.0);
            for (key, weight) in scratch.dropped[..tokens].iter().enumerate() {
                let value = &qkv[key * 3 * hidden + 2 * hidden + head * width..][..width];
                row.iter_mut().zip(value).for_each(|(out, v)| *out = weight.mul_add(*v, *out));
            }
        }
    }

    /// The weights of one query into `scratch`, before and after dropout.
    #[inline(always)]
    fn weigh(
        &self,
        query: &[f32],
        (first, head, place): (usize, usize, usize),
        tokens: usize,
        scratch: &mut Scratch,
    ) {
        let scale = 1.0 / (self.head_width() as f32).sqrt();
        let weights = &mut scratch.weights[..];
        weights.fill(0.0);
        for (component, column) in query.iter().zip(scratch.keys.chunks_exact(weights.len())) {
            let component = component * scale;
            weights.iter_mut().zip(column).for_each(|(w, k)| *w = component.mul_add(*k, *w));
        }
        if let Some(bias) = self.bias {
            let bias = bias.row(head, place, tokens);
            weights.iter_mut().zip(bias).for_each(|(weight, add)| *weight += add);
        }
        weights[tokens..].fill(f32::NEG_INFINITY);
        let largest =
            weights.iter().fold(f32::NEG_INFINITY, |most, w| if *w > most { *w } else { most });
        weights.iter_mut().for_each(|weight| *weight = math::exp(*weight - largest));
        weights[tokens..].fill(0.0);
        let mut lanes = [0f32; LANES];
        for block in weights.chunks_exact(LANES) {
            lanes.iter_mut().zip(block).for_each(|(sum, weight)| *sum += weight);
        }
        let share = 1.0 / math::sum(lanes);
        weights.iter_mut().for_each(|weight| *weight *= share);
        scratch.dropped.copy_from_slice(weights);
        if let Some(site) = self.dropout {
            let site = site.row(((first + place) * self.heads + head) as u32);
            for (key, weight) in scratch.dropped.iter_mut().enumerate() {
                *weight *= site.factor(key as u32);
            }
        }
    }

    /// The gradient of `qkv` from that of the output, and of the bias by distance where there is
    /// one (one per text; else empty).
    pub(crate) fn backward(
        &self,
        qkv: &[f32],
        starts: &[usize],
        gradient: &[f32],
        out: &mut [f32],
    ) -> Vec<BiasGradient> {
        let texts = split(out, starts, 3 * self.hidden);
        texts
            .into_par_iter()
            .enumerate()
            .map_init(Scratch::default, |scratch, (text, out)| {
                let (first, end) = (starts[text], starts[text + 1]);
                let qkv = &qkv[first * 3 * self.hidden..end * 3 * self.hidden];
                let gradient = &gradient[first * self.hidden..end * self.hidden];
                let tokens = end - first;
                let wide = if self.bias.is_some() { (2 * tokens).saturating_sub(1) } else { 0 };
                let mut bias = vec![0f32; self.heads * wide];
                for head in 0..self.heads {
                    let bias = &mut bias[head * wide..(head + 1) * wide];
                    level::run(
                        Level::active(),
                        #[inline(always)]
                        || self.head_backward(qkv, gradient, (first, head), scratch, out, bias),
                    );
                }
                BiasGradient { values: bias, tokens }
            })
            .filter(|bias| !bias.values.is_empty())
            .collect()
    }

    /// One head of one text, backwards.
    #[inline(always)]
    fn head_backward(
        &self,
        qkv: &[f32],
        gradient: &[f32],
        (first, head): (usize, usize),
        scratch: &mut Scratch,
        out: &mut [f32],
        bias: &mut [f32],
    ) {
        let (width, hidden) = (self.head_width(), self.hidden);
        let tokens = qkv.len() / (3 * hidden);
        let padded = tokens.next_multiple_of(LANES);
        let scale = 1.0 / (width as f32).sqrt();
        columns(qkv, 3 * hidden, hidden + head * width, width, padded, &mut scratch.keys);
        columns(qkv, 3 * hidden, 2 * hidden + head * width, width, padded, &mut scratch.values);
        scratch.weights.resize(padded, 0.0);
        scratch.dropped.resize(padded, 0.0);
        scratch.gradient.resize(padded, 0.0);
        for row in out.chunks_exact_mut(3 * hidden) {
            row[hidden + head * width..][..width].fill(0.0);
            row[2 * hidden + head * width..][..width].fill(0.0);
        }
        for place in 0..tokens {
            let at = place * 3 * hidden + head * width;
            let query = &qkv[at..at + width];
            self.weigh(query, (first, head, place), tokens, scratch);
            let above = &gradient[place * hidden + head * width..][..width];
            self.weights_back(above, (first, head, place), scratch);
            if !bias.is_empty() {
                let to = &mut bias[tokens - 1 - place..][..tokens];
                to.iter_mut().zip(&scratch.gradient).for_each(|(sum, g)| *sum += g);
            }
            let mut query_gradient = [0f32; HEAD_WIDTH_MAX];
            let query_gradient = &mut query_gradient[..width];
            for key in 0..tokens {
                let (weight, slope) = (scratch.dropped[key], scratch.gradient[key] * scale);
                let from = &qkv[key * 3 * hidden + hidden + head * width..][..width];
                let row = &mut out[key * 3 * hidden..(key + 1) * 3 * hidden];
                let (keys, values) = row[hidden..].split_at_mut(hidden);
                let keys = &mut keys[head * width..][..width];
                let values = &mut values[head * width..][..width];
                for i in 0..width {
                    query_gradient[i] = slope.mul_add(from[i], query_gradient[i]);
                    keys[i] = slope.mul_add(query[i], keys[i]);
                    values[i] = weight.mul_add(above[i], values[i]);
                }
            }
            out[at..at + width].copy_from_slice(query_gradient);
        }
    }

    /// The gradient of one query's scores into `scratch`, from that of its output.
    #[inline(always)]
    fn weights_back(
        &self,
        above: &[f32],
        (first, head, place): (usize, usize, usize),
        scratch: &mut Scratch,
    ) {
        let Scratch { values, weights, gradient, .. } = scratch;
        gradient.fill(0.0);
        for (component, column) in above.iter().zip(values.chunks_exact(gradient.len())) {
            gradient.iter_mut().zip(column).for_each(|(g, v)| *g = component.mul_add(*v, *g));
        }
        if let Some(site) = self.dropout {
            let site = site.row(((first + place) * self.heads + head) as u32);
            for (key, value) in gradient.iter_mut().enumerate() {
                *value *= site.factor(key as u32);
            }
        }
        let mut lanes = [0f32; LANES];
        for (weights, gradient) in weights.chunks_exact(LANES).zip(gradient.chunks_exact(LANES)) {
            for lane in 0..LANES {
                lanes[lane] = weights[lane].mul_add(gradient[lane], lanes[lane]);
            }
        }
        let along = math::sum(lanes);
        gradient.iter_mut().zip(&*weights).for_each(|(g, weight)| *g = weight * (*g - along));
    }
}

/// The widest head: larger ones are refused when a model is opened.
pub(crate) const HEAD_WIDTH_MAX: usize = 256;

/// `width` components of each token from `from` on, a column per token.
#[inline(always)]
fn columns(
    rows: &[f32],
    stride: usize,
    from: usize,
    width: usize,
    padded: usize,
    out: &mut Vec<f32>,
) {
    out.clear();
    out.resize(width * padded, 0.0);
    for (token, row) in rows.chunks_exact(stride).enumerate() {
        for (component, value) in row[from..from + width].iter().enumerate() {
            out[component * padded + token] = *value;
        }
    }
}

/// One slice per text.
fn split<'a>(mut values: &'a mut [f32], starts: &[usize], width: usize) -> Vec<&'a mut [f32]> {
    let mut texts = Vec::with_capacity(starts.len().saturating_sub(1));
    for ends in starts.windows(2) {
        let (text, rest) = values.split_at_mut((ends[1] - ends[0]) * width);
        texts.push(text);
        values = rest;
    }
    texts
}
