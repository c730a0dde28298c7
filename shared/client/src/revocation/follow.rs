//! Follows the feed of revocations, and dates what was applied.

use std::sync::Arc;
use std::time::{Duration, Instant};

use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_contracts::revocation::v1::watch_response::Stage;
use keyplane_revocation::{Millis, Rules, Sequence, StoreClock, wire};
use parking_lot::{Mutex, RwLock};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tonic::{Code, Request, Status};

use super::ReplicaSettings;
use super::dating::{Dating, Head};
use super::memory::Memory;
use crate::Channel;

/// Backoff of reconnects: first, and maximum.
const RECONNECT: (Duration, Duration) = (Duration::from_millis(20), Duration::from_secs(5));

/// Pause after a failed GetHead.
const HEAD_FAILED: Duration = Duration::from_millis(100);

/// Interval at which expired revocations are forgotten.
const PRUNE: Duration = Duration::from_secs(10);

/// Maximum size of a response of the feed, in bytes.
const MESSAGE: usize = 16 << 20;

/// State that the two tasks share with the checks.
pub(super) struct Follower {
    client: RevocationServiceClient<Channel>,
    pub(super) settings: ReplicaSettings,
    memory: RwLock<Option<Arc<Memory>>>,
    /// Time of the store, by the answers of GetHead.
    clock: StoreClock,
    /// Locked before `memory` is replaced or dated, so that no date of one memory gets to the next.
    dating: Mutex<Dating>,
    pub(super) changes: watch::Sender<u64>,
    pub(super) ready: watch::Sender<bool>,
}

/// Position of the task in the feed.
#[derive(Default)]
struct Place {
    resume_token: String,
    /// Consecutive failures of the feed before it was live.
    failures: u32,
    pruned: Option<Instant>,
}

// === impl Follower ===

impl Follower {
    pub(super) fn new(client: RevocationServiceClient<Channel>, settings: ReplicaSettings) -> Follower {
        let client = client.max_decoding_message_size(MESSAGE);
        let (changes, ready) = (watch::Sender::new(0), watch::Sender::new(false));
        Follower {
            client,
            settings,
            memory: RwLock::default(),
            clock: StoreClock::new(Instant::now()),
            dating: Mutex::default(),
            changes,
            ready,
        }
    }

    pub(super) fn client(&self) -> RevocationServiceClient<Channel> {
        self.client.clone()
    }

    /// Estimate of the store's time; this machine's, until the service has sent one.
    pub(super) fn now(&self) -> Millis {
        self.clock.at(Instant::now()).unwrap_or_else(Millis::wall)
    }

    /// Reads memory, if it exists yet, under a lock that is held for longer only when the rules change.
    pub(super) fn recall<T>(&self, ask: impl FnOnce(&Memory) -> T) -> Option<T> {
        self.memory.read().as_deref().map(ask)
    }

    fn memory(&self) -> Option<Arc<Memory>> {
        self.memory.read().clone()
    }

    /// Follows the feed for ever.
    pub(super) async fn follow(&self) {
        let mut place = Place::default();
        loop {
            let broke = self.watch(&mut place).await;
            // A position that can't be resumed any more is dropped.
            if broke.as_ref().is_err_and(|status| status.code() == Code::InvalidArgument) {
                place.resume_token.clear();
            }
            if place.failures == 0 {
                let reason = broke.as_ref().err().map(tracing::field::debug);
                tracing::warn!(
                    reason,
                    "the revocation feed broke; reconnecting, and checking at the service meanwhile"
                );
            }
            sleep(backoff(place.failures)).await;
            place.failures = place.failures.saturating_add(1);
        }
    }

    /// Follows one stream until it ends or breaks.
    async fn watch(&self, place: &mut Place) -> Result<(), Status> {
        let silent = |_| Status::deadline_exceeded("the revocation feed is silent");
        let silence = self.settings.silence;
        let request = pb::WatchRequest { parent: "tenants/-".to_owned(), resume_token: place.resume_token.clone() };
        let mut client = self.client();
        let mut stream = timeout(silence, client.watch(request)).await.map_err(silent)??.into_inner();
        while let Some(response) = timeout(silence, stream.message()).await.map_err(silent)?? {
            self.take(response, place)?;
        }
        Ok(())
    }

