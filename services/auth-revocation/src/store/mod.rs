//! Store in Valkey, which only this module talks to: exact revocations, their feed, filters, audit, and the service's
//! instances.
//!
//! A target belongs to one of a fixed number of partitions, and everything about it is in the slot of that partition,
//! so that one script changes all of it at once. `scripts/common.lua` describes the layout.

mod audit;
mod check;
mod clock;
mod codec;
pub mod feed;
mod feed_reader;
mod handover;
mod instances;
mod keys;
mod merge;
mod replicated;
mod scripts;
mod settings;
mod write;

use std::sync::Arc;
use std::time::{Duration, Instant};

use data_encoding::HEXLOWER;
use futures::future::{join_all, pending};
use keyplane_revocation::{RevocationId, StoreClock};
use keyplane_server::random;
use keyplane_valkey::{ErrorKind, Feature, Need, Valkey, Value};
use tokio::sync::OnceCell;
use tokio::time::sleep;

use crate::domain::Record;
use crate::error::Error;
use keys::Keys;
use replicated::ReplicatedWrites;
use settings::Spans;

pub use feed_reader::{FeedHead, FeedReader};
pub use handover::HandoverNotice;
pub use settings::{LONGEST, Replication, Settings};

/// Version of the layout that `scripts/common.lua` describes.
const LAYOUT: u32 = 1;
/// Items of one call of a script.
const ITEMS: usize = 64;
/// Attempts of a call, each with the keys of another generation. More than two means clocks that jump.
const ATTEMPTS: u32 = 3;
/// Pause between two attempts to probe the store.
const PROBE_AGAIN: Duration = Duration::from_millis(200);

/// Stored revocations. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    valkey: Valkey,
    settings: Settings,
    spans: Spans,
    clock: StoreClock,
    writes: ReplicatedWrites,
    /// Set once the store was found to hold this program's layout.
    usable: OnceCell<()>,
}

// === impl Store ===

impl Store {
    /// Revocations in `valkey`. No I/O yet: see [`Store::probe`].
    ///
    /// # Errors
    ///
    /// [`Error::Ttl`] if the settings ask for keys that live longer than keys of this feature may.
    pub fn new(valkey: Valkey, settings: Settings) -> Result<Store, Error> {
        let writes = ReplicatedWrites::new(settings.partitions, settings.replication);
        let spans = Spans::new(&settings)?;
        let clock = StoreClock::new(Instant::now());
        Ok(Store { inner: Arc::new(Inner { valkey, settings, spans, clock, writes, usable: OnceCell::new() }) })
    }

    /// Probes the engine for what the scripts need, compares the stored layout with this program's, and looks for
    /// replicas that writes can wait for. Call it at start, before anything else; repeating it does no harm.
    ///
    /// # Errors
    ///
    /// Missing feature, or the layout that was found ([`ErrorKind::Layout`], also for another number of partitions).
    /// Neither Bloom filters nor `WAIT` are required: without them checks are slower, and writes are PRIMARY_ONLY.
    pub async fn probe(&self) -> Result<(), keyplane_valkey::Error> {
        let Inner { valkey, settings, writes, .. } = &*self.inner;
        valkey.probe(&[Need::Scripts, Need::Streams]).await?;
        valkey.check_layout_with(Feature::REVOCATION, LAYOUT, settings.partitions).await?;
        if settings.replication == Replication::Off {
            return Ok(());
        }
        match valkey.probe(&[Need::Wait]).await {
            Ok(_) => writes.allow(),
            Err(error) if error.kind() == ErrorKind::FeatureMissing => {
                tracing::info!(%error, "revocations are acknowledged by the primary alone");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        let looks =
            (0..settings.partitions).map(|partition| writes.look(valkey, partition, self.keys().head(partition)));
        join_all(looks).await;
        Ok(())
    }

    /// Waits until the store answers and holds this program's layout; for ever where it holds another one. Callers
    /// share the wait. Cancel safe.
    pub async fn wait_usable(&self) {
        let probe = || async {
            while let Err(error) = self.probe().await {
                if error.kind() == ErrorKind::Layout {
                    tracing::error!(%error, "the feed is not followed");
                    return pending().await;
                }
                tracing::debug!(%error, "the feed cannot be followed yet");
                sleep(PROBE_AGAIN).await;
            }
        };
        self.inner.usable.get_or_init(probe).await;
    }

    /// Reads a revocation, also one that was undone. One plain GET.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], also for one that has expired; [`Error::Store`]; [`Error::Corrupt`]. Cancel safe.
    pub async fn get(&self, tenant: &str, id: &RevocationId) -> Result<Record, Error> {
        let key = self.keys().record(tenant, id, self.partition(id));
        let bytes = self.inner.valkey.get(&key).await?.ok_or(Error::NotFound)?;
        let record = codec::record(codec::text(&bytes)?, tenant, id)?;
        if record.state.expires > self.now() { Ok(record) } else { Err(Error::NotFound) }
    }

    /// Number of partitions that the revocations are spread over.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.inner.settings.partitions
    }

    /// Settings of the store.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    fn keys(&self) -> Keys<'_> {
        Keys(self.inner.valkey.app())
    }

    fn partition(&self, id: &RevocationId) -> u32 {
        id.partition(self.partitions())
    }

    fn spans(&self) -> &Spans {
        &self.inner.spans
    }

    /// Reply of a script that writes, to a call that was `sent`; `None` if it asks for another call with the keys of
    /// now.
    fn accept(&self, sent: Instant, reply: Value) -> Result<Option<Vec<Value>>, Error> {
        let reply = reply.array()?;
        let [status, now, ..] = reply.as_slice() else {
            return Err(Error::Corrupt("a reply of another length"));
        };
        self.observe_time(sent, now)?;
        Ok((status.text()? != "AGAIN").then_some(reply))
    }
}

/// Random nonces for `count` entries of the feed: 16 hex digits each.
fn nonces(count: usize) -> Result<Vec<String>, Error> {
    let mut bytes = vec![0; 8 * count];
    random::fill(&mut bytes)?;
    Ok(bytes.chunks_exact(8).map(|nonce| HEXLOWER.encode(nonce)).collect())
}

/// Error for a store whose clock jumps: no attempt ran at the time that its keys were made for.
fn jumped() -> Error {
    Error::Corrupt("the store's clock jumps by more than a token's life")
}
