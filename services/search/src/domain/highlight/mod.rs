//! Highlights: the original text of a field with the matches marked, whole or as a snippet.
//!
//! - Marks go around the words of the original text, in its own spelling; matches that touch or overlap share one pair.
//! - A match is a word whose surface, stem or joined form is a term of the query or of its expansions, and each place where
//!   a list of terms stands at consecutive positions.
//! - Marks and ellipses lie on grapheme boundaries. Without the marks, a whole value is the text itself, byte for byte.
//! - With [`Escape::Html`] the text's `& < > " '` become entities and the marks stay as they are, so that the result is safe
//!   to show as HTML if the marks are. With [`Escape::None`] the text is untouched: never show it as HTML.
//!
//! Time is linear in the text: one pass of the analyser, one of the marks.

mod snippet;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, HashSet};
use std::ops::Range;

use super::analysis::{Analyzer, Token, stems_keep_the_first_letter};
use super::schema::Language;

/// Terms to mark, compiled once for all hits of a search.
#[derive(Clone, Debug, Default)]
pub struct Highlighter {
    terms: HashSet<String>,
    /// Lists of two terms or more, by their first.
    phrases: HashMap<String, Vec<Vec<String>>>,
    /// First letters of the stems among the terms; only words that begin with one are stemmed.
    stems: HashSet<char>,
}

/// Appearance of highlights.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Style<'a> {
    /// Text before a match.
    pub before: &'a str,
    /// Text behind a match.
    pub after: &'a str,
    /// Words of a snippet; 0 returns the whole text.
    pub snippet_words: usize,
    /// Treatment of the text's own characters.
    pub escape: Escape,
}

/// Treatment of characters that HTML gives a meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub enum Escape {
    /// Characters stay.
    #[default]
    None,
    /// `& < > " '` become entities.
    Html,
}

/// Text with its matches marked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Marked {
    /// Text or snippet.
    pub text: String,
    /// True if the text is a part of the value.
    pub snippet: bool,
    /// Number of marks.
    pub matches: usize,
}

/// Place of a word and whether it matches.
#[derive(Clone, Debug)]
struct Place {
    range: Range<usize>,
    matched: bool,
    /// True if the mark goes on to the next word, signs between them included: both are in one joined form.
    continues: bool,
}

/// Sign of text that a snippet leaves out.
const ELLIPSIS: &str = "…";

// === impl Highlighter ===

impl Highlighter {
    /// Highlighter of lists of terms, as candidates and phrases have them: a list of several matches at consecutive
    /// positions alone.
    #[must_use]
    pub fn new<'a>(lists: impl IntoIterator<Item = &'a [String]>) -> Highlighter {
        let mut highlighter = Highlighter::default();
        for list in lists {
            match list {
                [] => {}
                [term] => {
                    highlighter.stems.extend(term.strip_prefix('_').and_then(|stem| stem.chars().next()));
                    highlighter.terms.insert(term.clone());
                }
                [first, ..] => highlighter.phrases.entry(first.clone()).or_default().push(list.to_vec()),
            }
        }
        highlighter
    }

    /// Marks the matches in `text`, a value of a field of `language`. None if nothing matches.
    #[must_use]
    pub fn mark(&self, text: &str, language: Language, style: &Style<'_>) -> Option<Marked> {
        let places = self.places(text, language);
        if !places.iter().any(|place| place.matched) {
            return None;
        }
        let window = snippet::window(&places, style.snippet_words);
        let shown = places.get(window.clone()).unwrap_or_default();
        let start = if window.start == 0 { 0 } else { shown.first().map_or(0, |place| place.range.start) };
        let end = if window.end == places.len() { text.len() } else { shown.last().map_or(0, |place| place.range.end) };
        let snippet = start > 0 || end < text.len();
        let (text, matches) = write(text, start..end, &merge(shown), style);
        Some(Marked { text, snippet, matches })
    }

    /// Words of a text, in order.
    fn places(&self, text: &str, language: Language) -> Vec<Place> {
        let tokens = Analyzer::new(Language::None).analyze(text);
        let stemmer = Analyzer::new(language);
        let words: Vec<Token<'_>> = tokens.iter().filter(|token| !token.joined).collect();
        let place = |word: &Token<'_>| Place {
            range: word.start..word.end,
            matched: self.terms.contains(word.surface) || self.matches_stem(word, language, &stemmer),
            continues: false,
        };
        let mut places: Vec<Place> = words.iter().map(place).collect();
        for token in tokens.iter().filter(|token| token.joined && self.terms.contains(token.surface)) {
            match_joined(&mut places, &token);
        }
        for (position, word) in words.iter().enumerate() {
            for list in self.phrases.get(word.surface).into_iter().flatten() {
                let here = words.get(position..position + list.len());
                if here.is_some_and(|here| here.iter().zip(list).all(|(word, term)| word.surface == *term)) {
                    places.iter_mut().skip(position).take(list.len()).for_each(|place| place.matched = true);
                }
            }
        }
        places
    }

    fn matches_stem(&self, word: &Token<'_>, language: Language, stemmer: &Analyzer) -> bool {
        let first = word.surface.chars().next();
        let possible = match stems_keep_the_first_letter(language) {
            true => first.is_some_and(|letter| self.stems.contains(&letter)),
            false => !self.stems.is_empty(),
        };
        possible && stemmer.stem_of(word).is_some_and(|stem| self.terms.contains(&stem))
    }
}

/// Matches the words of a joined form.
fn match_joined(places: &mut [Place], token: &Token<'_>) {
    let first = usize::try_from(token.position).unwrap_or(usize::MAX);
    let count = usize::try_from(token.span).unwrap_or(usize::MAX);
    for (index, place) in places.iter_mut().skip(first).take(count).enumerate() {
        place.matched = true;
        place.continues |= index + 1 < count;
    }
}

/// Ranges of the matches; those that touch, overlap or belong to one joined form become one.
fn merge(places: &[Place]) -> Vec<Range<usize>> {
    let mut ranges: Vec<Range<usize>> = Vec::new();
    let mut continues = false;
    for place in places.iter().filter(|place| place.matched) {
        match ranges.last_mut() {
            Some(last) if continues || place.range.start <= last.end => last.end = last.end.max(place.range.end),
            _ => ranges.push(place.range.clone()),
        }
        continues = place.continues;
    }
    ranges
}

/// Writes a part of the text with its marks; returns their number too.
fn write(text: &str, part: Range<usize>, marks: &[Range<usize>], style: &Style<'_>) -> (String, usize) {
    let mut marked = String::with_capacity(part.len() + marks.len() * (style.before.len() + style.after.len()) + 8);
    if part.start > 0 {
        marked.push_str(ELLIPSIS);
    }
    let mut at = part.start;
    for mark in marks {
        escape(&mut marked, &text[at..mark.start], style.escape);
        marked.push_str(style.before);
        escape(&mut marked, &text[mark.clone()], style.escape);
        marked.push_str(style.after);
        at = mark.end;
    }
    escape(&mut marked, &text[at..part.end], style.escape);
    if part.end < text.len() {
        marked.push_str(ELLIPSIS);
    }
    (marked, marks.len())
}

fn escape(marked: &mut String, text: &str, escape: Escape) {
    if escape == Escape::None {
        marked.push_str(text);
        return;
    }
    for character in text.chars() {
        match character {
            '&' => marked.push_str("&amp;"),
            '<' => marked.push_str("&lt;"),
            '>' => marked.push_str("&gt;"),
            '"' => marked.push_str("&quot;"),
            '\'' => marked.push_str("&#39;"),
            _ => marked.push(character),
        }
    }
}
