//! Calls of a case.

use std::time::Duration;

use keyplane_session::domain::Fields;
use proptest::prelude::*;

/// Call; sessions are chosen by their place among all that were ever created.
#[derive(Clone, Debug)]
pub(crate) enum Call {
    Create { fields: Fields, idle: Option<Duration>, request: Option<u8> },
    Patch { session: usize, fields: Fields, removed: Vec<String>, version: Version },
    Touch(usize),
    Rotate(usize),
    Delete(usize, Version),
    RevokeAll { except: Option<usize>, known: Version },
    Expire(usize),
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Version {
    Any,
    Current,
    Stale,
}

// === impl Version ===

impl Version {
    /// Version that a caller sends whose session has the version `current`.
    pub(crate) fn of(self, current: i32) -> Option<i32> {
        match self {
            Version::Any => None,
            Version::Current => Some(current),
            Version::Stale => Some(current + 1),
        }
    }
}

// === strategies ===

pub(crate) fn fields() -> impl Strategy<Value = Fields> {
    let text = |choices: &'static [&'static str]| proptest::option::of(proptest::sample::select(choices));
    let attribute = (proptest::sample::select(&["a", "b", "c"][..]), proptest::sample::select(&["", "1", "2"][..]));
    (text(&["", "c-1", "c-2"]), text(&["", "/", "/x"]), proptest::collection::vec(attribute, 0..3)).prop_map(
        |(company, path, attributes)| Fields {
            company_id: company.map(str::to_owned),
            last_path: path.map(str::to_owned),
            attributes: attributes.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned())).collect(),
            ..Fields::default()
        },
    )
}

pub(crate) fn call() -> impl Strategy<Value = Call> {
    let session = 0..32_usize;
    // Shorter than the policy's 30 minutes, and as long as the absolute timeout, which then cuts every use short.
    let idle = proptest::option::of(proptest::sample::select(vec![Duration::from_mins(1), Duration::from_hours(12)]));
    let create = (fields(), idle, proptest::option::of(0..3_u8)).prop_map(|(fields, idle, request)| Call::Create {
        fields,
        idle,
        request,
    });
    let version = || proptest::sample::select(&[Version::Any, Version::Current, Version::Stale][..]);
    let removed = proptest::collection::vec(proptest::sample::select(&["a", "b", "c"][..]), 0..2);
    let patch = (session.clone(), fields(), removed, version()).prop_map(|(session, mut fields, removed, version)| {
        let removed: Vec<String> = removed.into_iter().map(str::to_owned).collect();
        fields.attributes.retain(|key, _| !removed.contains(key));
        Call::Patch { session, fields, removed, version }
    });
    prop_oneof![
        4 => create,
        8 => patch,
        2 => session.clone().prop_map(Call::Touch),
        2 => session.clone().prop_map(Call::Rotate),
        2 => (session.clone(), version()).prop_map(|(session, version)| Call::Delete(session, version)),
        1 => (proptest::option::of(session.clone()), version())
            .prop_map(|(except, known)| Call::RevokeAll { except, known }),
        2 => session.prop_map(Call::Expire),
    ]
}

pub(crate) fn calls() -> impl Strategy<Value = Vec<Call>> {
    proptest::collection::vec(call(), 1..40)
}
