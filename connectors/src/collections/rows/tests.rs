//! Rows as changes, compared with what they say.

use arrow::array::{FixedSizeListArray, Int64Array, StringArray};
use arrow::datatypes::{Field, Schema};

use super::*;
use crate::collections::base_options;
use crate::options::{Kind, OptionDef, Options};

fn rows(ids: Vec<Option<i64>>, gone: Vec<bool>) -> RecordBatch {
    let count = ids.len();
    let vectors = ids.iter().map(|id| Some(vec![id.map(|id| id as f32), Some(0.5)]));
    let texts = ids.iter().map(|id| id.filter(|id| *id != 2).map(|id| format!("text {id}")));
    let columns: Vec<(&str, ArrayRef)> = vec![
        ("text", Arc::new(texts.collect::<StringArray>())),
        ("v", Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 2))),
        ("gone", Arc::new(BooleanArray::from(gone))),
        ("lang", Arc::new(StringArray::from(vec![Some("en"); count]))),
        ("id", Arc::new(Int64Array::from(ids))),
    ];
    RecordBatch::try_from_iter_with_nullable(
        columns.into_iter().map(|(name, column)| (name, column, true)),
    )
    .expect("rows")
}

fn roles(schema: &SchemaRef, pairs: &[(&str, &str)]) -> Result<Roles> {
    let own = [
        OptionDef::new("url", Kind::Text, "where").required(),
        OptionDef::new("token", Kind::Text, "token").secret(),
        OptionDef::new("space", Kind::Choice(&["cosine"]), "distance").or("cosine"),
    ];
    let mut all = vec![("url", "http://h"), ("collection", "c")];
    all.extend(pairs);
    let given: Vec<_> =
        all.iter().map(|(key, value)| (key.to_string(), value.to_string())).collect();
    let defs: Vec<_> = own.into_iter().chain(base_options()).collect();
    let options = Options::read("a sink", &defs, &given)?;
    Roles::new(schema, &CollectionSettings::new(&options, "token", "space")?)
}

fn keys<'a>(keys: impl IntoIterator<Item = &'a Key>) -> Vec<String> {
    keys.into_iter().map(Key::text).collect()
}

#[test]
fn the_last_row_of_a_key_counts_and_marked_ones_go_away() {
    let rows = rows(vec![Some(1), Some(2), Some(1), Some(3)], vec![false, false, false, true]);
    let roles = roles(&rows.schema(), &[("key", "id"), ("delete", "gone")]).expect("roles");
    let changes = roles.changes(&rows).expect("changes");
    assert_eq!(keys(changes.upsert.iter().map(|record| &record.key)), ["2", "1"]);
    let vectors: Vec<_> = changes.upsert.iter().map(|record| record.vector.clone()).collect();
    assert_eq!(vectors, [[2.0, 0.5], [1.0, 0.5]]);
    let columns: Vec<_> = changes
        .upsert
        .iter()
        .map(|record| Value::from(record.columns.clone()).to_string())
        .collect();
    let all = [r#"{"id":2,"lang":"en","text":null}"#, r#"{"id":1,"lang":"en","text":"text 1"}"#];
    assert_eq!(columns, all);
    assert_eq!(keys(&changes.delete), ["3"]);
    assert!(changes.ends.is_empty());
}

#[test]
fn keys_of_several_columns_are_lists_and_none_is_null() {
    let batch = rows(vec![Some(7)], vec![false]);
    let both = roles(&batch.schema(), &[("key", "id, lang")]).expect("roles");
    let changes = both.changes(&batch).expect("changes");
    assert_eq!(changes.upsert[0].key.text(), r#"[7,"en"]"#);
    let null = rows(vec![None], vec![false]);
    let error = both.changes(&null).expect_err("no key").to_string();
    assert_eq!(error, "column 'id' of the key is NULL");
}

#[test]
fn vectors_must_be_whole_and_finite() {
    for (vector, said) in [
        (None, "row '1' has no vector"),
        (Some(vec![Some(1.0), None]), "row '1' has no vector"),
        (Some(vec![Some(1.0), Some(f32::NAN)]), "row '1' has no finite vector"),
    ] {
        let vectors = FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vec![vector], 2);
        let batch = RecordBatch::try_from_iter_with_nullable([
            ("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef, true),
            ("v", Arc::new(vectors) as ArrayRef, true),
        ])
        .expect("rows");
        let roles = roles(&batch.schema(), &[("key", "id")]).expect("roles");
        let error = roles.changes(&batch).expect_err(said).to_string();
        assert!(error.starts_with(said), "{error}");
    }
}

#[test]
fn a_document_ends_at_the_last_chunk_of_its_last_version() {
    let chunks = [("a", 0), ("a", 1), ("b", 3), ("a", 2), ("a", 0), ("b", 4), ("a", 1), ("a", 1)];
    let vectors = chunks.iter().enumerate().map(|(n, _)| Some(vec![Some(n as f32)]));
    let batch = RecordBatch::try_from_iter_with_nullable([
        (
            "doc",
            Arc::new(chunks.iter().map(|(doc, _)| Some(*doc)).collect::<StringArray>()) as ArrayRef,
            true,
        ),
        (
            CHUNK,
            Arc::new(chunks.iter().map(|(_, n)| Some(*n)).collect::<Int64Array>()) as ArrayRef,
            true,
        ),
        (
            "v",
            Arc::new(FixedSizeListArray::from_iter_primitive::<Float32Type, _, _>(vectors, 1))
                as ArrayRef,
            true,
        ),
    ])
    .expect("rows");
    let options = [("key", "doc, chunk_index"), ("chunks_of", "doc")];
    let roles = roles(&batch.schema(), &options).expect("roles");
    let mut changes = roles.changes(&batch).expect("changes");
    let written = changes.upsert.iter().map(|record| (record.key.text(), record.vector[0]));
    let expected = [("b\",3", 2.0), ("a\",0", 4.0), ("b\",4", 5.0), ("a\",1", 7.0)];
    let expected = expected.map(|(key, vector)| (format!("[\"{key}]"), vector));
    assert_eq!(written.collect::<Vec<_>>(), expected);
    changes.ends.sort_by_key(|end| end.last);
    let end = |doc: &str, last| DocumentEnd { document: vec![("doc".into(), doc.into())], last };
    assert_eq!(changes.ends, [end("a", 1), end("b", 4)]);
}

#[test]
fn columns_that_are_missing_are_named() {
    let schema = rows(vec![Some(1)], vec![false]).schema();
    let error = |pairs: &[(&str, &str)]| roles(&schema, pairs).expect_err("wrong").to_string();
    assert!(error(&[("key", "url")]).contains("no column 'url'; they have text, v"));
    assert!(error(&[("key", "id"), ("vector", "text")]).contains("not vectors of one dimension"));
    assert!(error(&[("key", "id"), ("delete", "id")]).contains("must be BOOLEAN"));
    let chunks = error(&[("key", "id"), ("chunks_of", "id")]);
    assert!(chunks.contains("chunks_of = 'id' needs key = 'id, chunk_index'"), "{chunks}");
    let bare = Arc::new(Schema::new(vec![Field::new("id", DataType::Int64, true)]));
    let error = roles(&bare, &[("key", "id")]).expect_err("no vectors").to_string();
    assert!(error.contains("add embed(text)"), "{error}");
}
