//! Bounds of what requests may hold: one table, from which the services take their bounds and the OpenAPI document its
//! patterns, lengths and ranges.
//!
//! Fields have full names such as `keyplane.session.v1.Session.company_id`. Every text, number, duration,
//! list and map that a JSON caller can send has an entry; a test of [`crate::openapi`] names one that has none.

pub mod audit;
pub mod memory;
mod pattern;
pub mod ratelimit;
pub mod revocation;
pub mod search;
pub mod session;

use crate::names::{CollectionId, Id, SessionName, TenantId};

/// Bound of one field. Bytes are those of UTF-8.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Rule {
    /// Text of `least` to `most` bytes, without control characters.
    Text {
        /// 0: the field may be empty, which is the same as unset.
        least: usize,
        /// Longest text, in bytes.
        most: usize,
    },
    /// Any text of at most this number of bytes.
    Length(usize),
    /// Text that matches the whole of a pattern, or is empty.
    Pattern(&'static str),
    /// Text that matches the whole of a pattern, and is not empty.
    Required(&'static str),
    /// Names of fields, in a field mask.
    Mask(&'static [&'static str]),
    /// Text that only the service makes, such as a page token; any other is rejected.
    Opaque,
    /// [`Rule::Opaque`] that is not empty.
    RequiredOpaque,
    /// Text that no rule bounds.
    Free,
    /// Whole number.
    Number {
        /// Smallest number.
        least: i64,
        /// Largest number.
        most: i64,
    },
    /// Duration, in whole seconds at either end.
    Seconds {
        /// Shortest duration.
        least: u64,
        /// Longest duration.
        most: u64,
        /// True if 0 s is the same as unset.
        zero: bool,
        /// Digits after the point that may be other than 0: 9 for nanoseconds, 6 for microseconds.
        digits: u8,
    },
    /// Duration that is not negative.
    NotNegative,
    /// List.
    Items {
        /// Minimum of items.
        least: usize,
        /// Maximum of items.
        most: usize,
        /// True if no item may come twice.
        unique: bool,
        /// Bound of each; none for messages.
        each: Option<&'static Rule>,
    },
    /// Map.
    Pairs {
        /// Maximum of pairs.
        most: usize,
        /// Bound of each key. OpenAPI 3.0 has no word for it; the comment of the field states it.
        key: &'static str,
        /// Bound of each value; none for messages.
        value: Option<&'static Rule>,
    },
    /// Message of whose fields exactly one is set.
    OneOf,
}

/// Rules of one package, by `Message.field`; of a message, by `Message`.
pub(crate) type Table = &'static [(&'static str, Rule)];

/// Package with its rules, and with the message fields that its responses always hold.
pub(crate) const TABLES: [(&str, Table, &[&str]); 5] = [
    ("keyplane.session.v1.", session::RULES, session::ALWAYS_SENT),
    ("keyplane.ratelimit.v1.", ratelimit::RULES, ratelimit::ALWAYS_SENT),
    ("keyplane.revocation.v1.", revocation::RULES, revocation::ALWAYS_SENT),
    ("keyplane.search.v1.", search::RULES, search::ALWAYS_SENT),
    ("keyplane.audit.v1.", audit::RULES, audit::ALWAYS_SENT),
];

/// Rule of a field or a message, by its full name.
#[must_use]
pub fn rule(full_name: &str) -> Option<Rule> {
    TABLES.iter().find_map(|(package, rules, _)| {
        let name = full_name.strip_prefix(package)?;
        rules.iter().find(|(known, _)| *known == name).map(|(_, rule)| *rule)
    })
}

/// Returns whether responses always hold a message field, by its full name. JSON always has texts, numbers, lists and maps.
#[must_use]
pub fn is_always_sent(full_name: &str) -> bool {
    TABLES.iter().any(|(package, _, names)| full_name.strip_prefix(package).is_some_and(|name| names.contains(&name)))
}

/// Pattern of a variable in a path, e.g. `tenant`.
#[must_use]
pub fn path_variable(name: &str) -> Option<&'static str> {
    Some(match name {
        "tenant" => TenantId::PATTERN,
        "user" => Id::PATTERN,
        "session" => SessionName::ID_PATTERN,
        "policy" => ratelimit::POLICY_ID,
        "revocation" => revocation::REVOCATION_ID,
        "collection" => CollectionId::PATTERN,
        "document" => Id::PATTERN,
        _ => return None,
    })
}

// === impl Rule ===

impl Rule {
    /// Text of at most `most` bytes without control characters; empty is unset.
    pub(crate) const fn up_to(most: usize) -> Rule {
        Rule::Text { least: 0, most }
    }

    /// Text of 1 to `most` bytes without control characters.
    pub(crate) const fn some(most: usize) -> Rule {
        Rule::Text { least: 1, most }
    }

    /// Keywords of JSON Schema that state the rule.
    #[must_use]
    pub fn keywords(&self) -> Vec<(&'static str, serde_json::Value)> {
        pattern::keywords(self)
    }
}
