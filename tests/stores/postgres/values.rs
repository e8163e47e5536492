//! What values become in a table, and what a key does.

use sembla_testing::Postgres;

use crate::place::Place;
use crate::{ended, start, stderr};

/// Runs an INSERT into the table `docs` over the rows of `rows.jsonl`.
fn insert(place: &Place, url: &str, columns: &str, query: &str, more: &str) {
    let file = place.write(
        "p.sql",
        &format!(
            "CREATE SOURCE rows ({columns}) WITH (connector = 'files', path = 'rows.jsonl');
             CREATE OR REPLACE SINK docs WITH (connector = 'postgres', url = '{url}', table = 'docs'{more});
             INSERT INTO docs {query};"
        ),
    );
    assert!(ended(&mut start(place, &file, None)), "{}", stderr(place));
}

#[test]
fn every_type_has_its_form() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    place.write(
        "rows.jsonl",
        "{\"id\": 1, \"ok\": true, \"n\": 5, \"x\": 0.1, \"at\": \"2026-01-31T12:34:56.789Z\", \"tags\": [\"a\", \"b\\n\"]}\n\
         {\"id\": 2}\n",
    );
    let columns = "id BIGINT, ok BOOLEAN, n INT, x DOUBLE, at TIMESTAMP, tags VARCHAR[]";
    let query = "SELECT id, ok, n, x, CAST(x AS REAL) AS r, at, CAST(at AS DATE) AS day, tags, \
                 CAST(x AS DECIMAL(12, 4)) AS d, CAST('ab' AS BYTEA) AS b, named_struct('k', id) AS o, \
                 CASE WHEN id = 1 THEN embed('a card') END AS v FROM rows";
    insert(&place, &server.url(&database), columns, query, "");
    let types = server.sql(
        &database,
        "SELECT string_agg(format_type(atttypid, atttypmod), ', ' ORDER BY attnum) FROM pg_attribute
         WHERE attrelid = 'docs'::regclass AND attnum > 0",
    );
    let wanted = "bigint, boolean, integer, double precision, real, timestamp without time zone, date, jsonb, \
                  numeric, bytea, jsonb, vector(128)";
    assert_eq!(types, wanted);
    let values =
        "SELECT id, ok, n, x, r, at, day, tags, d, b, o, vector_dims(v) FROM docs ORDER BY id";
    let first = "1|t|5|0.1|0.1|2026-01-31 12:34:56.789|2026-01-31|[\"a\", \"b\\n\"]|0.1000|\\x6162|{\"k\": 1}|128";
    let second = "2|||||||||\\x6162|{\"k\": 2}|";
    assert_eq!(server.sql(&database, values), format!("{first}\n{second}"));
}

#[test]
fn the_last_row_of_a_key_counts_and_marked_ones_go_away() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let url = server.url(&database);
    let row = |id: i32, text: &str, gone: bool| {
        format!("{{\"id\": {id}, \"lang\": \"en\", \"text\": \"{text}\", \"gone\": {gone}}}\n")
    };
    let columns = "id BIGINT, lang VARCHAR, text VARCHAR, gone BOOLEAN";
    let more = ", key = 'id, lang', delete = 'gone'";
    let query = "SELECT id, lang, text, gone FROM rows";
    let first =
        [row(1, "one", false), row(1, "uno", false), row(2, "two", false), row(3, "x", true)];
    place.write("rows.jsonl", &first.concat());
    insert(&place, &url, columns, query, more);
    let rows = || server.sql(&database, "SELECT id, text FROM docs ORDER BY id");
    assert_eq!(rows(), "1|uno\n2|two");
    // Deleted and written again within one commit; deleted alone.
    place
        .write("rows.jsonl", &[row(1, "", true), row(1, "eins", false), row(2, "", true)].concat());
    server.sql(&database, "DELETE FROM sembla_progress");
    insert(&place, &url, columns, query, more);
    assert_eq!(rows(), "1|eins");
    let key = server.sql(&database, "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = 'docs'::regclass");
    assert_eq!(key, "PRIMARY KEY (id, lang)");
}

