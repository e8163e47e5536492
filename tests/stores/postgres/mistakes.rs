//! What goes wrong is one line that names the thing and the fix, and has no password.

use sembla_testing::Postgres;

use crate::place::Place;

/// The line of an `embed` into an address that fails.
fn refusal(place: &Place, output: &str) -> String {
    let run = place.run(&["embed", "in.csv", "-o", output, "-m", "potion"]);
    assert_ne!(run.code, 0, "{output} was written");
    let line = run.err.lines().last().unwrap_or_default().to_string();
    assert!(line.starts_with("error: "), "{}", run.err);
    for secret in [Postgres::PASSWORD, "hunter2"] {
        assert!(!run.err.contains(secret), "{}", run.err);
    }
    line
}

fn place() -> Place {
    let place = Place::new();
    place.write("in.csv", "id,text\n1,a card\n2,a fee\n");
    place
}

#[test]
fn logins_that_can_not_be() {
    let (server, place) = (Postgres::shared(), place());
    let database = server.database();
    let says = |output: &str, words: &[&str]| {
        let line = refusal(&place, output);
        for word in words {
            assert!(line.contains(word), "'{word}' is not in: {line}");
        }
    };
    let shown = server.shown();
    says(
        &format!("{}?table=t", server.url_of("postgres:hunter2", &database)),
        &[&format!("postgres at {shown} refuses the login of user 'postgres'"), "PGPASSWORD"],
    );
    says(&format!("{}?table=t", server.url_of("postgres", &database)), &["asks for a password"]);
    says(&format!("{}?table=t", server.url("nowhere")), &["has no database 'nowhere'"]);
    let tls = format!("{}?table=t&sslmode=require", server.url(&database));
    says(&tls, &["TLS with postgres at", "does not speak TLS", "sslmode"]);
    says(&format!("{}?tabel=t", server.url(&database)), &["'tabel'", "none of table, key"]);
    says(&server.url(&database), &["needs the option 'table'"]);
}

#[test]
fn tables_that_do_not_fit() {
    let (server, place) = (Postgres::shared(), place());
    let database = server.database();
    server.sql(
        &database,
        "CREATE TABLE narrow (id bigint PRIMARY KEY, text text, embedding vector(384));
         CREATE TABLE lacking (id bigint PRIMARY KEY, text text);
         CREATE TABLE typed (id text, text text, embedding vector(128));
         CREATE TABLE keyless (id bigint, text text, embedding vector(128));
         CREATE TABLE more (id bigint, text text, embedding vector(128), day date NOT NULL);
         CREATE VIEW seen AS SELECT 1 AS id",
    );
    for (table, words) in [
        (
            "narrow",
            "column 'embedding' of table narrow is vector(384), and the rows have vector(128); embed with the model",
        ),
        (
            "lacking",
            "table lacking has no column 'embedding' (vector(128)); add it with ALTER TABLE",
        ),
        ("typed", "column 'id' of table typed is text, and the rows have bigint; cast"),
        ("keyless&key=id", "table keyless has no unique index over the key (id)"),
        ("more", "table more needs a value for column 'day'"),
        ("seen", "seen is no table"),
        ("t&key=url", "the rows have no column 'url'; they have id, text, embedding"),
        ("nowhere.t", "CREATE SCHEMA"),
        ("t&vector_type=int8", "one of: vector, halfvec, bit"),
    ] {
        let line = refusal(&place, &format!("{}?table={table}", server.url(&database)));
        assert!(line.contains(words), "'{words}' is not in: {line}");
    }
    assert_eq!(server.sql(&database, "SELECT count(*) FROM narrow"), "0");
}

