//! Grammar of keys. There is no other way to make a key, so no input can forge another tenant's.
//!
//! ```text
//! <app>:<feature>:{<tenant>:<subject>}[:<part>]...     Key::tagged
//! <app>:<feature>:<tenant>[:<id part>]...:{p<n>}       Key::partitioned
//! <app>:<feature>~<index>~g<n>:{<tenant>:p<n>}[:<part>]...   Key::indexed: documents of one index
//! <app>:<feature>:ft:<index>.g<n>                      Index::new: name of the index
//! <app>:<feature>:layout                               version of the feature's layout
//! ```
//!
//! The braces are the hash tag of a cluster: keys that one script touches share it. A segment keeps the bytes
//! `[A-Za-z0-9._~@-]` and percent-encodes the others. A segment over 128 bytes, or one that starts with `h~`, becomes `h~`
//! and the first 128 bits of its SHA-256, in hex.

mod index;

use std::fmt;
use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use fred::bytes_utils::Str;
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use sha2::{Digest, Sha256};

use crate::Feature;

pub use index::Index;

/// Longest segment of a key, in bytes; a hash replaces a longer one.
const MAX_SEGMENT: usize = 128;
/// Start of the names of indexes, after the feature.
const INDEX: &str = "ft:";
const HASHED: &str = "h~";
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b'-');

/// Application that a deployment belongs to: the first segment of every key and channel.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct App(Str);

/// Rejection of a text as the name of an [`App`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("an app is 1 to 32 characters of a-z, 0-9 and '-', and starts with a letter or a digit")]
pub struct AppError;

/// Key of the store. Cloning is cheap.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Key {
    text: Str,
    feature: Feature,
}

// === impl App ===

impl App {
    /// Takes `[a-z0-9][a-z0-9-]{0,31}`.
    pub fn new(name: &str) -> Result<App, AppError> {
        let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
        if name.is_empty() || name.len() > 32 || name.starts_with('-') || !name.bytes().all(allowed) {
            return Err(AppError);
        }
        Ok(App(Str::from(name)))
    }

    /// Name of the application.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for App {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

// === impl Key ===

impl Key {
    /// `<app>:<feature>:{<tenant>:<subject>}[:<part>]...`: key of data that belongs to one user, client or document.
    pub fn tagged(app: &App, feature: Feature, tenant: &str, subject: &str, parts: &[&str]) -> Key {
        let mut text = Key::start(app, feature, tenant.len() + subject.len() + parts.len() * 16);
        text.push('{');
        push_segment(&mut text, tenant);
        text.push(':');
        push_segment(&mut text, subject);
        text.push('}');
        for part in parts {
            text.push(':');
            push_segment(&mut text, part);
        }
        Key { text: Str::from(text), feature }
    }

    /// `<app>:<feature>:<tenant>[:<id part>]...:{p<partition>}`: key of data that is spread over fixed partitions.
    pub fn partitioned(app: &App, feature: Feature, tenant: &str, id_parts: &[&str], partition: u32) -> Key {
        let mut text = Key::start(app, feature, tenant.len() + id_parts.len() * 40 + 8);
        push_segment(&mut text, tenant);
        for part in id_parts {
            text.push(':');
            push_segment(&mut text, part);
        }
        write!(text, ":{{p{partition}}}").expect("writing to a String cannot fail");
        Key { text: Str::from(text), feature }
    }

    /// `<prefix of the index>{<tenant>:p<partition>}[:<part>]...`: key of a document that an index covers. Its hash tag is that of
    /// [`Key::tagged`] with the subject `p<partition>`.
    pub fn indexed(index: &Index, tenant: &str, partition: u32, parts: &[&str]) -> Key {
        let mut text = String::with_capacity(index.prefix().len() + tenant.len() + 8 + parts.len() * 24);
        text.push_str(index.prefix());
        text.push('{');
        push_segment(&mut text, tenant);
        write!(text, ":p{partition}}}").expect("writing to a String cannot fail");
        for part in parts {
            text.push(':');
            push_segment(&mut text, part);
        }
        Key { text: Str::from(text), feature: index.feature() }
    }

    /// Prefix of all keys of one index.
    pub(crate) fn indexed_prefix(app: &App, feature: Feature, index: &str, generation: u32) -> String {
        let mut text = Key::start(app, feature, index.len() + 16);
        text.pop();
        text.push('~');
        push_segment(&mut text, index);
        write!(text, "~g{generation}:").expect("writing to a String cannot fail");
        text
    }

    /// Name of an index.
    pub(crate) fn index(app: &App, feature: Feature, index: &str, generation: u32) -> Key {
        let mut text = Key::start(app, feature, index.len() + 16);
        text.push_str(INDEX);
        push_segment(&mut text, index);
        write!(text, ".g{generation}").expect("writing to a String cannot fail");
        Key { text: Str::from(text), feature }
    }

    /// Index and generation in a name that [`Key::index`] made for this application; none in any other text.
    pub(crate) fn parse_index(app: &App, feature: Feature, text: &str) -> Option<(String, u32)> {
        let rest = text.strip_prefix(&Key::start(app, feature, 0))?.strip_prefix(INDEX)?;
        let (index, generation) = rest.rsplit_once(".g")?;
        Some((decoded(index)?, generation.parse().ok()?))
    }

    /// Last part of a key's text, decoded; none if the key holds a hash instead.
    pub fn last_part(text: &str) -> Option<String> {
        decoded(text.rsplit(':').next()?)
    }

    /// Reports whether a key holds a hash of the part `raw`, in place of its text.
    pub fn hides(raw: &str) -> bool {
        let mut text = String::new();
        push_segment(&mut text, raw);
        text.starts_with(HASHED)
    }

    pub(crate) fn layout(app: &App, feature: Feature) -> Key {
        let mut text = Key::start(app, feature, 8);
        text.push_str("layout");
        Key { text: Str::from(text), feature }
    }

    fn start(app: &App, feature: Feature, rest: usize) -> String {
        let mut text = String::with_capacity(app.as_str().len() + feature.name().len() + rest + 8);
        text.push_str(app.as_str());
        text.push(':');
        text.push_str(feature.name());
        text.push(':');
        text
    }

    /// Text of the key, ASCII only.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    pub(crate) fn feature(&self) -> Feature {
        self.feature
    }

    pub(crate) fn text(&self) -> &Str {
        &self.text
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::hash::Hash for Key {
    /// Hashes the text, so a map of keys can be searched by text.
    fn hash<H: std::hash::Hasher>(&self, state: &mut H) {
        self.as_str().hash(state);
    }
}

fn push_segment(text: &mut String, raw: &str) {
    let start = text.len();
    if raw.len() <= MAX_SEGMENT && !raw.starts_with(HASHED) {
        for piece in utf8_percent_encode(raw, ENCODED) {
            text.push_str(piece);
        }
        if text.len() - start <= MAX_SEGMENT {
            return;
        }
        text.truncate(start);
    }
    text.push_str(HASHED);
    HEXLOWER.encode_append(&Sha256::digest(raw.as_bytes())[..16], text);
}

/// Text of a segment; none if it is a hash.
fn decoded(segment: &str) -> Option<String> {
    if segment.starts_with(HASHED) {
        return None;
    }
    percent_decode_str(segment).decode_utf8().ok().map(std::borrow::Cow::into_owned)
}

#[cfg(test)]
mod tests;
