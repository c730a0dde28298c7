//! Wiring: connects the stores, opens the embedders, builds the parts, starts the service.

use std::process::ExitCode;
use std::sync::Arc;

use keyplane_contracts::memory::v1::memory_service_server::{MemoryServiceServer, SERVICE_NAME};
use keyplane_server::config::ServerConfig;
use keyplane_server::{Context, Error, Readiness, Running, ServiceInfo};
use keyplane_valkey::{Feature, Ttl, Valkey};
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;

use crate::app::capacity::Capacity;
use crate::app::embed::Embed;
use crate::app::embedded::Embedded;
use crate::app::figures::Figures;
use crate::app::forget::Forget;
use crate::app::maintenance::Maintenance;
use crate::app::memories::Memories;
use crate::app::recall::Recall;
use crate::app::reconciler::Reconciler;
use crate::app::remember::Remember;
use crate::app::sessions::Sessions;
use crate::app::sweeper::Sweeper;
use crate::config::{Config, Embeddings};
use crate::domain::Space;
use crate::grpc::Service;
use crate::peers::embed::Embedder;
use crate::peers::spaces_file;
use crate::store::{self, Store};

/// Description of this service for the kit.
pub static SERVICE: ServiceInfo = ServiceInfo {
    name: "agent-memory",
    version: env!("CARGO_PKG_VERSION"),
    grpc_services: &[SERVICE_NAME],
    descriptors: &[],
    default_port: 50054,
};

/// Runs the whole program: settings, telemetry, service, drain.
#[must_use]
pub fn main() -> ExitCode {
    keyplane_server::main(&SERVICE, Config::read, start)
}

/// Starts the service. It is ready once the search store answers, has a search module, and holds this program's
/// layout and spaces.
///
/// # Errors
///
/// An address that can't be bound, invalid settings of a store, an invalid spaces file, or a model that can't be opened. An
/// unavailable store is no error: the service waits for it, not ready.
pub async fn start(server: ServerConfig, config: Config) -> Result<Running, Error> {
    let kv = Valkey::connect(&server.store, server.app.clone())?;
    let valkey = match &config.store {
        Some(url) => {
            let mut settings = server.store.clone();
            settings.url.clone_from(url);
            Valkey::connect(&settings, server.app.clone())?
        }
        None => kv.clone(),
    };
    let store = Store::new(valkey.clone());
    let embedder = open(&config.embeddings).await?;
    let spaces: Arc<[Space]> = embedder.spaces().cloned().collect();
    let embed = Embed::new(Arc::new(embedder), cache(kv, &config.embeddings)?, config.tokenizer);
    let (checked, declared) = (store.clone(), spaces.clone());
    let readiness = Readiness::follows_store(move || {
        let (store, declared) = (checked.clone(), declared.clone());
        async move {
            store.check().await?;
            for space in declared.iter() {
                store.check_space(space).await?;
            }
            Ok(())
        }
    });
    keyplane_server::start(&SERVICE, server, valkey, readiness, move |context: &Context| {
        let figures = Figures::default();
        let capacity = Capacity::new(store.clone(), &spaces, config.limits.clone(), figures.clone());
        let reconciler = Reconciler::new(store.clone(), capacity.clone(), figures.clone());
        let sweeper = Sweeper::new(store.clone(), figures);
        let maintenance = Maintenance::start(store.clone(), sweeper, reconciler, config.maintenance.clone());
        let drain = context.drain.clone();
        tokio::spawn(async move {
            drain.started().await;
            drop(maintenance);
        });
        let remember = Remember::new(store.clone(), capacity, config.limits.clone());
        let counter = config.tokenizer;
        let recall = Recall::new(store.clone(), Arc::new(move |text: &str| counter.count(text)));
        let sessions = Sessions::new(remember.clone());
        let service = Service {
            sessions,
            embedded: Embedded::new(embed, remember, recall),
            memories: Memories::new(store.clone()),
            forget: Forget::new(store),
        };
        let server = MemoryServiceServer::new(service)
            .max_decoding_message_size(context.max_message)
            .accept_compressed(CompressionEncoding::Gzip)
            .accept_compressed(CompressionEncoding::Zstd);
        Routes::new(server)
    })
    .await
}

/// Opens the declared spaces, or the built-in one. Without either, nothing is remembered, and earlier memories are recalled by
/// their words alone.
async fn open(embeddings: &Embeddings) -> Result<Embedder, Error> {
    let (threads, timeout) = (embeddings.threads, embeddings.timeout);
    let declarations = match &embeddings.spaces {
        Some(path) => spaces_file::read(path).await.map_err(|error| Error::Service(Box::new(error)))?,
        None => Vec::new(),
    };
    let model = embeddings.model.clone();
    let opened = tokio::task::spawn_blocking(move || match model {
        Some(folder) => Embedder::local(&folder, threads, timeout),
        None => Embedder::open(&declarations, threads, timeout),
    });
    let opened = opened.await.map_err(|error| Error::Service(Box::new(error)))?;
    let embedder = opened.map_err(|error| Error::Service(Box::new(error)))?;
    if embedder.default_space().is_none() {
        tracing::warn!(
            "no space of embeddings is declared: new memories are rejected (UNKNOWN_SPACE), and earlier ones are recalled by their \
             words alone; set KEYPLANE_MEMORY_SPACES_FILE or KEYPLANE_MEMORY_MODEL_DIR"
        );
    }
    Ok(embedder)
}

/// Cache of embeddings in `kv`; none if it is switched off.
fn cache(kv: Valkey, embeddings: &Embeddings) -> Result<Option<store::Embeddings>, Error> {
    if embeddings.cache_ttl.is_zero() {
        return Ok(None);
    }
    let ttl = Ttl::new(Feature::MEMORY, embeddings.cache_ttl).map_err(|error| Error::Service(Box::new(error)))?;
    Ok(Some(store::Embeddings::new(kv, ttl, embeddings.cache_entries)))
}
