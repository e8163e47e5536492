//! Which columns are the texts and the vectors of an input where nobody names them: for findings
//! in SQL and for commands alike.
//!
//! A type says little of a column of text, which may hold dates, or vectors as CSV has them.
//! Whoever can look at its first values says how it [looks](Looks).

use arrow::datatypes::{DataType, Field};
use sembla_readers::files::Looks;

/// How a column of text looks, by its name.
pub type Look<'l, E> = &'l dyn Fn(&str) -> Result<Looks, E>;

/// Names of columns that are vectors before any other.
const VECTOR_NAMES: [&str; 2] = ["embedding", "vector"];

/// Columns of a table of chunks, whose texts are the first of these.
const CHUNK_NAMES: [&str; 2] = ["chunk", "chunk_index"];

/// The columns that may be the texts: `chunk` alone of a table of chunks; `text` alone if it holds
/// text, else all that do, but for the one that names the rows, the index of pandas, and those that
/// look like something else. Where there is not exactly one, it must be named. A column without a
/// type, which holds NULL alone, is one of texts where no other is.
///
/// # Errors
/// Those of `look`, which is asked only where names and types leave a doubt.
pub fn texts<'a, E>(
    fields: impl Iterator<Item = &'a Field> + Clone,
    id: Option<&str>,
    look: Look<'_, E>,
) -> Result<Vec<&'a str>, E> {
    let of = |is: fn(&DataType) -> bool| -> Vec<&'a str> {
        let fields = fields.clone().filter(|field| is(field.data_type()));
        fields.map(|field| field.name().as_str()).collect()
    };
    let (texts, nulls) = (of(is_text), of(DataType::is_null));
    if let [chunk, index] = CHUNK_NAMES
        && texts.contains(&chunk)
        && fields.clone().any(|field| field.name() == index)
    {
        return Ok(vec![chunk]);
    }
    if texts.contains(&"text") || nulls.contains(&"text") {
        return Ok(vec!["text"]);
    }
    let mut found = Vec::new();
    for name in texts.into_iter().filter(|name| Some(*name) != id && !is_index_of_pandas(name)) {
        if look(name)? == Looks::Texts {
            found.push(name);
        }
    }
    if found.is_empty() {
        found.extend(nulls.into_iter().filter(|name| Some(*name) != id));
    }
    Ok(found)
}

/// Whether pandas wrote the names of rows there.
fn is_index_of_pandas(name: &str) -> bool {
    name.strip_prefix("__index_level_").is_some_and(|rest| rest.ends_with("__"))
}

/// The columns that may be the vectors: `embedding` or `vector` alone if it holds lists of numbers
/// or texts that look like vectors, else all that hold lists of floats.
///
/// # Errors
/// Those of `look`, which is asked of a column of text with such a name.
pub fn vectors<'a, E>(
    fields: impl Iterator<Item = &'a Field> + Clone,
    look: Look<'_, E>,
) -> Result<Vec<&'a str>, E> {
    for name in VECTOR_NAMES {
        if let Some(field) = fields.clone().find(|field| field.name() == name)
            && (is_vector(field.data_type())
                || is_text(field.data_type()) && look(name)? == Looks::Vectors)
        {
            return Ok(vec![field.name()]);
        }
    }
    let floats = fields.filter(|field| is_float_vector(field.data_type()));
    Ok(floats.map(|field| field.name().as_str()).collect())
}

/// Whether texts come in that type.
pub fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Whether the type is a list of numbers.
pub fn is_vector(data_type: &DataType) -> bool {
    item(data_type).is_some_and(DataType::is_numeric)
}

fn is_float_vector(data_type: &DataType) -> bool {
    item(data_type).is_some_and(DataType::is_floating)
}

fn item(data_type: &DataType) -> Option<&DataType> {
    match data_type {
        DataType::FixedSizeList(item, _) | DataType::List(item) | DataType::LargeList(item) => {
            Some(item.data_type())
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::datatypes::TimeUnit;

    use super::*;

    fn list(item: DataType) -> DataType {
        DataType::List(Arc::new(Field::new("item", item, true)))
    }

    fn fields(columns: &[(&str, DataType)]) -> Vec<Field> {
        columns.iter().map(|(name, data_type)| Field::new(*name, data_type.clone(), true)).collect()
    }

    /// How the columns of these tests look.
    fn look(name: &str) -> Result<Looks, String> {
        Ok(match name {
            "day" => Looks::Times,
            "vector" => Looks::Vectors,
            _ => Looks::Texts,
        })
    }

    fn texts(fields: &[Field], id: Option<&str>) -> Vec<String> {
        let found = super::texts(fields.iter(), id, &look).expect("a look");
        found.into_iter().map(str::to_string).collect()
    }

    fn vectors(fields: &[Field]) -> Vec<String> {
        let found = super::vectors(fields.iter(), &look).expect("a look");
        found.into_iter().map(str::to_string).collect()
    }

    #[test]
    fn a_text_is_found_by_name_else_alone() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns = fields(&[("id", DataType::Utf8), ("ts", time), ("body", DataType::Utf8)]);
        assert_eq!(texts(&columns, Some("id")), ["body"]);
        assert_eq!(texts(&columns, None), ["id", "body"]);
        let columns = fields(&[("title", DataType::Utf8), ("text", DataType::Utf8View)]);
        assert_eq!(texts(&columns, None), ["text"]);
        let columns = fields(&[
            ("chunk_index", DataType::Int64),
            ("chunk", DataType::Utf8),
            ("text", DataType::Utf8),
        ]);
        assert_eq!(texts(&columns, None), ["chunk"]);
        assert_eq!(texts(&columns[1..], None), ["text"]);
    }

    #[test]
    fn what_only_has_the_type_of_text_is_none() {
        let columns = fields(&[
            ("day", DataType::Utf8),
            ("__index_level_0__", DataType::Utf8),
            ("vector", DataType::Utf8),
            ("body", DataType::Utf8),
        ]);
        assert_eq!(texts(&columns, None), ["body"]);
        assert_eq!(vectors(&columns), ["vector"]);
        assert_eq!(texts(&columns[..1], None), [""; 0]);
    }

    #[test]
    fn a_column_without_a_type_is_one_of_texts_where_no_other_is() {
        let columns = fields(&[("id", DataType::Int64), ("text", DataType::Null)]);
        assert_eq!(texts(&columns, Some("id")), ["text"]);
        let columns = fields(&[("note", DataType::Null), ("body", DataType::Utf8)]);
        assert_eq!(texts(&columns, None), ["body"]);
        assert_eq!(texts(&columns[..1], None), ["note"]);
    }

    #[test]
    fn vectors_are_found_by_name_else_alone() {
        let columns = fields(&[
            ("counts", list(DataType::Int64)),
            ("a", list(DataType::Float32)),
            ("embedding", list(DataType::Int8)),
        ]);
        assert_eq!(vectors(&columns), ["embedding"]);
        assert_eq!(vectors(&columns[..2]), ["a"]);
        assert_eq!(vectors(&columns[..1]), [""; 0]);
    }
}
