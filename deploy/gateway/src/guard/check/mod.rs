//! Strict check of a JSON body against its message type.
//!
//! A body that passes is rewritten as canonical JSON, so the transcoder reads exactly the checked values, however it would
//! have read the caller's text.

mod any;
mod scalar;
mod value;
mod wording;

use serde::de::DeserializeSeed as _;

use self::value::Place;
use super::report::Report;
use super::schema::{Body, Kind, Message, Schemas};

/// Check of one body.
struct Check<'s> {
    schemas: &'s Schemas,
    body: &'s Body,
    /// Path and query of the URL, percent-encoded.
    url_path: &'s str,
    /// Canonical JSON so far; meaningless after a violation.
    out: Vec<u8>,
    /// Steps from the request to the current value.
    path: Vec<Step<'s>>,
    report: Report,
}

/// Step into a value.
enum Step<'s> {
    Field(&'s str),
    /// Field that the message lacks.
    Unknown(String),
    Item(usize),
    Key(String),
    /// Member of an object of any values.
    Member(String),
}

/// Shape that a value must have.
#[derive(Clone, Copy)]
enum Expects<'s> {
    One(&'s Kind),
    Message(&'s Message),
    List(&'s Kind),
    Map(&'s Kind),
    /// Object of any JSON values.
    Struct,
}

/// Returns canonical JSON of `bytes`, or every violation in them. O(size).
///
/// An empty body stays empty: the transcoder takes it as an empty message.
pub(crate) fn check(schemas: &Schemas, body: &Body, url_path: &str, bytes: &[u8]) -> Result<Vec<u8>, Report> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let out = Vec::with_capacity(bytes.len() + 64);
    let mut check = Check { schemas, body, url_path, out, path: Vec::new(), report: Report::default() };
    if !body.field.is_empty() {
        check.path.push(Step::Field(&body.field));
    }
    match (body.message, std::str::from_utf8(bytes)) {
        (None, _) => check.violation(|| "is not allowed on this route; leave it out".to_owned()),
        (_, Err(error)) => {
            check.violation(|| format!("must be UTF-8; byte {} is invalid", error.valid_up_to() + 1));
        }
        (Some(message), Ok(json)) => {
            let message = schemas.message(message);
            let mut reader = serde_json::Deserializer::from_str(json);
            let read = Place::message(&mut check, message).deserialize(&mut reader).and_then(|()| reader.end());
            if let Err(error) = read {
                check.path.truncate(usize::from(!body.field.is_empty()));
                check.violation(|| wording::malformed(&error));
            }
        }
    }
    if check.report.is_empty() { Ok(check.out) } else { Err(check.report) }
}

// === impl Check ===

impl<'s> Check<'s> {
    /// Adds a violation of the current value. `description` runs only if the violation will be listed.
    fn violation(&mut self, description: impl FnOnce() -> String) {
        let path = &self.path;
        self.report.add(|| (render(path), description()));
    }

    /// Adds a violation of a member of the current value.
    fn violation_at(&mut self, step: Step<'s>, description: impl FnOnce() -> String) {
        self.path.push(step);
        let path = &self.path;
        self.report.add(|| (render(path), description()));
        self.path.pop();
    }

    fn string(&mut self, text: &str) {
        // Writing to memory can't fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }
}

/// Path for people, e.g. `policy.tenantLimits["a"].amount`; `body` for the whole body.
fn render(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Item(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => text.push_str(&format!("[{}]", wording::quoted(key))),
            Step::Unknown(name) | Step::Member(name) if !wording::is_name(name) => {
                text.push_str(&format!("[{}]", wording::quoted(name)));
            }
            Step::Field(name) => join(&mut text, name),
            Step::Unknown(name) | Step::Member(name) => join(&mut text, name),
        }
    }
    if text.is_empty() { "body".to_owned() } else { text }
}

fn join(text: &mut String, name: &str) {
    if !text.is_empty() {
        text.push('.');
    }
    text.push_str(name);
}

/// Writes a comma, unless the object whose members begin at `start` is empty so far.
fn separate(check: &mut Check<'_>, start: usize) {
    if check.out.len() > start {
        check.out.push(b',');
    }
}

/// Index of the field with this JSON or proto name.
fn find(message: &Message, name: &str) -> Option<usize> {
    message.fields.iter().position(|field| field.json == name || field.proto == name)
}
