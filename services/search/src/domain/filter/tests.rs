use std::ops::RangeBounds;

use proptest::prelude::*;

use super::super::model::{KINDS, cases, schema_of};
use super::super::packed::pack;
use super::super::schema::{Field, FieldName, Language};
use super::super::{Clause, Column, Document, FieldKind, Layout, Packed, Schema, Token, Value};
use super::*;

fn schema() -> Schema {
    let kinds = [
        ("status", FieldKind::Tag),
        ("tags", FieldKind::Tags),
        ("open", FieldKind::Boolean),
        ("amount", FieldKind::Integer),
        ("rate", FieldKind::Decimal),
        ("created", FieldKind::Timestamp),
        ("name", FieldKind::Text { weight: 1.0, language: Language::None }),
        ("note", FieldKind::Stored),
    ];
    let field =
        |(name, kind)| Field { name: FieldName::new(name).expect("a name"), kind, sortable: false, facet: false };
    Schema { fields: kinds.into_iter().map(field).collect(), ..Schema::default() }
}

fn canonical(text: &str) -> String {
    Filter::parse(text, &schema()).unwrap_or_else(|faults| panic!("{text}: {faults:?}")).to_string()
}

fn fault(text: &str) -> String {
    let faults = Filter::parse(text, &schema()).expect_err(text);
    faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")
}

#[test]
fn forms_of_the_language_are_parsed() {
    for (text, expected) in [
        ("", ""),
        (" \n ", ""),
        ("status = \"active\"", "status = \"active\""),
        ("status=active", "status = \"active\""),
        ("status : 'it\\'s'", "status = \"it's\""),
        ("status != a", "NOT status = \"a\""),
        ("NOT status != a", "status = \"a\""),
        ("-status = a", "NOT status = \"a\""),
        ("- (status = a)", "NOT status = \"a\""),
        ("NOT (status = a OR open = true)", "NOT (status = \"a\" OR open = true)"),
        ("tags : (a OR \"b c\" OR a)", "tags : (\"a\" OR \"b c\")"),
        ("tags : (a AND b)", "tags : (\"a\" AND \"b\")"),
        ("tags : (a AND a)", "tags : \"a\""),
        ("tags:*", "tags : *"),
        ("amount >= -5 AND amount<10", "amount >= -5 AND amount < 10"),
        ("amount : (1 OR 2)", "amount = (1 OR 2)"),
        ("amount = -9007199254740991", "amount = -9007199254740991"),
        ("amount = -0", "amount = 0"),
        ("rate = .5", "rate = 0.5"),
        ("rate < 1e300", "rate < 1e300"),
        ("rate = -0.0", "rate = 0.0"),
        ("created > 2026-01-31", "created > 2026-01-31T00:00:00Z"),
        ("created > 2026-01-31T08:00:00.5+02:00", "created > 2026-01-31T06:00:00.500Z"),
        ("created <= \"0001-01-01\"", "created <= 0001-01-01T00:00:00Z"),
        ("((status = a) AND (open = false AND amount > 1))", "status = \"a\" AND open = false AND amount > 1"),
        ("(status = a AND open = true) OR tags : x", "(status = \"a\" AND open = true) OR tags : \"x\""),
    ] {
        assert_eq!(canonical(text), expected, "{text}");
    }
}

#[test]
fn faults_name_the_position_and_the_rule() {
    for (text, position, rule) in [
        ("status", 7, "must follow the field"),
        ("status = ", 10, "a value must stand here"),
        ("status = a b", 12, "AND, OR or the end"),
        ("status = a and open = true", 12, "in capitals"),
        ("not status = a", 5, "in capitals"),
        ("status = a AND", 15, "a field"),
        ("AND status = a", 1, "keywords"),
        ("status = a AND open = true OR amount = 1", 28, "must not be mixed"),
        ("(status = a", 12, "is not closed"),
        ("status = a)", 11, "closes none"),
        ("status = \"a", 10, "closed by another"),
        ("status = \"a\\n\"", 12, "a backslash"),
        ("status = a:b", 11, "colon"),
        ("status = a*", 11, "wildcard"),
        ("status = *", 8, "wildcard"),
        ("tags : (a, b)", 10, "joined by OR"),
        ("tags : ()", 9, "a value"),
        ("tags : (a OR b AND c)", 16, "OR alone"),
        ("status : (a AND b)", 8, "several values"),
        ("status != (a OR b)", 8, "negate them by NOT"),
        ("tags = a", 6, "use : in place"),
        ("status > a", 8, "has no order"),
        ("open < true", 6, "has no order"),
        ("open = \"true\"", 8, "without quotes"),
        ("open = yes", 8, "true or false"),
        ("amount = 1.5", 10, "whole number"),
        ("amount = \"1\"", 10, "whole number"),
        ("amount > (1 OR 2)", 8, "must follow ="),
        ("amount = 9007199254740992", 10, "2^53"),
        ("amount = 99999999999999999999999", 10, "2^53"),
        ("rate = nan", 8, "finite"),
        ("rate = 1e999", 8, "finite"),
        ("created > 5", 11, "a date such as"),
        ("created > 2026-02-30", 11, "a date such as"),
        ("created > 2026-01-31T08:00:00", 11, "a date such as"),
        ("created > 0000-01-01", 11, "a date such as"),
        ("created > \"20260-01-01\"", 11, "a date such as"),
        ("name = a", 1, "search it with the query"),
        ("note = a", 1, "stored field"),
        ("\u{e4}\u{4e16} = a", 1, "no field of this name (2 characters)"),
        ("statsu = a", 1, "did you mean \"status\"?"),
        ("status = \u{e4} ; ", 12, "AND, OR or the end"),
        ("status ! a", 8, "quoted value"),
    ] {
        let fault = fault(text);
        assert!(fault.starts_with(&format!("position {position}: ")) && fault.contains(rule), "{text}\n{fault}");
    }
}

