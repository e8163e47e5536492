//! Conditions as SQL of PostgreSQL: those that leave out no row that meets them here.
//!
//! Texts are compared for equality alone: what comes before what is a collation's business, and one
//! that folds letters would leave out rows that differ.

use super::columns::{Form, ReadColumn};
use crate::postgres::names::{literal, quoted};
use crate::stored::{Comparison, Condition, Value};

/// The condition; `None` for one that PostgreSQL might decide more narrowly.
pub(super) fn sql(condition: &Condition, columns: &[ReadColumn]) -> Option<String> {
    match condition {
        Condition::Compare(place, comparison, value) => {
            let column = columns.get(*place)?;
            let value = value_sql(column, value)?;
            let is_equality = *comparison == Comparison::Equal;
            (is_equality || !column.is_text)
                .then(|| format!("{} {} {value}", quoted(column.field.name()), comparison.sql()))
        }
        Condition::In(place, values) => {
            let column = columns.get(*place)?;
            let values = values.iter().map(|value| value_sql(column, value));
            let values = values.collect::<Option<Vec<_>>>().filter(|values| !values.is_empty())?;
            Some(format!("{} IN ({})", quoted(column.field.name()), values.join(", ")))
        }
        Condition::IsNull(place) => {
            Some(format!("{} IS NULL", quoted(columns.get(*place)?.field.name())))
        }
        Condition::IsNotNull(place) => {
            Some(format!("{} IS NOT NULL", quoted(columns.get(*place)?.field.name())))
        }
        Condition::And(all) => joined(all, " AND ", columns),
        Condition::Or(all) => joined(all, " OR ", columns),
    }
}

fn joined(all: &[Condition], word: &str, columns: &[ReadColumn]) -> Option<String> {
    let parts = all.iter().map(|condition| sql(condition, columns)).collect::<Option<Vec<_>>>()?;
    (!parts.is_empty()).then(|| format!("({})", parts.join(word)))
}

/// A value that a column is compared with, where its type has it too.
fn value_sql(column: &ReadColumn, value: &Value) -> Option<String> {
    Some(match (column.form, value) {
        (Form::Bool, Value::Bool(value)) => value.to_string(),
        // The sign of a number alone is an operator, which binds less than a cast.
        (Form::Int2 | Form::Int4 | Form::Int8, Value::Int(value)) => format!("'{value}'::int8"),
        (Form::Text, Value::Text(text)) if column.is_text && !text.contains('\0') => literal(text),
        (Form::Date, Value::Date(days)) => format!("(DATE '1970-01-01' + '{days}'::int4)"),
        (Form::Timestamp, Value::Timestamp(us)) => {
            format!("(TIMESTAMP '1970-01-01' + '{us}'::int8 * INTERVAL '1 microsecond')")
        }
        (Form::TimestampTz, Value::Timestamp(us)) => {
            format!(
                "(TIMESTAMPTZ '1970-01-01 00:00:00+00' + '{us}'::int8 * INTERVAL '1 microsecond')"
            )
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::postgres::catalogue::TableColumn;
    use crate::postgres::types::PgType;

    fn columns() -> Vec<ReadColumn> {
        let column = |name: &str, pg| {
            ReadColumn::of(&TableColumn {
                name: name.into(),
                pg: Some(pg),
                shown: String::new(),
                modifier: -1,
                is_required: false,
                comment: None,
            })
        };
        vec![
            column("id", PgType::Int4),
            column("a \"b\"", PgType::Text),
            column("u", PgType::Uuid),
            column("t", PgType::TimestampTz),
            column("f", PgType::Float8),
        ]
    }

    fn of(condition: &Condition) -> Option<String> {
        sql(condition, &columns())
    }

    #[test]
    fn conditions_are_quoted_and_exact() {
        let hostile = Condition::Compare(1, Comparison::Equal, Value::Text("x' OR 1=1 \\".into()));
        assert_eq!(of(&hostile).as_deref(), Some(r#""a ""b""" = E'x'' OR 1=1 \\'"#));
        let less = Condition::Compare(0, Comparison::Less, Value::Int(-3));
        assert_eq!(of(&less).as_deref(), Some("\"id\" < '-3'::int8"));
        let both = Condition::Or(vec![less.clone(), Condition::IsNull(3)]);
        assert_eq!(of(&both).as_deref(), Some("(\"id\" < '-3'::int8 OR \"t\" IS NULL)"));
    }

    #[test]
    fn what_postgres_might_see_otherwise_stays_here() {
        let text = || Value::Text("a".into());
        assert_eq!(of(&Condition::Compare(1, Comparison::NotEqual, text())), None);
        assert_eq!(of(&Condition::Compare(1, Comparison::Greater, text())), None);
        assert_eq!(of(&Condition::Compare(2, Comparison::Equal, text())), None);
        assert_eq!(of(&Condition::Compare(1, Comparison::Equal, Value::Text("\0".into()))), None);
        assert_eq!(of(&Condition::Compare(4, Comparison::Less, Value::Int(1))), None);
        assert_eq!(of(&Condition::In(0, Vec::new())), None);
        let mixed = vec![Condition::IsNull(0), Condition::Compare(0, Comparison::Equal, text())];
        assert_eq!(of(&Condition::Or(mixed)), None);
    }
}
