//! Sort keys: numbers that order texts, exact below 2^53.

use super::analysis::fold_text;

/// Letters and digits of a key.
const LENGTH: usize = 10;
/// Digits of a key: none, `0` to `9`, `a` to `z`.
const BASE: u64 = 37;
/// First key of texts that begin with a letter outside ASCII: 37^10.
const OTHERS: u64 = BASE.pow(10);
/// Letters of the key of such a text, and bits of each.
const OTHER_LENGTH: usize = 3;
const OTHER_BITS: u32 = 17;

/// Key of a text or tag: its first 10 letters and digits, folded, as a number to the base 37. Texts that begin with a letter
/// outside ASCII come after all others, by the code points of their first 3. None without letters and digits.
#[must_use]
#[expect(clippy::cast_precision_loss, reason = "keys are below 2^53")]
pub fn text(text: &str) -> Option<f64> {
    let folded = fold_text(text, LENGTH);
    let first = folded.chars().next()?;
    let key = if first.is_ascii() {
        let digits = folded.chars().map(digit).chain(std::iter::repeat(0)).take(LENGTH);
        digits.fold(0, |key, digit| key * BASE + digit)
    } else {
        let codes = folded.chars().map(code).chain(std::iter::repeat(0)).take(OTHER_LENGTH);
        codes.fold(0, |key, code| (key << OTHER_BITS) | code) + OTHERS
    };
    Some(key as f64)
}

/// Key of a boolean: `true` comes after `false`.
#[must_use]
pub fn boolean(value: bool) -> f64 {
    if value { 1.0 } else { 0.0 }
}

/// Digit of a folded letter; letters outside ASCII count as `z`.
fn digit(character: char) -> u64 {
    match character {
        '0'..='9' => u64::from(character) - u64::from('0') + 1,
        'a'..='z' => u64::from(character) - u64::from('a') + 11,
        _ => BASE - 1,
    }
}

/// Code point, at most 17 bits.
fn code(character: char) -> u64 {
    u64::from(character).min((1 << OTHER_BITS) - 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::text;

    #[test]
    fn keys_order_by_letters_and_digits() {
        let names =
            ["", "1 & 1", "3M", "Aal", "Äb", "AB-1", "ab 2", "abc", "Zürich", "Ωmega", "Ёлка", "Яндекс", "東京"];
        let keys: Vec<Option<f64>> = names.iter().map(|name| text(name)).collect();
        assert_eq!(keys[0], None);
        for (pair, names) in keys.windows(2).zip(names.windows(2)) {
            assert!(pair[0] < pair[1], "{names:?}");
        }
    }

    #[test]
    fn only_the_first_ten_letters_count() {
        assert_eq!(text("International A"), text("INTERNATIONAL B"));
        assert_ne!(text("Internatio"), text("Internati"));
    }

    proptest! {
        #[test]
        fn keys_are_exact(value in any::<String>()) {
            if let Some(key) = text(&value) {
                prop_assert!(key > 0.0 && key < 9_007_199_254_740_992.0 && key.fract() == 0.0);
            }
        }

        #[test]
        fn keys_follow_the_order_of_short_ascii_words(one in "[a-z0-9]{1,10}", other in "[a-z0-9]{1,10}") {
            prop_assert_eq!(one.cmp(&other), text(&one).unwrap().total_cmp(&text(&other).unwrap()));
        }
    }
}
