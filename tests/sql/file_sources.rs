//! Sources of text files: read with their declared types in a query and in a pipeline alike, and
//! what can't be read goes to the dead letters.

use std::fs;
use std::path::Path;

use arrow::util::display::{ArrayFormatter, FormatOptions};
use sembla_runtime::{End, Status, Stop, StopSignal, Summary};
use sembla_sql::{Outcome, Session, SessionOptions};
use tempfile::TempDir;
use tokio::sync::watch;

/// A folder with files, and a session that keeps its state there.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new(files: &[(&str, &[u8])]) -> Self {
        let place = Self { folder: TempDir::new().expect("a folder") };
        files.iter().for_each(|(name, bytes)| place.write(name, bytes));
        place
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        let path = self.folder.path().join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        fs::write(path, bytes).expect("a file");
    }

    fn path(&self, name: &str) -> String {
        self.folder.path().join(name).display().to_string()
    }

    /// A session with a source `s` of the columns over a path.
    async fn session(&self, columns: &str, path: &str, options: &str) -> Session {
        let session = Session::new(SessionOptions::default()).expect("a session");
        let (path, state) = (self.path(path), self.path("state"));
        let sql = format!(
            "SET stream.state = '{state}'; \
             CREATE SOURCE s ({columns}) WITH (connector = 'files', path = '{path}'{options}); \
             CREATE SINK o WITH (connector = 'files', path = '{}', format = 'json', dead_letter_path = '{}')",
            self.path("out"),
            self.path("dead")
        );
        for statement in session.parse(&sql).expect("SQL") {
            session.execute(statement).await.unwrap_or_else(|error| panic!("{sql}: {error}"));
        }
        session
    }

    /// Runs a pipeline of all rows of `s` to its end.
    async fn run(&self, session: &Session, query: &str) -> Result<Summary, String> {
        let insert = session.parse(&format!("INSERT INTO o {query}")).expect("SQL").remove(0);
        let Outcome::Stream(plan) = session.execute(insert).await.map_err(|e| e.to_string())?
        else {
            panic!("no pipeline")
        };
        let pipeline = plan.open(false).await.map_err(|error| error.to_string())?.remove(0);
        let (_stop, signal) = StopSignal::channel();
        let (status, _watched) = watch::channel(Status::default());
        let ended = sembla_runtime::run(pipeline, signal, status).await;
        ended.map_err(|error| error.to_string())
    }

    /// The lines of a data set.
    fn lines(&self, name: &str) -> Vec<String> {
        let Ok(folder) = fs::read_dir(self.folder.path().join(name)) else { return Vec::new() };
        let files = folder.map(|entry| entry.expect("a file").path());
        let files = files.filter(|path| path.extension().is_some_and(|end| end == "jsonl"));
        let mut lines: Vec<String> = files
            .flat_map(|path| {
                let text = fs::read_to_string(path).expect("lines");
                text.lines().map(str::to_string).collect::<Vec<_>>()
            })
            .collect();
        lines.sort();
        lines
    }
}

/// The rows of a query, or its error.
async fn query(session: &Session, sql: &str) -> Result<Vec<String>, String> {
    let statement = session.parse(sql).expect("SQL").remove(0);
    let outcome = session.execute(statement).await.map_err(|error| error.to_string())?;
    let Outcome::Rows(rows) = outcome else { panic!("{sql} gives no rows") };
    let mut lines = Vec::new();
    let rows = rows.collect().await.map_err(|e| sembla_sql::SqlError::from(e).to_string())?;
    for batch in rows {
        let options = FormatOptions::default().with_null("NULL");
        let columns = batch.columns().iter();
        let columns: Vec<_> =
            columns.map(|c| ArrayFormatter::try_new(c, &options).expect("a formatter")).collect();
        for row in 0..batch.num_rows() {
            let values: Vec<String> = columns.iter().map(|c| c.value(row).to_string()).collect();
            lines.push(values.join(" | "));
        }
    }
    Ok(lines)
}

