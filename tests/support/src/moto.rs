//! A server that speaks S3, of `scripts/fetch-moto.sh`. It keeps what it is given in memory.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{ports, watch::watch};

/// How long a test waits for the server.
const TIMEOUT: Duration = Duration::from_secs(120);

/// A server with one bucket, [`Moto::BUCKET`]. It ends when it is dropped, or with the process.
pub struct Moto {
    /// Its id lies here, for what ends it with the process.
    _folder: TempDir,
    child: Child,
    port: u16,
}

impl Moto {
    /// The bucket that is there from the start.
    pub const BUCKET: &str = "bucket";

    /// Starts a server on a free port. The first start on a machine downloads it.
    pub fn start() -> Self {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
        let fetched = Command::new(root.join("scripts/fetch-moto.sh")).status();
        assert!(fetched.expect("scripts/fetch-moto.sh").success(), "no moto");
        let folder = tempfile::Builder::new().prefix("sembla-moto").tempdir().expect("a folder");
        let port = ports::free(1);
        let program = root.join(".sembla/moto/bin/moto_server").canonicalize().expect("moto");
        // By its path in the folder this process is told from others.
        let own = folder.path().join("moto_server");
        std::os::unix::fs::symlink(program, &own).expect("a link");
        let mut command = Command::new(own);
        command.args(["-H", "127.0.0.1", "-p", &port.to_string()]).stdin(Stdio::null());
        command.current_dir(folder.path()).stdout(Stdio::null()).stderr(Stdio::null());
        let child = command.spawn().expect("moto");
        std::fs::write(folder.path().join("pid"), child.id().to_string()).expect("written");
        watch(folder.path(), "pid");
        let server = Self { _folder: folder, child, port };
        let deadline = Instant::now() + TIMEOUT;
        while !server.ask("PUT", &format!("/{}", Self::BUCKET), b"") {
            assert!(Instant::now() < deadline, "moto does not answer");
            std::thread::sleep(Duration::from_millis(50));
        }
        server
    }

    /// Its address.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// Puts an object into the bucket.
    pub fn put(&self, key: &str, bytes: &[u8]) {
        assert!(self.ask("PUT", &format!("/{}/{key}", Self::BUCKET), bytes), "{key} is not stored");
    }

    /// The variables of the environment that lead a client here.
    pub fn environment(&self) -> [(&'static str, String); 5] {
        [
            ("AWS_ENDPOINT", self.endpoint()),
            ("AWS_ALLOW_HTTP", "true".to_string()),
            ("AWS_REGION", "us-east-1".to_string()),
            ("AWS_ACCESS_KEY_ID", "test-key-id".to_string()),
            ("AWS_SECRET_ACCESS_KEY", "test-secret".to_string()),
        ]
    }

    /// Whether a request is answered with success.
    fn ask(&self, method: &str, path: &str, body: &[u8]) -> bool {
        let answer = || -> std::io::Result<String> {
            let mut stream = TcpStream::connect(("127.0.0.1", self.port))?;
            let head = format!(
                "{method} {path} HTTP/1.0\r\nhost: s3.amazonaws.com\r\ncontent-length: {}\r\nconnection: close\r\n\r\n",
                body.len()
            );
            stream.write_all(head.as_bytes())?;
            stream.write_all(body)?;
            let mut line = String::new();
            BufReader::new(stream).read_line(&mut line)?;
            Ok(line)
        };
        answer().is_ok_and(|line| line.split(' ').nth(1).is_some_and(|code| code.starts_with('2')))
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        // A server that has ended already is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
