use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::document::{Document, Value};
use super::super::model::{KINDS, Rule, cases, schema_of};
use super::super::packed::{Packed, pack};
use super::super::result::{RangeCount, Stats};
use super::super::schema::FieldName;
use super::*;

/// Request of everything that the field's kind allows.
fn request(field: usize, is_numeric: bool) -> FacetRequest {
    FacetRequest {
        field: FieldName::new(&format!("f{field}")).expect("a name"),
        max_values: 3,
        ranges: if is_numeric { vec![(-1.0, 1.0), (f64::NEG_INFINITY, 0.0), (0.0, f64::INFINITY)] } else { Vec::new() },
        interval: if is_numeric { 0.5 } else { 0.0 },
        stats: is_numeric,
    }
}

fn requests(schema: &Schema) -> Vec<FacetRequest> {
    let requests = schema.fields.iter().enumerate().map(|(index, field)| request(index, field.kind.is_numeric()));
    requests.collect()
}

/// Conjuncts of a rule, as the language flattens them.
fn parts(rule: &Rule) -> Vec<Rule> {
    match rule {
        Rule::All(inner) => inner.iter().flat_map(parts).collect(),
        Rule::Any(inner) if inner.len() == 1 => parts(&inner[0]),
        Rule::Not(inner, _) => match &**inner {
            Rule::Not(inner, _) => parts(inner),
            Rule::All(single) | Rule::Any(single) if single.len() == 1 => {
                parts(&Rule::Not(Box::new(single[0].clone()), false))
            }
            Rule::All(_) | Rule::Any(_) | Rule::Is { .. } | Rule::Present(_) => vec![rule.clone()],
        },
        Rule::Any(_) | Rule::Is { .. } | Rule::Present(_) => vec![rule.clone()],
    }
}

fn fields(rule: &Rule) -> BTreeSet<usize> {
    match rule {
        Rule::All(inner) | Rule::Any(inner) => inner.iter().flat_map(fields).collect(),
        Rule::Not(inner, _) => fields(inner),
        Rule::Is { field, .. } | Rule::Present(field) => BTreeSet::from([*field]),
    }
}

/// Counts of one facet by the plainest means.
fn naive(request: &FacetRequest, values: &[&Value]) -> Facet {
    let mut tags: BTreeMap<String, u64> = BTreeMap::new();
    for value in values {
        match value {
            Value::Text(tag) => *tags.entry(tag.clone()).or_default() += 1,
            Value::Tags(all) => all.iter().for_each(|tag| *tags.entry(tag.clone()).or_default() += 1),
            Value::Boolean(value) => *tags.entry(value.to_string()).or_default() += 1,
            Value::Integer(_) | Value::Decimal(_) | Value::Timestamp(_) | Value::Json(_) => {}
        }
    }
    let mut tags: Vec<(String, u64)> = tags.into_iter().collect();
    tags.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    tags.truncate(request.max_values as usize);
    let numbers: Vec<f64> = values.iter().filter_map(|value| value.number()).collect();
    let within = |from: f64, to: f64| numbers.iter().filter(|number| from <= **number && **number < to).count() as u64;
    let range = |(from, to): (f64, f64)| RangeCount {
        from,
        to,
        count: within(from, to),
        interval: (within(from, to), within(from, to)),
    };
    let sum: f64 = numbers.iter().sum();
    let bounds = numbers.iter().copied().reduce(f64::min).zip(numbers.iter().copied().reduce(f64::max));
    let value = |(value, count)| FacetCount { value, count, interval: (count, count), rough: false };
    Facet {
        field: request.field.clone(),
        values: tags.into_iter().map(value).collect(),
        ranges: request.ranges.iter().copied().map(range).collect(),
        histogram: Vec::new(),
        stats: bounds.filter(|_| request.stats).map(|(min, max)| Stats { min, max, avg: sum / numbers.len() as f64 }),
        approximate: false,
        sample: 0,
    }
}

