//! Wiring: connects the store, builds the parts, starts the service.

use std::process::ExitCode;
use std::time::Duration;

use keyplane_contracts::search::v1::search_service_server::{SERVICE_NAME, SearchServiceServer};
use keyplane_server::config::ServerConfig;
use keyplane_server::{Context, Error, Readiness, Running, ServiceInfo, random};
use keyplane_valkey::Valkey;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::app::collections::{self, Collections, Definitions};
use crate::app::documents::{DocumentLimits, Documents};
use crate::app::lexicons::Lexicons;
use crate::app::maintenance::{self, Maintenance};
use crate::app::rebuild;
use crate::app::search::{Search, SearchParts};
use crate::config::Config;
use crate::domain::cursor::CursorKey;
use crate::grpc::Service;
use crate::store::Store;

/// Description of this service for the kit.
pub static SERVICE: ServiceInfo = ServiceInfo {
    name: "search",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME],
    descriptors: &[],
    default_port: 50055,
};

/// Longest time from a batch's documents to their words in the lexicon: the longest deadline of a call.
const SETTLE: Duration = Duration::from_secs(30);
/// Interval between two looks for collections whose maintenance is due.
const POLL: Duration = Duration::from_secs(1);
/// Time after which another instance takes over the maintenance from one that is silent.
const LEASE: Duration = Duration::from_secs(10);
/// Maximum of collections that one instance looks at, at the same time.
const LOOKS: usize = 4;
/// Maximum of collections whose documents one instance copies, removes or recounts, at the same time.
const LONG: usize = 2;

/// Runs the whole program: settings, telemetry, service, drain.
#[must_use]
pub fn main() -> ExitCode {
    keyplane_server::main(&SERVICE, Config::read, start)
}

/// Starts the service. It is ready once the search store answers, has a search module, and holds this program's layout.
///
/// # Errors
///
/// An address that can't be bound, or invalid settings of the store. An unavailable store is no error: the service waits
/// for it, not ready.
pub async fn start(server: ServerConfig, config: Config) -> Result<Running, Error> {
    let mut settings = server.store.clone();
    if let Some(url) = &config.store {
        settings.url.clone_from(url);
    }
    let valkey = Valkey::connect(&settings, server.app.clone())?;
    let store = Store::new(valkey.clone());
    let checked = store.clone();
    let readiness = Readiness::follows_store(move || {
        let store = checked.clone();
        async move { store.check().await }
    });
    let cursor_key = cursor_key(&config)?;
    let instance = server.telemetry.instance.clone();
    keyplane_server::start(&SERVICE, server, valkey, readiness, move |context: &Context| {
        let definitions = Definitions::new(store.clone());
        let maintenance = Maintenance::start(&store, &definitions, maintenance_settings(&config), &instance);
        let drain = context.drain.clone();
        tokio::spawn(async move {
            drain.started().await;
            maintenance.stop().await;
        });
        let service = build(store, definitions, &config, cursor_key, context);
        let server = SearchServiceServer::new(service)
            .max_decoding_message_size(context.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Routes::new(server)
    })
    .await
}

fn build(store: Store, definitions: Definitions, config: &Config, cursor_key: CursorKey, context: &Context) -> Service {
    let limits = collections::Limits {
        collections: config.limits.collections.into(),
        indexes: config.limits.indexes.into(),
        rollback_age: config.rebuilds.rollback_age,
    };
    let collections = Collections::new(store.clone(), definitions.clone(), limits);
    let limits = DocumentLimits { documents: config.limits.documents, bytes: config.limits.bytes as u64 };
    let documents = Documents::new(store.clone(), definitions.clone(), limits);
    let lexicons = Lexicons::new(store.clone(), config.searches.lexicon_bytes);
    let (candidates, sample_bytes) = (config.searches.candidates, config.searches.sample_bytes);
    let search = Search::new(SearchParts { store, definitions, lexicons, cursor_key, candidates, sample_bytes });
    Service::new(collections, documents, search, context.drain.clone())
}

fn maintenance_settings(config: &Config) -> maintenance::Settings {
    maintenance::Settings {
        rebuild: rebuild::Settings {
            indexes: config.limits.indexes.into(),
            rollback_age: config.rebuilds.rollback_age,
            pace: config.rebuilds.pace,
        },
        own_index_documents: config.rebuilds.own_index_documents,
        reconcile_every: config.rebuilds.reconcile_interval,
        settle: SETTLE,
        look_every: config.sweep_interval,
        janitor_every: config.rebuilds.reconcile_interval,
        poll: POLL,
        lease: LEASE,
        concurrency: LOOKS,
        long: LONG,
    }
}

/// Key of the cursors' signatures: the configured one, or a random one.
fn cursor_key(config: &Config) -> Result<CursorKey, Error> {
    if let Some(secret) = &config.cursor_key {
        return Ok(CursorKey::new(secret.as_bytes()));
    }
    tracing::warn!(
        "KEYPLANE_SEARCH_CURSOR_KEY is unset: a page token is valid for this instance alone, and until its restart"
    );
    let secret: [u8; 32] = random::bytes().map_err(|error| Error::Service(Box::new(error)))?;
    Ok(CursorKey::new(&secret))
}
