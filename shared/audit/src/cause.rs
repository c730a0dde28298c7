use keyplane_contracts::Violations;
use keyplane_contracts::audit::v1 as pb;
use keyplane_contracts::rules::audit as stated;
use keyplane_valkey::StreamEntry;

pub use keyplane_contracts::audit::v1::cause::Reason;

use crate::stream::{Damaged, text};

/// Words under which the store keeps reasons. Never change one: records hold it.
const WORDS: [(Reason, &str); 7] = [
    (Reason::Unspecified, ""),
    (Reason::Logout, "logout"),
    (Reason::Deactivated, "deactivated"),
    (Reason::CredentialChange, "credential_change"),
    (Reason::Compromised, "compromised"),
    (Reason::Administrative, "administrative"),
    (Reason::Policy, "policy"),
];

/// Reason for an operator's act, in the caller's words.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Kind of reason.
    pub reason: Reason,
    /// Person, service or job that wants the act. At most 128 bytes.
    pub initiator: String,
    /// Free text. At most 256 bytes, never a token.
    pub description: String,
}

// === impl Cause ===

impl Cause {
    /// Reads the cause of a request; `at` is the path of the message that holds it, with a dot behind it.
    pub fn parse(sent: Option<pb::Cause>, at: &str, violations: &mut Violations) -> Cause {
        let pb::Cause { reason, initiator, description } = sent.unwrap_or_default();
        for (name, text, most) in
            [("initiator", &initiator, stated::INITIATOR), ("description", &description, stated::DESCRIPTION)]
        {
            if text.len() > most || text.chars().any(char::is_control) {
                let length = text.len();
                let rule =
                    format!("must have at most {most} bytes and no control characters; {length} bytes were sent");
                violations.add(format!("{at}cause.{name}"), rule);
            }
        }
        let reason = Reason::try_from(reason).unwrap_or_else(|_| {
            violations.add(format!("{at}cause.reason"), format!("must be a Reason; {reason} is none"));
            Reason::Unspecified
        });
        Cause { reason, initiator, description }
    }

    /// Fields of a stream entry, with their values: `w` reason, `i` initiator, `d` description.
    #[must_use]
    pub fn fields(&self) -> [(&'static str, &str); 3] {
        let word = WORDS.iter().find(|(reason, _)| *reason == self.reason).map_or("", |(_, word)| *word);
        [("w", word), ("i", &self.initiator), ("d", &self.description)]
    }

    /// Reads the fields of a stream entry. An unknown reason, such as one of a later release, is unspecified.
    ///
    /// # Errors
    ///
    /// [`Damaged`] for text that is not UTF-8.
    pub fn read(entry: &StreamEntry) -> Result<Cause, Damaged> {
        let read = |name| text(entry, name).map(Option::unwrap_or_default);
        let word = read("w")?;
        let reason = WORDS.iter().find(|(_, known)| *known == word).map_or(Reason::Unspecified, |(reason, _)| *reason);
        Ok(Cause { reason, initiator: read("i")?.to_owned(), description: read("d")?.to_owned() })
    }
}

// === From ===

impl From<Cause> for pb::Cause {
    fn from(Cause { reason, initiator, description }: Cause) -> pb::Cause {
        pb::Cause { reason: reason.into(), initiator, description }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(fields: &[(&'static str, &'static str)]) -> StreamEntry {
        let fields = fields.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        StreamEntry { id: "1-0".into(), fields }
    }

    #[test]
    fn every_reason_has_one_stored_word() {
        let numbers = 0..i32::try_from(WORDS.len()).unwrap();
        for reason in numbers.map(|number| Reason::try_from(number).expect("no gaps")) {
            let cause = Cause { reason, ..Cause::default() };
            let [(_, word), ..] = cause.fields();
            let word: &'static str = WORDS.iter().find(|(_, known)| *known == word).unwrap().1;
            assert_eq!(Cause::read(&entry(&[("w", word)])), Ok(cause));
        }
        assert!(Reason::try_from(i32::try_from(WORDS.len()).unwrap()).is_err(), "a reason without a word");
    }

    #[test]
    fn unknown_words_and_missing_fields_are_tolerated() {
        let read = Cause::read(&entry(&[("w", "later_release"), ("i", "ops@x")])).expect("text");
        assert_eq!(read, Cause { initiator: "ops@x".into(), ..Cause::default() });
    }

    #[test]
    fn violations_name_the_field_and_no_value() {
        let mut violations = Violations::new();
        let sent = |initiator: String, description: String| {
            Some(pb::Cause { reason: Reason::Policy.into(), initiator, description })
        };
        let longest = Cause::parse(sent("x".repeat(128), "\u{e4}".repeat(128)), "", &mut violations);
        assert_eq!((longest.reason, violations.is_empty()), (Reason::Policy, true));
        Cause::parse(Some(pb::Cause { reason: 99, ..pb::Cause::default() }), "", &mut violations);
        Cause::parse(sent("x".repeat(129), "a\nb".to_owned()), "requests[0].key.", &mut violations);
        assert_eq!(
            violations.to_string(),
            "cause.reason: must be a Reason; 99 is none; \
             requests[0].key.cause.initiator: must have at most 128 bytes and no control characters; 129 bytes were sent; \
             requests[0].key.cause.description: must have at most 256 bytes and no control characters; 3 bytes were sent"
        );
    }
}
