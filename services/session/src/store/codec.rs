//! Sessions and events to the fields of the scripts and back; `scripts/common.lua` describes the fields.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;
use keyplane_contracts::Violation;
use keyplane_contracts::names::{SessionId, SessionName, UserName};
use keyplane_valkey::{Arg, StreamEntry, Value};

use crate::domain::{BoundToken, Device, EndReason, Event, EventKind, Fields, Micros, Session};
use crate::error::Error;

/// Fields of a hash or an event, before they are known to be complete.
#[derive(Default)]
struct Raw {
    fields: Fields,
    removed_attributes: Vec<String>,
    version: Option<i64>,
    created: Option<i64>,
    updated: Option<i64>,
    idle_ms: Option<i64>,
    expires_ms: Option<i64>,
    absolute_ms: Option<i64>,
}

// === impl Raw ===

impl Raw {
    fn take(&mut self, field: &[u8], value: &[u8]) -> Result<(), Error> {
        let text = || text(value);
        match field {
            b"v" => self.version = Some(number(value)?),
            b"ct" => self.created = Some(number(value)?),
            b"ut" => self.updated = Some(number(value)?),
            b"it" => self.idle_ms = Some(number(value)?),
            b"ex" => self.expires_ms = Some(number(value)?),
            b"ad" => self.absolute_ms = Some(number(value)?),
            b"c" => self.fields.company_id = Some(text()?),
            b"p" => self.fields.last_path = Some(text()?),
            b"du" => self.device().user_agent = text()?,
            b"di" => self.device().ip = text()?,
            b"dl" => self.device().label = text()?,
            _ => self.take_keyed(field, value)?,
        }
        Ok(())
    }

    fn take_keyed(&mut self, field: &[u8], value: &[u8]) -> Result<(), Error> {
        if let Some(key) = field.strip_prefix(b"a:") {
            self.fields.attributes.insert(text(key)?, text(value)?);
        } else if let Some(claims) = field.strip_prefix(b"k:") {
            let claims = text(claims)?;
            let (issuer, jti) = claims.split_once('\n').ok_or(Error::Corrupt("a token without a jti"))?;
            let expires = Micros(number(value)?);
            self.fields.tokens.push(BoundToken { issuer: issuer.to_owned(), jti: jti.to_owned(), expires });
        }
        // Any other field is the scripts' own (`lu`), or of a later release, which may run beside this one during a rollout.
        Ok(())
    }

    fn remove(&mut self, field: &[u8]) -> Result<(), Error> {
        if let Some(key) = field.strip_prefix(b"a:") {
            self.removed_attributes.push(text(key)?);
            return Ok(());
        }
        self.take(field, b"")
    }

    fn device(&mut self) -> &mut Device {
        self.fields.device.get_or_insert_default()
    }

    fn session(mut self, name: SessionName) -> Result<Session, Error> {
        let missing = |what| move || Error::Corrupt(what);
        let millis = |ms: i64| Micros(ms.saturating_mul(1000));
        self.fields.tokens.sort();
        Ok(Session {
            name,
            company_id: self.fields.company_id.unwrap_or_default(),
            last_path: self.fields.last_path.unwrap_or_default(),
            attributes: self.fields.attributes,
            device: self.fields.device,
            tokens: self.fields.tokens,
            version: version(self.version.ok_or_else(missing("a session without a version"))?)?,
            created: Micros(self.created.ok_or_else(missing("a session without a creation time"))?),
            updated: Micros(self.updated.ok_or_else(missing("a session without an update time"))?),
            expires: millis(self.expires_ms.ok_or_else(missing("a session without an expiry"))?),
            absolute_expires: millis(self.absolute_ms.ok_or_else(missing("a session without an absolute expiry"))?),
            idle_timeout: Duration::from_millis(self.idle_ms.unwrap_or_default().unsigned_abs()),
        })
    }
}

// === sessions ===

/// Decodes a session from its hash.
pub(super) fn session(name: SessionName, pairs: Vec<(Bytes, Bytes)>) -> Result<Session, Error> {
    let mut raw = Raw::default();
    for (field, value) in &pairs {
        raw.take(field, value)?;
    }
    raw.session(name)
}

/// Decodes a session from the flat list of a script's reply.
pub(super) fn session_reply(name: SessionName, flat: Value) -> Result<Session, Error> {
    session(name, flat.pairs()?)
}

/// Decodes a session from a script's `{id, flat list}`.
pub(super) fn session_row(user: &UserName, row: Value) -> Result<Session, Error> {
    let [id, flat] = exactly(row)?;
    session_reply(user.session(session_id(&id.bytes()?)?), flat)
}

