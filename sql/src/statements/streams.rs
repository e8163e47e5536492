//! `CREATE`, `DROP` and `SHOW` of sources and sinks.

use std::sync::Arc;

use arrow::array::{ArrayRef, RecordBatch, StringArray};
use arrow::datatypes::{FieldRef, Schema};
use datafusion::common::TableReference;
use datafusion::sql::parser::Statement as DfStatement;
use datafusion::sql::sqlparser::ast::{ObjectName, Statement as SqlStatement};
use sembla_connectors::{Connector, Side};
use sembla_options::{GivenOptions, OptionDef};

use super::Outcome;
use crate::SqlError;
use crate::catalogue::columns::{columns, refuse_metadata, watermark};
use crate::catalogue::{SinkDef, SinkTable, SourceColumn, SourceDef, StreamTable};
use crate::engine::Connection;
use crate::syntax::{CreateSink, CreateSource, StreamOptions, folded};

/// The option that names a connector.
const CONNECTOR: &str = "connector";

/// What is done with a statement that creates something.
enum Place {
    /// Nothing: it is there already, which was said to be no mistake.
    Taken,
    /// The name is free.
    Free,
    /// What has the name gives way.
    Replaced,
}

/// Adds a source to the session.
///
/// # Errors
/// [`SqlError::Statement`] for a name that is taken, and for columns, a watermark or a connector
/// that can't be.
pub(crate) fn create_source(
    connection: &Connection,
    create: CreateSource,
) -> Result<Outcome, SqlError> {
    let CreateSource { name, or_replace, if_not_exists, columns: declared, .. } = create;
    let is_there = connection.catalogue.source(&name).is_some();
    let place = place(connection, "source", &name, is_there, or_replace, if_not_exists)?;
    if matches!(place, Place::Taken) {
        return Ok(Outcome::Done(format!("source '{name}' already exists")));
    }
    let what = format!("source '{name}'");
    let state = connection.context.state();
    let mut given = create.options;
    let connector = connector_of(&what, Side::Source, &mut given)?;
    let Some(kind) = connector.source() else {
        let name = connector.name();
        return Err(SqlError::Statement(format!(
            "{what}: connector '{name}' can only be written to, so it has no sources"
        )));
    };
    let options = given_options(&what, connector, "source", kind.options(), given)?;
    let mut columns = columns(&state, &what, &declared)?;
    if let Some(why) = kind.no_metadata() {
        refuse_metadata(&what, why, &columns)?;
    }
    let watermark = match &create.watermark {
        Some(declared) => Some(watermark(&state, &what, declared, &mut columns)?),
        None => None,
    };
    let connector = connector.name();
    let source = SourceDef { name: name.clone(), connector, kind, columns, watermark, options };
    source.check()?;
    let source = Arc::new(source);
    let table = TableReference::bare(name.as_str());
    connection.context.deregister_table(table.clone())?;
    connection.context.register_table(table, Arc::new(StreamTable::new(Arc::clone(&source))))?;
    connection.catalogue.add_source(source);
    Ok(done(&what, &place))
}

/// Adds a sink to the session.
///
/// # Errors
/// [`SqlError::Statement`] for a name that is taken, and for columns or a connector that can't be.
pub(crate) fn create_sink(
    connection: &Connection,
    create: CreateSink,
) -> Result<Outcome, SqlError> {
    let CreateSink { name, or_replace, if_not_exists, columns: declared, mut options } = create;
    let is_there = connection.catalogue.sink(&name).is_some();
    let place = place(connection, "sink", &name, is_there, or_replace, if_not_exists)?;
    if matches!(place, Place::Taken) {
        return Ok(Outcome::Done(format!("sink '{name}' already exists")));
    }
    let what = format!("sink '{name}'");
    let connector = connector_of(&what, Side::Sink, &mut options)?;
    let Some(kind) = connector.sink() else {
        let name = connector.name();
        return Err(SqlError::Statement(format!(
            "{what}: connector '{name}' can only be read, so it has no sinks"
        )));
    };
    let options = given_options(&what, connector, "sink", kind.options(), options)?;
    let state = connection.context.state();
    let columns = declared.map(|declared| columns(&state, &what, &declared)).transpose()?;
    refuse_metadata(&what, "only sources have", columns.as_deref().unwrap_or_default())?;
    let schema = columns.map(|columns| Arc::new(Schema::new(fields(&columns))));
    let sink = SinkDef { name: name.clone(), connector: connector.name(), kind, schema, options };
    sink.check()?;
    let sink = Arc::new(sink);
    let table = TableReference::bare(name.as_str());
    connection.context.deregister_table(table.clone())?;
    connection.context.register_table(table, Arc::new(SinkTable::new(Arc::clone(&sink))))?;
    connection.catalogue.add_sink(sink);
    Ok(done(&what, &place))
}

