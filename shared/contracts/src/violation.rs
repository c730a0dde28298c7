use std::fmt::{self, Display};

/// One field of a request that breaks a rule. Becomes a `BadRequest.FieldViolation`.
///
/// Descriptions name the rule and, where it helps, the length of the value, never the value itself: an error may end in a log,
/// and requests hold personal data.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct Violation {
    /// Path of the field, in proto spelling, e.g. `session.last_path`. Map keys stand in brackets. The server kit
    /// changes the spelling for JSON callers.
    pub field: String,
    /// Rule that the field breaks, for the developer who calls. Field names, and nothing else, stand in backticks:
    /// their spelling changes too.
    pub description: String,
}

/// Collects violations, so that a caller learns of all of them at once.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Violations(Vec<Violation>);

// === impl Violation ===

impl Violation {
    /// Violation of the rule in `description`, by `field`.
    pub fn new(field: impl Into<String>, description: impl Into<String>) -> Violation {
        Violation { field: field.into(), description: description.into() }
    }

    /// Violation of `rule` by the text `sent`, of which only the length is told.
    #[must_use]
    pub fn of_text(field: &str, rule: impl Display, sent: &str) -> Violation {
        if sent.is_empty() {
            return Violation::new(field, format!("{rule}, and is empty"));
        }
        Violation::new(field, format!("{rule}; {} bytes were sent", sent.len()))
    }

    /// Violation by the path at `index` of `update_mask`: it has `bytes` bytes, and is none of `known`.
    #[must_use]
    pub fn unknown_path(index: usize, bytes: usize, known: &[&str]) -> Violation {
        let number = index + 1;
        let known = known.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ");
        Violation::new(
            "update_mask",
            format!("its path number {number} ({bytes} bytes) is unknown; it may name {known}"),
        )
    }
}

// === impl Violations ===

impl Violations {
    /// Empty collector.
    #[must_use]
    pub fn new() -> Violations {
        Violations::default()
    }

    /// Notes that `field` breaks the rule `description`.
    pub fn add(&mut self, field: impl Into<String>, description: impl Into<String>) {
        self.0.push(Violation::new(field, description));
    }

    /// Keeps the value of a check that passed; notes the violation of one that failed.
    pub fn keep<T>(&mut self, result: Result<T, Violation>) -> Option<T> {
        result.map_err(|violation| self.0.push(violation)).ok()
    }

    /// Returns whether no rule is violated so far.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Violations so far, in the order of the checks.
    #[must_use]
    pub fn as_slice(&self) -> &[Violation] {
        &self.0
    }

    /// Ends the collection: `value` if nothing was violated.
    ///
    /// # Errors
    ///
    /// All violations that were collected.
    pub fn into_result<T>(self, value: T) -> Result<T, Vec<Violation>> {
        if self.0.is_empty() { Ok(value) } else { Err(self.0) }
    }

    /// Ends the collection: the value of a check that passed, if nothing was violated.
    ///
    /// # Errors
    ///
    /// Every violation that was collected; there is one if `parsed` is `None`.
    pub fn checked<T>(self, parsed: Option<T>) -> Result<T, Vec<Violation>> {
        match parsed {
            Some(value) if self.0.is_empty() => Ok(value),
            Some(_) | None => Err(self.0),
        }
    }
}

impl fmt::Display for Violations {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, violation) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{violation}")?;
        }
        Ok(())
    }
}

impl Extend<Violation> for Violations {
    fn extend<I: IntoIterator<Item = Violation>>(&mut self, violations: I) {
        self.0.extend(violations);
    }
}

impl IntoIterator for Violations {
    type Item = Violation;
    type IntoIter = std::vec::IntoIter<Violation>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

#[cfg(test)]
mod tests {
    use super::{Violation, Violations};

    #[test]
    fn all_violations_come_at_once() {
        let mut violations = Violations::new();
        assert_eq!(violations.keep(Ok(1)), Some(1));
        assert!(violations.is_empty());
        violations.add("a", "must be set");
        assert_eq!(violations.keep::<u8>(Err(Violation::new("b", "must be short"))), None);
        assert_eq!(violations.to_string(), "a: must be set; b: must be short");
        assert_eq!(violations.into_result(()).map_err(|all| all.len()), Err(2));
    }
}
