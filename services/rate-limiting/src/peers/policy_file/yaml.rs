//! Syntax of the policies file, without the rules of policies.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::MapAccessDeserializer;
use serde::de::{Error, MapAccess, Unexpected, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::SnippetMode;

use crate::domain::Mode;

/// Whole file.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct File {
    pub(super) policies: Vec<Policy>,
    #[serde(default)]
    pub(super) tenants: BTreeMap<String, String>,
}

/// Policy.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Policy {
    pub(super) id: String,
    pub(super) domain: Option<String>,
    pub(super) entries: Vec<Entry>,
    pub(super) limit: Limit,
    #[serde(default)]
    pub(super) plans: BTreeMap<String, Limit>,
    #[serde(default)]
    pub(super) tenants: BTreeMap<String, Limit>,
    pub(super) outage: Option<String>,
    #[serde(default)]
    pub(super) post_charge: bool,
    #[serde(default, deserialize_with = "whole")]
    pub(super) lease: u64,
}

/// Entry: `tenant`, or `{key: route, value: /v1/chat}`, whose fields `remote` reads.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) value: Option<String>,
}

/// Limit: `unlimited`, `block`, or its fields, which `remote` reads.
#[derive(Deserialize)]
#[serde(remote = "Self", deny_unknown_fields)]
pub(super) struct Limit {
    #[serde(default, deserialize_with = "whole")]
    pub(super) amount: u64,
    pub(super) per: Option<String>,
    #[serde(default, deserialize_with = "whole")]
    pub(super) burst: u64,
    pub(super) mode: Option<String>,
}

struct EntryVisitor;

struct LimitVisitor;

struct WholeVisitor;

/// Parses the syntax.
///
/// # Errors
///
/// First error, with its line and column.
pub(super) fn read(text: &str) -> Result<File, String> {
    serde_saphyr::from_str(text).map_err(|error| {
        // One line suits the log; the file itself has the context.
        let formatter = serde_saphyr::UserMessageFormatter;
        let options = serde_saphyr::render_options! { formatter: &formatter, snippets: SnippetMode::Off };
        error.render_with_options(options)
    })
}

// === impl Entry ===

impl<'de> Deserialize<'de> for Entry {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Entry, D::Error> {
        deserializer.deserialize_any(EntryVisitor)
    }
}

impl<'de> Visitor<'de> for EntryVisitor {
    type Value = Entry;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key such as tenant, or {key: route, value: /v1/chat}")
    }

    fn visit_str<E: Error>(self, key: &str) -> Result<Entry, E> {
        Ok(Entry { key: key.to_owned(), value: None })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Entry, A::Error> {
        Entry::deserialize(MapAccessDeserializer::new(map))
    }
}

// === impl Limit ===

impl<'de> Deserialize<'de> for Limit {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Limit, D::Error> {
        deserializer.deserialize_any(LimitVisitor)
    }
}

impl<'de> Visitor<'de> for LimitVisitor {
    type Value = Limit;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("unlimited, block, or a limit such as {amount: 100, per: 1s}")
    }

    fn visit_str<E: Error>(self, word: &str) -> Result<Limit, E> {
        let mode = [Mode::Unlimited, Mode::Block].into_iter().find(|mode| mode.name() == word);
        let mode =
            mode.ok_or_else(|| E::custom(format_args!("a limit in a word is unlimited or block, not {word}")))?;
        Ok(Limit { amount: 0, per: None, burst: 0, mode: Some(mode.name().to_owned()) })
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Limit, A::Error> {
        Limit::deserialize(MapAccessDeserializer::new(map))
    }
}

// === numbers ===

fn whole<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(WholeVisitor)
}

impl Visitor<'_> for WholeVisitor {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number, 0 or more")
    }

    fn visit_u64<E: Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<u64, E> {
        u64::try_from(number).map_err(|_| E::invalid_value(Unexpected::Signed(number), &self))
    }
}
