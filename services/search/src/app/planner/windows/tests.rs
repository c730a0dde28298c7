use proptest::prelude::*;

use super::*;

/// Collection that answers windows as an engine does: it counts all, and returns some, in no useful order.
struct Corpus {
    tuples: Vec<Vec<f64>>,
    /// Documents that fail a condition which the engine checks only after the first window that is too large.
    others: Vec<Vec<f64>>,
    /// Documents that the engine counts and does not return: they expired a moment ago.
    expired: usize,
    fields: usize,
    calls: usize,
    rows: usize,
}

// === impl Corpus ===

impl Corpus {
    fn new(tuples: Vec<Vec<f64>>, fields: usize) -> Corpus {
        Corpus { tuples, others: Vec::new(), expired: 0, fields, calls: 0, rows: 0 }
    }

    /// Number of a window's documents, and some of them: each with whether it matches.
    fn read(&mut self, window: &Window, limit: usize) -> (u64, Vec<(Vec<f64>, bool)>) {
        self.calls += 1;
        let level = window.equal.len();
        let holds = |tuple: &Vec<f64>| {
            let key = tuple[level];
            tuple[..level] == window.equal[..]
                && match window.part {
                    Part::Missing => key == MISSING,
                    Part::Range(from, to) => {
                        let above = match from {
                            Bound::Unbounded => true,
                            Bound::Included(bound) => key >= bound,
                            Bound::Excluded(bound) => key > bound,
                        };
                        let below = match to {
                            Bound::Unbounded => true,
                            Bound::Included(bound) => key <= bound,
                            Bound::Excluded(bound) => key < bound,
                        };
                        key != MISSING && above && below
                    }
                }
        };
        let all = self.others.iter().map(|tuple| (tuple, false)).chain(self.tuples.iter().map(|tuple| (tuple, true)));
        let found: Vec<_> = all.filter(|(tuple, _)| holds(tuple)).map(|(tuple, is)| (tuple.clone(), is)).collect();
        let total = found.len() as u64;
        let hidden = if found.len() > limit { self.expired } else { 0 };
        let rows: Vec<_> = found.into_iter().take(limit).skip(hidden).collect();
        self.rows += rows.len();
        (total, rows)
    }

    /// Reads a page as the service does.
    fn page(&mut self, start: Start, sizes: Sizes, sample_of: u32) -> Vec<Vec<f64>> {
        let sample: Vec<_> =
            self.tuples.iter().filter(|tuple| tuple[self.fields] < f64::from(sample_of)).cloned().collect();
        let mut walk = Walk::new(vec![true; self.fields], start, sample, sizes);
        let mut page = Vec::new();
        'walk: loop {
            let windows = walk.windows();
            if windows.is_empty() || page.len() >= sizes.wanted {
                break;
            }
            for window in windows {
                let (total, rows) = self.read(&window, walk.limit());
                if walk.is_too_large(total) {
                    if self.others.is_empty() {
                        let matching = rows.iter().filter(|(_, matches)| *matches).count();
                        walk.refine(total, rows.into_iter().map(|(tuple, _)| tuple).collect(), matching);
                    } else {
                        self.others.clear();
                        walk.narrow();
                    }
                    continue 'walk;
                }
                let kept = rows.into_iter().filter(|(tuple, matches)| *matches && walk.start().admits(tuple));
                let kept: Vec<_> = kept.map(|(tuple, _)| tuple).collect();
                walk.pass(&window, kept.len());
                let at = page.len();
                page.extend(kept);
                page[at..].sort_by(|one, other| compare(one, other));
            }
        }
        page.truncate(sizes.wanted);
        page
    }
}

/// Tuples with few or many different keys, some missing; the hash is unique.
fn corpora() -> impl Strategy<Value = (Vec<Vec<f64>>, usize)> {
    (0_usize..3, 1_i32..400, 0_usize..800, any::<u64>()).prop_map(|(fields, variety, size, seed)| {
        let mut state = seed | 1;
        let mut next = move |below: u32| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            u32::try_from(state >> 33).unwrap_or(0) % below
        };
        let mut key = |level: usize| {
            let below = if level == 0 { variety.unsigned_abs() } else { 5 };
            if next(11) == 0 { MISSING } else { f64::from(next(below)) - 3.0 }
        };
        let tuples = (0..size).map(|at| {
            let mut tuple: Vec<f64> = (0..fields).map(&mut key).collect();
            tuple.push(f64::from(u32::try_from(at * 7919 % 10_007).unwrap_or(0)));
            tuple
        });
        (tuples.collect(), fields)
    })
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(60))]

    #[test]
    fn pages_are_the_sorted_result_cut(
        (tuples, fields) in corpora(),
        wanted in 1_usize..60,
        limit in 20_usize..200,
        sample_of in 0_u32..10_007,
        weight in 0.01..50.0,
        excess in 1.0..5.0,
        others in corpora(),
        expired in 0_usize..5,
    ) {
        let mut sorted = tuples.clone();
        sorted.sort_by(|one, other| compare(one, other));
        let others: Vec<_> = others.0.into_iter().filter(|tuple| tuple.len() == fields + 1).collect();
        let mut corpus = Corpus { expired, ..Corpus::new(tuples, fields) };
        let sizes = Sizes { weight, excess, wanted, limit, hashes: 10_007.0 };
        let (mut read, mut start) = (Vec::new(), Start::first());
        loop {
            corpus.others.clone_from(&others);
            let page = corpus.page(start.clone(), sizes, sample_of);
            let Some(last) = page.last().cloned() else { break };
            prop_assert!(page.len() <= wanted);
            start = Start { prefix: last, exclusive: true };
            read.extend(page);
        }
        prop_assert_eq!(read, sorted);
    }
}

