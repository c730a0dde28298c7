//! Starts a service and stops it: sockets, health, reflection, admin port, drain.

mod admin;
mod answering;
mod health;
mod incoming;
mod readiness;
mod running;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use keyplane_valkey::Valkey;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_reflection::server::Builder;
use tower::layer::layer_fn;

pub use readiness::{Own, Readiness};
pub use running::Running;
pub(crate) use running::Signals;

use self::health::Health;
use crate::ServiceInfo;
use crate::config::ServerConfig;
use crate::layers::bound::Bound;
use crate::layers::deadline::Deadline;
use crate::layers::details::Details;
use crate::layers::ending::Ending;
use crate::layers::event_source::EventSource;
use crate::layers::gate::{Gate, Gated};
use crate::layers::methods::Methods;
use crate::layers::metrics::Metrics;
use crate::layers::panic::PanicGuard;
use crate::layers::shed::Shed;
use crate::layers::spelling::Spelling;
use crate::layers::trace::Trace;

/// A ping this often finds connections whose other end is gone; one unanswered for [`KEEPALIVE_TIMEOUT`] closes.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(20);
/// What a client may send ahead on one stream.
const STREAM_WINDOW: u32 = 1 << 20;
/// What it may send ahead on a connection, for each stream that it may have. h2 lets half of a connection's window go to
/// the overhead of small frames that nobody has read yet, 256 bytes each, and takes more for an attack: it then breaks the
/// connection with all its calls, as when a process that was held up for a moment finds a burst of small calls.
/// (An adaptive window starts at 64 KiB, which is room for 128.)
const WINDOW_A_STREAM: u32 = 4 << 10;
/// Streams that clients reset before we saw them; h2's 20 makes a burst of cancels look like an attack.
const MAX_RESETS: usize = 1024;

/// What a service gets when it builds its routes.
#[derive(Clone, Debug)]
pub struct Context {
    /// Tells watch streams when to end.
    pub drain: Drain,
    /// `KEYPLANE_GRPC_MAX_MESSAGE`, in bytes: pass it to `max_decoding_message_size` of each generated server. It bounds a
    /// message before and after it is decompressed.
    pub max_message: usize,
}

/// Tells streams that the process shuts down. Cheap to clone.
#[derive(Clone, Debug, Default)]
pub struct Drain(CancellationToken);

