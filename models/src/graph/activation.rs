//! Activations: in one operator where Sembla's or ONNX Runtime's are there, else out of ONNX's.

use super::builder::Builder;
use super::{Form, fused};
use crate::Result;
use crate::config::HiddenActivation;
use crate::onnx::DOMAIN;
use crate::onnx::writer::text;

impl Builder<'_> {
    /// An activation.
    pub(crate) fn activation(&mut self, x: &str, activation: HiddenActivation) -> Result<String> {
        match self.form {
            Form::Padded => {}
            Form::Packed => {
                let attributes = vec![text("activation", activation.name())];
                return Ok(self.op_of((DOMAIN, "Activation"), &[x], attributes));
            }
            Form::Fused(_) => return Ok(fused::activation(self, x, activation)),
        }
        Ok(match activation {
            HiddenActivation::Relu => self.op("Relu", &[x], Vec::new()),
            HiddenActivation::QuickGelu => {
                let factor = self.float(1.702)?;
                let scaled = self.op("Mul", &[x, &factor], Vec::new());
                let gate = self.op("Sigmoid", &[&scaled], Vec::new());
                self.op("Mul", &[x, &gate], Vec::new())
            }
            HiddenActivation::Silu => {
                let gate = self.op("Sigmoid", &[x], Vec::new());
                self.op("Mul", &[x, &gate], Vec::new())
            }
            HiddenActivation::Gelu => {
                let root = self.float(std::f32::consts::SQRT_2)?;
                let scaled = self.op("Div", &[x, &root], Vec::new());
                let erf = self.op("Erf", &[&scaled], Vec::new());
                self.half_of_x_times_one_plus(x, &erf)?
            }
            HiddenActivation::GeluTanh => {
                let three = self.float(3.0)?;
                let cube = self.op("Pow", &[x, &three], Vec::new());
                let factor = self.float(0.044_715)?;
                let cube = self.op("Mul", &[&cube, &factor], Vec::new());
                let sum = self.op("Add", &[x, &cube], Vec::new());
                let root = self.float((2.0 / std::f32::consts::PI).sqrt())?;
                let inner = self.op("Mul", &[&sum, &root], Vec::new());
                let tanh = self.op("Tanh", &[&inner], Vec::new());
                self.half_of_x_times_one_plus(x, &tanh)?
            }
        })
    }

    /// `0.5 · (x · (1 + y))`, in the order that ONNX Runtime recognises as GELU.
    fn half_of_x_times_one_plus(&mut self, x: &str, y: &str) -> Result<String> {
        let one = self.float(1.0)?;
        let sum = self.op("Add", &[y, &one], Vec::new());
        let product = self.op("Mul", &[x, &sum], Vec::new());
        let half = self.float(0.5)?;
        Ok(self.op("Mul", &[&product, &half], Vec::new()))
    }
}
