//! Percent-encoding of free text within the texts of this crate, so that it can hold no separator.

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};

/// Encoded bytes: all but `[A-Za-z0-9._~@-]`, as in keys.
const ENCODED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'.').remove(b'_').remove(b'~').remove(b'@').remove(b'-');

/// Error of a malformed text. The text is not repeated, since it may come from callers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{kind} is malformed: {rule}")]
pub struct Malformed {
    kind: &'static str,
    rule: &'static str,
}

/// Percent-encodes every byte but `[A-Za-z0-9._~@-]`, with capital letters.
pub fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push(&mut out, text);
    out
}

/// Decodes a text of [`encode`]; `None` for any other text, and for an empty one: one value has one text.
pub fn decode(text: &str) -> Option<Box<str>> {
    let decoded = percent_decode_str(text).decode_utf8().ok()?;
    // The crate lets broken escapes, small letters and bare bytes pass.
    let canonical = utf8_percent_encode(&decoded, ENCODED).flat_map(str::bytes).eq(text.bytes());
    (canonical && !text.is_empty()).then(|| decoded.into())
}

/// Appends `text` to `out` as [`encode`] does.
pub(crate) fn push(out: &mut String, text: &str) {
    out.extend(utf8_percent_encode(text, ENCODED));
}

/// Reads a number in the form of this crate and of Lua's `%d`: no plus sign, no leading zeros.
pub(crate) fn number(text: &str) -> Option<i64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit()) && (digits == "0" || !digits.starts_with('0'));
    if plain && text != "-0" { text.parse().ok() } else { None }
}

// === impl Malformed ===

impl Malformed {
    pub(crate) const fn new(kind: &'static str, rule: &'static str) -> Self {
        Self { kind, rule }
    }
}

#[cfg(test)]
mod tests {
    use super::{decode, encode, number};
    use proptest::prelude::*;

    #[test]
    fn separators_are_encoded() {
        assert_eq!(encode("a b;c,d=e%f\nä|:+"), "a%20b%3Bc%2Cd%3De%25f%0A%C3%A4%7C%3A%2B");
        assert_eq!(encode("A-z_0.9~@"), "A-z_0.9~@");
    }

    #[test]
    fn a_value_has_one_text() {
        for forged in
            ["", " ", "a b", "a;b", "a=b", "a,b", "a%", "a%2", "a%zz", "a%2f", "%41", "a:b", "ä", "%FF", "a\n"]
        {
            assert_eq!(decode(forged), None, "{forged:?} is not what `encode` makes, and must not be read");
        }
        assert_eq!(decode("a%2Fb").as_deref(), Some("a/b"));
    }

    #[test]
    fn numbers_have_one_text() {
        for (text, expected) in
            [("0", 0), ("-1", -1), ("9223372036854775807", i64::MAX), ("-9223372036854775808", i64::MIN)]
        {
            assert_eq!(number(text), Some(expected), "{text:?}");
        }
        for forged in ["", "-", "+1", "01", "-0", "-01", "1e3", " 1", "9223372036854775808", "１"] {
            assert_eq!(number(forged), None, "{forged:?} is not how a number is written");
        }
    }

    proptest! {
        #[test]
        fn encoded_text_comes_back(text in ".{1,40}") {
            let encoded = encode(&text);
            prop_assert!(encoded.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._~@-%".contains(&byte)));
            let decoded = decode(&encoded);
            prop_assert_eq!(decoded.as_deref(), Some(text.as_str()));
        }

        #[test]
        fn garbage_is_malformed_or_canonical(text in "[%a-fA-F0-9 ;=,ä]{0,12}") {
            if let Some(decoded) = decode(&text) {
                prop_assert_eq!(encode(&decoded), text);
            }
        }
    }
}