/// Encodes content: pairs of field and value to set, and fields to delete.
pub(super) fn writes(fields: &Fields, removed_attributes: &[String]) -> (Vec<(String, String)>, Vec<String>) {
    let (mut sets, mut dels) = (Vec::new(), Vec::new());
    let mut scalar = |name: &str, value: &str| {
        if value.is_empty() { dels.push(name.to_owned()) } else { sets.push((name.to_owned(), value.to_owned())) }
    };
    if let Some(company) = &fields.company_id {
        scalar("c", company);
    }
    if let Some(path) = &fields.last_path {
        scalar("p", path);
    }
    if let Some(device) = &fields.device {
        scalar("du", &device.user_agent);
        scalar("di", &device.ip);
        scalar("dl", &device.label);
    }
    sets.extend(fields.attributes.iter().map(|(key, value)| (format!("a:{key}"), value.clone())));
    for token in &fields.tokens {
        sets.push((token_field(token), token.expires.0.to_string()));
    }
    dels.extend(removed_attributes.iter().map(|key| format!("a:{key}")));
    (sets, dels)
}

fn token_field(token: &BoundToken) -> String {
    format!("k:{}\n{}", token.issuer, token.jti)
}

/// Error for the one of `tokens` that stands in `field` of the hash and has expired.
pub(super) fn expired(tokens: &[BoundToken], field: &str) -> Error {
    let index = tokens.iter().position(|token| token_field(token) == field).unwrap_or_default();
    let rule = "must be in the future, by the store's clock";
    Error::Invalid(vec![Violation::new(format!("session.tokens[{index}].expire_time"), rule)])
}

/// Appends pairs to the arguments of a script.
pub(super) fn push_pairs<'a>(args: &mut Vec<Arg<'a>>, pairs: &'a [(String, String)]) {
    for (field, value) in pairs {
        args.push(field.into());
        args.push(value.into());
    }
}

// === events ===

/// Decodes an event from its entry in the stream; `None` for a mark, and for a kind of a later release.
pub(super) fn event(user: &UserName, entry: StreamEntry) -> Result<Option<Event>, Error> {
    let mut raw = Raw::default();
    let mut plain: BTreeMap<&[u8], &Bytes> = BTreeMap::new();
    for (field, value) in &entry.fields {
        match field.split_first() {
            Some((b'+', name)) => raw.take(name, value)?,
            Some((b'-', name)) => raw.remove(name)?,
            _ => {
                plain.insert(field, value);
            }
        }
    }
    let get = |name: &'static str| plain.get(name.as_bytes()).copied().ok_or(Error::Corrupt("an event lacks a field"));
    let kind_text = get("t")?;
    if kind_text.as_ref() == b"mark" {
        return Ok(None);
    }
    let session = session_id(get("s")?)?;
    let kind = match kind_text.as_ref() {
        b"created" => EventKind::Created(Box::new(raw.session(user.session(session))?)),
        b"updated" => EventKind::Updated {
            session,
            version: version(number(get("v")?)?)?,
            updated: Micros(number(get("ut")?)?),
            fields: raw.fields,
            removed_attributes: raw.removed_attributes,
        },
        b"rotated" => EventKind::Rotated { session, new: session_id(get("n")?)? },
        b"deleted" => EventKind::Deleted(session),
        b"expired" => EventKind::Expired { session, reason: end_reason(get("r")?)? },
        _ => return Ok(None),
    };
    Ok(Some(Event { time: event_time(&entry.id)?, id: entry.id, kind }))
}

/// Time in an entry's id.
fn event_time(id: &str) -> Result<Micros, Error> {
    let millis = id.split('-').next().and_then(|ms| ms.parse::<i64>().ok());
    millis.map(|ms| Micros(ms.saturating_mul(1000))).ok_or(Error::Corrupt("an event id without a time"))
}

fn end_reason(text: &[u8]) -> Result<EndReason, Error> {
    match text {
        b"idle" => Ok(EndReason::Idle),
        b"absolute" => Ok(EndReason::Absolute),
        b"evicted" => Ok(EndReason::Evicted),
        b"revoked" => Ok(EndReason::Revoked),
        b"lost" => Ok(EndReason::Lost),
        _ => Err(Error::Corrupt("an unknown reason of an end")),
    }
}

// === pieces ===

/// Elements of an array of exactly `N`.
pub(super) fn exactly<const N: usize>(value: Value) -> Result<[Value; N], Error> {
    <[Value; N]>::try_from(value.array()?).map_err(|_| Error::Corrupt("a reply of another length"))
}

pub(super) fn session_id(bytes: &[u8]) -> Result<SessionId, Error> {
    SessionId::parse(&text(bytes)?, "session").map_err(|_| Error::Corrupt("a session id of another form"))
}

fn version(number: i64) -> Result<i32, Error> {
    i32::try_from(number).map_err(|_| Error::Corrupt("a version out of range"))
}

fn text(bytes: &[u8]) -> Result<String, Error> {
    std::str::from_utf8(bytes).map(str::to_owned).map_err(|_| Error::Corrupt("text that is not UTF-8"))
}

fn number(bytes: &[u8]) -> Result<i64, Error> {
    std::str::from_utf8(bytes).ok().and_then(|t| t.parse().ok()).ok_or(Error::Corrupt("a number that is none"))
}
