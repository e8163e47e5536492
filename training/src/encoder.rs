//! The transformer: from token ids to a vector per token, and the way back to the gradients of its
//! weights.
//!
//! Architectures are BERT's and its relatives', which normalise after each half of a layer. What is
//! kept for the way back is what is dear to compute: per layer queries, keys and values, the mixed
//! values, both normalised sums and the middle of the feed-forward block; the rest is made again.

use sembla_models::anatomy::{Anatomy, HiddenActivation};

use crate::attention::{Attention, DistanceBias};
use crate::batch::Batch;
use crate::error::Result;
use crate::layers::{Claim, Linear, Norm};
use crate::parameters::{Gradients, ParameterId, Parameters};
use crate::random::Dropout;
use crate::rows::{self, NormWeights};
use crate::workspace::Workspace;

#[derive(Debug)]
struct Layer {
    qkv: Linear,
    output: Linear,
    attention_norm: Norm,
    up: Linear,
    down: Linear,
    output_norm: Norm,
}

/// A transformer over the parameters of a network.
#[derive(Debug)]
pub(crate) struct Encoder {
    pub(crate) hidden: usize,
    heads: usize,
    intermediate: usize,
    activation: HiddenActivation,
    epsilon: f32,
    position_padding: Option<usize>,
    pub(crate) words: ParameterId,
    positions: ParameterId,
    /// The table of segments, and whether tokens have their own.
    segments: Option<(ParameterId, bool)>,
    embedding_norm: Norm,
    layers: Vec<Layer>,
    relative: Option<Relative>,
}

/// The table of what is added to scores by distance.
#[derive(Debug)]
struct Relative {
    table: ParameterId,
    row: fn(i64) -> usize,
}

/// A normalised sum: without gain and shift, and what each row was multiplied by.
struct Normal {
    values: Vec<f32>,
    scales: Vec<f32>,
}

/// What one layer keeps.
struct LayerTrace {
    qkv: Vec<f32>,
    mixed: Vec<f32>,
    attention: Normal,
    middle: Vec<f32>,
    output: Normal,
}

/// What the way back needs of a forward pass.
pub(crate) struct Trace {
    embedding: Normal,
    layers: Vec<LayerTrace>,
    dropout: Option<Dropout>,
}

/// The place of dropout number `which` of a layer.
fn place(layer: usize, which: u64) -> u64 {
    1 + 2 * layer as u64 + which
}

impl Encoder {
    /// Takes what it needs from the tensors.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape.
    pub(crate) fn claim(
        anatomy: &Anatomy,
        parameters: &mut Parameters,
        model: &str,
    ) -> Result<Self> {
        let (hidden, intermediate) = (anatomy.hidden, anatomy.intermediate);
        let mut claim = Claim { parameters, model };
        let words = claim.table(&anatomy.words, anatomy.vocabulary, hidden)?;
        let positions = claim.table(&anatomy.positions, anatomy.positions_rows, hidden)?;
        let segments = match &anatomy.segments {
            Some(table) => Some((claim.table(&table.name, table.rows, hidden)?, table.given)),
            None => None,
        };
        let embedding_norm = claim.norm(&anatomy.embedding_norm, hidden)?;
        let relative = match &anatomy.relative {
            Some(relative) => Some(Relative {
                table: claim.table(&relative.table, relative.rows, anatomy.heads)?,
                row: relative.row,
            }),
            None => None,
        };
        let mut layers = Vec::with_capacity(anatomy.layers.len());
        for names in &anatomy.layers {
            layers.push(Layer {
                qkv: claim.linear(&[&names.query, &names.key, &names.value], hidden, hidden)?,
                output: claim.linear(&[&names.attention_output], hidden, hidden)?,
                attention_norm: claim.norm(&names.attention_norm, hidden)?,
                up: claim.linear(&[&names.up], intermediate, hidden)?,
                down: claim.linear(&[&names.down], hidden, intermediate)?,
                output_norm: claim.norm(&names.output_norm, hidden)?,
            });
        }
        Ok(Self {
            hidden,
            heads: anatomy.heads,
            intermediate,
            activation: anatomy.activation,
            epsilon: anatomy.epsilon,
            position_padding: anatomy.position_padding,
            words,
            positions,
            segments,
            embedding_norm,
            layers,
            relative,
        })
    }