/// Why a service can't start, or stopped by itself.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// A port is taken or not allowed.
    #[error("cannot listen on {addr} for {what} ({source}): choose another address with {setting}")]
    Bind {
        /// What the port is for.
        what: &'static str,
        /// The setting that names it.
        setting: &'static str,
        /// The address.
        addr: SocketAddr,
        /// What the system said.
        source: std::io::Error,
    },
    /// The store can't be used with these settings.
    #[error("the store's settings cannot be used: {0}")]
    Store(#[from] keyplane_valkey::SettingsError),
    /// A descriptor set in [`ServiceInfo::descriptors`] doesn't decode.
    #[error("a descriptor set does not decode: {0}")]
    Descriptors(String),
    /// The store holds data of another version of this service.
    #[error("the store cannot be used by this version of the service: {0}")]
    Layout(String),
    /// The gRPC server ended by itself.
    #[error("the gRPC server ended: {0}")]
    Ended(String),
    /// A second signal cut the drain short.
    #[error("stopped at once by a second signal")]
    Interrupted,
    /// The service itself can't start.
    #[error("{0}")]
    Service(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Binds all ports, then serves; everything that follows happens in background tasks.
///
/// Health says NOT_SERVING until `readiness` allows otherwise. The layers of `docs/layers.md` go around the
/// routes that `build` makes.
///
/// # Errors
///
/// An address that can't be bound, or a descriptor set that doesn't decode.
pub async fn start(
    info: &'static ServiceInfo,
    config: ServerConfig,
    store: Valkey,
    readiness: Readiness,
    build: impl FnOnce(&Context) -> Routes,
) -> Result<Running, Error> {
    let methods = Methods::read(info).map_err(|error| Error::Descriptors(error.to_string()))?;
    let (grpc, grpc_addr) = bind("gRPC", "KEYPLANE_GRPC_ADDR", config.grpc_addr).await?;
    let (admin, admin_addr) = bind("the admin port", "KEYPLANE_ADMIN_ADDR", config.admin_addr).await?;
    let plain_health = match config.health_addr {
        Some(addr) => Some(bind("health", "KEYPLANE_HEALTH_ADDR", addr).await?),
        None => None,
    };

    let drain = Drain::default();
    let force = CancellationToken::new();
    let (health, health_service) = Health::new(info.grpc_services).await;
    let context = Context { drain: drain.clone(), max_message: config.limits.max_message };
    let routes = reflect(build(&context).add_service(health_service.clone()), info)?;

    let (gate, (fatal_tx, fatal)) = (Gate::shut(), watch::channel(None));
    let settings = config.settings.print();
    let mut aside = vec![tokio::spawn(admin::serve(admin, health.state(), config.registry.clone(), settings))];
    let health_addr = plain_health.as_ref().map(|(_, addr)| *addr);
    if let Some((listener, _)) = plain_health {
        aside.push(tokio::spawn(health::serve(listener, health_service)));
    }
    Ok(Running {
        grpc_addr,
        admin_addr,
        health_addr,
        grpc: tokio::spawn(serve(&config, methods, (grpc, grpc_addr), &drain, &force, gate.clone(), routes)),
        readiness: tokio::spawn(readiness::follow(health.clone(), store.clone(), readiness, gate, fatal_tx)),
        aside,
        fatal,
        health,
        store,
        drain,
        force,
        times: config.drain,
    })
}

async fn bind(what: &'static str, setting: &'static str, addr: SocketAddr) -> Result<(TcpListener, SocketAddr), Error> {
    let refused = |source| Error::Bind { what, setting, addr, source };
    let listener = TcpListener::bind(addr).await.map_err(refused)?;
    let bound = listener.local_addr().map_err(refused)?;
    Ok((listener, bound))
}

fn serve(
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
    let deadlines = config.deadlines;
    let collected = config.telemetry.otlp_endpoint.is_some();
    let token = drain.0.clone();
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
    let [panic, trace, metrics, events, shed, deadline, gated, bound, ending] = [(); 9].map(|()| Arc::clone(&methods));
    let server = server
        .layer(layer_fn(move |inner| PanicGuard::new(inner, Arc::clone(&panic))))
        .layer(layer_fn(move |inner| Trace::new(inner, Arc::clone(&trace), addr, collected)))
        .layer(layer_fn(move |inner| Metrics::new(inner, Arc::clone(&metrics))))
        .layer(layer_fn(move |inner| EventSource::new(inner, Arc::clone(&events))))
        .layer(layer_fn(move |inner| Shed::new(inner, Arc::clone(&shed), Arc::clone(&room))))
        .layer(layer_fn(move |inner| Deadline::new(inner, Arc::clone(&deadline), deadlines)))
        .layer(layer_fn(Spelling::new))
        .layer(layer_fn(move |inner| Gated::new(inner, Arc::clone(&gated), gate.clone())))
        .layer(layer_fn(move |inner| Bound::new(inner, Arc::clone(&bound))))
        .layer(layer_fn(move |inner| Ending::new(inner, Arc::clone(&ending), token.clone())))
        .layer(layer_fn(Details::new));
    let incoming = incoming::accept(listener, drain.0.clone(), force.clone());
    let signal = drain.0.clone().cancelled_owned();
    server.serve_with_incoming_shutdown(routes.prepare(), incoming, signal)
}

/// At least what one stream may send ahead; at most what HTTP/2 allows.
fn connection_window(streams: u32) -> u32 {
    streams.saturating_mul(WINDOW_A_STREAM).clamp(STREAM_WINDOW, i32::MAX as u32)
}

/// Adds reflection, in v1 and in the v1alpha that older grpcurls speak, of the services of this process alone.
fn reflect(routes: Routes, info: &ServiceInfo) -> Result<Routes, Error> {
    let builder = || {
        let builder = Builder::configure()
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            .with_service_name("grpc.health.v1.Health");
        let builder = info.descriptor_sets().fold(builder, Builder::register_encoded_file_descriptor_set);
        info.grpc_services.iter().fold(builder, |builder, name| builder.with_service_name(*name))
    };
    let refused = |error: tonic_reflection::server::Error| Error::Descriptors(error.to_string());
    Ok(routes
        .add_service(builder().build_v1().map_err(refused)?)
        .add_service(builder().build_v1alpha().map_err(refused)?))
}

// === impl Drain ===

impl Drain {
    /// Waits until the drain starts; returns at once when it has. Cancel safe.
    pub async fn started(&self) {
        self.0.cancelled().await;
    }

    /// Whether the drain has started.
    pub fn is_started(&self) -> bool {
        self.0.is_cancelled()
    }

    /// Starts the drain. The kit does it; a service calls it only in tests of its own streams.
    pub fn start(&self) {
        self.0.cancel();
    }
}
