//! Names of tables and columns, and how they are written in statements.
//!
//! - *Invariant:* what a user names enters a statement quoted, and is exactly that name: PostgreSQL
//!   would cut a longer one, and fold one without quotes to lower case.

use std::fmt;

use sembla_runtime::{Error, Result};

/// Bytes of a name that PostgreSQL keeps.
const NAME_BYTES_MAX: usize = 63;

/// A name in quotes.
pub(super) fn quoted(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

/// Names in quotes, separated by commas.
pub(super) fn quoted_list<'a>(names: impl IntoIterator<Item = &'a str>) -> String {
    names.into_iter().map(quoted).collect::<Vec<_>>().join(", ")
}

/// A text as a literal, whatever `standard_conforming_strings` is.
pub(super) fn literal(text: &str) -> String {
    format!("E'{}'", text.replace('\\', "\\\\").replace('\'', "''"))
}

/// Refuses a name that PostgreSQL can't have.
///
/// # Errors
/// [`Error::Option`] for one that is empty, too long, or has the character U+0000.
pub(super) fn check_name(what: &str, name: &str) -> Result<()> {
    let why = if name.is_empty() {
        "is empty"
    } else if name.len() > NAME_BYTES_MAX {
        "has more than the 63 bytes that PostgreSQL keeps"
    } else if name.contains('\0') {
        "has the character U+0000"
    } else {
        return Ok(());
    };
    Err(Error::Option(format!("the name of {what} '{}' {why}", name.escape_debug())))
}

/// The name of a table: `docs`, `search.docs`, or `"a.b"."c"` where a part has dots or quotes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct TableName {
    /// The schema, if it is named.
    pub(super) schema: Option<String>,
    /// The table.
    pub(super) name: String,
}

impl TableName {
    /// Reads a name as a user writes it: case matters, with quotes or without.
    ///
    /// # Errors
    /// [`Error::Option`] for a name that can't be.
    pub(super) fn parse(option: &str, text: &str) -> Result<Self> {
        let (first, rest) = part(text).ok_or_else(|| wrong(option, text))?;
        let table = match rest {
            None => Self { schema: None, name: first },
            Some(rest) => match part(rest) {
                Some((name, None)) => Self { schema: Some(first), name },
                _ => return Err(wrong(option, text)),
            },
        };
        for name in table.schema.iter().chain([&table.name]) {
            check_name(option, name)?;
        }
        Ok(table)
    }

    /// A table beside this one.
    pub(super) fn sibling(&self, name: &str) -> Self {
        Self { schema: self.schema.clone(), name: name.into() }
    }

    /// The name for statements.
    pub(super) fn sql(&self) -> String {
        match &self.schema {
            Some(schema) => format!("{}.{}", quoted(schema), quoted(&self.name)),
            None => quoted(&self.name),
        }
    }
}

/// The name for messages: as short as it can be understood.
impl fmt::Display for TableName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |name: &str| match name.chars().all(|c| c.is_alphanumeric() || c == '_') {
            true => name.to_string(),
            false => quoted(&name.escape_debug().to_string().replace("\\\"", "\"")),
        };
        match &self.schema {
            Some(schema) => write!(f, "{}.{}", shown(schema), shown(&self.name)),
            None => f.write_str(&shown(&self.name)),
        }
    }
}

/// The first part of a name, and what is behind its dot.
fn part(text: &str) -> Option<(String, Option<&str>)> {
    let Some(inner) = text.strip_prefix('"') else {
        return Some(match text.split_once('.') {
            Some((first, rest)) => (first.to_string(), Some(rest)),
            None => (text.to_string(), None),
        });
    };
    let (mut name, mut rest) = (String::new(), inner);
    loop {
        let (before, after) = rest.split_once('"')?;
        name.push_str(before);
        match after.strip_prefix('"') {
            Some(more) => {
                name.push('"');
                rest = more;
            }
            None if after.is_empty() => return Some((name, None)),
            None => return Some((name, Some(after.strip_prefix('.')?))),
        }
    }
}

fn wrong(option: &str, text: &str) -> Error {
    Error::Option(format!(
        "{option} must be a name or schema.name, each in double quotes where it has dots or quotes, got '{}'",
        text.escape_debug()
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sql(text: &str) -> String {
        TableName::parse("table", text).map_or_else(|error| error.to_string(), |name| name.sql())
    }

    #[test]
    fn names_are_what_was_written_and_always_quoted() {
        assert_eq!(sql("docs"), "\"docs\"");
        assert_eq!(sql("Docs"), "\"Docs\"");
        assert_eq!(sql("search.docs"), "\"search\".\"docs\"");
        assert_eq!(sql("\"a.b\".\"c\"\"d\""), "\"a.b\".\"c\"\"d\"");
        assert_eq!(sql("x; DROP TABLE y"), "\"x; DROP TABLE y\"");
        assert_eq!(sql("it's \"so\""), "\"it's \"\"so\"\"\"");
        assert_eq!(sql("größe.表"), "\"größe\".\"表\"");
    }

    #[test]
    fn names_that_can_not_be_are_refused() {
        for wrong in ["a.b.c", "\"a", "\"a\"b", "a..b"] {
            assert!(sql(wrong).contains("must be a name or schema.name"), "{}", sql(wrong));
        }
        assert!(sql("").ends_with("is empty"));
        assert!(sql(".a").ends_with("is empty"));
        assert!(sql(&"ä".repeat(32)).contains("63 bytes"));
        assert!(sql("a\0b").contains("'a\\0b' has the character U+0000"));
    }

    #[test]
    fn names_in_messages_are_readable_and_stay_on_their_line() {
        let shown = |text| TableName::parse("table", text).expect("a name").to_string();
        assert_eq!(shown("search.docs"), "search.docs");
        assert_eq!(shown("x; y"), "\"x; y\"");
        assert_eq!(shown("a\nb"), "\"a\\nb\"");
    }

    #[test]
    fn literals_end_where_they_should() {
        assert_eq!(literal("it's \\ so"), "E'it''s \\\\ so'");
    }
}