/// The connector that options name, which is taken out of them.
///
/// # Errors
/// [`SqlError::Statement`] where they name none, or one that there isn't.
fn connector_of(
    what: &str,
    side: Side,
    options: &mut StreamOptions,
) -> Result<&'static dyn Connector, SqlError> {
    let Some(given) = options.take(CONNECTOR) else {
        return Err(SqlError::Statement(format!(
            "{what} needs the option {CONNECTOR} = {}",
            sembla_connectors::names(side)
        )));
    };
    sembla_connectors::connector(&given, side)
        .map_err(|error| SqlError::Statement(format!("{what}: {error}")))
}

/// The options that a connector takes on one side, `source` or `sink`.
///
/// # Errors
/// [`SqlError::Statement`] for an option that it doesn't have, and a variable that isn't set.
fn given_options(
    what: &str,
    connector: &dyn Connector,
    side: &str,
    options: Vec<OptionDef>,
    given: StreamOptions,
) -> Result<GivenOptions, SqlError> {
    let owner = format!("a {} {side}", connector.name());
    GivenOptions::new(&owner, options, given.into_pairs())
        .map_err(|error| SqlError::Statement(format!("{what}: {error}")))
}

fn fields(columns: &[SourceColumn]) -> Vec<FieldRef> {
    columns.iter().map(|column| Arc::clone(&column.field)).collect()
}

fn done(what: &str, place: &Place) -> Outcome {
    let verb = if matches!(place, Place::Replaced) { "replaced" } else { "created" };
    Outcome::Done(format!("{what} {verb}"))
}

/// Whether a name is free.
fn place(
    connection: &Connection,
    kind: &str,
    name: &str,
    is_there: bool,
    or_replace: bool,
    if_not_exists: bool,
) -> Result<Place, SqlError> {
    match (is_there, or_replace, if_not_exists) {
        (true, _, true) => Ok(Place::Taken),
        (true, true, false) => Ok(Place::Replaced),
        (true, false, false) => Err(SqlError::Statement(format!(
            "{kind} '{name}' already exists; CREATE OR REPLACE {} replaces it",
            kind.to_uppercase()
        ))),
        (false, ..) => match holder(connection, name)? {
            None => Ok(Place::Free),
            Some(other) => Err(SqlError::Statement(format!(
                "{other} '{name}' already exists; choose another name for the {kind}"
            ))),
        },
    }
}

/// What has a name already.
fn holder(connection: &Connection, name: &str) -> Result<Option<&'static str>, SqlError> {
    Ok(if connection.catalogue.source(name).is_some() {
        Some("a source")
    } else if connection.catalogue.sink(name).is_some() {
        Some("a sink")
    } else if connection.indexes.get(name).is_some() {
        Some("an index")
    } else if connection.context.table_exist(TableReference::bare(name))? {
        Some("a table")
    } else if connection.models.contains(name) {
        Some("a model")
    } else {
        None
    })
}

/// Forgets a source.
///
/// # Errors
/// [`SqlError::Statement`] when there is none of that name.
pub(crate) fn drop_source(
    connection: &Connection,
    name: &str,
    if_exists: bool,
) -> Result<Outcome, SqlError> {
    let was_there = connection.catalogue.remove_source(name);
    dropped(connection, "source", name, was_there, if_exists)
}

/// Forgets a sink; what it has written stays.
///
/// # Errors
/// [`SqlError::Statement`] when there is none of that name.
pub(crate) fn drop_sink(
    connection: &Connection,
    name: &str,
    if_exists: bool,
) -> Result<Outcome, SqlError> {
    let was_there = connection.catalogue.remove_sink(name);
    dropped(connection, "sink", name, was_there, if_exists)
}

