//! Tag tokens: values in an alphabet that no query syntax uses, and reversible.

use std::fmt::Write as _;

use data_encoding::HEXLOWER;
use sha2::{Digest, Sha256};

/// Token of a tag value in the index: bytes of `[a-z0-9]` stand as they are, any other byte is `_` and two hex digits.
///
/// A value over [`Token::REVERSIBLE`] bytes becomes `_z` and the first 128 bits of its SHA-256, in hex; the empty value is `_e`,
/// a missing one [`Token::missing`]. Different values have different tokens, and no token holds a character of the query syntax.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(String);

/// Token of the empty value.
const EMPTY: &str = "_e";
/// Token of a missing value.
const MISSING: &str = "_0";
/// Start of the token of a long value.
const LONG: &str = "_z";

// === impl Token ===

impl Token {
    /// Longest value that its token can be turned back into, in bytes.
    pub const REVERSIBLE: usize = 120;

    /// Token of a value.
    #[must_use]
    pub fn new(value: &str) -> Token {
        if value.is_empty() {
            return Token(EMPTY.to_owned());
        }
        if value.len() > Token::REVERSIBLE {
            let digest = Sha256::digest(value.as_bytes());
            return Token(format!("{LONG}{}", HEXLOWER.encode(&digest[..16])));
        }
        let mut token = String::with_capacity(value.len() + 8);
        for byte in value.bytes() {
            if byte.is_ascii_lowercase() || byte.is_ascii_digit() {
                token.push(char::from(byte));
            } else {
                // Writing to a string never fails.
                let _ = write!(token, "_{byte:02x}");
            }
        }
        Token(token)
    }

    /// Token of documents without a value.
    #[must_use]
    pub fn missing() -> Token {
        Token(MISSING.to_owned())
    }

    /// Token in the index.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// Value of a token in the index; `None` for a missing value, a long one, and text that is no token.
    #[must_use]
    pub fn decode(token: &str) -> Option<String> {
        if token == EMPTY {
            return Some(String::new());
        }
        if token.is_empty() {
            return None;
        }
        let mut value = Vec::with_capacity(token.len());
        let mut bytes = token.bytes();
        while let Some(byte) = bytes.next() {
            value.push(match byte {
                b'a'..=b'z' | b'0'..=b'9' => byte,
                b'_' => digit(bytes.next()?)? * 16 + digit(bytes.next()?)?,
                _ => return None,
            });
        }
        String::from_utf8(value).ok()
    }
}

/// Value of a lower-case hex digit.
fn digit(byte: u8) -> Option<u8> {
    match byte {
        b'0'..=b'9' => Some(byte - b'0'),
        b'a'..=b'f' => Some(byte - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn tokens_hold_no_character_of_the_query_syntax() {
        assert_eq!(Token::new("active").as_str(), "active");
        assert_eq!(Token::new("In Progress*").as_str(), "_49n_20_50rogress_2a");
        assert_eq!(Token::new("\u{e4}").as_str(), "_c3_a4");
        assert_eq!(Token::new("_0").as_str(), "_5f0");
        assert_eq!(Token::new("").as_str(), "_e");
        assert_eq!(Token::new(&"x".repeat(120)).as_str(), "x".repeat(120));
        assert_eq!(Token::new(&"x".repeat(121)).as_str().len(), 34);
    }

    #[test]
    fn missing_and_long_values_are_not_decoded() {
        let long = Token::new(&"x".repeat(121));
        for token in [MISSING, long.as_str(), "", "_", "_4", "_4G", "A", "a|b", "_ff"] {
            assert_eq!(Token::decode(token), None, "{token}");
        }
    }

    proptest! {
        #[test]
        fn tokens_are_reversible_and_distinct(value in "\\PC{0,30}", other in "\\PC{0,30}") {
            let token = Token::new(&value);
            let harmless = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            prop_assert!(token.as_str().bytes().all(harmless));
            prop_assert_ne!(&token, &Token::missing());
            prop_assert_eq!(token == Token::new(&other), value == other);
            prop_assert_eq!(Token::decode(token.as_str()), Some(value));
        }

        #[test]
        fn hostile_tokens_decode_without_a_panic(text in "\\PC{0,40}") {
            let _ = Token::decode(&text);
        }
    }
}