    /// The vectors of all tokens, `tokens × hidden`.
    pub(crate) fn forward(
        &self,
        parameters: &Parameters,
        batch: &Batch,
        dropout: Option<Dropout>,
        workspace: &mut Workspace,
    ) -> (Vec<f32>, Trace) {
        let (tokens, hidden) = (batch.tokens(), self.hidden);
        let sum = self.embed(parameters, batch, workspace);
        let mut x = workspace.take(tokens * hidden);
        let embedding = self.norm(parameters, self.embedding_norm, sum, None, &mut x, workspace);
        rows::drop(&mut x, hidden, dropout.and_then(|dropout| dropout.hidden_site(0)));
        let bias = self.distance_bias(parameters, batch);
        let mut layers = Vec::with_capacity(self.layers.len());
        for (number, layer) in self.layers.iter().enumerate() {
            let attention = self.attention(bias.as_ref(), dropout, number);
            let site =
                |which| dropout.and_then(|dropout| dropout.hidden_site(place(number, which)));
            let mut qkv = workspace.take(tokens * 3 * hidden);
            layer.qkv.forward(parameters, &x, tokens, &mut qkv);
            let mut mixed = workspace.take(tokens * hidden);
            attention.forward(&qkv, &batch.starts, &mut mixed);
            let mut sum = workspace.take(tokens * hidden);
            layer.output.forward(parameters, &mixed, tokens, &mut sum);
            rows::drop(&mut sum, hidden, site(0));
            let mut y = workspace.take(tokens * hidden);
            let normed =
                self.norm(parameters, layer.attention_norm, sum, Some(&x), &mut y, workspace);
            let mut middle = workspace.take(tokens * self.intermediate);
            layer.up.forward(parameters, &y, tokens, &mut middle);
            let mut wide = workspace.take(tokens * self.intermediate);
            rows::activate(self.activation, &middle, &mut wide);
            let mut sum = workspace.take(tokens * hidden);
            layer.down.forward(parameters, &wide, tokens, &mut sum);
            workspace.give(wide);
            rows::drop(&mut sum, hidden, site(1));
            let output = self.norm(parameters, layer.output_norm, sum, Some(&y), &mut x, workspace);
            workspace.give(y);
            layers.push(LayerTrace { qkv, mixed, attention: normed, middle, output });
        }
        (x, Trace { embedding, layers, dropout })
    }

    /// Adds the gradients of all weights, given that of the vectors of all tokens.
    pub(crate) fn backward(
        &self,
        parameters: &Parameters,
        batch: &Batch,
        trace: Trace,
        mut gradient: Vec<f32>,
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let bias = self.distance_bias(parameters, batch);
        let Trace { embedding, mut layers, dropout } = trace;
        for number in (0..self.layers.len()).rev() {
            let Some(kept) = layers.pop() else { break };
            let mut x = workspace.take(gradient.len());
            let (before, norm) = match layers.last() {
                Some(below) => (&below.output, self.layers[number - 1].output_norm),
                None => (&embedding, self.embedding_norm),
            };
            self.output(parameters, norm, before, &mut x);
            if number == 0 {
                rows::drop(&mut x, self.hidden, dropout.and_then(|d| d.hidden_site(0)));
            }
            let step = Step { encoder: self, parameters, batch, number, dropout };
            step.backward(kept, &x, bias.as_ref(), &mut gradient, gradients, workspace);
            workspace.give(x);
        }
        rows::drop(&mut gradient, self.hidden, dropout.and_then(|d| d.hidden_site(0)));
        self.norm_back(
            parameters,
            self.embedding_norm,
            embedding,
            &mut gradient,
            gradients,
            workspace,
        );
        self.embed_back(batch, &gradient, gradients);
        workspace.give(gradient);
    }

