//! Windows: narrow parts of a sorted result, read one after another until a page is full.
//!
//! Every document has a tuple: its key for each field of the order, ascending, then the hash of its id. A [`Walk`] proposes the
//! windows of tuples that follow a start, sized by a sample of the collection. It moves on when one was read whole. A group of
//! equal keys that is too large for a window is divided by the next key, at last by the hash.

use std::cmp::Ordering;
use std::ops::Bound;

/// Key of a document without a value: after every other one.
pub const MISSING: f64 = f64::INFINITY;
/// Fewest steps of the sample in a window: fewer would often hold less than a page.
const MIN_STEPS: usize = 3;
/// Factor by which a next window of one search grows.
const GROWTH: usize = 4;
/// Most documents of a window, however often the sample misleads: one answer of some megabytes.
const MAX_LIMIT: usize = 16_000;

/// Part of a sorted result.
#[derive(Clone, Debug, PartialEq)]
pub struct Window {
    /// Keys that are equal in the window; the part divides the key after them.
    pub equal: Vec<f64>,
    /// Part of the documents with these keys.
    pub part: Part,
}

/// Part of the documents whose first keys are equal, by their next key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Part {
    /// Keys between the bounds; documents without a value have none.
    Range(Bound<f64>, Bound<f64>),
    /// Documents without a value.
    Missing,
}

/// Place in a sorted result.
#[derive(Clone, Debug, PartialEq)]
pub struct Start {
    /// First keys of the documents at the place.
    pub prefix: Vec<f64>,
    /// True if the documents with these keys lie before the place.
    pub exclusive: bool,
}

/// Figures that size the windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sizes {
    /// Matching documents that each tuple of the sample stands for.
    pub weight: f64,
    /// Documents that the engine returns for each one that matches; above 1 if some conditions are checked afterwards.
    pub excess: f64,
    /// Documents to find.
    pub wanted: usize,
    /// Most documents of a window.
    pub limit: usize,
    /// Number of different hashes. Hashes of documents are uniform; those of a sample are the smallest.
    pub hashes: f64,
}

/// Reading of a sorted result from a start on.
#[derive(Debug)]
pub struct Walk {
    /// Fields of the order: true if documents may lack a value.
    optional: Vec<bool>,
    start: Start,
    sample: Vec<Vec<f64>>,
    sizes: Sizes,
    /// True while the sample is a part of the hashes' range, and not of a window.
    is_slice: bool,
    steps: usize,
    /// Growth of the windows since the first.
    growth: usize,
    kept: usize,
}

// === impl Walk ===

impl Walk {
    /// Walk from `start`. `sample` has the tuples of the sampled documents that match, in any order; `optional` tells of each
    /// field of the order whether documents may lack a value.
    #[must_use]
    pub fn new(optional: Vec<bool>, start: Start, mut sample: Vec<Vec<f64>>, sizes: Sizes) -> Walk {
        sample.sort_unstable_by(|one, other| compare(one, other));
        Walk { optional, start, sample, sizes, is_slice: true, steps: 0, growth: 1, kept: 0 }
    }

    /// Place from which the walk goes on: a document before it is no part of the rest.
    #[must_use]
    pub fn start(&self) -> &Start {
        &self.start
    }

    /// Most documents of a window.
    #[must_use]
    pub fn limit(&self) -> usize {
        self.sizes.limit
    }

    /// Next windows, adjacent and in order, to be read together; none at the end. O(log sample).
    #[must_use]
    pub fn windows(&mut self) -> Vec<Window> {
        self.climb();
        if self.start.exclusive && self.start.prefix.is_empty() {
            return Vec::new();
        }
        if self.steps == 0 {
            (self.steps, self.growth) = (self.first_steps(), 1);
        } else {
            self.steps = self.steps.saturating_mul(GROWTH).min(self.most_steps());
            self.growth = self.growth.saturating_mul(GROWTH);
        }
        let level = self.level();
        let mut windows = Vec::new();
        let equal: Vec<f64> = self.start.prefix.iter().take(level).copied().collect();
        let from = match self.start.prefix.get(level) {
            None => Bound::Unbounded,
            Some(key) if self.start.exclusive && self.start.prefix.len() == level + 1 => Bound::Excluded(*key),
            Some(key) => Bound::Included(*key),
        };
        self.divide(equal, from, &mut windows);
        windows
    }

