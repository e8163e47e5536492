//! Statements and names that follow from names alone.

use crate::keys::CHUNK;
use crate::postgres::names::{quoted, quoted_list};

/// The statement that deletes the chunks of documents behind the last one that is staged.
///
/// Chunks come in their order, so where a document is staged in two commits, the second one only
/// adds to what the first has left.
pub(super) fn stale_chunks(table: &str, staging: &str, documents: &[String]) -> Option<String> {
    let names = quoted_list(documents.iter().map(String::as_str));
    let same = documents.iter().map(|name| format!("t.{0} = s.{0}", quoted(name)));
    let (same, chunk) = (same.collect::<Vec<_>>().join(" AND "), quoted(CHUNK));
    (!documents.is_empty()).then(|| {
        format!(
            "DELETE FROM {table} t USING (SELECT {names}, max({chunk}) AS {chunk} FROM {staging} GROUP BY {names}) s \
             WHERE {same} AND t.{chunk} > s.{chunk}"
        )
    })
}

/// The name of an index, cut to what PostgreSQL keeps.
pub(super) fn index_name(table: &str, column: &str, method: &str) -> String {
    const TABLE_BYTES: usize = 24;
    let cut = |text: &str| text[..text.floor_char_boundary(TABLE_BYTES)].to_string();
    format!("{}_{}_{method}", cut(table), cut(column))
}
