//! Circles among modules. Tests are left out.

use std::collections::{BTreeMap, BTreeSet};

use super::Rule;
use crate::crates::Workspace;
use crate::files::Package;

pub(super) const CIRCLES: Rule = Rule {
    text: "modules that stand side by side do not depend on each other in a circle",
    violations: |workspace| workspace.packages.iter().flat_map(|package| circles(workspace, package)).collect(),
};

/// Names that a module's children use of each other: `a` → `b`, with a place where it does.
type Edges = BTreeMap<String, BTreeMap<String, String>>;

fn circles(workspace: &Workspace, package: &Package) -> Vec<String> {
    let mut edges: BTreeMap<Vec<String>, Edges> = BTreeMap::new();
    for module in workspace.modules_of(package).filter(|module| !module.is_test) {
        for mention in module.mentions.iter().filter(|mention| !mention.is_test) {
            for meaning in workspace.resolve(module, mention) {
                let Some(target) = meaning.module.map(|index| &workspace.modules[index].path) else { continue };
                let common = module.path.iter().zip(target).take_while(|(one, other)| one == other).count();
                if let (Some(from), Some(to)) = (module.path.get(common), target.get(common)) {
                    let place = format!("{}:{}", module.file, mention.line);
                    let below = edges.entry(target[..common].to_vec()).or_default();
                    below.entry(from.clone()).or_default().entry(to.clone()).or_insert(place);
                }
            }
        }
    }
    edges.iter().filter(|(parent, _)| !parent.is_empty()).flat_map(|(parent, edges)| among(parent, edges)).collect()
}

/// One line for each pair of modules that reach each other.
fn among(parent: &[String], edges: &Edges) -> Vec<String> {
    let mut lines = Vec::new();
    for (from, targets) in edges {
        for (to, place) in targets {
            if let Some(way) = way(edges, to, from) {
                lines.push(format!("{}: {from} → {} ({place})", parent.join("::"), way.join(" → ")));
            }
        }
    }
    lines
}

/// A way along the edges, from one name to another.
fn way(edges: &Edges, from: &str, to: &str) -> Option<Vec<String>> {
    let mut ways = vec![vec![from.to_owned()]];
    let mut seen = BTreeSet::from([from]);
    while !ways.is_empty() {
        let mut longer = Vec::new();
        for way in ways {
            let last = way.last()?;
            if last == to {
                return Some(way);
            }
            for next in edges.get(last).into_iter().flat_map(BTreeMap::keys).filter(|next| seen.insert(next)) {
                longer.push([&way[..], std::slice::from_ref(next)].concat());
            }
        }
        ways = longer;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn found(files: &[(&str, &str)]) -> usize {
        let files: Vec<_> = files.iter().map(|(path, text)| (format!("shared/x/src/{path}.rs"), *text)).collect();
        let files: Vec<_> = files.iter().map(|(path, text)| (path.as_str(), *text)).collect();
        (CIRCLES.violations)(&Workspace::of(&files)).len()
    }

    #[test]
    fn circle_of_siblings_is_found() {
        let lib = ("lib", "mod a; mod b; mod c; pub use b::B;");
        let (b, c) = (("b", "use super::c::C; pub struct B;"), ("c", "pub struct C;"));
        assert_eq!(found(&[lib, ("a", "use crate::b::B; pub struct A;"), b, c]), 0);
        assert_eq!(
            found(&[lib, ("a", "use crate::B; pub struct A;"), b, ("c", "fn f() { crate::a::A }")]),
            3,
            "re-exported"
        );
        assert_eq!(
            found(&[lib, ("a", "m!(super::b::B); pub struct A;"), ("b", "use super::a::A as X; pub struct B;"), c]),
            2
        );
    }

    #[test]
    fn folder_and_its_own_modules_are_no_circle_and_tests_are_left_out() {
        let lib = ("lib", "mod a; mod b; pub struct Here;");
        let a = ("a/mod.rs", "");
        assert_eq!(found(&[lib, a, ("a", "use super::Here; use crate::b::B;"), ("b", "pub struct B;")]), 0);
        let b = "pub struct B; #[cfg(test)] mod tests { use crate::a::A; }";
        assert_eq!(found(&[lib, ("a", "use super::b::B; pub struct A;"), ("b", b)]), 0);
    }

    #[test]
    fn circle_below_a_folder_is_found_between_the_folders() {
        let lib = ("lib", "mod a; mod b;");
        let deep =
            [("a", "mod x; pub struct A;"), ("a/x", "use crate::b::B;"), ("b", "use crate::a::A; pub struct B;")];
        assert_eq!(found(&[&[lib], &deep[..]].concat()), 2);
    }
}
