//! Header If-Match (RFC 9110, section 13.1.1), for requests that hold a version or an etag.

use keyplane_contracts::Violation;
use tonic::metadata::MetadataMap;

/// Name of the header in metadata and in violations.
pub const IF_MATCH: &str = "if-match";

/// Reads the tag that the resource must have; `None` without the header and for `*`, which matches any version. The quotes are optional.
///
/// # Errors
///
/// Violation of `if-match`: for several tags, and for a weak one, which never matches.
pub fn if_match(metadata: &MetadataMap) -> Result<Option<String>, Violation> {
    let invalid = || Violation::new(IF_MATCH, "must be one strong tag, e.g. \"3\", or *");
    let mut values = metadata.get_all(IF_MATCH).iter();
    let Some(value) = values.next() else { return Ok(None) };
    let value = value.to_str().ok().filter(|_| values.next().is_none()).ok_or_else(invalid)?.trim();
    if value == "*" {
        return Ok(None);
    }
    let inner = value.strip_prefix('"').map_or(Some(value), |rest| rest.strip_suffix('"')).ok_or_else(invalid)?;
    let is_plain = |byte: u8| byte.is_ascii_graphic() && !b"\",/".contains(&byte);
    if inner.is_empty() || !inner.bytes().all(is_plain) {
        return Err(invalid());
    }
    Ok(Some(inner.to_owned()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(values: &[&str]) -> Result<Option<String>, Violation> {
        let mut metadata = MetadataMap::new();
        for value in values {
            metadata.append(IF_MATCH, value.parse().expect("a value of a header"));
        }
        if_match(&metadata)
    }

    #[test]
    fn one_strong_tag_is_accepted() {
        assert_eq!(read(&[]), Ok(None));
        assert_eq!(read(&["*"]), Ok(None));
        for value in ["\"3\"", "3", " \"3\" "] {
            assert_eq!(read(&[value]), Ok(Some("3".to_owned())), "{value}");
        }
        assert_eq!(read(&["\"f0a1\""]), Ok(Some("f0a1".to_owned())));
        for values in [&["W/\"3\""][..], &["\"3\", \"4\""], &["3", "4"], &[""], &["\"3"], &["\"\""], &["3 4"]] {
            assert_eq!(read(values).map_err(|violation| violation.field), Err(IF_MATCH.to_owned()), "{values:?}");
        }
    }
}
