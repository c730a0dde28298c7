//! Paths and method calls in the tokens of macros and attributes.

use proc_macro2::{Delimiter, TokenStream, TokenTree};

/// Path of identifiers: `a::b::c`.
pub(crate) struct TokenPath {
    pub(crate) segments: Vec<String>,
    pub(crate) is_global: bool,
    pub(crate) line: usize,
}

/// Content of a token stream, groups included.
#[derive(Default)]
pub(crate) struct Tokens {
    pub(crate) paths: Vec<TokenPath>,
    /// Names after a dot, with their lines.
    pub(crate) methods: Vec<(String, usize)>,
    /// String literals, without quotes.
    pub(crate) strings: Vec<(String, usize)>,
}

// === impl Tokens ===

impl Tokens {
    pub(crate) fn read(stream: TokenStream) -> Tokens {
        let mut tokens = Tokens::default();
        tokens.walk(stream, &[]);
        tokens
    }

    /// Collects a stream. `prefix` belongs to each path of a `use` group, which are separated by commas.
    fn walk(&mut self, stream: TokenStream, prefix: &[String]) {
        let trees: Vec<TokenTree> = stream.into_iter().collect();
        let mut index = 0;
        let mut starts = true;
        while let Some(tree) = trees.get(index) {
            index += 1;
            match tree {
                TokenTree::Group(group) => self.walk(group.stream(), &[]),
                TokenTree::Literal(literal) => {
                    let text = literal.to_string();
                    self.strings.push((text.trim_matches('"').to_owned(), literal.span().start().line));
                }
                TokenTree::Punct(punct) => {
                    starts = punct.as_char() == ',';
                    continue;
                }
                TokenTree::Ident(ident) => {
                    let line = ident.span().start().line;
                    if is_punct(&trees, index.wrapping_sub(2), '.') && !is_punct(&trees, index.wrapping_sub(3), '.') {
                        self.methods.push((ident.to_string(), line));
                        continue;
                    }
                    let is_global = prefix.is_empty() && index >= 3 && is_colons(&trees, index - 3);
                    let mut segments = if starts { prefix.to_vec() } else { Vec::new() };
                    segments.push(plain(&ident.to_string()));
                    while is_colons(&trees, index) {
                        match trees.get(index + 2) {
                            Some(TokenTree::Ident(next)) => segments.push(plain(&next.to_string())),
                            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => {
                                self.walk(group.stream(), &segments);
                            }
                            _ => break,
                        }
                        index += 3;
                    }
                    self.paths.push(TokenPath { segments, is_global, line });
                }
            }
            starts = false;
        }
    }
}

fn is_punct(trees: &[TokenTree], index: usize, sign: char) -> bool {
    matches!(trees.get(index), Some(TokenTree::Punct(punct)) if punct.as_char() == sign)
}

fn is_colons(trees: &[TokenTree], index: usize) -> bool {
    is_punct(trees, index, ':') && is_punct(trees, index + 1, ':')
}

/// Identifier without the mark of a raw one.
pub(crate) fn plain(identifier: &str) -> String {
    identifier.trim_start_matches("r#").to_owned()
}
