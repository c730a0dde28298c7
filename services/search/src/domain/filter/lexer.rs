use std::ops::Range;

use logos::Logos;

use super::Problem;

/// Part of a filter's text.
#[derive(Logos, Clone, Copy, Debug, PartialEq, Eq)]
#[logos(skip r"\s+")]
pub(super) enum Lexeme {
    #[token("(")]
    Open,
    #[token(")")]
    Close,
    #[token("=")]
    Equal,
    #[token("!=")]
    NotEqual,
    #[token("<")]
    Less,
    #[token("<=")]
    AtMost,
    #[token(">")]
    Greater,
    #[token(">=")]
    AtLeast,
    #[token(":")]
    Has,
    #[token("*")]
    Star,
    #[token(",")]
    Comma,
    #[regex(r#""([^"\\]|\\.)*""#)]
    #[regex(r#"'([^'\\]|\\.)*'"#)]
    Quoted,
    #[regex(r#""([^"\\]|\\.)*"#)]
    #[regex(r#"'([^'\\]|\\.)*"#)]
    Unclosed,
    /// Field, keyword or bare value.
    #[regex(r#"[^\s()=!<>:*,"'\\\p{Cc}]+"#)]
    /// Time, the only bare value that holds colons.
    #[regex(r"[0-9]{4}-[0-9]{2}-[0-9]{2}[Tt][0-9:.]*([Zz]|[+-][0-9:]*)?")]
    Word,
}

/// Part of a filter's text with its bytes.
#[derive(Clone, Debug)]
pub(super) struct Piece {
    pub(super) lexeme: Lexeme,
    pub(super) span: Range<usize>,
}

/// Splits a filter's text, in time linear in its length.
pub(super) fn split(text: &str) -> Result<Vec<Piece>, Problem> {
    let mut pieces = Vec::new();
    for (lexeme, span) in Lexeme::lexer(text).spanned() {
        match lexeme {
            Ok(Lexeme::Unclosed) => return Err(Problem::new(span.start, "this quote must be closed by another one")),
            Ok(lexeme) => pieces.push(Piece { lexeme, span }),
            Err(()) => return Err(Problem::new(span.start, "this character must stand in a quoted value")),
        }
    }
    Ok(pieces)
}
