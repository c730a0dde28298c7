//! Selection of ranked memories that fit a budget of tokens.

use std::collections::HashSet;

use super::item::{Item, Session};
use super::rank::Scored;
use super::render;

/// Limits of a selection.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Tokens of the rendered text.
    pub tokens: u32,
    /// Items; 0 for no limit.
    pub items: u32,
    /// Least score; none for no limit.
    pub min_score: Option<f32>,
}

/// Selection.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Packed {
    /// Places among the ranked items, the best first.
    pub taken: Vec<usize>,
    /// Tokens of the rendered text, estimated: lines and date lines counted one by one.
    pub tokens: u32,
    /// Items that did not fit.
    pub skipped: u32,
}

/// Takes ranked items by their order; one that does not fit is skipped, and smaller ones after it may still be taken.
///
/// The first item of a session and day pays for the date line. `count` counts the tokens of short texts: speakers and dates.
#[must_use]
pub fn pack(scored: &[Scored], sessions: &[Session], budget: Budget, count: &dyn Fn(&str) -> u32) -> Packed {
    let mut packed = Packed::default();
    let mut costs = Costs { count, speakers: Vec::new() };
    let mut blocks = HashSet::new();
    let limit = if budget.items == 0 { usize::MAX } else { budget.items as usize };
    for (at, candidate) in scored.iter().enumerate() {
        if packed.taken.len() >= limit || budget.min_score.is_some_and(|least| candidate.score < least) {
            break;
        }
        let item = &sessions[candidate.session].items[candidate.item];
        let block = (candidate.session, render::day(item.time));
        let header = if blocks.contains(&block) { 0 } else { costs.header(item) };
        let tokens = packed.tokens.saturating_add(header).saturating_add(costs.line(item));
        if tokens > budget.tokens {
            packed.skipped += 1;
            continue;
        }
        packed.tokens = tokens;
        packed.taken.push(at);
        blocks.insert(block);
    }
    packed
}

/// Costs of lines; the last speakers are remembered.
struct Costs<'a> {
    count: &'a dyn Fn(&str) -> u32,
    speakers: Vec<(&'a str, u32)>,
}

// === impl Costs ===

impl<'a> Costs<'a> {
    /// Tokens of a date line and the empty line before it.
    fn header(&self, item: &Item) -> u32 {
        (self.count)(&render::header(item.time)).saturating_add(2)
    }

    /// Tokens of a line: text, speaker, line break.
    fn line(&mut self, item: &'a Item) -> u32 {
        item.tokens.saturating_add(self.speaker(&item.speaker)).saturating_add(1)
    }

    fn speaker(&mut self, speaker: &'a str) -> u32 {
        if speaker.is_empty() {
            return 0;
        }
        if let Some((_, tokens)) = self.speakers.iter().find(|(known, _)| *known == speaker) {
            return *tokens;
        }
        let tokens = (self.count)(&format!("{speaker}:"));
        if self.speakers.len() < 8 {
            self.speakers.push((speaker, tokens));
        }
        tokens
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::memory::{Kind, MemoryId};
    use super::super::rank::Explain;
    use super::super::scope::Partition;
    use super::*;

    /// Items of given tokens in two sessions by turns, ranked in their order.
    fn ranked(tokens: &[u32]) -> (Vec<Session>, Vec<Scored>) {
        let id = MemoryId::new(Partition::new(0).expect("a partition"), [0; 16]);
        let mut sessions = vec![Session::default(), Session::default()];
        let mut scored = Vec::new();
        for (at, tokens) in tokens.iter().enumerate() {
            let items = &mut sessions[at % 2].items;
            items.push(Item { tokens: *tokens, ..Item::new(id, Kind::Message, at as u32) });
            let place =
                Scored { session: at % 2, item: items.len() - 1, score: -(at as f32), explain: Explain::default() };
            scored.push(place);
        }
        (sessions, scored)
    }

    fn taken(tokens: &[u32], budget: Budget) -> Packed {
        let (sessions, scored) = ranked(tokens);
        pack(&scored, &sessions, budget, &|text| text.split_whitespace().count() as u32)
    }

    fn budget(tokens: u32) -> Budget {
        Budget { tokens, items: 0, min_score: None }
    }

    #[test]
    fn what_does_not_fit_is_skipped() {
        let packed = taken(&[10, 50, 10, 5], budget(40));
        assert_eq!(packed, Packed { taken: vec![0, 2, 3], tokens: 10 + 10 + 5 + 3 + 2 * 5, skipped: 1 });
    }

    #[test]
    fn limits_of_number_and_score_end_the_selection() {
        assert_eq!(taken(&[1, 1, 1], Budget { items: 2, ..budget(100) }).taken, [0, 1]);
        assert_eq!(taken(&[1, 1, 1], Budget { min_score: Some(-1.0), ..budget(100) }).taken, [0, 1]);
    }

    proptest! {
        #[test]
        fn selection_never_passes_the_budget(tokens in proptest::collection::vec(0_u32..80, 0..30), most in 0_u32..400) {
            let packed = taken(&tokens, budget(most));
            prop_assert!(packed.tokens <= most);
            prop_assert_eq!(packed.taken.len() + packed.skipped as usize, tokens.len());
            prop_assert!(packed.taken.is_sorted());
        }
    }
}
