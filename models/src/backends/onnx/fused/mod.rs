//! Runs fused graphs, which are for CUDA: inputs and outputs are bound to the session by name.
//!
//! Inputs are copied to the device when they are bound, and what comes back is 32-bit floats in the
//! processor's memory: one row per text where the graph pools.

mod batch;
#[cfg(test)]
mod tests;

use ort::memory::{AllocationDevice, AllocatorType, MemoryInfo, MemoryType};
use ort::session::Session;
use ort::value::Tensor;

pub(super) use self::batch::{FusedBatch, places};
use self::batch::{FusedInput, Values};
use super::batch::BatchOutput;
use crate::backends::Facts;
use crate::error::one_line;
use crate::{ModelError, Result};

impl FusedBatch<'_> {
    /// Runs the batch, which gives a row for each text or for each token as `facts` say. Texts
    /// without a token get zeros, or no row.
    ///
    /// # Errors
    /// [`ModelError::Inference`] for ONNX Runtime's failures.
    pub(super) fn run(
        &self,
        session: &mut Session,
        facts: &Facts,
        model: &str,
    ) -> Result<BatchOutput> {
        let output = match self.present.contains(&true) {
            true => self.run_present(session, model)?,
            false => BatchOutput { shape: vec![0, 0], values: Vec::new(), places: Vec::new() },
        };
        Ok(with_absent(output, &self.present, facts))
    }

    /// Runs the texts that have tokens.
    fn run_present(&self, session: &mut Session, model: &str) -> Result<BatchOutput> {
        let fail = |message: String| ModelError::Inference { model: model.into(), message };
        let explain = |error: ort::Error| fail(one_line(&error.to_string()));
        let mut binding = session.create_binding().map_err(explain)?;
        for name in session.inputs().iter().map(|input| input.name()) {
            let FusedInput { shape, values } = self
                .input(name)
                .ok_or_else(|| ModelError::Bug(format!("no text fills the input '{name}'")))?;
            match values {
                Values::Whole(values) => {
                    let tensor = Tensor::from_array((shape, values)).map_err(explain)?;
                    binding.bind_input(name, &tensor)
                }
                Values::Float(values) => {
                    let tensor = Tensor::from_array((shape, values)).map_err(explain)?;
                    binding.bind_input(name, &tensor)
                }
            }
            .map_err(explain)?;
        }
        let output = session.outputs().first().map(|output| output.name().to_string());
        let output = output.ok_or_else(|| ModelError::Bug("a graph gives nothing".into()))?;
        let (device, kind) = (AllocationDevice::CPU, AllocatorType::Device);
        let memory = MemoryInfo::new(device, 0, kind, MemoryType::CPUOutput).map_err(explain)?;
        binding.bind_output_to_device(&output, &memory).map_err(explain)?;
        let outputs = session.run_binding(&binding).map_err(explain)?;
        let values = outputs.get(&output).ok_or_else(|| fail(format!("no output '{output}'")))?;
        let (shape, values) = values.try_extract_tensor::<f32>().map_err(explain)?;
        let shape = shape.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect();
        Ok(BatchOutput { shape, values: values.to_vec(), places: self.rows() })
    }
}

/// Gives a place to the texts that were left out.
fn with_absent(output: BatchOutput, present: &[bool], facts: &Facts) -> BatchOutput {
    if !present.contains(&false) {
        return output;
    }
    let mut places = output.places.into_iter();
    let places = present
        .iter()
        .map(|present| if *present { places.next() } else { None }.unwrap_or_default())
        .collect();
    if !facts.pooled {
        return BatchOutput { places, ..output };
    }
    let mut values = vec![0.0; present.len() * facts.width];
    let rows = values.chunks_exact_mut(facts.width.max(1)).zip(present);
    let targets = rows.filter_map(|(row, present)| present.then_some(row));
    for (target, row) in targets.zip(output.values.chunks_exact(facts.width.max(1))) {
        target.copy_from_slice(row);
    }
    BatchOutput { shape: vec![present.len(), facts.width], values, places }
}
