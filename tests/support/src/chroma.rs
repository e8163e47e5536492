//! A Chroma server, of `scripts/fetch-chroma.sh`.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{ports, watch::watch};

/// How long a test waits for a server.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A server. It ends when it is dropped, or with the process.
pub struct Chroma {
    folder: TempDir,
    port: u16,
    process: Mutex<Option<Child>>,
}

impl Chroma {
    /// Starts a server on a free port. The first start on a machine downloads it.
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fetched = Command::new(root.join("scripts/fetch-chroma.sh")).status();
        assert!(fetched.expect("scripts/fetch-chroma.sh").success(), "no Chroma");
        let folder = tempfile::Builder::new().prefix("sembla-chroma").tempdir();
        let port = ports::free(1);
        let server = Self { folder: folder.expect("a folder"), port, process: Mutex::new(None) };
        server.restart();
        watch(server.folder.path(), "pid");
        server
    }

    /// Starts it on its port with its data.
    pub fn restart(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize();
        let program: PathBuf = root.expect("the checkout").join(".sembla/chroma/bin/chroma");
        let mut command = Command::new(program);
        command.args(["run", "--host", "127.0.0.1", "--port", &self.port.to_string(), "--path"]);
        command.arg(self.folder.path()).current_dir(self.folder.path());
        command.env("ANONYMIZED_TELEMETRY", "False").stdin(Stdio::null());
        command.stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("chroma");
        std::fs::write(self.folder.path().join("pid"), child.id().to_string()).expect("written");
        *self.process.lock().expect("a process") = Some(child);
        let deadline = Instant::now() + TIMEOUT;
        while !self.try_get("/heartbeat").is_some_and(|answer| answer.contains("heartbeat")) {
            assert!(Instant::now() < deadline, "Chroma does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// Ends it at once.
    pub fn kill_hard(&self) {
        if let Some(mut child) = self.process.lock().expect("a process").take() {
            child.kill().expect("killed");
            child.wait().expect("a child");
        }
    }

    /// Its address.
    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// The id of a collection, if there is one.
    pub fn collection(&self, name: &str) -> Option<String> {
        let answer = self.try_get(&format!("{DATABASE}/collections/{name}"))?;
        let (_, rest) = answer.split_once("{\"id\":\"")?;
        rest.split_once('"').map(|(id, _)| id.to_string())
    }

    /// How many records a collection has; `None` where there is none of that name.
    pub fn count(&self, name: &str) -> Option<usize> {
        let id = self.collection(name)?;
        self.try_get(&format!("{DATABASE}/collections/{id}/count"))?.trim().parse().ok()
    }

    /// All records of a collection with that `include`, as JSON.
    pub fn records(&self, name: &str, include: &str) -> String {
        let id = self.collection(name).expect("a collection");
        let body = format!("{{\"include\": {include}}}");
        self.ask("POST", &format!("{DATABASE}/collections/{id}/get"), &body).expect("records")
    }

    /// Makes a collection as somebody else would, with metadata in JSON.
    pub fn create(&self, name: &str, metadata: &str) {
        let body = format!("{{\"name\": \"{name}\", \"metadata\": {metadata}}}");
        let made = self.ask("POST", &format!("{DATABASE}/collections"), &body);
        assert!(made.is_some_and(|answer| answer.contains("\"id\"")), "no collection {name}");
    }

    fn try_get(&self, path: &str) -> Option<String> {
        self.ask("GET", path, "")
    }

    /// The body of an answer; `None` where nobody answers.
    fn ask(&self, method: &str, path: &str, body: &str) -> Option<String> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        let length = body.len();
        let request = format!(
            "{method} /api/v2{path} HTTP/1.0\r\nhost: localhost\r\ncontent-type: application/json\r\n\
             content-length: {length}\r\nconnection: close\r\n\r\n{body}"
        );
        stream.write_all(request.as_bytes()).ok()?;
        let mut reader = BufReader::new(stream);
        let mut line = String::new();
        while reader.read_line(&mut line).ok()? > 0 && line.trim_end() != "" {
            line.clear();
        }
        let mut answer = String::new();
        reader.read_to_string(&mut answer).ok()?;
        Some(answer)
    }
}

impl Drop for Chroma {
    fn drop(&mut self) {
        self.kill_hard();
    }
}

/// The database that collections are in.
const DATABASE: &str = "/tenants/default_tenant/databases/default_database";
