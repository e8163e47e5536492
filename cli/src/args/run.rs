//! What `sembla run` takes.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use clap::Args;

use super::SessionArgs;

/// Arguments of `sembla run`.
#[derive(Debug, Args)]
#[command(after_help = "\
    Each INSERT INTO a sink is a pipeline; all pipelines of the files run at the same time, until their sources \
    end. Ctrl-C (or SIGTERM) stops reading, then processes and commits what was read. A second Ctrl-C exits at once, \
    and the next run resumes from the last commit.\n\n\
    Examples:\n  \
    sembla run pipeline.sql\n  \
    sembla run pipeline.sql --dry-run\n  \
    sembla run pipeline.sql --metrics 9464 --set checkpoint_interval='5 s'\n\n\
    SET stream.… in the file sets the same options; SHOW ALL lists them.")]
pub(crate) struct RunArgs {
    /// Files of statements, run in order; `-` is standard input
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Check statements, files, topics, sinks and the state folder, report what does not answer,
    /// and exit
    #[arg(long)]
    pub(crate) dry_run: bool,

    /// Start over from where the sources' options say, and discard saved state
    #[arg(long)]
    pub(crate) ignore_state: bool,

    /// Folder or s3:// address for state between runs [default: .sembla/state]
    #[arg(long, value_name = "PLACE")]
    pub(crate) state: Option<String>,

    /// Set an option of streams, such as checkpoint_interval='5 s'; can be repeated
    #[arg(long, value_name = "KEY=VALUE", value_parser = key_and_value)]
    pub(crate) set: Vec<(String, String)>,

    /// Serve /metrics for Prometheus, /health and /status at this address; a port alone listens on
    /// this machine only
    #[arg(long, value_name = "[ADDRESS:]PORT", value_parser = address)]
    pub(crate) metrics: Option<SocketAddr>,

    /// The session.
    #[command(flatten)]
    pub(crate) session: SessionArgs,
}

fn key_and_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be KEY=VALUE")?;
    Ok((key.trim().to_string(), value.trim().trim_matches('\'').to_string()))
}

fn address(text: &str) -> Result<SocketAddr, String> {
    if let Ok(port) = text.parse() {
        return Ok(SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port));
    }
    text.parse()
        .map_err(|_| "must be a port, or an address with a port such as 127.0.0.1:9464".into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_alone_is_this_machine_only() {
        assert_eq!(address("9464"), Ok(SocketAddr::from(([127, 0, 0, 1], 9464))));
        assert_eq!(address("0.0.0.0:1"), Ok(SocketAddr::from(([0, 0, 0, 0], 1))));
        assert!(address("localhost").is_err());
    }

    #[test]
    fn values_may_be_quoted() {
        assert_eq!(key_and_value("linger='5 ms'"), Ok(("linger".into(), "5 ms".into())));
        assert!(key_and_value("linger").is_err());
    }
}
