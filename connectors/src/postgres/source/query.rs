//! The statement of a poll, and the place that it goes on from.

use std::time::Duration;

use sembla_runtime::{Error, Result};
use serde::{Deserialize, Serialize};

use super::SourceSettings;
use crate::formats::Column;
use crate::postgres::catalogue::TableColumn;
use crate::postgres::names::{literal, quoted};
use crate::postgres::table::ReadColumn;
use crate::postgres::types::PgType;

/// Rows of a poll at most; where there are more, the next one follows at once.
pub(super) const ROWS_MAX: usize = 8192;

/// What the statement calls a row of the table.
const ROW: &str = "r";

/// The last row that was given out: the time of its change and its key, as PostgreSQL writes them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Place {
    pub(super) updated_at: String,
    pub(super) key: Vec<String>,
}

impl Place {
    /// Reads what was committed.
    ///
    /// # Errors
    /// [`Error::State`] for a text that is none.
    pub(super) fn of_token(token: &str) -> Result<Self> {
        serde_json::from_str(token).map_err(|error| {
            Error::State(format!(
                "the committed place in a table of postgres can't be read ({error}); start over with --ignore-state"
            ))
        })
    }

    /// What is committed.
    ///
    /// # Errors
    /// None that can happen.
    pub(super) fn token(&self) -> Result<String> {
        serde_json::to_string(self)
            .map_err(|error| Error::Bug(format!("a place has no form in JSON: {error}")))
    }
}

/// What is asked of a table.
#[derive(Debug)]
pub(super) struct Query {
    /// What is read: the declared columns, then time and key as texts.
    pub(super) columns: Vec<ReadColumn>,
    select: String,
    from: String,
    /// Time and key, in the order of the rows.
    order: Vec<String>,
    /// Their types.
    types: Vec<String>,
    /// The condition that leaves out what is too young, if there is one.
    bound: Option<String>,
}

impl Query {
    /// The query of a table with these columns. With a `lag`, rows that are younger are left out.
    ///
    /// # Errors
    /// [`Error::Option`] for columns that the table doesn't have, or of another type.
    pub(super) fn new(
        settings: &SourceSettings,
        table: &str,
        there: &[TableColumn],
        declared: &[Column],
        lag: Option<Duration>,
    ) -> Result<Self> {
        let find = |name: &str, what: &str| {
            there.iter().find(|column| column.name == name).ok_or_else(|| {
                let names: Vec<_> = there.iter().map(|column| column.name.as_str()).collect();
                Error::Option(format!(
                    "{what}table {} has no column '{name}'; it has {}",
                    settings.table,
                    names.join(", ")
                ))
            })
        };
        let time = find(&settings.updated_at, "updated_at: ")?;
        let now = match time.pg {
            Some(PgType::TimestampTz) => "now()",
            Some(PgType::Timestamp) => "LOCALTIMESTAMP",
            _ => {
                return Err(Error::Option(format!(
                    "updated_at: column '{}' of table {} must be a timestamp, and is {}",
                    time.name, settings.table, time.shown
                )));
            }
        };
        let keys = settings.key.iter().map(|name| find(name, "key: "));
        let order: Vec<&TableColumn> =
            std::iter::once(Ok(time)).chain(keys).collect::<Result<_>>()?;
        let mut columns = Vec::with_capacity(declared.len() + order.len());
        for column in declared {
            columns.push(ReadColumn::of(find(&column.name, "")?));
        }
        columns.extend(order.iter().map(|column| ReadColumn::as_text(column)));
        let select: Vec<String> = columns.iter().map(ReadColumn::sql).collect();
        let bound = lag.map(|lag| {
            let (time, us) = (of_row(&time.name), lag.as_micros());
            format!("{time} <= {now} - '{us}'::int8 * INTERVAL '1 microsecond'")
        });
        Ok(Self {
            select: select.join(", "),
            from: table.to_string(),
            order: order.iter().map(|column| of_row(&column.name)).collect(),
            types: order.iter().map(|column| column.shown.clone()).collect(),
            columns,
            bound,
        })
    }

