//! envoyproxy/ratelimit, in a process of its own, on the same Valkey.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use futures::future::join_all;
use keyplane_engine::{Process, Spec, Valkey, free_port};
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};
use tonic::transport::Channel;

use super::policies::{self, ADMITTING};
use super::target::envoy;
use crate::{Error, rig};

/// A running one; it ends when this is dropped.
pub(super) struct Peer {
    process: Process,
    pub(super) channels: Vec<Channel>,
    _folder: TempDir,
}

/// How it talks to the store.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Setting {
    /// `REDIS_PIPELINE_WINDOW`.
    window: &'static str,
    /// `REDIS_POOL_SIZE`.
    pool: &'static str,
}

/// What a setting achieved before the rows are measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tried {
    pub(super) setting: Setting,
    pub(super) calls_per_second: f64,
}

/// Its default; and what its README has for high throughput, with few connections and many. `REDIS_PIPELINE_LIMIT` has no effect
/// any more.
const SETTINGS: [Setting; 5] = [
    Setting { window: "0", pool: "10" },
    Setting { window: "0", pool: "32" },
    Setting { window: "150us", pool: "2" },
    Setting { window: "150us", pool: "10" },
    Setting { window: "500us", pool: "10" },
];

/// Bytes of its cache of keys that are over their limit.
const CACHE: usize = 64 << 20;
const PATIENCE: Duration = Duration::from_secs(15);

/// Where it is: at `given`, or where `go install` puts it, or on the PATH under that name or its own.
pub(super) fn find(given: Option<&Path>) -> Result<Option<PathBuf>, Error> {
    if let Some(given) = given {
        return match given.is_file() {
            true => Ok(Some(given.to_owned())),
            false => Err(format!("--peer {} is no file", given.display()).into()),
        };
    }
    let go = env::var_os("GOPATH").map(PathBuf::from).or_else(|| Some(env::home_dir()?.join("go")));
    let go = go.map(|go| go.join("bin"));
    let path = env::var_os("PATH").unwrap_or_default();
    let folders: Vec<PathBuf> = go.into_iter().chain(env::split_paths(&path)).collect();
    let candidates = folders.iter().flat_map(|folder| ["service_cmd", "ratelimit"].map(|name| folder.join(name)));
    Ok(candidates.into_iter().find(|file| file.is_file()))
}

// === impl Setting ===

impl std::fmt::Display for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "window {}, pool {}:", self.window, self.pool)
    }
}

// === impl Peer ===

impl Peer {
    /// Tries all settings for `length` each, and starts the best of them twice: as it is, and with its cache of denials.
    pub(super) async fn best(
        program: &Path,
        valkey: &Valkey,
        connections: usize,
        workers: usize,
        length: Duration,
    ) -> Result<([Arc<Peer>; 2], Vec<Tried>), Error> {
        let mut tried = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            let peer = Peer::start(program, valkey, setting, 0, connections).await?;
            peer.load(workers, length / 2).await?;
            let calls_per_second = peer.load(workers, length).await?;
            tried.push(Tried { setting, calls_per_second });
        }
        let best = tried.iter().max_by(|one, other| one.calls_per_second.total_cmp(&other.calls_per_second));
        let setting = best.map_or(SETTINGS[0], |best| best.setting);
        let plain = Peer::start(program, valkey, setting, 0, connections).await?;
        let caching = Peer::start(program, valkey, setting, CACHE, connections).await?;
        Ok(([plain.into(), caching.into()], tried))
    }

    async fn start(
        program: &Path,
        valkey: &Valkey,
        setting: Setting,
        cache: usize,
        connections: usize,
    ) -> Result<Peer, Error> {
        let folder = TempDir::new()?;
        policies::write_theirs(folder.path())?;
        let grpc = free_port()?;
        let spec = Spec::new(program)
            .name("envoyproxy/ratelimit")
            .env("RUNTIME_ROOT", folder.path())
            .env("RUNTIME_SUBDIRECTORY", "ratelimit")
            .env("RUNTIME_WATCH_ROOT", "false")
            .env("HOST", "127.0.0.1")
            .env("PORT", free_port()?.to_string())
            .env("GRPC_HOST", "127.0.0.1")
            .env("GRPC_PORT", grpc.to_string())
            .env("DEBUG_HOST", "127.0.0.1")
            .env("DEBUG_PORT", free_port()?.to_string())
            .env("USE_STATSD", "false")
            .env("DISABLE_STATS", "true")
            // As ours does.
            .env("LIMIT_RESPONSE_HEADERS_ENABLED", "true")
            .env("LOG_LEVEL", "error")
            .env("BACKEND_TYPE", "redis")
            .env("REDIS_SOCKET_TYPE", "tcp")
            .env("REDIS_URL", format!("127.0.0.1:{}", valkey.port()))
            .env("REDIS_PIPELINE_WINDOW", setting.window)
            .env("REDIS_POOL_SIZE", setting.pool)
            .env("LOCAL_CACHE_SIZE_IN_BYTES", cache.to_string());
        let process = Process::spawn(spec)?;
        let address = SocketAddr::from(([127, 0, 0, 1], grpc));
        let channels = match connect(address, connections).await {
            Ok(channels) => channels,
            Err(error) => return Err(format!("envoyproxy/ratelimit: {error}:\n{}", process.log()).into()),
        };
        Ok(Peer { process, channels, _folder: folder })
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }

    /// Calls it for a while, as the rows do; calls a second.
    async fn load(&self, workers: usize, length: Duration) -> Result<f64, Error> {
        let start = Instant::now();
        let calls = join_all((0..workers).map(|worker| {
            let mut client = RateLimitServiceClient::new(self.channels[worker % self.channels.len()].clone());
            tokio::spawn(async move {
                let mut number = worker;
                while start.elapsed() < length {
                    client.should_rate_limit(envoy(ADMITTING, format!("try-{}", number % 10_000))).await?;
                    number += workers;
                }
                Ok::<_, tonic::Status>(number / workers)
            })
        }));
        let mut sum = 0;
        for worker in calls.await {
            sum += worker??;
        }
        Ok(sum as f64 / start.elapsed().as_secs_f64())
    }
}

/// Connects, and waits until it has read its limits.
async fn connect(address: SocketAddr, connections: usize) -> Result<Vec<Channel>, Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        let attempt = async {
            let channels = rig::channels(address, connections).await?;
            let mut client = RateLimitServiceClient::new(channels[0].clone());
            let reply = client.should_rate_limit(envoy(ADMITTING, "try".to_owned())).await?.into_inner();
            match reply.statuses.first().and_then(|status| status.current_limit.as_ref()) {
                Some(_) => Ok(channels),
                None => Err(Error::from("it does not know the limit")),
            }
        };
        match attempt.await {
            Ok(channels) => return Ok(channels),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
