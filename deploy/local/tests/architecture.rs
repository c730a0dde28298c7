//! The rules of the workspace's structure that a compiler does not check.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use regex::Regex;
use serde_json::Value;

/// A text file, its path from the workspace's root.
struct Source {
    path: String,
    text: String,
}

/// What broke a rule: where, and what was found there.
type Violations = Vec<String>;

// === the rules ===

const PURE: &str = "a service's domain is pure rules: no transport, no store, no runtime (grpc/ and store/ have those)";

fn impure_domains(sources: &[Source]) -> Violations {
    rooms_that_name("domain", &format!("tonic|tokio|{CLIENT}|keyplane_valkey|keyplane_server"), sources)
}

const FACES: &str =
    "a service's grpc/ converts and calls its app: it names no key, script or type of the store's crate";

fn faces_that_know_the_store(sources: &[Source]) -> Violations {
    rooms_that_name("grpc", "keyplane_valkey", sources)
}

/// In two parts, since this file keeps the rule too.
const CLIENT: &str = concat!("fr", "ed");
const WALL: &str = "only shared/valkey knows the store's client library, so that it can be replaced";

fn client_outside_its_wall(sources: &[Source]) -> Violations {
    let name = Regex::new(&format!(r"(?-u:\b){CLIENT}(?-u:\b)")).unwrap();
    let outside = |path: &str| path != "Cargo.toml" && !path.starts_with("shared/valkey/");
    let files = sources.iter().filter(|source| outside(&source.path) && is_rust_or_manifest(&source.path));
    files.flat_map(|source| lines_with(source, &name, |line| line)).collect()
}

const STRANGERS: &str = "a service never depends on another: they meet through shared/contracts";

/// `packages` as `cargo metadata` has them.
fn services_that_know_each_other(packages: &[Value]) -> Violations {
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let is_service = |package: &&Value| text(&package["manifest_path"]).contains("/services/");
    let names: BTreeSet<String> = packages.iter().filter(is_service).map(|package| text(&package["name"])).collect();
    let dependencies = |package: &Value| package["dependencies"].as_array().cloned().unwrap_or_default();
    let of_service = |package: &Value| {
        let used: Vec<String> = dependencies(package).iter().map(|used| text(&used["name"])).collect();
        let others = used.into_iter().filter(|used| names.contains(used) && package["name"] != used.as_str());
        others.map(|used| format!("{} depends on {used}", text(&package["name"]))).collect::<Vec<_>>()
    };
    packages.iter().filter(is_service).flat_map(of_service).collect()
}

const SHORT_MAIN: &str = "a service's main.rs has fewer than 40 lines: the server kit does the rest";

fn long_mains(sources: &[Source]) -> Violations {
    let main = Regex::new("^services/[^/]+/src/main[.]rs$").unwrap();
    longer_than(39, sources, |path| main.is_match(path))
}

const SHORT_FILES: &str = "no file of Rust or Lua has more than 400 lines: split it by what it is about";

fn long_files(sources: &[Source]) -> Violations {
    longer_than(400, sources, |path| path.ends_with(".rs") || path.ends_with(".lua"))
}

const CONTRACTS: &str = "a script begins with comment lines that say what it does (`-- feature.name: ...`), what it replies (`Reply: \
                         ...`), and what a retry does";

fn scripts_without_contract(sources: &[Source]) -> Violations {
    let title = Regex::new("^-- [a-z_]+[.][a-z_]+: .").unwrap();
    let reply = Regex::new("(?m)^-- Reply: .").unwrap();
    let retry = Regex::new(r"(?-u:\b)[Rr]etry(?-u:\b)").unwrap();
    let is_script = |path: &str| path.ends_with(".lua") && !path.ends_with("/common.lua") && !is_part(path, sources);
    let mut found = Violations::new();
    for source in sources.iter().filter(|source| is_script(&source.path)) {
        let header: Vec<&str> = source.text.lines().take_while(|line| line.starts_with("--")).collect();
        let header = header.join("\n");
        for (part, pattern) in [("a title", &title), ("`Reply:`", &reply), ("what a retry does", &retry)] {
            if !pattern.is_match(&header) {
                found.push(format!("{}: its header lacks {part}", source.path));
            }
        }
    }
    found
}

/// Whether a file is a part of the script that its folder is named after: that one's header is for both.
fn is_part(path: &str, sources: &[Source]) -> bool {
    let script = path.rsplit_once('/').map(|(folder, _)| format!("{folder}.lua"));
    script.is_some_and(|script| sources.iter().any(|source| source.path == script))
}

// === looking ===

/// Lines of a room of any service that name one of these crates, `|` between them.
fn rooms_that_name(room: &str, crates: &str, sources: &[Source]) -> Violations {
    let names = Regex::new(&format!(r"(?-u:\b)({crates})(?-u:\b)")).unwrap();
    let room = Regex::new(&format!("^services/[^/]+/src/{room}(/.*)?[.]rs$")).unwrap();
    let files = sources.iter().filter(|source| room.is_match(&source.path));
    files.flat_map(|source| lines_with(source, &names, without_comment)).collect()
}

fn lines_with<'a>(
    source: &'a Source,
    pattern: &Regex,
    part: impl Fn(&'a str) -> &'a str + 'a,
) -> impl Iterator<Item = String> + 'a {
    let pattern = pattern.clone();
    let numbered = source.text.lines().enumerate();
    numbered
        .filter(move |(_, line)| pattern.is_match(part(line)))
        .map(|(index, line)| format!("{}:{}: {}", source.path, index + 1, line.trim()))
}

