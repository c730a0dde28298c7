//! Tokens that are revoked, taken back, or left alone, and checks of all of them on every instance.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::stream::{self, StreamExt as _};
use keyplane_client::Channel;
use keyplane_contracts::revocation::v1 as pb;
use keyplane_contracts::revocation::v1::revocation_service_client::RevocationServiceClient;
use keyplane_contracts::revocation::v1::{Durability, Source, Verdict};
use parking_lot::{Mutex, RwLock};
use tokio::time::sleep;

use super::book::Book;
use super::clock::Mark;
use super::fleet::{Fleet, Instance};
use super::ledger::Invariant;
use super::model::token::{self, BOUND, LookAlikes, Promise};
use super::outcome::{Kind, Made};
use super::plan::Ground;
use crate::serve::Service;
use crate::tokens::{self, Mint};

/// Tokens of a run.
pub(super) struct Tokens {
    book: Arc<Book>,
    fleet: Arc<Fleet>,
    mint: Mint,
    ground: Ground,
    next: AtomicU64,
    revoked: RwLock<Vec<Arc<Revoked>>>,
    undone: RwLock<Vec<Arc<Undone>>>,
    /// Good tokens that were rejected after the store had lost data.
    refused: Mutex<LookAlikes>,
}

/// Revocation that was acknowledged.
struct Revoked {
    number: u64,
    name: String,
    at: Instant,
    durability: Durability,
    /// Attempt whose outcome is unknown may happen again, after it was taken back.
    in_doubt: bool,
    /// Set once somebody tries to take it back.
    undoing: AtomicU64,
}

/// Revocation that was taken back.
struct Undone {
    number: u64,
    mark: Mark,
}

/// Tokens that nobody revokes.
const GOOD: u64 = 1_000;
/// Revocations that are checked most.
const RECENT: usize = 20;
const SERIES: &str = "soak";
/// Checks of the last sweep at the same time.
const AT_A_TIME: usize = 16;
/// Longest time of a revocation with its retries.
const PATIENCE: Duration = Duration::from_mins(1);
const RETRY: Duration = Duration::from_millis(100);

// === impl Tokens ===

impl Tokens {
    pub(super) fn new(book: Arc<Book>, fleet: Arc<Fleet>, ground: Ground, life: Duration) -> Tokens {
        Tokens {
            book,
            fleet,
            mint: Mint::living(life),
            ground,
            next: AtomicU64::new(0),
            revoked: RwLock::default(),
            undone: RwLock::default(),
            refused: Mutex::default(),
        }
    }

    /// Revocations so far.
    pub(super) fn revocations(&self) -> usize {
        self.revoked.read().len()
    }

    /// Checks each revocation on each instance.
    pub(super) async fn sweep(&self) {
        let all = self.revoked.read().clone();
        let checks = all.iter().flat_map(|case| {
            self.fleet
                .of(Service::Revocation)
                .iter()
                .map(move |instance| self.check_revoked(Kind::Check, instance, case))
        });
        stream::iter(checks).buffer_unordered(AT_A_TIME).collect::<()>().await;
    }

    /// Checks a good token, a revoked one, or one whose revocation was undone. `dice`: any number.
    pub(super) async fn check_any(&self, kind: Kind, dice: u64) {
        let instance = self.fleet.pick(Service::Revocation, dice >> 8);
        let (turn, number) = (dice % 8, dice >> 16);
        match turn {
            0..=2 => {
                if let Some(case) = self.pick(turn > 0, number) {
                    return self.check_revoked(kind, instance, &case).await;
                }
            }
            3 => {
                let undone = self.undone.read().iter().rev().nth((number % 8) as usize).cloned();
                if let Some(undone) = undone {
                    return self.check_undone(kind, instance, &undone).await;
                }
            }
            _ => {}
        }
        self.check_good(kind, instance, number % GOOD).await;
    }

    /// Tries until it is acknowledged, then looks at each instance as soon as the promise holds.
    pub(super) async fn revoke(&self, dice: u64) {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        let until = Instant::now() + PATIENCE;
        let (mut turn, mut in_doubt) = (dice >> 8, false);
        let revocation = loop {
            let instance = self.fleet.pick(Service::Revocation, turn);
            let request = self.mint.revoke(tokens::Kind::of(number), SERIES, number);
            match self.book.call(Kind::Revoke, instance, tokens::revoke(client(instance), request)).await.result {
                Ok(revocation) => break revocation,
                Err(failure) if Instant::now() < until => {
                    in_doubt |= failure.unknown;
                    sleep(RETRY).await;
                }
                Err(_) => return,
            }
            turn += 1;
        };
        let (durability, at) = (revocation.durability(), Instant::now());
        let case =
            Arc::new(Revoked { number, name: revocation.name, at, durability, in_doubt, undoing: AtomicU64::new(0) });
        self.revoked.write().push(Arc::clone(&case));
        sleep(BOUND).await;
        let service = self.fleet.of(Service::Revocation).iter();
        let checks = service.map(|instance| self.check_revoked(Kind::Check, instance, &case));
        futures::future::join_all(checks).await;
    }

