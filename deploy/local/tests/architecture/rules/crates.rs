//! Crates that rooms may name.

use super::{Rule, Violations, mentions, room, service_modules};
use crate::crates::Workspace;

/// Client library of the store; in two parts, since this file keeps its rule too.
pub(crate) const CLIENT_CRATE: &str = concat!("fr", "ed");
const STORE_CRATE: &str = "keyplane_valkey";

pub(super) const DOMAIN: Rule = Rule {
    text: "domain/ is pure: no transport, no store, no runtime, no I/O, no reading of clocks",
    violations: |workspace| {
        let mut violations = in_room(workspace, "domain", |path| {
            let is_crate = ["tokio", CLIENT_CRATE, STORE_CRATE, "keyplane_server"].contains(&path[0].as_str());
            is_crate || is_tonic(path) || reads_a_clock(path) || does_io(path)
        });
        for module in service_modules(workspace).filter(|module| room(module) == "domain") {
            let clocks = module.methods.iter().filter(|(name, _)| name == "elapsed");
            violations.extend(clocks.map(|(name, line)| format!("{}:{line}: .{name}()", module.file)));
        }
        violations
    },
};

pub(super) const APP: Rule = Rule {
    text: "app/ is the use cases: it names neither tonic (grpc/ and peers/ do) nor keyplane_valkey (store/ does)",
    violations: |workspace| in_room(workspace, "app", |path| is_tonic(path) || path[0] == STORE_CRATE),
};

pub(super) const GRPC: Rule = Rule {
    text: "grpc/ converts and calls app/: it names no key, script or type of keyplane_valkey",
    violations: |workspace| {
        in_room(workspace, "grpc", |path| {
            let is_of_store = path.get(1).is_some_and(|room| room == "store");
            let is_part = path.get(2).is_some_and(|part| part == "keys" || part == "scripts");
            path[0] == STORE_CRATE || is_of_store && is_part
        })
    },
};

pub(super) const STORE: Rule = Rule {
    text: "a service names keyplane_valkey in store/, service.rs, config.rs and error.rs alone",
    violations: |workspace| {
        let allowed = ["store", "service", "config", "error"];
        let modules = service_modules(workspace).filter(|module| !allowed.contains(&room(module)));
        modules.flat_map(|module| mentions(workspace, module, |path| path[0] == STORE_CRATE)).collect()
    },
};

pub(super) const CLIENT: Rule = Rule {
    text: "only shared/valkey knows the store's client library, so that it can be replaced",
    violations: |workspace| {
        let modules = workspace.modules.iter().filter(|module| !module.file.starts_with("shared/valkey/"));
        modules.flat_map(|module| mentions(workspace, module, |path| path[0] == CLIENT_CRATE)).collect()
    },
};

pub(super) const CLIENT_MANIFESTS: Rule = Rule {
    text: "only the manifest of shared/valkey names the store's client library",
    violations: |workspace| {
        let packages = workspace.packages.iter().filter(|package| package.folder != "shared/valkey");
        let users = packages.filter(|package| package.dependencies.contains(CLIENT_CRATE));
        users.map(|package| format!("{} depends on it", package.name)).collect()
    },
};

pub(super) const SERVICES: Rule = Rule {
    text: "a service never depends on another: they meet through shared/contracts",
    violations: |workspace| {
        let services = || workspace.packages.iter().filter(|package| package.is_service());
        let uses = services().flat_map(|user| services().map(move |used| (user, used)));
        let known = uses.filter(|(user, used)| user.name != used.name && user.dependencies.contains(&used.name));
        known.map(|(user, used)| format!("{} depends on {}", user.name, used.name)).collect()
    },
};

fn in_room(workspace: &Workspace, name: &str, is_forbidden: fn(&[String]) -> bool) -> Violations {
    let modules = service_modules(workspace).filter(|module| room(module) == name);
    modules.flat_map(|module| mentions(workspace, module, is_forbidden)).collect()
}

/// tonic and the crates around it: `tonic_types`, `tonic_health`.
fn is_tonic(path: &[String]) -> bool {
    path[0] == "tonic" || path[0].starts_with("tonic_")
}

fn does_io(path: &[String]) -> bool {
    let part = |index| path.get(index).map_or("", String::as_str);
    // An address is a plain value.
    let is_address = part(1) == "net" && (part(2).is_empty() || part(2).starts_with("Ip") || part(2) == "SocketAddr");
    part(0) == "std" && ["fs", "net", "env", "io", "process", "thread"].contains(&part(1)) && !is_address
}

