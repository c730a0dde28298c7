//! The sessions in Valkey: one script a call, one round trip.

mod codec;
mod keys;
mod scripts;
mod watch;

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_contracts::names::{SessionId, SessionName, UserName};
use keyplane_valkey::{Arg, Doorbells, Feature, Key, Need, Script, Ttl, Valkey, Value};

use crate::domain::{Limits, Micros, NewSession, Overflow, Page, PageToken, Patch, Policy, Request, Session};
use crate::error::Error;
use keys::UserKeys;

pub use watch::{Scope, Watcher};

/// The version of the layout that `scripts/common.lua` describes.
const LAYOUT: u32 = 1;

/// How much is kept besides the sessions.
#[derive(Clone, Debug)]
pub struct Retention {
    /// Events of one user.
    pub events: u32,
    /// How long they are kept after the last one.
    pub event_age: Duration,
    /// How long a request id is remembered.
    pub request_age: Duration,
}

/// The sessions. Cheap to clone.
#[derive(Clone)]
pub struct Store {
    valkey: Valkey,
    bells: Doorbells,
    retention: Retention,
}

/// When a session ends after a touch, and its version.
#[derive(Clone, Copy, Debug)]
pub struct Touched {
    /// When it ends if nothing prolongs it.
    pub expires: Micros,
    /// Its version.
    pub version: i32,
}

// === impl Store ===

impl Store {
    /// The sessions in `valkey`.
    #[must_use]
    pub fn new(valkey: Valkey, retention: Retention) -> Store {
        Store { bells: valkey.doorbells(Feature::SESSION), valkey, retention }
    }

    /// Asks the engine for what the scripts need, and holds the stored layout against this program's.
    ///
    /// # Errors
    ///
    /// What is missing, or which layout was found.
    pub async fn check(&self) -> Result<(), keyplane_valkey::Error> {
        self.valkey.probe(&[Need::Scripts, Need::Streams, Need::Pubsub]).await?;
        self.valkey.check_layout(Feature::SESSION, LAYOUT).await
    }

