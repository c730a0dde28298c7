//! Syntax: text to a tree, without knowledge of the schema. Depth and number of terms are bounded while parsing.

use std::borrow::Cow;

use super::lexer::{Lexeme, Piece, split};
use super::{Filter, Problem};

/// Tree of a filter's text.
#[derive(Debug)]
pub(super) enum Syntax<'t> {
    All(Vec<Syntax<'t>>),
    Any(Vec<Syntax<'t>>),
    Not(Box<Syntax<'t>>),
    Is(Comparison<'t>),
}

/// Comparison of a field.
#[derive(Debug)]
pub(super) struct Comparison<'t> {
    pub(super) field: &'t str,
    pub(super) field_at: usize,
    pub(super) comparator: Comparator,
    pub(super) comparator_at: usize,
    pub(super) operand: Operand<'t>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparator {
    Equal,
    NotEqual,
    Less,
    AtMost,
    Greater,
    AtLeast,
    Has,
}

#[derive(Debug)]
pub(super) enum Operand<'t> {
    /// `*`
    Anything,
    /// One value.
    Value(Literal<'t>),
    /// Values in parentheses, joined by OR.
    OneOf(Vec<Literal<'t>>),
    /// Values in parentheses, joined by AND.
    EachOf(Vec<Literal<'t>>),
}

/// Value as it was written.
#[derive(Debug)]
pub(super) struct Literal<'t> {
    pub(super) text: Cow<'t, str>,
    pub(super) quoted: bool,
    pub(super) at: usize,
}

struct Parser<'t> {
    text: &'t str,
    pieces: Vec<Piece>,
    next: usize,
    terms: usize,
    values: usize,
}

const AMBIGUOUS: &str = "AND and OR must not be mixed without parentheses; write (a OR b) AND c, or a OR (b AND c)";

/// Parses a filter; `None` for blank text.
pub(super) fn parse(text: &str) -> Result<Option<Syntax<'_>>, Problem> {
    if text.len() > Filter::MAX_BYTES {
        let rule = format!("a filter must have at most {} bytes; got {}", Filter::MAX_BYTES, text.len());
        return Err(Problem::new(Filter::MAX_BYTES, rule));
    }
    let pieces = split(text)?;
    if pieces.is_empty() {
        return Ok(None);
    }
    let mut parser = Parser { text, pieces, next: 0, terms: 0, values: 0 };
    let syntax = parser.expression(0)?;
    match parser.peek() {
        None => Ok(Some(syntax)),
        Some(Lexeme::Close) => Err(parser.problem("this parenthesis closes none")),
        Some(_) => Err(parser.problem(parser.after_term())),
    }
}

// === impl Parser ===

impl<'t> Parser<'t> {
    /// Parses terms joined by AND, or by OR.
    fn expression(&mut self, depth: usize) -> Result<Syntax<'t>, Problem> {
        let first = self.term(depth)?;
        let Some(keyword @ ("AND" | "OR")) = self.word() else { return Ok(first) };
        let mut terms = vec![first];
        while let Some(other @ ("AND" | "OR")) = self.word() {
            if other != keyword {
                return Err(self.problem(AMBIGUOUS));
            }
            self.next += 1;
            terms.push(self.term(depth)?);
        }
        Ok(if keyword == "AND" { Syntax::All(terms) } else { Syntax::Any(terms) })
    }

    /// Parses a comparison or a group, with an optional negation.
    fn term(&mut self, depth: usize) -> Result<Syntax<'t>, Problem> {
        let Some(word) = self.word() else { return self.group(depth) };
        if word == "NOT" || word == "-" {
            self.next += 1;
            let inner = match self.word() {
                Some(_) => self.comparison(0)?,
                None => self.group(depth)?,
            };
            return Ok(Syntax::Not(Box::new(inner)));
        }
        if word.starts_with('-') {
            return Ok(Syntax::Not(Box::new(self.comparison(1)?)));
        }
        self.comparison(0)
    }

    /// Parses an expression in parentheses. The recursion is as deep as the parentheses, at most [`Filter::MAX_DEPTH`].
    fn group(&mut self, depth: usize) -> Result<Syntax<'t>, Problem> {
        if self.peek() != Some(Lexeme::Open) {
            return Err(self.problem("a field, NOT, - or a parenthesis must stand here"));
        }
        if depth == Filter::MAX_DEPTH {
            return Err(self.problem(format!("parentheses must nest at most {} deep", Filter::MAX_DEPTH)));
        }
        self.next += 1;
        let inner = self.expression(depth + 1)?;
        self.close()?;
        Ok(inner)
    }

    /// Parses a comparison; `sign` is the length of the minus sign before the field.
    fn comparison(&mut self, sign: usize) -> Result<Syntax<'t>, Problem> {
        let Some(word) = self.word() else { return Err(self.problem("a field must stand here")) };
        if matches!(word, "AND" | "OR" | "NOT") {
            return Err(self.problem("a field must stand here; AND, OR and NOT are keywords"));
        }
        self.terms += 1;
        if self.terms > Filter::MAX_TERMS {
            return Err(self.problem(format!("a filter must have at most {} comparisons", Filter::MAX_TERMS)));
        }
        let (field, field_at) = (word.get(sign..).unwrap_or_default(), self.at() + sign);
        self.next += 1;
        let comparator_at = self.at();
        let Some(comparator) = self.peek().and_then(comparator) else {
            let is_keyword = ["and", "or", "not"].iter().any(|keyword| field.eq_ignore_ascii_case(keyword));
            let hint = if is_keyword { "; the keywords are AND, OR and NOT, in capitals" } else { "" };
            return Err(self.problem(format!("one of = != < <= > >= : must follow the field{hint}")));
        };
        self.next += 1;
        let operand = self.operand()?;
        Ok(Syntax::Is(Comparison { field, field_at, comparator, comparator_at, operand }))
    }

    fn operand(&mut self) -> Result<Operand<'t>, Problem> {
        match self.peek() {
            Some(Lexeme::Star) => {
                self.next += 1;
                Ok(Operand::Anything)
            }
            Some(Lexeme::Open) => {
                self.next += 1;
                self.list()
            }
            Some(_) | None => self.literal().map(Operand::Value),
        }
    }

    /// Parses values joined by OR, or by AND, up to the closing parenthesis.
    fn list(&mut self) -> Result<Operand<'t>, Problem> {
        let mut values = vec![self.literal()?];
        let keyword = self.word();
        while let Some(word @ ("AND" | "OR")) = self.word() {
            if Some(word) != keyword {
                return Err(self.problem("values in parentheses must be joined by OR alone, or by AND alone"));
            }
            self.next += 1;
            values.push(self.literal()?);
        }
        if !matches!(self.peek(), Some(Lexeme::Close) | None) {
            return Err(
                self.problem("values in parentheses must be joined by OR or AND; a value with blanks is quoted")
            );
        }
        self.close()?;
        Ok(if keyword == Some("AND") { Operand::EachOf(values) } else { Operand::OneOf(values) })
    }

    fn literal(&mut self) -> Result<Literal<'t>, Problem> {
        let at = self.at();
        let slice = self.slice();
        let literal = match self.peek() {
            Some(Lexeme::Word) if matches!(slice, "AND" | "OR" | "NOT") => {
                return Err(self.problem("a value must stand here; AND, OR and NOT are quoted to be values"));
            }
            Some(Lexeme::Word) => Literal { text: Cow::Borrowed(slice), quoted: false, at },
            Some(Lexeme::Quoted) => Literal { text: unquote(slice, at)?, quoted: true, at },
            Some(_) | None => return Err(self.problem("a value must stand here")),
        };
        self.values += 1;
        if self.values > Filter::MAX_VALUES {
            return Err(self.problem(format!("a filter must have at most {} values", Filter::MAX_VALUES)));
        }
        self.next += 1;
        Ok(literal)
    }

    fn close(&mut self) -> Result<(), Problem> {
        match self.peek() {
            Some(Lexeme::Close) => {
                self.next += 1;
                Ok(())
            }
            Some(_) => Err(self.problem(self.after_term())),
            None => Err(self.problem("a parenthesis is not closed")),
        }
    }

    /// Rule for text that follows a complete term.
    fn after_term(&self) -> &'static str {
        let is_keyword = |word: &str| ["and", "or", "not"].iter().any(|keyword| word.eq_ignore_ascii_case(keyword));
        match self.peek() {
            Some(Lexeme::Word) if self.word() == Some("NOT") => "AND or OR must stand before NOT",
            Some(Lexeme::Word) if self.word().is_some_and(is_keyword) => "AND, OR and NOT must be written in capitals",
            Some(Lexeme::Star) => "a wildcard must stand alone after a colon; quote a value that holds *",
            Some(Lexeme::Has) => "AND, OR or the end must follow a value; quote a value that holds a colon",
            Some(_) | None => "AND, OR or the end must follow a comparison; quote a value that holds blanks",
        }
    }

    fn peek(&self) -> Option<Lexeme> {
        self.pieces.get(self.next).map(|piece| piece.lexeme)
    }

    /// Next piece, if it is a word.
    fn word(&self) -> Option<&'t str> {
        (self.peek() == Some(Lexeme::Word)).then(|| self.slice())
    }

    fn slice(&self) -> &'t str {
        self.pieces.get(self.next).and_then(|piece| self.text.get(piece.span.clone())).unwrap_or_default()
    }

    /// Byte at which the next piece starts.
    fn at(&self) -> usize {
        self.pieces.get(self.next).map_or(self.text.len(), |piece| piece.span.start)
    }

    fn problem(&self, rule: impl Into<String>) -> Problem {
        Problem::new(self.at(), rule)
    }
}