    /// Returns whether a window has too many documents: its answer, which lacks some of them, does not count.
    #[must_use]
    pub fn is_too_large(&self, total: u64) -> bool {
        usize::try_from(total).map_or(true, |total| total > self.sizes.limit)
    }

    /// Moves on after a window that was read whole; `kept` of its documents match and lie after the start.
    pub fn pass(&mut self, window: &Window, kept: usize) {
        self.kept += kept;
        self.start = after(window);
    }

    /// Begins anew at the start with an engine that checks every condition: its documents are those of the sample alone.
    pub fn narrow(&mut self) {
        self.sizes.excess = 1.0;
        self.steps = 0;
    }

    /// Replaces the sample by the documents of a window that is too large: `total` in all, of which `tuples` were returned and
    /// `matching` of these match. The next windows are smaller.
    pub fn refine(&mut self, total: u64, tuples: Vec<Vec<f64>>, matching: usize) {
        let returned = float(tuples.len().max(1));
        self.sizes.excess = returned / float(matching.max(1));
        #[expect(clippy::cast_precision_loss, reason = "totals are far below 2^53")]
        let row_weight = total as f64 / returned;
        self.sizes.weight = row_weight / self.sizes.excess;
        self.is_slice = false;
        self.sample = tuples;
        self.sample.sort_unstable_by(|one, other| compare(one, other));
        // Engines return the documents of a large window in an order of their own: a larger answer ends a bad guess.
        self.sizes.limit = self.sizes.limit.saturating_mul(2).min(MAX_LIMIT).max(self.sizes.limit);
        self.steps = 0;
    }

    /// Leaves groups that end here, or have no further documents.
    fn climb(&mut self) {
        loop {
            let level = self.start.prefix.len().wrapping_sub(1);
            let at_missing = self.start.prefix.last() == Some(&MISSING);
            let has_missing = self.optional.get(level).copied().unwrap_or(false);
            if at_missing && (self.start.exclusive || !has_missing) {
                self.start.prefix.pop();
                self.start.exclusive = true;
            } else {
                return;
            }
        }
    }

    /// Steps of the sample that probably hold what is missing.
    fn first_steps(&self) -> usize {
        let wanted = self.sizes.wanted.saturating_sub(self.kept).max(1);
        let steps = (1.5 * float(wanted) / self.sizes.weight.max(1e-9)).ceil();
        (count(steps.min(float(self.sample.len()))) + 2).max(MIN_STEPS).min(self.most_steps())
    }

    /// Steps that fill half of a window.
    fn most_steps(&self) -> usize {
        count((float(self.sizes.limit) / (2.0 * self.row_weight())).max(1.0))
    }

    /// Documents that the engine returns for each tuple of the sample.
    fn row_weight(&self) -> f64 {
        (self.sizes.weight * self.sizes.excess).max(1e-9)
    }

    /// First key by which the rest is read in one window, small groups before the start included.
    fn level(&self) -> usize {
        let prefix = &self.start.prefix;
        let last = prefix.len().saturating_sub(1);
        for level in 0..prefix.len().min(self.optional.len()) {
            if prefix[level] == MISSING {
                // A range holds no missing values: only a window of the missing ones, or one within them, goes on.
                if level == last && !self.start.exclusive && !self.is_heavy(&prefix[..=level]) {
                    return level;
                }
                continue;
            }
            let is_free = level == last && self.start.exclusive;
            if is_free || self.mass(&prefix[..=level]) <= float(self.sizes.limit) / 8.0 {
                return level;
            }
        }
        let reaches_hash = prefix.len() > self.optional.len();
        if reaches_hash || (self.start.exclusive && !prefix.is_empty()) { last } else { prefix.len() }
    }

    /// Adds the window of `equal` that begins at `from`; goes into a large group at its end.
    fn divide(&self, mut equal: Vec<f64>, mut from: Bound<f64>, windows: &mut Vec<Window>) {
        loop {
            let level = equal.len();
            if from == Bound::Included(MISSING) {
                windows.push(Window { equal, part: Part::Missing });
                return;
            }
            let Some(end) = self.end(&equal, from) else {
                windows.push(Window { equal, part: Part::Range(from, Bound::Unbounded) });
                return;
            };
            let group: Vec<f64> = equal.iter().copied().chain([end]).collect();
            let is_divisible = level < self.optional.len() && self.is_heavy(&group);
            if !is_divisible {
                windows.push(Window { equal, part: Part::Range(from, Bound::Included(end)) });
                return;
            }
            if from != Bound::Included(end) {
                windows.push(Window { equal, part: Part::Range(from, Bound::Excluded(end)) });
            }
            (equal, from) = (group, Bound::Unbounded);
        }
    }

