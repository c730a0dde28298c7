//! Exports of a room to its users.

use super::crates::CLIENT_CRATE;
use super::{Rule, Violations};
use crate::crates::Workspace;
use crate::exports::leaks;

pub(super) const EXPORTS: Rule = Rule {
    text: "a service's store/ hands out nothing of keyplane_valkey: neither by a re-export nor by a result, a field or an \
           alias; errors apart, which error.rs wraps",
    violations: |workspace| {
        let services = workspace.packages.iter().filter(|package| package.is_service());
        services.flat_map(|service| found(workspace, &[&service.name, "store"], "keyplane_valkey")).collect()
    },
};

pub(super) const CLIENT_EXPORTS: Rule = Rule {
    text: "shared/valkey hands out nothing of the store's client library",
    violations: |workspace| found(workspace, &["keyplane_valkey"], CLIENT_CRATE),
};

fn found(workspace: &Workspace, module: &[&str], forbidden: &str) -> Violations {
    let module: Vec<String> = module.iter().map(|&name| name.to_owned()).collect();
    let leaks = leaks(workspace, &module, forbidden).into_iter();
    leaks.map(|leak| format!("{}:{}: {}", leak.file, leak.line, leak.what)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found_in(store: &str, link: &str) -> usize {
        let workspace = Workspace::of(&[
            ("services/search/src/lib.rs", "mod store;"),
            ("services/search/src/store/mod.rs", store),
            ("services/search/src/store/link.rs", link),
        ]);
        (EXPORTS.violations)(&workspace).len()
    }

    #[test]
    fn store_hands_out_nothing_of_its_crate() {
        for (store, link) in [
            ("pub use keyplane_valkey::Key;", ""),
            ("pub(crate) use keyplane_valkey::*;", ""),
            ("pub use keyplane_valkey as valkey;", ""),
            ("mod link; pub use link::Bell;", "pub(super) use keyplane_valkey::Bell;"),
            ("pub type Bell = keyplane_valkey::Doorbell;", ""),
            ("pub struct S { pub key: keyplane_valkey::Key }", ""),
            ("pub struct S; impl S { pub fn key(&self) -> Option<keyplane_valkey::Key> { None } }", ""),
            (
                "mod link; pub struct S;",
                "use super::S; use keyplane_valkey as v; impl S { pub(crate) fn k(&self) -> v::Key {} }",
            ),
            ("mod link; pub fn f() -> link::Link {}", "pub struct Link(pub keyplane_valkey::Key);"),
            ("pub struct S; impl std::ops::Deref for S { type Target = keyplane_valkey::Key; }", ""),
        ] {
            assert_eq!(found_in(store, link), 1, "{store} {link}");
        }
        for (store, link) in [
            ("use keyplane_valkey::Key; pub struct S(Key);", ""),
            ("pub struct S; impl S { pub fn new(valkey: keyplane_valkey::Valkey) -> S { S } }", ""),
            ("mod link; pub struct S;", "impl super::S { pub(super) fn k(&self) -> keyplane_valkey::Key {} }"),
            ("mod link;", "pub struct Link(pub keyplane_valkey::Key);"),
            ("pub struct S; impl S { pub fn check(&self) -> Result<(), keyplane_valkey::Error> { f() } }", ""),
        ] {
            assert_eq!(found_in(store, link), 0, "{store} {link}");
        }
    }

    #[test]
    fn connection_crate_hands_out_nothing_of_its_client() {
        let text = format!("pub fn client() -> {CLIENT_CRATE}::Client {{ g() }}");
        let workspace = Workspace::of(&[("shared/valkey/src/lib.rs", &text)]);
        assert_eq!((CLIENT_EXPORTS.violations)(&workspace).len(), 1);
    }
}
