//! Admin port: plain HTTP for probes, scrapers and people inside the cluster.

use axum::Router;
use axum::extract::State as Shared;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder as _, TextEncoder};
use tokio::net::TcpListener;
use tokio::sync::watch;

use super::health::State;

#[derive(Clone)]
struct Admin {
    state: watch::Receiver<State>,
    registry: prometheus::Registry,
    settings: String,
}

/// Serves `/livez`, `/readyz`, `/metrics` and `/config` until it is aborted.
pub(crate) async fn serve(
    listener: TcpListener,
    state: watch::Receiver<State>,
    registry: prometheus::Registry,
    settings: String,
) {
    let router = Router::new()
        .route("/livez", get(async || "alive\n"))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .route("/config", get(async |Shared(admin): Shared<Admin>| admin.settings))
        .with_state(Admin { state, registry, settings });
    if let Err(error) = axum::serve(listener, router).await {
        tracing::error!(%error, "admin port ended");
    }
}

async fn readyz(Shared(admin): Shared<Admin>) -> Response {
    let state = admin.state.borrow().clone();
    let code = match state {
        State::Ready | State::ReadyInPart(_) => StatusCode::OK,
        State::Starting(_) | State::NotReady(_) | State::Draining => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{state}\n")).into_response()
}

async fn metrics(Shared(admin): Shared<Admin>) -> Response {
    let encoder = TextEncoder::new();
    let mut text = Vec::new();
    match encoder.encode(&admin.registry.gather(), &mut text) {
        Ok(()) => ([(CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response(),
        Err(error) => (StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")).into_response(),
    }
}
