//! Clock of the store, estimated from its replies, and of this machine.

use std::time::{Duration, Instant};

use keyplane_revocation::Millis;
use keyplane_valkey::Value;

use super::{Store, codec};
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Estimate of the store's time, see [`StoreClock`](keyplane_revocation::StoreClock); this machine's time before
    /// the first reply. Scripts read the store's clock themselves, and ask for another call where their keys follow
    /// from another time.
    #[must_use]
    pub fn now(&self) -> Millis {
        self.time().unwrap_or_else(|| self.wall())
    }

    /// Estimate of the store's time; `None` before its first reply.
    #[must_use]
    pub fn time(&self) -> Option<Millis> {
        self.inner.clock.at(Instant::now())
    }

    /// Returns whether the store has replied, so that its time is known. No clock is read.
    #[must_use]
    pub fn knows_time(&self) -> bool {
        self.inner.clock.is_known()
    }

    /// Time of [`Store::now`] since 1970, to the microsecond.
    #[must_use]
    pub fn unix_time(&self) -> Duration {
        let micros = self.inner.clock.micros_at(Instant::now());
        let micros = micros.unwrap_or_else(|| self.wall().0.saturating_mul(1000));
        Duration::from_micros(u64::try_from(micros).unwrap_or(0))
    }

    /// Milliseconds by which this machine's clock is ahead of the store's; `None` before the store's first reply.
    #[must_use]
    pub fn wall_ahead(&self) -> Option<i64> {
        self.time().map(|store| self.wall().0.saturating_sub(store.0))
    }

    /// Moment up to which expired entries can be forgotten, see
    /// [`StoreClock::passed`](keyplane_revocation::StoreClock::passed); `None` before the store's first reply.
    #[must_use]
    pub fn passed(&self) -> Option<Millis> {
        self.inner.clock.passed(Instant::now(), self.wall())
    }

    /// Feeds the estimate with the store's time `now`, from the reply to a call that was `sent`.
    pub(super) fn observe_time(&self, sent: Instant, now: &Value) -> Result<Millis, Error> {
        let now = codec::moment(now)?;
        self.inner.clock.observe(sent, Instant::now(), now);
        Ok(now)
    }

    fn wall(&self) -> Millis {
        (self.inner.settings.wall)()
    }
}
