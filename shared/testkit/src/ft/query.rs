//! Grammar of queries:
//!
//! ```text
//! query  = scope *( " " term )
//! term   = [ "-" ] ( clause | group )
//! group  = "(" term 1*( " " term ) ")" | "(" term 1*( " | " term ) ")"
//! clause = "@" attribute ":" ( "{" tag *( "|" tag ) "}" | "[" end " " end "]" | word )
//! scope  = "@_" attribute ":{" tag "}"
//! ```
//!
//! Alternatives hold no negation, at any depth: the local engine loses documents of `(a | (b -c))`.

use std::str::Chars;

/// Deepest nesting.
const MAX_DEPTH: usize = 64;
/// Maximum of words and tags.
const MAX_TOKENS: usize = 1_000;

struct Parser<'a> {
    rest: Chars<'a>,
    tokens: usize,
}

/// Checks the text of a query.
pub(super) fn check_query(text: &str, max_bytes: usize) -> Result<(), String> {
    if text.len() > max_bytes {
        return Err(format!("a query of {} bytes", text.len()));
    }
    let mut parser = Parser { rest: text.chars(), tokens: 0 };
    parser.query().map_err(|rule| {
        let at = text.len() - parser.rest.as_str().len();
        format!("query at byte {at}: {rule}")
    })
}

