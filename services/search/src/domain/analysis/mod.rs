//! Analyser: text to the terms that the index holds and queries look for. Documents and queries pass through the same steps.
//!
//! | step | rule | example |
//! |---|---|---|
//! | cluster | grapheme clusters of UAX #29; a term never splits one | `é` as two code points is one |
//! | spelling | NFKC, full case folding, default-ignorable characters dropped, decimal digits as ASCII | `ＳＴＲＡẞＥ` → `strasse` |
//! | surface | spelling without the diacritics of alphabetic scripts; `ø` → `o`, `ł` → `l`, `ı` → `i`, `æ` → `ae`, … | `Łódź` → `lodz` |
//! | word | run of letters, or of digits, each at a position of its own; a mix of more than 4 runs is one word | `ab1234` → `ab`, `1234` |
//! | joined form | words without a break, or around one of `- ' . _ & + ~ #`, up to 8; none if a number begins and a point divides numbers, as in `1.2-3` | `AB-1234` → `ab1234` |
//! | pairs | overlapping pairs of clusters, for scripts without spaces; a lone cluster is itself | `東京都` → `東京`, `京都` |
//! | sign word | `++` behind letters, and `#` behind letters at the end of a word | `C++` → `c`, `plusplus`, joined `cplusplus` |
//! | emoji | each is a word; skin tones belong to the spelling only | `👍🏽` → `👍` |
//! | stem | Snowball, by the field's language, of the spelling; kept if it differs from the surface | `running` → `_run` |
//! | limits | a term is cut at 64 bytes, a text at 64 KiB | |
//!
//! - Scripts without spaces: Han, Hiragana, Katakana, Bopomofo, Thai, Lao, Khmer and Burmese. Hangul is among them: Korean
//!   words carry particles, and pairs find a noun with any of them.
//! - A one-letter query in those scripts finds a letter that stands alone, and the pairs that it begins where prefixes match.
//! - Vowel signs of Indic scripts are no diacritics and stay. Arabic and Hebrew points go, as does the tatweel.
//! - Turkish `İ`, `I`, `ı` and `i` share the surface `i`.
//! - Other signs at the end of a word are lost: `GTK+` is `gtk`.
//! - Clusters whose folded form holds anything but letters, digits and marks (`℃`, `½`) separate words.

mod classes;
mod fold;
mod scan;
mod stem;
mod terms;
#[cfg(test)]
mod tests;

use std::ops::Range;

use classes::Class;
use fold::Folder;
use scan::Scanner;
use stem::Stems;
use unicode_segmentation::UnicodeSegmentation;

pub use terms::{Entry, EntryKind, distinct_terms, index_terms, read_terms};

use super::schema::Language;

/// Largest term, in bytes; a longer one is cut.
pub const MAX_TERM_BYTES: usize = 64;
/// Largest analysed text, in bytes; the rest of a longer one is not searched.
pub const MAX_TEXT_BYTES: usize = 64 * 1024;

/// Analyser for texts of one language. Cheap to make.
#[derive(Debug)]
pub struct Analyzer {
    stems: Stems,
}

/// Words of a text, in its order. A joined form follows the words that it joins.
#[derive(Clone, Debug, Default)]
pub struct Tokens {
    forms: String,
    slots: Vec<Slot>,
    positions: u32,
}

/// Word of a text, or several that are joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Token<'a> {
    /// Position of the word, or of the first that is joined; positions count words from 0.
    pub position: u32,
    /// Number of positions: 1, or the number of joined words.
    pub span: u32,
    /// First byte in the text, on a grapheme boundary.
    pub start: usize,
    /// Byte behind the last one in the text, on a grapheme boundary.
    pub end: usize,
    /// Folded form, which the index holds.
    pub surface: &'a str,
    /// Form with its diacritics, if it differs from the surface.
    pub spelling: Option<&'a str>,
    /// Stem behind an `_`, if it differs from the surface.
    pub stem: Option<&'a str>,
    /// True for a joined form.
    pub joined: bool,
}

/// [`Token`] whose forms lie in the shared string.
#[derive(Clone, Debug)]
struct Slot {
    position: u32,
    span: u32,
    start: u32,
    end: u32,
    surface: Range<u32>,
    spelling: Option<Range<u32>>,
    stem: Option<Range<u32>>,
    joined: bool,
}

// === impl Analyzer ===

impl Analyzer {
    /// Analyser for fields of `language`.
    #[must_use]
    pub fn new(language: Language) -> Analyzer {
        Analyzer { stems: Stems::new(language) }
    }