    /// The sum of word, position and segment vectors.
    fn embed(&self, parameters: &Parameters, batch: &Batch, workspace: &mut Workspace) -> Vec<f32> {
        use rayon::prelude::*;
        let width = self.hidden;
        let words = parameters.values(self.words);
        let positions = batch.positions(self.position_padding);
        let table = parameters.values(self.positions);
        let mut sum = workspace.take(batch.tokens() * width);
        sum.par_chunks_mut(width).enumerate().for_each(|(token, sum)| {
            sum.copy_from_slice(&words[batch.ids[token] as usize * width..][..width]);
            let position = &table[positions[token] as usize * width..][..width];
            if let Some((segments, given)) = self.segments {
                let segment = if given { batch.segments[token] as usize } else { 0 };
                let segment = &parameters.values(segments)[segment * width..][..width];
                sum.iter_mut().zip(segment).for_each(|(sum, add)| *sum += add);
            }
            sum.iter_mut().zip(position).for_each(|(sum, add)| *sum += add);
        });
        sum
    }

    /// The way back through [`Encoder::embed`].
    fn embed_back(&self, batch: &Batch, gradient: &[f32], gradients: &mut Gradients) {
        gradients.add_rows(self.words, &batch.ids, gradient);
        gradients.add_rows(self.positions, &batch.positions(self.position_padding), gradient);
        if let Some((segments, given)) = self.segments {
            let first = vec![0; batch.tokens()];
            let rows = if given { &batch.segments } else { &first };
            gradients.add_rows(segments, rows, gradient);
        }
    }

    /// Normalises a sum, writes the result with gain and shift to `out`, and keeps the rest.
    fn norm(
        &self,
        parameters: &Parameters,
        norm: Norm,
        mut sum: Vec<f32>,
        residual: Option<&[f32]>,
        out: &mut [f32],
        workspace: &mut Workspace,
    ) -> Normal {
        let mut scales = workspace.take(sum.len() / self.hidden);
        rows::normalise(&mut sum, residual, self.hidden, self.epsilon, &mut scales);
        let normal = Normal { values: sum, scales };
        self.output(parameters, norm, &normal, out);
        normal
    }

    /// What a norm gave.
    fn output(&self, parameters: &Parameters, norm: Norm, normal: &Normal, out: &mut [f32]) {
        let weights = NormWeights {
            gain: parameters.values(norm.gain),
            shift: parameters.values(norm.shift),
        };
        rows::scale_and_shift(&normal.values, weights, out);
    }

    /// The way back through a norm, in place.
    fn norm_back(
        &self,
        parameters: &Parameters,
        norm: Norm,
        normal: Normal,
        gradient: &mut [f32],
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let gain = parameters.values(norm.gain);
        let (gains, shifts) = gradients.two(norm.gain, norm.shift);
        rows::normalise_back(gradient, &normal.values, &normal.scales, gain, gains, shifts);
        workspace.give(normal.values);
        workspace.give(normal.scales);
    }

    fn attention<'a>(
        &self,
        bias: Option<&'a DistanceBias>,
        dropout: Option<Dropout>,
        layer: usize,
    ) -> Attention<'a> {
        let dropout = dropout.and_then(|dropout| dropout.attention_site(layer as u64));
        Attention { hidden: self.hidden, heads: self.heads, bias, dropout }
    }

    /// What is added to scores by distance, as far as the longest text of the batch reaches.
    fn distance_bias(&self, parameters: &Parameters, batch: &Batch) -> Option<DistanceBias> {
        let relative = self.relative.as_ref()?;
        let table = parameters.values(relative.table);
        let reach =
            (0..batch.texts()).map(|text| batch.range(text).len()).max().unwrap_or(0).max(1);
        let distances = || 1 - reach as i64..reach as i64;
        let value = |head: usize, d: i64| table[(relative.row)(d) * self.heads + head];
        let row = |head: usize| distances().map(move |distance| value(head, distance));
        Some(DistanceBias { values: (0..self.heads).flat_map(row).collect(), reach })
    }
}

/// One layer on the way back.
struct Step<'a> {
    encoder: &'a Encoder,
    parameters: &'a Parameters,
    batch: &'a Batch,
    number: usize,
    dropout: Option<Dropout>,
}

