//! Static queries: rows into a table in one transaction, and tables read back.

use sembla_testing::Postgres;

use crate::place::{Place, Run};

fn sql(place: &Place, text: &str) -> Run {
    place.run(&["sql", text, "--format", "csv", "-m", "potion"])
}

/// Lines of CSV without the header.
fn lines(place: &Place, text: &str) -> Vec<String> {
    sql(place, text).ok().lines().skip(1).map(str::to_string).collect()
}

const DOCS: &str =
    "(VALUES (1, 'my card was stolen'), (2, 'rain is falling'), (3, NULL)) AS t(id, text)";

#[test]
fn copy_and_insert_write_all_rows_or_none() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    let copy = format!(
        "COPY (SELECT id, text, embed(text) AS v FROM {DOCS}) TO '{url}' OPTIONS (table 'docs', key 'id')"
    );
    let run = sql(&place, &copy);
    let shown = format!("3 rows written to postgres://{}/{database}", server.shown());
    assert!(run.err.contains(&shown) && !run.err.contains(Postgres::PASSWORD), "{}", run.err);
    run.ok();
    // The same statement again replaces by key, and is not taken for one that is done.
    let changed = copy.replace("rain", "snow");
    sql(&place, &changed).ok();
    sql(&place, &changed).ok();
    let rows = || server.sql(&database, "SELECT id, text, vector_dims(v) FROM docs ORDER BY id");
    assert_eq!(rows(), "1|my card was stolen|128\n2|snow is falling|128\n3||");
    let sink = format!(
        "CREATE SINK docs WITH (connector = 'postgres', url = '{url}', table = 'docs', key = 'id');"
    );
    // The second batch has a row that the table can't take, so the first is not there either.
    let bad = "INSERT INTO docs SELECT value + 10 AS id, CASE WHEN value = 9000 THEN chr(0) ELSE 'x' END AS text, \
               embed('a') AS v FROM generate_series(1, 9000)";
    let run = sql(&place, &format!("{sink} {bad}"));
    assert_eq!(run.code, 2, "{}", run.err);
    assert!(
        run.err.contains("error: column 'text': a text has the character U+0000"),
        "{}",
        run.err
    );
    assert_eq!(server.sql(&database, "SELECT count(*) FROM docs"), "3");
    let good = bad.replace("chr(0)", "'y'");
    let run = sql(&place, &format!("{sink} {good}"));
    assert!(run.err.contains("9000 rows written to sink 'docs'"), "{}", run.err);
    run.ok();
    assert_eq!(server.sql(&database, "SELECT count(*) FROM docs WHERE text IN ('x', 'y')"), "9000");
    let plan = sql(&place, &format!("{sink} EXPLAIN {good}")).ok();
    assert!(plan.contains("GenerateSeries") || plan.contains("generate_series"), "{plan}");
}

#[test]
fn what_a_copy_can_not_do_is_said_in_one_line() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    let fails = |text: &str| {
        let error = sql(&place, text).fails(2);
        assert!(!error.contains(Postgres::PASSWORD), "{error}");
        error
    };
    let error = fails(&format!("COPY (SELECT 1 AS id) TO '{url}'"));
    assert!(error.contains("needs the option 'table'"), "{error}");
    let error = fails(&format!("COPY (SELECT 1 AS id) TO '{url}' OPTIONS (tabel 'x')"));
    assert!(error.contains("did you mean 'table'"), "{error}");
    let error = fails(&format!("COPY (SELECT 1 AS id) TO '{url}?table=x' STORED AS CSV"));
    assert!(error.contains("takes no STORED AS"), "{error}");
    let error = fails(&format!("COPY (SELECT 1 AS id) TO '{url}?table=x' OPTIONS (key 'no')"));
    assert!(error.contains("the rows have no column 'no'"), "{error}");
    let error = fails(&format!("EXPLAIN COPY (SELECT 1 AS id) TO '{url}?table=x'"));
    assert!(error.contains("EXPLAIN its query"), "{error}");
    assert_eq!(server.sql(&database, "SELECT count(*) FROM pg_tables WHERE tablename = 'x'"), "0");
}

