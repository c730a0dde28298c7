//! Pages of a List call: their size, and the opaque token of the next page.

use std::fmt::Display;

use data_encoding::BASE64URL_NOPAD;

use crate::{Violation, Violations};

/// Longest page token, in bytes: every token of this service is shorter.
const MAX_TOKEN: usize = 1024;
/// Format of the tokens that this release writes.
const FORMAT: &str = "1 ";

/// Size of a page: `unset` where the caller sent 0, and at most `max`.
///
/// A negative size is a violation of `page_size`.
pub fn size(sent: i32, unset: u32, max: u32, violations: &mut Violations) -> u32 {
    match u32::try_from(sent) {
        Ok(0) => unset,
        Ok(size) => size.min(max),
        Err(_) => {
            violations.add("page_size", format!("must not be negative; {sent} was sent"));
            unset
        }
    }
}

/// Token of the page that follows `position` in the list of `parent`. A list without a parent passes an empty one.
#[must_use]
pub fn encode(parent: &str, position: impl Display) -> String {
    BASE64URL_NOPAD.encode(format!("{FORMAT}{position} {parent}").as_bytes())
}

/// Position in a page token, read by `parse`; `None` where the caller sent no token.
///
/// # Errors
///
/// Violation of `page_token` if [`encode`] did not make it, or made it for another parent.
pub fn decode<T>(token: &str, parent: &str, parse: impl FnOnce(&str) -> Option<T>) -> Result<Option<T>, Violation> {
    if token.is_empty() {
        return Ok(None);
    }
    let text = (token.len() <= MAX_TOKEN).then(|| BASE64URL_NOPAD.decode(token.as_bytes()).ok()).flatten();
    let text = text.and_then(|bytes| String::from_utf8(bytes).ok());
    let position = text.as_deref().and_then(|text| text.strip_prefix(FORMAT)?.strip_suffix(parent)?.strip_suffix(' '));
    let of_parent = if parent.is_empty() { "" } else { " of the same parent" };
    let rule = || Violation::new("page_token", format!("must be the `next_page_token` of a page{of_parent}"));
    position.and_then(parse).map(Some).ok_or_else(rule)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(token: &str, parent: &str) -> Result<Option<u64>, Violation> {
        decode(token, parent, |position| position.parse().ok())
    }

    #[test]
    fn size_is_capped_and_never_negative() {
        let mut violations = Violations::new();
        assert_eq!([0, 7, 101, i32::MAX].map(|sent| size(sent, 50, 100, &mut violations)), [50, 7, 100, 100]);
        assert!(violations.is_empty());
        assert_eq!(size(-1, 50, 100, &mut violations), 50);
        assert_eq!(violations.to_string(), "page_size: must not be negative; -1 was sent");
    }

    #[test]
    fn token_is_valid_for_its_parent_alone() {
        let token = encode("tenants/acme", 7);
        assert_eq!(number(&token, "tenants/acme"), Ok(Some(7)));
        assert_eq!(number("", "tenants/acme"), Ok(None));
        for parent in ["tenants/acm", "acme", "e", "tenants/acme2", ""] {
            assert!(number(&token, parent).is_err(), "{parent}");
        }
    }

    #[test]
    fn foreign_token_is_a_violation() {
        let other_format = BASE64URL_NOPAD.encode(b"2 7 acme");
        let not_a_number = encode("acme", "x");
        for token in ["x", "MSAx", "\u{e4}", &"A".repeat(2000), &other_format, &not_a_number] {
            let violation = number(token, "acme").expect_err(token);
            assert_eq!(violation.to_string(), "page_token: must be the `next_page_token` of a page of the same parent");
        }
        let violation = number("x", "").expect_err("no token");
        assert_eq!(violation.description, "must be the `next_page_token` of a page");
    }
}
