use super::*;
use crate::store::Engine;

const ENGINES: [Engine; 2] = [Engine::Local, Engine::ValkeySearch];

fn estimates(documents: u64, matches: f64) -> Estimates {
    let matches = Estimate::exact(matches);
    let all = matches;
    Estimates { documents, matches, fetched: all, siblings: all, sibling_matches: all, row_bytes: 100 }
}

fn request(hits: Wish) -> Request {
    Request {
        hits,
        facets: true,
        siblings: false,
        from_counters: false,
        unfiltered: false,
        countable: true,
        exact: false,
    }
}

fn planned(estimates: &Estimates, request: &Request) -> Plan {
    let [local, other] = ENGINES.map(|engine| plan(estimates, request, &Costs::of(engine)));
    assert_eq!((local.hits, local.counts, local.siblings), (other.hits, other.counts, other.siblings));
    local
}

#[test]
fn few_matches_are_fetched_and_everything_is_exact() {
    for wish in [Wish::Sorted, Wish::Ranked] {
        let plan = planned(&estimates(100_000, 300.0), &Request { siblings: true, ..request(wish) });
        assert_eq!((plan.hits, plan.counts, plan.siblings), (Hits::Direct, Counts::Direct, Counts::Direct));
        assert!(plan.direct_limit > 300);
    }
}

#[test]
fn many_sorted_matches_are_narrowed_and_facets_sampled() {
    let plan = planned(&estimates(100_000, 30_000.0), &request(Wish::Sorted));
    assert_eq!(plan.hits, Hits::Windows);
    assert_eq!(plan.counts, Counts::Sample(0.01));
    assert_eq!(plan.siblings, Counts::Nothing);
}

#[test]
fn many_ranked_matches_are_read_by_tiers() {
    let plan = planned(&estimates(100_000, 30_000.0), &Request { facets: false, ..request(Wish::Ranked) });
    assert_eq!((plan.hits, plan.counts), (Hits::Tiers, Counts::SampledNumber(0.04)));
}

#[test]
fn siblings_of_few_matches_may_be_many() {
    let many = Estimate::exact(30_000.0);
    let few = Estimates { siblings: many, sibling_matches: many, ..estimates(100_000, 100.0) };
    let plan = planned(&few, &Request { siblings: true, ..request(Wish::Sorted) });
    assert_eq!((plan.hits, plan.counts), (Hits::Direct, Counts::Direct));
    assert_eq!(plan.siblings, Counts::Sample(0.01));
    let thinned = Estimates { sibling_matches: Estimate::exact(10_000.0), ..few };
    let plan = planned(&thinned, &Request { siblings: true, ..request(Wish::Sorted) });
    assert_eq!(plan.siblings, Counts::Sample(0.02), "twice the sample, since a checked condition thins it out");
}

#[test]
fn matches_that_are_few_of_their_siblings_are_sampled_by_themselves() {
    let siblings = Request { siblings: true, ..request(Wish::Sorted) };
    let many = Estimate::exact(80_000.0);
    let few = Estimates { siblings: many, sibling_matches: many, ..estimates(100_000, 8_000.0) };
    let plan = planned(&few, &siblings);
    assert!(!plan.one_read);
    assert_eq!((plan.counts, plan.siblings), (Counts::Sample(0.0375), Counts::Sample(0.00375)));
    assert!(planned(&few, &Request { exact: true, ..siblings }).one_read, "everything is read anyway");
    let many = Estimates { siblings: Estimate::exact(12_000.0), ..few };
    assert!(planned(&many, &siblings).one_read);
}

#[test]
fn exactness_costs_slices() {
    let exact = Request { exact: true, siblings: true, ..request(Wish::Sorted) };
    let plan = planned(&estimates(100_000, 30_000.0), &exact);
    assert_eq!((plan.hits, plan.counts, plan.siblings), (Hits::Windows, Counts::Slices(8), Counts::Slices(8)));
    let plan = planned(&estimates(100_000, 30_000.0), &Request { facets: false, siblings: false, ..exact });
    assert_eq!(plan.counts, Counts::Number);
}

#[test]
fn whole_collection_is_counted_by_the_counters() {
    let all = Request { from_counters: true, unfiltered: true, exact: true, ..request(Wish::Sorted) };
    assert_eq!(planned(&estimates(100_000, 100_000.0), &all).counts, Counts::Counters);
    let numbers = Request { from_counters: false, exact: false, ..all };
    assert_eq!(planned(&estimates(100_000, 100_000.0), &numbers).counts, Counts::Sample(0.003));
    let counts_alone = Request { hits: Wish::Nothing, ..all };
    let plan = planned(&estimates(50, 50.0), &counts_alone);
    assert_eq!((plan.hits, plan.counts), (Hits::Nothing, Counts::Counters));
}

#[test]
fn moderate_counts_are_exact_and_checked_conditions_are_sampled() {
    let plain = Request { facets: false, ..request(Wish::Sorted) };
    assert_eq!(planned(&estimates(100_000, 2_000.0), &plain).counts, Counts::Number);
    let checked = Request { countable: false, ..plain };
    assert_eq!(planned(&estimates(100_000, 2_000.0), &checked).counts, Counts::Sample(0.15));
}

#[test]
fn uncertain_estimate_is_planned_with_caution() {
    let unsure = Estimate { expected: 2.0, upper: 20_000.0 };
    let estimates = Estimates { matches: unsure, fetched: unsure, siblings: unsure, ..estimates(100_000, 0.0) };
    assert_eq!(planned(&estimates, &request(Wish::Ranked)).hits, Hits::Direct, "200 are likely");
    let unsure = Estimate { expected: 100.0, upper: 20_000.0 };
    let estimates = Estimates { matches: unsure, fetched: unsure, siblings: unsure, ..estimates };
    assert_eq!(planned(&estimates, &request(Wish::Ranked)).hits, Hits::Tiers);
}
