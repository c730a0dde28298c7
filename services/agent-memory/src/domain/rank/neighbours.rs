//! Parts of the score that a memory has by its place in a conversation.

use super::super::item::Session;
use super::weights::Weights;

/// Longest distance between neighbours, in places of the conversation.
const REACH: u32 = 2;

/// Neighbours of the item at `at`, 1 or 2 places away in the conversation, with the distance. None outside of conversations.
pub(super) fn around(session: &Session, at: usize) -> impl Iterator<Item = (usize, u32)> {
    let items = if session.conversation { &session.items[..] } else { &[] };
    let reach = REACH as usize;
    let range = at.saturating_sub(reach)..(at + reach + 1).min(items.len());
    range.filter_map(move |other| {
        let distance = items[other].sequence.abs_diff(items.get(at)?.sequence);
        (1..=REACH).contains(&distance).then_some((other, distance))
    })
}

/// Score that the neighbours in the conversation lend to the item at `at`.
pub(super) fn lent(session: &Session, own: &[f32], at: usize, weights: &Weights) -> f32 {
    let share = |distance| if distance == 1 { weights.near } else { weights.far };
    around(session, at).map(|(other, distance)| share(distance) * own[other]).sum()
}

/// Best score of each item's session; outside of conversations, each memory is a session of its own.
pub(super) fn bests(session: &Session, scores: &[f32]) -> Vec<f32> {
    if !session.conversation {
        return scores.to_vec();
    }
    let best = scores.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    vec![best; scores.len()]
}