impl Parser<'_> {
    fn query(&mut self) -> Result<(), String> {
        if !self.rest.as_str().starts_with("@_") {
            return Err("a query begins with its scope".to_owned());
        }
        self.clause()?;
        while self.take(' ') {
            self.term(0)?;
        }
        if self.tokens > MAX_TOKENS {
            return Err(format!("{} words and tags", self.tokens));
        }
        if self.rest.as_str().is_empty() { Ok(()) } else { Err("something after the last term".to_owned()) }
    }

    /// Parses a term; returns whether it holds a negation.
    fn term(&mut self, depth: usize) -> Result<bool, String> {
        let negated = self.take('-');
        if self.peek('(') {
            return Ok(self.group(depth)? || negated);
        }
        self.clause()?;
        Ok(negated)
    }

    /// Parses a group; returns whether it holds a negation.
    fn group(&mut self, depth: usize) -> Result<bool, String> {
        if depth > MAX_DEPTH {
            return Err("too deep".to_owned());
        }
        self.expect('(')?;
        let mut negates = self.term(depth + 1)?;
        let separator = if self.rest.as_str().starts_with(" | ") { " | " } else { " " };
        let mut terms = 1;
        while let Some(rest) = self.rest.as_str().strip_prefix(separator) {
            self.rest = rest.chars();
            negates |= self.term(depth + 1)?;
            terms += 1;
        }
        self.expect(')')?;
        match (terms, separator) {
            (1, _) => Err("a group of one term".to_owned()),
            (_, " | ") if negates => Err("an alternative that holds a negation".to_owned()),
            _ => Ok(negates),
        }
    }

    fn clause(&mut self) -> Result<(), String> {
        self.expect('@')?;
        self.run("an attribute", |char| char.is_ascii_alphanumeric() || char == '_')?;
        self.expect(':')?;
        if self.take('{') {
            loop {
                self.tokens += 1;
                self.run("a tag", |char| char.is_ascii_alphanumeric() || char == '_')?;
                if self.take('}') {
                    return Ok(());
                }
                self.expect('|')?;
            }
        }
        if self.take('[') {
            let low = self.end()?;
            self.expect(' ')?;
            let high = self.end()?;
            self.expect(']')?;
            return if low <= high { Ok(()) } else { Err("an empty range".to_owned()) };
        }
        self.tokens += 1;
        self.run("a word", |char| {
            char.is_ascii_alphanumeric()
                || char == '_'
                || (!char.is_ascii() && !char.is_whitespace() && !char.is_control())
        })
    }

    fn end(&mut self) -> Result<f64, String> {
        let _exclusive = self.take('(');
        let text = self.rest.as_str();
        let length = text.find([' ', ']']).unwrap_or(text.len());
        let number = match &text[..length] {
            "-inf" => f64::NEG_INFINITY,
            "+inf" => f64::INFINITY,
            digits if digits.bytes().all(|byte| byte.is_ascii_digit() || b"-.".contains(&byte)) => {
                digits.parse().map_err(|_| "a number".to_owned())?
            }
            _ => return Err("a number in plain decimals".to_owned()),
        };
        self.rest = text[length..].chars();
        Ok(number)
    }

    fn run(&mut self, name: &str, allowed: impl Fn(char) -> bool) -> Result<(), String> {
        let text = self.rest.as_str();
        let length = text.find(|char| !allowed(char)).unwrap_or(text.len());
        self.rest = text[length..].chars();
        if length > 0 { Ok(()) } else { Err(format!("{name} is missing")) }
    }

    fn peek(&self, char: char) -> bool {
        self.rest.as_str().starts_with(char)
    }

    fn take(&mut self, char: char) -> bool {
        let found = self.peek(char);
        if found {
            self.rest.next();
        }
        found
    }

    fn expect(&mut self, char: char) -> Result<(), String> {
        if self.take(char) { Ok(()) } else { Err(format!("{char:?} is missing")) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn safe_queries_pass() {
        for text in [
            "@_s:{a_2fb}",
            "@_s:{a} @t0:blue -@g0:{x|y_20z} @n0:[1 (2.5] @n1:[-inf +inf] @n1:[(-3 0]",
            "@_s:{a} -@_s:{a}",
            "@_s:{a} (@t0:a | (@t0:b @g0:{x}) | (@t0:c | @t0:d))",
            "@_s:{a} -(-@t0:a -(@t0:b -@g0:{x}))",
            "@_s:{a} (((@t0:a | @t0:b) @t0:c) | @t0:d)",
            "@_s:{a} @t0:\u{6771}\u{4eac} @t0:_run",
        ] {
            assert_eq!(check_query(text, 10_240), Ok(()), "{text}");
        }
    }

    #[test]
    fn query_that_the_engines_read_differently_is_found() {
        for text in [
            "*",
            "",
            "@t0:blue",
            "@_s:{a} *",
            "@_s:{a} blue",
            "@_s:{a} @t0:wid*",
            "@_s:{a} @t0:%widgit%",
            "@_s:{a} @t0:(a b)",
            "@_s:{a} @t0:(a|b)",
            "@_s:{a} @t0:\"a b\"",
            "@_s:{a*}",
            "@_s:{a\\*}",
            "@_s:{}",
            "@_s:{a|}",
            "@_s:{ a }",
            "@_s:{a} ~@t0:b",
            "@_s:{a} (-@t0:b | @t0:c)",
            "@_s:{a} (@t0:b)",
            "@_s:{a} @n0:[5]",
            "@_s:{a} @n0:[20 10]",
            "@_s:{a} @n0:[+10 +20]",
            "@_s:{a} @n0:[1e3 +inf]",
            "@_s:{a} @n0:[$lo 1]",
            "@_s:{a}  @t0:b",
            "@_s:{a} ",
            "@_s:{a} @t0:a-b",
            "@_s:{a} @a|b:x",
            "@_s:{a} =>[KNN 10 @v $q]",
            "@_s:{a} | @t0:b",
            "@_s:{a} @t0:a\u{3000}b",
        ] {
            assert!(check_query(text, 10_240).is_err(), "{text}");
        }
        let long = format!("@_s:{{a}} @t0:{}", "a".repeat(10_240));
        assert!(check_query(&long, 10_240).is_err());
        let many = format!("@_s:{{{}}}", vec!["a"; 1_001].join("|"));
        assert!(check_query(&many, 10_240).is_err());
        let deep = format!("@_s:{{a}} {}@t0:x", "(@t0:y | ".repeat(1_000));
        assert!(check_query(&deep, 10_240).is_err());
    }
}
