//! Changes of a schema: what applies at once, and what needs a rebuild.

use super::schema::{Field, FieldKind, Schema};

/// Effect of a change of a schema.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Change {
    /// None: the schemas are equal.
    None,
    /// Applies to the generation in force: synonyms, stop words, ranking, weights, facets, orders by a number.
    AtOnce,
    /// Needs a new generation: fields, kinds, languages, orders by a text, a tag or a boolean.
    Rebuild,
}

// === impl Change ===

impl Change {
    /// Effect of replacing `before` by `after`.
    #[must_use]
    pub fn between(before: &Schema, after: &Schema) -> Change {
        if before == after {
            return Change::None;
        }
        let same = before.fields.len() == after.fields.len()
            && before.fields.iter().zip(&after.fields).all(|(before, after)| columns_are_equal(before, after));
        if same { Change::AtOnce } else { Change::Rebuild }
    }
}

/// Returns whether two declarations at one position have the same columns and terms. Counters cover all tags, and packed values
/// all facets, so that `facet` has no part in it.
fn columns_are_equal(before: &Field, after: &Field) -> bool {
    let kinds = match (before.kind, after.kind) {
        (FieldKind::Text { language: before, .. }, FieldKind::Text { language: after, .. }) => before == after,
        (before, after) => before == after,
    };
    let orders = before.sortable == after.sortable || before.kind.is_numeric();
    before.name == after.name && kinds && orders
}

#[cfg(test)]
mod tests {
    use super::super::schema::{FieldName, Language, RankBy};
    use super::*;

    fn field(name: &str, kind: FieldKind) -> Field {
        Field { name: FieldName::new(name).expect("a name"), kind, sortable: false, facet: false }
    }

    fn text(weight: f32, language: Language) -> FieldKind {
        FieldKind::Text { weight, language }
    }

    fn schema() -> Schema {
        let fields = vec![
            field("name", text(1.0, Language::None)),
            field("kind", FieldKind::Tag),
            field("n", FieldKind::Integer),
        ];
        Schema { fields, ..Schema::default() }
    }

    fn change(edit: impl FnOnce(&mut Schema)) -> Change {
        let mut after = schema();
        edit(&mut after);
        Change::between(&schema(), &after)
    }

    #[test]
    fn rules_of_searches_change_at_once() {
        assert_eq!(change(|_| {}), Change::None);
        assert_eq!(change(|schema| schema.stop_words.push("the".to_owned())), Change::AtOnce);
        let rank = |schema: &mut Schema| {
            schema.rank_by = FieldName::new("n").map(|field| RankBy::Popularity { field, weight: 1.0 });
        };
        assert_eq!(change(rank), Change::AtOnce);
        assert_eq!(change(|schema| schema.fields[0].kind = text(2.0, Language::None)), Change::AtOnce);
        assert_eq!(change(|schema| schema.fields[1].facet = true), Change::AtOnce);
        assert_eq!(change(|schema| schema.fields[2].sortable = true), Change::AtOnce);
    }

    #[test]
    fn columns_and_terms_change_by_a_rebuild() {
        assert_eq!(change(|schema| schema.fields[0].kind = text(1.0, Language::English)), Change::Rebuild);
        assert_eq!(change(|schema| schema.fields[1].kind = FieldKind::Tags), Change::Rebuild);
        assert_eq!(change(|schema| schema.fields[1].sortable = true), Change::Rebuild);
        assert_eq!(change(|schema| schema.fields.push(field("x", FieldKind::Boolean))), Change::Rebuild);
        assert_eq!(change(|schema| schema.fields.swap(0, 1)), Change::Rebuild);
    }
}
