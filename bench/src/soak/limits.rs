//! Callers who want more than their limits let pass, and settle what they were admitted.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use envoy_types::pb::envoy::service::ratelimit::v3::RateLimitResponse;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_response::Code;
use envoy_types::pb::envoy::service::ratelimit::v3::rate_limit_service_client::RateLimitServiceClient as Envoy;
use keyplane_client::Channel;
use keyplane_contracts::ratelimit::v1 as pb;
use keyplane_contracts::ratelimit::v1::limit_state::Verdict;
use keyplane_contracts::ratelimit::v1::rate_limit_service_client::RateLimitServiceClient;
use parking_lot::Mutex;
use tokio::time::sleep;

use super::book::Book;
use super::clock::Mark;
use super::fleet::{Fleet, Instance};
use super::ledger::Invariant;
use super::model::meter::{Charge, Limit, Meter, WAIT};
use super::outcome::{Failure, Kind};
use crate::load::TENANT;
use crate::ratelimit;
use crate::serve::Service;

/// Callers of limits.
pub(super) struct Limits {
    book: Arc<Book>,
    fleet: Arc<Fleet>,
    tenant: Bucket,
    users: Vec<Bucket>,
    envoy: Vec<Bucket>,
    ids: AtomicU64,
}

/// Knowledge about one bucket.
struct Bucket(Mutex<State>);

struct State {
    meter: Meter,
    /// Latest answer by which it may have been charged.
    touched: Instant,
    /// Start of the counts.
    since: Mark,
}

/// Charge that was admitted.
struct Admitted {
    begin: Mark,
    end: Instant,
    cost: i64,
    user: usize,
    instance: u64,
}

/// End of a charge.
#[derive(Clone, Debug)]
enum End {
    Commit(i64),
    Cancel,
    Refund(i64),
}

const USER: Limit = Limit { rate: 5.0, burst: 10.0 };
const TENANTS: Limit = Limit { rate: 30.0, burst: 60.0 };
/// Policies file with the same limits.
pub(super) const POLICIES: &str = "policies:
  - {id: soak-user, entries: [tenant, user], limit: {amount: 5, per: 1s, burst: 10}}
  - {id: soak-tenant, entries: [tenant], limit: {amount: 30, per: 1s, burst: 60}}
  - {id: soak-envoy, domain: soak, entries: [tenant, user], limit: {amount: 5, per: 1s, burst: 10}}
  - {id: user-api, domain: keyplane, entries: [tenant, user], limit: {amount: 1000000, per: 1s}}
";
const USERS: usize = 8;
/// Cycle of a user: it calls for a while, then leaves its bucket alone until it must be empty.
const CYCLE: f64 = 14.0;
const ACTIVE: f64 = 8.0;
/// Time after which an untouched bucket is empty: a full one, and a debt as large, leak away in 4 s.
const EMPTY: Duration = Duration::from_millis(4_500);
/// Longest time of a settlement with its retries.
const PATIENCE: Duration = Duration::from_secs(8);
/// Time for which a charge can be refunded: longer than that is tried, on a machine that stands still meanwhile.
const REMEMBERED: prost_types::Duration = prost_types::Duration { seconds: 60, nanos: 0 };
const RETRY: Duration = Duration::from_millis(100);
/// Time for which a charge of Acquire can be refunded, and a reservation settled: the service's defaults.
const REFUNDABLE: Duration = Duration::from_secs(10);
const RESERVED: Duration = Duration::from_mins(5);
const ESTIMATE: i64 = 4;

// === impl Limits ===

impl Limits {
    pub(super) fn new(book: Arc<Book>, fleet: Arc<Fleet>) -> Limits {
        let bucket = |limit| Bucket::new(limit, book.clock.mark());
        Limits {
            tenant: bucket(TENANTS),
            users: (0..USERS).map(|_| bucket(USER)).collect(),
            envoy: (0..USERS).map(|_| bucket(USER)).collect(),
            ids: AtomicU64::new(0),
            book,
            fleet,
        }
    }

    /// Acquires, and refunds a part at times. `dice`: any number.
    pub(super) async fn acquire(&self, dice: u64) {
        let Some((user, instance)) = self.caller(dice) else { return };
        let cost = 1 + (dice >> 16) as i64 % 3;
        let refunds = dice >> 24 & 7 == 0;
        let request_id = if refunds { self.new_id() } else { String::new() };
        let Some((admitted, charge)) = self.charge(user, instance, cost, request_id).await else { return };
        match refunds {
            true => {
                sleep(Duration::from_millis(50)).await;
                self.settle(admitted, charge, End::Refund(1)).await;
            }
            false => self.count_charge(&admitted, cost as f64),
        }
    }

