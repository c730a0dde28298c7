//! Replica in this process: how large it is, and how fast it answers.

use std::collections::HashSet;
use std::hint::black_box;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use keyplane_revocation::{
    Answer, Claims, Entry, Filters, Millis, Replica, Rules, Scope, State, Target, TokenHash, Version,
};
use serde::Serialize;

use crate::{Error, machine};

/// Figures of a revocation replica in this process.
#[derive(Clone, Debug, Serialize)]
pub(super) struct InProcess {
    pub(super) tokens: u64,
    /// Sessions, users, clients and keys.
    pub(super) cutoffs: u64,
    /// Resident memory of a replica with the tokens alone, and what it says of its filters.
    pub(super) token_rss: u64,
    pub(super) filter_bytes: u64,
    /// Resident memory of the cutoffs, and what the replica says of them.
    pub(super) cutoff_rss: u64,
    pub(super) cutoff_bytes: u64,
    /// Resident memory of a set of the same tokens, exact.
    pub(super) exact_rss: u64,
    /// Checks of distinct good tokens on one core: one at a time, and a hundred at a time.
    pub(super) checks_per_second: f64,
    pub(super) batched_per_second: f64,
    /// Rate in a loop over tokens that fit into the processor's cache.
    pub(super) cached_per_second: f64,
    /// Checks whose answer needs the store.
    pub(super) suspect_share: f64,
}

/// Token that nobody revoked; 1,000,000 of them fit.
struct Good {
    jti: String,
    sid: String,
    subject: String,
    client: String,
    kid: String,
    expires: Millis,
}

const TENANT: &str = "bench";
const ISSUER: &str = "https://idp.example";
const RULES: Rules =
    Rules { max_lifetime: Duration::from_hours(24), leeway: Duration::from_secs(60), issuer_skew: Duration::ZERO };
/// Service's default of `KEYPLANE_REVOCATION_FALSE_POSITIVES`, and its buckets.
const FILTERS: Filters = Filters { false_positives: 0.0001, bucket: Duration::from_hours(1) };
/// Hours within which revoked tokens expire, each in a bucket of its own.
const HOURS: u64 = 12;
const HOUR: u64 = 3_600_000;
/// Tokens for each revocation of another scope.
const OTHERS: u64 = 10;

/// Builds both, one after the other, and measures for about `length` each.
pub(super) fn measure(tokens: u64, length: Duration) -> Result<InProcess, Error> {
    let pid = std::process::id();
    let since_epoch = SystemTime::now().duration_since(UNIX_EPOCH)?.as_millis();
    let now = Millis(i64::try_from(since_epoch)?);

    let start = machine::rss(pid)?;
    let exact: HashSet<[u8; 16]> = (0..tokens).map(|number| *token(&revoked(number)).as_bytes()).collect();
    let exact_rss = machine::rss(pid)?.saturating_sub(start);
    drop(black_box(exact));

    let start = machine::rss(pid)?;
    let replica = Replica::new(RULES, FILTERS);
    for number in 0..tokens {
        replica.apply(&revoked_token(number, now));
    }
    let token_rss = machine::rss(pid)?.saturating_sub(start);
    let start = machine::rss(pid)?;
    let cutoffs = add_cutoffs(&replica, tokens / OTHERS, now);
    let cutoff_rss = machine::rss(pid)?.saturating_sub(start);
    let stats = replica.stats();

    let good: Vec<Good> = (0..tokens).map(|number| Good::new(number, now)).collect();
    let mut suspects = 0_u64;
    let (checks, took) = repeat(length, || {
        for good in &good {
            suspects += u64::from(matches!(black_box(replica.check(&good.claims(now), now)), Answer::Suspect(_)));
        }
        tokens
    });
    let (cached, cached_took) = repeat(length, || {
        for good in good.iter().take(256) {
            black_box(replica.check(&good.claims(now), now));
        }
        256.min(tokens)
    });
    let (batched, batched_took) = repeat(length, || {
        for hundred in good.chunks(100) {
            let claims: Vec<_> = hundred.iter().map(|good| good.claims(now)).collect();
            replica.check_many(&claims, now, |answer| _ = black_box(answer));
        }
        tokens
    });
    Ok(InProcess {
        tokens,
        cutoffs,
        token_rss,
        filter_bytes: stats.filter_bytes as u64,
        cutoff_rss,
        cutoff_bytes: stats.cutoff_bytes as u64,
        exact_rss,
        checks_per_second: checks as f64 / took.as_secs_f64(),
        batched_per_second: batched as f64 / batched_took.as_secs_f64(),
        cached_per_second: cached as f64 / cached_took.as_secs_f64(),
        suspect_share: suspects as f64 / checks as f64,
    })
}

