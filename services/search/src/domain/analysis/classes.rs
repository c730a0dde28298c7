//! Classes of characters, by their Unicode properties.

use icu_properties::props::{
    DefaultIgnorableCodePoint, ExtendedPictographic, GeneralCategory, GeneralCategoryGroup, RegionalIndicator, Script,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Part that a cluster plays in a text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Class {
    /// Letter of a script with spaces.
    Letter,
    /// Digit or another number.
    Digit,
    /// Letter of a script without spaces.
    Pair,
    /// Emoji or flag.
    Emoji,
    /// Sign that joins the words around it.
    Joint,
    /// Point: joins words, but not two numbers.
    Point,
    /// Nothing visible, such as a soft hyphen: the word goes on.
    Ignored,
    /// Space or sign: the word ends.
    Other,
}

/// Zeros of the decimal digits in common scripts; nine digits follow each.
const ZEROS: [u32; 17] = [
    0x0660, 0x06F0, 0x0966, 0x09E6, 0x0A66, 0x0AE6, 0x0B66, 0x0BE6, 0x0C66, 0x0CE6, 0x0D66, 0x0E50, 0x0ED0, 0x0F20,
    0x1040, 0x17E0, 0x1810,
];

/// Class of a folded cluster, by its characters.
pub(super) fn of_folded(folded: &str) -> Class {
    let Some(first) = folded.chars().next() else { return Class::Ignored };
    if let Some(joint) = joint(folded) {
        return joint;
    }
    if !folded.chars().all(is_word) {
        return if is_emoji(first) { Class::Emoji } else { Class::Other };
    }
    if has_no_spaces(first) {
        Class::Pair
    } else if GeneralCategoryGroup::Number.contains(category(first)) {
        Class::Digit
    } else {
        Class::Letter
    }
}

/// Class of a sign that joins words.
fn joint(folded: &str) -> Option<Class> {
    match folded {
        "." => Some(Class::Point),
        "-" | "\u{2010}" | "_" | "'" | "\u{2019}" | "\u{2bc}" | "&" | "+" | "~" | "#" | "\u{b7}" | "\u{5f3}"
        | "\u{5f4}" => Some(Class::Joint),
        _ => None,
    }
}

/// Returns whether a term may hold the character.
fn is_word(character: char) -> bool {
    let category = category(character);
    [GeneralCategoryGroup::Letter, GeneralCategoryGroup::Mark, GeneralCategoryGroup::Number]
        .iter()
        .any(|group| group.contains(category))
}

fn is_emoji(character: char) -> bool {
    CodePointSetData::new::<ExtendedPictographic>().contains(character)
        || CodePointSetData::new::<RegionalIndicator>().contains(character)
}

/// Returns whether the character's script writes words without spaces. The long-vowel mark belongs to two of them.
pub(super) fn has_no_spaces(character: char) -> bool {
    character == '\u{30fc}'
        || matches!(
            script(character),
            Script::Han
                | Script::Hiragana
                | Script::Katakana
                | Script::Bopomofo
                | Script::Hangul
                | Script::Thai
                | Script::Lao
                | Script::Khmer
                | Script::Myanmar
        )
}

/// Returns whether the character is a trade sign, whose letters are no part of the word before it.
pub(super) fn is_trade_sign(character: char) -> bool {
    matches!(character, '\u{a9}' | '\u{ae}' | '\u{2120}' | '\u{2122}')
}

/// Returns whether the character leaves no trace in a spelling. The zero-width space does: it separates words.
pub(super) fn is_ignorable(character: char) -> bool {
    !matches!(character, '\u{200b}') && CodePointSetData::new::<DefaultIgnorableCodePoint>().contains(character)
}

/// Returns whether the character is a letter without case that nothing replaces.
pub(super) fn is_plain_letter(character: char) -> bool {
    category(character) == GeneralCategory::OtherLetter && replacement(character).is_none() && !is_ignorable(character)
}

/// Returns whether the character is a mark that the surface drops. The voicing marks of kana are letters in effect.
pub(super) fn is_diacritic(character: char) -> bool {
    let mark = matches!(category(character), GeneralCategory::NonspacingMark | GeneralCategory::EnclosingMark);
    let alphabetic = || {
        matches!(
            script(character),
            Script::Inherited
                | Script::Latin
                | Script::Greek
                | Script::Cyrillic
                | Script::Arabic
                | Script::Hebrew
                | Script::Syriac
                | Script::Coptic
        )
    };
    let kana = matches!(character, '\u{3099}' | '\u{309a}');
    let tone = ('\u{1f3fb}'..='\u{1f3ff}').contains(&character);
    character == '\u{640}' || tone || (mark && !kana && alphabetic())
}

/// ASCII digit of a decimal digit in a common script.
pub(super) fn ascii_digit(character: char) -> Option<char> {
    let code = u32::from(character);
    let zero = ZEROS.iter().find(|zero| (**zero..**zero + 10).contains(&code))?;
    char::from_digit(code - zero, 10)
}

/// Letters that have no decomposition, and that writers without the letter replace.
pub(super) fn replacement(character: char) -> Option<&'static str> {
    Some(match character {
        'ø' => "o",
        'ł' => "l",
        'đ' | 'ð' => "d",
        'ħ' => "h",
        'ŧ' => "t",
        'ı' => "i",
        'æ' => "ae",
        'œ' => "oe",
        'þ' => "th",
        'ŋ' => "n",
        'ى' | 'ی' => "ي",
        'ة' => "ه",
        'ک' => "ك",
        _ => return None,
    })
}

fn category(character: char) -> GeneralCategory {
    CodePointMapData::<GeneralCategory>::new().get(character)
}

fn script(character: char) -> Script {
    CodePointMapData::<Script>::new().get(character)
}
