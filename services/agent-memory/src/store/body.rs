//! Stored form of memories: a message of what changes seldom, and fields of what scripts change.

use std::collections::BTreeMap;

use bytes::Bytes;
use keyplane_contracts::names::{Id, TenantId};
use prost::Message as _;

use super::RecordName;
use crate::domain::{Kind, Memory, MemoryId, Owner, Scope, Source, SpaceId, State};
use crate::error::Error;

/// Fields of a memory's hash, in the order of [`stored`]: body, revision, last use, number of uses, expiry, state, first moment
/// after validity, place, and the number of memories with the same text that came after it.
pub(super) const FIELDS: [&str; 9] = ["b", "v", "a", "c", "x", "s", "w", "i", "k"];

/// Memory, and where its items stand.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored {
    /// Memory.
    pub memory: Memory,
    /// Place of its items.
    pub place: Place,
    /// Number of the last memory with the same text; 0 if this is the only one.
    pub latest: u32,
}

/// Consecutive items in a record.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Place {
    /// Record.
    pub record: RecordName,
    /// Sequence of the first item.
    pub first: u32,
    /// Number of items, from 1.
    pub count: u32,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Body {
    #[prost(string, tag = "1")]
    text: String,
    #[prost(string, tag = "2")]
    speaker: String,
    #[prost(string, tag = "3")]
    subject: String,
    #[prost(uint32, tag = "4")]
    kind: u32,
    #[prost(string, optional, tag = "5")]
    user: Option<String>,
    #[prost(string, optional, tag = "6")]
    agent: Option<String>,
    #[prost(string, optional, tag = "7")]
    workflow: Option<String>,
    #[prost(string, optional, tag = "8")]
    session: Option<String>,
    #[prost(string, repeated, tag = "9")]
    topics: Vec<String>,
    #[prost(string, repeated, tag = "10")]
    entities: Vec<String>,
    #[prost(string, repeated, tag = "11")]
    tags: Vec<String>,
    #[prost(btree_map = "string, string", tag = "12")]
    metadata: BTreeMap<String, String>,
    #[prost(float, tag = "13")]
    importance: f32,
    #[prost(bool, tag = "14")]
    pinned: bool,
    #[prost(sint64, tag = "15")]
    event_time: i64,
    #[prost(sint64, tag = "16")]
    created: i64,
    #[prost(sint64, optional, tag = "17")]
    valid_from: Option<i64>,
    #[prost(string, optional, tag = "18")]
    supersedes: Option<String>,
    #[prost(string, tag = "19")]
    reference: String,
    #[prost(string, repeated, tag = "20")]
    derived_from: Vec<String>,
    #[prost(string, optional, tag = "21")]
    event: Option<String>,
    #[prost(string, optional, tag = "22")]
    space: Option<String>,
    #[prost(uint32, tag = "23")]
    tokens: u32,
}

// === impl Place ===

impl Place {
    /// Sequences of the items.
    pub fn sequences(&self) -> impl Iterator<Item = u32> + use<> {
        self.first..self.first.saturating_add(self.count)
    }

    /// Number of pieces of the text, 1 for a whole one.
    #[must_use]
    pub fn pieces(&self) -> usize {
        usize::try_from(self.count).unwrap_or(usize::MAX)
    }

    /// Number of the record, first sequence and number of items. The session is in the body.
    fn parse(text: &str, session: Option<&Id>) -> Option<Place> {
        let mut numbers = text.split(' ').map(|number| number.parse::<u32>().ok());
        let (number, first, count) = (numbers.next()??, numbers.next()??, numbers.next()??);
        let record = session.map_or(RecordName::Number(number), |session| RecordName::Session(session.clone()));
        Some(Place { record, first, count })
    }
}

/// Packs the body of a memory. O(size).
pub(super) fn body(memory: &Memory) -> Vec<u8> {
    let texts = |list: &[compact_str::CompactString]| list.iter().map(ToString::to_string).collect();
    let id = |id: &Option<Id>| id.as_ref().map(|id| id.as_str().to_owned());
    let (scope, source) = (&memory.scope, &memory.source);
    let body = Body {
        text: memory.text.clone(),
        speaker: memory.speaker.to_string(),
        subject: memory.subject.to_string(),
        kind: memory.kind.number().into(),
        user: id(&scope.owner.user),
        agent: id(&scope.agent),
        workflow: id(&scope.workflow),
        session: id(&scope.session),
        topics: texts(&memory.topics),
        entities: texts(&memory.entities),
        tags: texts(&memory.tags),
        metadata: memory.metadata.clone(),
        importance: memory.importance,
        pinned: memory.pinned,
        event_time: memory.event_time,
        created: memory.created,
        valid_from: memory.valid_from,
        supersedes: memory.supersedes.map(|id| id.to_string()),
        reference: source.reference.clone(),
        derived_from: source.derived_from.iter().map(ToString::to_string).collect(),
        event: source.event.as_ref().map(ToString::to_string),
        space: memory.space.as_ref().map(|space| space.as_str().to_owned()),
        tokens: memory.tokens,
    };
    body.encode_to_vec()
}