impl Step<'_> {
    /// Turns the gradient of the layer's output into that of its input `x`.
    fn backward(
        &self,
        kept: LayerTrace,
        x: &[f32],
        bias: Option<&DistanceBias>,
        gradient: &mut [f32],
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let Self { encoder, parameters, batch, .. } = *self;
        let (tokens, hidden) = (batch.tokens(), encoder.hidden);
        let layer = &encoder.layers[self.number];
        let LayerTrace { qkv, mixed, attention, middle, output } = kept;
        encoder.norm_back(parameters, layer.output_norm, output, gradient, gradients, workspace);
        let mut y = workspace.take(tokens * hidden);
        encoder.output(parameters, layer.attention_norm, &attention, &mut y);
        self.feed_forward_back(&y, middle, gradient, gradients, workspace);
        workspace.give(y);
        let norm = layer.attention_norm;
        encoder.norm_back(parameters, norm, attention, gradient, gradients, workspace);

        let mut branch = workspace.copy(gradient);
        self.drop(&mut branch, 0);
        layer.output.weights_back(gradients, &mixed, &branch, tokens);
        workspace.give(mixed);
        let mut above = workspace.take(tokens * hidden);
        layer.output.input_back(parameters, &branch, tokens, &mut above, false);
        workspace.give(branch);
        let mut qkv_gradient = workspace.take(tokens * 3 * hidden);
        let attention = encoder.attention(bias, self.dropout, self.number);
        let of_bias = attention.backward(&qkv, &batch.starts, &above, &mut qkv_gradient);
        self.bias_back(&of_bias, gradients);
        workspace.give(above);
        workspace.give(qkv);
        layer.qkv.weights_back(gradients, x, &qkv_gradient, tokens);
        layer.qkv.input_back(parameters, &qkv_gradient, tokens, gradient, true);
        workspace.give(qkv_gradient);
    }

    /// The feed-forward block: adds the gradient of its input to `gradient`.
    fn feed_forward_back(
        &self,
        input: &[f32],
        middle: Vec<f32>,
        gradient: &mut [f32],
        gradients: &mut Gradients,
        workspace: &mut Workspace,
    ) {
        let Self { encoder, parameters, batch, .. } = *self;
        let (tokens, activation) = (batch.tokens(), encoder.activation);
        let layer = &encoder.layers[self.number];
        let mut branch = workspace.copy(gradient);
        self.drop(&mut branch, 1);
        let mut wide = workspace.take(middle.len());
        rows::activate(activation, &middle, &mut wide);
        layer.down.weights_back(gradients, &wide, &branch, tokens);
        layer.down.input_back(parameters, &branch, tokens, &mut wide, false);
        workspace.give(branch);
        rows::activate_back(activation, &middle, &mut wide);
        workspace.give(middle);
        layer.up.weights_back(gradients, input, &wide, tokens);
        layer.up.input_back(parameters, &wide, tokens, gradient, true);
        workspace.give(wide);
    }

    fn drop(&self, values: &mut [f32], which: u64) {
        let site = self.dropout.and_then(|d| d.hidden_site(place(self.number, which)));
        rows::drop(values, self.encoder.hidden, site);
    }

    /// Adds what the scores' gradients say of the table of distances.
    fn bias_back(&self, texts: &[crate::attention::BiasGradient], gradients: &mut Gradients) {
        let Some(relative) = &self.encoder.relative else { return };
        let heads = self.encoder.heads;
        for text in texts {
            let reach = text.tokens as i64 - 1;
            let width = 2 * text.tokens - 1;
            let rows: Vec<u32> = (-reach..=reach).map(|d| (relative.row)(d) as u32).collect();
            let by_distance: Vec<f32> = (0..width)
                .flat_map(|column| (0..heads).map(move |head| head * width + column))
                .map(|place| text.values[place])
                .collect();
            gradients.add_rows(relative.table, &rows, &by_distance);
        }
    }
}

impl Trace {
    /// Gives the buffers back.
    pub(crate) fn give(self, workspace: &mut Workspace) {
        let normals = |normal: Normal| [normal.values, normal.scales];
        let layers = self.layers.into_iter().flat_map(|layer| {
            let LayerTrace { qkv, mixed, attention, middle, output } = layer;
            let [a, b] = normals(attention);
            let [c, d] = normals(output);
            [qkv, mixed, middle, a, b, c, d]
        });
        for buffer in normals(self.embedding).into_iter().chain(layers) {
            workspace.give(buffer);
        }
    }
}
