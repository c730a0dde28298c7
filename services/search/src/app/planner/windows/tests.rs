use proptest::prelude::*;

use super::*;

/// Collection that answers windows as an engine does: it counts all, and returns some, in no useful order.
struct Corpus {
    tuples: Vec<Vec<f64>>,
    fields: usize,
    calls: usize,
}

// === impl Corpus ===

impl Corpus {
    fn read(&mut self, window: &Window, limit: usize) -> (u64, Vec<Vec<f64>>) {
        self.calls += 1;
        let level = window.equal.len();
        let holds = |tuple: &&Vec<f64>| {
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
        let found: Vec<_> = self.tuples.iter().filter(holds).cloned().collect();
        (found.len() as u64, found.into_iter().take(limit).collect())
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
                let kept: Vec<_> = rows.iter().filter(|row| walk.start().admits(row)).cloned().collect();
                match walk.accept(&window, total, rows.len(), rows, kept.len()) {
                    Progress::TooLarge => continue 'walk,
                    Progress::Whole => {
                        let at = page.len();
                        page.extend(kept);
                        page[at..].sort_by(|one, other| compare(one, other));
                    }
                }
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
    ) {
        let mut sorted = tuples.clone();
        sorted.sort_by(|one, other| compare(one, other));
        let mut corpus = Corpus { tuples, fields, calls: 0 };
        let sizes = Sizes { weight, excess, wanted, limit, hashes: 10_007.0 };
        let (mut read, mut start) = (Vec::new(), Start::first());
        loop {
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
    (Corpus { tuples, fields: 1, calls: 0 }, sizes, 1000)
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