fn reads_a_clock(path: &[String]) -> bool {
    let [.., clock, method] = path else { return false };
    path[0] == "std" && (clock == "Instant" || clock == "SystemTime") && (method == "now" || method == "elapsed")
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIB: (&str, &str) = ("services/search/src/lib.rs", "mod app; mod domain; mod grpc; mod store;");

    fn found(rule: &Rule, files: &[(&str, &str)]) -> Violations {
        (rule.violations)(&Workspace::of(&[&[LIB], files].concat()))
    }

    #[test]
    fn domain_names_no_transport_store_or_runtime() {
        let domain = "services/search/src/domain/mod.rs";
        for text in [
            "use tokio::time;",
            "use ::tonic::Status;",
            "use tonic_types as types;",
            "fn f() -> keyplane_server::Error { g() }",
            "macro_rules! m { () => { keyplane_valkey::Key::new() } }",
            "#[serde(with = \"tokio::time\")] struct S;",
            "extern crate tokio as rt;",
            "mod inner { use tonic as t; fn f() { t::Status::ok() } }",
        ] {
            assert!(!found(&DOMAIN, &[(domain, text)]).is_empty(), "{text}");
        }
        for text in ["// use tokio::time;", "/// tonic::Status\nstruct S;", "fn tonic() {}", "struct S { tokio: u8 }"] {
            assert_eq!(found(&DOMAIN, &[(domain, text)]), [""; 0], "{text}");
        }
        assert_eq!(found(&DOMAIN, &[("services/search/src/grpc/mod.rs", "use tonic::Status;")]), [""; 0]);
    }

    #[test]
    fn domain_does_no_io_and_reads_no_clock() {
        let domain = "services/search/src/domain/mod.rs";
        for text in [
            "use std::fs;",
            "use std::{env as e};",
            "use std::net; fn f() { net::TcpStream::connect(x) }",
            "use std::time::Instant as I; fn f() { I::now(); }",
            "fn f() { std::time::SystemTime::now() }",
            "use std::time::*; fn f() -> u8 { assert_eq!(std::time::Instant::now(), x) }",
            "fn f(i: std::time::Instant) { i.elapsed() }",
            "fn f(i: std::time::Instant) { assert!(i.elapsed() > x) }",
        ] {
            assert!(!found(&DOMAIN, &[(domain, text)]).is_empty(), "{text}");
        }
        assert_eq!(found(&DOMAIN, &[(domain, "use std::time::{Duration, Instant}; use std::net::IpAddr;")]), [""; 0]);
    }

    #[test]
    fn app_names_no_transport_and_no_store_crate() {
        let app = "services/search/src/app/mod.rs";
        assert_eq!(found(&APP, &[(app, "use tonic::Status;")]), [format!("{app}:1: tonic::Status")]);
        assert_eq!(found(&APP, &[(app, "\nuse keyplane_valkey::Key;")]), [format!("{app}:2: keyplane_valkey::Key")]);
    }

    #[test]
    fn grpc_names_no_key_script_or_type_of_the_store_crate() {
        let grpc = "services/search/src/grpc/mod.rs";
        let store =
            ("services/search/src/store/mod.rs", "mod keys; pub use keys::Shard; pub use keyplane_valkey::App as A;");
        let keys = ("services/search/src/store/keys.rs", "pub struct Shard;");
        assert!(!found(&GRPC, &[(grpc, "fn f(a: keyplane_valkey::App) {}")]).is_empty());
        assert!(!found(&GRPC, &[store, keys, (grpc, "use crate::store::A;")]).is_empty(), "re-exported");
        assert!(!found(&GRPC, &[store, keys, (grpc, "use crate::store::*; fn f(a: A) {}")]).is_empty(), "by a glob");
        assert!(!found(&GRPC, &[store, keys, (grpc, "use crate::store::Shard;")]).is_empty());
        assert_eq!(found(&GRPC, &[store, keys, (grpc, "use crate::store::Store;")]), [""; 0]);
    }

    #[test]
    fn store_crate_is_named_by_the_store_and_the_wiring() {
        let files = |path: &'static str| [(path, "use keyplane_valkey::Valkey;")];
        assert_eq!(found(&STORE, &files("services/search/src/app/mod.rs")).len(), 1);
        assert_eq!(found(&STORE, &files("services/search/src/store/mod.rs")).len(), 0);
        let moved = ("services/search/src/app/mod.rs", "#[path = \"../store/link.rs\"] mod link;");
        assert_eq!(
            found(&STORE, &[moved, ("services/search/src/store/link.rs", "use keyplane_valkey::Key;")]).len(),
            1
        );
    }

    #[test]
    fn client_library_stays_behind_its_wall() {
        let import = &format!("use {CLIENT_CRATE}::prelude::*;");
        assert_eq!(found(&CLIENT, &[("services/search/src/store/mod.rs", import)]).len(), 1);
        assert_eq!(found(&CLIENT, &[("shared/valkey/src/lib.rs", import)]).len(), 0);
        assert_eq!(found(&CLIENT, &[("shared/server/src/lib.rs", ""), ("shared/server/tests/a.rs", import)]).len(), 1);
    }

    #[test]
    fn manifests_keep_services_and_client_apart() {
        let mut workspace = Workspace::of(&[LIB, ("services/memory/src/lib.rs", "")]);
        assert!((SERVICES.violations)(&workspace).is_empty());
        workspace.packages[0].dependencies.insert("keyplane_search".to_owned());
        assert_eq!((SERVICES.violations)(&workspace), ["keyplane_memory depends on keyplane_search"]);
        workspace.packages[1].dependencies.insert(CLIENT_CRATE.to_owned());
        assert_eq!((CLIENT_MANIFESTS.violations)(&workspace), ["keyplane_search depends on it"]);
    }
}
