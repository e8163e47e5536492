//! Files that commands and COPY write to an address, here of a small web server that takes them.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};

use crate::place::{Place, read_parquet};

/// What was written, by path.
type Files = Arc<Mutex<BTreeMap<String, Vec<u8>>>>;

/// A web server that keeps what is put there; it ends with the process.
fn serve() -> (String, Files) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = format!("http://{}", listener.local_addr().expect("an address"));
    let files = Files::default();
    let kept = Arc::clone(&files);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            answer(&stream.expect("a request"), &kept);
        }
    });
    (address, files)
}

/// Answers one request and closes the connection.
fn answer(mut stream: &TcpStream, files: &Files) {
    let mut reader = BufReader::new(stream);
    let mut head = Vec::new();
    loop {
        let mut line = String::new();
        reader.read_line(&mut line).expect("a line");
        if line.trim().is_empty() {
            break;
        }
        head.push(line.trim().to_string());
    }
    let mut words = head.first().map(String::as_str).unwrap_or_default().split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let length = head.iter().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or_default()];
    reader.read_exact(&mut body).expect("a body");
    let mut files = files.lock().expect("files");
    let status = match method {
        "PUT" => {
            files.insert(path.to_string(), body);
            "201 Created"
        }
        "HEAD" if files.contains_key(path) => "200 OK",
        _ => "404 Not Found",
    };
    let length = files.get(path).filter(|_| method == "HEAD").map_or(0, Vec::len);
    let date = "Mon, 30 Nov 2026 14:00:00 GMT";
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-length: {length}\r\nlast-modified: {date}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(answer.as_bytes()).expect("answered");
}

#[test]
fn embed_uploads_its_output() {
    let (address, files) = serve();
    let place = Place::new();
    place.write("in.csv", "id,text\n1,a card\n2,oil\n");
    let output = format!("{address}/some/v.parquet");
    let embed = |more: &[&str]| {
        place.run(&[&["embed", "in.csv", "-o", &output, "-m", "potion"][..], more].concat())
    };
    let run = embed(&[]);
    assert!(run.err.contains(&format!("2 rows to {output} with potion")), "{}", run.err);
    run.ok();
    let bytes = files.lock().expect("files").get("/some/v.parquet").cloned().expect("uploaded");
    std::fs::write(place.path("copy.parquet"), bytes).expect("written");
    let rows = read_parquet(&place.path("copy.parquet"));
    assert_eq!((rows.num_rows(), rows.num_columns()), (2, 3));
    let line = embed(&[]).fails(2);
    assert_eq!(line, format!("the output {output} already exists; --overwrite replaces it"));
    embed(&["--overwrite"]).ok();
    let line = embed(&["--only-new", "id"]).fails(2);
    assert!(line.contains("--only-new needs a local output"), "{line}");
}

#[test]
fn copy_writes_to_an_address() {
    let (address, files) = serve();
    let place = Place::new();
    let sql = format!("COPY (SELECT 1 AS a) TO '{address}/out/x.csv'");
    place.run(&["sql", &sql]).ok();
    let written = files.lock().expect("files").get("/out/x.csv").cloned();
    assert_eq!(written.as_deref(), Some(&b"a\n1\n"[..]));
}

#[test]
fn an_address_that_does_not_answer_is_named() {
    let place = Place::new();
    place.write("in.csv", "id,text\n1,a card\n");
    let args = ["embed", "in.csv", "-o", "http://127.0.0.1:1/v.parquet", "-m", "potion"];
    let line = place.run(&args).fails(1);
    assert!(line.contains("http://127.0.0.1:1/v.parquet"), "{line}");
}
