//! The columns of the output: those of the input that are kept, those of chunks, the hash of the
//! text where only changes are embedded, and the vectors.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use sembla_models::Model;

use super::source::Source;
use super::{EmbedRequest, chunks, incremental, prompt, vectors};
use crate::failure::Result;

/// The columns of the output; that of the vectors says where they come from.
///
/// # Errors
/// A prompt that the model lacks, and more components than Arrow can hold.
pub(super) fn schema(source: &Source, request: &EmbedRequest, model: &Model) -> Result<SchemaRef> {
    let kept = source.kept();
    let kept = kept.into_iter().map(|column| Arc::new(source.schema().field(column).clone()));
    let chunks = if request.chunk.is_some() { chunks::fields() } else { Vec::new() };
    let hash = request.incremental.as_ref().map(|_| incremental::field());
    let vector_type = vectors::vector_type(model.info().dimension)?;
    let provenance = match request.of_images {
        true => model.info().provenance(),
        false => model.provenance(prompt(request))?,
    };
    let provenance = provenance.into_iter();
    let provenance = provenance.map(|(key, value)| (key.to_string(), value)).collect();
    let vectors = Field::new(&request.output_column, vector_type, true);
    let fields =
        kept.chain(chunks).chain(hash).chain([Arc::new(vectors.with_metadata(provenance))]);
    Ok(Arc::new(Schema::new(fields.collect::<Vec<_>>())))
}

/// Whether somewhere in the type is an object without a field.
pub(super) fn is_empty_object(data_type: &DataType) -> bool {
    match data_type {
        DataType::Struct(fields) => {
            fields.is_empty() || fields.iter().any(|field| is_empty_object(field.data_type()))
        }
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::FixedSizeList(field, _)
        | DataType::Map(field, _) => is_empty_object(field.data_type()),
        _ => false,
    }
}