#[test]
fn rights_and_extensions_that_are_missing() {
    let (server, place) = (Postgres::shared(), place());
    let (database, plain) = (server.database(), server.plain_database());
    server.sql(
        &database,
        "CREATE USER reader PASSWORD 'hunter2'; CREATE TABLE docs (id bigint, text text, embedding vector(128));
         CREATE TABLE sembla_progress (pipeline text, target text, fence bigint, epoch bigint, progress jsonb,
           updated_at timestamptz, PRIMARY KEY (pipeline, target));
         GRANT SELECT ON docs, sembla_progress TO reader",
    );
    let url = |database: &str| server.url_of("reader:hunter2", database);
    let line = refusal(&place, &format!("{}?table=docs", url(&database)));
    assert!(line.contains("user 'reader'") && line.contains("lacks the right"), "{line}");
    let line = refusal(&place, &format!("{}?table=fresh", url(&database)));
    assert!(line.contains("permission denied for schema public"), "{line}");
    let line = refusal(&place, &format!("{}?table=docs", url(&plain)));
    let wanted = format!(
        "database '{plain}' lacks the extension vector, and user 'reader' may not create it"
    );
    assert!(line.contains(&wanted), "{line}");
    // The owner may, and it is created.
    let output = format!("{}?table=docs", server.url(&plain));
    place.run(&["embed", "in.csv", "-o", &output, "-m", "potion"]).ok();
    // A database that takes no writes.
    server.sql(
        &database,
        &format!("ALTER DATABASE {database} SET default_transaction_read_only = on"),
    );
    let line = refusal(&place, &format!("{}?table=docs", server.url(&database)));
    assert!(line.contains("takes no writes"), "{line}");
}

#[test]
fn names_of_tables_are_names_and_no_statements() {
    let (server, place) = (Postgres::shared(), place());
    let database = server.database();
    server.sql(&database, "CREATE TABLE precious (id int); CREATE SCHEMA \"größe; x\"");
    for (name, sql) in [
        ("x\"; DROP TABLE precious; --", "\"x\"\"; DROP TABLE precious; --\""),
        ("it's", "\"it's\""),
        ("Docs", "\"Docs\""),
        ("表", "\"表\""),
        ("größe; x.docs", "\"größe; x\".docs"),
        ("\"a.b\"", "\"a.b\""),
    ] {
        let url = server.url(&database);
        let file = place.write(
            "p.sql",
            &format!(
                "CREATE SOURCE rows (id BIGINT, text VARCHAR) WITH (connector = 'files', path = 'in.csv');
                 CREATE OR REPLACE SINK docs WITH (connector = 'postgres', url = '{url}', table = '{}');
                 INSERT INTO docs SELECT id, text FROM rows;",
                name.replace('\'', "''")
            ),
        );
        place.run(&["run", file.to_str().expect("a path")]).ok();
        assert_eq!(server.sql(&database, &format!("SELECT count(*) FROM {sql}")), "2", "{name}");
    }
    assert_eq!(server.sql(&database, "SELECT count(*) FROM precious"), "0");
    for (name, words) in [("a.b.c", "must be a name or schema.name"), (&"x".repeat(64), "63 bytes")]
    {
        let line = refusal(&place, &format!("{}?table={name}", server.url(&database)));
        assert!(line.contains(words), "{line}");
    }
}

#[test]
fn a_dry_run_looks_and_leaves_nothing() {
    let (server, place) = (Postgres::shared(), place());
    let database = server.database();
    let pipeline = |url: &str| {
        place.write(
            "p.sql",
            &format!(
                "CREATE SOURCE rows (id BIGINT, text VARCHAR) WITH (connector = 'files', path = 'in.csv');
                 CREATE SINK docs WITH (connector = 'postgres', url = '{url}', table = 'docs', password = 'hunter2');
                 INSERT INTO docs SELECT id, embed(text) AS v FROM rows;"
            ),
        )
    };
    let dry = |file: &std::path::Path| {
        place.run(&["run", file.to_str().expect("a path"), "-m", "potion", "--dry-run"])
    };
    dry(&pipeline(&server.url(&database))).ok();
    let tables = "SELECT count(*) FROM pg_class WHERE relname IN ('docs', 'sembla_progress')";
    assert_eq!(server.sql(&database, tables), "0");
    let run = dry(&pipeline("postgres://me@127.0.0.1:1/db"));
    assert_ne!(run.code, 0);
    assert!(
        run.err.contains("sink 'docs': postgres at 127.0.0.1:1 refuses connections"),
        "{}",
        run.err
    );
    assert!(!run.err.contains("hunter2"), "{}", run.err);
}
