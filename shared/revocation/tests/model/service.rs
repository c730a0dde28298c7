//! Service as the replica sees it: one state for each target, merged, with numbered entries.

use std::collections::BTreeMap;

use keyplane_revocation::{
    CutoffBy, Entry, Kept, Millis, RevocationId, Rules, Scope, State, Target, TokenHash, Version,
};
use proptest::prelude::*;

use super::exact::{Token, longest};

/// Start of the game.
const BEGIN: i64 = 1_800_000_000_000;
const MINUTE: i64 = 60_000;
const SIDS: [&str; 4] = ["", "s-1", "s-2", "s=3,;"];

/// Kind of a revocation, within a tenant.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Tenant,
    Key(&'static str, &'static str),
    Client(&'static str),
    Subject(&'static str),
    Login(&'static str),
    Session(&'static str),
    Token(&'static str, String),
}

/// Revocation of a target that a token of the game has.
#[derive(Clone, Debug)]
pub(crate) struct Revoke {
    token: usize,
    kind: u8,
    back: i64,
    /// Time after the token was issued, or its user logged in; in place of `back`.
    after: Option<i64>,
    pub(crate) holds_for: i64,
    knows_exp: bool,
    pub(crate) kept: Vec<&'static str>,
}

/// Event of the game.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    Advance(i64),
    Revoke(Revoke),
    Undo(Revoke),
    Deliver(usize),
    LateAnswer(usize),
    Prune(i64),
    Check { skew: i64, order: usize, remember: bool },
}

/// Model of the service.
pub(crate) struct Service {
    pub(crate) now: i64,
    rules: Rules,
    version: u64,
    records: BTreeMap<Target, (State, Version)>,
}

pub(crate) fn tokens() -> impl Strategy<Value = Vec<Token>> {
    let iat = prop_oneof![
        8 => (-40 * MINUTE..5 * MINUTE).prop_map(Some),
        // Whole seconds, as most issuers have them.
        4 => (-40 * 60i64..5 * 60).prop_map(|seconds| Some(seconds * 1000)),
        1 => Just(None),
    ];
    let auth_time = prop_oneof![4 => (-90 * MINUTE..5 * MINUTE).prop_map(Some), 1 => Just(None)];
    let life = prop_oneof![8 => 1_000i64..60 * MINUTE, 1 => Just(60 * MINUTE), 1 => Just(60 * MINUTE + 1)];
    let names = (0..2usize, 0..2usize, 0..4usize, 0..3usize, 0..3usize, 0..3usize);
    let token = (names, iat, auth_time, life, 0..20u8).prop_map(|(names, iat, auth_time, life, exp)| Token {
        tenant: ["acme", "globex"][names.0],
        issuer: ["https://idp", "https://other"][names.1],
        jti: String::new(),
        sid: SIDS[names.2],
        subject: ["u-1", "u-2", ""][names.3],
        client: ["web", "app", ""][names.4],
        kid: ["k-1", "k-2", ""][names.5],
        iat: iat.map(|iat| BEGIN + iat),
        auth_time: auth_time.map(|time| BEGIN + time),
        exp: (exp > 0).then(|| BEGIN + iat.unwrap_or_default() + life),
    });
    proptest::collection::vec(token, 4..12).prop_map(|mut tokens| {
        for (index, token) in tokens.iter_mut().enumerate() {
            // The last but one has none.
            if index != 2 {
                token.jti = format!("j-{}", index / 2);
            }
        }
        // An issuer gives a jti once.
        let mut seen = std::collections::BTreeSet::new();
        tokens.retain(|token| token.jti.is_empty() || seen.insert((token.tenant, token.issuer, token.jti.clone())));
        tokens
    })
}

pub(crate) fn steps() -> impl Strategy<Value = Vec<Step>> {
    let revoke = || {
        let back = prop_oneof![3 => Just(0), 2 => 0..2_000i64, 2 => 0..30 * MINUTE];
        let kept = proptest::sample::subsequence(SIDS[1..].to_vec(), 0..3);
        let back = (back, proptest::option::of(-1..=1i64));
        (any::<usize>(), 0..12u8, back, 1..90 * MINUTE, any::<bool>(), kept).prop_map(
            |(token, kind, (back, after), holds_for, knows_exp, kept)| Revoke {
                token,
                kind,
                back,
                after,
                holds_for,
                knows_exp,
                kept,
            },
        )
    };
    let advance = prop_oneof![4 => 0..3i64, 3 => 0..2_000i64, 2 => 0..10 * MINUTE, 1 => 0..60 * MINUTE];
    let skew = || prop_oneof![3 => Just(0), 1 => -2_000..2_000i64];
    let step = prop_oneof![
        4 => advance.prop_map(Step::Advance),
        4 => revoke().prop_map(Step::Revoke),
        2 => revoke().prop_map(Step::Undo),
        4 => any::<usize>().prop_map(Step::Deliver),
        1 => any::<usize>().prop_map(Step::LateAnswer),
        1 => skew().prop_map(Step::Prune),
        4 => (skew(), any::<usize>(), any::<bool>())
            .prop_map(|(skew, order, remember)| Step::Check { skew, order, remember }),
    ];
    proptest::collection::vec(step, 1..60)
}

impl Kind {
    fn scope(&self, tenant: &str) -> Scope {
        match self {
            Self::Tenant => Scope::Tenant,
            Self::Key(issuer, kid) => Scope::Key { issuer: (*issuer).into(), kid: (*kid).into() },
            Self::Client(client) => Scope::Client((*client).into()),
            Self::Subject(user) => Scope::Subject { user: (*user).into(), by: CutoffBy::IssuedAt },
            Self::Login(user) => Scope::Subject { user: (*user).into(), by: CutoffBy::AuthTime },
            Self::Session(sid) => Scope::Session((*sid).into()),
            Self::Token(issuer, jti) => Scope::Token(TokenHash::digest(tenant, issuer, jti)),
        }
    }

    pub(crate) fn id(&self, tenant: &str) -> RevocationId {
        Target { tenant: tenant.into(), scope: self.scope(tenant) }.id()
    }
}

impl Revoke {
    fn token<'a>(&self, tokens: &'a [Token]) -> &'a Token {
        &tokens[self.token % tokens.len()]
    }

    /// Tenant, and the kind of target; the tenant itself where the token lacks the claim.
    pub(crate) fn target(&self, tokens: &[Token]) -> (&'static str, Kind) {
        let token = self.token(tokens);
        let kind = match self.kind {
            // Also of a token that hides its key: one of its issuer.
            1 | 10.. => Kind::Key(token.issuer, if token.kid.is_empty() { "k-1" } else { token.kid }),
            2 if !token.client.is_empty() => Kind::Client(token.client),
            3 if !token.subject.is_empty() => Kind::Subject(token.subject),
            4 if !token.subject.is_empty() => Kind::Login(token.subject),
            5 if !token.sid.is_empty() => Kind::Session(token.sid),
            6.. if !token.jti.is_empty() => Kind::Token(token.issuer, token.jti.clone()),
            _ => Kind::Tenant,
        };
        (token.tenant, kind)
    }

    /// Cutoff, where there is one.
    pub(crate) fn cutoff(&self, tokens: &[Token], now: i64) -> Option<i64> {
        let token = self.token(tokens);
        let time = match self.target(tokens).1 {
            Kind::Login(_) => token.auth_time,
            Kind::Tenant | Kind::Client(_) | Kind::Subject(_) => token.iat,
            Kind::Key(..) | Kind::Session(_) | Kind::Token(..) => return None,
        };
        // To the millisecond, where rules are easily wrong; but never in the future.
        let after = time.zip(self.after).map(|(time, after)| time + after).filter(|cutoff| *cutoff <= now);
        Some(after.unwrap_or(now - self.back))
    }

    /// Expiry of the token, if the revoker knows it.
    pub(crate) fn exp(&self, tokens: &[Token]) -> Option<i64> {
        self.token(tokens).exp.filter(|_| self.knows_exp)
    }
}

impl Service {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { now: BEGIN, rules, version: 0, records: BTreeMap::new() }
    }

    pub(crate) fn revoke(&mut self, revoke: &Revoke, tokens: &[Token]) -> Entry {
        let (tenant, kind) = revoke.target(tokens);
        let target = Target { tenant: tenant.into(), scope: kind.scope(tenant) };
        let exp = revoke.exp(tokens).filter(|_| matches!(kind, Kind::Token(..)));
        let cutoff = revoke.cutoff(tokens, self.now).map(Millis);
        let expires = match (&target.scope, cutoff) {
            (_, Some(cutoff)) => cutoff.plus(self.rules.memory()),
            (Scope::Token(_), None) => Millis(exp.map_or_else(|| self.now + longest(&self.rules), |exp| exp + MINUTE)),
            (_, None) => Millis(self.now + revoke.holds_for),
        };
        let old = self.records.get(&target).map(|(state, _)| state.clone());
        // Only ever extended, also over one that was undone: else an older entry could outlive a newer one.
        let expires = old.as_ref().map_or(expires, |old| old.expires.max(expires));
        let live = old.filter(|old| old.holds(Millis(self.now)));
        let (cutoff, kept) = match (&live, cutoff) {
            // An earlier cutoff changes nothing.
            (Some(old), Some(cutoff)) if old.cutoff >= Some(cutoff) => (old.cutoff, old.kept.clone()),
            (_, None) => (None, Vec::new()),
            (_, Some(cutoff)) => (Some(cutoff), revoke.kept.iter().map(|sid| keep(sid, live.as_ref())).collect()),
        };
        let state = State { undone: false, expires, cutoff, token_expires: exp.map(Millis), kept };
        self.put(target, state)
    }

    pub(crate) fn undo(&mut self, revoke: &Revoke, tokens: &[Token]) -> Option<Entry> {
        let (tenant, kind) = revoke.target(tokens);
        let target = Target { tenant: tenant.into(), scope: kind.scope(tenant) };
        let (state, _) = self.records.get(&target)?;
        let state = State { undone: true, ..state.clone() };
        Some(self.put(target, state))
    }

    /// States that the store holds.
    pub(crate) fn known(&self) -> Vec<(Target, State)> {
        self.records.iter().map(|(target, (state, _))| (target.clone(), state.clone())).collect()
    }

    /// Answer of the store about a suspect.
    pub(crate) fn revoked_token(
        &self,
        token: &Token,
        hash: TokenHash,
        now: i64,
    ) -> Option<(RevocationId, Version, Millis)> {
        let target = Target { tenant: token.tenant.into(), scope: Scope::Token(hash) };
        let (state, version) = self.records.get(&target)?;
        state.holds(Millis(now)).then(|| (target.id(), *version, state.expires))
    }

    fn put(&mut self, target: Target, state: State) -> Entry {
        self.version += 1;
        let version = Version(self.version);
        self.records.insert(target.clone(), (state.clone(), version));
        Entry { target, state, version }
    }
}

/// Session that a new cutoff leaves alone: the cutoff before it still holds for it, or the one that held for it
/// already.
fn keep(sid: &str, old: Option<&State>) -> Kept {
    let known = old.and_then(|old| old.kept.iter().find(|kept| &*kept.sid == sid));
    let cutoff = match known {
        Some(kept) => kept.cutoff,
        None => old.and_then(|old| old.cutoff),
    };
    Kept { sid: sid.into(), cutoff }
}
