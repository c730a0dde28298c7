//! Revocation replica in memory.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::RwLock;

use crate::claims::Claims;
use crate::cutoffs::{ByName, Cutoffs};
use crate::filter::Filters;
use crate::handover::Handover;
use crate::rules::{Answer, Rule, Rules};
use crate::state::{Entry, State};
use crate::target::{RevocationId, Scope, TokenHash};
use crate::time::{Millis, Version};
use crate::tokens::Tokens;

/// Revocation replica in memory: cutoffs, sessions and keys in full, single tokens in Bloom filters.
///
/// The replica knows the entries that it was given, and not how old they are: its feeder decides whether it may answer.
/// Entries may come in any order and more than once. One condition holds, which the service keeps: of two entries of
/// one target the one with the higher version does not expire earlier.
///
/// All methods are short and synchronous, and may be called from any thread. Reads run side by side. A write waits for
/// them and holds them up, for about a microsecond unless a method documents more.
#[derive(Debug)]
pub struct Replica {
    rules: Rules,
    known: RwLock<Known>,
}

/// Size of a [`Replica`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Revoked tokens in the filters, also those that were undone.
    pub tokens: usize,
    /// Other revocations: those that hold, and those that were undone and have not expired.
    pub cutoffs: usize,
    /// Memory of the filters, in bytes.
    pub filter_bytes: usize,
    /// Memory of the cutoffs, in bytes, estimated.
    pub cutoff_bytes: usize,
    /// Tokens in filters that [`Replica::lose`] marked.
    pub lost: usize,
}

/// Longest step back of a clock; one that goes back by more was wrong before. Longer than any leeway, so that a token
/// that expired by one clock is not good by the next.
const STEP: Duration = Duration::from_mins(10);

#[derive(Debug)]
struct Known {
    /// Moment up to which expired entries are forgotten: checks at an earlier one count as at this, unless it is
    /// [`STEP`] earlier.
    floor: Millis,
    tenants: ByName<Cutoffs>,
    tokens: Tokens,
}

// === impl Replica ===

impl Replica {
    /// Replica without any revocation.
    pub fn new(rules: Rules, filters: Filters) -> Self {
        Self::partitioned(rules, filters, 1)
    }

    /// Replica for a store with `partitions`, each of which may lose revocations by itself: see [`Replica::lose`].
    pub fn partitioned(rules: Rules, filters: Filters, partitions: u32) -> Self {
        let tokens = Tokens::new(&rules, &filters, partitions);
        let known = Known { floor: Millis(i64::MIN), tenants: HashMap::default(), tokens };
        Self { rules, known: RwLock::new(known) }
    }

    /// Rules that tokens must keep.
    pub fn rules(&self) -> &Rules {
        &self.rules
    }

    /// Applies an entry of the feed, unless a higher version of its target is held.
    ///
    /// Returns `false` if certainly nothing changed. The replica does not hold the versions of revoked tokens, so that
    /// the result is always `true` for them, until [`Replica::prune`] came past their expiry.
    ///
    /// A filter that is full grows, which takes a millisecond for each 3 MiB.
    pub fn apply(&self, entry: &Entry) -> bool {
        let known = &mut *self.known.write();
        if let Scope::Token(hash) = &entry.target.scope {
            return known.tokens.apply(*hash, &entry.state, entry.version, known.floor);
        }
        let tenant = &*entry.target.tenant;
        if let Some(cutoffs) = known.tenants.get_mut(tenant) {
            return cutoffs.apply(entry);
        }
        // A feed that is read from its beginning has many expired entries.
        let live = entry.state.expires > known.floor;
        if live {
            known.tenants.entry(tenant.into()).or_insert_with(Cutoffs::new).apply(entry);
        }
        live
    }

