//! Settings as read, for people.

use std::borrow::Cow;
use std::fmt::Write as _;

/// Setting with its default, its value in effect and its meaning. Secrets and passwords are masked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Row {
    /// Name of the variable.
    pub name: &'static str,
    /// Value when unset; empty when there is none.
    pub default: String,
    /// Value in effect; empty when there is none.
    pub value: String,
    /// Meaning, unit and bounds.
    pub doc: Cow<'static, str>,
}

/// Settings that a program reads, in the order of reading.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Table(Vec<Row>);

// === impl Table ===

impl Table {
    pub(crate) fn new(rows: Vec<Row>) -> Self {
        Self(rows)
    }

    /// Returns the settings.
    pub fn rows(&self) -> &[Row] {
        &self.0
    }

    /// Renders `NAME=value` lines, as an env file takes them.
    pub fn print(&self) -> String {
        self.0.iter().fold(String::new(), |mut out, row| {
            let _ = writeln!(out, "{}={}", row.name, row.value);
            out
        })
    }

    /// Renders the table of `docs/operations.md`: name, default, meaning.
    pub fn markdown(&self) -> String {
        let mut out = String::from("| variable | default | meaning |\n|---|---|---|\n");
        for row in &self.0 {
            let default = if row.default.is_empty() { "-".to_owned() } else { format!("`{}`", row.default) };
            let _ = writeln!(out, "| `{}` | {default} | {} |", row.name, row.doc.replace('|', "\\|"));
        }
        out
    }
}