    /// Makes a session; with a request id, once. O(log n + content) in the user's sessions.
    ///
    /// Dropped before it is done, the session may exist or not; a retry with the same request id finds out.
    ///
    /// # Errors
    ///
    /// [`Error::TooManySessions`], [`Error::RequestIdReused`], [`Error::NotFound`] if what the request id made has
    /// ended, or the store's.
    pub async fn create(
        &self,
        user: &UserName,
        id: SessionId,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<Session, Error> {
        let absolute = Ttl::new(Feature::SESSION, new.absolute_timeout.unwrap_or(policy.absolute))?;
        let idle = new.idle_timeout.unwrap_or(policy.idle).min(absolute.as_duration());
        let keys = self.keys(user);
        let (sets, _) = codec::writes(&new.fields, &[]);
        let bytes: usize = sets.iter().map(|(field, value)| field.len() + value.len()).sum();
        if bytes > Limits::BYTES {
            return Err(over("session", "bytes", Limits::BYTES, bytes));
        }
        let (fingerprint, request_key) = request_parts(&keys, new.request.as_ref());
        let request_ttl = Ttl::new(Feature::SESSION, self.retention.request_age)?;
        let mut args = self.args(
            &keys,
            [
                id.as_str().into(),
                fingerprint.into(),
                request_ttl.as_millis().into(),
                millis(idle),
                absolute.as_millis().into(),
                i64::from(policy.max_sessions).into(),
                match policy.overflow {
                    Overflow::EvictOldest => "evict".into(),
                    Overflow::Reject => "reject".into(),
                },
            ],
        );
        codec::push_pairs(&mut args, &sets);
        let key = keys.session(&id);
        let request_key = request_key.as_ref().unwrap_or(&keys.index);
        let reply = self.run(&scripts::CREATE, &keys, &[&key, request_key], &args).await?;
        match reply.status.as_str() {
            "FULL" => Err(Error::TooManySessions { limit: policy.max_sessions }),
            "EXPIRED" => Err(codec::expired(&new.fields.tokens, reply.only()?.text()?)),
            _ => reply.made(user),
        }
    }

    /// Reads a session: one plain HGETALL, since the hash's own TTL is the truth about its life.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or the store's.
    pub async fn get(&self, name: &SessionName) -> Result<Session, Error> {
        let key = keys::session(self.valkey.app(), &name.user, &name.session);
        let pairs = self.valkey.hgetall(&key).await?;
        if pairs.is_empty() {
            return Err(Error::NotFound);
        }
        codec::session(name.clone(), pairs)
    }

    /// A page of a user's live sessions, newest first. O(n log n) in the user's sessions, at most 100.
    ///
    /// # Errors
    ///
    /// The store's.
    pub async fn list(&self, user: &UserName, size: u32, after: Option<&PageToken>) -> Result<Page, Error> {
        let keys = self.keys(user);
        let (created, id) = match after {
            Some(token) => (token.created.0.to_string(), token.session.as_str()),
            None => (String::new(), ""),
        };
        let args = self.args(&keys, [i64::from(size).into(), (&created).into(), id.into()]);
        let reply = self.run(&scripts::LIST, &keys, &[], &args).await?;
        let mut rest = reply.rest.into_iter();
        let more = rest.next().ok_or(Error::Corrupt("a page without its flag"))?.int()? == 1;
        let sessions = rest.map(|row| codec::session_row(user, row)).collect::<Result<Vec<_>, _>>()?;
        let last = sessions.last().filter(|_| more);
        let next = last.map(|s| PageToken { created: s.created, session: s.name.session.clone() });
        Ok(Page { sessions, next })
    }

    /// Merges a patch into a live session and prolongs it. O(content).
    ///
    /// Dropped before it is done, the patch may have been merged or not; merging it again is harmless.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::StaleWrite`], [`Error::Invalid`] if the merged session would break a bound, or has
    /// other timeouts (nothing is written then), or the store's.
    pub async fn patch(&self, name: &SessionName, patch: &Patch) -> Result<Session, Error> {
        let keys = self.keys(&name.user);
        let (sets, dels) = codec::writes(&patch.fields, &patch.removed_attributes);
        let any = || Arg::from("");
        let mut args = self.args(
            &keys,
            [
                name.session.as_str().into(),
                i64::from(patch.version.unwrap_or(0)).into(),
                patch.timeouts.idle.map_or_else(any, millis),
                patch.timeouts.absolute.map_or_else(any, millis),
                count(Limits::BYTES),
                count(Limits::ATTRIBUTES),
                count(Limits::TOKENS),
                count(sets.len()),
            ],
        );
        codec::push_pairs(&mut args, &sets);
        args.extend(dels.iter().map(Arg::from));
        let key = keys.session(&name.session);
        let reply = self.run(&scripts::PATCH, &keys, &[&key], &args).await?;
        match reply.status.as_str() {
            "VERSION" => Err(Error::StaleWrite { current: reply.only()?.int()? }),
            "IDLE" => Err(fixed("session.idle_timeout", reply.only()?.int()?)),
            "ABSOLUTE" => Err(fixed("session.absolute_timeout", reply.only()?.int()?)),
            "BYTES" => Err(over("session", "bytes", Limits::BYTES, reply.only()?.int()?)),
            "ATTRIBUTES" => Err(over("session.attributes", "attributes", Limits::ATTRIBUTES, reply.only()?.int()?)),
            "EXPIRED" => Err(codec::expired(&patch.fields.tokens, reply.only()?.text()?)),
            "TOKENS" => Err(over("session.tokens", "unexpired tokens", Limits::TOKENS, reply.only()?.int()?)),
            _ => codec::session_reply(name.clone(), reply.only()?),
        }
    }

    /// Prolongs a live session. O(log n) in the user's sessions.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], or the store's.
    pub async fn touch(&self, name: &SessionName) -> Result<Touched, Error> {
        let keys = self.keys(&name.user);
        let args = self.args(&keys, [name.session.as_str().into()]);
        let key = keys.session(&name.session);
        let reply = self.run(&scripts::TOUCH, &keys, &[&key], &args).await?;
        let [expires, version] = codec::exactly(Value::Array(reply.rest))?;
        let version = i32::try_from(version.int()?).map_err(|_| Error::Corrupt("a version out of range"))?;
        Ok(Touched { expires: Micros(expires.int()?.saturating_mul(1000)), version })
    }

    /// Moves a live session to the id `new`; with a request id, once.
    ///
    /// Dropped before it is done, either id may be the live one; a retry with the same request id finds out.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::RequestIdReused`], or the store's.
    pub async fn rotate(
        &self,
        name: &SessionName,
        new: SessionId,
        request: Option<&Request>,
    ) -> Result<Session, Error> {
        let keys = self.keys(&name.user);
        let (fingerprint, request_key) = request_parts(&keys, request);
        let request_ttl = Ttl::new(Feature::SESSION, self.retention.request_age)?;
        let args = self.args(
            &keys,
            [name.session.as_str().into(), new.as_str().into(), fingerprint.into(), request_ttl.as_millis().into()],
        );
        let (old_key, new_key) = (keys.session(&name.session), keys.session(&new));
        let request_key = request_key.as_ref().unwrap_or(&keys.index);
        let reply = self.run(&scripts::ROTATE, &keys, &[&old_key, &new_key, request_key], &args).await?;
        reply.made(&name.user)
    }

    /// Ends a session; with a `version`, only if that is the current one.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::StaleWrite`], or the store's.
    pub async fn delete(&self, name: &SessionName, version: Option<i32>) -> Result<(), Error> {
        let keys = self.keys(&name.user);
        let args = self.args(&keys, [name.session.as_str().into(), i64::from(version.unwrap_or(0)).into()]);
        let key = keys.session(&name.session);
        let reply = self.run(&scripts::DELETE, &keys, &[&key], &args).await?;
        match reply.status.as_str() {
            "VERSION" => Err(Error::StaleWrite { current: reply.only()?.int()? }),
            _ => Ok(()),
        }
    }

    /// Ends all sessions of a user but `except`, in one step; returns how many. O(n) in the user's sessions.
    ///
    /// With `known`, it ends all or none: none if one is live that is not among them, in its version.
    ///
    /// # Errors
    ///
    /// [`Error::SessionsChanging`] if `known` is not all that is live, or the store's.
    pub async fn revoke_all(
        &self,
        user: &UserName,
        except: Option<&SessionId>,
        known: Option<&[Session]>,
    ) -> Result<i32, Error> {
        let keys = self.keys(user);
        let mut args =
            self.args(&keys, [except.map_or("", SessionId::as_str).into(), i64::from(known.is_some()).into()]);
        for session in known.unwrap_or_default() {
            args.push(session.name.session.as_str().into());
            args.push(i64::from(session.version).into());
        }
        let reply = self.run(&scripts::REVOKE_ALL, &keys, &[], &args).await?;
        match reply.status.as_str() {
            "VERSION" => Err(Error::SessionsChanging),
            _ => i32::try_from(reply.only()?.int()?).map_err(|_| Error::Corrupt("a count out of range")),
        }
    }

    fn keys<'a>(&'a self, user: &'a UserName) -> UserKeys<'a> {
        UserKeys::new(self.valkey.app(), user, &self.bells)
    }

    /// ARGV[1..4] of every script, and the script's own.
    fn args<'a, const N: usize>(&self, keys: &'a UserKeys<'_>, own: [Arg<'a>; N]) -> Vec<Arg<'a>> {
        let retention = &self.retention;
        let common = [
            Arg::from(&keys.channel),
            i64::from(retention.events).into(),
            millis(retention.event_age),
            (&keys.prefix).into(),
        ];
        common.into_iter().chain(own).collect()
    }

    async fn run(
        &self,
        script: &'static Script,
        keys: &UserKeys<'_>,
        own: &[&Key],
        args: &[Arg<'_>],
    ) -> Result<Reply, Error> {
        let mut all = vec![&keys.index, &keys.events];
        all.extend(own);
        let reply = self.valkey.run(script, &all, args).await?.array()?;
        let mut rest = reply.into_iter();
        let status = rest.next().ok_or(Error::Corrupt("an empty reply"))?.text()?.to_owned();
        match status.as_str() {
            "MISSING" => Err(Error::NotFound),
            "REUSED" => Err(Error::RequestIdReused),
            _ => Ok(Reply { status, rest: rest.collect() }),
        }
    }
}

