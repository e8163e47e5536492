//! Linear layers and norms as parameters of a network, and how they are taken from a model's
//! tensors.

use crate::error::Result;
use crate::gemm::{View, multiply};
use crate::parameters::{Gradients, ParameterId, Parameters};
use crate::rows;

/// `y = x·weightᵀ + bias`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Linear {
    pub(crate) weight: ParameterId,
    pub(crate) bias: Option<ParameterId>,
    pub(crate) inputs: usize,
    pub(crate) outputs: usize,
}

impl Linear {
    /// The layer of `rows` inputs.
    pub(crate) fn forward(&self, parameters: &Parameters, x: &[f32], rows: usize, out: &mut [f32]) {
        let weight = View::new(parameters.values(self.weight), self.outputs, self.inputs);
        multiply(View::new(x, rows, self.inputs), weight.transposed(), out, false);
        if let Some(bias) = self.bias {
            rows::add_bias(out, parameters.values(bias));
        }
    }

    /// Adds the gradients of weight and bias.
    pub(crate) fn weights_back(
        &self,
        gradients: &mut Gradients,
        x: &[f32],
        above: &[f32],
        rows: usize,
    ) {
        let above_view = View::new(above, rows, self.outputs).transposed();
        multiply(above_view, View::new(x, rows, self.inputs), gradients.whole(self.weight), true);
        if let Some(bias) = self.bias {
            rows::add_column_sums(above, gradients.whole(bias));
        }
    }

    /// The gradient of the input, written or added.
    pub(crate) fn input_back(
        &self,
        parameters: &Parameters,
        above: &[f32],
        rows: usize,
        out: &mut [f32],
        add: bool,
    ) {
        let weight = View::new(parameters.values(self.weight), self.outputs, self.inputs);
        multiply(View::new(above, rows, self.outputs), weight, out, add);
    }
}

/// A layer normalisation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Norm {
    pub(crate) gain: ParameterId,
    pub(crate) shift: ParameterId,
}

/// Takes parameters from a model's tensors.
pub(crate) struct Claim<'a> {
    pub(crate) parameters: &'a mut Parameters,
    pub(crate) model: &'a str,
}

impl Claim<'_> {
    /// A table of `rows` rows, which has gradients row by row.
    ///
    /// # Errors
    /// A tensor that is missing or has another shape, here and below.
    pub(crate) fn table(&mut self, name: &str, rows: usize, width: usize) -> Result<ParameterId> {
        let parts = [(name.to_string(), vec![rows, width])];
        self.parameters.claim(&parts, true, Some(width), self.model)
    }

    /// A norm of `width` components.
    pub(crate) fn norm(&mut self, name: &str, width: usize) -> Result<Norm> {
        let mut vector = |what: &str| {
            let parts = [(format!("{name}.{what}"), vec![width])];
            self.parameters.claim(&parts, false, None, self.model)
        };
        Ok(Norm { gain: vector("weight")?, shift: vector("bias")? })
    }

    /// One linear layer that gives the outputs of all `names`, `outputs` each.
    pub(crate) fn linear(
        &mut self,
        names: &[&str],
        outputs: usize,
        inputs: usize,
    ) -> Result<Linear> {
        let mut block = |what: &str, shape: Vec<usize>, decays: bool| {
            let parts: Vec<_> =
                names.iter().map(|name| (format!("{name}.{what}"), shape.clone())).collect();
            self.parameters.claim(&parts, decays, None, self.model)
        };
        let weight = block("weight", vec![outputs, inputs], true)?;
        let bias = Some(block("bias", vec![outputs], false)?);
        Ok(Linear { weight, bias, inputs, outputs: outputs * names.len() })
    }
}
