//! Model of filters for property tests: random schemas, documents and rules, and an evaluator that shares nothing with the
//! language's.

use keyplane_contracts::names::Id;
use keyplane_contracts::rules::search::WHOLE;
use keyplane_contracts::timestamp;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;

use super::document::{Document, Value};
use super::schema::{Field, FieldKind, FieldName, Schema};

/// Kinds that can be filtered.
pub(crate) const KINDS: [FieldKind; 6] =
    [FieldKind::Tag, FieldKind::Tags, FieldKind::Boolean, FieldKind::Integer, FieldKind::Decimal, FieldKind::Timestamp];
const TAGS: [&str; 7] = ["a", "b", "open", "in progress", "It's \"\\*", "\u{fc}\u{4e16}", "_0"];
const DECIMALS: [f64; 6] = [-1.5, 0.0, 0.1, 3.0, 2e10, 1e-7];
const DAY: i64 = 86_400_000;

/// Rule of a filter.
#[derive(Clone, Debug)]
pub(crate) enum Rule {
    All(Vec<Rule>),
    Any(Vec<Rule>),
    Not(Box<Rule>, bool),
    Is { field: usize, comparator: &'static str, values: Vec<Scalar>, each: bool },
    Present(usize),
}

/// Single value.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Scalar {
    Tag(String, u8),
    Boolean(bool),
    Integer(i64),
    Decimal(f64),
    Time(i64),
}

/// Schema with a field of each of the kinds, all of them facets.
pub(crate) fn schema_of(kinds: &[FieldKind]) -> Schema {
    let name = |index: usize| FieldName::new(&format!("f{index}")).expect("a name");
    let field =
        |(index, kind): (usize, &FieldKind)| Field { name: name(index), kind: *kind, sortable: false, facet: true };
    Schema { fields: kinds.iter().enumerate().map(field).collect(), ..Schema::default() }
}

/// Schema, documents by it, and a rule about them.
pub(crate) fn cases(documents: usize) -> impl Strategy<Value = (Schema, Vec<Document>, Rule)> {
    vec(select(&KINDS[..]), 1..6).prop_flat_map(move |kinds| {
        let schema = schema_of(&kinds);
        (Just(schema.clone()), vec(document(&schema), 1..documents), rule(&kinds))
    })
}

/// Document by a schema; a third of the values are missing.
pub(crate) fn document(schema: &Schema) -> impl Strategy<Value = Document> + use<> {
    let names: Vec<FieldName> = schema.fields.iter().map(|field| field.name.clone()).collect();
    let values: Vec<_> = schema.fields.iter().map(|field| prop::option::weighted(0.67, value(field.kind))).collect();
    values.prop_map(move |values| {
        let fields = names.iter().cloned().zip(values).filter_map(|(name, value)| Some((name, value?))).collect();
        Document { id: Id::parse("d", "id").expect("an id"), fields, version: None, expires: None }
    })
}

fn value(kind: FieldKind) -> BoxedStrategy<Value> {
    if kind == FieldKind::Tags {
        let tags = proptest::sample::subsequence(TAGS.to_vec(), 0..4);
        return tags.prop_map(|tags| Value::Tags(tags.into_iter().map(str::to_owned).collect())).boxed();
    }
    scalar(kind)
        .prop_map(|scalar| match scalar {
            Scalar::Tag(tag, _) => Value::Text(tag),
            Scalar::Boolean(value) => Value::Boolean(value),
            Scalar::Integer(number) => Value::Integer(number),
            Scalar::Decimal(number) => Value::Decimal(number),
            Scalar::Time(time) => Value::Timestamp(time),
        })
        .boxed()
}

fn scalar(kind: FieldKind) -> BoxedStrategy<Scalar> {
    match kind {
        FieldKind::Boolean => any::<bool>().prop_map(Scalar::Boolean).boxed(),
        FieldKind::Integer => {
            prop_oneof![8 => -2_i64..=2, 1 => select(vec![-WHOLE, WHOLE])].prop_map(Scalar::Integer).boxed()
        }
        FieldKind::Decimal => select(&DECIMALS[..]).prop_map(Scalar::Decimal).boxed(),
        FieldKind::Timestamp => {
            let time = |(day, ms): (i64, i64)| Scalar::Time(day * DAY + ms);
            (-1_i64..=2, select(vec![0, 1, 43_200_000])).prop_map(time).boxed()
        }
        FieldKind::Tag | FieldKind::Tags | FieldKind::Text { .. } | FieldKind::Stored => {
            (select(&TAGS[..]), 0_u8..3).prop_map(|(tag, style)| Scalar::Tag(tag.to_owned(), style)).boxed()
        }
    }
}

/// Rule about fields of these kinds.
pub(crate) fn rule(kinds: &[FieldKind]) -> impl Strategy<Value = Rule> + use<> {
    let leaves: Vec<BoxedStrategy<Rule>> = kinds.iter().enumerate().map(|(field, kind)| leaf(field, *kind)).collect();
    proptest::strategy::Union::new(leaves).prop_recursive(4, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 1..4).prop_map(Rule::All),
            vec(inner.clone(), 1..4).prop_map(Rule::Any),
            (inner, any::<bool>()).prop_map(|(rule, sign)| Rule::Not(Box::new(rule), sign)),
        ]
    })
}

