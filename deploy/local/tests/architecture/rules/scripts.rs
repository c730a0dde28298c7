//! Scripts of the store.

use std::collections::BTreeSet;

use regex::Regex;

use super::{Rule, Violations};
use crate::files::Files;

pub(super) const CONTRACTS: Rule = Rule {
    text: "a script begins with comment lines that say what it does (`-- feature.name: ...`), its KEYS and ARGV, what it replies \
           (`Reply: ...`), and what a retry does",
    violations: |workspace| {
        let scripts = workspace.files.keys().filter(|path| is_script(path, &workspace.files));
        scripts.flat_map(|path| missing(path, &workspace.files)).collect()
    },
};

/// Returns whether a file is a script by itself: neither what is put before others, nor a part of the script that its
/// folder is named after.
fn is_script(path: &str, files: &Files) -> bool {
    let whole = path.rsplit_once('/').map(|(folder, _)| format!("{folder}.lua"));
    path.ends_with(".lua") && !path.ends_with("/common.lua") && !whole.is_some_and(|whole| files.contains_key(&whole))
}

fn missing(path: &str, files: &Files) -> Violations {
    let (header, body) = split(&files[path]);
    let common = path.rsplit_once('/').and_then(|(folder, _)| files.get(&format!("{folder}/common.lua")));
    let documented =
        names(&header).into_iter().chain(common.into_iter().flat_map(|text| names(&split(text).0))).collect();
    let has = |pattern: &str| Regex::new(pattern).unwrap().is_match(&header);
    let mut missing = Vec::new();
    missing.extend((!has("^-- [a-z_]+[.][a-z_]+: .")).then(|| "a title".to_owned()));
    missing.extend((!has("(?m)^-- Reply: .")).then(|| "`Reply:`".to_owned()));
    missing.extend((!has(r"(?-u:\b)[Rr]etry(?-u:\b)")).then(|| "what a retry does".to_owned()));
    missing.extend(names(&body).difference(&documented).cloned());
    missing.into_iter().map(|part| format!("{path}: its header lacks {part}")).collect()
}

/// Comment lines at the start, and everything after them.
fn split(text: &str) -> (String, String) {
    let is_comment = |line: &&str| line.starts_with("--");
    let header: Vec<&str> = text.lines().take_while(is_comment).collect();
    let body: Vec<&str> = text.lines().skip(header.len()).collect();
    (header.join("\n"), body.join("\n"))
}

/// Which of KEYS and ARGV a text indexes.
fn names(text: &str) -> BTreeSet<String> {
    ["KEYS", "ARGV"].into_iter().filter(|name| text.contains(&format!("{name}["))).map(str::to_owned).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::crates::Workspace;

    #[test]
    fn script_without_contract_is_found() {
        let found = |files: &[(&str, &str)]| (CONTRACTS.violations)(&Workspace::of(files)).len();
        let whole = "-- a.b: does it.\n--\n-- KEYS[1] it\n-- Reply: {'OK'}\n-- A retry is harmless.\nreturn KEYS[1]\n";
        assert_eq!(found(&[("x/b.lua", whole)]), 0);
        assert_eq!(found(&[("x/b.lua", "return 1 -- Reply: retry")]), 3);
        assert_eq!(found(&[("x/b.lua", &whole.replace("KEYS[1] it", "a key"))]), 1);
        assert_eq!(found(&[("x/b.lua", &format!("{whole}local n = ARGV[1]"))]), 1);
        assert_eq!(found(&[("x/b.lua", &format!("{whole}local n = ARGV[1]")), ("x/common.lua", "-- ARGV[1] n")]), 0);
        assert_eq!(found(&[("x/common.lua", "return 1")]), 0);
        assert_eq!(found(&[("x/b.lua", whole), ("x/b/c.lua", "return 1")]), 0, "a part");
        assert_eq!(found(&[("x/b/c.lua", "return 1")]), 3, "part of no script");
    }
}
