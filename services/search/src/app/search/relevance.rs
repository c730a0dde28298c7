//! Hits in the order of their scores.

use std::collections::HashMap;

use futures::future::try_join_all;

use super::measure::Measure;
use super::order::OrderField;
use super::run::{Call, Hits, Run};
use super::sift::Entry;
use crate::app::planner::{CANDIDATES, Ladder, Rung, candidates, tier_upto};
use crate::domain::cursor::{Cut, Position, TierCut};
use crate::domain::estimate::{Estimate, to_float};
use crate::domain::{Clause, spread};
use crate::error::Error;
use crate::store::Matches;

/// Candidates by id.
type Pool = HashMap<String, Entry>;

// === impl Run ===

impl Run<'_> {
    /// Hits from tiers of candidates. Pages after the first rank the candidates of the first.
    pub(super) async fn tiers(&self, measure: &Measure) -> Result<Hits, Error> {
        if let Some(Position::Score { cuts, .. }) = self.position() {
            return self.again(cuts, measure).await;
        }
        let (cap, mut pool, mut sift) = (self.cap(), Pool::new(), self.sift());
        let mut ladder = Ladder::new(self.sizes(measure), cap);
        let mut cuts: Vec<TierCut> = Vec::new();
        loop {
            let rungs = ladder.rungs();
            if rungs.is_empty() {
                break;
            }
            let planned: Vec<TierCut> = rungs.iter().map(|rung| self.cut(*rung, measure)).collect();
            let calls = planned.iter().map(|cut| self.candidates(cut, measure, ladder.limit()));
            for ((rung, cut), matches) in rungs.iter().zip(planned.iter()).zip(try_join_all(calls).await?) {
                let found = matches.rows.into_iter().filter_map(|row| sift.entry(row));
                let found: Vec<Entry> = found.filter(|entry| !pool.contains_key(&entry.row.id)).collect();
                if ladder.accept(*rung, matches.total, pool.len() + found.len()) {
                    pool.extend(found.into_iter().map(|entry| (entry.row.id.clone(), entry)));
                    add(&mut cuts, *cut);
                }
            }
        }
        Ok(self.hits(pool, cap, ladder.is_capped(), cuts))
    }

    /// Hits from the candidates of the first page. It may have had a larger maximum, so this page's own is no bound.
    async fn again(&self, cuts: &[TierCut], measure: &Measure) -> Result<Hits, Error> {
        let (cap, mut pool, mut sift) = (self.cap(), Pool::new(), self.sift());
        let limit = cap.max(CANDIDATES).saturating_mul(4);
        let calls = cuts.iter().map(|cut| self.candidates(cut, measure, limit));
        let mut is_whole = cuts.iter().any(|cut| cut.cut == Cut::None && self.is_last(cut.tier));
        for matches in try_join_all(calls).await? {
            is_whole &= matches.total <= u64::from(limit);
            let entries = matches.rows.into_iter().filter_map(|row| sift.entry(row));
            pool.extend(entries.map(|entry| (entry.row.id.clone(), entry)));
        }
        Ok(self.hits(pool, cap, !is_whole, cuts.to_vec()))
    }

    /// Hits of the page out of all candidates.
    pub(super) fn ranked(&self, mut entries: Vec<Entry>) -> Hits {
        let ranked = u32::try_from(entries.len()).unwrap_or(u32::MAX);
        let candidates = crate::domain::result::Candidates { ranked, cap: self.cap().max(ranked), capped: false };
        entries.sort_unstable_by(Entry::by_score);
        if let Some(Position::Score { score, spread, id, .. }) = self.position() {
            // Rarities may have moved since the first page, and with them the scores: the hit itself marks its place.
            let place = entries.iter().position(|entry| entry.row.id == *id);
            let after = place.map_or_else(
                || {
                    let cursor = (*score, *spread, id.as_str());
                    entries.partition_point(|entry| {
                        let place = (entry.score, entry.spread, entry.row.id.as_str());
                        crate::domain::rank::by_relevance(place, cursor).is_le()
                    })
                },
                |place| place + 1,
            );
            entries.drain(..after);
        }
        entries.truncate(self.wanted());
        let last = self.prepared.text.as_ref().and_then(|text| text.tiers.last());
        let cuts = last.map(|tier| TierCut { tier: tier.number, cut: Cut::None }).into_iter().collect();
        Hits { entries, candidates: Some(candidates), cuts, all: None }
    }

    fn hits(&self, pool: Pool, cap: u32, is_capped: bool, cuts: Vec<TierCut>) -> Hits {
        let all = (!is_capped).then_some(pool.len() as u64);
        let mut hits = self.ranked(pool.into_values().collect());
        if let Some(candidates) = &mut hits.candidates {
            (candidates.capped, candidates.cap) = (is_capped, cap.max(candidates.ranked));
        }
        Hits { cuts, all, ..hits }
    }

    /// Matches of a tier within a cut.
    async fn candidates(&self, cut: &TierCut, measure: &Measure, limit: u32) -> Result<Matches, Error> {
        let text = self.prepared.text.as_ref();
        let Some(tier) = text.and_then(|text| tier_upto(&text.tiers, cut.tier)) else {
            return Ok(Matches::default());
        };
        let (above, spread) = match (cut.cut, OrderField::raised(&self.prepared.profile)) {
            (Cut::Spread(last), _) => (Clause::always(), Some((0, last))),
            (Cut::Number(least), Some(field)) => (field.at_least(least), None),
            (Cut::None, _) | (Cut::Number(_), None) => (Clause::always(), None),
        };
        let clause = Clause::all([measure.clause.clone(), above]);
        self.find("tier", Call { clause: &clause, words: &tier.words, spread, is_ranked: true, limit }).await
    }

    /// Part of a tier with the share of its matches that a rung asks for: those that a ranking raises most if the sample can
    /// tell, else a part of the hash's range.
    fn cut(&self, rung: Rung, measure: &Measure) -> TierCut {
        let text = self.prepared.text.as_ref();
        let tier = text.and_then(|text| text.tiers.get(rung.tier)).map_or(0, |tier| tier.number);
        let Some(share) = rung.share.filter(|share| *share < 1.0) else { return TierCut { tier, cut: Cut::None } };
        let spread = Cut::Spread(spread::last(share));
        TierCut { tier, cut: measure.raised(share).map_or(spread, Cut::Number) }
    }

    /// Matches of each tier, estimated.
    fn sizes(&self, measure: &Measure) -> Vec<f64> {
        let documents = to_float(measure.estimates.documents);
        let text = self.prepared.text.as_ref();
        let tiers = text.map_or(&[][..], |text| &text.tiers);
        let last = tiers.last().map_or_else(|| Estimate::exact(documents), |tier| tier.estimate(documents));
        // The filter thins every tier alike.
        let share = (measure.estimates.fetched.likely() / last.likely().max(1.0)).min(1.0);
        tiers.iter().map(|tier| tier.estimate(documents).likely() * share).collect()
    }

    /// Most candidates.
    fn cap(&self) -> u32 {
        let totals = &self.figures.totals;
        candidates(totals.text_bytes / totals.documents.max(1), self.search.candidates)
    }

    /// Returns whether no tier goes beyond `number`.
    fn is_last(&self, number: u8) -> bool {
        let last = self.prepared.text.as_ref().and_then(|text| text.tiers.last());
        last.is_some_and(|tier| tier.number <= number)
    }
}

/// Adds a part to those that became candidates. A whole tier includes all that is within it; a part of one includes nothing else.
fn add(cuts: &mut Vec<TierCut>, cut: TierCut) {
    if cut.cut == Cut::None {
        cuts.retain(|other| other.tier > cut.tier);
    }
    cuts.push(cut);
}
