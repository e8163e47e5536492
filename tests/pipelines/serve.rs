//! The server of metrics under clients that ask slowly.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::process::{Command, Stdio};
use std::time::Duration;

use super::messages;
use crate::place::Place;

/// What a request gets.
fn get(address: &str, path: &str) -> String {
    let mut stream = TcpStream::connect(address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(30))).expect("set");
    write!(stream, "GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").expect("asked");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    answer
}

#[test]
fn clients_that_never_finish_asking_keep_nothing_from_the_pipeline() {
    let place = Place::new();
    place.write("messages.jsonl", &(messages().join("\n") + "\n"));
    // 600 rows, one a second, at sixty times that.
    place.write(
        "p.sql",
        "CREATE SOURCE m (id BIGINT, text VARCHAR, ts TIMESTAMP, WATERMARK FOR ts)
           WITH (connector = 'files', path = 'messages.jsonl', speed = '60');
         CREATE SINK o WITH (connector = 'files', path = 'out', format = 'json');
         INSERT INTO o SELECT id, text FROM m;",
    );
    let binary = env!("CARGO_BIN_EXE_sembla");
    let script = format!(
        "ulimit -n 128; exec {binary} run p.sql --metrics 0 --set checkpoint_interval='200 ms'"
    );
    let mut child = Command::new("sh")
        .args(["-c", &script])
        .current_dir(place.path("."))
        .stderr(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .expect("the binary runs");
    let mut err = BufReader::new(child.stderr.take().expect("a pipe"));
    let mut address = String::new();
    while !address.contains("http://") {
        address.clear();
        assert!(err.read_line(&mut address).expect("a line") > 0, "no address was told");
    }
    let address = address.split("http://").nth(1).and_then(|rest| rest.split('/').next());
    let address = address.expect("an address").to_string();
    let mut slow = Vec::new();
    for _ in 0..240 {
        // Those that find no room are as good: they hold nothing.
        if let Ok(mut stream) = TcpStream::connect(&address) {
            let _ = write!(stream, "GET /metrics HTTP/1.1\r\nHost:");
            slow.push(stream);
        }
        if slow.len() == 120 {
            assert!(get(&address, "/health").starts_with("HTTP/1.1 200"));
        }
    }
    assert!(get(&address, "/status").contains("\"pipeline\":\"o\""));
    let first = slow.first_mut().expect("a connection");
    first.set_read_timeout(Some(Duration::from_secs(60))).expect("set");
    let ended = first.read(&mut [0; 64]);
    assert!(
        !matches!(&ended, Err(error) if error.kind() == std::io::ErrorKind::WouldBlock),
        "still open"
    );
    let mut words = String::new();
    err.read_to_string(&mut words).expect("words");
    assert!(child.wait().expect("waited").success(), "{words}");
    assert!(words.contains("600 rows in, 600 out") && words.contains("complete"), "{words}");
}
