//! From declared columns to fields: DataFusion's own conversion of SQL types, so that
//! `CREATE TABLE` and `CREATE SOURCE` mean the same by a type, but for what streams fix.
//!
//! A TIMESTAMP of any precision, with a time zone or without, is microseconds since 1970 in UTC,
//! and strings are `Utf8`.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, FieldRef};
use datafusion::common::DFSchema;
use datafusion::error::DataFusionError;
use datafusion::execution::SessionState;
use datafusion::sql::sqlparser::ast::{DataType as SqlDataType, Expr as SqlExpr, ExprWithAlias};
use sembla_connectors::formats::Metadata;

use super::source::{SourceColumn, Watermark};
use crate::SqlError;
use crate::columns::{TIME_TYPE, constant, interval, planned_type};
use crate::syntax::{ColumnDef, WatermarkDef};

/// The columns of `what`, which is a source or a sink with its name.
///
/// # Errors
/// [`SqlError::Statement`] for a name that is there twice, a type that isn't known, and metadata
/// that can't be.
pub(crate) fn columns(
    state: &SessionState,
    what: &str,
    declared: &[ColumnDef],
) -> Result<Vec<SourceColumn>, SqlError> {
    let mut columns: Vec<SourceColumn> = Vec::with_capacity(declared.len());
    for column in declared {
        let name = &column.name;
        if columns.iter().any(|other| other.field.name() == name) {
            return Err(SqlError::Statement(format!("{what} has two columns '{name}'")));
        }
        let named = format!("{what}: column '{name}'");
        let data_type = data_type(state, &column.data_type)
            .map_err(|error| SqlError::Statement(format!("{named}: {}", SqlError::from(error))))?;
        let metadata = column.metadata.as_deref().map(Metadata::parse).transpose();
        let metadata =
            metadata.map_err(|error| SqlError::Statement(format!("{named}: {error}")))?;
        let field = Arc::new(Field::new(name, data_type, !column.not_null));
        let column = SourceColumn { field, metadata };
        if let Some(metadata) = metadata {
            metadata
                .check(&column.column())
                .map_err(|error| SqlError::Statement(format!("{what}: {error}")))?;
        }
        columns.push(column);
    }
    Ok(columns)
}

/// Rejects metadata where records have none, or there are none. `why` follows "which".
///
/// # Errors
/// [`SqlError::Statement`] for the first column of metadata.
pub(crate) fn refuse_metadata(
    what: &str,
    why: &str,
    columns: &[SourceColumn],
) -> Result<(), SqlError> {
    match columns.iter().find(|column| column.metadata.is_some()) {
        Some(column) => Err(SqlError::Statement(format!(
            "{what}: column '{}' is METADATA, which {why}",
            column.field.name()
        ))),
        None => Ok(()),
    }
}

/// Finds the column of a watermark and makes it NOT NULL.
///
/// # Errors
/// [`SqlError::Statement`] for a column that does not exist or is not a TIMESTAMP, and for a delay
/// that is not a constant interval of 0 or more.
pub(crate) fn watermark(
    state: &SessionState,
    what: &str,
    declared: &WatermarkDef,
    columns: &mut [SourceColumn],
) -> Result<Watermark, SqlError> {
    let name = &declared.column;
    let named = format!("{what}: WATERMARK FOR {name}");
    let names: Vec<String> = columns.iter().map(|column| column.field.name().clone()).collect();
    let Some(column) = columns.iter_mut().find(|column| column.field.name() == name) else {
        return Err(SqlError::Statement(format!(
            "{named}: there is no such column; the columns are {}",
            names.join(", ")
        )));
    };
    if *column.field.data_type() != TIME_TYPE {
        return Err(SqlError::Statement(format!(
            "{named}: the column must be a TIMESTAMP, got {}",
            column.field.data_type()
        )));
    }
    column.field = Arc::new(column.field.as_ref().clone().with_nullable(false));
    let delay_us = match &declared.value {
        Some(value) => delay(state, &named, name, value)?,
        None => 0,
    };
    Ok(Watermark { column: name.clone(), delay_us })
}

/// The microseconds that are subtracted from the column.
fn delay(
    state: &SessionState,
    named: &str,
    column: &str,
    value: &SqlExpr,
) -> Result<i64, SqlError> {
    use datafusion::sql::sqlparser::ast::BinaryOperator::Minus;

    let is_column = |expr: &SqlExpr| match expr {
        SqlExpr::Identifier(ident) if ident.quote_style.is_some() => ident.value == column,
        SqlExpr::Identifier(ident) => ident.value.to_lowercase() == column,
        _ => false,
    };
    let subtracted = match value {
        SqlExpr::BinaryOp { left, op: Minus, right } if is_column(left) => right.as_ref(),
        same if is_column(same) => return Ok(0),
        other => {
            return Err(SqlError::Statement(format!(
                "{named} must be AS {column}, or AS {column} minus an interval such as {column} - INTERVAL '5 seconds'; got AS {other}"
            )));
        }
    };
    let mistake =
        |must: &str| SqlError::Statement(format!("{named}: the delay {must}, got {subtracted}"));
    let planned = ExprWithAlias { expr: subtracted.clone(), alias: None };
    let constant = state
        .create_logical_expr_from_sql_expr(planned, &DFSchema::empty())
        .and_then(constant)
        .ok()
        .flatten();
    let Some(constant) = constant else {
        return Err(mistake("must be a constant interval such as INTERVAL '5 seconds'"));
    };
    match interval::micros(&constant) {
        Ok(delay_us) if delay_us >= 0 => Ok(delay_us),
        Ok(_) => Err(mistake("must not be negative")),
        Err(why) => Err(mistake(why)),
    }
}

/// The type that columns of a SQL type have.
fn data_type(state: &SessionState, sql: &SqlDataType) -> Result<DataType, DataFusionError> {
    Ok(fixed(&planned_type(state, sql)?))
}

/// A type as streams have it.
fn fixed(data_type: &DataType) -> DataType {
    let item = |field: &FieldRef| -> FieldRef {
        Arc::new(field.as_ref().clone().with_data_type(fixed(field.data_type())))
    };
    match data_type {
        DataType::Timestamp(..) => TIME_TYPE,
        DataType::Utf8View => DataType::Utf8,
        DataType::List(field) => DataType::List(item(field)),
        DataType::FixedSizeList(field, size) => DataType::FixedSizeList(item(field), *size),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(item).collect()),
        other => other.clone(),
    }
}
