//! What our own statements are read as, hostile names and values included.

use datafusion::sql::sqlparser::dialect::GenericDialect;

use super::*;

fn read(text: &str) -> Result<Vec<Statement>, SqlError> {
    parse(text, &GenericDialect {})
}

fn one(text: &str) -> Statement {
    let mut statements = read(text).expect("a statement");
    assert_eq!(statements.len(), 1, "{text}");
    statements.remove(0)
}

fn mistake(text: &str) -> String {
    let error = read(text).expect_err("a mistake").to_string();
    assert!(!error.contains('\n'), "{error}");
    error
}

fn source(text: &str) -> CreateSource {
    match one(text) {
        Statement::CreateSource(create) => create,
        other => panic!("{other} is no source"),
    }
}

fn sink(text: &str) -> CreateSink {
    match one(text) {
        Statement::CreateSink(create) => create,
        other => panic!("{other} is no sink"),
    }
}

#[test]
fn a_source_has_columns_a_watermark_and_options() {
    let create = source(
        "CREATE OR REPLACE SOURCE Messages (
           id BIGINT NOT NULL, text VARCHAR, ts TIMESTAMP,
           k VARCHAR METADATA FROM 'key', \"offset\" BIGINT METADATA NOT NULL,
           WATERMARK FOR ts AS ts - INTERVAL '5 seconds'
         ) WITH (connector = 'kafka', 'kafka.security.protocol' = 'ssl', kafka.a.b = 3, x = -1, y = true, z = word)",
    );
    assert_eq!(
        (create.name.as_str(), create.or_replace, create.if_not_exists),
        ("messages", true, false)
    );
    let columns: Vec<(&str, String, bool, Option<&str>)> = create
        .columns
        .iter()
        .map(|c| (c.name.as_str(), c.data_type.to_string(), c.not_null, c.metadata.as_deref()))
        .collect();
    assert_eq!(
        columns,
        [
            ("id", "BIGINT".into(), true, None),
            ("text", "VARCHAR".into(), false, None),
            ("ts", "TIMESTAMP".into(), false, None),
            ("k", "VARCHAR".into(), false, Some("key")),
            ("offset", "BIGINT".into(), true, Some("offset")),
        ]
    );
    let watermark = create.watermark.expect("a watermark");
    assert_eq!(watermark.column, "ts");
    assert_eq!(watermark.value.expect("a value").to_string(), "ts - INTERVAL '5 seconds'");
    let options: Vec<(&str, &str)> =
        create.options.as_slice().iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
    assert_eq!(
        options,
        [
            ("connector", "kafka"),
            ("kafka.security.protocol", "ssl"),
            ("kafka.a.b", "3"),
            ("x", "-1"),
            ("y", "true"),
            ("z", "word"),
        ]
    );
}

#[test]
fn names_may_be_anything_in_quotes_and_most_words_without() {
    let create = source(
        r#"CREATE SOURCE IF NOT EXISTS "My ""source""; DROP" (watermark INT, metadata VARCHAR METADATA FROM 'topic',
           "not" INT NOT NULL, "WATERMARK" INT, source INT, "ключ" VARCHAR, WATERMARK FOR "WATERMARK") WITH (with = 'with')"#,
    );
    assert_eq!(create.name, "My \"source\"; DROP");
    assert!(create.if_not_exists);
    let names: Vec<&str> = create.columns.iter().map(|column| column.name.as_str()).collect();
    assert_eq!(names, ["watermark", "metadata", "not", "WATERMARK", "source", "ключ"]);
    assert_eq!(create.watermark.expect("a watermark").column, "WATERMARK");
    assert_eq!(source("CREATE SOURCE if (a INT) WITH (b = 'c')").name, "if");
    let options = sink("create sink SINK with (a = $$it's; ok$$)").options;
    assert_eq!(options.as_slice(), [("a".to_string(), "it's; ok".to_string())]);
}

#[test]
fn a_sink_may_leave_its_columns_out() {
    let found = sink(
        "CREATE SINK found (window_start TIMESTAMP, words VARCHAR[], v FLOAT[384]) WITH (connector = 'files')",
    );
    let columns = found.columns.expect("columns");
    let types: Vec<String> = columns.iter().map(|column| column.data_type.to_string()).collect();
    assert_eq!(types, ["TIMESTAMP", "VARCHAR[]", "FLOAT[384]"]);
    assert_eq!(sink("CREATE SINK found WITH (connector = 'files')").columns, None);
}

#[test]
fn several_statements_keep_apart() {
    let statements = read(
        "CREATE SINK a WITH (p = ';'); SHOW SINKS;; SHOW sources; DROP SOURCE IF EXISTS \"B\"; DROP SINK c; INSERT INTO a SELECT 1",
    );
    let shown: Vec<String> =
        statements.expect("statements").iter().map(ToString::to_string).collect();
    assert_eq!(
        shown,
        [
            "CREATE SINK a",
            "SHOW SINKS",
            "SHOW SOURCES",
            "DROP SOURCE B",
            "DROP SINK c",
            "INSERT INTO a SELECT 1"
        ]
    );
}

#[test]
fn mistakes_are_told_where_they_are() {
    for (text, why) in [
        ("CREATE SOURCE x WITH (a = 'b')", "Expected: (, found: WITH"),
        ("CREATE SOURCE x () WITH (a = 'b')", "Expected: identifier, found: )"),
        ("CREATE SOURCE x (a INT)", "Expected: WITH, found: EOF"),
        ("CREATE SOURCE x (a INT) WITH ()", "Expected: identifier, found: )"),
        (
            "CREATE SOURCE x (a INT DEFAULT 3) WITH (a = 'b')",
            "NOT NULL, METADATA, a comma or ), found: DEFAULT",
        ),
        (
            "CREATE SOURCE x (a INT METADATA FROM key) WITH (a = 'b')",
            "what of the record, in quotes",
        ),
        (
            "CREATE SOURCE x (a INT, WATERMARK FOR a, WATERMARK FOR b) WITH (a = 'b')",
            "WATERMARK FOR b: a source can have one watermark only",
        ),
        (
            "CREATE SOURCE x (a INT) WITH (a = 'b', A = 'c')",
            "the option 'a' is given more than once",
        ),
        ("CREATE SOURCE x (a INT) WITH (a 'b')", "Expected: =, found: a string"),
        ("CREATE SOURCE x (a INT) WITH (a = )", "a string, a number, true or false, found: )"),
        ("CREATE SINK x (a INT) WITH (a = 'b') AS SELECT 1", "end of statement, found: AS"),
        ("DROP SOURCE", "Expected: identifier, found: EOF"),
        ("SHOW SOURCES x", "end of statement, found: x"),
    ] {
        let error = mistake(text);
        assert!(error.contains(why), "{text}\n{error}");
    }
}

#[test]
fn secrets_are_never_shown() {
    let create = source(
        "CREATE SOURCE x (a INT) WITH (sasl.password = 'hunter2', 'kafka.sasl.jaas.config' = 'hunter2', aws_secret_access_key = 'hunter2',
         ssl.key.pem = 'hunter2', 'basic.auth.user.info' = 'hunter2', session_token = 'hunter2',
         registry = 'https://me:hunter2@host:8081/a@b,http://hunter2@other', topic = 'it''s', ssl.key.location = 'key')",
    );
    let shown = format!("{create:?}");
    assert!(!shown.contains("hunter2"), "{shown}");
    assert!(shown.contains("sasl.password") && shown.contains("topic"), "{shown}");
    assert!(create.options.as_slice().iter().any(|(_, value)| value == "hunter2"));
}
