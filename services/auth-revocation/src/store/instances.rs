//! Instances of the service, and the position of each in the feed.

use std::time::{Duration, Instant};

use keyplane_revocation::Sequence;
use keyplane_valkey::{Feature, Ttl};

use super::{Store, codec, scripts};
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Reports that `instance` has applied `sequence`, under a lease. A lease of zero removes the instance, as at an
    /// orderly end. The reply refreshes the estimate of [`Store::now`]. O(log n) in the instances.
    ///
    /// # Errors
    ///
    /// [`Error::Store`].
    pub async fn report(&self, instance: &str, sequence: &Sequence, lease: Duration) -> Result<(), Error> {
        let millis = if lease.is_zero() { 0 } else { Ttl::new(Feature::REVOCATION, lease)?.as_millis() };
        let (leases, positions) = (self.keys().leases(), self.keys().positions());
        let text = sequence.encode();
        let args = [instance.into(), (&text).into(), millis.into()];
        let sent = Instant::now();
        let now = self.inner.valkey.run(&scripts::REPORT, &[&leases, &positions], &args).await?;
        self.observe_time(sent, &now).map(drop)
    }

    /// Instances whose leases have not ended, in no particular order, and the sequence that each has applied. O(n).
    ///
    /// # Errors
    ///
    /// [`Error::Store`]; [`Error::Corrupt`] if an instance reported something else than a sequence.
    pub async fn instances(&self) -> Result<Vec<(String, Sequence)>, Error> {
        let (leases, positions) = (self.keys().leases(), self.keys().positions());
        let reply = self.inner.valkey.run(&scripts::INSTANCES, &[&leases, &positions], &[]).await?;
        let pairs = reply.pairs()?.into_iter();
        pairs
            .map(|(instance, sequence)| Ok((codec::text(&instance)?.to_owned(), parse(codec::text(&sequence)?)?)))
            .collect()
    }
}

fn parse(text: &str) -> Result<Sequence, Error> {
    Sequence::parse(text).map_err(|_| Error::Corrupt("an instance reported no sequence"))
}
