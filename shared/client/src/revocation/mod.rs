//! Revocation replica in this process: checks tokens without a network hop.

mod ask;
mod dating;
mod follow;
mod memory;

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_revocation::{Answer, Claims, Filters, RevocationId, Rule};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tonic::Status;
use tonic::transport::Endpoint;

use crate::Channel;
use follow::Follower;
use memory::Memory;

/// Settings of a replica.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaSettings {
    /// Staleness bound: oldest memory that answers by itself. Default 100 ms. A bound above the service's own, which the
    /// service promises its callers, has no use.
    pub bound: Duration,
    /// Interval of GetHead calls, which date the memory. Default 15 ms; each is a small call.
    pub head_interval: Duration,
    /// Timeout of a check at the service. Default 1 s.
    pub check_timeout: Duration,
    /// Silence after which the feed counts as broken. Default 3 s; the service sends something each second.
    pub silence: Duration,
    /// Share of good tokens that look like a revoked one and are checked at the service. Default 0.0001.
    pub false_positives: f64,
    /// Span of expiry times that share a filter. Default 1 h.
    pub bucket: Duration,
}

/// Verdict on a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Good token: no revocation applies.
    Active,
    /// Token to reject.
    Revoked {
        /// Rule that the token breaks; `None` if it is one of a later release.
        rule: Option<Rule>,
        /// Revocation that applies, if one does.
        revocation: Option<RevocationId>,
    },
    /// Token to reject: a key of its issuer was revoked, and [`Claims::kid`] does not name the key that signed it.
    /// Nothing else speaks against it.
    KeyUnknown,
}

/// Revocation replica: all revocations in this process's memory, which the revocation service keeps up to date. Cheap to
/// clone; dropping the last clone ends it.
///
/// Memory answers while it is no older than [`ReplicaSettings::bound`]. Its age is taken on the monotonic clock, from before
/// the request: neither a slow network nor a paused process makes old memory look new. Older memory leaves the answer to the
/// service; where that fails too, [`RevocationReplica::is_revoked`] reports an error.
///
/// Cost: some 3 bytes a revoked token, and each other revocation in full.
#[derive(Clone)]
pub struct RevocationReplica {
    follower: Arc<Follower>,
    _tasks: Arc<JoinSet<()>>,
}

// === impl RevocationReplica ===

