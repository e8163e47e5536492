//! Tests of what tables are made, and of what is said of those that don't fit.

use std::sync::Arc;

use arrow::datatypes::{Field, Schema};

use super::*;

fn target(key: &[&str], delete: Option<&str>) -> Result<Target> {
    let spec = TargetSpec {
        name: TableName::parse("table", "docs").expect("a name"),
        key: key.iter().map(|key| key.to_string()).collect(),
        delete: delete.map(str::to_string),
        chunks_of: Vec::new(),
        vectors: VectorType::Vector,
    };
    let item = Arc::new(Field::new("item", DataType::Float32, true));
    let schema = Schema::new(vec![
        Field::new("id", DataType::Int64, true),
        Field::new("v", DataType::FixedSizeList(item, 3), true),
        Field::new("gone", DataType::Boolean, true),
    ]);
    Target::new(spec, &Arc::new(schema), 0)
}

fn there(name: &str, type_name: &str, modifier: i64) -> TableColumn {
    let pg = PgType::named(type_name, modifier);
    let shown = pg.map_or(type_name.into(), |pg| pg.to_string());
    TableColumn { name: name.into(), pg, shown, modifier, is_required: false, comment: None }
}

#[test]
fn a_table_is_made_with_the_types_of_the_rows() {
    let target = target(&["id"], Some("gone")).expect("a table");
    assert_eq!(
        target.create_sql(Some("public")),
        "CREATE TABLE \"docs\" (\"id\" bigint, \"v\" \"public\".vector(3), PRIMARY KEY (\"id\"))"
    );
}

#[test]
fn what_does_not_fit_a_table_is_named_with_both_sides() {
    let check = |columns: &[TableColumn]| {
        let checked = target(&["id"], Some("gone")).expect("a table").check_columns(columns);
        checked.map_err(|error| error.to_string())
    };
    let id = there("id", "int8", -1);
    assert_eq!(check(&[id.clone(), there("v", "vector", 3)]), Ok(()));
    let error = check(&[id.clone(), there("v", "vector", 4)]).expect_err("a dimension");
    assert!(
        error.starts_with(
            "column 'v' of table docs is vector(4), and the rows have vector(3); embed with"
        ),
        "{error}"
    );
    let error = check(std::slice::from_ref(&id)).expect_err("a column");
    assert!(
        error.contains("has no column 'v' (vector(3)); add it with ALTER TABLE docs"),
        "{error}"
    );
    let error = check(&[id.clone(), there("v", "text", -1)]).expect_err("a type");
    assert!(error.contains("is text, and the rows have vector(3); cast"), "{error}");
    let required = TableColumn { is_required: true, ..there("day", "date", -1) };
    let error = check(&[id, there("v", "vector", 3), required]).expect_err("a value");
    assert!(error.contains("needs a value for column 'day'"), "{error}");
}

#[test]
fn keys_and_marks_must_be_columns() {
    let error = |key: &[&str], delete| target(key, delete).expect_err("wrong").to_string();
    assert!(error(&["url"], None).contains("no column 'url'; they have id, v, gone"));
    assert!(error(&["id"], Some("id")).contains("must be BOOLEAN, and is Int64"));
    assert!(error(&["id"], Some("x")).contains("no column 'x'"));
    let target = target(&["id"], None).expect("a table");
    assert!(target.check_key(&[vec!["id".into()]]).is_ok());
    let error = target.check_key(&[vec!["id".into(), "v".into()]]).expect_err("no index");
    assert!(error.to_string().contains("CREATE UNIQUE INDEX ON docs (\"id\")"), "{error}");
}

#[test]
fn names_of_indexes_are_cut_between_characters() {
    assert_eq!(index_name("docs", "embedding", "hnsw"), "docs_embedding_hnsw");
    let long = index_name(&"ä".repeat(30), "v", "hnsw");
    assert!(long.len() <= 63 && long.ends_with("_v_hnsw"));
}