#[tokio::test]
async fn files_are_read_with_the_declared_types() {
    let place = Place::new(&[
        ("z.csv", b"id,text,price\n007,card,1.10\n8,,\n"),
        ("k.jsonl", b"{\"id\":\"007\",\"text\":\"card\",\"price\":1.10}\n{\"id\":8}\n"),
        ("semi.csv", b"007;card;1.10\n8;;\n"),
    ]);
    for (path, options) in [("z.csv", ""), ("k.jsonl", ""), ("semi.csv", ", header = 'false'")] {
        let columns = "id VARCHAR, text VARCHAR, price VARCHAR";
        let session = place.session(columns, path, options).await;
        let rows = query(&session, "SELECT * FROM s").await.expect("rows");
        assert_eq!(rows, ["007 | card | 1.10", "8 | NULL | NULL"], "{path}");
        let some = query(&session, "SELECT price, id FROM s LIMIT 1").await.expect("rows");
        assert_eq!(some, ["1.10 | 007"], "{path}");
    }
    let columns = "id VARCHAR, text VARCHAR, price VARCHAR";
    let session = place.session(columns, "z.csv", "").await;
    place.run(&session, "SELECT id, price FROM s").await.expect("a run");
    assert_eq!(place.lines("out"), [r#"{"id":"007","price":"1.10"}"#, r#"{"id":"8"}"#]);
    assert_eq!(place.lines("dead"), Vec::<String>::new());
}

#[tokio::test]
async fn columns_go_by_name_across_files() {
    let place = Place::new(&[
        ("in/a.csv", b"text,title\nmy card was stolen,T1\n"),
        ("in/b.csv", b"title,text\nT2,rain is falling\n"),
        ("in/c.csv", b"text\nno title\n"),
        ("in/d.jsonl", b"{\"title\":\"T4\"}\n"),
        ("in/lang=de/e.csv", b"text\nes regnet\n"),
        ("in/empty.csv", b""),
    ]);
    let session = place.session("text VARCHAR, title VARCHAR, lang VARCHAR", "in", "").await;
    let rows = query(&session, "SELECT * FROM s").await.expect("rows");
    let expected = [
        "my card was stolen | T1 | NULL",
        "rain is falling | T2 | NULL",
        "no title | NULL | NULL",
        "NULL | T4 | NULL",
        "es regnet | NULL | de",
    ];
    assert_eq!(rows, expected);
    let other = Place::new(&[("a.csv", b"text,title\nx,y\n")]);
    let session = other.session("text VARCHAR, body VARCHAR", "a.csv", "").await;
    let error = query(&session, "SELECT * FROM s").await.expect_err("no such column");
    assert!(error.ends_with("a.csv' has no column 'body'; its columns are text, title"), "{error}");
}

#[tokio::test]
async fn a_query_names_file_and_line_of_what_it_can_not_read() {
    let place = Place::new(&[("m.jsonl", b"{\"id\":1}\n{\"id\":2}\nnot json\n")]);
    let session = place.session("id BIGINT", "m.jsonl", "").await;
    let error = query(&session, "SELECT * FROM s").await.expect_err("not JSON");
    let expected =
        format!("file '{}': line 3: expected a value, found \"not\"", place.path("m.jsonl"));
    assert_eq!(error, expected);
}

/// Dead letters by file, line, bytes and reason.
fn letters(place: &Place) -> Vec<(String, i64, String, String)> {
    let letter = |line: &String| {
        let letter: serde_json::Value = serde_json::from_str(line).expect("JSON");
        let text = |key: &str| letter[key].as_str().unwrap_or_default().to_string();
        let file = Path::new(&text("partition"))
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        (
            file.unwrap_or_default(),
            letter["position"].as_i64().expect("a line"),
            text("payload"),
            text("reason"),
        )
    };
    let mut letters: Vec<_> = place.lines("dead").iter().map(letter).collect();
    letters.sort();
    letters
}

#[tokio::test]
async fn rows_that_can_not_be_read_go_to_the_dead_letters() {
    let place = Place::new(&[
        (
            "in/a.jsonl",
            b"{\"id\":1,\"ts\":\"2024-01-01T00:00:00\"}\nnot json\n\
              {\"id\":\"abc\",\"ts\":\"2024-01-01T00:00:01\"}\n\
              {\"id\":3,\"ts\":\"yesterday\"}\n{\"id\":4}\n",
        ),
        ("in/b.jsonl", b"{\"id\":5,\"ts\":1704067210000}\n{\"id\":6,\"ts\":\"20"),
        ("in/c.csv", b"id,ts\n7,2024-01-01 00:00:20\n8\n9,\"2024"),
        ("in/d.csv.gz", b"this is no gzip"),
        ("in/e.csv", b"id,id\n1,2\n"),
        ("in/f.parquet", b"PAR1 this is not one PAR1"),
        ("in/zero.jsonl", b""),
    ]);
    let columns = "id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts";
    let session = place.session(columns, "in", ", partitions = '2'").await;
    let summary = place.run(&session, "SELECT id FROM s").await.expect("a run");
    assert_eq!(summary.end, End::Complete);
    assert_eq!(place.lines("out"), [r#"{"id":1}"#, r#"{"id":5}"#, r#"{"id":7}"#]);
    let found = letters(&place);
    let origins: Vec<(&str, i64, &str)> =
        found.iter().map(|(file, line, bytes, _)| (file.as_str(), *line, bytes.as_str())).collect();
    assert_eq!(
        origins,
        [
            ("a.jsonl", 2, "not json"),
            ("a.jsonl", 3, "{\"id\":\"abc\",\"ts\":\"2024-01-01T00:00:01\"}"),
            ("a.jsonl", 4, "{\"id\":3,\"ts\":\"yesterday\"}"),
            ("a.jsonl", 5, "{\"id\":4}"),
            ("b.jsonl", 2, "{\"id\":6,\"ts\":\"20"),
            ("c.csv", 3, "8"),
            ("c.csv", 4, "9,\"2024"),
            ("d.csv.gz", 0, ""),
            ("e.csv", 0, ""),
            ("f.parquet", 0, ""),
        ]
    );
    let reason = |at: usize| found[at].3.as_str();
    assert!(
        reason(2).ends_with("line 4, column 'ts': 'yesterday' can't be read as Timestamp(µs)"),
        "{}",
        reason(2)
    );
    assert!(
        reason(6).ends_with("the quote opened in row 3 (line 4) is never closed"),
        "{}",
        reason(6)
    );
    assert!(reason(8).contains("two columns are named 'id'"), "{}", reason(8));
    assert_eq!(summary.status.rows_rejected, 10);
}

#[tokio::test]
async fn a_file_of_no_byte_is_no_row() {
    let place = Place::new(&[("empty.jsonl", b"")]);
    let session = place.session("id BIGINT", "empty.jsonl", "").await;
    assert_eq!(query(&session, "SELECT * FROM s").await, Ok(Vec::new()));
    let summary = place.run(&session, "SELECT id FROM s").await.expect("a run");
    assert_eq!((summary.end, summary.status.rows_in), (End::Complete, 0));
}

#[tokio::test]
async fn new_rows_behind_the_end_are_not_called_complete() {
    let columns = "id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts";
    let count = "SELECT window_start, count(*) AS n FROM tumble(s, INTERVAL '1 minute') GROUP BY window_start";
    for (name, asked) in [("rows", "SELECT id FROM s"), ("windows", count)] {
        let row = |id: u32| format!("{{\"id\":{id},\"ts\":\"2024-01-01T00:00:{id:02}\"}}\n");
        let place = Place::new(&[("in/a.jsonl", row(1).as_bytes())]);
        let session = place.session(columns, "in", "").await;
        let summary = place.run(&session, asked).await.expect("a run");
        assert_eq!(summary.end, End::Complete, "{name}");
        let summary = place.run(&session, asked).await.expect("nothing new");
        assert_eq!(summary.end, End::AlreadyComplete, "{name}");
        place.write("in/b.jsonl", (row(2) + &row(3)).as_bytes());
        let error = place.run(&session, asked).await.expect_err("new rows");
        let expected = "source 's' was read to its end by an earlier run, and since then 2 rows were added to it";
        assert!(error.starts_with(expected), "{name}: {error}");
    }
    let place = Place::new(&[("in/a.jsonl", b"{\"id\":1,\"ts\":0}\n")]);
    let session = place.session(columns, "in", "").await;
    place.run(&session, count).await.expect("a run");
    let other = count.replace("1 minute", "2 minutes");
    let error = place.run(&session, &other).await.expect_err("another query");
    assert!(error.contains("--ignore-state"), "{error}");
}

/// Waits until a pipeline has read so many rows.
async fn until(watched: &mut watch::Receiver<Status>, rows: u64) {
    while watched.borrow().rows_in < rows {
        watched.changed().await.expect("a running pipeline");
    }
}

#[tokio::test]
async fn a_source_that_watches_takes_new_files_and_goes_on_where_it_was() {
    let row = |id: u32| format!("{{\"id\":{id},\"ts\":\"2024-01-01T00:00:{id:02}\"}}\n");
    let place = Place::new(&[("in/1.jsonl", (row(1) + &row(2)).as_bytes())]);
    let columns = "id BIGINT, ts TIMESTAMP, WATERMARK FOR ts AS ts";
    let options = ", watch = 'true', watch_interval = '20 ms'";
    for (begun, name, id) in [(2, "in/2.jsonl", 3), (0, "in/3.jsonl", 4)] {
        let session = place.session(columns, "in", options).await;
        let insert = session.parse("INSERT INTO o SELECT id FROM s").expect("SQL").remove(0);
        let Ok(Outcome::Stream(plan)) = session.execute(insert).await else {
            panic!("no pipeline")
        };
        let pipeline = plan.open(false).await.expect("opened").remove(0);
        let (stop, signal) = StopSignal::channel();
        let (status, mut watched) = watch::channel(Status::default());
        let running = tokio::spawn(sembla_runtime::run(pipeline, signal, status));
        until(&mut watched, begun).await;
        place.write(&format!("{name}.partial"), b"{");
        place.write(name, row(id).as_bytes());
        until(&mut watched, begun + 1).await;
        stop.send_replace(Stop::Drain);
        let summary = running.await.expect("no panic").expect("a drained pipeline");
        assert_eq!(summary.end, End::Drained);
    }
    let expected: Vec<String> = (1..=4).map(|id| format!("{{\"id\":{id}}}")).collect();
    assert_eq!(place.lines("out"), expected);
}