fn comparator(lexeme: Lexeme) -> Option<Comparator> {
    match lexeme {
        Lexeme::Equal => Some(Comparator::Equal),
        Lexeme::NotEqual => Some(Comparator::NotEqual),
        Lexeme::Less => Some(Comparator::Less),
        Lexeme::AtMost => Some(Comparator::AtMost),
        Lexeme::Greater => Some(Comparator::Greater),
        Lexeme::AtLeast => Some(Comparator::AtLeast),
        Lexeme::Has => Some(Comparator::Has),
        Lexeme::Open | Lexeme::Close | Lexeme::Star | Lexeme::Comma => None,
        Lexeme::Quoted | Lexeme::Unclosed | Lexeme::Word => None,
    }
}

/// Text between quotes, without the backslashes of escapes.
fn unquote(quoted: &str, at: usize) -> Result<Cow<'_, str>, Problem> {
    let inner = quoted.get(1..quoted.len().saturating_sub(1)).unwrap_or_default();
    if !inner.contains('\\') {
        return Ok(Cow::Borrowed(inner));
    }
    let mut text = String::with_capacity(inner.len());
    let mut characters = inner.char_indices();
    while let Some((offset, character)) = characters.next() {
        let escaped = if character == '\\' { characters.next().map(|(_, next)| next) } else { Some(character) };
        match escaped {
            Some(next) if character != '\\' || matches!(next, '"' | '\'' | '\\') => text.push(next),
            Some(_) | None => {
                return Err(Problem::new(at + 1 + offset, "a backslash must stand before a quote or a backslash"));
            }
        }
    }
    Ok(Cow::Owned(text))
}
