//! Which columns are the texts and the vectors of an input where nobody names them: for findings
//! in SQL and for commands alike.

use arrow::datatypes::{DataType, Field};

/// The columns that may be the texts: `text` alone if it holds text, else all that do, but for the
/// one that names the rows. Where there is not exactly one, it must be named.
pub fn texts<'a>(fields: impl Iterator<Item = &'a Field>, id: Option<&str>) -> Vec<&'a str> {
    let texts: Vec<&str> = fields
        .filter(|field| is_text(field.data_type()))
        .map(|field| field.name().as_str())
        .collect();
    match texts.contains(&"text") {
        true => vec!["text"],
        false => texts.into_iter().filter(|name| Some(*name) != id).collect(),
    }
}

/// The columns that may be the vectors: `embedding` or `vector` alone if it holds lists of
/// numbers, else all that hold lists of floats.
pub fn vectors<'a>(fields: impl Iterator<Item = &'a Field>) -> Vec<&'a str> {
    let fields: Vec<&Field> = fields.filter(|field| is_vector(field.data_type())).collect();
    for name in ["embedding", "vector"] {
        if let Some(field) = fields.iter().find(|field| field.name() == name) {
            return vec![field.name()];
        }
    }
    let floats = fields.into_iter().filter(|field| is_float_vector(field.data_type()));
    floats.map(|field| field.name().as_str()).collect()
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

    #[test]
    fn a_text_is_found_by_name_else_alone() {
        let time = DataType::Timestamp(TimeUnit::Microsecond, None);
        let columns = fields(&[("id", DataType::Utf8), ("ts", time), ("body", DataType::Utf8)]);
        assert_eq!(texts(columns.iter(), Some("id")), ["body"]);
        assert_eq!(texts(columns.iter(), None), ["id", "body"]);
        let columns = fields(&[("title", DataType::Utf8), ("text", DataType::Utf8View)]);
        assert_eq!(texts(columns.iter(), None), ["text"]);
    }

    #[test]
    fn vectors_are_found_by_name_else_alone() {
        let columns = fields(&[
            ("counts", list(DataType::Int64)),
            ("a", list(DataType::Float32)),
            ("embedding", list(DataType::Int8)),
        ]);
        assert_eq!(vectors(columns.iter()), ["embedding"]);
        assert_eq!(vectors(columns.iter().take(2)), ["a"]);
        assert_eq!(vectors(columns.iter().take(1)), [""; 0]);
    }
}