/// A script's reply that is not an error common to all: its first element, and the others.
struct Reply {
    status: String,
    rest: Vec<Value>,
}

// === impl Reply ===

impl Reply {
    fn only(self) -> Result<Value, Error> {
        let [value] = codec::exactly(Value::Array(self.rest))?;
        Ok(value)
    }

    /// The session of `{'OK', id, flat list}`.
    fn made(self, user: &UserName) -> Result<Session, Error> {
        codec::session_row(user, Value::Array(self.rest))
    }
}

fn request_parts<'r>(keys: &UserKeys<'_>, request: Option<&'r Request>) -> (&'r str, Option<Key>) {
    match request {
        Some(request) => (request.fingerprint.as_str(), Some(keys.request(request.id.as_str()))),
        None => ("", None),
    }
}

fn over(field: &str, unit: &str, limit: usize, merged: impl std::fmt::Display) -> Error {
    Error::Invalid(vec![Violation::new(field, format!("at most {limit} {unit}; it would have {merged}"))])
}

/// Error for a patch that would change a timeout.
fn fixed(field: &str, millis: i64) -> Error {
    let is = Duration::from_millis(millis.unsigned_abs());
    Error::Invalid(vec![Violation::new(field, format!("is immutable; this session's is {is:?}"))])
}

fn millis(duration: Duration) -> Arg<'static> {
    Arg::Int(i64::try_from(duration.as_millis()).unwrap_or(i64::MAX))
}

fn count(n: usize) -> Arg<'static> {
    Arg::Int(i64::try_from(n).unwrap_or(i64::MAX))
}
