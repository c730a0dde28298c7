//! Files and folders.

use std::collections::BTreeSet;

use super::{Rule, Violations};
use crate::crates::Workspace;
use crate::files::Package;

const MAX_LINES: usize = 400;
const MAX_LINES_OF_MAIN: usize = 39;
const FILES: [&str; 5] = ["config.rs", "error.rs", "lib.rs", "main.rs", "service.rs"];
const FOLDERS: [&str; 4] = ["app", "domain", "grpc", "store"];
/// Only where a service calls something besides the store.
const PEERS: &str = "peers";

pub(super) const MAIN: Rule = Rule {
    text: "a service's main.rs has fewer than 40 lines: the server kit does the rest",
    violations: |workspace| {
        let mains = services(workspace).map(|service| format!("{}/src/main.rs", service.folder));
        mains.filter_map(|path| longer_than(MAX_LINES_OF_MAIN, &path, workspace.files.get(&path)?)).collect()
    },
};

pub(super) const LIB: Rule = Rule {
    text: "a service's lib.rs has documentation, modules and re-exports, and no logic",
    violations: |workspace| {
        let mut violations = Violations::new();
        for service in services(workspace) {
            let Some(text) = service.source(&workspace.files, "lib.rs") else { continue };
            let syntax = syn::parse_file(text).unwrap();
            let is_plain = |item: &&syn::Item| match item {
                syn::Item::Use(_) => true,
                syn::Item::Mod(item) => item.content.is_none(),
                _ => false,
            };
            let count = syntax.items.iter().filter(|item| !is_plain(item)).count();
            violations.extend((count > 0).then(|| format!("{}/src/lib.rs: {count} other items", service.folder)));
        }
        violations
    },
};

pub(super) const ROOMS: Rule = Rule {
    text: "every service has the same rooms: {main,lib,config,error,service}.rs, grpc/, app/, domain/, store/, and peers/ where there are any",
    violations: |workspace| services(workspace).flat_map(|service| rooms(workspace, service)).collect(),
};

pub(super) const STYLE: Rule = Rule {
    text: "one module style: `foo/mod.rs`, and no `foo.rs` beside a folder `foo/`",
    violations: |workspace| {
        let paths = || workspace.files.keys().filter(|path| path.ends_with(".rs"));
        let folders: BTreeSet<&str> = paths().flat_map(|path| ancestors(path)).collect();
        // Cargo wants a build script beside the manifest.
        let modules = paths().filter(|path| !path.ends_with("/build.rs"));
        modules.filter(|path| path.strip_suffix(".rs").is_some_and(|stem| folders.contains(stem))).cloned().collect()
    },
};

pub(super) const LENGTH: Rule = Rule {
    text: "no file of Rust or Lua has more than 400 lines: split it by what it is about",
    violations: |workspace| {
        let code = workspace.files.iter().filter(|(path, _)| path.ends_with(".rs") || path.ends_with(".lua"));
        code.filter_map(|(path, text)| longer_than(MAX_LINES, path, text)).collect()
    },
};

pub(super) const ORPHANS: Rule = Rule {
    text: "every file of Rust belongs to a crate by `mod`",
    violations: |workspace| {
        let known: BTreeSet<&str> = workspace.modules.iter().map(|module| module.file.as_str()).collect();
        let sources = workspace.packages.iter().flat_map(|package| {
            let source = format!("{}/src/", package.folder);
            workspace.files.keys().filter(move |path| path.starts_with(&source) && path.ends_with(".rs"))
        });
        sources.filter(|path| !known.contains(path.as_str())).cloned().collect()
    },
};

fn services(workspace: &Workspace) -> impl Iterator<Item = &Package> {
    workspace.packages.iter().filter(|package| package.is_service())
}

fn longer_than(limit: usize, path: &str, text: &str) -> Option<String> {
    let lines = text.lines().count();
    (lines > limit).then(|| format!("{path}: {lines} lines"))
}

