//! Strict check of a JSON body against its message type. A body that passes is written anew, in canonical JSON: what the
//! transcoder then reads is what was checked, however it would have read the caller's text.

mod object;
mod scalar;
mod text;
mod value;

use serde::de::DeserializeSeed as _;

use self::value::Place;
use super::report::Report;
use super::schema::{Body, Message, Schemas};

/// Check of one body.
struct Check<'s> {
    schemas: &'s Schemas,
    /// Canonical JSON so far; of no use once there is a violation.
    out: Vec<u8>,
    /// Way from the request to the value that is read now.
    path: Vec<Step<'s>>,
    report: Report,
}

/// Step into a value.
enum Step<'s> {
    Field(&'s str),
    /// Field that the message does not have.
    Unknown(String),
    Item(usize),
    Key(String),
}

/// Canonical JSON of `bytes`, or every violation in them.
///
/// O(size). Nothing comes of an empty body: the transcoder takes it as an empty message.
pub(crate) fn check(schemas: &Schemas, body: &Body, bytes: &[u8]) -> Result<Vec<u8>, Report> {
    if bytes.is_empty() {
        return Ok(Vec::new());
    }
    let mut check =
        Check { schemas, out: Vec::with_capacity(bytes.len() + 64), path: Vec::new(), report: Report::default() };
    if !body.field.is_empty() {
        check.path.push(Step::Field(&body.field));
    }
    match (body.message, std::str::from_utf8(bytes)) {
        (None, _) => check.violation(|| "takes no body; leave it out".to_owned()),
        (_, Err(error)) => {
            check.violation(|| format!("must be UTF-8; byte {} is not", error.valid_up_to() + 1));
        }
        (Some(message), Ok(json)) => {
            let message = schemas.message(message);
            let mut reader = serde_json::Deserializer::from_str(json);
            let read = Place::message(&mut check, message).deserialize(&mut reader).and_then(|()| reader.end());
            if let Err(error) = read {
                check.path.truncate(usize::from(!body.field.is_empty()));
                check.violation(|| text::malformed(&error));
            }
        }
    }
    if check.report.is_empty() { Ok(check.out) } else { Err(check.report) }
}

// === impl Check ===

impl<'s> Check<'s> {
    /// Adds a violation of the value that is read now. `description` is called only if it is listed.
    fn violation(&mut self, description: impl FnOnce() -> String) {
        let path = &self.path;
        self.report.add(|| (render(path), description()));
    }

    /// Adds a violation of a member of the value that is read now.
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

/// Path for people, such as `policy.tenantLimits["a"].amount`; `body` for the whole of it.
fn render(path: &[Step<'_>]) -> String {
    let mut text = String::new();
    for step in path {
        match step {
            Step::Item(index) => text.push_str(&format!("[{index}]")),
            Step::Key(key) => text.push_str(&format!("[{}]", text::quoted(key))),
            Step::Unknown(name) if !text::is_name(name) => text.push_str(&format!("[{}]", text::quoted(name))),
            Step::Field(name) => join(&mut text, name),
            Step::Unknown(name) => join(&mut text, name),
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

/// Field whose JSON or proto name this is.
fn find(message: &Message, name: &str) -> Option<usize> {
    message.fields.iter().position(|field| field.json == name || field.proto == name)
}
