//! `QEmbedding`: rows of an 8-bit table of token vectors, as floats.

use std::sync::Arc;

use ort::operator::{
    ComputeContext, Kernel, KernelContext, Operator, OperatorInput, OperatorOutput,
};
use ort::value::TensorElementType;

use super::{Shared, bad_input, block_of, quantise_rows};
use crate::weights::{Embedding, Matrix};

/// A table of vectors in 8 bits.
pub(crate) struct QuantisedTable {
    values: Vec<i8>,
    scales: Vec<f32>,
    width: usize,
    block: usize,
}

impl QuantisedTable {
    /// Takes a table that is in 8 bits already, or makes it so.
    pub(crate) fn new(table: Embedding) -> Self {
        let width = table.width;
        match table.table {
            Matrix::Q8 { values, scales, block } => Self { values, scales, width, block },
            Matrix::F32(floats) => {
                let block = block_of(width);
                let (values, scales) = quantise_rows(&floats, block);
                Self { values, scales, width, block }
            }
        }
    }

    fn rows(&self) -> usize {
        self.values.len() / self.width.max(1)
    }

    fn copy_row(&self, row: usize, out: &mut [f32]) {
        let values = &self.values[row * self.width..(row + 1) * self.width];
        let blocks = self.width / self.block;
        let scales = &self.scales[row * blocks..(row + 1) * blocks];
        let targets = out.chunks_exact_mut(self.block);
        for ((target, values), scale) in targets.zip(values.chunks_exact(self.block)).zip(scales) {
            for (target, value) in target.iter_mut().zip(values) {
                *target = f32::from(*value) * scale;
            }
        }
    }
}

pub(super) struct EmbeddingOperator(pub(super) Arc<Shared>);

pub(super) struct EmbeddingKernel {
    shared: Arc<Shared>,
    index: usize,
}

impl Operator for EmbeddingOperator {
    type Kernel<'attr> = EmbeddingKernel;

    fn name(&self) -> &str {
        "QEmbedding"
    }

    fn inputs(&self) -> impl IntoIterator<Item = OperatorInput> {
        [OperatorInput::required(TensorElementType::Int64)]
    }

    fn outputs(&self) -> impl IntoIterator<Item = OperatorOutput> {
        [OperatorOutput::required(TensorElementType::Float32)]
    }

    fn create_kernel<'attr>(&self, node: &KernelContext<'attr>) -> ort::Result<EmbeddingKernel> {
        let index = node.get::<i64>("index").and_then(|index| usize::try_from(index).ok());
        let index = index
            .filter(|index| *index < self.0.embeddings.len())
            .ok_or_else(|| bad_input("QEmbedding points to no table"))?;
        Ok(EmbeddingKernel { shared: Arc::clone(&self.0), index })
    }
}

impl Kernel for EmbeddingKernel {
    fn compute(&mut self, context: &ComputeContext) -> ort::Result<()> {
        let table = &self.shared.embeddings[self.index];
        let ids = context.input(0)?.ok_or_else(|| bad_input("QEmbedding has no input"))?;
        let (shape, ids) = ids.try_extract_tensor::<i64>()?;
        let mut out_shape = shape.to_vec();
        out_shape.push(table.width as i64);
        let mut output =
            context.output(0, out_shape)?.ok_or_else(|| bad_input("QEmbedding has no output"))?;
        let (_, out) = output.try_extract_tensor_mut::<f32>()?;
        for (id, target) in ids.iter().zip(out.chunks_exact_mut(table.width)) {
            let row = usize::try_from(*id)
                .ok()
                .filter(|row| *row < table.rows())
                .ok_or_else(|| bad_input("a token id is outside the table"))?;
            table.copy_row(row, target);
        }
        Ok(())
    }
}
