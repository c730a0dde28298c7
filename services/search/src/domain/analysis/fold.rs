//! Folding of grapheme clusters: spelling and surface.

use std::sync::LazyLock;

use compact_str::CompactString;
use icu_casemap::CaseMapper;
use icu_normalizer::{ComposingNormalizer, DecomposingNormalizer};

use super::classes::{self, Class};

/// Folded cluster.
#[derive(Clone, Copy, Debug)]
pub(super) struct Folded<'a> {
    pub class: Class,
    pub surface: &'a str,
    pub spelling: &'a str,
}

/// Folds clusters one by one; keeps the buffers.
#[derive(Default)]
pub(super) struct Folder {
    surface: String,
    spelling: String,
}

/// Fold of one character, computed once.
struct Known {
    class: Class,
    surface: CompactString,
    spelling: CompactString,
}

/// ASCII in lower case, so that a character's fold is a slice.
const ASCII: &str = "\0\u{1}\u{2}\u{3}\u{4}\u{5}\u{6}\u{7}\u{8}\t\n\u{b}\u{c}\r\u{e}\u{f}\u{10}\u{11}\u{12}\u{13}\u{14}\
    \u{15}\u{16}\u{17}\u{18}\u{19}\u{1a}\u{1b}\u{1c}\u{1d}\u{1e}\u{1f} !\"#$%&'()*+,-./0123456789:;<=>?@\
    abcdefghijklmnopqrstuvwxyz[\\]^_`abcdefghijklmnopqrstuvwxyz{|}~\u{7f}";

/// First and last character of the table: the alphabets of Europe and the Near East.
const KNOWN_FIRST: u32 = 0x80;
const KNOWN_LAST: u32 = 0x7ff;

/// Folds of the characters from [`KNOWN_FIRST`] to [`KNOWN_LAST`].
static KNOWN: LazyLock<Vec<Known>> = LazyLock::new(|| {
    let mut folder = Folder::default();
    let fold = |code| {
        let character = char::from_u32(code).unwrap_or_default();
        let class = folder.compute(character.encode_utf8(&mut [0; 4]));
        Known { class, surface: folder.surface.as_str().into(), spelling: folder.spelling.as_str().into() }
    };
    (KNOWN_FIRST..=KNOWN_LAST).map(fold).collect()
});

// === impl Folder ===

impl Folder {
    /// Folds a cluster. ASCII and single characters below U+0800 come from tables.
    pub(super) fn fold<'a>(&'a mut self, cluster: &'a str) -> Folded<'a> {
        if let [byte @ 0..128] = cluster.as_bytes() {
            return ascii(*byte);
        }
        if let Some(known) = known(cluster) {
            return Folded { class: known.class, surface: &known.surface, spelling: &known.spelling };
        }
        let class = self.compute(cluster);
        Folded { class, surface: &self.surface, spelling: &self.spelling }
    }

    /// Computes both forms into the buffers.
    fn compute(&mut self, cluster: &str) -> Class {
        self.surface.clear();
        self.spelling.clear();
        if cluster.chars().any(classes::is_trade_sign) {
            return Class::Other;
        }
        if is_plain(cluster) {
            self.surface.push_str(cluster);
            self.spelling.push_str(cluster);
        } else {
            self.spelling.push_str(&spelling(cluster));
            self.surface.push_str(&surface(&self.spelling));
        }
        if self.surface.is_empty() && !self.spelling.is_empty() {
            self.spelling.clear();
        }
        classes::of_folded(&self.surface)
    }
}

/// Fold of an ASCII character.
fn ascii(byte: u8) -> Folded<'static> {
    let class = match byte {
        b'0'..=b'9' => Class::Digit,
        b'a'..=b'z' | b'A'..=b'Z' => Class::Letter,
        b'.' => Class::Point,
        b'-' | b'_' | b'\'' | b'&' | b'+' | b'~' | b'#' => Class::Joint,
        _ => Class::Other,
    };
    let at = usize::from(byte);
    let form = &ASCII[at..=at];
    Folded { class, surface: form, spelling: form }
}

/// Class and length of the ASCII letters, or digits, that `text` begins with. A last one before other characters is left out,
/// since marks may follow it.
pub(super) fn ascii_run(text: &str) -> Option<(Class, usize)> {
    let bytes = text.as_bytes();
    let first = bytes.first()?;
    let (class, length) = if first.is_ascii_alphabetic() {
        (Class::Letter, bytes.iter().take_while(|byte| byte.is_ascii_alphabetic()).count())
    } else if first.is_ascii_digit() {
        (Class::Digit, bytes.iter().take_while(|byte| byte.is_ascii_digit()).count())
    } else {
        return None;
    };
    let length = if bytes.get(length).is_some_and(|next| !next.is_ascii()) { length - 1 } else { length };
    (length > 0).then_some((class, length))
}

/// Fold of a cluster that is one character of the table.
fn known(cluster: &str) -> Option<&'static Known> {
    let mut characters = cluster.chars();
    let code = u32::from(characters.next()?);
    if characters.next().is_some() || code > KNOWN_LAST {
        return None;
    }
    KNOWN.get(usize::try_from(code.checked_sub(KNOWN_FIRST)?).ok()?)
}

/// Returns whether the cluster is one letter that is its own spelling and surface, as most of Han and kana are.
fn is_plain(cluster: &str) -> bool {
    let mut characters = cluster.chars();
    let (Some(letter), None) = (characters.next(), characters.next()) else { return false };
    classes::is_plain_letter(letter)
        && (DecomposingNormalizer::new_nfkd().is_normalized(cluster)
            || (classes::has_no_spaces(letter) && ComposingNormalizer::new_nfkc().is_normalized(cluster)))
}

/// NFKC with full case folding and ASCII digits, without ignorable characters.
fn spelling(cluster: &str) -> String {
    let decomposed = DecomposingNormalizer::new_nfkd().normalize(cluster);
    let folded = CaseMapper::new().fold_string(&decomposed);
    let kept = folded.chars().filter(|character| !classes::is_ignorable(*character));
    let digits: String = kept.map(|character| classes::ascii_digit(character).unwrap_or(character)).collect();
    ComposingNormalizer::new_nfkc().normalize(&digits).into_owned()
}

/// Spelling without diacritics.
pub(super) fn surface(spelling: &str) -> String {
    if spelling.is_ascii() {
        return spelling.to_owned();
    }
    let decomposed = DecomposingNormalizer::new_nfkd().normalize(spelling);
    let mut plain = String::with_capacity(spelling.len());
    for character in decomposed.chars().filter(|character| !classes::is_diacritic(*character)) {
        match classes::replacement(character) {
            Some(letters) => plain.push_str(letters),
            None => plain.push(character),
        }
    }
    ComposingNormalizer::new_nfkc().normalize(&plain).into_owned()
}
