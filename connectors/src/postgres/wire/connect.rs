//! From an address to a session: the socket, TLS, and the login.

use std::path::PathBuf;
use std::time::Duration;

use rustls::pki_types::ServerName;
use socket2::{SockRef, TcpKeepalive};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::auth::{Proved, SCRAM, Scram, md5_password};
use super::error::{ServerError, WireError, WireResult as Result};
use super::frames::Frames;
use super::tls::{self, TlsMode};
use super::{Duplex, Session};

/// A silent connection is asked whether it is alive after this time, and given up after four
/// questions without an answer.
const KEEPALIVE: Duration = Duration::from_secs(15);
const KEEPALIVE_QUESTIONS: u32 = 4;

/// Where a server is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::postgres) enum Endpoint {
    /// A host and a port.
    Tcp(String, u16),
    /// A socket file.
    #[cfg_attr(not(unix), expect(dead_code, reason = "socket files are Unix's"))]
    Socket(PathBuf),
}

/// Who logs in, and how.
pub(in crate::postgres) struct Login<'a> {
    /// Where.
    pub(in crate::postgres) endpoint: &'a Endpoint,
    /// The user.
    pub(in crate::postgres) user: &'a str,
    /// The password, if there is one.
    pub(in crate::postgres) password: Option<&'a str>,
    /// The database.
    pub(in crate::postgres) database: &'a str,
    /// How the session is called in the server's views.
    pub(in crate::postgres) application: &'a str,
    /// What is asked of TLS.
    pub(in crate::postgres) tls: TlsMode,
    /// A file of certificates to trust.
    pub(in crate::postgres) roots: Option<&'a PathBuf>,
    /// How long it may take.
    pub(in crate::postgres) within: Duration,
}

/// Connects and logs in.
///
/// # Errors
/// A server that does not answer, refuses the login, or does not speak TLS as asked.
pub(in crate::postgres) async fn connect(login: &Login<'_>) -> Result<Session> {
    let connected = async {
        let stream = open(login).await?;
        let mut session = Session::new(stream);
        log_in(&mut session, login).await?;
        Ok(session)
    };
    match tokio::time::timeout(login.within, connected).await {
        Ok(connected) => connected,
        Err(_) => Err(WireError::Io(std::io::Error::new(
            std::io::ErrorKind::TimedOut,
            format!("no answer within {} s", login.within.as_secs_f64()),
        ))),
    }
}

/// The socket, with TLS where it is asked for and spoken.
async fn open(login: &Login<'_>) -> Result<Box<dyn Duplex>> {
    let (host, port) = match login.endpoint {
        Endpoint::Tcp(host, port) => (host, *port),
        #[cfg(unix)]
        Endpoint::Socket(path) => {
            return Ok(Box::new(tokio::net::UnixStream::connect(path).await?));
        }
        #[cfg(not(unix))]
        Endpoint::Socket(_) => {
            return Err(WireError::Login("socket files are Unix's; name a host".into()));
        }
    };
    let mut stream = TcpStream::connect((host.as_str(), port)).await?;
    stream.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE);
    let keepalive = keepalive.with_retries(KEEPALIVE_QUESTIONS);
    SockRef::from(&stream).set_tcp_keepalive(&keepalive)?;
    if login.tls == TlsMode::Disable {
        return Ok(Box::new(stream));
    }
    let mut frames = Frames::default();
    frames.tls_request();
    stream.write_all(frames.bytes()).await?;
    // One byte and no more: what came behind it in the open could be anybody's.
    match stream.read_u8().await? {
        b'S' => {}
        _ if login.tls == TlsMode::Prefer => return Ok(Box::new(stream)),
        _ => return Err(WireError::Tls("the server does not speak TLS".into())),
    }
    let name = ServerName::try_from(host.clone())
        .map_err(|_| WireError::Tls(format!("'{host}' is no name that a certificate can have")))?;
    let connector = tokio_rustls::TlsConnector::from(tls::config(login.tls, login.roots)?);
    let stream = connector.connect(name, stream).await;
    Ok(Box::new(stream.map_err(|error| WireError::Tls(error.to_string()))?))
}

/// The conversation up to the first question of the session.
async fn log_in(session: &mut Session, login: &Login<'_>) -> Result<()> {
    let mut frames = Frames::default();
    frames.startup(&[
        ("user", login.user),
        ("database", login.database),
        ("application_name", login.application),
        ("client_encoding", "UTF8"),
        ("DateStyle", "ISO"),
        ("TimeZone", "UTC"),
        ("extra_float_digits", "3"),
    ])?;
    session.send(frames.bytes()).await?;
    let mut scram = Conversation::None;
    loop {
        let (kind, body) = session.message().await?;
        match kind {
            b'E' => return Err(ServerError::read(&body).into()),
            b'Z' => return Ok(()),
            b'R' => {
                frames.clear();
                scram = scram.answer(&body, login, &mut frames)?;
                if !frames.bytes().is_empty() {
                    session.send(frames.bytes()).await?;
                }
            }
            _ => {}
        }
    }
}

/// Where a login is.
enum Conversation {
    None,
    Begun(Scram),
    Proved(Proved),
}

impl Conversation {
    /// Answers what the server asks for.
    fn answer(self, body: &[u8], login: &Login<'_>, frames: &mut Frames) -> Result<Self> {
        let (code, rest) = body.split_at_checked(4).unwrap_or((&[], &[]));
        let code = code.try_into().map_or(u32::MAX, u32::from_be_bytes);
        let password = || {
            login.password.ok_or_else(|| WireError::Login("the server asks for a password".into()))
        };
        match (code, self) {
            (0, Self::None) => Ok(Self::None),
            (0, Self::Begun(_) | Self::Proved(_)) => Err(WireError::Login(
                "the server skipped the proof that it knows the password".into(),
            )),
            (3, _) => frames.password(password()?).map(|()| Self::None),
            (5, _) => {
                let answer = md5_password(login.user, password()?, rest);
                frames.password(&answer).map(|()| Self::None)
            }
            (10, _) => {
                let mut offered = rest.split(|byte| *byte == 0);
                if !offered.any(|mechanism| mechanism == SCRAM.as_bytes()) {
                    return Err(unknown_login());
                }
                let scram = Scram::new(password()?)?;
                frames.sasl_first(SCRAM, scram.first().as_bytes())?;
                Ok(Self::Begun(scram))
            }
            (11, Self::Begun(scram)) => {
                let (answer, proved) = scram.prove(rest)?;
                frames.sasl_next(answer.as_bytes())?;
                Ok(Self::Proved(proved))
            }
            (12, Self::Proved(proved)) => proved.check(rest).map(|()| Self::None),
            _ => Err(unknown_login()),
        }
    }
}

fn unknown_login() -> WireError {
    WireError::Login(
        "the server asks for a login that is not spoken here; it can be scram-sha-256, md5, password or trust".into(),
    )
}
