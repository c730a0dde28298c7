//! envoyproxy/ratelimit, in a process of its own, on the same Valkey.

use std::env;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient;
use keyplane_engine::{Process, Spec, Valkey, free_port};
use serde::Serialize;
use tempfile::TempDir;
use tokio::time::{Instant, sleep};

use super::generator::Generator;
use super::policies::{self, ADMITTING};
use super::target::envoy;
use crate::{Error, rig};

/// Running one; it ends when this is dropped.
pub(super) struct Peer {
    process: Process,
    pub(super) address: SocketAddr,
    _folder: TempDir,
}

/// Setting of the peer's connection to the store.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Setting {
    /// `REDIS_PIPELINE_WINDOW`.
    window: &'static str,
    /// `REDIS_POOL_SIZE`.
    pool: &'static str,
}

/// Throughput of a setting before the rows are measured.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Tried {
    pub(super) setting: Setting,
    pub(super) calls_per_second: f64,
}

/// Settings to try: the default, and those of its README for high throughput. `REDIS_PIPELINE_LIMIT` has no effect
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
/// Advice if the program is not installed.
pub(super) const MISSING: &str = "envoyproxy/ratelimit is not there, so that it is left out: `go install \
                                  github.com/envoyproxy/ratelimit/src/service_cmd@latest`, or --peer FILE";
const PATIENCE: Duration = Duration::from_secs(15);

/// Finds the program: at `given`, else where `go install` puts it, else on the PATH under either name.
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
        generator: &Generator,
        in_flight: usize,
        length: Duration,
    ) -> Result<([Peer; 2], Vec<Tried>), Error> {
        let mut tried = Vec::with_capacity(SETTINGS.len());
        for setting in SETTINGS {
            let peer = Peer::start(program, valkey, setting, 0).await?;
            generator.rate(peer.address, in_flight, length / 2).await?;
            let calls_per_second = generator.rate(peer.address, in_flight, length).await?;
            tried.push(Tried { setting, calls_per_second });
        }
        let best = tried.iter().max_by(|one, other| one.calls_per_second.total_cmp(&other.calls_per_second));
        let setting = best.map_or(SETTINGS[0], |best| best.setting);
        let plain = Peer::start(program, valkey, setting, 0).await?;
        let caching = Peer::start(program, valkey, setting, CACHE).await?;
        Ok(([plain, caching], tried))
    }

    async fn start(program: &Path, valkey: &Valkey, setting: Setting, cache: usize) -> Result<Peer, Error> {
        let folder = TempDir::new()?;
        policies::write_theirs(folder.path())?;
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()?));
        let spec = Spec::new(program)
            .name("envoyproxy/ratelimit")
            .env("RUNTIME_ROOT", folder.path())
            .env("RUNTIME_SUBDIRECTORY", "ratelimit")
            .env("RUNTIME_WATCH_ROOT", "false")
            .env("HOST", "127.0.0.1")
            .env("PORT", free_port()?.to_string())
            .env("GRPC_HOST", "127.0.0.1")
            .env("GRPC_PORT", address.port().to_string())
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
        match until_it_knows_the_limit(address).await {
            Ok(()) => Ok(Peer { process, address, _folder: folder }),
            Err(error) => Err(format!("envoyproxy/ratelimit: {error}:\n{}", process.log()).into()),
        }
    }

    pub(super) fn pid(&self) -> u32 {
        self.process.pid()
    }
}

async fn until_it_knows_the_limit(address: SocketAddr) -> Result<(), Error> {
    let until = Instant::now() + PATIENCE;
    loop {
        let attempt = async {
            let mut client = RateLimitServiceClient::new(rig::channels(address, 1).await?.remove(0));
            let reply = client.should_rate_limit(envoy(ADMITTING, "try".to_owned())).await?.into_inner();
            match reply.statuses.first().and_then(|status| status.current_limit.as_ref()) {
                Some(_) => Ok(()),
                None => Err(Error::from("it does not know the limit")),
            }
        };
        match attempt.await {
            Ok(()) => return Ok(()),
            Err(error) if Instant::now() > until => return Err(error),
            Err(_) => sleep(Duration::from_millis(20)).await,
        }
    }
}
