//! What findings of pairs give: score, id_a, id_b.

use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{ArrayRef, Float32Array};
use arrow::datatypes::{DataType, Field};
use sembla_operators::neighbours::PairSink;
use sembla_operators::{OperatorError, Pair};

use crate::SqlError;
use crate::relations::finding::{Emit, Found};
use crate::relations::roles::{InputTypes, column};
use crate::relations::table::Table;

/// The columns. Ids of the second kind are those of the second input, if there is one.
pub(crate) fn columns(inputs: &[Option<InputTypes>]) -> Vec<Field> {
    let mut given = inputs.iter().flatten();
    let first = given.next();
    let second = given.next().or(first);
    let id = |name, types: Option<&InputTypes>| types.map(|types| types.id_field(name));
    let ids = [id("id_a", first), id("id_b", second)];
    std::iter::once(column("score", DataType::Float32)).chain(ids.into_iter().flatten()).collect()
}

/// Gives pairs in their order.
///
/// # Errors
/// What `emit` says.
pub(crate) fn emit_pairs(
    a: &Table,
    b: &Table,
    pairs: &[Pair],
    emit: &mut Emit<'_>,
) -> Result<(), SqlError> {
    let scores: ArrayRef = Arc::new(Float32Array::from_iter_values(pairs.iter().map(|p| p.score)));
    let ids_a = a.ids(pairs.iter().map(|pair| pair.a))?;
    let ids_b = b.ids(pairs.iter().map(|pair| pair.b))?;
    emit(Found { columns: vec![scores, ids_a, ids_b], rows: Vec::new() })
}

/// Gives pairs as an operator finds them, from many threads.
///
/// # Errors
/// What the operator or `emit` says.
pub(crate) fn stream(
    a: &Table,
    b: &Table,
    emit: &mut Emit<'_>,
    find: impl FnOnce(&PairSink<'_>) -> Result<(), OperatorError>,
) -> Result<(), SqlError> {
    let emit = Mutex::new(emit);
    // The operator knows errors by their message; the error itself waits here.
    let failed: Mutex<Option<SqlError>> = Mutex::new(None);
    let found = find(&|pairs| {
        let mut emit = emit.lock().unwrap_or_else(PoisonError::into_inner);
        emit_pairs(a, b, pairs, &mut **emit).map_err(|error| {
            let message = error.to_string();
            failed.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            OperatorError::Caller(message)
        })
    });
    let failed = failed.into_inner().unwrap_or_else(PoisonError::into_inner);
    failed.map_or_else(|| Ok(found?), Err)
}
