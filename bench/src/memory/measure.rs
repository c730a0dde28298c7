//! Evidence that a ranking brings into a budget.

use std::collections::HashSet;

use keyplane_agent_memory::domain::pack::{Budget, pack};
use keyplane_agent_memory::domain::rank::{Corpus, Scored};
use keyplane_agent_memory::domain::render::{Line, render_within};
use keyplane_agent_memory::domain::{Item, Session};

use super::arms::Arm;
use super::conversation::{Conversation, Query, count};

/// Shares of the tokens that are saved, in tenths of a percent.
pub(super) const SAVED: [u32; 4] = [800, 900, 950, 975];

/// Evidence that one ranking found for one question, by the share that is saved.
#[derive(Clone, Copy, Debug)]
pub(super) struct Found {
    pub category: u8,
    pub shares: [f64; SAVED.len()],
}

/// Evidence that each arm finds for each question of a conversation, on `threads` threads.
pub(super) fn measure(conversation: &Conversation, arms: &[Arm], threads: usize) -> Vec<Vec<Found>> {
    let flat = flat(&conversation.sessions);
    let part = conversation.queries.len().div_ceil(threads.max(1)).max(1);
    let of_query = |query: &Query| {
        let whole = Corpus::count(&query.question, &conversation.sessions);
        arms.iter().map(|arm| found(conversation, &flat, arm, query, &whole)).collect::<Vec<Found>>()
    };
    let by_query: Vec<Vec<Found>> = std::thread::scope(|scope| {
        let parts = conversation.queries.chunks(part);
        let running: Vec<_> =
            parts.map(|part| scope.spawn(move || part.iter().map(of_query).collect::<Vec<_>>())).collect();
        running.into_iter().flat_map(|part| part.join().unwrap_or_default()).collect()
    });
    (0..arms.len()).map(|arm| by_query.iter().map(|found| found[arm]).collect()).collect()
}

/// Evidence that an arm finds for a question.
fn found(conversation: &Conversation, flat: &Flat, arm: &Arm, query: &Query, whole: &Corpus) -> Found {
    let mut scored = arm.rank(&query.question, &conversation.sessions, whole);
    let places: Vec<(usize, usize)> = scored.iter().map(|scored| (scored.session, scored.item)).collect();
    if !arm.blocks {
        flat.place(&mut scored);
    }
    let sessions = if arm.blocks { &conversation.sessions } else { &flat.sessions };
    let shares = SAVED.map(|saved| {
        let tokens = u32::try_from(u64::from(conversation.tokens) * u64::from(1000 - saved) / 1000).unwrap_or(u32::MAX);
        let taken = select(&scored, sessions, tokens, arm.skip);
        let lines = taken.iter().map(|at| line(conversation, places[*at], scored[*at].session)).collect();
        let kept = render_within(lines, tokens, &count).lines;
        let turns: HashSet<usize> = taken[..kept].iter().map(|at| conversation.text(places[*at]).turn).collect();
        let found = query.evidence.iter().filter(|turn| turns.contains(turn)).count();
        found as f64 / query.evidence.len() as f64
    });
    Found { category: query.category, shares }
}

/// Places of the ranked items that are taken.
fn select(scored: &[Scored], sessions: &[Session], tokens: u32, skip: bool) -> Vec<usize> {
    let mut taken = pack(scored, sessions, Budget { tokens, items: 0, min_score: None }, &count).taken;
    if !skip {
        let first_gap = taken.iter().enumerate().position(|(number, at)| number != *at);
        taken.truncate(first_gap.unwrap_or(taken.len()));
    }
    taken
}

fn line(conversation: &Conversation, (session, at): (usize, usize), block: usize) -> Line<'_> {
    let (item, text) = (&conversation.sessions[session].items[at], conversation.text((session, at)));
    Line { session: block, sequence: item.sequence, time: item.time, speaker: &text.speaker, text: &text.text }
}

/// Sessions of one item each, for a date line of its own.
struct Flat {
    sessions: Vec<Session>,
    /// Number of the first item of each true session.
    starts: Vec<usize>,
}

fn flat(sessions: &[Session]) -> Flat {
    let mut flat = Flat { sessions: Vec::new(), starts: Vec::new() };
    let bare = |item: &Item| Item { vector: None, sketch: None, terms: Vec::new(), ..item.clone() };
    for session in sessions {
        flat.starts.push(flat.sessions.len());
        flat.sessions
            .extend(session.items.iter().map(|item| Session { items: vec![bare(item)], ..Session::default() }));
    }
    flat
}

// === impl Flat ===

impl Flat {
    /// Moves ranked items to sessions of their own.
    fn place(&self, scored: &mut [Scored]) {
        for scored in scored {
            (scored.session, scored.item) = (self.starts[scored.session] + scored.item, 0);
        }
    }
}