#[test]
fn vectors_take_the_form_that_is_asked_for_with_an_index() {
    let (server, place) = (Postgres::shared(), Place::new());
    place.write(
        "rows.jsonl",
        "{\"id\": 1, \"text\": \"a card\"}\n{\"id\": 2, \"text\": \"a fee\"}\n",
    );
    for (form, method, operators) in [
        ("vector", "hnsw", "vector_cosine_ops"),
        ("halfvec", "ivfflat", "halfvec_cosine_ops"),
        ("bit", "hnsw", "bit_hamming_ops"),
    ] {
        let database = server.database();
        // The extension may be in a schema that is not searched.
        server.sql(&database, "CREATE SCHEMA ext; ALTER EXTENSION vector SET SCHEMA ext");
        let more = format!(", vector_type = '{form}', index = '{method}'");
        let query = "SELECT id, embed(text) AS v FROM rows";
        insert(&place, &server.url(&database), "id BIGINT, text VARCHAR", query, &more);
        let index =
            server.sql(&database, "SELECT indexdef FROM pg_indexes WHERE tablename = 'docs'");
        assert!(index.contains(method) && index.contains(operators), "{index}");
        let shown = server.sql(
            &database,
            "SELECT format_type(atttypid, atttypmod) FROM pg_attribute WHERE attrelid = 'docs'::regclass AND attname = 'v'",
        );
        assert!(shown.ends_with(&format!("{form}(128)")), "{shown}");
    }
}

#[test]
fn the_order_of_pgvector_is_that_of_cos_sim() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    let texts = [
        "a stolen card",
        "my card was lost",
        "how high is the fee",
        "an exchange rate",
        "close it",
    ];
    let rows: Vec<_> = texts
        .iter()
        .enumerate()
        .map(|(id, text)| format!("{{\"id\": {id}, \"text\": \"{text}\"}}\n"))
        .collect();
    place.write("rows.jsonl", &rows.concat());
    insert(
        &place,
        &server.url(&database),
        "id BIGINT, text VARCHAR",
        "SELECT id, text, embed(text) AS v FROM rows",
        "",
    );
    let there = server.sql(
        &database,
        "SELECT d.id, round((1 - (d.v <=> q.v))::numeric, 5) FROM docs d, docs q WHERE q.id = 0 ORDER BY d.v <=> q.v",
    );
    let here = place.run(&[
        "sql",
        "--format",
        "csv",
        "-m",
        "potion",
        "SELECT id, round(cos_sim(embed(text), embed('a stolen card')), 5) AS s FROM 'rows.jsonl' ORDER BY s DESC",
    ]);
    let pairs = |text: &str, comma: char| -> Vec<(i64, f64)> {
        let lines = text.lines().filter_map(|line| line.split_once(comma));
        lines.filter_map(|(id, s)| Some((id.parse().ok()?, s.parse().ok()?))).collect()
    };
    let (there, here) = (pairs(&there, '|'), pairs(&here.ok(), ','));
    assert_eq!(there.len(), texts.len());
    for ((id, score), (own_id, own)) in there.iter().zip(&here) {
        assert_eq!(id, own_id, "{there:?} {here:?}");
        assert!((score - own).abs() < 2e-5, "{there:?} {here:?}");
    }
}

#[test]
fn all_ways_to_log_in_are_spoken() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    server.sql(
        &database,
        "SET password_encryption = 'md5'; CREATE USER md5_user PASSWORD 'one@two'; RESET password_encryption;
         CREATE USER plain_user PASSWORD 'one@two'; CREATE USER \"größe\" PASSWORD 'pässwörd';
         GRANT ALL ON SCHEMA public TO md5_user, plain_user, \"größe\"",
    );
    place.write("rows.jsonl", "{\"id\": 1}\n");
    let urls = [
        server.url_of("md5_user:one%40two", &database),
        server.url_of("plain_user:one%40two", &database),
        server.url_of("gr%C3%B6%C3%9Fe:p%C3%A4ssw%C3%B6rd", &database),
        format!(
            "postgres://postgres@/{database}?host={}&port={}",
            server.socket_folder().display(),
            server.port()
        ),
    ];
    for url in urls {
        insert(&place, &url, "id BIGINT", "SELECT id FROM rows", "");
        assert_eq!(server.sql(&database, "SELECT id FROM docs"), "1");
        server.sql(&database, "DROP TABLE docs, sembla_progress");
    }
}
