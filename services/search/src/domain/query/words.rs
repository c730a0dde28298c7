//! Words of a query with their terms.

use unicode_segmentation::UnicodeSegmentation;

use super::{Candidate, Rules, Tier, Word};
use crate::domain::analysis::{Analyzer, Token, Tokens, is_unspaced};
use crate::domain::request::PrefixMode;
use crate::domain::schema::Language;

/// Letters from which on a word may have one typo, and two.
const ONE_TYPO: usize = 5;
const TWO_TYPOS: usize = 9;

/// Signs that keep the words around them together: `john.doe@example.com`, `/usr/lib`, `key=value`.
const CONNECTORS: &str = ".@/:\\=-_'’+&~#%";

/// Word of a query before its terms are known: consecutive tokens without a break.
pub(super) struct Draft<'a> {
    pub text: &'a str,
    /// Surfaces of the words, joined forms left out.
    pub parts: Vec<String>,
}

/// Surfaces of a text's words, joined forms left out.
pub(super) fn parts(tokens: &Tokens) -> Vec<String> {
    tokens.iter().filter(|token| !token.joined).map(|token| token.surface.to_owned()).collect()
}

/// Forms of a text that match it exactly: the words next to each other, and the form that joins them all.
pub(super) fn forms(tokens: &Tokens) -> Vec<Vec<String>> {
    let words = parts(tokens);
    let mut forms: Vec<Vec<String>> = joined(tokens).map(|joined| vec![joined]).into_iter().collect();
    if !words.is_empty() {
        forms.push(words);
    }
    forms
}

/// Joined form of all words.
fn joined(tokens: &Tokens) -> Option<String> {
    let whole = |token: &Token<'_>| token.joined && token.position == 0 && token.span == tokens.positions();
    tokens.iter().find(whole).map(|token| token.surface.to_owned())
}

/// Splits text without spaces where its words don't belong together: `red,blue` is two words.
pub(super) fn drafts(text: &str) -> Vec<Draft<'_>> {
    let tokens = Analyzer::new(Language::None).analyze(text);
    let mut drafts: Vec<(Draft<'_>, usize, usize)> = Vec::new();
    for token in tokens.iter().filter(|token| !token.joined) {
        let surface = token.surface.to_owned();
        match drafts.last_mut() {
            Some((draft, start, end)) if connects(text.get(*end..token.start)) => {
                *end = token.end.max(*end);
                draft.text = &text[*start..*end];
                draft.parts.push(surface);
            }
            _ => {
                let draft = Draft { text: &text[token.start..token.end], parts: vec![surface] };
                drafts.push((draft, token.start, token.end));
            }
        }
    }
    drafts.into_iter().map(|(draft, _, _)| draft).collect()
}

/// Returns whether the text between two words keeps them together; pairs overlap, and have none.
fn connects(gap: Option<&str>) -> bool {
    gap.is_none_or(|gap| gap.chars().all(|sign| CONNECTORS.contains(sign)))
}

// === impl Word ===

impl Word {
    /// Word of a draft, without synonyms; `last` if the query ends with it.
    pub(super) fn new(draft: &Draft<'_>, last: bool, rules: &Rules<'_>) -> Word {
        let tokens = Analyzer::new(Language::None).analyze(draft.text);
        let joined = joined(&tokens);
        let part = draft.parts.last().cloned().unwrap_or_default();
        let (before, parts) = match &joined {
            None => (draft.parts.iter().take(draft.parts.len().saturating_sub(1)).cloned().collect(), Vec::new()),
            Some(_) => (Vec::new(), draft.parts.clone()),
        };
        let spelling = if draft.parts.len() == 1 { spelling(&tokens) } else { None };
        let surface = joined.unwrap_or(part);
        let unspaced = is_unspaced(&surface);
        let lone = unspaced && is_lone(&surface);
        let mut candidates: Vec<Candidate> =
            forms(&tokens).into_iter().map(|terms| Candidate { tier: Tier::Exact, terms }).collect();
        if draft.parts.len() == 1 && is_alphabetic(&surface) {
            candidates.extend(stems(draft.text, &surface, rules.languages));
        }
        let named = draft.text.contains(['+', '#']);
        let fixed = rules.exact_words || !before.is_empty() || named;
        Word {
            text: draft.text.to_owned(),
            spelling: spelling.unwrap_or_else(|| surface.clone()),
            prefix: match rules.prefix {
                PrefixMode::None => false,
                PrefixMode::Last => lone || (last && !unspaced),
                PrefixMode::All => lone || !unspaced,
            },
            typos: if fixed { 0 } else { typos(&surface) },
            surface,
            before,
            parts,
            candidates,
        }
    }

    /// Adds synonyms that the word does not have.
    pub(super) fn add_synonyms(&mut self, synonyms: &[Vec<String>]) {
        for terms in synonyms {
            if !self.candidates.iter().any(|candidate| candidate.terms == *terms) {
                self.candidates.push(Candidate { tier: Tier::Synonym, terms: terms.clone() });
            }
        }
    }
}

fn spelling(tokens: &Tokens) -> Option<String> {
    tokens.iter().next()?.spelling.map(str::to_owned)
}

/// Returns whether a surface in a script without spaces is one letter, which begins pairs.
fn is_lone(surface: &str) -> bool {
    surface.graphemes(true).nth(1).is_none()
}

/// Returns whether a surface is a word of an alphabet: no number, identifier, emoji, or pair.
fn is_alphabetic(surface: &str) -> bool {
    surface.chars().next().is_some_and(char::is_alphabetic)
        && !surface.chars().any(char::is_numeric)
        && !is_unspaced(surface)
}

/// Edits that a word's length allows; numbers and identifiers allow none.
fn typos(surface: &str) -> u8 {
    if !is_alphabetic(surface) {
        return 0;
    }
    match surface.chars().count() {
        ..ONE_TYPO => 0,
        ONE_TYPO..TWO_TYPOS => 1,
        TWO_TYPOS.. => 2,
    }
}

/// Terms with the word's stem. A document's word that is its own stem has no stem term: the stem itself is one of the terms.
fn stems(text: &str, surface: &str, languages: &[Language]) -> Vec<Candidate> {
    let mut terms: Vec<String> = Vec::new();
    for language in languages.iter().filter(|language| **language != Language::None) {
        let analyzer = Analyzer::new(*language);
        for spelt in [text, surface] {
            let tokens = analyzer.analyze(spelt);
            let stem = tokens.iter().next().and_then(|token| token.stem).and_then(|stem| stem.strip_prefix('_'));
            let stem = stem.unwrap_or(surface);
            terms.push(format!("_{stem}"));
            terms.push(stem.to_owned());
        }
    }
    let mut distinct: Vec<Candidate> = Vec::new();
    for term in terms {
        let candidate = Candidate { tier: Tier::Stem, terms: vec![term] };
        if candidate.terms != [surface] && !distinct.contains(&candidate) {
            distinct.push(candidate);
        }
    }
    distinct
}