/// Reads the fields of a memory's hash; none if it does not exist.
pub(super) fn stored(tenant: &TenantId, id: MemoryId, fields: Vec<Option<Bytes>>) -> Result<Option<Stored>, Error> {
    let Ok([body, revision, accessed, count, expires, state, until, place, latest]) =
        <[Option<Bytes>; 9]>::try_from(fields)
    else {
        return Err(Error::Corrupt("a memory has another number of fields"));
    };
    let (Some(body), Some(place)) = (body, place) else { return Ok(None) };
    let body = Body::decode(body).map_err(|_| Error::Corrupt("a memory's body has another form"))?;
    let required = |value| number(value)?.ok_or(Error::Corrupt("a memory has no revision or no expiry"));
    let (revision, expires) = (required(revision)?, required(expires)?);
    let small = |value| Ok::<_, Error>(number(value)?.and_then(|number| u32::try_from(number).ok()).unwrap_or(0));
    let accessed = number(accessed)?.unwrap_or(body.created);
    let memory = Memory {
        revision,
        expires,
        accessed,
        access_count: small(count)?,
        valid_until: number(until)?,
        state: state_of(state)?,
        ..memory(tenant, id, body)?
    };
    let place = std::str::from_utf8(&place).ok().and_then(|text| Place::parse(text, memory.scope.session.as_ref()));
    let place = place.ok_or(Error::Corrupt("a memory's place has another form"))?;
    Ok(Some(Stored { memory, place, latest: small(latest)? }))
}

fn memory(tenant: &TenantId, id: MemoryId, body: Body) -> Result<Memory, Error> {
    let parse = |text: Option<String>| {
        let parse = |text: String| Id::parse(&text, "id").map_err(|_| Error::Corrupt("an id breaks its rule"));
        text.map(parse).transpose()
    };
    let memory_id = |text: &String| MemoryId::parse(text).ok_or(Error::Corrupt("a memory's id breaks its rule"));
    let owner = Owner { tenant: tenant.clone(), user: parse(body.user)? };
    let scope =
        Scope { owner, agent: parse(body.agent)?, workflow: parse(body.workflow)?, session: parse(body.session)? };
    let kind = u8::try_from(body.kind).ok().and_then(Kind::from_number).ok_or(Error::Corrupt("an unknown kind"))?;
    let space = body.space.map(|text| SpaceId::parse(&text).ok_or(Error::Corrupt("a space's id breaks its rule")));
    let texts = |list: Vec<String>| list.into_iter().map(Into::into).collect();
    Ok(Memory {
        id,
        scope,
        kind,
        text: body.text,
        speaker: body.speaker.into(),
        subject: body.subject.into(),
        topics: texts(body.topics),
        entities: texts(body.entities),
        tags: texts(body.tags),
        metadata: body.metadata,
        importance: body.importance,
        pinned: body.pinned,
        event_time: body.event_time,
        created: body.created,
        accessed: body.created,
        access_count: 0,
        valid_from: body.valid_from,
        valid_until: None,
        expires: 0,
        state: State::Current,
        supersedes: body.supersedes.as_ref().map(memory_id).transpose()?,
        source: Source {
            reference: body.reference,
            derived_from: body.derived_from.iter().map(memory_id).collect::<Result<_, _>>()?,
            event: body.event.map(Into::into),
        },
        space: space.transpose()?,
        tokens: body.tokens,
        revision: 0,
    })
}

/// State as `<id> <moment>`; absent for current.
pub(super) fn state_text(state: &State) -> Option<String> {
    match state {
        State::Current => None,
        State::Superseded { by, at } => Some(format!("{by} {at}")),
    }
}

fn state_of(field: Option<Bytes>) -> Result<State, Error> {
    let Some(field) = field else { return Ok(State::Current) };
    let parse = || {
        let (by, at) = std::str::from_utf8(&field).ok()?.split_once(' ')?;
        Some(State::Superseded { by: MemoryId::parse(by)?, at: at.parse().ok()? })
    };
    parse().ok_or(Error::Corrupt("a memory's state has another form"))
}

/// Number in decimal; none for an absent field.
pub(super) fn number(value: Option<Bytes>) -> Result<Option<i64>, Error> {
    let parse = |bytes: Bytes| std::str::from_utf8(&bytes).ok().and_then(|text| text.parse().ok());
    value.map(|bytes| parse(bytes).ok_or(Error::Corrupt("a number of a memory is another text"))).transpose()
}
