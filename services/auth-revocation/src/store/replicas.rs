//! The instances of the service, and how far each has followed the feed.

use std::time::{Duration, Instant};

use keyplane_revocation::Sequence;
use keyplane_valkey::{Feature, Ttl};

use super::{Store, codec, scripts};
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Tells that `instance` has applied `sequence`, which can be relied on for `lease`. A lease of zero takes the instance
    /// out, as at an orderly end. The reply keeps the estimate of [`Store::now`]. O(log n) in the instances.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn report(&self, instance: &str, sequence: &Sequence, lease: Duration) -> Result<(), Error> {
        let millis = if lease.is_zero() { 0 } else { Ttl::new(Feature::REVOCATION, lease)?.as_millis() };
        let (leases, positions) = (self.keys().leases(), self.keys().positions());
        let text = sequence.encode();
        let args = [instance.into(), (&text).into(), millis.into()];
        let sent = Instant::now();
        let now = self.inner.valkey.run(&scripts::REPORT, &[&leases, &positions], &args).await?;
        self.heard_time(sent, &now).map(drop)
    }

    /// The instances whose leases have not ended, in no particular order, and what each has applied. O(n).
    ///
    /// # Errors
    ///
    /// The store's; [`Error::Corrupt`] if an instance has told something else than a sequence.
    pub async fn replicas(&self) -> Result<Vec<(String, Sequence)>, Error> {
        let (leases, positions) = (self.keys().leases(), self.keys().positions());
        let reply = self.inner.valkey.run(&scripts::REPLICAS, &[&leases, &positions], &[]).await?;
        let pairs = reply.pairs()?.into_iter();
        pairs
            .map(|(instance, sequence)| Ok((codec::text(&instance)?.to_owned(), parse(codec::text(&sequence)?)?)))
            .collect()
    }
}

fn parse(text: &str) -> Result<Sequence, Error> {
    Sequence::parse(text).map_err(|_| Error::Corrupt("an instance has told no sequence"))
}
