//! The revocations, held in this process: whether a token is revoked, without a network hop.

mod ask;
mod dating;
mod follow;
mod memory;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_revocation::{Answer, Claims, Filters, Millis, RevocationId, Rule};
use tokio::sync::watch;
use tokio::task::AbortHandle;
use tonic::Status;
use tonic::transport::Endpoint;

use crate::Channel;
use follow::Follower;
use memory::Memory;

/// How a replica is kept.
#[derive(Clone, Copy, Debug)]
pub struct ReplicaSettings {
    /// How old what it knows may be for an answer from memory. Default 100 ms; to no purpose if it is larger than the
    /// service's own bound, which is what the service promises its callers.
    pub bound: Duration,
    /// How long between two questions of how old it is. Default 15 ms; each is a small call.
    pub head_interval: Duration,
    /// How long the service may take to answer a check that memory can't. Default 1 s.
    pub check_timeout: Duration,
    /// Without a word for so long, the feed counts as broken. Default 3 s; the service speaks each second.
    pub silence: Duration,
    /// How many good tokens in one are looked up at the service because they look like a revoked one. Default 0.0001.
    pub false_positives: f64,
    /// Tokens that expire within the same span share a filter. Default 1 h.
    pub bucket: Duration,
}

/// Whether a token is good.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Nothing is known against it.
    Active,
    /// It must be refused.
    Revoked {
        /// Why; `None` if it is by a rule of a later release.
        rule: Option<Rule>,
        /// By what, if by a revocation.
        revocation: Option<RevocationId>,
    },
    /// It must be refused: a key of its issuer was revoked, and [`Claims::kid`] does not say which one signed the token.
    /// Nothing else speaks against it.
    KeyUnknown,
}

/// All revocations, in this process's memory, kept up to date by the revocation service. Cheap to clone; the last clone
/// to go ends it.
///
/// It answers from memory while that is known to be no older than [`ReplicaSettings::bound`], on the monotonic clock, and
/// counted from before it was asked for: neither a slow network nor a process that was paused makes an old answer look
/// new. Else it asks the service, and where that fails too, it says so: [`RevocationReplica::is_revoked`].
///
/// Memory: some 3 bytes a revoked token, and each other revocation in full.
#[derive(Clone)]
pub struct RevocationReplica {
    follower: Arc<Follower>,
    _tasks: Arc<Tasks>,
}

/// Ends the tasks when it goes.
struct Tasks([AbortHandle; 2]);

// === impl RevocationReplica ===

impl RevocationReplica {
    /// Begins to follow the service at `endpoint`, and goes on for ever: what breaks is connected again. Until the first
    /// snapshot is complete, see [`RevocationReplica::ready`], each check asks the service.
    ///
    /// Timeouts and keepalive of the connection are set here. A connection must lead to one instance of the service: through
    /// a balancer that spreads single calls, memory can't be compared with what the instances know, and each check asks.
    ///
    /// # Panics
    ///
    /// Outside of a tokio runtime.
    #[must_use]
    pub fn connect(endpoint: Endpoint, settings: ReplicaSettings) -> RevocationReplica {
        let channel = Channel::lazy(endpoint, settings.check_timeout, settings.silence);
        let client = RevocationServiceClient::new(channel);
        let follower = Arc::new(Follower::new(client, settings, wall));
        let (feed, heads) = (Arc::clone(&follower), Arc::clone(&follower));
        let feed = tokio::spawn(async move { feed.follow().await }).abort_handle();
        let heads = tokio::spawn(async move { heads.date().await }).abort_handle();
        RevocationReplica { follower, _tasks: Arc::new(Tasks([feed, heads])) }
    }

    /// Whether a token whose signature was verified is revoked: from memory, else the service is asked, for
    /// [`ReplicaSettings::check_timeout`] at most. Cancel safe.
    ///
    /// A token that memory holds a revocation against is revoked, also while nothing can be confirmed.
    ///
    /// # Errors
    ///
    /// UNAVAILABLE, reason `FRESHNESS_UNKNOWN`, if neither can tell: it is the caller's to refuse the token or to let it
    /// pass. With the metadata `suspect: true` memory holds something against it that it can't confirm; such a
    /// token should be refused. Any other status is the service's refusal of the claims, or of the caller.
    pub async fn is_revoked(&self, claims: &Claims<'_>) -> Result<Verdict, Status> {
        if let Some(verdict) = self.check_now(claims) {
            return Ok(verdict);
        }
        match ask::check(self.follower.client(), claims, self.follower.settings()).await {
            Ok(verdict) => Ok(verdict),
            Err(status) => match self.follower.recall(|memory| memory.check(claims, self.follower.now())) {
                Some(Answer::Revoked { rule, revocation }) => Ok(Verdict::Revoked { rule: Some(rule), revocation }),
                Some(Answer::KeyUnknown) => Ok(Verdict::KeyUnknown),
                Some(Answer::Suspect(_)) => Err(ask::unknown(status, true)),
                Some(Answer::Active) | None => Err(ask::unknown(status, false)),
            },
        }
    }

    /// The same from memory alone, without waiting: `None` if memory is too old, or can't tell for sure. Some 100 ns.
    #[must_use]
    pub fn check_now(&self, claims: &Claims<'_>) -> Option<Verdict> {
        let bound = self.follower.settings().bound;
        match self.follower.recall(|memory| memory.answer(claims, self.follower.now(), bound, Instant::now))?? {
            Answer::Active => Some(Verdict::Active),
            Answer::Revoked { rule, revocation } => Some(Verdict::Revoked { rule: Some(rule), revocation }),
            Answer::KeyUnknown => Some(Verdict::KeyUnknown),
            Answer::Suspect(_) => None,
        }
    }

    /// Waits until a token is revoked, or expires: to cut a live stream that was opened with it. Returns the verdict, which is
    /// never [`Verdict::Active`].
    ///
    /// Usually within milliseconds of the revocation, and an expiry within a second. While the feed is broken the service is
    /// asked once a second, and while nothing can tell, it waits. Each one that waits looks again whenever something was
    /// revoked, at the cost of a check. Cancel safe.
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
            // The sender lives as long as this does, so that only the time can run out.
            drop(tokio::time::timeout(LOOK_AGAIN, changes.changed()).await);
        }
    }

    /// Changes whenever revocations were applied, or taken back: then what was checked before may be worth a check again.
    #[must_use]
    pub fn changes(&self) -> watch::Receiver<u64> {
        self.follower.changes()
    }

    /// Waits until memory answers for the first time. Cancel safe. It may wait for ever, so give it a time.
    pub async fn ready(&self) {
        // The sender lives as long as this does.
        drop(self.follower.ready().wait_for(|ready| *ready).await);
    }

    /// How old what memory knows is, at most; `None` before it knows all.
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
    /// Whether the token must be refused.
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

// === impl Tasks ===

impl Drop for Tasks {
    fn drop(&mut self) {
        self.0.iter().for_each(AbortHandle::abort);
    }
}

/// This machine's clock.
fn wall() -> Millis {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Millis(i64::try_from(since.as_millis()).unwrap_or(i64::MAX))
}
