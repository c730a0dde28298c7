//! Values of any shape, dispatched by their JSON kind.

mod object;

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::scalar::Scalar;
use super::{Check, Expects, Step, any, wording};
use crate::guard::schema::{Kind, Message, Shape};

/// Visitor that checks a value and rewrites it.
pub(super) struct Place<'c, 's> {
    check: &'c mut Check<'s>,
    expects: Expects<'s>,
}

/// Visitor of a field's value; `null` means no value. Returns whether there is a value.
struct Optional<'c, 's>(Place<'c, 's>);

// === impl Place ===

impl<'c, 's> Place<'c, 's> {
    pub(super) fn message(check: &'c mut Check<'s>, message: &'s Message) -> Place<'c, 's> {
        Place { check, expects: Expects::Message(message) }
    }

    fn field(check: &'c mut Check<'s>, shape: &'s Shape) -> Place<'c, 's> {
        match shape {
            Shape::One(kind) => Place::one(check, kind),
            Shape::List(kind) => Place { check, expects: Expects::List(kind) },
            Shape::Map(kind) => Place { check, expects: Expects::Map(kind) },
        }
    }

    fn one(check: &'c mut Check<'s>, kind: &'s Kind) -> Place<'c, 's> {
        let expects = match kind {
            Kind::Message(id) => Expects::Message(check.schemas.message(*id)),
            Kind::Struct => Expects::Struct,
            Kind::Bool
            | Kind::Integer(_)
            | Kind::Float(_)
            | Kind::Text
            | Kind::Bytes
            | Kind::Enum(_)
            | Kind::Duration
            | Kind::Timestamp
            | Kind::FieldMask => Expects::One(kind),
        };
        Place { check, expects }
    }

    fn scalar(self, scalar: Scalar<'_>) {
        match self.expects {
            Expects::One(kind) => {
                if let Err(got) = scalar.write(kind, &mut self.check.out) {
                    let hint = || wording::enum_hint(kind, scalar);
                    self.check.violation(|| format!("must be {}; got {got}{}", wording::kind(kind), hint()));
                }
            }
            Expects::Message(_) | Expects::List(_) | Expects::Map(_) | Expects::Struct => self.wrong(scalar.kind()),
        }
    }

    fn wrong(self, got: &str) {
        self.check.violation(|| format!("must be {}; got {got}", wording::expected(self.expects)));
    }
}

impl<'de> DeserializeSeed<'de> for Place<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<(), D::Error> {
        reader.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Place<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&wording::expected(self.expects))
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
        self.wrong("null");
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<(), A::Error> {
        let Expects::List(kind) = self.expects else {
            self.wrong("a list");
            while items.next_element::<IgnoredAny>()?.is_some() {}
            return Ok(());
        };
        let check = self.check;
        check.out.push(b'[');
        for index in 0.. {
            let mark = check.out.len();
            if index > 0 {
                check.out.push(b',');
            }
            check.path.push(Step::Item(index));
            let item = items.next_element_seed(Place::one(check, kind))?;
            check.path.pop();
            if item.is_none() {
                check.out.truncate(mark);
                break;
            }
        }
        check.out.push(b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<(), A::Error> {
        match self.expects {
            Expects::Message(message) => object::message(self.check, message, members),
            Expects::Map(kind) => object::map(self.check, kind, members),
            Expects::Struct => any::object(self.check, 0, members),
            Expects::One(_) | Expects::List(_) => {
                self.wrong("an object");
                while members.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
                Ok(())
            }
        }
    }
}

// === impl Optional ===

impl<'de> DeserializeSeed<'de> for Optional<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        reader.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for Optional<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_none<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, reader: D) -> Result<bool, D::Error> {
        self.0.deserialize(reader).map(|()| true)
    }
}
