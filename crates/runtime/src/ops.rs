//! The ops listener: `/metrics`, `/health/live` and `/health/ready`, for machines on the inside.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

/// Which of the servers and parts this process needs are there now.
#[derive(Clone, Debug, Default)]
pub struct Health(Arc<Mutex<BTreeMap<&'static str, Result<(), String>>>>);

impl Health {
    /// Notes how a part is. A process is ready when every part that was ever noted is well.
    pub fn note(&self, part: &'static str, state: Result<(), String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(part, state);
    }

    /// What is not well, by part.
    pub fn problems(&self) -> BTreeMap<&'static str, String> {
        let parts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        parts.iter().filter_map(|(part, state)| Some((*part, state.clone().err()?))).collect()
    }
}

/// What the ops listener shows.
#[derive(Clone)]
pub struct Ops {
    /// Whether this process is well.
    pub health: Health,
    /// What it has counted.
    pub metrics: PrometheusHandle,
}

impl Ops {
    /// Serves until told to stop.
    ///
    /// # Errors
    /// Where the listener fails.
    pub async fn serve(self, listener: TcpListener, stop: CancellationToken) -> std::io::Result<()> {
        let router = Router::new()
            .route("/metrics", get(async |State(ops): State<Ops>| ops.metrics.render()))
            .route("/health/live", get(async || "live\n"))
            .route("/health/ready", get(ready))
            .with_state(self);
        axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned()).await
    }
}

async fn ready(State(ops): State<Ops>) -> Response {
    let problems = ops.health.problems();
    if problems.is_empty() {
        return "ready\n".into_response();
    }
    (StatusCode::SERVICE_UNAVAILABLE, Json(serde_json::json!({ "notReady": problems }))).into_response()
}