    /// Holds what was admitted so far against the limits; all of it if `last`.
    pub(super) fn count(&self, last: bool) {
        let until = if last { Some(Instant::now()) } else { Instant::now().checked_sub(WAIT) };
        let Some(until) = until else { return };
        for (name, bucket) in self.buckets() {
            let (charges, outcome) = bucket.0.lock().meter.count(until);
            if charges > 0 {
                self.book.check(Invariant::Bound, outcome.map_err(|text| format!("{name}: {text}")));
            }
        }
    }

    fn buckets(&self) -> impl Iterator<Item = (String, &Bucket)> {
        let users = self.users.iter().enumerate().map(|(user, bucket)| (format!("user {user}"), bucket));
        let envoy =
            self.envoy.iter().enumerate().map(|(user, bucket)| (format!("user {user} at Envoy's door"), bucket));
        users.chain(envoy).chain([("the tenant".to_owned(), &self.tenant)])
    }

    fn active_user(&self, dice: u64) -> Option<usize> {
        let now = self.book.clock.elapsed().as_secs_f64();
        let active = |user: &usize| (now + *user as f64 * CYCLE / USERS as f64) % CYCLE < ACTIVE;
        let users: Vec<_> = (0..USERS).filter(active).collect();
        users.get((dice % users.len().max(1) as u64) as usize).copied()
    }

    /// Active user and an instance.
    fn caller(&self, dice: u64) -> Option<(usize, u64)> {
        Some((self.active_user(dice)?, dice >> 8))
    }

    /// Charges a user and the tenant; `None` unless admitted.
    async fn charge(&self, user: usize, instance: u64, cost: i64, request_id: String) -> Option<(Admitted, String)> {
        let limits = vec!["soak-user".to_owned(), "soak-tenant".to_owned()];
        let request = pb::AcquireRequest {
            parent: parent(),
            user: name(user),
            limits,
            cost: Some(cost),
            ttl: (!request_id.is_empty()).then_some(REMEMBERED),
            request_id,
            ..pb::AcquireRequest::default()
        };
        let at = self.fleet.pick(Service::RateLimit, instance);
        let left_alone = self.users[user].approach();
        let made = self.book.call(Kind::Acquire, at, client(at).acquire(request)).await;
        self.touch(user);
        let reply = made.result.ok()?;
        if left_alone && cost <= USER.burst as i64 {
            self.has_room(made.begin, user, &reply.limits);
        }
        let admitted = Admitted { begin: made.begin, end: made.end, cost, user, instance };
        reply.admitted.then_some((admitted, reply.charge))
    }

    /// Reserves, and settles a while later. `dice`: any number.
    pub(super) async fn reserve(&self, dice: u64) {
        let Some((user, instance)) = self.caller(dice) else { return };
        let request = pb::ReserveRequest {
            parent: parent(),
            user: name(user),
            limits: vec!["soak-user".to_owned(), "soak-tenant".to_owned()],
            estimate: ESTIMATE,
            request_id: self.new_id(),
            ..pb::ReserveRequest::default()
        };
        let at = self.fleet.pick(Service::RateLimit, instance);
        let left_alone = self.users[user].approach();
        let made = self.book.call(Kind::Reserve, at, client(at).reserve(request)).await;
        self.touch(user);
        let Ok(reply) = made.result else { return };
        if left_alone {
            self.has_room(made.begin, user, &reply.limits);
        }
        if !reply.admitted {
            return;
        }
        let admitted = Admitted { begin: made.begin, end: made.end, cost: ESTIMATE, user, instance };
        let end = match dice >> 32 & 3 {
            0 => End::Cancel,
            lower => End::Commit(lower as i64),
        };
        // A model's answer takes its time; much of the charge has leaked by then.
        sleep(Duration::from_millis(20 + (dice >> 40) % 1_500)).await;
        self.settle(admitted, reply.reservation, end).await;
    }

    /// Settles a charge on any instance, tries until it is known how, and counts what stands.
    async fn settle(&self, admitted: Admitted, id: String, end: End) {
        let (until, request_id) = (Instant::now() + PATIENCE, self.new_id());
        let mut turn = admitted.instance + 1;
        let made = loop {
            let at = self.fleet.pick(Service::RateLimit, turn);
            let call = settle(client(at), &id, &end, &request_id);
            let made = self.book.call(Kind::Settle, at, call).await;
            match &made.result {
                Err(failure) if !failure.is_answer() && Instant::now() < until => sleep(RETRY).await,
                _ => break made,
            }
            turn += 1;
        };
        self.touch(admitted.user);
        let least = match &end {
            End::Commit(cost) => *cost,
            End::Cancel => 0,
            End::Refund(cost) => admitted.cost - cost,
        };
        let age = made.end.saturating_duration_since(admitted.begin.at);
        let refused = made.result.err().filter(Failure::is_answer);
        if age < end.remembered() && self.book.clock.kept_since(admitted.begin) {
            let (cost, user) = (admitted.cost, admitted.user);
            let text = |failure: Failure| {
                format!("{end:?} of a charge of {cost} for user {user}, made {age:.1?} before: {}", failure.text())
            };
            self.book.hold(Invariant::Charges, || refused.map(text));
        }
        self.count_charge(&admitted, least as f64);
    }

