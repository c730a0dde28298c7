//! The only place that talks to Valkey: exact revocations, the feed that tells of them, filters, audit, and who follows.
//!
//! A target belongs to one of a fixed number of partitions, and everything about it is in the slot of that partition, so
//! that one script changes all of it at once. `scripts/common.lua` describes the layout.

mod audit;
mod check;
mod clock;
mod codec;
pub mod feed;
mod keys;
mod link;
pub mod lost;
mod merge;
mod replicas;
mod scripts;
mod settings;
mod write;

use std::sync::Arc;
use std::time::Instant;

use data_encoding::HEXLOWER;
use futures::future::join_all;
use keyplane_revocation::{RevocationId, StoreClock};
use keyplane_server::random;
use keyplane_valkey::{ErrorKind, Feature, Key, Need, TtlError, Valkey, Value};

use crate::domain::Record;
use crate::error::Error;
use keys::Keys;
use link::Links;
use settings::Spans;

pub use settings::{LONGEST, Replication, Settings};

/// The version of the layout that `scripts/common.lua` describes.
const LAYOUT: u32 = 1;
/// How many items one call of a script takes.
const ITEMS: usize = 64;
/// How often a call is sent again with the keys of another generation. More than once means clocks that jump.
const AGAIN: u32 = 3;

/// The revocations. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    inner: Arc<Inner>,
}

struct Inner {
    valkey: Valkey,
    settings: Settings,
    spans: Spans,
    clock: StoreClock,
    links: Links,
}

// === impl Store ===

impl Store {
    /// The revocations in `valkey`. Nothing is asked yet: see [`Store::check`].
    ///
    /// # Errors
    ///
    /// If anything would have to be kept for longer than keys of this feature may live.
    pub fn new(valkey: Valkey, settings: Settings) -> Result<Store, TtlError> {
        let links = Links::new(settings.partitions, settings.replication);
        let spans = Spans::new(&settings)?;
        let clock = StoreClock::new(Instant::now());
        Ok(Store { inner: Arc::new(Inner { valkey, settings, spans, clock, links }) })
    }

    /// Asks the engine for what the scripts need, holds the stored layout against this program's, and finds out whether
    /// writes can be replicated. To be called at start, before anything else; calling it again does no harm.
    ///
    /// # Errors
    ///
    /// What is missing, or which layout was found ([`ErrorKind::Layout`], also for another number of partitions). Without
    /// Bloom filters and without `WAIT` everything works: slower, and PRIMARY_ONLY.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        let Inner { valkey, settings, links, .. } = &*self.inner;
        valkey.probe(&[Need::Scripts, Need::Streams]).await?;
        valkey.check_layout_with(Feature::REVOCATION, LAYOUT, settings.partitions).await?;
        if settings.replication == Replication::Off {
            return Ok(());
        }
        match valkey.probe(&[Need::Wait]).await {
            Ok(_) => links.allow(),
            Err(error) if error.kind() == ErrorKind::FeatureMissing => {
                tracing::info!(%error, "revocations are acknowledged by the primary alone");
                return Ok(());
            }
            Err(error) => return Err(error),
        }
        join_all((0..settings.partitions).map(|partition| links.look(valkey, partition, self.head_key(partition))))
            .await;
        Ok(())
    }

    /// Reads a revocation, also one that was undone. One plain GET.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], also if its time has passed; or the store's.
    pub async fn get(&self, tenant: &str, id: &RevocationId) -> Result<Record, Error> {
        let key = self.keys().record(tenant, id, self.partition(id));
        let bytes = self.inner.valkey.get(&key).await?.ok_or(Error::NotFound)?;
        let record = codec::record(codec::text(&bytes)?, tenant, id)?;
        if record.state.expires > self.now() { Ok(record) } else { Err(Error::NotFound) }
    }

    /// Into how many partitions the revocations are spread.
    #[must_use]
    pub fn partitions(&self) -> u32 {
        self.inner.settings.partitions
    }

    /// How the revocations are kept.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.inner.settings
    }

    /// The feed of a partition: see [`feed::decode`].
    #[must_use]
    pub fn feed_key(&self, partition: u32) -> Key {
        self.keys().feed(partition)
    }

    /// The hash whose fields `q` and `n` are the number and the nonce of the last entry of a partition's feed, always
    /// written together with that entry. There is none before the first.
    #[must_use]
    pub fn head_key(&self, partition: u32) -> Key {
        self.keys().head(partition)
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

    /// Reply of a script that writes, to a call that was `sent`; `None` if it is to be called again with other keys.
    fn heard(&self, sent: Instant, reply: Value) -> Result<Option<Vec<Value>>, Error> {
        let reply = reply.array()?;
        let [status, now, ..] = reply.as_slice() else {
            return Err(Error::Corrupt("a reply of another length"));
        };
        self.heard_time(sent, now)?;
        Ok((status.text()? != "AGAIN").then_some(reply))
    }
}

/// 16 hex digits that nobody can guess, for each of `count` entries of the feed.
fn nonces(count: usize) -> Result<Vec<String>, Error> {
    let mut bytes = vec![0; 8 * count];
    random::fill(&mut bytes).map_err(|_| Error::NoRandomness)?;
    Ok(bytes.chunks_exact(8).map(|nonce| HEXLOWER.encode(nonce)).collect())
}

/// The error for a clock of the store that jumps about: no call found the time at which it was meant to run.
fn jumped() -> Error {
    Error::Corrupt("the store's clock jumps by more than a token's life")
}
