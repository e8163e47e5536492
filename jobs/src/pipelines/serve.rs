//! What a running pipeline tells the outside: `/metrics` for Prometheus, `/health`, `/status`.
//!
//! Nothing here can change anything, and nothing of rows or options is shown.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;

use super::watched::Watched;
use crate::failure::{Failure, Result};

/// Upper bounds of the buckets of times, in seconds.
const SECONDS: &[f64] =
    &[0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// How often what the recorder has gathered is put together when nobody asks.
const UPKEEP: Duration = Duration::from_secs(5);

/// Begins to gather metrics. Only once in a process.
///
/// # Errors
/// When there is a recorder already.
pub fn record() -> Result<PrometheusHandle> {
    let failed = |error: &dyn std::fmt::Display| Failure::other(format!("metrics: {error}"));
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), SECONDS)
        .map_err(|error| failed(&error))?;
    let handle = builder.install_recorder().map_err(|error| failed(&error))?;
    let upkept = handle.clone();
    tokio::spawn(async move {
        loop {
            tokio::time::sleep(UPKEEP).await;
            upkept.run_upkeep();
        }
    });
    Ok(handle)
}

/// Connections at a time, at least and at most.
const CONNECTIONS_LEAST: usize = 4;
const CONNECTIONS_MOST: usize = 256;

/// Files that the process may have open for each connection.
const FILES_PER_CONNECTION: usize = 8;

/// How long a client may take for the head of its request.
const HEADER_TIME_MAX: Duration = Duration::from_secs(5);

/// Headers of a request.
const HEADERS_MAX: usize = 64;

/// How long a connection may last, the answer included.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(20);

/// How long no connection is accepted after one could not be.
const ACCEPT_PAUSE: Duration = Duration::from_millis(200);

struct Shown {
    metrics: PrometheusHandle,
    pipelines: Vec<Watched>,
}

/// Serves `/metrics`, `/health` and `/status` until the process ends; the address is the one that
/// was bound, which matters where port 0 was asked for.
///
/// # Errors
/// When the address is not available.
pub async fn serve(
    address: SocketAddr,
    metrics: PrometheusHandle,
    pipelines: Vec<Watched>,
) -> Result<SocketAddr> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::user(format!("--metrics {address}: {error}; choose another port"))
    })?;
    let address = listener.local_addr().unwrap_or(address);
    let shown = Arc::new(Shown { metrics, pipelines });
    let routes = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/health", get(health))
        .route("/status", get(status))
        .with_state(shown);
    tokio::spawn(accept(listener, routes));
    Ok(address)
}

/// Serves connections, so many at a time, each for so long: a client that asks slowly, or not at
/// all, keeps nothing from the pipelines. Where there are too many, the oldest one goes, so that
/// who comes is answered.
async fn accept(listener: TcpListener, routes: Router) {
    let most = connections_max();
    let mut open: VecDeque<AbortHandle> = VecDeque::new();
    loop {
        let stream = match listener.accept().await {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Without a free file handle there will be one again when others are closed.
                tracing::debug!("a connection for metrics was not accepted: {error}");
                open.pop_front().iter().for_each(AbortHandle::abort);
                tokio::time::sleep(ACCEPT_PAUSE).await;
                continue;
            }
        };
        open.retain(|connection| !connection.is_finished());
        while open.len() >= most {
            open.pop_front().iter().for_each(AbortHandle::abort);
        }
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(HEADER_TIME_MAX)
            .max_headers(HEADERS_MAX)
            .keep_alive(false)
            .serve_connection(TokioIo::new(stream), TowerToHyperService::new(routes.clone()));
        let serving = tokio::spawn(async move {
            // Whoever asked is gone or too slow; there is nobody to tell.
            let _ = tokio::time::timeout(CONNECTION_TIME_MAX, connection).await;
        });
        open.push_back(serving.abort_handle());
    }
}

/// Connections at a time: a part of the files that the process may have open, since pipelines need
/// theirs.
fn connections_max() -> usize {
    (files_max() / FILES_PER_CONNECTION).clamp(CONNECTIONS_LEAST, CONNECTIONS_MOST)
}

/// The files that the process may have open.
#[cfg(unix)]
fn files_max() -> usize {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: the call writes into the structure that it is given, which is of the type it wants.
    let answer = unsafe { libc::getrlimit(libc::RLIMIT_NOFILE, &mut limit) };
    if answer == 0 { usize::try_from(limit.rlim_cur).unwrap_or(usize::MAX) } else { 0 }
}

#[cfg(not(unix))]
fn files_max() -> usize {
    usize::MAX
}

async fn metrics_page(State(shown): State<Arc<Shown>>) -> Response {
    let kind = [(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")];
    (kind, shown.metrics.render()).into_response()
}

/// 200 when every pipeline runs and commits in time; else 503 and a line for each that doesn't.
async fn health(State(shown): State<Arc<Shown>>) -> Response {
    let ill: Vec<String> = shown.pipelines.iter().filter_map(Watched::complaint).collect();
    match ill.is_empty() {
        true => "ok\n".into_response(),
        false => (StatusCode::SERVICE_UNAVAILABLE, ill.join("\n") + "\n").into_response(),
    }
}

async fn status(State(shown): State<Arc<Shown>>) -> Response {
    let all: Vec<serde_json::Value> = shown.pipelines.iter().map(Watched::json).collect();
    let kind = [(header::CONTENT_TYPE, "application/json")];
    (kind, serde_json::Value::from(all).to_string() + "\n").into_response()
}