impl RevocationReplica {
    /// Follows the service at `endpoint`, and reconnects for ever. Until the first snapshot is complete, see
    /// [`RevocationReplica::ready`], each check asks the service.
    ///
    /// Timeouts and keepalive of the connection are set here. The connection must lead to one instance of the service: behind
    /// a balancer that spreads single calls, memory can't be compared with what the instances know, and each check asks.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn connect(endpoint: Endpoint, settings: ReplicaSettings) -> RevocationReplica {
        let channel = Channel::lazy(endpoint, settings.check_timeout, settings.silence);
        let client = RevocationServiceClient::new(channel);
        let follower = Arc::new(Follower::new(client, settings));
        let (feed, heads) = (Arc::clone(&follower), Arc::clone(&follower));
        let mut tasks = JoinSet::new();
        tasks.spawn(async move { feed.follow().await });
        tasks.spawn(async move { heads.date().await });
        RevocationReplica { follower, _tasks: Arc::new(tasks) }
    }

    /// Checks a token whose signature was verified: in memory, else at the service, for
    /// [`ReplicaSettings::check_timeout`] at most. Cancel safe.
    ///
    /// Revocations in memory hold even while nothing can be confirmed.
    ///
    /// # Errors
    ///
    /// UNAVAILABLE, reason `FRESHNESS_UNKNOWN`, if neither can decide: the caller rejects the token or lets it pass. With the
    /// metadata `suspect: true`, memory has a match against the token that it can't confirm: reject it. Any other status is
    /// the service's rejection of the claims, or of the caller.
    pub async fn is_revoked(&self, claims: &Claims<'_>) -> Result<Verdict, Status> {
        if let Some(verdict) = self.check_now(claims) {
            return Ok(verdict);
        }
        match ask::check(self.follower.client(), claims, &self.follower.settings).await {
            Ok(verdict) => Ok(verdict),
            Err(status) => match self.follower.recall(|memory| memory.replica.check(claims, self.follower.now())) {
                Some(Answer::Revoked { rule, revocation }) => Ok(Verdict::Revoked { rule: Some(rule), revocation }),
                Some(Answer::KeyUnknown) => Ok(Verdict::KeyUnknown),
                Some(Answer::Suspect(_)) => Err(ask::unknown(status, true)),
                Some(Answer::Active) | None => Err(ask::unknown(status, false)),
            },
        }
    }

    /// Checks a token in memory alone, without waiting; `None` if memory is too old or not sure. Takes some 100 ns.
    #[must_use]
    pub fn check_now(&self, claims: &Claims<'_>) -> Option<Verdict> {
        let bound = self.follower.settings.bound;
        match self.follower.recall(|memory| memory.answer(claims, self.follower.now(), bound, Instant::now))?? {
            Answer::Active => Some(Verdict::Active),
            Answer::Revoked { rule, revocation } => Some(Verdict::Revoked { rule: Some(rule), revocation }),
            Answer::KeyUnknown => Some(Verdict::KeyUnknown),
            Answer::Suspect(_) => None,
        }
    }

    /// Waits until a token is revoked or expires, to end a live stream that was opened with it. Returns the verdict, never
    /// [`Verdict::Active`]. Cancel safe.
    ///
    /// Returns within milliseconds of a revocation, as a rule, and within a second of an expiry. While the feed is broken, each
    /// waiter asks the service once a second; while nothing can decide, it waits on. Each change of memory costs each waiter
    /// a check.
    pub async fn revoked(&self, claims: &Claims<'_>) -> Verdict {
        const LOOK_AGAIN: Duration = Duration::from_secs(1);
        let mut changes = self.changes();
        loop {
            changes.borrow_and_update();
            if let Ok(verdict) = self.is_revoked(claims).await
                && verdict.is_revoked()
            {
                return verdict;
            }
            // The sender lives as long as this replica, so only the timeout can end the wait.
            drop(tokio::time::timeout(LOOK_AGAIN, changes.changed()).await);
        }
    }

    /// Counter that changes whenever revocations were applied or undone: tokens checked before may have another verdict.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.follower.changes.subscribe()
    }

    /// Waits until memory answers for the first time, without a limit. Cancel safe.
    pub async fn ready(&self) {
        // The sender lives as long as this replica.
        drop(self.follower.ready.subscribe().wait_for(|ready| *ready).await);
    }

    /// Age of memory, at most; `None` before it is complete.
    #[must_use]
    pub fn age(&self) -> Option<Duration> {
        let known_at = self.follower.recall(Memory::known_at)??;
        Some(Instant::now().saturating_duration_since(known_at))
    }
}

impl std::fmt::Debug for RevocationReplica {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RevocationReplica").field("age", &self.age()).finish_non_exhaustive()
    }
}

// === impl Verdict ===

impl Verdict {
    /// Reports whether the token must be rejected.
    #[must_use]
    pub fn is_revoked(self) -> bool {
        self != Verdict::Active
    }
}

// === impl ReplicaSettings ===

impl ReplicaSettings {
    fn filters(&self) -> Filters {
        Filters { false_positives: self.false_positives, bucket: self.bucket }
    }
}

impl Default for ReplicaSettings {
    fn default() -> ReplicaSettings {
        ReplicaSettings {
            bound: Duration::from_millis(100),
            head_interval: Duration::from_millis(15),
            check_timeout: Duration::from_secs(1),
            silence: Duration::from_secs(3),
            false_positives: 1e-4,
            bucket: Duration::from_hours(1),
        }
    }
}