/// Calls `pass` until `length` is over; what it counted, and how long that took.
fn repeat(length: Duration, mut pass: impl FnMut() -> u64) -> (u64, Duration) {
    let (start, mut count) = (Instant::now(), 0);
    while start.elapsed() < length {
        count += pass();
    }
    (count, start.elapsed())
}

/// Session and a user for each of `each`, and cutoffs of all clients; returns how many.
fn add_cutoffs(replica: &Replica, each: u64, now: Millis) -> u64 {
    let before = Millis(now.0 - HOUR as i64);
    let mut count = 0;
    let mut add = |scope: Scope, cutoff: Option<Millis>| {
        replica.apply(&entry(scope, State { cutoff, ..state(now, 24) }));
        count += 1;
    };
    for number in 0..each {
        add(Scope::Session(format!("r-s-{number}").into()), None);
        let by = keyplane_revocation::CutoffBy::IssuedAt;
        add(Scope::Subject { user: format!("r-u-{number}").into(), by }, Some(now));
    }
    for number in 0..16 {
        // Earlier than the good tokens were issued: looked at in each check, and of no effect.
        add(Scope::Client(format!("app-{number}").into()), Some(before));
    }
    add(Scope::Key { issuer: ISSUER.into(), kid: "stolen".into() }, None);
    add(Scope::Tenant, Some(before));
    count
}

fn revoked(number: u64) -> String {
    format!("r-4fd8-9c3e-{number}")
}

fn token(jti: &str) -> TokenHash {
    TokenHash::digest(TENANT, ISSUER, jti)
}

fn revoked_token(number: u64, now: Millis) -> Entry {
    let expires = state(now, 1 + number % HOURS).expires;
    let state = State { token_expires: Some(expires), ..state(now, 1 + number % HOURS) };
    entry(Scope::Token(token(&revoked(number))), state)
}

fn entry(scope: Scope, state: State) -> Entry {
    Entry { target: Target { tenant: TENANT.into(), scope }, state, version: Version(1) }
}

fn state(now: Millis, hours: u64) -> State {
    let expires = Millis(now.0 + (hours * HOUR) as i64);
    State { undone: false, expires, cutoff: None, token_expires: None, kept: Vec::new() }
}

// === impl Good ===

impl Good {
    fn new(number: u64, now: Millis) -> Good {
        Good {
            jti: format!("g-4fd8-9c3e-{number}"),
            sid: format!("g-s-{number}"),
            subject: format!("g-u-{number}"),
            client: format!("app-{}", number % 16),
            kid: format!("2026-{}", number % 4),
            expires: Millis(now.0 + ((1 + number % HOURS) * HOUR) as i64),
        }
    }

    fn claims(&self, now: Millis) -> Claims<'_> {
        let issued = Some(Millis(now.0 - 60_000));
        Claims {
            tenant: TENANT,
            issuer: ISSUER,
            jti: &self.jti,
            sid: &self.sid,
            subject: &self.subject,
            client: &self.client,
            kid: &self.kid,
            issued_at: issued,
            auth_time: issued,
            expires: Some(self.expires),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_tokens_are_good_and_revoked_ones_are_not() {
        let figures = measure(10_000, Duration::from_millis(1)).unwrap();
        assert_eq!((figures.tokens, figures.cutoffs), (10_000, 2 * 1_000 + 18));
        assert!(figures.suspect_share < 0.005, "{figures:?}");
        let now = Millis(1_900_000_000_000);
        let replica = Replica::new(RULES, FILTERS);
        replica.apply(&revoked_token(1, now));
        add_cutoffs(&replica, 1, now);
        let good = Good::new(1, now);
        assert_eq!(replica.check(&good.claims(now), now), Answer::Active);
        let jti = revoked(1);
        let revoked = Claims { jti: &jti, ..good.claims(now) };
        assert_ne!(replica.check(&revoked, now), Answer::Active);
        assert_ne!(replica.check(&Claims { sid: "r-s-0", ..good.claims(now) }, now), Answer::Active);
        assert_ne!(replica.check(&Claims { subject: "r-u-0", ..good.claims(now) }, now), Answer::Active);
    }
}
