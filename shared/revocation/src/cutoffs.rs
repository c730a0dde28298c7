//! Revocations of a tenant that are held in full: cutoffs, sessions and keys.

use std::collections::HashMap;
use std::collections::hash_map::Entry as Slot;

use foldhash::quality::RandomState;

use crate::claims::Claims;
use crate::rules::{Answer, Rule, Rules};
use crate::state::{Entry, Kept, State};
use crate::target::{CutoffBy, RevocationId, Scope, Target};
use crate::time::{Millis, Version};

/// Map by name, with a fast hash and a random seed: names come from callers who may revoke.
pub(crate) type ByName<T> = HashMap<Box<str>, T, RandomState>;

/// Revocations of a tenant, but those of single tokens: held in full, and looked up by the text of a claim.
#[derive(Debug)]
pub(crate) struct Cutoffs {
    whole: Option<Held>,
    /// Keys by issuer, then kid.
    keys: ByName<ByName<Held>>,
    clients: ByName<Held>,
    /// Subjects with a cutoff of `iat`.
    subjects: ByName<Held>,
    /// Subjects with a cutoff of `auth_time`.
    logins: ByName<Held>,
    sessions: ByName<Held>,
    /// Moment before which nothing expires.
    soonest: Millis,
}

/// State of one of them, which is no token's, and its version.
#[derive(Debug)]
struct Held {
    version: Version,
    expires: Millis,
    cutoff: Option<Millis>,
    kept: Box<[Kept]>,
    undone: bool,
}

/// Size of the cutoffs.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Size {
    pub(crate) count: usize,
    pub(crate) bytes: usize,
}

// === impl Cutoffs ===

impl Cutoffs {
    pub(crate) fn new() -> Self {
        Self {
            whole: None,
            keys: HashMap::default(),
            clients: HashMap::default(),
            subjects: HashMap::default(),
            logins: HashMap::default(),
            sessions: HashMap::default(),
            soonest: Millis(i64::MAX),
        }
    }

    /// Applies an entry of this tenant, unless a higher version is held, or it is a token's.
    pub(crate) fn apply(&mut self, entry: &Entry) -> bool {
        self.soonest = self.soonest.min(entry.state.expires);
        match &entry.target.scope {
            Scope::Token(_) => false,
            Scope::Session(sid) => put(&mut self.sessions, sid, entry),
            Scope::Subject { user, by: CutoffBy::IssuedAt } => put(&mut self.subjects, user, entry),
            Scope::Subject { user, by: CutoffBy::AuthTime } => put(&mut self.logins, user, entry),
            Scope::Client(client) => put(&mut self.clients, client, entry),
            Scope::Key { issuer, kid } => put(self.keys.entry(issuer.clone()).or_default(), kid, entry),
            Scope::Tenant => match &mut self.whole {
                Some(held) => held.update(entry),
                None => {
                    self.whole = Some(Held::new(entry));
                    true
                }
            },
        }
    }

    /// First rule by which a token of this tenant is revoked. No allocation.
    pub(crate) fn revokes(&self, claims: &Claims<'_>, rules: &Rules, now: Millis) -> Option<Answer> {
        let tenant = claims.tenant;
        let cuts = |held: &Held, time| held.holds(now) && rules.cuts(held.cutoff, &held.kept, time, claims);
        let issued = claims.issued_at;
        let answer = |rule, letter, parts: &[&str]| Some(Answer::revoked(rule, RevocationId::named(letter, parts)));
        if self.whole.as_ref().is_some_and(|held| cuts(held, issued)) {
            return answer(Rule::Tenant, 'n', &[tenant]);
        }
        if claims.names_key() && self.key(claims).is_some_and(|held| held.holds(now)) {
            return answer(Rule::Key, 'k', &[tenant, claims.issuer, claims.kid]);
        }
        if get(&self.clients, claims.client).is_some_and(|held| cuts(held, issued)) {
            return answer(Rule::Client, 'c', &[tenant, claims.client]);
        }
        if get(&self.subjects, claims.subject).is_some_and(|held| cuts(held, issued)) {
            return answer(Rule::Subject, 'i', &[tenant, claims.subject]);
        }
        if get(&self.logins, claims.subject).is_some_and(|held| cuts(held, claims.auth_time)) {
            return answer(Rule::Subject, 'a', &[tenant, claims.subject]);
        }
        if get(&self.sessions, claims.sid).is_some_and(|held| held.holds(now)) {
            return answer(Rule::Session, 's', &[tenant, claims.sid]);
        }
        None
    }

    /// Returns whether a key of the token's issuer is revoked, and the token does not name the key that signed it.
    /// Linear in the revoked keys of the issuer.
    pub(crate) fn may_hide_key(&self, claims: &Claims<'_>, now: Millis) -> bool {
        let revoked = |kids: &ByName<Held>| kids.values().any(|held| held.holds(now));
        claims.hides_key() && get(&self.keys, claims.issuer).is_some_and(revoked)
    }