fn table(url: &str, name: &str) -> String {
    format!("CREATE EXTERNAL TABLE {name} STORED AS POSTGRES LOCATION '{url}?table={name}';")
}

#[test]
fn a_table_is_read_with_its_types() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    server.sql(
        &database,
        "CREATE EXTENSION IF NOT EXISTS vector;
         CREATE TABLE every (i2 smallint, i4 integer, i8 bigint, f4 real, f8 double precision, d numeric(12, 4), n numeric,
           t text, c char(4), b bytea, day date, clock time, at timestamp, moment timestamptz, ok boolean, j jsonb, u uuid,
           v vector(2), h halfvec(2), bits bit(16), tags text[]);
         INSERT INTO every VALUES (-2, 70000, -5000000000, 0.5, 0.1, -1234.5, 2.5, 'größe', 'ab', '\\x00ff', '1969-12-31',
           '12:34:56.789', '2026-01-31 12:34:56.789', '2026-01-31 12:00:00+02', true, '{\"k\": 1}',
           '00000000-0000-0000-0000-000000000001', '[1,-0.5]', '[0.5,2]', B'1000000000000001', ARRAY['a', 'b c']);
         INSERT INTO every DEFAULT VALUES",
    );
    let create = table(&server.url(&database), "every");
    let types = lines(
        &place,
        &format!(
            "{create} SELECT arrow_typeof(i2), arrow_typeof(d), arrow_typeof(n), arrow_typeof(moment), arrow_typeof(v), \
                  arrow_typeof(bits) FROM every LIMIT 1"
        ),
    );
    assert_eq!(
        types.concat().replace('"', ""),
        "Int16,Decimal128(12, 4),Float64,Timestamp(µs, UTC),FixedSizeList(2 x Float32),FixedSizeList(2 x UInt8)"
    );
    let rows = lines(
        &place,
        &format!(
            "{create} SELECT i2, i4, i8, f4, f8, d, n, t, c, encode(b, 'hex') AS b, day, clock, at, ok, j, u, v, h, bits, \
                  tags FROM every ORDER BY i2"
        ),
    );
    let wanted = "-2,70000,-5000000000,0.5,0.1,-1234.5000,2.5,größe,ab,00ff,1969-12-31,12:34:56.789,\
                  2026-01-31T12:34:56.789,true,\"{\"\"k\"\": 1}\",00000000-0000-0000-0000-000000000001,\"[1.0, -0.5]\",\
                  \"[0.5, 2.0]\",\"[128, 1]\",\"{a,\"\"b c\"\"}\"";
    assert_eq!(rows[0], wanted);
    assert_eq!(rows[1], ",".repeat(19));
    let moment =
        lines(&place, &format!("{create} SELECT CAST(moment AS BIGINT) FROM every WHERE ok"));
    assert_eq!(moment, ["1769853600000000"]);
}

#[test]
fn columns_conditions_and_limits_go_to_the_server() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    server.sql(
        &database,
        "CREATE TABLE rows AS SELECT n AS id, CASE n % 3 WHEN 0 THEN 'de' WHEN 1 THEN 'en' END AS lang,
           DATE '2026-01-01' + n AS day, TIMESTAMPTZ '2026-01-01 00:00:00+00' + n * INTERVAL '1 hour' AS at, n % 2 = 0 AS ok
         FROM generate_series(0, 29999) n;
         -- Reading this column fails, so whoever reads it without need is noticed.
         CREATE VIEW guarded AS SELECT id, lang, day, at, ok, 1 / (id - 7) AS broken FROM rows",
    );
    let create = table(&server.url(&database), "guarded");
    let one = |text: &str| lines(&place, &format!("{create} {text}")).concat();
    assert_eq!(one("SELECT count(*) FROM guarded"), "30000");
    assert_eq!(one("SELECT count(*), sum(id) FROM guarded WHERE lang = 'de'"), "10000,149985000");
    assert_eq!(one("SELECT count(broken) FROM guarded WHERE id > 20000"), "9999");
    assert_eq!(one("SELECT count(broken) FROM guarded WHERE id IN (3, 9) OR id < 2"), "4");
    assert_eq!(one("SELECT count(broken) FROM guarded WHERE day >= DATE '2080-01-01'"), "10277");
    assert_eq!(
        one("SELECT count(broken) FROM guarded WHERE at >= TIMESTAMP '2029-01-01T00:00:00Z'"),
        "3696"
    );
    assert_eq!(
        one(
            "SELECT count(broken) FROM guarded WHERE NOT ok AND lang IS NULL AND id <> 7 AND id > 8"
        ),
        "4999"
    );
    // What the server might decide otherwise is decided here.
    assert_eq!(one("SELECT count(*) FROM guarded WHERE lang <> 'de' AND lang LIKE 'e%'"), "10000");
    let error = sql(&place, &format!("{create} SELECT sum(broken) FROM guarded")).fails(2);
    assert!(error.contains("division by zero"), "{error}");
    let some = lines(&place, &format!("{create} SELECT id FROM guarded LIMIT 3"));
    assert_eq!(some.len(), 3);
}

