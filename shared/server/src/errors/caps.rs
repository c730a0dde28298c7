//! Caps on what an error says, so that its trailers stay under [`TRAILERS`] whatever the caller sent.
//!
//! Trailers that are too large cost more than one call: Envoy drops the upstream connection that all callers share (over
//! 64 KiB in one header, which no setting changes; over 60 KiB in all it ends the one call), and clients on gRPC's C core
//! reject more than 8 KiB by default.

use std::borrow::Cow;
use std::collections::HashMap;

use keyplane_contracts::Violation;

/// Largest trailers of a call, in bytes: the message, percent-encoded, and the details in base64.
pub const TRAILERS: usize = 8 * 1024;

/// Longest message, in bytes.
const MESSAGE: usize = 512;
/// Most violations that are listed.
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

/// The message, and in place of what is cut off how much of the violations is listed.
pub(super) fn message(message: &str, listed: usize, violations: usize) -> String {
    match violations - listed {
        0 => cut(message, MESSAGE).into_owned(),
        more => {
            let suffix = format!("; and {more} more");
            // What the listed ones say stands in the details.
            format!("{}{suffix}", cut(message, MESSAGE - suffix.len()))
        }
    }
}

/// The first violations, as many as there is room for.
pub(super) fn violations(violations: &[Violation]) -> Vec<(String, String)> {
    let mut room = Room(VIOLATION_BYTES);
    let cut = |Violation { field, description }: &Violation| {
        (cut(field, FIELD).into_owned(), cut(description, DESCRIPTION).into_owned())
    };
    violations.iter().take(VIOLATIONS).map(cut).take_while(|(field, rule)| room.takes(field, rule)).collect()
}

/// Pairs with a value: Envoy's transcoder can't read an empty one. Those that there is no room for are left out.
pub(super) fn metadata(pairs: Vec<(&'static str, String)>) -> HashMap<String, String> {
    let mut room = Room(METADATA_BYTES);
    let pairs = pairs.into_iter().filter(|(_, value)| !value.is_empty());
    let pairs = pairs.map(|(key, value)| (key.to_owned(), cut(&value, VALUE).into_owned()));
    pairs.take_while(|(key, value)| room.takes(key, value)).collect()
}

/// A description, such as a quota's.
pub(super) fn description(text: &str) -> String {
    cut(text, DESCRIPTION).into_owned()
}

/// The beginning of a text, at most `limit` bytes of it, with an ellipsis where something is missing.
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

    fn takes(&mut self, one: &str, other: &str) -> bool {
        let left = self.0.checked_sub(one.len() + other.len() + Room::FRAME);
        self.0 = left.unwrap_or(0);
        left.is_some()
    }
}
