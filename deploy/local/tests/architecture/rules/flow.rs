//! The one way that data flows.

use super::{Rule, room, service_modules};

pub(super) const FLOW: Rule = Rule {
    text: "data flows one way: grpc → app → store, app → peers, all of them use domain; nobody but service.rs names grpc",
    violations: |workspace| {
        let mut violations = Vec::new();
        for module in service_modules(workspace).filter(|module| is_held(room(module))) {
            for mention in &module.mentions {
                for meaning in workspace.resolve(module, mention) {
                    let is_own = meaning.path[0] == module.path[0];
                    let target = meaning.path.get(1).filter(|target| is_own && is_room(target));
                    if target.is_some_and(|target| !may_name(room(module), target)) {
                        violations.push(format!("{}:{}: {}", module.file, mention.line, meaning.path.join("::")));
                    }
                }
            }
        }
        violations
    },
};

/// Returns whether a room is bound to a direction: `main.rs` starts the service, `lib.rs` lists its modules,
/// `service.rs` connects them.
fn is_held(room: &str) -> bool {
    is_room(room) && room != "service"
}

fn is_room(name: &str) -> bool {
    ["grpc", "app", "peers", "domain", "store", "config", "error", "service"].contains(&name)
}

fn may_name(room: &str, target: &str) -> bool {
    let allowed: &[&str] = match room {
        "grpc" => &["app", "domain", "store", "config", "error"],
        "app" => &["store", "peers", "domain", "error"],
        "peers" | "store" => &["domain", "error"],
        "config" => &["app", "domain", "store"],
        "error" => &["domain", "store", "peers"],
        _ => &[],
    };
    room == target || allowed.contains(&target)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crates::Workspace;

    fn is_found(room: &str, text: &str) -> bool {
        let lib = "mod app; mod domain; mod error; mod grpc; mod peers; mod service; mod store; pub use error::Error;";
        let path = if room == "service" || room == "error" { format!("{room}.rs") } else { format!("{room}/mod.rs") };
        let path = format!("services/search/src/{path}");
        let mut files = vec![("services/search/src/lib.rs", lib), (&path, text)];
        if room != "store" {
            files.push(("services/search/src/store/mod.rs", "pub use crate::grpc::Face; pub struct Store;"));
        }
        !(FLOW.violations)(&Workspace::of(&files)).is_empty_but_for("services/search/src/store/mod.rs")
    }

    trait ButFor {
        fn is_empty_but_for(&self, file: &str) -> bool;
    }

    impl ButFor for Vec<String> {
        fn is_empty_but_for(&self, file: &str) -> bool {
            self.iter().all(|violation| violation.starts_with(file))
        }
    }

    #[test]
    fn rooms_name_only_what_is_below_them() {
        for (room, text) in [
            ("app", "use crate::grpc::Service;"),
            ("app", "fn f() -> super::service::X {}"),
            ("peers", "use crate::app::Limiter;"),
            ("domain", "use crate::store::Store;"),
            ("domain", "use crate::Error;"),
            ("domain", "macro_rules! m { () => { $crate::app::f() } }"),
            ("peers", "use crate::store as s; fn f(s: s::Store) {}"),
            ("app", "use crate::store::Face;"),
            ("grpc", "use crate::peers::Revoker;"),
        ] {
            assert!(is_found(room, text), "{room}: {text}");
        }
        for (room, text) in [
            ("grpc", "use crate::{app::Limiter, store::Store, Error};"),
            ("app", "use crate::store::Store; use crate::peers::Revoker;"),
            ("service", "use crate::grpc::Service;"),
            ("error", "use crate::store::Store;"),
        ] {
            assert!(!is_found(room, text), "{room}: {text}");
        }
    }
}