#[test]
fn vectors_come_back_with_their_provenance_and_are_searched() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    let copy = format!(
        "COPY (SELECT id, text, embed(text) AS v, quantize(embed(text), 'ubinary') AS bits FROM {DOCS}) TO '{url}' \
         OPTIONS (table 'docs', vector_type 'halfvec')"
    );
    sql(&place, &copy).ok();
    let create = table(&url, "docs");
    let search = "SELECT id FROM semantic_search(docs, query => 'stolen', vector => v, top_k => 1)";
    assert_eq!(lines(&place, &format!("{create} {search}")), ["1"]);
    let same =
        "SELECT arrow_metadata(v, 'sembla.fingerprint') = model_id('potion') FROM docs LIMIT 1";
    assert_eq!(lines(&place, &format!("{create} {same}")), ["true"]);
    let other = "SELECT cos_sim(v, truncate_vector(embed('a', 'minilm'), 128)) FROM docs";
    let error = sql(&place, &format!("{create} {other}")).fails(2);
    assert!(error.contains("model 'potion'") && error.contains("model 'minilm'"), "{error}");
    let embedded = "SELECT id FROM docs WHERE cos_sim(embed(text), v) > 0.999 ORDER BY id";
    assert_eq!(lines(&place, &format!("{create} {embedded}")), ["1", "2"]);
    // Rows of another model do not get between them.
    let mixed = format!(
        "COPY (SELECT id + 10 AS id, text, truncate_vector(embed(text, 'minilm'), 128) AS v FROM {DOCS}) TO '{url}?table=docs'"
    );
    let error = sql(&place, &mixed).fails(2);
    assert!(
        error.contains("has vectors of model 'potion', and the rows have those of 'minilm'"),
        "{error}"
    );
}

#[test]
fn what_can_not_be_read_is_said_in_one_line() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    let fails = |text: &str, code: i32| {
        let error = sql(&place, text).fails(code);
        assert!(!error.contains(Postgres::PASSWORD), "{error}");
        error
    };
    let error = fails(&table(&url, "missing"), 2);
    assert!(error.contains("has no table missing"), "{error}");
    let columns =
        format!("CREATE EXTERNAL TABLE x (id INT) STORED AS POSTGRES LOCATION '{url}?table=x'");
    assert!(fails(&columns, 2).contains("leave them out"));
    let wrong =
        format!("CREATE EXTERNAL TABLE x STORED AS POSTGRES LOCATION '{url}?table=x&key=id'");
    assert!(fails(&wrong, 2).contains("the address has the setting 'key'"));
    server.sql(
        &database,
        "CREATE TABLE gone (id int, day date); INSERT INTO gone VALUES (1, 'infinity')",
    );
    let create = table(&url, "gone");
    let error = fails(&format!("{create} SELECT day FROM gone"), 2);
    assert!(error.contains("column 'day': the date 'infinity' has no form"), "{error}");
    assert_eq!(lines(&place, &format!("{create} SELECT id FROM gone")), ["1"]);
}
