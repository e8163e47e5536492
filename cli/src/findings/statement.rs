//! Builds the one SQL statement of a command. Nothing runs here.
//!
//! What a user typed enters a statement only as a literal made by [`literal`], a number, or a word
//! from a fixed list, so it can't be taken for SQL.

use std::fmt::{Display, Write};

use crate::failure::{Failure, Result};

/// A call of a finding with named options: `clusters(input, algorithm => 'kmeans', k => 20)`.
#[derive(Clone, Debug)]
pub(crate) struct Call(String);

impl Call {
    /// The finding `function` over the table or sub-query `input`.
    pub(crate) fn new(function: &str, input: &str) -> Self {
        Self(format!("{function}({input}"))
    }

    /// With an option whose value is a number or `true`; none is left to its default.
    pub(crate) fn number(mut self, name: &str, value: Option<impl Display>) -> Self {
        if let Some(value) = value {
            // Writing to a string does not fail.
            let _ = write!(self.0, ", {name} => {value}");
        }
        self
    }

    /// With an option whose value is a text; none is left to its default.
    pub(crate) fn text(self, name: &str, value: Option<&str>) -> Self {
        self.number(name, value.map(literal))
    }

    /// With an option whose value is a table, a column or a sub-query.
    pub(crate) fn relation(self, name: &str, value: Option<&str>) -> Self {
        self.number(name, value)
    }

    /// With options that were given as flags, their values as SQL.
    pub(crate) fn options<'a>(
        self,
        given: impl IntoIterator<Item = &'a (&'static str, String)>,
    ) -> Self {
        given.into_iter().fold(self, |call, (name, value)| call.relation(name, Some(value)))
    }

    /// The call as SQL.
    pub(crate) fn sql(&self) -> String {
        format!("{})", self.0)
    }
}

/// The columns that go along with a finding's `own`: `text` if `text`, then `names`, in quotes.
///
/// # Errors
/// When one has the name of one of the finding's own.
pub(crate) fn carried(own: &[&str], text: bool, names: &[String]) -> Result<Vec<String>> {
    let mut columns = Vec::new();
    if text {
        columns.push("text".to_string());
    }
    for name in names {
        if name == "id" && own.contains(&"id") {
            continue;
        }
        if own.contains(&name.as_str()) {
            return Err(Failure::user(format!(
                "column '{name}' can't be added, as the result already has a column '{name}'"
            )));
        }
        let column = if name == "text" { name.clone() } else { identifier(name) };
        if !columns.contains(&column) {
            columns.push(column);
        }
    }
    Ok(columns)
}

/// The columns of groups as an option takes them; `None` where there are none.
pub(crate) fn partition(names: &[String]) -> Option<String> {
    let quoted = identifiers(names);
    match quoted.as_slice() {
        [] => None,
        [only] => Some(only.clone()),
        several => Some(format!("({})", several.join(", "))),
    }
}

/// Names as SQL.
pub(crate) fn identifiers(names: &[String]) -> Vec<String> {
    names.iter().map(|name| identifier(name)).collect()
}

/// A name as SQL.
fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// A text as a SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A statement that gives the columns `own` of a finding in its own order, then `texts` that other
/// tables have, then what the finding carried along.
pub(crate) fn select(
    own: &[impl AsRef<str>],
    texts: &[Text<'_>],
    carried: &[String],
    call: &Call,
) -> String {
    let call = call.sql();
    let own: Vec<&str> = own.iter().map(AsRef::as_ref).collect();
    let columns: Vec<_> = own.iter().copied().chain(carried.iter().map(String::as_str)).collect();
    if texts.is_empty() {
        return format!("SELECT {} FROM {call}", columns.join(", "));
    }
    let found = |column: &str| format!("found.{column}");
    let given: Vec<_> = own
        .iter()
        .map(|column| found(column))
        .chain(texts.iter().map(|text| format!("{0}.text AS {0}", text.name)))
        .chain(carried.iter().map(|column| found(column)))
        .collect();
    let joins = texts.iter().map(|Text { name, table, id }| {
        format!(" JOIN {table} AS {name} ON {name}.id = found.{id}")
    });
    format!(
        "WITH found AS (SELECT {}, row_number() OVER () AS place FROM {call}) SELECT {} FROM found{} \
         ORDER BY found.place",
        columns.join(", "),
        given.join(", "),
        joins.collect::<String>()
    )
}

/// A text that is shown beside an id.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Text<'a> {
    /// The name of the new column.
    pub(crate) name: &'a str,
    /// The table that holds it, with columns `id` and `text`.
    pub(crate) table: &'a str,
    /// The finding's column that holds the id.
    pub(crate) id: &'a str,
}

/// The queries of the command line as a table: `(VALUES (0, 'one'), (1, 'two')) AS q (id, text)`.
pub(crate) fn values(texts: &[String]) -> String {
    let rows: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(number, text)| format!("({number}, {})", literal(text)))
        .collect();
    format!(
        "SELECT CAST(id AS BIGINT UNSIGNED) AS id, text FROM (VALUES {}) AS q (id, text)",
        rows.join(", ")
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_left_out_stay_out() {
        let call = Call::new("clusters", "input")
            .text("algorithm", Some("kmeans"))
            .number("k", Some(20))
            .number("threshold", None::<f64>)
            .text("linkage", None);
        assert_eq!(call.sql(), "clusters(input, algorithm => 'kmeans', k => 20)");
    }

    #[test]
    fn a_text_can_not_leave_its_quotes() {
        let call = Call::new("semantic_search", "corpus").text("query", Some("it's'); DROP"));
        assert_eq!(call.sql(), "semantic_search(corpus, query => 'it''s''); DROP')");
    }

    #[test]
    fn columns_go_along_once_and_in_quotes() {
        let names = |names: &[&str]| names.iter().map(|name| name.to_string()).collect::<Vec<_>>();
        let columns = carried(&["id", "score"], true, &names(&["a \"b\"", "text", "id", "url"]));
        assert_eq!(columns.expect("columns"), ["text", "\"a \"\"b\"\"\"", "\"url\""]);
        assert!(carried(&["id", "score"], false, &names(&["score"])).is_err());
    }

    #[test]
    fn texts_stand_beside_their_ids_in_the_order_of_the_finding() {
        let call = Call::new("paraphrase_mining", "input");
        let text = |name, id| Text { name, table: "input", id };
        let sql = select(
            &["score", "id_a", "id_b"],
            &[text("text_a", "id_a"), text("text_b", "id_b")],
            &[],
            &call,
        );
        assert_eq!(
            sql,
            "WITH found AS (SELECT score, id_a, id_b, row_number() OVER () AS place FROM paraphrase_mining(input)) \
             SELECT found.score, found.id_a, found.id_b, text_a.text AS text_a, text_b.text AS text_b FROM found \
             JOIN input AS text_a ON text_a.id = found.id_a JOIN input AS text_b ON text_b.id = found.id_b \
             ORDER BY found.place"
        );
    }
}