fn dropped(
    connection: &Connection,
    kind: &str,
    name: &str,
    was_there: bool,
    if_exists: bool,
) -> Result<Outcome, SqlError> {
    if was_there {
        connection.context.deregister_table(TableReference::bare(name))?;
        return Ok(Outcome::Done(format!("{kind} '{name}' dropped")));
    }
    if if_exists {
        return Ok(Outcome::Done(format!("{kind} '{name}' does not exist")));
    }
    Err(SqlError::Statement(format!(
        "{kind} '{name}' does not exist; SHOW {}S lists them",
        kind.to_uppercase()
    )))
}

/// Rejects a statement of DataFusion that would take the table of a source or a sink away.
///
/// # Errors
/// [`SqlError::Statement`] with the statement that does it.
pub(crate) fn refuse_drop(
    connection: &Connection,
    statement: &DfStatement,
) -> Result<(), SqlError> {
    let names: Vec<&ObjectName> = match statement {
        DfStatement::CreateExternalTable(create) if create.or_replace => vec![&create.name],
        DfStatement::Statement(statement) => match statement.as_ref() {
            SqlStatement::Drop { names, .. } => names.iter().collect(),
            SqlStatement::CreateTable(create) if create.or_replace => vec![&create.name],
            SqlStatement::CreateView(create) if create.or_replace => vec![&create.name],
            _ => return Ok(()),
        },
        _ => return Ok(()),
    };
    let catalogue = &connection.catalogue;
    for name in names {
        let Some(ident) = name.0.last().and_then(|part| part.as_ident()) else { continue };
        let name = folded(ident);
        let is_index = connection.indexes.get(&name).is_some();
        let kind = match (catalogue.source(&name), catalogue.sink(&name)) {
            (Some(_), _) => "source",
            (None, Some(_)) => "sink",
            (None, None) if is_index => "index",
            (None, None) => continue,
        };
        let article = if kind == "index" { "an" } else { "a" };
        return Err(SqlError::Statement(format!(
            "'{name}' is {article} {kind}; DROP {} drops it",
            kind.to_uppercase()
        )));
    }
    Ok(())
}

/// The rows of `SHOW SOURCES`.
///
/// # Errors
/// When arrow can't put the columns together.
pub(crate) fn sources(connection: &Connection) -> Result<RecordBatch, SqlError> {
    let sources = connection.catalogue.sources();
    let text = |of: &dyn Fn(&SourceDef) -> Option<String>| -> ArrayRef {
        Arc::new(sources.iter().map(|source| of(source)).collect::<StringArray>())
    };
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("name", text(&|source| Some(source.name.clone())), false),
        ("connector", text(&|source| Some(source.connector.to_string())), false),
        ("columns", text(&|source| Some(described(source))), false),
        ("watermark", text(&|source| Some(source.watermark.as_ref()?.describe())), true),
        ("options", text(&|source| Some(source.options.to_string())), false),
    ]);
    batch.map_err(|error| SqlError::Bug(error.to_string()))
}

/// The rows of `SHOW SINKS`.
///
/// # Errors
/// When arrow can't put the columns together.
pub(crate) fn sinks(connection: &Connection) -> Result<RecordBatch, SqlError> {
    let sinks = connection.catalogue.sinks();
    let text = |of: &dyn Fn(&SinkDef) -> Option<String>| -> ArrayRef {
        Arc::new(sinks.iter().map(|sink| of(sink)).collect::<StringArray>())
    };
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("name", text(&|sink| Some(sink.name.clone())), false),
        ("connector", text(&|sink| Some(sink.connector.to_string())), false),
        ("columns", text(&|sink| sink.describe_columns()), true),
        ("options", text(&|sink| Some(sink.options.to_string())), false),
    ]);
    batch.map_err(|error| SqlError::Bug(error.to_string()))
}

/// The columns of a source with their types.
fn described(source: &SourceDef) -> String {
    source.columns.iter().map(SourceColumn::describe).collect::<Vec<_>>().join(", ")
}
