//! Model: all events, in order, and nothing else. A token is judged by going through them.

use std::collections::BTreeMap;

use keyplane_revocation::{Claims, Millis, Rule, Rules};

use super::service::{Kind, Revoke};

/// Token of the game.
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub(crate) tenant: &'static str,
    pub(crate) issuer: &'static str,
    pub(crate) jti: String,
    pub(crate) sid: &'static str,
    pub(crate) subject: &'static str,
    pub(crate) client: &'static str,
    pub(crate) kid: &'static str,
    pub(crate) iat: Option<i64>,
    pub(crate) auth_time: Option<i64>,
    pub(crate) exp: Option<i64>,
}

/// Right verdict.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Verdict {
    Active,
    Revoked(Rule, Option<String>),
    KeyUnknown,
}

/// Events of each target, in order.
pub(crate) struct History {
    rules: Rules,
    happened: BTreeMap<(&'static str, Kind), Vec<Event>>,
}

enum Event {
    /// Revocation of everything up to `at`, but for the sessions; of all, without a moment. Forgotten at `until`.
    Revoked {
        time: i64,
        at: Option<i64>,
        kept: Vec<&'static str>,
        until: i64,
    },
    Undone,
}

impl Token {
    pub(crate) fn claims(&self) -> Claims<'_> {
        Claims {
            tenant: self.tenant,
            issuer: self.issuer,
            jti: &self.jti,
            sid: self.sid,
            subject: self.subject,
            client: self.client,
            kid: self.kid,
            issued_at: self.iat.map(Millis),
            auth_time: self.auth_time.map(Millis),
            expires: self.exp.map(Millis),
        }
    }

    /// Kinds of revocations that cover it, in the order of the rules.
    fn kinds(&self) -> [(Kind, Rule, bool); 7] {
        let named = |name: &str| !name.is_empty();
        [
            (Kind::Tenant, Rule::Tenant, true),
            (Kind::Key(self.issuer, self.kid), Rule::Key, named(self.issuer) && named(self.kid)),
            (Kind::Client(self.client), Rule::Client, named(self.client)),
            (Kind::Subject(self.subject), Rule::Subject, named(self.subject)),
            (Kind::Login(self.subject), Rule::Subject, named(self.subject)),
            (Kind::Session(self.sid), Rule::Session, named(self.sid)),
            (Kind::Token(self.issuer, self.jti.clone()), Rule::Token, named(self.issuer) && named(&self.jti)),
        ]
    }
}

impl History {
    pub(crate) fn new(rules: Rules) -> Self {
        Self { rules, happened: BTreeMap::new() }
    }

    pub(crate) fn revoke(&mut self, revoke: &Revoke, tokens: &[Token], now: i64) {
        let (tenant, kind) = revoke.target(tokens);
        let events = self.happened.entry((tenant, kind)).or_default();
        let (longest, at) = (longest(&self.rules), revoke.cutoff(tokens, now));
        let until = match revoke.target(tokens).1 {
            Kind::Token(..) => match revoke.exp(tokens) {
                Some(exp) => exp + self.rules.leeway.as_millis() as i64,
                None => now + longest,
            },
            Kind::Session(_) | Kind::Key(..) => now + revoke.holds_for,
            Kind::Subject(_) | Kind::Login(_) | Kind::Client(_) | Kind::Tenant => at.unwrap_or(now) + longest,
        };
        let kept = if at.is_some() { revoke.kept.clone() } else { Vec::new() };
        events.push(Event::Revoked { time: now, at, kept, until });
    }

    pub(crate) fn undo(&mut self, revoke: &Revoke, tokens: &[Token]) {
        self.happened.entry(revoke.target(tokens)).or_default().push(Event::Undone);
    }

    pub(crate) fn verdict(&self, token: &Token, now: i64) -> Verdict {
        let (leeway, skew) = (self.rules.leeway.as_millis() as i64, self.rules.issuer_skew.as_millis() as i64);
        let life = self.rules.max_lifetime.as_millis() as i64;
        let Some(exp) = token.exp else {
            return Verdict::Revoked(Rule::NoExpiry, None);
        };
        if now - exp >= leeway {
            return Verdict::Revoked(Rule::Expired, None);
        }
        if exp - now > life + leeway || token.iat.is_some_and(|iat| exp - iat > life) {
            return Verdict::Revoked(Rule::LifetimeTooLong, None);
        }
        if token.iat.is_some_and(|iat| iat - now > leeway + skew) {
            return Verdict::Revoked(Rule::IssuedInFuture, None);
        }
        for (kind, rule, named) in token.kinds() {
            let time = if matches!(kind, Kind::Login(_)) { token.auth_time } else { token.iat };
            let id = kind.id(token.tenant);
            let events = self.happened.get(&(token.tenant, kind));
            if named && events.is_some_and(|events| revoked(events, token, time, skew, now)) {
                return Verdict::Revoked(rule, Some(id.to_string()));
            }
        }
        let hidden = token.kid.is_empty()
            && self.happened.iter().any(|((tenant, kind), events)| {
                matches!(kind, Kind::Key(issuer, _) if *tenant == token.tenant && *issuer == token.issuer)
                    && revoked(events, token, None, skew, now)
            });
        if hidden { Verdict::KeyUnknown } else { Verdict::Active }
    }
}

/// Goes through the events of one target.
fn revoked(events: &[Event], token: &Token, time: Option<i64>, skew: i64, now: i64) -> bool {
    // Revocations that hold together, and their end.
    let mut together: Vec<(Option<i64>, &[&str])> = Vec::new();
    let mut end = i64::MIN;
    let mut undone = false;
    for event in events {
        match event {
            Event::Undone => undone = true,
            Event::Revoked { time, at, kept, until } => {
                if undone || end <= *time {
                    together.clear();
                }
                undone = false;
                end = end.max(*until);
                // An earlier cutoff than the current one changes nothing.
                let latest = together.iter().map(|(at, _)| *at).max();
                if latest.is_none_or(|latest| latest < *at || at.is_none()) {
                    together.push((*at, kept));
                }
            }
        }
    }
    let covers = |at: Option<i64>| match (at, time) {
        (Some(at), Some(time)) => time <= at + skew,
        (None, _) | (_, None) => true,
    };
    let by_any = together.iter().any(|(at, kept)| covers(*at) && (token.sid.is_empty() || !kept.contains(&token.sid)));
    !undone && end > now && by_any
}

/// Longest time for which a token issued by now can be good, by clocks that may be ahead.
pub(crate) fn longest(rules: &Rules) -> i64 {
    (rules.max_lifetime + rules.leeway + rules.leeway + rules.issuer_skew).as_millis() as i64
}
