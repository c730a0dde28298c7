//! Problems of the settings, worded for people.

use std::fmt;

/// Longest part of a value that an error repeats, in characters.
const SHOWN: usize = 80;
/// Longest distance, in edits, at which a known name is suggested.
const CLOSE: usize = 5;

/// Problem of one setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Name of the variable.
    pub name: String,
    /// Value, cut short, and masked when it may be secret; none when the name itself is wrong.
    pub value: Option<String>,
    /// Rule that is broken.
    pub rule: String,
}

/// Problems of all settings; never empty. Displays as one line per setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigErrors(Vec<Problem>);

// === impl Problem ===

impl Problem {
    pub(crate) fn new(name: &str, value: Option<String>, rule: &str) -> Self {
        let value = value.map(|value| match value.char_indices().nth(SHOWN) {
            Some((end, _)) => format!("{}... ({} characters)", &value[..end], value.chars().count()),
            None => value,
        });
        Self { name: name.to_owned(), value, rule: rule.to_owned() }
    }

    pub(crate) fn unknown(name: &str, known: &[&str]) -> Self {
        let nearest = known.iter().map(|other| (strsim::osa_distance(name, other), other)).min();
        let rule = match nearest {
            Some((distance, other)) if distance <= CLOSE => format!("is no setting; did you mean {other}?"),
            Some(_) | None => "is no setting; --print-config lists all".to_owned(),
        };
        Self::new(name, None, &rule)
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.value {
            Some(value) => write!(f, "{}: {value:?} {}", self.name, self.rule),
            None => write!(f, "{} {}", self.name, self.rule),
        }
    }
}

// === impl ConfigErrors ===

impl ConfigErrors {
    pub(crate) fn new(problems: Vec<Problem>) -> Self {
        Self(problems)
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.len() {
            1 => writeln!(f, "1 setting is wrong:")?,
            count => writeln!(f, "{count} settings are wrong:")?,
        }
        for problem in &self.0 {
            writeln!(f, "  {problem}")?;
        }
        Ok(())
    }
}

impl std::error::Error for ConfigErrors {}
