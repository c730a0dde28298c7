//! Objects of any JSON values: `google.protobuf.Struct`.

use std::collections::HashSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::scalar::Scalar;
use super::{Check, Step, separate};

/// Most levels of lists and objects in an object; the transcoder's own bound is a little above it.
const LEVELS: usize = 32;

/// Visitor that rewrites any value.
struct Any<'c, 's> {
    check: &'c mut Check<'s>,
    /// Lists and objects around the value.
    level: usize,
}

/// Rewrites an object of any values, which `level` others contain.
pub(super) fn object<'de, A: MapAccess<'de>>(
    check: &mut Check<'_>,
    level: usize,
    mut members: A,
) -> Result<(), A::Error> {
    let mut met = HashSet::new();
    check.out.push(b'{');
    let start = check.out.len();
    while let Some(name) = members.next_key::<String>()? {
        separate(check, start);
        check.string(&name);
        check.out.push(b':');
        if met.contains(&name) {
            check.violation_at(Step::Member(name.clone()), || "appears twice; a field may appear once".to_owned());
        }
        check.path.push(Step::Member(name));
        members.next_value_seed(Any { check, level: level + 1 })?;
        if let Some(Step::Member(name)) = check.path.pop() {
            met.insert(name);
        }
    }
    check.out.push(b'}');
    Ok(())
}

// === impl Any ===

impl Any<'_, '_> {
    fn scalar(self, scalar: Scalar<'_>) {
        if let Err(rule) = scalar.write_any(&mut self.check.out) {
            self.check.violation(|| rule.to_owned());
        }
    }

    fn too_deep(&mut self) -> bool {
        let is_too_deep = self.level >= LEVELS;
        if is_too_deep {
            self.check.violation(|| format!("must have at most {LEVELS} levels of lists and objects"));
        }
        is_too_deep
    }
}

impl<'de> DeserializeSeed<'de> for Any<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Any<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value")
    }

    fn visit_bool<E>(self, value: bool) -> Result<(), E> {
        self.scalar(Scalar::Bool(value));
        Ok(())
    }

    fn visit_u64<E>(self, value: u64) -> Result<(), E> {
        self.scalar(Scalar::Whole(value.into()));
        Ok(())
    }

    fn visit_i64<E>(self, value: i64) -> Result<(), E> {
        self.scalar(Scalar::Whole(value.into()));
        Ok(())
    }

    fn visit_f64<E>(self, value: f64) -> Result<(), E> {
        self.scalar(Scalar::Number(value));
        Ok(())
    }

    fn visit_str<E>(self, value: &str) -> Result<(), E> {
        self.scalar(Scalar::Text(value));
        Ok(())
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.check.out.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        if self.too_deep() {
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        let (check, level) = (self.check, self.level + 1);
        check.out.push(b'[');
        for index in 0.. {
            let mark = check.out.len();
            if index > 0 {
                check.out.push(b',');
            }
            check.path.push(Step::Item(index));
            let item = items.next_element_seed(Any { check, level })?;
            check.path.pop();
            if item.is_none() {
                check.out.truncate(mark);
                break;
            }
        }
        check.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut members: A) -> Result<(), A::Error> {
        if self.too_deep() {
            while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
            return Ok(());
        }
        object(self.check, self.level, members)
    }
}