/// Compares facets; averages may differ by rounding, and a histogram's buckets are checked by their own bounds.
fn assert_same(actual: &Facet, expected: &Facet, values: &[&Value]) {
    let mut plain = actual.clone();
    for bucket in std::mem::take(&mut plain.histogram) {
        let numbers = values.iter().filter_map(|value| value.number());
        let inside = numbers.filter(|number| bucket.from <= *number && *number < bucket.to).count() as u64;
        assert_eq!(bucket.count, inside, "{bucket:?}");
        assert!(inside > 0);
    }
    let numbers = values.iter().filter(|value| value.number().is_some()).count() as u64;
    let counted: u64 = actual.histogram.iter().map(|bucket| bucket.count).sum();
    assert!(actual.stats.is_none() || counted == numbers, "{counted} of {numbers}");
    if let (Some(stats), Some(other)) = (&mut plain.stats, expected.stats) {
        assert!((stats.avg - other.avg).abs() <= 1e-9 * other.avg.abs().max(other.max.abs()), "{stats:?} {other:?}");
        stats.avg = other.avg;
    }
    assert_eq!(&plain, expected);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn counts_equal_a_naive_evaluator((schema, documents, rule) in cases(40)) {
        let Ok(filter) = Filter::parse(&rule.text(), &schema) else { return Ok(()) };
        let plan = FacetPlan::new(&requests(&schema), &schema, &filter).expect("a plan");
        let mut tally = Tally::new(&plan);
        for document in &documents {
            let bytes = pack(&schema, document);
            tally.add(&Packed::read(&bytes).expect("a layout"));
        }
        let found = tally.found(Basis::Exact);
        let matches = documents.iter().filter(|document| rule.holds(&schema, document)).count() as u64;
        prop_assert_eq!((found.count, found.margin), (matches, 0));
        let parts = parts(&rule);
        for (position, (facet, request)) in tally.finish(Basis::Exact).iter().zip(&plan.facets).enumerate() {
            let passes = |document: &&Document| {
                let own = BTreeSet::from([position]);
                parts.iter().filter(|part| fields(part) != own).all(|part| part.holds(&schema, document))
            };
            let selected = documents.iter().filter(passes);
            let values: Vec<&Value> = selected.filter_map(|document| document.fields.get(&request.request.field)).collect();
            assert_same(facet, &naive(&request.request, &values), &values);
        }
    }
}

#[test]
fn faults_name_the_facet_and_the_rule() {
    let schema = schema_of(&KINDS);
    let name = |name| FieldName::new(name).expect("a name");
    let mut hidden = schema_of(&KINDS);
    hidden.fields[0].facet = false;
    let unknown = FacetRequest { field: name("nothing"), ..request(0, false) };
    let tags = FacetRequest { field: name("f1"), ..request(3, true) };
    let backward = FacetRequest { ranges: vec![(1.0, 1.0)], interval: f64::NAN, ..request(3, true) };
    let requests = [request(0, false), unknown, tags, backward];
    let faults = FacetPlan::new(&requests, &hidden, &Filter::default()).expect_err("faults");
    let places: Vec<String> = faults.iter().map(|fault| format!("{}.{}", fault.index, fault.member)).collect();
    assert_eq!(places, ["0.field", "1.field", "2.ranges", "2.interval", "2.stats", "3.ranges", "3.interval"]);
    assert!(FacetPlan::new(&requests[..1], &schema, &Filter::default()).is_ok());
}

#[test]
fn counters_make_an_exact_facet() {
    let counts = [("b", 2), ("a", 2), ("c", 9), ("gone", 0), ("d", 1)];
    let facet = counted(&request(0, false), counts.map(|(value, count)| (value.to_owned(), count)));
    let values: Vec<(&str, u64)> = facet.values.iter().map(|value| (value.value.as_str(), value.count)).collect();
    assert_eq!(values, [("c", 9), ("a", 2), ("b", 2)]);
    assert!(!facet.approximate && facet.values.iter().all(|value| value.interval == (value.count, value.count)));
}

/// Random numbers by SplitMix64: seeded, and the same on every machine.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.unit() * bound as f64) as usize
    }
}