    fn key(&self, claims: &Claims<'_>) -> Option<&Held> {
        get(get(&self.keys, claims.issuer)?, claims.kid)
    }

    /// Returns whether something can be forgotten.
    pub(crate) fn is_due(&self, now: Millis) -> bool {
        self.soonest <= now
    }

    /// Forgets expired entries; returns whether none is left.
    pub(crate) fn prune(&mut self, now: Millis) -> bool {
        let mut soonest = Millis(i64::MAX);
        let mut keep = |held: &Held| {
            let keep = held.expires > now;
            if keep {
                soonest = soonest.min(held.expires);
            }
            keep
        };
        self.whole.take_if(|held| !keep(held));
        self.keys.retain(|_, kids| {
            kids.retain(|_, held| keep(held));
            !kids.is_empty()
        });
        for held in [&mut self.clients, &mut self.subjects, &mut self.logins, &mut self.sessions] {
            held.retain(|_, held| keep(held));
            // Memory is given back after many have expired, but not each time.
            if held.capacity() / 4 > held.len() {
                held.shrink_to(held.len() * 2);
            }
        }
        self.soonest = soonest;
        self.is_empty()
    }

    fn is_empty(&self) -> bool {
        let named = [&self.clients, &self.subjects, &self.logins, &self.sessions];
        self.whole.is_none() && self.keys.is_empty() && named.iter().all(|held| held.is_empty())
    }

    /// Collects entries that hold for longer than until `beyond`.
    pub(crate) fn persistent(&self, tenant: &str, beyond: Millis, entries: &mut Vec<Entry>) {
        let mut add = |held: &Held, scope: &dyn Fn() -> Scope| {
            if held.holds(beyond) {
                entries.push(held.entry(Target { tenant: tenant.into(), scope: scope() }));
            }
        };
        if let Some(held) = &self.whole {
            add(held, &|| Scope::Tenant);
        }
        for (issuer, kids) in &self.keys {
            for (kid, held) in kids {
                add(held, &|| Scope::Key { issuer: issuer.clone(), kid: kid.clone() });
            }
        }
        self.clients.iter().for_each(|(client, held)| add(held, &|| Scope::Client(client.clone())));
        for (by, users) in [(CutoffBy::IssuedAt, &self.subjects), (CutoffBy::AuthTime, &self.logins)] {
            users.iter().for_each(|(user, held)| add(held, &|| Scope::Subject { user: user.clone(), by }));
        }
        self.sessions.iter().for_each(|(sid, held)| add(held, &|| Scope::Session(sid.clone())));
    }

    /// Number of entries, and about how much memory they take.
    pub(crate) fn size(&self) -> Size {
        let mut size = Size { count: usize::from(self.whole.is_some()), bytes: size_of::<Self>() };
        let kids = self.keys.iter().map(|(issuer, kids)| {
            size.bytes += issuer.len() + size_of::<(Box<str>, ByName<Held>)>();
            kids
        });
        let kids: Vec<_> = kids.collect();
        for held in [&self.clients, &self.subjects, &self.logins, &self.sessions].into_iter().chain(kids) {
            size.count += held.len();
            // Each slot has a control byte besides.
            size.bytes += held.capacity() * (size_of::<(Box<str>, Held)>() + 1);
            size.bytes += held.iter().map(|(name, held)| name.len() + held.kept_bytes()).sum::<usize>();
        }
        size
    }
}

/// Looks up a claim. Skips empty maps and missing claims: hashing costs most.
fn get<'a, T>(map: &'a ByName<T>, name: &str) -> Option<&'a T> {
    if map.is_empty() || name.is_empty() { None } else { map.get(name) }
}

/// Stores the state of `name`, unless a higher version is held.
fn put(map: &mut ByName<Held>, name: &str, entry: &Entry) -> bool {
    match map.entry(name.into()) {
        Slot::Occupied(mut slot) => slot.get_mut().update(entry),
        Slot::Vacant(slot) => {
            slot.insert(Held::new(entry));
            true
        }
    }
}

// === impl Held ===

impl Held {
    fn new(entry: &Entry) -> Self {
        let State { undone, expires, cutoff, token_expires: _, kept } = &entry.state;
        Self {
            version: entry.version,
            expires: *expires,
            cutoff: *cutoff,
            kept: kept.as_slice().into(),
            undone: *undone,
        }
    }

    fn update(&mut self, entry: &Entry) -> bool {
        let newer = entry.version > self.version;
        if newer {
            *self = Self::new(entry);
        }
        newer
    }

    fn holds(&self, now: Millis) -> bool {
        !self.undone && self.expires > now
    }

    fn entry(&self, target: Target) -> Entry {
        let state = State {
            undone: self.undone,
            expires: self.expires,
            cutoff: self.cutoff,
            token_expires: None,
            kept: self.kept.to_vec(),
        };
        Entry { target, state, version: self.version }
    }

    fn kept_bytes(&self) -> usize {
        self.kept.iter().map(|kept| size_of::<Kept>() + kept.sid.len()).sum()
    }
}
