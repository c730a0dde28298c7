//! Schemas of the demo's collections.

use keyplane_contracts::search::v1 as pb;
use keyplane_contracts::search::v1::field::{Language, Type};

/// Collection of a data set: `companies` or `tasks`.
pub(super) fn collection(set: &str) -> pb::Collection {
    let fields = if set == "companies" { companies() } else { tasks() };
    let synonyms = vec![pb::SynonymGroup { words: ["bank", "credit institution"].map(str::to_owned).into() }];
    pb::Collection { fields, synonyms, ..pb::Collection::default() }
}

fn companies() -> Vec<pb::Field> {
    vec![
        text("name", 4.0, Language::Unspecified),
        text("products", 1.0, Language::English),
        text("headquarters", 1.0, Language::Unspecified),
        text("people", 1.0, Language::Unspecified),
        tag("symbol", Type::Tag, false),
        tag("country", Type::Tag, true),
        tag("industries", Type::Tags, true),
        tag("indices", Type::Tags, true),
        number("employees", Type::Integer),
        number("founded", Type::Integer),
        field("website", Type::Stored),
    ]
}

fn tasks() -> Vec<pb::Field> {
    vec![
        text("title", 2.0, Language::English),
        text("number", 2.0, Language::Unspecified),
        tag("company", Type::Tag, false),
        tag("country", Type::Tag, true),
        tag("status", Type::Tag, true),
        tag("assignee", Type::Tag, true),
        tag("tags", Type::Tags, true),
        tag("billable", Type::Boolean, true),
        number("amount", Type::Decimal),
        number("due", Type::Timestamp),
    ]
}

fn field(name: &str, kind: Type) -> pb::Field {
    pb::Field { name: name.to_owned(), r#type: kind.into(), ..pb::Field::default() }
}

fn text(name: &str, weight: f32, language: Language) -> pb::Field {
    pb::Field { weight, language: language.into(), ..field(name, Type::Text) }
}

fn tag(name: &str, kind: Type, facet: bool) -> pb::Field {
    pb::Field { facet, ..field(name, kind) }
}

fn number(name: &str, kind: Type) -> pb::Field {
    pb::Field { sortable: true, facet: true, ..field(name, kind) }
}