    /// Asks as Envoy does. `dice`: any number.
    pub(super) async fn envoy(&self, dice: u64) {
        let Some((user, instance)) = self.caller(dice) else { return };
        let at = self.fleet.pick(Service::RateLimit, instance);
        let mut client = Envoy::new(at.channel.clone());
        let request = ratelimit::envoy("soak", name(user));
        let left_alone = self.envoy[user].approach();
        let made = self.book.call(Kind::Envoy, at, client.should_rate_limit(request)).await;
        self.envoy[user].touch();
        let Ok(reply) = made.result else { return };
        let admitted = passes(&reply);
        if left_alone && self.book.clock.calm_since(made.begin).is_some() {
            self.book.hold(Invariant::Room, || {
                (!admitted).then(|| format!("user {user} at Envoy's door is over the limit after a pause"))
            });
        }
        if admitted {
            self.envoy[user].add(&self.book, made.begin, made.end, 1.0);
        }
    }

    /// User's bucket that was left alone until it must be empty.
    fn has_room(&self, begin: Mark, user: usize, limits: &[pb::LimitState]) {
        if self.book.clock.calm_since(begin).is_none() {
            return;
        }
        let own = limits.iter().find(|limit| limit.policy == "soak-user");
        let refused = own.filter(|own| !matches!(own.verdict(), Verdict::Admitted | Verdict::Skipped));
        self.book.hold(Invariant::Room, || {
            refused.map(|own| {
                format!("user {user} is denied after a pause: {:?}, {} remaining", own.verdict(), own.remaining)
            })
        });
    }

    fn count_charge(&self, admitted: &Admitted, amount: f64) {
        for bucket in [&self.users[admitted.user], &self.tenant] {
            bucket.add(&self.book, admitted.begin, admitted.end, amount);
        }
    }

    fn touch(&self, user: usize) {
        self.users[user].touch();
    }

    fn new_id(&self) -> String {
        format!("soak-{}", self.ids.fetch_add(1, Ordering::Relaxed))
    }
}

fn parent() -> String {
    format!("tenants/{TENANT}")
}

fn name(user: usize) -> String {
    format!("limited-{user}")
}

fn client(instance: &Instance) -> RateLimitServiceClient<Channel> {
    RateLimitServiceClient::new(instance.channel.clone())
}

async fn settle(
    mut client: RateLimitServiceClient<Channel>,
    id: &str,
    end: &End,
    request_id: &str,
) -> Result<tonic::Response<pb::SettleResponse>, tonic::Status> {
    let (parent, id) = (parent(), id.to_owned());
    match end {
        End::Commit(cost) => client.commit(pb::CommitRequest { parent, reservation: id, cost: *cost }).await,
        End::Cancel => client.cancel(pb::CancelRequest { parent, reservation: id }).await,
        End::Refund(cost) => {
            let request_id = request_id.to_owned();
            client.refund(pb::RefundRequest { parent, charge: id, cost: *cost, request_id }).await
        }
    }
}

fn passes(reply: &RateLimitResponse) -> bool {
    reply.overall_code == Code::Ok as i32
}

// === impl End ===

impl End {
    /// Time from a charge until the service may have forgotten it.
    fn remembered(&self) -> Duration {
        match self {
            End::Commit(_) | End::Cancel => RESERVED,
            End::Refund(_) => REFUNDABLE,
        }
    }
}

// === impl Bucket ===

impl Bucket {
    fn new(limit: Limit, since: Mark) -> Bucket {
        Bucket(Mutex::new(State { meter: Meter::new(limit), touched: Instant::now(), since }))
    }

    fn touch(&self) {
        self.0.lock().touched = Instant::now();
    }

    /// Reports whether the bucket was untouched long enough to be empty; it counts as touched from now on.
    fn approach(&self) -> bool {
        let mut state = self.0.lock();
        let left_alone = state.touched.elapsed() > EMPTY;
        state.touched = Instant::now();
        left_alone
    }

    /// Counts a charge, unless the store lost it.
    fn add(&self, book: &Book, begin: Mark, end: Instant, amount: f64) {
        let mut state = self.0.lock();
        if !book.clock.kept_since(state.since) {
            state.meter.forget();
            state.since = book.clock.mark();
        }
        if book.clock.kept_since(begin) {
            state.meter.add(Charge { begin: begin.at, end, amount });
        }
    }
}
