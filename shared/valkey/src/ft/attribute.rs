//! Names of attributes.

use std::fmt;

/// Attribute of an index: a fixed name, or a fixed prefix and an ordinal. No input can name one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Attribute {
    name: &'static str,
    ordinal: Option<u8>,
}

// === impl Attribute ===

impl Attribute {
    /// Attribute with a fixed name of `[a-z_][a-z0-9_]*`.
    ///
    /// # Panics
    /// Another name; at compile time in a constant.
    #[must_use]
    pub const fn new(name: &'static str) -> Attribute {
        assert!(is_name(name.as_bytes()), "an attribute's name is [a-z_][a-z0-9_]*");
        Attribute { name, ordinal: None }
    }

    /// Attribute `<prefix><ordinal>`.
    ///
    /// # Panics
    /// A prefix that breaks the rule of [`Attribute::new`].
    #[must_use]
    pub const fn numbered(prefix: &'static str, ordinal: u8) -> Attribute {
        Attribute { ordinal: Some(ordinal), ..Attribute::new(prefix) }
    }
}

impl fmt::Display for Attribute {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name)?;
        self.ordinal.map_or(Ok(()), |ordinal| write!(f, "{ordinal}"))
    }
}

const fn is_name(name: &[u8]) -> bool {
    let mut at = 0;
    while at < name.len() {
        let byte = name[at];
        let good = byte.is_ascii_lowercase() || byte == b'_' || (at > 0 && byte.is_ascii_digit());
        if !good {
            return false;
        }
        at += 1;
    }
    !name.is_empty()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attribute_name_follows_its_rule() {
        assert_eq!(Attribute::numbered("t", 12).to_string(), "t12");
        assert_eq!(Attribute::new("_s").to_string(), "_s");
        for bad in ["", "A", "1a", "a-b", "a:b"] {
            assert!(!is_name(bad.as_bytes()), "{bad}");
        }
    }
}
