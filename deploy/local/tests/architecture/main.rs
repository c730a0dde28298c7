//! Rules of the workspace's structure that a compiler does not check. Each is held by syntax: names are resolved
//! through `use`, renames, re-exports, globs and `#[path]`, and the tokens of macros are searched too.

#![expect(clippy::wildcard_enum_match_arm, reason = "a rule looks at a few of syn's many variants")]

mod crates;
mod exports;
mod files;
mod module;
mod rules;
mod syntax;
mod tokens;

use crate::crates::Workspace;
use crate::rules::RULES;

#[test]
fn workspace_keeps_its_rules() {
    let workspace = Workspace::read();
    for end in ["session/src/domain/mod.rs", "session/src/main.rs", "patch.lua"] {
        assert!(workspace.files.keys().any(|path| path.ends_with(end)), "{end} was not read");
    }
    let violations = |rule: &rules::Rule| {
        let mut violations = (rule.violations)(&workspace);
        violations.sort();
        violations.dedup();
        violations
    };
    let broken: Vec<String> = RULES
        .iter()
        .map(|rule| (rule.text, violations(rule)))
        .filter(|(_, violations)| !violations.is_empty())
        .map(|(text, violations)| format!("{text}\n  {}", violations.join("\n  ")))
        .collect();
    assert!(broken.is_empty(), "rules of the architecture are broken:\n\n{}\n", broken.join("\n\n"));
}
