//! Hits in the order of fields.

use futures::future::try_join_all;

use super::measure::{self, Measure};
use super::order::{OrderField, part_of_index};
use super::run::{Call, Hits, Run};
use super::sift::{Entry, Sift};
use crate::app::planner::windows::{Sizes, Start, Walk, Window};
use crate::domain::cursor::Position;
use crate::domain::packed::Packed;
use crate::domain::{Clause, Column, spread};
use crate::error::Error;
use crate::store::{Matches, Row};

/// Most documents of a first window.
const WINDOW: usize = 1_000;

// === impl Run ===

impl Run<'_> {
    /// Hits from windows of the order: one round trip as a rule, more where the sample misleads.
    pub(super) async fn windows(&self, measure: &Measure) -> Result<Hits, Error> {
        let whole = measure::whole(self.prepared);
        let (mut clause, mut walk, mut sift) = (&measure.clause, self.walk(measure), self.sift());
        let mut entries: Vec<Entry> = Vec::new();
        'walk: while entries.len() < self.wanted() {
            let windows = walk.windows();
            if windows.is_empty() {
                break;
            }
            let limit = u32::try_from(walk.limit()).unwrap_or(u32::MAX);
            let calls = windows.iter().map(|window| self.window(window, clause, limit));
            for (window, matches) in windows.iter().zip(try_join_all(calls).await?) {
                if !walk.is_too_large(matches.total) {
                    let found = matches.rows.into_iter().filter_map(|row| sift.entry(row));
                    let found: Vec<Entry> = found.filter(|entry| walk.start().admits(&entry.tuple)).collect();
                    walk.pass(window, found.len());
                    let at = entries.len();
                    entries.extend(found.into_iter().filter(|entry| self.is_after(entry)));
                    entries[at..].sort_unstable_by(Entry::by_fields);
                    continue;
                }
                if *clause == whole {
                    refine(&mut walk, matches, &mut sift);
                } else {
                    // A range that is checked here goes with the order: the window's documents fail it.
                    clause = &whole;
                    walk.narrow();
                }
                continue 'walk;
            }
        }
        entries.truncate(self.wanted());
        Ok(Hits { entries, ..Hits::default() })
    }

    /// Hits of the page out of all matches.
    pub(super) fn sorted(&self, mut entries: Vec<Entry>) -> Hits {
        entries.retain(|entry| self.is_after(entry));
        entries.sort_unstable_by(Entry::by_fields);
        entries.truncate(self.wanted());
        Hits { entries, ..Hits::default() }
    }

    async fn window(&self, window: &Window, clause: &Clause, limit: u32) -> Result<Matches, Error> {
        let (part, spread) = part_of_index(&self.prepared.order, window);
        let clause = Clause::all([clause.clone(), part]);
        self.find("window", Call { clause: &clause, words: self.words(), spread, is_ranked: false, limit }).await
    }

    fn walk(&self, measure: &Measure) -> Walk {
        let estimates = &measure.estimates;
        let (matches, fetched) = (estimates.matches.likely().max(1.0), estimates.fetched.likely().max(1.0));
        #[expect(clippy::cast_precision_loss, reason = "a sample has at most some thousand documents")]
        let sampled = (measure.tuples.len() as f64).max(1.0);
        let sizes = Sizes {
            weight: matches / sampled,
            excess: (fetched / matches).max(1.0),
            wanted: self.wanted(),
            limit: WINDOW,
            hashes: spread::NUMBERS,
        };
        let totals = &self.figures.totals;
        let lacks = |field: &OrderField| match field.column {
            Column::Number(ordinal) => totals.present.get(usize::from(ordinal)) != Some(&totals.documents),
            Column::Text(_) | Column::Tag(_) => true,
        };
        let optional = self.prepared.order.iter().map(lacks).collect();
        Walk::new(optional, self.start(), measure.tuples.clone(), sizes)
    }

    /// Place of the cursor. Hits of the same hash are told apart by [`Run::is_after`].
    fn start(&self) -> Start {
        let Some(Position::Fields { values, spread, .. }) = self.position() else { return Start::first() };
        let keys = self.prepared.order.iter().zip(values).map(|(field, value)| field.signed(*value));
        Start { prefix: keys.chain([f64::from(*spread)]).collect(), exclusive: false }
    }

    /// Returns whether a hit comes after the cursor.
    fn is_after(&self, entry: &Entry) -> bool {
        let Some(Position::Fields { id, .. }) = self.position() else { return true };
        let start = self.start();
        start.admits(&entry.tuple) && (entry.tuple != start.prefix || entry.row.id > *id)
    }
}

/// Takes the documents of a window that is too large as the next sample.
fn refine(walk: &mut Walk, matches: Matches, sift: &mut Sift<'_>) {
    let place = |row: &Row| Some(sift.place(row, &Packed::read(&row.packed).ok()?).1);
    let tuples = matches.rows.iter().filter_map(place).collect();
    let matching = matches.rows.into_iter().filter_map(|row| sift.entry(row)).count();
    walk.refine(matches.total, tuples, matching);
}
