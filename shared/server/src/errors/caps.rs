//! Caps on the parts of an error: its trailers stay under [`TRAILERS`] whatever the caller sent.
//!
//! Trailers that are too large cost more than one call. Over 64 KiB in one header, Envoy drops the upstream connection that
//! all callers share, and no setting changes that; over 60 KiB in all it ends the one call. Clients on gRPC's C core reject
//! more than 8 KiB by default.

use std::borrow::Cow;
use std::collections::HashMap;

use keyplane_contracts::Violation;

/// Largest trailers of a call, in bytes: the message, percent-encoded, and the details in base64.
pub const TRAILERS: usize = 8 * 1024;

/// Longest message, in bytes.
const MESSAGE: usize = 512;
/// Maximum of listed violations.
pub(super) const VIOLATIONS: usize = 20;
/// Most bytes of all violations together.
const VIOLATION_BYTES: usize = 2560;
/// Longest path of a field, and longest description of its rule, in bytes.
const FIELD: usize = 128;
const DESCRIPTION: usize = 256;
/// Most bytes of a value of the metadata, and of all of it.
const VALUE: usize = 256;
const METADATA_BYTES: usize = 1024;

/// Bytes that are left for pairs of texts.
struct Room(usize);

/// Caps the message, and appends the number of violations that are not listed.
pub(super) fn message(message: &str, listed: usize, violations: usize) -> String {
    match violations - listed {
        0 => cut(message, MESSAGE).into_owned(),
        more => {
            let suffix = format!("; and {more} more");
            // The details hold the listed ones in full.
            format!("{}{suffix}", cut(message, MESSAGE - suffix.len()))
        }
    }
}

/// Caps the violations: the first ones, while there is room.
pub(super) fn violations(violations: &[Violation]) -> Vec<(String, String)> {
    let mut room = Room(VIOLATION_BYTES);
    let cut = |Violation { field, description }: &Violation| {
        (cut(field, FIELD).into_owned(), cut(description, DESCRIPTION).into_owned())
    };
    violations.iter().take(VIOLATIONS).map(cut).take_while(|(field, rule)| room.takes(field, rule)).collect()
}

/// Caps the metadata: pairs with a value, while there is room. Envoy's transcoder can't read an empty value.
pub(super) fn metadata(pairs: Vec<(&'static str, String)>) -> HashMap<String, String> {
    let mut room = Room(METADATA_BYTES);
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(key, value)| (key.to_owned(), cut(&value, VALUE).into_owned()));
    pairs.take_while(|(key, value)| room.takes(key, value)).collect()
}

/// Caps a description, such as a quota's.
pub(super) fn description(text: &str) -> String {
    cut(text, DESCRIPTION).into_owned()
}

/// Cuts a text to its first `limit` bytes, with an ellipsis in place of the rest.
fn cut(text: &str, limit: usize) -> Cow<'_, str> {
    const ELLIPSIS: &str = "...";
    if text.len() <= limit {
        return Cow::Borrowed(text);
    }
    let end = text.floor_char_boundary(limit - ELLIPSIS.len());
    Cow::Owned(format!("{}{ELLIPSIS}", &text[..end]))
}

// === impl Room ===

impl Room {
    /// Tags and lengths of a pair, at most.
    const FRAME: usize = 12;

    fn takes(&mut self, key: &str, value: &str) -> bool {
        let left = self.0.checked_sub(key.len() + value.len() + Room::FRAME);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}
