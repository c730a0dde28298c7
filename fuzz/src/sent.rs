//! Check of the queries that the engine is sent.

use keyplane_contracts::names::CollectionName;
use keyplane_search::domain::{Clause, Scope};
use keyplane_search::store::{AnyOf, Find};

/// Scope of the collection `tasks` of a tenant.
pub(crate) fn scope(tenant: &str) -> Scope {
    let name = CollectionName::parse(&format!("tenants/{tenant}/collections/tasks"), "name");
    Scope::new(&name.expect("a name"))
}

/// Text of a search; none if it is too long for the engine.
///
/// # Panics
///
/// Text outside of the language that both engines read alike, or outside of the scope.
pub(crate) fn checked(scope: &Scope, clause: &Clause, words: &[AnyOf], not_words: &[String]) -> Option<String> {
    let find = Find { scope, clause, words, not_words, not_columns: &[0, 1], spread: None, texts: &[], limit: 10 };
    let text = find.text()?;
    if let Err(fault) = keyplane_testkit::check_search_query(&text) {
        panic!("{fault}: {text}");
    }
    assert!(stays_within(&text, scope), "the query leaves its scope: {text}");
    Some(text)
}

/// Returns whether a query of the safe subset begins with its scope, and names no other column of the service.
///
/// Parts on the top level are all required. The negated scope stands for no document.
fn stays_within(text: &str, scope: &Scope) -> bool {
    let own = format!("@_s:{{{}}}", scope.as_str());
    let nothing = format!(" -{own}");
    text.strip_prefix(&own).is_some_and(|rest| !rest.replace(&nothing, "").contains("@_"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn query_that_leaves_its_scope_is_found() {
        let scope = scope("acme");
        let own = format!("@_s:{{{}}}", scope.as_str());
        let other = format!("@_s:{{{}}}", super::scope("bond").as_str());
        for text in [&own, &format!("{own} @t0:a (@g0:{{b}} | @g1:{{c}})"), &format!("{own} @t0:a -{own}")] {
            assert!(stays_within(text, &scope), "{text}");
        }
        for text in [
            &other,
            "@t0:a",
            &format!("{own} {other}"),
            &format!("{own} (@t0:a | {other})"),
            &format!("{own} @_r:[0 1]"),
        ] {
            assert!(!stays_within(text, &scope), "{text}");
        }
    }
}
