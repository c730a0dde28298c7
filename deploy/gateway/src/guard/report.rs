//! Violations of a body, and the error response that lists them.

use std::fmt::Write as _;

use keyplane_contracts::reasons::kit::INVALID_REQUEST;
use keyplane_contracts::reasons::{DOMAIN, code_name};
use serde::Serialize;

/// Number of violations that are listed; further ones are counted.
const LISTED: usize = 20;
/// Longest path of a field, in bytes.
const FIELD: usize = 128;
/// Longest description of a rule, in bytes.
const DESCRIPTION: usize = 256;
/// Longest message, in bytes.
const MESSAGE: usize = 512;

/// Violations in the order of the body.
#[derive(Debug, Default)]
pub(crate) struct Report {
    listed: Vec<(String, String)>,
    more: usize,
}

#[derive(Serialize)]
struct Status<'r> {
    code: i32,
    status: &'static str,
    message: String,
    details: (Info, BadRequest<'r>),
}

#[derive(Serialize)]
struct Info {
    #[serde(rename = "@type")]
    kind: &'static str,
    reason: &'static str,
    domain: &'static str,
    metadata: Empty,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct BadRequest<'r> {
    #[serde(rename = "@type")]
    kind: &'static str,
    #[serde(rename = "fieldViolations")]
    violations: Vec<Violation<'r>>,
}

#[derive(Serialize)]
struct Violation<'r> {
    field: &'r str,
    description: &'r str,
}

// === impl Report ===

impl Report {
    pub(crate) fn is_empty(&self) -> bool {
        self.listed.is_empty()
    }

    /// Adds a violation. `violation` runs only if it will be listed.
    pub(crate) fn add(&mut self, violation: impl FnOnce() -> (String, String)) {
        if self.listed.len() == LISTED {
            self.more += 1;
            return;
        }
        let (field, description) = violation();
        self.listed.push((cut(field, FIELD), cut(description, DESCRIPTION)));
    }

    /// Response body: a `google.rpc.Status` of INVALID_ARGUMENT as JSON.
    pub(crate) fn json(&self) -> String {
        let violations: Vec<_> =
            self.listed.iter().map(|(field, description)| Violation { field, description }).collect();
        let details = (
            Info {
                kind: "type.googleapis.com/google.rpc.ErrorInfo",
                reason: INVALID_REQUEST.name,
                domain: DOMAIN,
                metadata: Empty {},
            },
            BadRequest { kind: "type.googleapis.com/google.rpc.BadRequest", violations },
        );
        // Strings alone can't fail.
        serde_json::to_string(&Status {
            code: INVALID_REQUEST.code.into(),
            status: code_name(INVALID_REQUEST.code),
            message: self.message(),
            details,
        })
        .unwrap_or_default()
    }

    /// Sentence that lists all violations, in the services' form.
    fn message(&self) -> String {
        let mut message = String::from("the request is invalid: ");
        for (index, (field, description)) in self.listed.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            // Writing to a string can't fail.
            let _ = write!(message, "{separator}{field}: {description}");
        }
        if self.more == 0 {
            return cut(message, MESSAGE);
        }
        let suffix = format!("; and {} more", self.more);
        cut(message, MESSAGE - suffix.len()) + &suffix
    }
}

/// Beginning of a text, at most `limit` bytes; an ellipsis marks a cut.
fn cut(mut text: String, limit: usize) -> String {
    const ELLIPSIS: &str = "...";
    if text.len() > limit {
        text.truncate(text.floor_char_boundary(limit - ELLIPSIS.len()));
        text.push_str(ELLIPSIS);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::Report;

    #[test]
    fn many_violations_are_counted_and_long_ones_cut() {
        let mut report = Report::default();
        for number in 0..1000 {
            report.add(|| (format!("f{number}{}", "x".repeat(10_000)), "y".repeat(10_000)));
        }
        let json: serde_json::Value = serde_json::from_str(&report.json()).unwrap();
        assert_eq!(json["details"][1]["fieldViolations"].as_array().unwrap().len(), 20);
        assert!(json["message"].as_str().unwrap().ends_with("...; and 980 more"), "{json}");
        assert!(report.json().len() < 12_000, "{}", report.json().len());
    }
}
