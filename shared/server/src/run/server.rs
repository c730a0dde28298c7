//! gRPC server: HTTP/2 limits, the order of the layers, reflection.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use http::Request;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;
use tonic::body::Body;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_reflection::server::Builder;
use tower::util::MapRequestLayer;

use super::drain::Drain;
use super::error::Error;
use super::incoming;
use crate::ServiceInfo;
use crate::config::ServerConfig;
use crate::layers::bound::Bound;
use crate::layers::call::Call;
use crate::layers::deadline::Deadline;
use crate::layers::details::Details;
use crate::layers::ending::Ending;
use crate::layers::event_source::EventSource;
use crate::layers::gate::Gate;
use crate::layers::methods::Methods;
use crate::layers::metrics::Metrics;
use crate::layers::middleware::Layer;
use crate::layers::panic::PanicGuard;
use crate::layers::shed::Shed;
use crate::layers::spelling::Spelling;
use crate::layers::trace::Trace;

/// Interval of pings, which find connections without a peer; one unanswered for [`KEEPALIVE_TIMEOUT`] closes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// Flow-control window of one stream, in bytes.
const STREAM_WINDOW: u32 = 1 << 20;
/// Flow-control window of a connection, in bytes for each stream that it may have.
///
/// h2 grants half of a connection's window to the overhead of small unread frames, 256 bytes each. It takes more for an
/// attack, and breaks the connection with all its calls. A process that pauses for a moment meets such a burst of small
/// calls. (An adaptive window starts at 64 KiB, which is room for 128.)
const WINDOW_A_STREAM: u32 = 4 << 10;
/// Maximum of streams that clients reset before we saw them; h2's 20 makes a burst of cancels look like an attack.
const MAX_RESETS: usize = 1024;

/// Serves gRPC on `listener` until the drain, with the layers around `routes`.
pub(super) fn serve(
    config: &ServerConfig,
    methods: Methods,
    (listener, addr): (TcpListener, SocketAddr),
    drain: &Drain,
    force: &CancellationToken,
    gate: Gate,
    routes: Routes,
) -> impl Future<Output = Result<(), tonic::transport::Error>> + Send + use<> {
    let methods = Arc::new(methods);
    let room = Arc::new(Semaphore::new(config.limits.max_in_flight));
    let collected = config.telemetry.otlp_endpoint.is_some();
    let mut server = Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .initial_stream_window_size(STREAM_WINDOW)
        .initial_connection_window_size(connection_window(config.limits.max_streams))
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .max_concurrent_streams(config.limits.max_streams);
    if !config.limits.max_connection_age.is_zero() {
        // Never a grace as well: with one, tonic closes hard after age plus grace and sends no GOAWAY at all.
        server = server.max_connection_age(config.limits.max_connection_age);
    }
    // The first is the outermost. `docs/layers.md` says why each sits where it does.
    let server = server
        .layer(MapRequestLayer::new(move |request: Request<Body>| Call::new(&methods, request)))
        .layer(Layer(PanicGuard::new()))
        .layer(Layer(Trace::new(addr, collected)))
        .layer(Layer(Metrics::new()))
        .layer(Layer(EventSource))
        .layer(Layer(Shed::new(room)))
        .layer(Layer(Deadline(config.deadlines)))
        .layer(Layer(Spelling))
        .layer(Layer(gate))
        .layer(Layer(Bound))
        .layer(Layer(Ending(drain.0.clone())))
        .layer(MapRequestLayer::new(|call: Call<Body>| call.request))
        .layer(Layer(Details));
    let incoming = incoming::accept(listener, drain.0.clone(), force.clone());
    let signal = drain.0.clone().cancelled_owned();
    server.serve_with_incoming_shutdown(routes.prepare(), incoming, signal)
}

/// Computes the window of a connection: at least one stream's, at most what HTTP/2 allows.
fn connection_window(streams: u32) -> u32 {
    streams.saturating_mul(WINDOW_A_STREAM).clamp(STREAM_WINDOW, i32::MAX as u32)
}

/// Adds reflection, in v1 and in the v1alpha that older grpcurls speak, of the services of this process alone.
pub(super) fn reflect(routes: Routes, info: &ServiceInfo) -> Result<Routes, Error> {
    let builder = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        let builder = info.descriptor_sets().fold(builder, Builder::register_encoded_file_descriptor_set);
        info.grpc_services.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let failed = |error: tonic_reflection::server::Error| Error::Descriptors(error.to_string());
    Ok(routes
        .add_service(builder().build_v1().map_err(failed)?)
        .add_service(builder().build_v1alpha().map_err(failed)?))
}