    /// Takes a revocation back.
    pub(super) async fn undo(&self, dice: u64) {
        let Some(case) = self.pick(false, dice >> 16) else { return };
        if case.undoing.fetch_add(1, Ordering::SeqCst) > 0 {
            return;
        }
        self.revoked.write().retain(|other| other.number != case.number);
        let instance = self.fleet.pick(Service::Revocation, dice >> 8);
        let request = pb::UndoRevocationRequest { name: case.name.clone(), etag: String::new(), cause: None };
        let made = self.book.call(Kind::Undo, instance, client(instance).undo_revocation(request)).await;
        if made.result.is_ok() && !case.in_doubt {
            let mark = self.book.clock.mark();
            let mut undone = self.undone.write();
            undone.push(Arc::new(Undone { number: case.number, mark }));
        }
    }

    async fn check_revoked(&self, kind: Kind, instance: &Instance, case: &Revoked) {
        let made = self.check(kind, instance, self.mint.check(SERIES, case.number)).await;
        let Ok(reply) = made.result else { return };
        let promise = Promise {
            age: made.begin.at.saturating_duration_since(case.at),
            // A failover of a cluster may lose what no replica had, as its acknowledgement said.
            safe: self.ground == Ground::Single || case.durability == Durability::Replicated,
            undoing: case.undoing.load(Ordering::SeqCst) > 0,
        };
        let outcome = token::revoked(promise, reply.verdict() == Verdict::Active);
        if let Some(outcome) = outcome {
            let (number, kind) = (case.number, tokens::Kind::of(case.number));
            let text_of =
                |text| format!("revocation {number} ({kind:?}) at {}: {text}, {:?}", instance.name(), reply.freshness);
            self.book.check(Invariant::Revoked, outcome.map_err(text_of));
        }
    }

    async fn check_good(&self, kind: Kind, instance: &Instance, number: u64) {
        let made = self.check(kind, instance, self.mint.check("good", number)).await;
        let Ok(reply) = made.result else { return };
        let refused = reply.verdict() == Verdict::Revoked;
        let outcome = self.refused.lock().good(number, made.begin.epoch > 0, refused);
        let text_of = |text| format!("{}: {text}, {:?}", instance.name(), reply.rule());
        self.book.check(Invariant::Good, outcome.map_err(text_of));
    }

    async fn check_undone(&self, kind: Kind, instance: &Instance, undone: &Undone) {
        let made = self.check(kind, instance, self.mint.check(SERIES, undone.number)).await;
        let Ok(reply) = made.result else { return };
        let age = made.begin.at.saturating_duration_since(undone.mark.at);
        // By policy an instance rejects a token that it can't ask about: the safe error.
        let proven = reply.freshness.as_ref().is_some_and(|freshness| freshness.source() != Source::Outage);
        let kept = proven && self.book.clock.kept_since(undone.mark);
        if let Some(outcome) = token::undone(age, kept, reply.verdict() == Verdict::Revoked) {
            let text_of =
                |text| format!("revocation {} at {}: {text}, {:?}", undone.number, instance.name(), reply.freshness);
            self.book.check(Invariant::Undone, outcome.map_err(text_of));
        }
    }

    async fn check(&self, kind: Kind, instance: &Instance, mut request: pb::CheckRequest) -> Made<pb::CheckResponse> {
        if kind == Kind::CheckStore {
            request.max_staleness = Some(prost_types::Duration::default());
        }
        self.book.call(kind, instance, client(instance).check(request)).await
    }

    fn pick(&self, recent: bool, number: u64) -> Option<Arc<Revoked>> {
        let all = self.revoked.read();
        let from = if recent { all.len().saturating_sub(RECENT) } else { 0 };
        let some = &all[from..];
        some.get(number.checked_rem(some.len() as u64)? as usize).cloned()
    }
}

fn client(instance: &Instance) -> RevocationServiceClient<Channel> {
    RevocationServiceClient::new(instance.channel.clone())
}