fn leaf(field: usize, kind: FieldKind) -> BoxedStrategy<Rule> {
    let comparators: &[&str] = match kind {
        FieldKind::Tags => &[":"],
        FieldKind::Tag | FieldKind::Boolean | FieldKind::Text { .. } | FieldKind::Stored => &["=", "!=", ":"],
        FieldKind::Integer | FieldKind::Decimal | FieldKind::Timestamp => &["=", "!=", ":", "<", "<=", ">", ">="],
    };
    let is = move |(comparator, mut values, each): (&'static str, Vec<Scalar>, bool)| {
        if !["=", ":"].contains(&comparator) {
            values.truncate(1);
        }
        Rule::Is { field, comparator, values, each: each && kind == FieldKind::Tags }
    };
    let is = (select(comparators), vec(scalar(kind), 1..4), any::<bool>()).prop_map(is);
    prop_oneof![9 => is, 1 => Just(Rule::Present(field))].boxed()
}

// === impl Rule ===

impl Rule {
    /// Text of the rule in the filter language.
    pub(crate) fn text(&self) -> String {
        match self {
            Rule::All(inner) => joined(inner, " AND "),
            Rule::Any(inner) => joined(inner, " OR "),
            Rule::Not(inner, sign) => format!("{}({})", if *sign { "-" } else { "NOT " }, inner.text()),
            Rule::Present(field) => format!("f{field} : *"),
            Rule::Is { field, comparator, values, each } => {
                let values: Vec<String> = values.iter().map(Scalar::text).collect();
                match &values[..] {
                    [value] => format!("f{field} {comparator} {value}"),
                    _ => format!("f{field}{comparator}({})", values.join(if *each { " AND " } else { " OR " })),
                }
            }
        }
    }

    /// Result for a document: comparisons with a missing value are false, negations are complements.
    pub(crate) fn holds(&self, schema: &Schema, document: &Document) -> bool {
        let value = |field: usize| document.fields.get(&schema.fields[field].name);
        match self {
            Rule::All(inner) => inner.iter().all(|rule| rule.holds(schema, document)),
            Rule::Any(inner) => inner.iter().any(|rule| rule.holds(schema, document)),
            Rule::Not(inner, _) => !inner.holds(schema, document),
            Rule::Present(field) => value(*field).is_some_and(|value| *value != Value::Tags(Vec::new())),
            Rule::Is { field, comparator: "!=", values, .. } => {
                !value(*field).is_some_and(|value| compare(value, "=", &values[0]))
            }
            Rule::Is { field, comparator, values, each } => value(*field).is_some_and(|value| {
                let mut results = values.iter().map(|scalar| compare(value, comparator, scalar));
                if *each { results.all(|holds| holds) } else { results.any(|holds| holds) }
            }),
        }
    }
}

fn joined(inner: &[Rule], separator: &str) -> String {
    let part = |rule: &Rule| match rule {
        Rule::All(_) | Rule::Any(_) => format!("({})", rule.text()),
        Rule::Not(..) | Rule::Is { .. } | Rule::Present(_) => rule.text(),
    };
    inner.iter().map(part).collect::<Vec<_>>().join(separator)
}

fn compare(value: &Value, comparator: &str, scalar: &Scalar) -> bool {
    let ordering = match (value, scalar) {
        (Value::Text(text), Scalar::Tag(tag, _)) => Some(text.cmp(tag)),
        (Value::Tags(tags), Scalar::Tag(tag, _)) => return tags.contains(tag),
        (Value::Boolean(value), Scalar::Boolean(other)) => Some(value.cmp(other)),
        (Value::Integer(number), Scalar::Integer(other)) | (Value::Timestamp(number), Scalar::Time(other)) => {
            Some(number.cmp(other))
        }
        (Value::Decimal(number), Scalar::Decimal(other)) => number.partial_cmp(other),
        (value, scalar) => panic!("{value:?} beside {scalar:?}"),
    };
    let ordering = ordering.expect("numbers have an order");
    match comparator {
        "=" | ":" => ordering.is_eq(),
        "<" => ordering.is_lt(),
        "<=" => ordering.is_le(),
        ">" => ordering.is_gt(),
        ">=" => ordering.is_ge(),
        other => panic!("no comparator: {other}"),
    }
}

// === impl Scalar ===

impl Scalar {
    fn text(&self) -> String {
        match self {
            Scalar::Tag(tag, 0) if tag.bytes().all(|byte| byte.is_ascii_alphanumeric()) => tag.clone(),
            Scalar::Tag(tag, 1) => format!("'{}'", tag.replace('\\', "\\\\").replace('\'', "\\'")),
            Scalar::Tag(tag, _) => format!("\"{}\"", tag.replace('\\', "\\\\").replace('"', "\\\"")),
            Scalar::Boolean(value) => value.to_string(),
            Scalar::Integer(number) => number.to_string(),
            Scalar::Decimal(number) => format!("{number:e}"),
            Scalar::Time(time) if time % DAY == 0 => timestamp::format_millis(*time)[..10].to_owned(),
            Scalar::Time(time) => timestamp::format_millis(*time),
        }
    }
}