/// Collection of `size` documents with one key each, and the figures of a good sample.
fn uniform(size: u32, key: impl Fn(u32) -> f64) -> (Corpus, Sizes, u32) {
    let tuples = (0..size).map(|at| vec![key(at), f64::from(at * 7919 % 100_003)]).collect();
    let sizes = Sizes { weight: 100.0, excess: 1.0, wanted: 21, limit: 1000, hashes: 100_003.0 };
    (Corpus::new(tuples, 1), sizes, 1000)
}

#[test]
fn first_page_of_many_documents_takes_one_small_window() {
    let (mut corpus, sizes, sample_of) = uniform(100_000, |at| f64::from(at * 31 % 100_000));
    let page = corpus.page(Start::first(), sizes, sample_of);
    assert_eq!(page.iter().map(|tuple| tuple[0]).collect::<Vec<_>>(), (0_i32..21).map(f64::from).collect::<Vec<_>>());
    assert_eq!(corpus.calls, 1);
}

#[test]
fn large_group_of_equal_keys_is_divided_by_the_hash() {
    let (mut corpus, sizes, sample_of) = uniform(100_000, |at| f64::from(at % 2));
    let page = corpus.page(Start::first(), sizes, sample_of);
    assert!(page.iter().all(|tuple| tuple[0] == 0.0));
    assert!(page.is_sorted_by(|one, other| compare(one, other).is_lt()) && page.len() == 21);
    assert!(corpus.calls <= 3, "{} calls", corpus.calls);
}

#[test]
fn walk_without_a_sample_learns_from_the_answers() {
    let (mut corpus, sizes, _) = uniform(100_000, f64::from);
    let page = corpus.page(Start::first(), sizes, 0);
    assert_eq!(page.iter().map(|tuple| tuple[0]).collect::<Vec<_>>(), (0_i32..21).map(f64::from).collect::<Vec<_>>());
    assert!(corpus.calls <= 8, "{} calls", corpus.calls);
}

#[test]
fn documents_that_fail_a_checked_condition_take_one_more_call() {
    let (corpus, sizes, sample_of) = uniform(100_000, |at| f64::from(at * 31 % 100_000));
    let (others, tuples) = corpus.tuples.into_iter().partition(|tuple| tuple[0] < 40_000.0);
    let mut corpus = Corpus { others, ..Corpus::new(tuples, 1) };
    let page = corpus.page(Start::first(), Sizes { excess: 1.7, ..sizes }, sample_of);
    let expected: Vec<f64> = (40_000_i32..40_021).map(f64::from).collect();
    assert_eq!(page.iter().map(|tuple| tuple[0]).collect::<Vec<_>>(), expected);
    assert!(corpus.calls == 2 && corpus.rows < 2_000, "{} calls, {} documents", corpus.calls, corpus.rows);
}

#[test]
fn window_with_expired_documents_is_too_large_by_its_total() {
    let (mut corpus, sizes, _) = uniform(5_000, f64::from);
    corpus.expired = 3;
    let page = corpus.page(Start::first(), sizes, 0);
    assert_eq!(page.iter().map(|tuple| tuple[0]).collect::<Vec<_>>(), (0_i32..21).map(f64::from).collect::<Vec<_>>());
}

#[test]
fn answers_stay_bounded_when_an_engine_returns_the_last_documents_first() {
    let (mut corpus, sizes, _) = uniform(100_000, |at| f64::from(99_999 - at));
    let page = corpus.page(Start::first(), sizes, 0);
    assert_eq!(page.iter().map(|tuple| tuple[0]).collect::<Vec<_>>(), (0_i32..21).map(f64::from).collect::<Vec<_>>());
    assert!(corpus.calls <= 20 && corpus.rows <= 20 * MAX_LIMIT, "{} calls", corpus.calls);
}
