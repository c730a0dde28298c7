//! Objects: messages and maps.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;

use super::{Optional, Place};
use crate::guard::check::{Check, Step, find, separate, wording};
use crate::guard::schema::{Field, Kind, Message};

/// Rule of a bound field.
const BOUND: &str = "the path of the URL sets this field; leave it out of the body, or repeat the path's value";

/// Visitor of a member's name; it copies unknown names only.
struct Name<'s>(&'s Message);

enum Named {
    Field(usize),
    Unknown(String),
}

/// Fields of a message met so far.
struct Met<'s> {
    /// Bit set of field indexes; a type has at most 64 fields.
    fields: u64,
    /// Field that is set, by oneof.
    oneofs: Vec<Option<&'s str>>,
}

/// Checks an object against a message type.
pub(super) fn message<'de, 's, A: MapAccess<'de>>(
    check: &mut Check<'s>,
    message: &'s Message,
    mut members: A,
) -> Result<(), A::Error> {
    let mut met = Met { fields: 0, oneofs: vec![None; message.oneofs.len()] };
    check.out.push(b'{');
    let start = check.out.len();
    while let Some(name) = members.next_key_seed(Name(message))? {
        match name {
            Named::Field(index) => {
                let field = &message.fields[index];
                if met.insert(index) {
                    check.violation_at(Step::Field(&field.json), || wording::duplicate(field));
                }
                check.path.push(Step::Field(&field.json));
                let set = member(check, field, start, &mut members)?;
                if let Some(other) = field.oneof.filter(|_| set).and_then(|oneof| met.oneof(oneof, field)) {
                    let oneof = field.oneof.map_or(&[][..], |oneof| &message.oneofs[oneof]);
                    check.violation(|| format!("only one of {} may be set; {other} is set already", oneof.join(", ")));
                }
                check.path.pop();
            }
            Named::Unknown(name) => {
                check.violation_at(Step::Unknown(name.clone()), || wording::unknown(message, &name));
                members.next_value::<IgnoredAny>()?;
            }
        }
    }
    check.out.push(b'}');
    Ok(())
}

/// Checks the value of a field; false for `null`.
fn member<'de, 's, A: MapAccess<'de>>(
    check: &mut Check<'s>,
    field: &'s Field,
    start: usize,
    members: &mut A,
) -> Result<bool, A::Error> {
    if field.bound {
        let value = members.next_value::<Value>()?;
        let repeats = value.as_str().is_some_and(|value| check.body.binds(check.url_path, value));
        if !repeats && !value.is_null() {
            check.violation(|| BOUND.to_owned());
        }
        return Ok(!value.is_null());
    }
    let mark = check.out.len();
    separate(check, start);
    check.string(&field.json);
    check.out.push(b':');
    let set = members.next_value_seed(Optional(Place::field(check, &field.shape)))?;
    if !set {
        check.out.truncate(mark);
    }
    Ok(set)
}

/// Checks an object against a map with values of `kind`.
pub(super) fn map<'de, 's, A: MapAccess<'de>>(
    check: &mut Check<'s>,
    kind: &'s Kind,
    mut members: A,
) -> Result<(), A::Error> {
    let mut met = HashSet::new();
    check.out.push(b'{');
    let start = check.out.len();
    while let Some(key) = members.next_key::<String>()? {
        separate(check, start);
        check.string(&key);
        check.out.push(b':');
        if met.contains(&key) {
            check.violation_at(Step::Key(key.clone()), || "appears twice; a key may appear once".to_owned());
        }
        check.path.push(Step::Key(key));
        members.next_value_seed(Place::one(check, kind))?;
        if let Some(Step::Key(key)) = check.path.pop() {
            met.insert(key);
        }
    }
    check.out.push(b'}');
    Ok(())
}

// === impl Met ===

impl<'s> Met<'s> {
    /// Records a field; true if it was met before.
    fn insert(&mut self, index: usize) -> bool {
        let bit = 1 << index;
        let is_duplicate = self.fields & bit != 0;
        self.fields |= bit;
        is_duplicate
    }

    /// Records the set field of a oneof; returns another field that is set already.
    fn oneof(&mut self, oneof: usize, field: &'s Field) -> Option<&'s str> {
        let set = self.oneofs[oneof].replace(&field.json);
        set.filter(|other| *other != field.json)
    }
}

// === impl Name ===

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Named;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<Named, D::Error> {
        reader.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Named;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Named, E> {
        Ok(find(self.0, name).map_or_else(|| Named::Unknown(name.to_owned()), Named::Field))
    }
}