    /// Key at the end of the next window; none if the sample ends before, or only missing values follow.
    fn end(&self, equal: &[f64], from: Bound<f64>) -> Option<f64> {
        let level = equal.len();
        if level == self.optional.len() && self.is_slice {
            return self.hash(equal, from);
        }
        let in_group = |tuple: &&Vec<f64>| tuple[..level] == *equal && tuple[level] < MISSING;
        let begins = |tuple: &Vec<f64>| match prefix_order(tuple, equal) {
            Ordering::Less => true,
            Ordering::Greater => false,
            Ordering::Equal => match from {
                Bound::Unbounded => false,
                Bound::Included(key) => tuple[level] < key,
                Bound::Excluded(key) => tuple[level] <= key,
            },
        };
        let first = self.sample.partition_point(begins);
        // Documents before the start share the window's first key: they need no step of their own.
        let first = first.max(self.sample.partition_point(|tuple| !self.start.admits(tuple)));
        self.sample.get(first + self.steps.max(1) - 1).filter(in_group).map(|tuple| tuple[level])
    }

    /// Hash at the end of the next window of equal keys; none if the window takes the rest.
    fn hash(&self, equal: &[f64], from: Bound<f64>) -> Option<f64> {
        let first = match from {
            Bound::Included(hash) | Bound::Excluded(hash) => hash,
            Bound::Unbounded => 0.0,
        };
        let wanted = 1.5 * float(self.sizes.wanted.saturating_sub(self.kept)) + 10.0;
        let rows = (wanted * float(self.growth) * self.sizes.excess).min(float(self.sizes.limit) / 2.0);
        let end = (first + self.sizes.hashes * rows / self.mass(equal).max(rows)).floor();
        (end < self.sizes.hashes - 1.0).then_some(end)
    }

    /// Documents that the engine probably returns for a group of equal keys.
    fn mass(&self, prefix: &[f64]) -> f64 {
        let from = self.sample.partition_point(|tuple| prefix_order(tuple, prefix) == Ordering::Less);
        let to = self.sample.partition_point(|tuple| prefix_order(tuple, prefix) != Ordering::Greater);
        float(to - from) * self.row_weight()
    }

    /// Returns whether a group is too large for one window.
    fn is_heavy(&self, prefix: &[f64]) -> bool {
        self.mass(prefix) > float(self.sizes.limit) / 2.0
    }
}

// === impl Start ===

impl Start {
    /// First place of all.
    #[must_use]
    pub fn first() -> Start {
        Start { prefix: Vec::new(), exclusive: false }
    }

    /// Returns whether a tuple lies at the place or after it.
    #[must_use]
    pub fn admits(&self, tuple: &[f64]) -> bool {
        match prefix_order(tuple, &self.prefix) {
            Ordering::Less => false,
            Ordering::Equal => !self.exclusive,
            Ordering::Greater => true,
        }
    }
}

/// Order of two tuples.
#[must_use]
pub fn compare(one: &[f64], other: &[f64]) -> Ordering {
    one.iter()
        .zip(other)
        .map(|(one, other)| one.total_cmp(other))
        .find(|order| order.is_ne())
        .unwrap_or(Ordering::Equal)
}

fn prefix_order(tuple: &[f64], prefix: &[f64]) -> Ordering {
    compare(&tuple[..prefix.len().min(tuple.len())], prefix)
}

/// Place after a window.
fn after(window: &Window) -> Start {
    let at = |key: f64, exclusive| Start { prefix: window.equal.iter().copied().chain([key]).collect(), exclusive };
    match window.part {
        Part::Range(_, Bound::Included(key)) => at(key, true),
        Part::Range(_, Bound::Excluded(key)) => at(key, false),
        Part::Range(_, Bound::Unbounded) => at(MISSING, false),
        Part::Missing => at(MISSING, true),
    }
}

#[expect(clippy::cast_precision_loss, reason = "numbers of documents in one answer")]
fn float(count: usize) -> f64 {
    count as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "the cast saturates")]
fn count(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests;