#[test]
fn every_fault_of_the_types_comes_at_once() {
    let fault = fault("statsu = a AND (amount = x OR open > true) AND tags : b");
    let positions: Vec<&str> = fault.lines().filter_map(|line| line.split(':').next()).collect();
    assert_eq!(positions, ["position 1", "position 26", "position 36"]);
    let many = vec!["x = 1"; 20].join(" AND ");
    assert_eq!(Filter::parse(&many, &schema()).expect_err("faults").len(), Filter::MAX_FAULTS);
}

#[test]
fn bounds_are_held() {
    let nested = |depth: usize| format!("{}status = a{}", "(".repeat(depth), ")".repeat(depth));
    assert!(Filter::parse(&nested(16), &schema()).is_ok());
    assert!(fault(&nested(17)).starts_with("position 17: parentheses must nest at most 16"));
    assert!(fault(&"(".repeat(4096)).contains("at most 16"));
    assert!(fault(&"NOT (".repeat(800)).contains("at most 16"));
    let terms = |count: usize| vec!["status = a"; count].join(" AND ");
    assert!(Filter::parse(&terms(64), &schema()).is_ok());
    assert!(fault(&terms(65)).contains("at most 64 comparisons"));
    let values = |count: usize| format!("status = ({})", vec!["a"; count].join(" OR "));
    assert!(Filter::parse(&values(100), &schema()).is_ok());
    assert!(fault(&values(101)).contains("at most 100 values"));
    let long = format!("status = \"{}\"", "\u{e4}".repeat(Filter::MAX_BYTES / 2));
    let (position, bytes) = (Filter::MAX_BYTES / 2 + 6, Filter::MAX_BYTES + 11);
    let expected = format!("position {position}: a filter must have at most {} bytes; got {bytes}", Filter::MAX_BYTES);
    assert_eq!(fault(&long), expected);
}

#[test]
fn engine_gets_tags_first_and_few_ranges() {
    let layout = Layout::new(&schema());
    let filter = Filter::parse("amount > 1 AND rate < 2 AND amount <= 9 AND status = a", &schema()).expect("a filter");
    let clauses = filter.clauses(&layout);
    let split = clauses.split(1, 1000);
    let range = Clause::Range(Column::Number(0), std::ops::Bound::Excluded(1.0), std::ops::Bound::Included(9.0));
    let tag = Clause::Tag(Column::Tag(0), vec![Token::new("a")]);
    assert_eq!(split, Split { engine: Clause::All(vec![tag.clone(), range]), exact: false });
    assert!(clauses.split(2, 1000).exact);
    assert_eq!(clauses.split(2, 30), Split { engine: tag, exact: false });
    let contradiction = Filter::parse("amount > 1 AND amount < 1", &schema()).expect("a filter");
    assert!(contradiction.clauses(&layout).split(0, 0).engine.is_never());
}

/// Evaluates a condition of the index on a document's columns, as the layout states them.
fn holds(clause: &Clause, layout: &Layout, schema: &Schema, document: &Document) -> bool {
    let value = |column: &Column| {
        let position = layout.columns.iter().position(|other| *other == Some(*column)).expect("a column of the schema");
        document.fields.get(&schema.fields[position].name)
    };
    match clause {
        Clause::All(inner) => inner.iter().all(|clause| holds(clause, layout, schema, document)),
        Clause::Any(inner) => inner.iter().any(|clause| holds(clause, layout, schema, document)),
        Clause::Not(inner) => !holds(inner, layout, schema, document),
        Clause::Range(column, low, high) => {
            value(column).and_then(Value::number).is_some_and(|number| (*low, *high).contains(&number))
        }
        Clause::Tag(column, tokens) => {
            let present: Vec<Token> = match value(column) {
                Some(Value::Text(tag)) => vec![Token::new(tag)],
                Some(Value::Tags(tags)) if !tags.is_empty() => tags.iter().map(|tag| Token::new(tag)).collect(),
                Some(Value::Boolean(value)) => vec![Token::new(&value.to_string())],
                _ => vec![Token::missing()],
            };
            tokens.iter().any(|token| present.contains(token))
        }
    }
}

