//! Modules: names that they bind, paths that they mention, and types that their items hand out.

use std::collections::BTreeMap;

use crate::syntax::segments;

/// Module of a crate, with everything in its file or braces but its child modules.
#[derive(Default)]
pub(crate) struct Module {
    /// Names from the crate's down: `keyplane_session`, `store`, `keys`.
    pub(crate) path: Vec<String>,
    pub(crate) file: String,
    pub(crate) is_test: bool,
    pub(crate) names: BTreeMap<String, Vec<Binding>>,
    pub(crate) globs: Vec<Import>,
    pub(crate) mentions: Vec<Mention>,
    /// Methods called, with their lines.
    pub(crate) methods: Vec<(String, usize)>,
    pub(crate) outputs: Vec<Output>,
}

/// Name in a module.
pub(crate) struct Binding {
    pub(crate) scope: Scope,
    pub(crate) meaning: Meaning,
    pub(crate) line: usize,
}

pub(crate) enum Meaning {
    Module,
    Item,
    Import(Target),
}

/// Path of a `use`, as written.
#[derive(Clone)]
pub(crate) struct Target {
    pub(crate) path: Vec<String>,
    pub(crate) is_global: bool,
}

/// Glob: `use target::*`.
pub(crate) struct Import {
    pub(crate) scope: Scope,
    pub(crate) target: Target,
    pub(crate) line: usize,
}

/// Where an item is visible.
#[derive(Clone)]
pub(crate) enum Scope {
    Everywhere,
    /// Inside the module of this path.
    Within(Vec<String>),
}

/// Path in code, macros or attributes.
pub(crate) struct Mention {
    pub(crate) target: Target,
    pub(crate) line: usize,
    pub(crate) is_test: bool,
    /// True if a single name may be a crate: in `use` and in tokens.
    pub(crate) may_be_crate: bool,
}

/// Type that users of an item receive: a result, a visible field, an alias, an associated type.
pub(crate) struct Output {
    /// Name of the item, or path of the type that an `impl` is for.
    pub(crate) owner: Vec<String>,
    pub(crate) scope: Scope,
    pub(crate) target: Target,
    pub(crate) line: usize,
}

// === impl Scope ===

impl Scope {
    /// Returns whether code outside the module of this path sees it.
    pub(crate) fn leaves(&self, module: &[String]) -> bool {
        match self {
            Scope::Everywhere => true,
            Scope::Within(path) => !path.starts_with(module),
        }
    }

    pub(crate) fn read(visibility: &syn::Visibility, module: &[String]) -> Scope {
        match visibility {
            syn::Visibility::Public(_) => Scope::Everywhere,
            syn::Visibility::Inherited => Scope::Within(module.to_vec()),
            syn::Visibility::Restricted(restricted) => {
                let mut path = module.to_vec();
                for segment in segments(&restricted.path) {
                    match segment.as_str() {
                        "crate" => path.truncate(1),
                        "super" => path.truncate(path.len() - 1),
                        "self" => {}
                        _ => path.push(segment),
                    }
                }
                Scope::Within(path)
            }
        }
    }
}