/// Folders that a path leads through.
fn ancestors(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(index, _)| &path[..index])
}

fn rooms(workspace: &Workspace, service: &Package) -> Violations {
    let source = format!("{}/src/", service.folder);
    let paths =
        workspace.files.keys().filter_map(|path| path.strip_prefix(&source)).filter(|path| path.ends_with(".rs"));
    let found: BTreeSet<&str> = paths.map(|path| path.split('/').next().unwrap_or(path)).collect();
    let wanted: BTreeSet<&str> = FILES.into_iter().chain(FOLDERS).collect();
    let missing = wanted.difference(&found).map(|name| format!("{source}{name} is missing"));
    let other = found.difference(&wanted).filter(|name| **name != PEERS);
    missing.chain(other.map(|name| format!("{source}{name} is no room"))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(rule: &Rule, files: &[(&str, &str)]) -> Violations {
        (rule.violations)(&Workspace::of(files))
    }

    #[test]
    fn long_file_is_found() {
        let lib = ("services/a/src/lib.rs", "");
        let main = "services/a/src/main.rs";
        assert_eq!(found(&MAIN, &[lib, (main, &"\n".repeat(40))]), ["services/a/src/main.rs: 40 lines"]);
        assert!(found(&MAIN, &[lib, (main, &"\n".repeat(39))]).is_empty());
        assert_eq!(found(&LENGTH, &[("bench/src/lib.rs", &"\n".repeat(401))]).len(), 1);
        assert_eq!(found(&LENGTH, &[("x/b.lua", &"\n".repeat(401)), ("x/c.lua", &"\n".repeat(400))]).len(), 1);
    }

    #[test]
    fn library_with_logic_is_found() {
        let library = "//! Doc.\n#![warn(x)]\n/// A room.\npub mod a;\nmod b;\npub use a::A;\n";
        assert!(found(&LIB, &[("services/a/src/lib.rs", library)]).is_empty());
        for logic in ["pub fn serve() {}", "mod c { fn f() {} }", "const N: u8 = 1;", "m!();"] {
            assert_eq!(found(&LIB, &[("services/a/src/lib.rs", &format!("{library}{logic}"))]).len(), 1, "{logic}");
        }
    }

    #[test]
    fn service_of_another_shape_is_found() {
        let file = |name: &str| (format!("services/a/src/{name}"), String::new());
        let folders = FOLDERS.map(|folder| file(&format!("{folder}/mod.rs")));
        let mut files: Vec<_> = FILES.iter().map(|name| file(name)).chain(folders).collect();
        files.push(file("peers/mod.rs"));
        let found = |files: &[(String, String)]| {
            let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), text.as_str())).collect();
            found(&ROOMS, &files)
        };
        assert!(found(&files).is_empty());
        files.push(file("limiter/mod.rs"));
        files.push(file("metrics.rs"));
        files.retain(|(path, _)| !path.contains("/domain/"));
        assert_eq!(
            found(&files),
            ["domain is missing", "limiter is no room", "metrics.rs is no room"]
                .map(|end| format!("services/a/src/{end}"))
        );
    }

    #[test]
    fn module_of_two_styles_is_found() {
        let lib = ("bench/src/lib.rs", "");
        assert_eq!(found(&STYLE, &[lib, ("bench/src/a.rs", ""), ("bench/src/a/b.rs", "")]), ["bench/src/a.rs"]);
        assert!(found(&STYLE, &[lib, ("bench/src/a/mod.rs", ""), ("bench/src/a/b.rs", "")]).is_empty());
        assert!(found(&STYLE, &[lib, ("bench/build.rs", ""), ("bench/build/b.rs", "")]).is_empty());
    }

    #[test]
    fn file_of_no_crate_is_found() {
        let files = [("bench/src/lib.rs", "mod a;"), ("bench/src/a.rs", ""), ("bench/src/b.rs", "")];
        assert_eq!(found(&ORPHANS, &files), ["bench/src/b.rs"]);
    }
}