fn longer_than(limit: usize, sources: &[Source], which: impl Fn(&str) -> bool) -> Violations {
    let long = sources.iter().filter(|source| which(&source.path) && source.text.lines().count() > limit);
    long.map(|source| format!("{}: {} lines", source.path, source.text.lines().count())).collect()
}

fn without_comment(line: &str) -> &str {
    line.split("//").next().unwrap_or_default()
}

fn is_rust_or_manifest(path: &str) -> bool {
    path.ends_with(".rs") || path.ends_with("Cargo.toml")
}

fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).ancestors().nth(2).unwrap().to_owned()
}

/// Every file that a rule is about. What was built or fetched is left out.
fn sources() -> Vec<Source> {
    let root = workspace();
    let mut folders = vec![root.clone()];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).unwrap() {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            let path = entry.path();
            if entry.file_type().unwrap().is_dir() {
                let made = name.starts_with('.') || name == "target" || name == "node_modules";
                folders.extend((!made).then_some(path));
            } else if is_rust_or_manifest(&name) || name.ends_with(".lua") {
                let text = std::fs::read_to_string(&path).unwrap();
                let path = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                found.push(Source { path, text });
            }
        }
    }
    found
}

fn packages() -> Vec<Value> {
    let mut command = Command::new(env!("CARGO"));
    command.args(["metadata", "--format-version", "1", "--no-deps", "--offline"]).current_dir(workspace());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    metadata["packages"].as_array().unwrap().clone()
}

// === tests ===

#[test]
fn the_workspace_keeps_its_rules() {
    let sources = sources();
    let seen = |end: &str| sources.iter().any(|source| source.path.ends_with(end));
    assert!(seen("session/src/domain/mod.rs") && seen("session/src/main.rs") && seen("patch.lua"), "nothing was seen");
    let packages = packages();
    let rules = [
        (PURE, impure_domains(&sources)),
        (FACES, faces_that_know_the_store(&sources)),
        (WALL, client_outside_its_wall(&sources)),
        (STRANGERS, services_that_know_each_other(&packages)),
        (SHORT_MAIN, long_mains(&sources)),
        (SHORT_FILES, long_files(&sources)),
        (CONTRACTS, scripts_without_contract(&sources)),
    ];
    // All of them at once.
    let broken = rules.iter().filter(|(_, violations)| !violations.is_empty());
    let report: Vec<String> =
        broken.map(|(rule, violations)| format!("{rule}\n  {}", violations.join("\n  "))).collect();
    assert!(report.is_empty(), "rules of the architecture are broken:\n\n{}\n", report.join("\n\n"));
}

#[test]
fn each_rule_finds_what_breaks_it() {
    let source = |path: &str, text: &str| [Source { path: path.to_owned(), text: text.to_owned() }];
    let domain = "services/search/src/domain/query.rs";
    assert_eq!(
        impure_domains(&source(domain, "// tonic\nuse tokio::time;")),
        [format!("{domain}:2: use tokio::time;")]
    );
    assert!(impure_domains(&source("services/search/src/domain.rs", "tonic::Status")).len() == 1);
    assert!(impure_domains(&source("services/search/src/grpc/mod.rs", "use tonic::Status;")).is_empty());

    let face = "services/search/src/grpc/mod.rs";
    assert_eq!(
        faces_that_know_the_store(&source(face, "// keyplane_valkey\nlet app: keyplane_valkey::App;")),
        [format!("{face}:2: let app: keyplane_valkey::App;")]
    );
    assert!(
        faces_that_know_the_store(&source("services/search/src/store/mod.rs", "use keyplane_valkey::App;")).is_empty()
    );

    let import = &format!("use {CLIENT}::prelude::*;");
    assert_eq!(client_outside_its_wall(&source("bench/src/lib.rs", import)).len(), 1);
    assert_eq!(client_outside_its_wall(&source("bench/Cargo.toml", &format!("{CLIENT}.workspace = true"))).len(), 1);
    assert!(client_outside_its_wall(&source("shared/valkey/src/lib.rs", import)).is_empty());

    let package = |name: &str, uses: &str| {
        serde_json::json!({"name": name, "manifest_path": format!("/w/services/{name}/Cargo.toml"),
            "dependencies": [{"name": uses}]})
    };
    let packages = [package("a", "b"), package("b", "tonic")];
    assert_eq!(services_that_know_each_other(&packages), ["a depends on b"]);

    assert_eq!(long_mains(&source("services/a/src/main.rs", &"\n".repeat(40))), ["services/a/src/main.rs: 40 lines"]);
    assert!(long_mains(&source("services/a/src/main.rs", &"\n".repeat(39))).is_empty());
    assert_eq!(long_files(&source("bench/src/lib.rs", &"\n".repeat(401))).len(), 1);
    assert!(long_files(&source("bench/src/lib.rs", &"\n".repeat(400))).is_empty());
    assert_eq!(long_files(&source("x/b.lua", &"\n".repeat(401))).len(), 1);

    let whole = "-- a.b: does it.\n--\n-- Reply: {'OK'}\n-- A retry is harmless.\nreturn 1\n";
    assert!(scripts_without_contract(&source("x/b.lua", whole)).is_empty());
    assert_eq!(scripts_without_contract(&source("x/b.lua", "return 1 -- Reply: retry")).len(), 3);
    assert!(scripts_without_contract(&source("x/common.lua", "return 1")).is_empty());
    let [script] = source("x/b.lua", whole);
    let [part] = source("x/b/c.lua", "return 1");
    assert!(scripts_without_contract(&[script, part]).is_empty());
    assert_eq!(scripts_without_contract(&source("x/b/c.lua", "return 1")).len(), 3, "of no script");
}