/// Population of documents: number of the tag value, and result of the filter. Shares of the values fall by a power of rank.
fn population(random: &mut Random, size: usize) -> Vec<(usize, bool)> {
    let values = [2, 5, 12, 40, 300, 3000][random.below(6)];
    let (power, admitted) = ([0.0, 0.5, 1.0, 1.5][random.below(4)], [1.0, 0.8, 0.3][random.below(3)]);
    let weights = (1..=values).scan(0.0, |sum, rank| {
        *sum += f64::from(rank).powf(-power);
        Some(*sum)
    });
    let weights: Vec<f64> = weights.collect();
    let total = weights[weights.len() - 1];
    let draw = |_| {
        let point = random.unit() * total;
        (weights.partition_point(|weight| *weight <= point).min(weights.len() - 1), random.unit() < admitted)
    };
    (0..size).map(draw).collect()
}

/// Sample of about 300 documents, at the front: each document by its own chance.
fn sample(random: &mut Random, population: &mut [(usize, bool)]) -> (usize, Basis) {
    let fraction = 300.0 / population.len() as f64;
    let mut taken = 0;
    for index in 0..population.len() {
        if random.unit() < fraction {
            population.swap(taken, index);
            taken += 1;
        }
    }
    (taken, Basis::Fraction(fraction))
}

#[test]
fn sampled_counts_keep_their_margin() {
    let schema = schema_of(&[KINDS[0], KINDS[2]]);
    let filter = Filter::parse("f1 = true", &schema).expect("a filter");
    let plan =
        FacetPlan::new(&[FacetRequest { max_values: 10, ..request(0, false) }], &schema, &filter).expect("a plan");
    let document = |value: usize, admitted: bool| {
        let name = |index| schema.fields[index as usize].name.clone();
        let fields = [(name(0), Value::Text(format!("v{value}"))), (name(1), Value::Boolean(admitted))];
        let id = keyplane_contracts::names::Id::parse("d", "id").expect("an id");
        pack(&schema, &Document { id, fields: fields.into(), version: None, expires: None })
    };
    let packed: Vec<[Vec<u8>; 2]> = (0..3000).map(|value| [document(value, false), document(value, true)]).collect();
    let mut random = Random(20_261_128);
    let (mut values, mut kept, mut totals_kept, mut errors) = (0, 0, 0, Vec::new());
    const CASES: usize = 2000;
    for _ in 0..CASES {
        let size = [1000, 2000, 5000][random.below(3)];
        let mut population = population(&mut random, size);
        let count = |documents: &[(usize, bool)]| {
            let mut counts = vec![0_u64; 3000];
            documents.iter().filter(|(_, admitted)| *admitted).for_each(|(value, _)| counts[*value] += 1);
            counts
        };
        let truth = count(&population);
        let (taken, basis) = sample(&mut random, &mut population);
        let seen = count(&population[..taken]);
        let mut tally = Tally::new(&plan);
        for (value, admitted) in &population[..taken] {
            tally.add(&Packed::read(&packed[*value][usize::from(*admitted)]).expect("a layout"));
        }
        let (found, total) = (tally.found(basis), truth.iter().sum::<u64>());
        totals_kept += usize::from(found.count.abs_diff(total) <= found.margin);
        let facet = tally.finish(basis).remove(0);
        let passed = seen.iter().sum::<u64>();
        assert!(facet.approximate && u64::from(facet.sample) == passed, "the sample is what passes the filter");
        for (rank, value) in facet.values.iter().enumerate() {
            let index: usize = value.value[1..].parse().expect("a number");
            let count = truth[index];
            values += 1;
            kept += usize::from((value.interval.0..=value.interval.1).contains(&count));
            assert_eq!(value.rough, seen[index] * 20 < passed, "{value:?}: {} of {passed}", seen[index]);
            if rank < 5 && !value.rough {
                errors.push(value.count.abs_diff(count) as f64 / count as f64);
            }
        }
    }
    errors.sort_by(f64::total_cmp);
    let median = errors[errors.len() / 2];
    let share = |part: usize, whole: usize| part as f64 / whole as f64;
    println!(
        "{CASES} samples, {values} values: {:.2} % within, totals {:.2} %; median error of {} values {:.1} %",
        100.0 * share(kept, values),
        100.0 * share(totals_kept, CASES),
        errors.len(),
        100.0 * median
    );
    assert!(share(kept, values) >= 0.93, "{kept} of {values} within their interval");
    assert!(share(totals_kept, CASES) >= 0.93, "{totals_kept} of {CASES} totals within their margin");
    assert!(median <= 0.2, "median error {median}");
}
