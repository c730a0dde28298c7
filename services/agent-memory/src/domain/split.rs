//! Pieces of long texts: a piece scores by what it says, a long whole by its average.

use std::ops::Range;

use unicode_segmentation::UnicodeSegmentation;

/// Tokens up to which a text stays whole, and most tokens of a piece.
pub const MOST_TOKENS: u32 = 100;

/// Division of a text into parts.
type Level = fn(&str) -> Vec<Range<usize>>;

/// Splits `text` into pieces of at most `most` tokens, as `count` counts them: at paragraphs where they fit, else at sentences,
/// else between words. A single word of more tokens stays whole.
///
/// The pieces are in order, do not overlap, have no spaces at their ends, and hold all else. A text that fits is one piece; an empty
/// one has none. Counts each stretch of text a few times.
#[must_use]
pub fn split(text: &str, most: u32, count: &dyn Fn(&str) -> u32) -> Vec<Range<usize>> {
    let whole = trimmed(text, 0..text.len());
    if whole.is_empty() {
        return Vec::new();
    }
    if count(&text[whole.clone()]) <= most {
        return vec![whole];
    }
    let levels: [Level; 3] = [paragraphs, sentences, words];
    let parts = divide(text, whole, &levels, most, count);
    join(text, parts, most, count)
}

/// Parts that fit, of the first level that divides finely enough.
fn divide(
    text: &str,
    range: Range<usize>,
    levels: &[Level],
    most: u32,
    count: &dyn Fn(&str) -> u32,
) -> Vec<Range<usize>> {
    let Some((level, finer)) = levels.split_first() else { return vec![range] };
    if count(&text[range.clone()]) <= most {
        return vec![range];
    }
    let parts = level(&text[range.clone()]).into_iter();
    let placed = parts.map(|part| trimmed(text, range.start + part.start..range.start + part.end));
    placed.filter(|part| !part.is_empty()).flat_map(|part| divide(text, part, finer, most, count)).collect()
}

/// Joins neighbouring parts while they fit.
fn join(text: &str, parts: Vec<Range<usize>>, most: u32, count: &dyn Fn(&str) -> u32) -> Vec<Range<usize>> {
    let mut pieces: Vec<(Range<usize>, u32)> = Vec::new();
    for part in parts {
        let tokens = count(&text[part.clone()]);
        // The sum is a cheap bound; only what it lets through is counted.
        if let Some((last, sum)) = pieces.last_mut()
            && sum.saturating_add(tokens) <= most
            && count(&text[last.start..part.end]) <= most
        {
            last.end = part.end;
            *sum += tokens;
            continue;
        }
        pieces.push((part, tokens));
    }
    pieces.into_iter().map(|(piece, _)| piece).collect()
}

/// Stretches between empty lines.
fn paragraphs(text: &str) -> Vec<Range<usize>> {
    let mut start = 0;
    let mut found = Vec::new();
    for (at, gap) in text.match_indices("\n\n") {
        found.push(start..at);
        start = at + gap.len();
    }
    found.push(start..text.len());
    found
}

/// Sentences of UAX #29, and lines.
fn sentences(text: &str) -> Vec<Range<usize>> {
    text.split_sentence_bound_indices().map(|(at, sentence)| at..at + sentence.len()).collect()
}

/// Words of UAX #29, the spaces and signs between them among them.
fn words(text: &str) -> Vec<Range<usize>> {
    text.split_word_bound_indices().map(|(at, word)| at..at + word.len()).collect()
}

/// Range without the spaces at its ends.
fn trimmed(text: &str, range: Range<usize>) -> Range<usize> {
    let slice = &text[range.clone()];
    let start = range.start + (slice.len() - slice.trim_start().len());
    start..(start + slice.trim().len())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Words stand for tokens.
    fn count(text: &str) -> u32 {
        u32::try_from(text.split_whitespace().count()).expect("a short text")
    }

    fn pieces(text: &str, most: u32) -> Vec<&str> {
        split(text, most, &count).into_iter().map(|range| &text[range]).collect()
    }

    #[test]
    fn short_text_is_one_piece() {
        assert_eq!(pieces(" One. Two. ", 2), ["One. Two."]);
        assert!(pieces("  \n", 2).is_empty());
    }

    #[test]
    fn text_divides_at_paragraphs_then_sentences_then_words() {
        assert_eq!(pieces("a b c\n\nd e\n\nf", 3), ["a b c", "d e\n\nf"]);
        assert_eq!(pieces("One two. Three four. Five.", 3), ["One two.", "Three four. Five."]);
        assert_eq!(pieces("a b c d e", 2), ["a b", "c d", "e"]);
    }

    #[test]
    fn word_without_a_gap_stays_whole() {
        assert_eq!(split("abcdef", 2, &|text| text.len() as u32), vec![0..6]);
    }

    proptest! {
        #[test]
        fn pieces_hold_the_text_in_order(text in "([a-z]{1,6}[ .,\n]{1,3}){0,60}", most in 1_u32..20) {
            let ranges = split(&text, most, &count);
            prop_assert!(ranges.is_sorted_by(|a, b| a.end <= b.start));
            let kept: String = ranges.iter().map(|range| &text[range.clone()]).collect();
            let without_spaces = |text: &str| text.split_whitespace().collect::<String>();
            prop_assert_eq!(without_spaces(&kept), without_spaces(&text));
            prop_assert!(ranges.iter().all(|range| count(&text[range.clone()]) <= most));
        }

        #[test]
        fn any_text_is_split_on_character_boundaries(text in "\\PC{0,200}", most in 1_u32..20) {
            for range in split(&text, most, &|text| text.len() as u32) {
                prop_assert!(!text[range].is_empty());
            }
        }
    }
}