    /// The statement for the rows behind a place.
    pub(super) fn sql(&self, place: Option<&Place>) -> String {
        let order = self.order.join(", ");
        let mut conditions: Vec<String> = self.bound.iter().cloned().collect();
        match place {
            Some(Place { updated_at, key }) => {
                let values = std::iter::once(updated_at).chain(key).zip(&self.types);
                let values: Vec<String> =
                    values.map(|(value, kind)| format!("{}::{kind}", literal(value))).collect();
                conditions.push(format!("({order}) > ({})", values.join(", ")));
            }
            // Rows without a time or a key have no place in the order.
            None => {
                conditions.extend(self.order.iter().map(|column| format!("{column} IS NOT NULL")))
            }
        }
        let (select, from, conditions) = (&self.select, &self.from, conditions.join(" AND "));
        format!(
            "COPY (SELECT {select} FROM {from} AS {ROW} WHERE {conditions} ORDER BY {order} LIMIT {ROWS_MAX}) \
             TO STDOUT (FORMAT binary)"
        )
    }
}

/// A column of the table, which a bare name in ORDER BY would not be: that is one of the results.
fn of_row(name: &str) -> String {
    format!("{ROW}.{}", quoted(name))
}

#[cfg(test)]
mod tests {
    use arrow::datatypes::DataType;

    use super::*;
    use crate::options::Options;
    use crate::postgres::options::SOURCE_OPTIONS;

    fn query(updated_at: &str, key: &str, lag: Option<Duration>) -> Result<Query> {
        let pairs = [
            ("url", "postgres://me@h/db"),
            ("table", "t"),
            ("updated_at", updated_at),
            ("key", key),
        ];
        let given = pairs.map(|(key, value)| (key.to_string(), value.to_string()));
        let settings =
            SourceSettings::new(&Options::read("a postgres source", SOURCE_OPTIONS, &given)?)?;
        let column = |name: &str, pg, shown: &str| TableColumn {
            name: name.into(),
            pg: Some(pg),
            shown: shown.into(),
            modifier: -1,
            is_required: true,
            comment: None,
        };
        let there = [
            column("id", PgType::Int8, "bigint"),
            column("a \"b\"", PgType::Text, "character varying(20)"),
            column("at", PgType::TimestampTz, "timestamp with time zone"),
            column("local", PgType::Timestamp, "timestamp without time zone"),
        ];
        let declared = [Column::new("a \"b\"", DataType::Utf8, true)];
        Query::new(&settings, "\"t\"", &there, &declared, lag)
    }

    #[test]
    fn a_poll_goes_on_behind_time_and_key_whatever_is_in_them() {
        let query = query("at", "a \"b\", id", Some(Duration::from_secs(5))).expect("a query");
        assert_eq!(
            query.sql(None),
            "COPY (SELECT \"a \"\"b\"\"\"::text, \"at\"::text, \"a \"\"b\"\"\"::text, \"id\"::text FROM \"t\" AS r \
             WHERE r.\"at\" <= now() - '5000000'::int8 * INTERVAL '1 microsecond' \
             AND r.\"at\" IS NOT NULL AND r.\"a \"\"b\"\"\" IS NOT NULL AND r.\"id\" IS NOT NULL \
             ORDER BY r.\"at\", r.\"a \"\"b\"\"\", r.\"id\" LIMIT 8192) TO STDOUT (FORMAT binary)"
        );
        let place = Place {
            updated_at: "2026-01-01 00:00:00+00".into(),
            key: vec!["x'; DROP TABLE t; \\".into(), "7".into()],
        };
        let behind = "(r.\"at\", r.\"a \"\"b\"\"\", r.\"id\") > (E'2026-01-01 00:00:00+00'::timestamp with time zone, \
                      E'x''; DROP TABLE t; \\\\'::character varying(20), E'7'::bigint)";
        let sql = query.sql(Some(&place));
        assert!(sql.contains(behind), "{sql}");
        assert_eq!(Place::of_token(&place.token().expect("a token")).expect("a place"), place);
    }

    #[test]
    fn times_without_a_zone_are_compared_with_local_time_and_bounded_reads_with_none() {
        let local = query("local", "id", Some(Duration::ZERO)).expect("a query").sql(None);
        assert!(local.contains("r.\"local\" <= LOCALTIMESTAMP - '0'::int8"), "{local}");
        let bounded = query("at", "id", None).expect("a query").sql(None);
        assert!(!bounded.contains("<="), "{bounded}");
    }

    #[test]
    fn columns_that_can_not_be_are_named() {
        let error = |updated_at: &str, key: &str| {
            query(updated_at, key, None).expect_err("wrong").to_string()
        };
        assert!(
            error("id", "at").contains("column 'id' of table t must be a timestamp, and is bigint")
        );
        assert!(error("no", "id").contains("updated_at: table t has no column 'no'; it has id, a"));
        assert!(error("at", "nr").contains("key: table t has no column 'nr'"));
        let torn = Place::of_token("{").expect_err("torn").to_string();
        assert!(torn.contains("--ignore-state"), "{torn}");
    }
}
