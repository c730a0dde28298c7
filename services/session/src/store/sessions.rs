//! Live sessions: create, get, list, patch, touch, rotate.

use std::time::Duration;

use keyplane_contracts::Violation;
use keyplane_contracts::names::{SessionId, SessionName, UserName};
use keyplane_contracts::rules::session as stated;
use keyplane_valkey::{Arg, Feature, Key, Ttl, Value};

use super::keys::{self, UserKeys};
use super::{Store, codec, millis, scripts};
use crate::domain::{Micros, NewSession, Overflow, Page, PageToken, Patch, Policy, Request, Session, Touched};
use crate::error::Error;

// === impl Store ===

impl Store {
    /// Creates a session; with a request id, at most once. O(log n + content) in the user's sessions.
    ///
    /// Cancel safe: a dropped call may have created the session; a retry with the same request id returns it.
    ///
    /// # Errors
    ///
    /// [`Error::TooManySessions`], [`Error::RequestIdReused`], [`Error::NotFound`] if the session of
    /// the request id has ended, or the store's.
    pub async fn create(
        &self,
        user: &UserName,
        id: SessionId,
        new: &NewSession,
        policy: &Policy,
    ) -> Result<Session, Error> {
        let absolute = Ttl::new(Feature::SESSION, new.timeouts.absolute.unwrap_or(policy.absolute))?;
        let idle = new.timeouts.idle.unwrap_or(policy.idle).min(absolute.as_duration());
        let keys = self.keys(user);
        let (sets, _) = codec::writes(&new.fields, &[]);
        let bytes: usize = sets.iter().map(|(field, value)| field.len() + value.len()).sum();
        if bytes > stated::BYTES {
            return Err(over("session", "bytes", stated::BYTES, bytes));
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

    /// Reads a session: one plain HGETALL, since the hash's own TTL decides on its life.
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

    /// Lists a page of a user's live sessions, newest first. O(n log n) in the user's sessions, at most 100.
    ///
    /// # Errors
    ///
    /// Errors of the store.
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
        let next = last.map(|last| PageToken { created: last.created, session: last.name.session.clone() });
        Ok(Page { sessions, next })
    }

    /// Merges a patch into a live session and prolongs it. O(content).
    ///
    /// Cancel safe: a dropped call may have merged the patch. A merge is idempotent.
    ///
    /// # Errors
    ///
    /// [`Error::NotFound`], [`Error::StaleWrite`], [`Error::Invalid`] if the merged session would break a bound or
    /// has other timeouts, or the store's. Nothing is written then.
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
                count(stated::BYTES),
                count(stated::ATTRIBUTES),
                count(stated::TOKENS),
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
            "BYTES" => Err(over("session", "bytes", stated::BYTES, reply.only()?.int()?)),
            "ATTRIBUTES" => Err(over("session.attributes", "attributes", stated::ATTRIBUTES, reply.only()?.int()?)),
            "EXPIRED" => Err(codec::expired(&patch.fields.tokens, reply.only()?.text()?)),
            "TOKENS" => Err(over("session.tokens", "unexpired tokens", stated::TOKENS, reply.only()?.int()?)),
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

    /// Moves a live session to the id `new`; with a request id, at most once.
    ///
    /// Cancel safe: after a dropped call either id may be the live one; a retry with the same request id returns it.
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

/// Violation of a patch that would change a timeout.
fn fixed(field: &str, millis: i64) -> Error {
    let is = Duration::from_millis(millis.unsigned_abs());
    Error::Invalid(vec![Violation::new(field, format!("is immutable; this session's is {is:?}"))])
}

fn count(n: usize) -> Arg<'static> {
    Arg::Int(i64::try_from(n).unwrap_or(i64::MAX))
}
