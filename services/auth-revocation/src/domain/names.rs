//! Rules of the names in tokens and revocations.

/// Longest issuer, jti, sid, client or kid, in bytes.
pub const LONGEST: usize = keyplane_contracts::rules::revocation::CLAIM;

/// Returns whether a text has at most [`LONGEST`] bytes and no control characters. Allocates nothing.
#[must_use]
pub fn is_nameable(text: &str) -> bool {
    // No control character of ASCII, and no sign that one beyond ASCII may be in it: then there is none.
    let plain = text.bytes().all(|byte| (0x20..0x7f).contains(&byte));
    text.len() <= LONGEST && (plain || !text.chars().any(char::is_control))
}

/// Returns whether a text is empty or the id of a user: at most 128 bytes of `[A-Za-z0-9._~@|:+-]`. Allocates nothing.
#[must_use]
pub fn is_user(text: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"._~@|:+-".contains(&byte);
    text.len() <= 128 && text.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use keyplane_contracts::names::Id;

    use super::*;

    #[test]
    fn control_characters_and_long_texts_are_not_nameable() {
        for good in ["j", "https://idp.example/", "grüße", "a b", &"x".repeat(256)] {
            assert!(is_nameable(good), "{good}");
        }
        for bad in ["a\nb", "\u{7f}", "a\u{85}b", &"x".repeat(257)] {
            assert!(!is_nameable(bad), "{bad:?}");
        }
    }

    #[test]
    fn a_user_is_an_id_or_missing() {
        for text in (0..=0x17f).filter_map(char::from_u32).map(String::from).chain(["x".repeat(128), "x".repeat(129)]) {
            assert_eq!(is_user(&text), Id::parse(&text, "").is_ok(), "{text:?}");
        }
        assert!(is_user(""), "a claim may be missing");
    }
}
