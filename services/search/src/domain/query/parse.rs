//! Parser of query texts.

use super::words::{Draft, drafts, forms, parts};
use super::{Exclusion, MAX_QUERY_BYTES, MAX_QUERY_WORDS, Phrase, Query, QueryError, Rules, Word};
use crate::domain::analysis::Analyzer;
use crate::domain::schema::Language;

/// Part of a query text.
#[derive(Clone, Copy, Debug)]
struct Piece<'a> {
    text: &'a str,
    quoted: bool,
    excluded: bool,
    /// True if the text goes on up to the end of the query.
    last: bool,
}

/// Parses a query text. Linear in its length.
///
/// # Errors
///
/// [`QueryError`] if the text has too many bytes or words. No other text fails.
pub fn parse(text: &str, rules: &Rules<'_>) -> Result<Query, QueryError> {
    if text.len() > MAX_QUERY_BYTES {
        return Err(QueryError::TooLong { bytes: text.len() });
    }
    let mut query = Query::default();
    let mut words: Vec<(Draft<'_>, bool)> = Vec::new();
    let mut count = 0;
    for piece in pieces(text) {
        if piece.excluded {
            count += exclude(piece, &mut query);
        } else if piece.quoted {
            let terms = parts(&Analyzer::new(Language::None).analyze(piece.text));
            count += terms.len();
            if !terms.is_empty() {
                query.phrases.push(Phrase { text: piece.text.to_owned(), terms });
            }
        } else {
            let drafts = drafts(piece.text);
            let ends_open = piece.last && drafts.last().is_some_and(|draft| piece.text.ends_with(draft.text));
            let total = drafts.len();
            for (index, draft) in drafts.into_iter().enumerate() {
                count += draft.parts.len();
                words.push((draft, ends_open && index + 1 == total));
            }
        }
    }
    if count > MAX_QUERY_WORDS {
        return Err(QueryError::TooManyWords { words: count });
    }
    query.words = complete(words, &query, rules);
    Ok(query)
}

/// Adds an exclusion; returns the number of its words.
fn exclude(piece: Piece<'_>, query: &mut Query) -> usize {
    let tokens = Analyzer::new(Language::None).analyze(piece.text);
    let any = if piece.quoted { vec![parts(&tokens)] } else { forms(&tokens) };
    let count = parts(&tokens).len();
    if count > 0 {
        query.exclusions.push(Exclusion { text: piece.text.to_owned(), any });
    }
    count
}

/// Words with their candidates, without stop words.
fn complete(drafts: Vec<(Draft<'_>, bool)>, query: &Query, rules: &Rules<'_>) -> Vec<Word> {
    let mut words: Vec<Word> = drafts.iter().map(|(draft, last)| Word::new(draft, *last, rules)).collect();
    if !rules.exact_words {
        add_synonyms(&mut words, &drafts, rules);
    }
    let is_stop = |draft: &Draft<'_>| matches!(draft.parts.as_slice(), [part] if rules.vocabulary.is_stop_word(part));
    if query.phrases.is_empty() && drafts.iter().all(|(draft, _)| is_stop(draft)) {
        return words;
    }
    words.into_iter().zip(&drafts).filter(|(_, (draft, _))| !is_stop(draft)).map(|(word, _)| word).collect()
}

/// Gives each word of a known phrase the phrase's synonyms: `(new | ny) (york | ny)` is `(new york) | ny`.
fn add_synonyms(words: &mut [Word], drafts: &[(Draft<'_>, bool)], rules: &Rules<'_>) {
    for first in 0..drafts.len() {
        let mut surfaces: Vec<String> = Vec::new();
        for (last, (draft, _)) in drafts.iter().enumerate().skip(first) {
            surfaces.extend(draft.parts.iter().cloned());
            if surfaces.len() > rules.vocabulary.longest() {
                break;
            }
            let synonyms = rules.vocabulary.synonyms(&surfaces);
            for word in words.iter_mut().take(last + 1).skip(first) {
                word.add_synonyms(synonyms);
            }
        }
    }
}

/// Pieces of a text: quoted parts, and what spaces separate outside of quotes.
fn pieces(text: &str) -> Vec<Piece<'_>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    loop {
        rest = rest.trim_start();
        let Some(first) = rest.chars().next() else { return pieces };
        let excluded = first == '-' && rest[1..].chars().next().is_some_and(|next| !next.is_whitespace());
        if excluded {
            rest = &rest[1..];
        }
        let quoted = rest.chars().next().is_some_and(is_quote);
        if quoted {
            rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
        }
        let ends = |letter: char| is_quote(letter) || (!quoted && letter.is_whitespace());
        let end = rest.find(ends).unwrap_or(rest.len());
        pieces.push(Piece { text: &rest[..end], quoted, excluded, last: end == rest.len() });
        rest = &rest[end..];
        if quoted {
            rest = &rest[rest.chars().next().map_or(0, char::len_utf8)..];
        }
    }
}

/// Returns whether the character begins and ends a phrase.
fn is_quote(character: char) -> bool {
    matches!(character, '"' | '\u{201c}' | '\u{201d}' | '\u{201e}')
}