    /// Applies a response. An unreadable entry may be a revocation, so it is an error: nothing after it is applied.
    fn take(&self, response: pb::WatchResponse, place: &mut Place) -> Result<(), Status> {
        if let Some(rules) = &response.rules {
            self.begin(wire::rules_of(rules).map_err(unreadable)?, place)?;
        }
        let memory = self.memory().ok_or_else(|| Status::internal("the revocation feed begins without its rules"))?;
        let mut changed = false;
        for entry in &response.entries {
            changed |= memory.replica.apply(&wire::entry_of(entry).map_err(unreadable)?);
        }
        match response.stage() {
            Stage::Snapshot => {}
            Stage::Live => {
                let sequence = Sequence::parse(&response.sequence).map_err(unreadable)?;
                self.dated(|dating| dating.applied(sequence, response.epoch));
                place.failures = 0;
            }
            Stage::Unspecified => return Err(Status::internal("the revocation feed has an unknown stage")),
        }
        if !response.resume_token.is_empty() {
            place.resume_token = response.resume_token;
        }
        if changed {
            self.changes.send_modify(|count| *count = count.wrapping_add(1));
        }
        // Not before GetHead has answered: by then the store's time is known, unless the service is of a release without it.
        let is_due = place.pruned.is_none_or(|last| last.elapsed() >= PRUNE);
        if is_due && memory.known_at().is_some() {
            memory.replica.prune(self.clock.passed(Instant::now(), Millis::wall()).unwrap_or_else(Millis::wall));
            place.pruned = Some(Instant::now());
        }
        Ok(())
    }

    /// Makes a memory for `rules`, unless the current one has the same: applied entries stay applied.
    fn begin(&self, rules: Rules, place: &mut Place) -> Result<(), Status> {
        if self.memory().is_some_and(|memory| *memory.replica.rules() == rules) {
            return Ok(());
        }
        let resumed = !place.resume_token.is_empty();
        place.resume_token.clear();
        {
            let mut dating = self.dating.lock();
            dating.reset();
            // A new memory needs a snapshot, not what happened since.
            *self.memory.write() = (!resumed).then(|| Arc::new(Memory::new(rules, self.settings.filters())));
        }
        if resumed { Err(Status::aborted("the rules of tokens have changed")) } else { Ok(()) }
    }

    /// Dates the memory, for ever.
    pub(super) async fn date(&self) {
        loop {
            sleep(self.settings.head_interval).await;
            if self.dating.lock().is_live()
                && let Err(status) = self.head().await
            {
                tracing::debug!(code = ?status.code(), "GetHead failed; the age of memory is not updated");
                sleep(HEAD_FAILED).await;
            }
        }
    }

    /// Calls GetHead. Its answer is dated from before the call: any wait makes it older.
    async fn head(&self) -> Result<(), Status> {
        let sent = Instant::now();
        let mut request = Request::new(pb::GetHeadRequest {});
        request.set_timeout(self.settings.check_timeout);
        let head = self.client().get_head(request).await?.into_inner();
        if let Some(time) = wire::optional_millis("store_time", head.store_time.as_ref()).map_err(unreadable)? {
            self.clock.observe(sent, Instant::now(), time);
        }
        let age = head.age.map(Duration::try_from).transpose().map_err(|error| Status::internal(error.to_string()))?;
        let sequence = Sequence::parse(&head.sequence).map_err(unreadable)?;
        if let Some(known_at) = age.and_then(|age| sent.checked_sub(age)) {
            self.dated(|dating| dating.head(Head { sequence, epoch: head.epoch, known_at }));
        }
        Ok(())
    }

    /// Dates the memory with the moment that `news` returns.
    fn dated(&self, news: impl FnOnce(&mut Dating) -> Option<Instant>) {
        let mut dating = self.dating.lock();
        let (Some(known_at), Some(memory)) = (news(&mut dating), self.memory()) else {
            return;
        };
        memory.date(known_at);
        if memory.known_at().is_some() && !*self.ready.borrow() {
            self.ready.send_replace(true);
        }
    }
}

fn unreadable(error: impl std::fmt::Display) -> Status {
    Status::internal(format!("the revocation service sent what this release can't read: {error}"))
}

/// Delay that doubles with each failure, spread over its second half so that not all callers come at once.
fn backoff(failures: u32) -> Duration {
    let (from, to) = RECONNECT;
    let full = from.saturating_mul(1 << failures.min(16)).min(to);
    let mut random = [0; 2];
    // Without random numbers the delay is just not spread.
    let _ = getrandom::fill(&mut random);
    let part = f64::from(u16::from_be_bytes(random)) / f64::from(u16::MAX);
    full.mul_f64(0.5 + part / 2.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_double_up_to_the_maximum_and_are_spread() {
        for (failures, full) in [(0, 20), (1, 40), (5, 640), (8, 5000), (60, 5000)] {
            let full = Duration::from_millis(full);
            for _ in 0..100 {
                let wait = backoff(failures);
                assert!(wait >= full / 2 && wait <= full, "{failures} failures: {wait:?}");
            }
        }
    }
}