    /// Judges a token. [`Answer::Suspect`] if only the store can tell: for good tokens at the rate of [`Filters`], and
    /// for revoked ones until they are confirmed.
    ///
    /// `now` is the store's time, as the caller knows it; a moment before that of the last [`Replica::prune`] counts as
    /// that. At most seven look-ups and one SHA-256; nothing is allocated.
    pub fn check(&self, claims: &Claims<'_>, now: Millis) -> Answer {
        self.known.read().check(claims, &self.rules, now)
    }

    /// Judges many tokens as [`Replica::check`] does, from one state of memory, and hands each answer to `sink` in
    /// turn.
    /// `sink` must not call this replica: writes wait until the last token is judged.
    pub fn check_many<'a>(
        &self,
        claims: impl IntoIterator<Item = &'a Claims<'a>>,
        now: Millis,
        mut sink: impl FnMut(Answer),
    ) {
        let known = self.known.read();
        claims.into_iter().for_each(|claims| sink(known.check(claims, &self.rules, now)));
    }

    /// Answer about a token that was [`Answer::Suspect`], and is not revoked by itself: active, unless its key is not
    /// known.
    pub fn cleared(&self, claims: &Claims<'_>, now: Millis) -> Answer {
        let known = self.known.read();
        cleared(known.tenants.get(claims.tenant), claims, now.max(known.floor))
    }

    /// Remembers that the store holds the token's revocation, in this version. Until `expires` the token is revoked in
    /// place of suspect, unless an entry of it with a higher version is applied, or was already. At least the last
    /// 32,768 confirmations are kept, at most 65,536.
    pub fn confirm(&self, token: TokenHash, version: Version, expires: Millis) {
        self.known.write().tokens.confirm(token, version, expires);
    }

    /// Notes that the store lost revocations of a partition, any of those that are held now. Until the tokens have
    /// expired, the store can't tell which of them are revoked. See [`Replica::may_be_lost`].
    pub fn lose(&self, partition: u32) {
        self.known.write().tokens.lose(partition);
    }

    /// Returns whether a suspect token, of which the store knows nothing, must count as revoked: a filter held it when
    /// the store lost revocations of its partition, and no undo of it is known. Good tokens among them are as rare as
    /// [`Filters`] allow.
    ///
    /// The state ends with the token's bucket of filters. A token whose undo was not applied before the loss counts as
    /// revoked; revoking and undoing it once more lets it pass.
    pub fn may_be_lost(&self, claims: &Claims<'_>) -> bool {
        let (Some(hash), Some(expires)) = (claims.token(), claims.expires) else { return false };
        self.known.read().tokens.may_be_lost(hash, expires)
    }

    /// Handover of the tokens of a partition, for replicas that never knew what the store lost of it. `None` if nothing
    /// was lost, by [`Replica::lose`], or all of it has expired. Copies the filters; writes wait meanwhile.
    pub fn hand_over(&self, partition: u32) -> Option<Handover> {
        self.known.read().tokens.hand_over(partition)
    }

    /// Takes over another replica's tokens of a partition, in place of this one's: the feed has to be applied anew.
    /// Returns
    /// `false`, and changes nothing, if the bytes are not of a replica of the same rules and filters.
    pub fn take_over(&self, partition: u32, bytes: &[u8]) -> bool {
        let before = self.known.write().tokens.take_over(partition, bytes);
        // Filters may be large: drop them while nobody waits.
        before.map(drop).is_some()
    }

    /// Returns whether a filter holds the token that `state` is of, or one that looks like it.
    pub fn holds(&self, token: TokenHash, state: &State) -> bool {
        self.known.read().tokens.contains(token, state.token_expires.unwrap_or(state.expires))
    }

    /// Number of tokens of a partition that are held and not undone; too low by at most the rate of [`Filters`]. Linear
    /// in the undone tokens.
    pub fn revoked_tokens(&self, partition: u32) -> usize {
        self.known.read().tokens.revoked(partition)
    }

    /// Forgets entries that no token can need at `now`, a moment that has surely passed (see
    /// [`StoreClock::passed`](crate::StoreClock::passed)): buckets of filters that have ended, leeway included, expired
    /// cutoffs, and tenants without any. Checks at an earlier moment count as at `now` from then on, so that a clock
    /// that went back a little can't bring back a token whose revocation is forgotten. A `now` ten minutes earlier than
    /// the last one shows that the clocks were wrong until then, and takes its place: else good tokens would count as
    /// expired until those clocks' time has come.
    ///
    /// Linear in the cutoffs of the tenants that have one to forget. Reads wait for one tenant at a time.
    pub fn prune(&self, now: Millis) {
        let (filters, due, now) = {
            let known = &mut *self.known.write();
            let corrected = now.plus(STEP) < known.floor;
            known.floor = if corrected { now } else { known.floor.max(now) };
            let due = known.tenants.iter().filter(|(_, cutoffs)| cutoffs.is_due(known.floor));
            let due: Vec<_> = due.map(|(tenant, _)| tenant.clone()).collect();
            (known.tokens.prune(known.floor), due, known.floor)
        };
        // Filters may be large: drop them while nobody waits.
        drop(filters);
        for tenant in due {
            let known = &mut *self.known.write();
            if known.tenants.get_mut(&tenant).is_some_and(|cutoffs| cutoffs.prune(now)) {
                known.tenants.remove(&tenant);
            }
        }
    }

    /// Size of the replica. Linear in the cutoffs.
    pub fn stats(&self) -> Stats {
        let known = self.known.read();
        let mut stats = Stats {
            tokens: known.tokens.len(),
            filter_bytes: known.tokens.bytes(),
            lost: known.tokens.lost(),
            ..Stats::default()
        };
        for (tenant, cutoffs) in &known.tenants {
            let size = cutoffs.size();
            stats.cutoffs += size.count;
            stats.cutoff_bytes += size.bytes + tenant.len() + size_of::<Box<str>>();
        }
        stats
    }

    /// Cutoffs, sessions and keys that hold for longer than until `beyond`: they must be in the feed again before it is
    /// trimmed of older entries. Undone ones need not be, nor need tokens, which never outlive the feed. In no order;
    /// linear in the cutoffs.
    pub fn persistent(&self, beyond: Millis) -> Vec<Entry> {
        let known = self.known.read();
        let mut entries = Vec::new();
        known.tenants.iter().for_each(|(tenant, cutoffs)| cutoffs.persistent(tenant, beyond, &mut entries));
        entries
    }
}

