//! Registry of reasons, held against `docs/errors.md`, the contracts, and everything that sends a reason.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use keyplane_contracts::FILE_DESCRIPTOR_SET;
use keyplane_contracts::reasons::{AREAS, Reason, Retry, code_name};
use proc_macro2::{Delimiter, TokenStream, TokenTree};
use prost_reflect::DescriptorPool;
use regex::Regex;
use tonic::Code;

const INTRO: &str = include_str!("errors-intro.md");
/// Folders whose sources send reasons.
const SENDERS: [&str; 9] = [
    "services/session/src",
    "services/auth-revocation/src",
    "services/rate-limiting/src",
    "services/search/src",
    "services/agent-memory/src",
    "shared/server/src",
    "shared/client/src",
    "deploy/gateway/src",
    "shared/revocation/src",
];
const GATEWAY: &str = "deploy/envoy/gateway.yaml";
/// Set to update `docs/errors.md`.
const UPDATE: &str = "KEYPLANE_TEST_UPDATE";

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

fn read(path: impl AsRef<Path>) -> String {
    fs::read_to_string(root().join(&path)).unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

fn all() -> impl Iterator<Item = &'static Reason> {
    AREAS.iter().flat_map(|area| area.reasons).copied()
}

fn find(name: &str) -> Option<&'static Reason> {
    all().find(|reason| reason.name == name)
}

fn is_name(text: &str) -> bool {
    let is_word = |word: &str| !word.is_empty() && word.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    text.starts_with(|first: char| first.is_ascii_uppercase()) && text.split('_').all(is_word)
}

/// Sources under `folder` that are no tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("a folder of sources") {
        let path = entry.expect("an entry").path();
        if path.file_stem().is_some_and(|name| name == "tests") {
            continue;
        }
        match path.is_dir() {
            true => sources(&path, found),
            false if path.extension().is_some_and(|kind| kind == "rs") => found.push(path),
            false => {}
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Name,
    Text,
    Mark,
}

/// Calls `visit` with each name, text and mark, inside macros too; items of tests are left out.
fn walk(tokens: TokenStream, visit: &mut impl FnMut(Kind, &str)) {
    let mut is_test = false;
    for token in tokens {
        match token {
            TokenTree::Group(group) if is_test => is_test = group.delimiter() != Delimiter::Brace,
            TokenTree::Group(group) => {
                is_test = group.stream().to_string() == "cfg (test)";
                walk(group.stream(), visit);
            }
            TokenTree::Punct(mark) => {
                is_test &= mark.as_char() != ';';
                visit(Kind::Mark, mark.as_char().encode_utf8(&mut [0; 4]));
            }
            TokenTree::Ident(name) => visit(Kind::Name, &name.to_string()),
            TokenTree::Literal(text) => visit(Kind::Text, text.to_string().trim_matches('"')),
        }
    }
}

/// Tokens of each source of the senders.
fn senders() -> Vec<(PathBuf, Vec<(Kind, String)>)> {
    let mut files = Vec::new();
    SENDERS.iter().for_each(|folder| sources(&root().join(folder), &mut files));
    assert!(files.len() > 100, "only {} sources are found", files.len());
    let tokens = |file: &PathBuf| {
        let stream: TokenStream = read(file).parse().unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let mut tokens = Vec::new();
        walk(stream, &mut |kind, text| tokens.push((kind, text.to_owned())));
        tokens
    };
    files.into_iter().map(|file| (file.clone(), tokens(&file))).collect()
}

/// Reasons of the gateway's own replies, each with the code beside it.
fn gateway() -> Vec<(String, i32)> {
    let text = read(GATEWAY);
    let line = Regex::new(r"(?m)^ *code: ([0-9]+)$|reason: ([A-Z][A-Z0-9_]+)").expect("a pattern");
    let mut code = 0;
    let mut found = Vec::new();
    for capture in line.captures_iter(&text) {
        match (capture.get(1), capture.get(2)) {
            (Some(number), _) => code = number.as_str().parse().expect("a number"),
            (None, Some(reason)) => found.push((reason.as_str().to_owned(), code)),
            (None, None) => {}
        }
    }
    found
}

#[test]
fn reasons_are_unique_and_well_formed() {
    let mut names = BTreeSet::new();
    for Reason { name, help, code, .. } in all() {
        assert!(names.insert(name), "{name} is registered twice");
        assert!(is_name(name) && name.len() <= 63, "{name} is no reason by AIP-193");
        assert!(*code != Code::Ok && help.ends_with('.') && !help.contains(['\n', '|']), "{name}: {help}");
    }
}

