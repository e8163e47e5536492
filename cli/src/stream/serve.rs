//! What a running pipeline tells the outside: `/metrics` for Prometheus, `/health`, `/status`.
//!
//! Nothing here can change anything, and nothing of rows or options is shown.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tokio::net::TcpListener;

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
pub(crate) fn record() -> Result<PrometheusHandle> {
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

struct Shown {
    metrics: PrometheusHandle,
    pipelines: Vec<Watched>,
}

/// Serves until the process ends.
///
/// # Errors
/// When the address can't be had.
pub(crate) async fn serve(
    address: SocketAddr,
    metrics: PrometheusHandle,
    pipelines: Vec<Watched>,
) -> Result<()> {
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::user(format!("--metrics {address}: {error}; choose another port"))
    })?;
    let address = listener.local_addr().unwrap_or(address);
    eprintln!("metrics, health and status: http://{address}/metrics /health /status");
    let shown = Arc::new(Shown { metrics, pipelines });
    let routes = Router::new()
        .route("/metrics", get(metrics_page))
        .route("/health", get(health))
        .route("/status", get(status))
        .with_state(shown);
    tokio::spawn(async move {
        if let Err(error) = axum::serve(listener, routes).await {
            tracing::warn!("the server of metrics has ended: {error}");
        }
    });
    Ok(())
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
