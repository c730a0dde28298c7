//! Content of a memory in a request: texts, labels, metadata, importance.

use std::collections::BTreeMap;

use compact_str::CompactString;
use keyplane_contracts::Violations;
use keyplane_contracts::memory::v1 as pb;
use keyplane_contracts::rules::memory as stated;

use crate::domain::Kind;

/// Checks a text of 1 to `most` bytes.
pub(super) fn text(sent: &str, most: usize, field: &str, violations: &mut Violations) {
    if !(1..=most).contains(&sent.len()) {
        violations.add(field, format!("must be 1 to {most} bytes; {} were sent", sent.len()));
    }
}

/// Text of at most `most` bytes, without control characters; empty is absent.
pub(super) fn label(sent: &str, most: usize, field: &str, violations: &mut Violations) -> CompactString {
    if sent.len() > most {
        violations.add(field, format!("must be at most {most} bytes; {} were sent", sent.len()));
    } else if sent.chars().any(char::is_control) {
        violations.add(field, "must have no control characters");
    }
    sent.into()
}

/// At most `most` texts of 1 to [`stated::LABEL`] bytes.
pub(super) fn labels(sent: &[String], most: usize, field: &str, violations: &mut Violations) -> Vec<CompactString> {
    if sent.len() > most {
        violations.add(field, format!("must be at most {most} texts; {} were sent", sent.len()));
        return Vec::new();
    }
    let read = |(index, text): (usize, &String)| {
        let field = format!("{field}[{index}]");
        if text.is_empty() {
            violations.add(field, "must not be empty");
            return CompactString::default();
        }
        label(text, stated::LABEL, &field, violations)
    };
    sent.iter().enumerate().map(read).collect()
}

/// Pairs of metadata.
pub(super) fn metadata(
    sent: std::collections::HashMap<String, String>,
    field: &str,
    violations: &mut Violations,
) -> BTreeMap<String, String> {
    if sent.len() > stated::METADATA {
        violations.add(field, format!("must be at most {} pairs; {} were sent", stated::METADATA, sent.len()));
    }
    let bytes: usize = sent.iter().map(|(key, value)| key.len() + value.len()).sum();
    if bytes > stated::METADATA_BYTES {
        violations.add(field, format!("must be at most {} bytes; {bytes} were sent", stated::METADATA_BYTES));
    }
    if let Some(key) = sent.keys().find(|key| !is_key(key)) {
        violations
            .add(field, format!("its keys must match {}; one of {} bytes does not", stated::METADATA_KEY, key.len()));
    }
    sent.into_iter().collect()
}

/// Keys of metadata to remove.
pub(super) fn keys(sent: Vec<String>, field: &str, violations: &mut Violations) -> Vec<String> {
    if sent.len() > stated::METADATA {
        violations.add(field, format!("must be at most {} keys; {} were sent", stated::METADATA, sent.len()));
    }
    for (index, key) in sent.iter().enumerate().filter(|(_, key)| !is_key(key)).take(stated::METADATA) {
        let rule = format!("must match {}; {} bytes were sent", stated::METADATA_KEY, key.len());
        violations.add(format!("{field}[{index}]"), rule);
    }
    sent
}

/// Importance, 0 to 1.
pub(super) fn importance(sent: Option<f32>, field: &str, violations: &mut Violations) -> Option<f32> {
    let sent = sent?;
    if !(0.0..=1.0).contains(&sent) {
        violations.add(field, "must be a number from 0 to 1");
    }
    Some(sent)
}

/// Kind of a field; none if it is unspecified.
pub(super) fn kind(sent: i32, field: &str, violations: &mut Violations) -> Option<Kind> {
    use pb::memory::Kind as Sent;
    match Sent::try_from(sent) {
        Ok(Sent::Unspecified) => None,
        Ok(Sent::Semantic) => Some(Kind::Semantic),
        Ok(Sent::Episodic) => Some(Kind::Episodic),
        Ok(Sent::Procedural) => Some(Kind::Procedural),
        Ok(Sent::Step) => Some(Kind::Step),
        Ok(Sent::Summary) => Some(Kind::Summary),
        Ok(Sent::Chunk) => Some(Kind::Chunk),
        Ok(Sent::Message) => Some(Kind::Message),
        Err(_) => {
            violations.add(field, "must be a kind that the contract names");
            None
        }
    }
}

fn is_key(key: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
    (1..=64).contains(&key.len()) && key.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_short_texts_that_print() {
        let read = |texts: &[&str]| {
            let sent: Vec<String> = texts.iter().map(|text| (*text).to_owned()).collect();
            let mut violations = Violations::new();
            labels(&sent, 2, "tags", &mut violations);
            violations.to_string()
        };
        assert_eq!(read(&["a", "Zürich"]), "");
        assert_eq!(read(&["a", "b", "c"]), "tags: must be at most 2 texts; 3 were sent");
        assert_eq!(read(&["", "a\nb"]), "tags[0]: must not be empty; tags[1]: must have no control characters");
        assert_eq!(read(&[&"x".repeat(129)]), "tags[0]: must be at most 128 bytes; 129 were sent");
    }

    #[test]
    fn metadata_is_bounded() {
        let read = |pairs: Vec<(String, String)>| {
            let mut violations = Violations::new();
            metadata(pairs.into_iter().collect(), "metadata", &mut violations);
            violations.as_slice().len()
        };
        assert_eq!(read(vec![("a.b-C_1".to_owned(), "any text\n".to_owned())]), 0);
        assert_eq!(read(vec![("a b".to_owned(), String::new())]), 1);
        assert_eq!(read(vec![("a".to_owned(), "x".repeat(4096))]), 1);
        assert_eq!(read((0..33).map(|n| (n.to_string(), String::new())).collect()), 1);
    }

    #[test]
    fn importance_is_a_share() {
        let mut violations = Violations::new();
        assert_eq!(importance(Some(1.0), "importance", &mut violations), Some(1.0));
        assert!(violations.is_empty());
        for bad in [-0.1, 1.1, f32::NAN] {
            importance(Some(bad), "importance", &mut violations);
        }
        assert_eq!(violations.as_slice().len(), 3);
    }
}