fn is_simple(clause: &Clause, root: bool) -> bool {
    match clause {
        Clause::Tag(_, tokens) => !tokens.is_empty(),
        Clause::Range(..) => true,
        Clause::All(inner) | Clause::Any(inner) if inner.is_empty() => root,
        Clause::All(inner) | Clause::Any(inner) => {
            inner.len() > 1 && inner.iter().all(|clause| is_simple(clause, false))
        }
        Clause::Not(inner) => is_simple(inner, false),
    }
}

fn is_inside(faults: &[Fault], text: &str) -> bool {
    let end = text.chars().count() + 1;
    !faults.is_empty() && faults.iter().all(|fault| (1..=end).contains(&fault.position) && !fault.rule.is_empty())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn filters_equal_a_naive_evaluator((schema, documents, rule) in cases(12)) {
        let text = rule.text();
        let parsed = Filter::parse(&text, &schema);
        prop_assume!(text.len() <= Filter::MAX_BYTES);
        let filter = parsed.map_err(|faults| TestCaseError::fail(format!("{text}: {faults:?}")))?;
        let layout = Layout::new(&schema);
        let clauses = filter.clauses(&layout);
        let (all, split) = (clauses.all(), clauses.split(1, 200));
        prop_assert!(is_simple(&all, true) && is_simple(&split.engine, true), "{:?}", all);
        prop_assert!(split.engine.ranges() <= 1 && split.engine.size() <= 200 || split.engine.is_never());
        for document in &documents {
            let bytes = pack(&schema, document);
            let expected = rule.holds(&schema, document);
            let packed = Packed::read(&bytes).expect("a layout");
            prop_assert_eq!(filter.matches(&packed), expected, "{} on {:?}", &text, document);
            prop_assert_eq!(holds(&all, &layout, &schema, document), expected, "{:?} on {:?}", &all, document);
            let engine = holds(&split.engine, &layout, &schema, document);
            prop_assert!(engine == expected || engine && !split.exact);
        }
    }

    #[test]
    fn canonical_text_parses_to_an_equal_filter((schema, _, rule) in cases(2)) {
        if let Ok(filter) = Filter::parse(&rule.text(), &schema) {
            let text = filter.to_string();
            prop_assert_eq!(Filter::parse(&text, &schema), Ok(filter), "{}", text);
        }
    }

    #[test]
    fn arbitrary_text_is_a_filter_or_a_fault_inside_it(text in "\\PC{0,200}") {
        if let Err(faults) = Filter::parse(&text, &schema()) {
            prop_assert!(is_inside(&faults, &text), "{:?}", faults);
        }
    }

    #[test]
    fn soup_of_the_language_is_a_filter_or_a_fault_inside_it(
        pieces in proptest::collection::vec(proptest::sample::select(&[
            "status", "tags", "open", "amount", "created", "name", "f9", "AND", "OR", "NOT", "-", "(", ")", "=", "!=", "<",
            "<=", ">", ">=", ":", "*", ",", "\"a b\"", "'", "\"", "\\", "true", "17", "1e999", "2026-01-01T00:00:00Z",
            "9999-99-99T99:99:99+99:99", "\u{0}", "\u{a0}", "\u{1f600}", "@g0:{*}", "|", "%x%", "[", "]",
        ][..]), 0..60),
        separator in proptest::sample::select(&["", " "][..]),
    ) {
        let text = pieces.join(separator);
        match Filter::parse(&text, &schema()) {
            Ok(filter) => prop_assert_eq!(Filter::parse(&filter.to_string(), &schema()), Ok(filter)),
            Err(faults) => prop_assert!(is_inside(&faults, &text), "{:?}", faults),
        }
    }

    #[test]
    fn arbitrary_values_survive_quoting(value in "\\PC{0,60}") {
        let quoted = value.replace('\\', "\\\\").replace('"', "\\\"");
        let filter = Filter::parse(&format!("f0 = \"{quoted}\""), &schema_of(&KINDS)).expect("a filter");
        let Some(Expr::Is(predicate)) = filter.conjuncts().first() else { panic!("no comparison: {filter:?}") };
        prop_assert_eq!(&predicate.condition, &Condition::OneOf(vec![value]));
        let clause = filter.clauses(&Layout::new(&schema_of(&KINDS))).all();
        let Clause::Tag(_, tokens) = clause else { panic!("no tag: {clause:?}") };
        let is_harmless = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
        prop_assert!(tokens.iter().all(|token| token.as_str().bytes().all(is_harmless)));
    }
}
