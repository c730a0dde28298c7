//! Words and tags of queries.

use std::fmt;

/// Longest token, in bytes. The local engine finds no longer words.
const MAX_TOKEN: usize = 128;
/// Longest tag, in bytes: a token of 120 bytes with each byte encoded in three.
const MAX_TAG: usize = 400;

/// Word or tag that a query may hold: letters, digits and `_` in ASCII, and any other character but spaces and controls.
/// Nothing in it has a meaning in the query language.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token(Box<str>);

/// Rejection of a text as a [`Token`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// Empty text.
    #[error("a token has at least one character")]
    Empty,
    /// Longer than the engine matches.
    #[error("a token has at most {max} bytes; got {bytes}")]
    TooLong {
        /// Length of the text.
        bytes: usize,
        /// Limit.
        max: usize,
    },
    /// Character with a meaning in the query language.
    #[error("a token consists of letters, digits and `_`; its character {at} is another")]
    Character {
        /// Position of the character, from 0.
        at: usize,
    },
}

// === impl Token ===

impl Token {
    /// Word of a text field, at most 128 bytes.
    ///
    /// # Errors
    /// Rule that `text` breaks.
    pub fn word(text: &str) -> Result<Token, TokenError> {
        Token::checked(text, MAX_TOKEN)
    }

    /// Tag, at most 400 bytes, of `[A-Za-z0-9_]` alone.
    ///
    /// # Errors
    /// Rule that `text` breaks.
    pub fn tag(text: &str) -> Result<Token, TokenError> {
        match text.chars().position(|char| !char.is_ascii()) {
            Some(at) => Err(TokenError::Character { at }),
            None => Token::checked(text, MAX_TAG),
        }
    }

    fn checked(text: &str, max: usize) -> Result<Token, TokenError> {
        if text.is_empty() {
            return Err(TokenError::Empty);
        }
        if text.len() > max {
            return Err(TokenError::TooLong { bytes: text.len(), max });
        }
        match text.chars().position(|char| !is_plain(char)) {
            Some(at) => Err(TokenError::Character { at }),
            None => Ok(Token(text.into())),
        }
    }

    /// Text of the token.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn is_plain(char: char) -> bool {
    if char.is_ascii() {
        char.is_ascii_alphanumeric() || char == '_'
    } else {
        !char.is_whitespace() && !char.is_control()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn token_holds_no_character_of_the_query_language() {
        for good in ["blue", "_0", "1234", "\u{43c}\u{438}\u{440}", "\u{6771}\u{4eac}", &"a".repeat(128)] {
            assert_eq!(Token::word(good).map(|token| token.to_string()), Ok(good.to_owned()));
        }
        for (char, at) in
            ("!\"#$%&'()*+,-./:;<=>?@[\\]^`{|}~ \t\n\0\u{a0}\u{3000}\u{85}").chars().zip(std::iter::repeat(1))
        {
            assert_eq!(Token::word(&format!("a{char}")), Err(TokenError::Character { at }), "{char:?}");
        }
        assert_eq!(Token::word(""), Err(TokenError::Empty));
        assert_eq!(Token::word(&"a".repeat(129)), Err(TokenError::TooLong { bytes: 129, max: 128 }));
        assert_eq!(Token::tag("\u{e4}"), Err(TokenError::Character { at: 0 }));
        assert!(Token::tag(&"_2f".repeat(120)).is_ok());
    }
}
