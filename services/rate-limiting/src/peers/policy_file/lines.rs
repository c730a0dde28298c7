//! Lines of broken rules in a rejected file, which is parsed again for them: the parsed policies keep no lines.

use std::fmt;

use keyplane_contracts::Violation;
use serde::de::{Error, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};
use serde_saphyr::{Location, Spanned};

/// Locations of a file's nodes.
enum Node {
    /// Keys with their locations, and their values.
    Map(Vec<(Spanned<String>, Node)>),
    /// Items with their locations.
    List(Vec<Spanned<Node>>),
    Leaf,
}

struct NodeVisitor;

/// Adds to each violation the location of the innermost field of its path that the file has.
pub(super) fn place(text: &str, violations: Vec<Violation>) -> Vec<Violation> {
    // The text was parsed before, so this fails for no file.
    let Ok(root) = serde_saphyr::from_str::<Spanned<Node>>(text) else { return violations };
    let placed = violations.into_iter().map(|violation| {
        let at = root.value.find(&violation.field).unwrap_or(root.referenced);
        let rule = format!("{} at line {}, column {}", violation.description, at.line(), at.column());
        Violation::new(violation.field, rule)
    });
    placed.collect()
}

// === impl Node ===

impl Node {
    /// Location of `path`, such as `policies[1].plans[gold].per`, or of its longest prefix that the file has.
    fn find(&self, path: &str) -> Option<Location> {
        let (mut node, mut location) = (self, None);
        for step in steps(path) {
            let (at, inner) = match node {
                Node::Map(entries) => {
                    let Some((key, value)) = entries.iter().find(|(key, _)| key.value == step) else { break };
                    (key.referenced, value)
                }
                Node::List(items) => {
                    let Some(item) = step.parse().ok().and_then(|index: usize| items.get(index)) else { break };
                    (item.referenced, &item.value)
                }
                Node::Leaf => break,
            };
            (node, location) = (inner, Some(at));
        }
        location
    }
}

/// Names and indexes of a path. A name between brackets may hold a dot.
fn steps(mut path: &str) -> impl Iterator<Item = &str> {
    std::iter::from_fn(move || {
        let (step, rest) = match path.strip_prefix('[') {
            Some(inner) => inner.split_once(']')?,
            None => path.split_at(path.find(['.', '[']).unwrap_or(path.len())),
        };
        path = rest.strip_prefix('.').unwrap_or(rest);
        (!step.is_empty()).then_some(step)
    })
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Node, D::Error> {
        deserializer.deserialize_any(NodeVisitor)
    }
}

impl<'de> Visitor<'de> for NodeVisitor {
    type Value = Node;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("anything")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Node, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Node::Map(entries))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Node, A::Error> {
        let mut items = Vec::new();
        while let Some(item) = list.next_element()? {
            items.push(item);
        }
        Ok(Node::List(items))
    }

    fn visit_bool<E: Error>(self, _: bool) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_i64<E: Error>(self, _: i64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_u64<E: Error>(self, _: u64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_f64<E: Error>(self, _: f64) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_str<E: Error>(self, _: &str) -> Result<Node, E> {
        Ok(Node::Leaf)
    }

    fn visit_unit<E: Error>(self) -> Result<Node, E> {
        Ok(Node::Leaf)
    }
}
