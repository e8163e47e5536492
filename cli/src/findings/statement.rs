//! Builds the one SQL statement of a command. Nothing runs here.
//!
//! What a user typed enters a statement only as a literal made by [`literal`], a number, or a word
//! from a fixed list, so it can't be taken for SQL.

use std::fmt::{Display, Write};

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

    /// With an option that is on or left out.
    pub(crate) fn flag(self, name: &str, on: bool) -> Self {
        self.number(name, on.then_some(true))
    }

    /// The call as SQL.
    pub(crate) fn sql(&self) -> String {
        format!("{})", self.0)
    }
}

/// A text as a SQL literal.
pub(crate) fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A statement that gives `columns` of a finding in its own order, with texts of other tables
/// beside them.
///
/// `texts` names what is added: the new column, the table that has it, and the column of the
/// finding that is the table's id.
pub(crate) fn select(columns: &[&str], call: &Call, texts: &[Text<'_>]) -> String {
    let call = call.sql();
    if texts.is_empty() {
        return format!("SELECT {} FROM {call}", columns.join(", "));
    }
    let mut sql = format!(
        "WITH found AS (SELECT {}, row_number() OVER () AS place FROM {call}) SELECT {}",
        columns.join(", "),
        columns.iter().map(|column| format!("found.{column}")).collect::<Vec<_>>().join(", "),
    );
    for text in texts {
        let _ = write!(sql, ", {0}.text AS {0}", text.name);
    }
    sql += " FROM found";
    for text in texts {
        let _ = write!(sql, " JOIN {} AS {1} ON {1}.id = found.{2}", text.table, text.name, text.id);
    }
    sql + " ORDER BY found.place"
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
    format!("SELECT CAST(id AS BIGINT UNSIGNED) AS id, text FROM (VALUES {}) AS q (id, text)", rows.join(", "))
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
            .flag("approximate", false);
        assert_eq!(call.sql(), "clusters(input, algorithm => 'kmeans', k => 20)");
    }

    #[test]
    fn a_text_can_not_leave_its_quotes() {
        let call = Call::new("semantic_search", "corpus").text("query", Some("it's'); DROP"));
        assert_eq!(call.sql(), "semantic_search(corpus, query => 'it''s''); DROP')");
    }

    #[test]
    fn texts_stand_beside_their_ids_in_the_order_of_the_finding() {
        let call = Call::new("paraphrase_mining", "input");
        let text = |name, id| Text { name, table: "input", id };
        let sql = select(
            &["score", "id_a", "id_b"],
            &call,
            &[text("text_a", "id_a"), text("text_b", "id_b")],
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
