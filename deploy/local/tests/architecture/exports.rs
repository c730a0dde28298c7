//! Types that code outside a module can obtain from it.

use std::collections::BTreeSet;

use crate::crates::{Resolved, Workspace};
use crate::module::{Meaning, Module, Target};

/// Way by which a module hands out something of a forbidden crate.
pub(crate) struct Leak {
    pub(crate) file: String,
    pub(crate) line: usize,
    pub(crate) what: String,
}

struct Search<'a> {
    workspace: &'a Workspace,
    /// Module whose users are asked about.
    of: &'a [String],
    forbidden: &'a str,
    seen: BTreeSet<Vec<String>>,
    leaks: Vec<Leak>,
}

/// Re-exports, results, visible fields and aliases of a module that name a crate, through everything that they lead to.
pub(crate) fn leaks(workspace: &Workspace, of: &[String], forbidden: &str) -> Vec<Leak> {
    let mut search = Search { workspace, of, forbidden, seen: BTreeSet::new(), leaks: Vec::new() };
    if let Some(module) = workspace.module(of) {
        search.module(module);
    }
    search.leaks
}

// === impl Search ===

impl Search<'_> {
    fn module(&mut self, module: &Module) {
        if module.is_test || !self.seen.insert(module.path.clone()) {
            return;
        }
        for (name, bindings) in &module.names {
            for binding in bindings.iter().filter(|binding| binding.scope.leaves(self.of)) {
                let path = [&module.path[..], std::slice::from_ref(name)].concat();
                match &binding.meaning {
                    Meaning::Module => drop(self.workspace.module(&path).map(|module| self.module(module))),
                    Meaning::Item => self.item(module, &path),
                    Meaning::Import(target) => {
                        self.target(module, target, binding.line, &format!("re-exports `{name}`"));
                    }
                }
            }
        }
        for glob in module.globs.iter().filter(|glob| glob.scope.leaves(self.of)) {
            self.target(module, &glob.target, glob.line, "re-exports everything of it");
        }
    }

    /// Follows what an item hands out.
    fn item(&mut self, module: &Module, path: &[String]) {
        if !path.starts_with(self.of) || !self.seen.insert(path.to_vec()) {
            return;
        }
        for other in self.workspace.modules.iter().filter(|other| other.path[0] == path[0]) {
            for output in other.outputs.iter().filter(|output| output.scope.leaves(self.of)) {
                let owner = Target { path: output.owner.clone(), is_global: false };
                let is_owned = if output.owner.len() == 1 && other.path == module.path {
                    path.last() == output.owner.last()
                } else {
                    self.workspace.meanings(other, &owner).iter().any(|owner| owner.path == path)
                };
                if is_owned {
                    let name = path.last().map_or("", String::as_str);
                    self.target(other, &output.target, output.line, &format!("`{name}` hands it out"));
                }
            }
        }
    }

    fn target(&mut self, module: &Module, target: &Target, line: usize, what: &str) {
        for Resolved { path, module: at, is_module } in self.workspace.meanings(module, target) {
            // Errors apart: `error.rs` wraps them.
            let is_error = path.last().is_some_and(|name| name.ends_with("Error"));
            if path[0] == self.forbidden && !is_error {
                self.leaks.push(Leak { file: module.file.clone(), line, what: what.to_owned() });
            }
            let Some(at) = at.map(|at| &self.workspace.modules[at]) else { continue };
            if is_module && path.starts_with(self.of) {
                self.module(at);
            } else if path.len() > at.path.len() {
                self.item(at, &path[..=at.path.len()]);
            }
        }
    }
}
