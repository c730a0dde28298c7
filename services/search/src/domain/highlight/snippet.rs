//! Choice of a snippet: the window of words with the most matches.

use std::ops::Range;

use super::Place;

/// Share of a window's words before its first match, so that a match has context: a quarter.
const LEAD: usize = 4;

/// Window of `size` words with the most matches, the earliest of equals, moved so that its first match has words before it.
/// A size of 0 takes all words. Linear.
pub(super) fn window(places: &[Place], size: usize) -> Range<usize> {
    if size == 0 || size >= places.len() {
        return 0..places.len();
    }
    let start = densest(places, size);
    let first = places.iter().skip(start).position(|place| place.matched).map_or(start, |offset| start + offset);
    let last = places.iter().take(start + size).rposition(|place| place.matched).unwrap_or(first);
    // The window may move left as long as it keeps its last match.
    let start = first.saturating_sub(size / LEAD).max((last + 1).saturating_sub(size)).min(places.len() - size);
    start..start + size
}

/// Start of the first window with the most matches.
fn densest(places: &[Place], size: usize) -> usize {
    let matched = |index: usize| usize::from(places.get(index).is_some_and(|place| place.matched));
    let mut count: usize = (0..size).map(matched).sum();
    let (mut best, mut most) = (0, count);
    for start in 1..=places.len() - size {
        count = count + matched(start + size - 1) - matched(start - 1);
        if count > most {
            (best, most) = (start, count);
        }
    }
    best
}
