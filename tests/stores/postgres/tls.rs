//! TLS as `sslmode` asks for it, through a proxy that speaks it in front of the server, which was
//! built without.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use sembla_testing::Postgres;

use crate::place::Place;

/// Speaks TLS on a port of its own, which it prints, and passes everything on.
const PROXY: &str = r"
import socket, ssl, sys, threading
context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
context.load_cert_chain(sys.argv[2], sys.argv[3])
listener = socket.create_server(('127.0.0.1', 0))
print(listener.getsockname()[1], flush=True)

def passed_on(one, other):
    try:
        while data := one.recv(65536):
            other.sendall(data)
    except OSError:
        pass
    for end in (one, other):
        try:
            end.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

def served(client):
    if client.recv(8) != b'\x00\x00\x00\x08\x04\xd2\x16\x2f':
        return client.close()
    client.sendall(b'S')
    try:
        client = context.wrap_socket(client, server_side=True)
    except OSError:
        return
    server = socket.create_connection(('127.0.0.1', int(sys.argv[1])))
    threading.Thread(target=passed_on, args=(client, server), daemon=True).start()
    passed_on(server, client)

while True:
    threading.Thread(target=served, args=(listener.accept()[0],), daemon=True).start()
";

/// A proxy that ends when it is dropped.
struct Proxy(Child);

impl Drop for Proxy {
    fn drop(&mut self) {
        self.0.kill().expect("killed");
        self.0.wait().expect("a child");
    }
}

/// Makes an authority, `ca.pem`, and a certificate of `localhost` that it has signed.
fn certificates(place: &Place) {
    place.write("extensions", "subjectAltName = DNS:localhost\n");
    for arguments in [
        "req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=authority -keyout ca.key -out ca.pem",
        "req -newkey rsa:2048 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
        "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile extensions -out certificate.pem",
    ] {
        let mut openssl = Command::new("openssl");
        openssl.args(arguments.split(' ')).current_dir(place.path("")).stderr(Stdio::null());
        assert!(openssl.status().expect("openssl").success(), "{arguments}");
    }
}

fn proxy(place: &Place, server: &Postgres) -> (Proxy, u16) {
    let mut python = Command::new("python3");
    python.args(["-c", PROXY, &server.port().to_string()]);
    python.arg(place.path("certificate.pem")).arg(place.path("key.pem"));
    let mut child = python.stdout(Stdio::piped()).spawn().expect("python3");
    let mut line = String::new();
    let out = child.stdout.take().expect("its output");
    BufReader::new(out).read_line(&mut line).expect("a port");
    (Proxy(child), line.trim().parse().expect("a port"))
}

#[test]
fn certificates_are_checked_as_far_as_asked_for() {
    let (server, place) = (Postgres::shared(), Place::new());
    let database = server.database();
    certificates(&place);
    let (_proxy, port) = proxy(&place, server);
    place.write("in.csv", "id,text\n1,a card\n");
    let embed = |host: &str, settings: &str| {
        let login = format!("{}:{}", Postgres::USER, Postgres::PASSWORD);
        let output =
            format!("postgres://{login}@{host}:{port}/{database}?table=docs&key=id&{settings}");
        place.run(&["embed", "in.csv", "-o", &output, "-m", "potion", "--restart"])
    };
    for (host, settings) in [
        ("127.0.0.1", "sslmode=prefer"),
        ("127.0.0.1", "sslmode=require"),
        ("127.0.0.1", "sslmode=verify-ca&sslrootcert=ca.pem"),
        ("localhost", "sslmode=verify-full&sslrootcert=ca.pem"),
    ] {
        embed(host, settings).ok();
        assert_eq!(server.sql(&database, "SELECT count(*) FROM docs"), "1", "{settings}");
    }
    for (host, settings, words) in [
        ("localhost", "sslmode=verify-full", "UnknownIssuer"),
        ("127.0.0.1", "sslmode=verify-ca", "UnknownIssuer"),
        ("127.0.0.1", "sslmode=verify-full&sslrootcert=ca.pem", "not valid for name"),
        ("localhost", "sslmode=verify-full&sslrootcert=none.pem", "'none.pem' can't be read"),
        ("localhost", "sslmode=verify-full&sslrootcert=in.csv", "'in.csv' can't be read"),
    ] {
        let run = embed(host, settings);
        assert_ne!(run.code, 0, "{settings}");
        let line = run.err.lines().last().unwrap_or_default();
        let begins = format!("error: TLS with postgres at {host}:{port} failed: ");
        assert!(line.starts_with(&begins) && line.contains(words), "{line}");
        assert!(!run.err.contains(Postgres::PASSWORD), "{}", run.err);
    }
}