#[test]
fn senders_take_reasons_from_the_registry() {
    let known = |text: &str| ["KEYPLANE_", "OTEL_", "CARGO_", "OUT_DIR"].iter().any(|start| text.starts_with(start));
    for (file, tokens) in senders() {
        let found = |text: &str| {
            let file = file.display();
            panic!("{file}: {text:?}: send a reason of `keyplane_contracts::reasons`, or list its prefix in this test");
        };
        for (kind, text) in &tokens {
            if *kind == Kind::Text && text.contains('_') && is_name(text) && !known(text) {
                found(text);
            }
        }
        // `reason: "X"`, `"reason": "X"`, `with_error_info("X"`.
        for window in tokens.windows(3) {
            if let [(_, field), (Kind::Mark, mark), (Kind::Text, text)] = window
                && (field.as_str(), mark.as_str()) == ("reason", ":")
            {
                found(text);
            }
            if let [(Kind::Name, call), (Kind::Text, text), _] = window
                && call.ends_with("_error_info")
            {
                found(text);
            }
        }
    }
}

#[test]
fn the_gateway_sends_registered_reasons_with_their_codes() {
    let found = gateway();
    assert!(found.len() > 20, "only {} reasons are found in {GATEWAY}", found.len());
    for (name, code) in found {
        let reason = find(&name).unwrap_or_else(|| panic!("{GATEWAY}: {name} is not registered"));
        assert_eq!(i32::from(reason.code), code, "{GATEWAY}: the code of {name}");
    }
}

#[test]
fn every_registered_reason_is_sent() {
    let tokens = senders().into_iter().flat_map(|(_, tokens)| tokens);
    let mut sent: BTreeSet<String> = tokens.filter(|(kind, _)| *kind == Kind::Name).map(|(_, name)| name).collect();
    sent.extend(gateway().into_iter().map(|(name, _)| name));
    let unsent: Vec<_> = all().map(|reason| reason.name).filter(|name| !sent.contains(*name)).collect();
    assert!(unsent.is_empty(), "nothing sends {unsent:?}");
}

#[test]
fn contracts_name_registered_reasons() {
    let pool = DescriptorPool::decode(FILE_DESCRIPTOR_SET).expect("the contracts");
    let mut values: BTreeSet<String> = (0..=16).map(|code| code_name(Code::from_i32(code)).to_owned()).collect();
    pool.all_enums().for_each(|kind| values.extend(kind.values().map(|value| value.name().to_owned())));
    let quoted = Regex::new("`([A-Z][A-Z0-9]*(?:_[A-Z0-9]+)+)`").expect("a pattern");
    for area in ["session", "revocation", "ratelimit", "search"] {
        let file = format!("proto/keyplane/{area}/v1/{area}.proto");
        for capture in quoted.captures_iter(&read(&file)) {
            let name = &capture[1];
            let known = find(name).is_some() || values.contains(name) || name.starts_with("KEYPLANE_");
            assert!(known, "{file}: `{name}` is neither a reason nor a value of an enum");
        }
    }
}

#[test]
fn the_documentation_is_generated() {
    let file = root().join("docs/errors.md");
    let generated = document();
    if std::env::var_os(UPDATE).is_some() {
        fs::write(&file, &generated).expect("docs/errors.md is written");
    }
    assert!(read(&file) == generated, "docs/errors.md is stale: run this test with {UPDATE}=1");
}

fn document() -> String {
    let mut text = INTRO.to_owned();
    for area in &AREAS {
        text += &format!("\n## {}\n\n| reason | code | retry | meaning |\n|---|---|---|---|\n", area.title);
        for Reason { name, code, retry, help } in area.reasons {
            text += &format!("| `{name}` | {} | {} | {help} |\n", code_name(*code), advice(*retry));
        }
    }
    text
}

fn advice(retry: Retry) -> String {
    match retry {
        Retry::Never => "no".to_owned(),
        Retry::Now => "at once".to_owned(),
        Retry::After(wait) => format!("after {} ms", wait.as_millis()),
        Retry::RetryInfo => "after `RetryInfo`".to_owned(),
        Retry::AfterRead => "after a read".to_owned(),
        Retry::Idempotent => "if idempotent".to_owned(),
    }
}