// === impl Known ===

impl Known {
    fn check(&self, claims: &Claims<'_>, rules: &Rules, now: Millis) -> Answer {
        let now = now.max(self.floor);
        if let Some(rule) = rules.broken_by(claims, now) {
            return Answer::Revoked { rule, revocation: None };
        }
        let cutoffs = self.tenants.get(claims.tenant);
        if let Some(answer) = cutoffs.and_then(|cutoffs| cutoffs.revokes(claims, rules, now)) {
            return answer;
        }
        // Hashing is what costs most.
        let hash = if self.tokens.is_empty() { None } else { claims.token() };
        let (Some(hash), Some(expires)) = (hash, claims.expires) else {
            return cleared(cutoffs, claims, now);
        };
        if !self.tokens.holds(hash, expires) {
            cleared(cutoffs, claims, now)
        } else if self.tokens.is_confirmed(hash, now) {
            Answer::revoked(Rule::Token, RevocationId::from(hash))
        } else {
            Answer::Suspect(hash)
        }
    }
}

/// Answer about a token that nothing else is known against.
fn cleared(cutoffs: Option<&Cutoffs>, claims: &Claims<'_>, now: Millis) -> Answer {
    let hidden = cutoffs.is_some_and(|cutoffs| cutoffs.may_hide_key(claims, now));
    if hidden { Answer::KeyUnknown } else { Answer::Active }
}

#[cfg(test)]
mod loss_tests;
#[cfg(test)]
mod tests;