    /// Words of `text`. Linear in its length, which counts up to [`MAX_TEXT_BYTES`].
    #[must_use]
    pub fn analyze(&self, text: &str) -> Tokens {
        let text = cut(text, MAX_TEXT_BYTES);
        let mut folder = Folder::default();
        let mut scanner = Scanner::new(&self.stems, text.len());
        let mut start = 0;
        while let Some(cluster) = next_cluster(&text[start..]) {
            let mut end = start + cluster.len();
            if let Some((name, length)) = sign_word(&text[start..]).filter(|_| scanner.is_behind_a_letter(start)) {
                end = start + length;
                scanner.push_sign_word(name, start, end);
            } else if let Some((class, length)) = fold::ascii_run(&text[start..]) {
                end = start + length;
                scanner.push_ascii(class, &text[start..end], start);
            } else {
                scanner.push(&folder.fold(cluster), start, end);
            }
            start = end;
        }
        scanner.finish()
    }

    /// Stem of a word that an analyser without a language found, behind an `_`; none if it is the surface.
    ///
    /// Stems are most of the cost of an analysis; callers who need few of them ask for those.
    pub(crate) fn stem_of(&self, token: &Token<'_>) -> Option<String> {
        if token.joined {
            return None;
        }
        let stem = self.stems.stem(token.spelling.unwrap_or(token.surface), token.surface)?;
        Some(format!("_{stem}"))
    }
}

/// Returns whether stems of the language begin with the letter that their words begin with.
pub(crate) fn stems_keep_the_first_letter(language: Language) -> bool {
    !matches!(language, Language::Arabic | Language::Dutch | Language::Greek | Language::Tamil)
}

/// First grapheme cluster. Two ASCII bytes never share one, line ends apart, and those separate words in any case.
fn next_cluster(text: &str) -> Option<&str> {
    match text.as_bytes() {
        [] => None,
        [first] | [first, 0..128, ..] if first.is_ascii() => Some(&text[..1]),
        _ => text.graphemes(true).next(),
    }
}

/// Signs at the beginning of `text` that are a word behind letters: its form, and the signs' length.
fn sign_word(text: &str) -> Option<(&'static str, usize)> {
    let (word, signs) = match text.as_bytes() {
        [b'+', b'+', ..] => ("plusplus", "++"),
        [b'#', ..] => ("sharp", "#"),
        _ => return None,
    };
    let rest = &text[signs.len()..];
    // A mark behind the last sign belongs to it: a keycap is an emoji.
    let whole = next_cluster(&text[signs.len() - 1..]).is_some_and(|cluster| cluster.len() == 1);
    let ends = match signs {
        "++" => !rest.starts_with('+'),
        _ => !rest.starts_with(|next: char| next == '#' || next.is_alphanumeric()),
    };
    (whole && ends).then_some((word, signs.len()))
}

/// Folded letters and digits of `text`, without its spaces and signs; stops after `letters` characters.
pub(crate) fn fold_text(text: &str, letters: usize) -> String {
    let mut folder = Folder::default();
    let mut folded = String::new();
    let mut rest = text;
    while let Some(cluster) = next_cluster(rest) {
        rest = &rest[cluster.len()..];
        let form = folder.fold(cluster);
        if matches!(form.class, Class::Letter | Class::Digit | Class::Pair) {
            folded.push_str(form.surface);
        }
        if folded.chars().nth(letters).is_some() {
            break;
        }
    }
    folded
}

/// Returns whether a term belongs to a script without spaces.
pub(crate) fn is_unspaced(term: &str) -> bool {
    term.chars().next().is_some_and(classes::has_no_spaces)
}

/// Beginning of `text` with at most `bytes` bytes.
pub(crate) fn cut(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

// === impl Tokens ===

impl Tokens {
    /// Words and joined forms, by the position of their last word.
    pub fn iter(&self) -> impl Iterator<Item = Token<'_>> {
        self.slots.iter().map(|slot| self.token(slot))
    }

    /// Returns whether the text has no words.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// Number of words, joined forms not among them.
    #[must_use]
    pub fn positions(&self) -> u32 {
        self.positions
    }

    fn token(&self, slot: &Slot) -> Token<'_> {
        Token {
            position: slot.position,
            span: slot.span,
            start: slot.start as usize,
            end: slot.end as usize,
            surface: self.form(&slot.surface),
            spelling: slot.spelling.as_ref().map(|range| self.form(range)),
            stem: slot.stem.as_ref().map(|range| self.form(range)),
            joined: slot.joined,
        }
    }

    fn form(&self, range: &Range<u32>) -> &str {
        &self.forms[range.start as usize..range.end as usize]
    }

    /// Appends forms to the shared string.
    fn store(&mut self, parts: &[&str]) -> Range<u32> {
        let start = self.forms.len();
        parts.iter().for_each(|part| self.forms.push_str(part));
        narrow(start)..narrow(self.forms.len())
    }
}

/// Offset as 32 bits: texts have at most 64 KiB, and their forms a small multiple of it.
fn narrow(offset: usize) -> u32 {
    u32::try_from(offset).unwrap_or(u32::MAX)
}
