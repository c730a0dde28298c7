//! Crates of the workspace as trees of modules, and the meaning of a path in one of them.

use std::collections::{BTreeMap, BTreeSet};

use crate::files::{self, Files, Package};
use crate::module::{Import, Meaning, Mention, Module, Target};
use crate::syntax::is_test;
use crate::tokens::plain;

/// Files, packages, and the modules of every crate.
pub(crate) struct Workspace {
    pub(crate) files: Files,
    pub(crate) packages: Vec<Package>,
    pub(crate) modules: Vec<Module>,
    by_path: BTreeMap<Vec<String>, usize>,
}

/// Names whose meaning is being looked up: a circle of re-exports ends there.
type Visited = BTreeSet<Vec<String>>;

/// Meaning of a path.
pub(crate) struct Resolved {
    /// Names from the crate's down to the item, and what follows it.
    pub(crate) path: Vec<String>,
    /// Deepest module of the workspace on the path.
    pub(crate) module: Option<usize>,
    /// True if the path ends at that module.
    pub(crate) is_module: bool,
}

// === impl Workspace: reading ===

impl Workspace {
    pub(crate) fn read() -> Workspace {
        Workspace::new(files::read(), files::packages())
    }

    /// Made-up workspace of these paths and texts.
    pub(crate) fn of(files: &[(&str, &str)]) -> Workspace {
        let files: Files = files.iter().map(|(path, text)| ((*path).to_owned(), (*text).to_owned())).collect();
        let packages = Package::made_up(&files);
        Workspace::new(files, packages)
    }

    fn new(files: Files, packages: Vec<Package>) -> Workspace {
        let mut workspace = Workspace { files, packages: Vec::new(), modules: Vec::new(), by_path: BTreeMap::new() };
        for package in &packages {
            for (name, file) in roots(package, &workspace.files) {
                workspace.read_file(vec![name], &file, true, false);
            }
        }
        workspace.packages = packages;
        workspace
    }

    /// Adds the module of a file, and its child modules. `owns_folder`: child modules stand beside the file.
    fn read_file(&mut self, path: Vec<String>, file: &str, owns_folder: bool, is_test: bool) {
        let Some(text) = self.files.get(file) else { return };
        let syntax = syn::parse_file(text).unwrap_or_else(|error| panic!("{file}: {error}"));
        let folder = folder(file).to_owned();
        let stem = file.rsplit('/').next().and_then(|name| name.strip_suffix(".rs")).unwrap_or_default();
        let children = if owns_folder { folder } else { format!("{folder}/{stem}") };
        let mut module = Module { path, file: file.to_owned(), is_test, ..Module::default() };
        module.add_attributes(&syntax.attrs);
        self.read_items(module, syntax.items, &children);
    }

    fn read_items(&mut self, mut module: Module, items: Vec<syn::Item>, children: &str) {
        let mut modules = Vec::new();
        for item in items {
            match item {
                syn::Item::Mod(item) => {
                    module.bind_module(&item);
                    module.add_attributes(&item.attrs);
                    modules.push(item);
                }
                item => module.add(&item),
            }
        }
        let (path, file, in_test) = (module.path.clone(), module.file.clone(), module.is_test);
        self.by_path.entry(path.clone()).or_insert(self.modules.len());
        self.modules.push(module);
        for item in modules {
            let name = plain(&item.ident.to_string());
            let below: Vec<String> = path.iter().cloned().chain([name.clone()]).collect();
            let is_test = in_test || is_test(&item.attrs);
            if let Some((_, items)) = item.content {
                let module = Module { path: below, file: file.clone(), is_test, ..Module::default() };
                self.read_items(module, items, &format!("{children}/{name}"));
            } else if let Some(other) = path_attribute(&item.attrs) {
                self.read_file(below, &normal(&format!("{}/{other}", folder(&file))), true, is_test);
            } else {
                self.read_file(below.clone(), &format!("{children}/{name}.rs"), false, is_test);
                self.read_file(below, &format!("{children}/{name}/mod.rs"), true, is_test);
            }
        }
    }

    /// Modules of the library, and of the programs in `src/`, of a package.
    pub(crate) fn modules_of<'a>(&'a self, package: &'a Package) -> impl Iterator<Item = &'a Module> {
        let source = format!("{}/src/", package.folder);
        self.modules
            .iter()
            .filter(move |module| is_crate_of(&module.path[0], &package.name) && module.file.starts_with(&source))
    }
}

/// Names and root files of a package's crates: library, programs, tests, benchmarks, examples.
fn roots(package: &Package, files: &Files) -> Vec<(String, String)> {
    let root = |file: &String| {
        let inside = file.strip_prefix(&package.folder)?.strip_prefix('/')?;
        if inside == "src/lib.rs" {
            return Some((package.name.clone(), file.clone()));
        }
        let parts: Vec<&str> = inside.split('/').collect();
        let is_root = match parts[..] {
            ["src", "main.rs"] | ["build.rs"] => true,
            ["src", "bin", name] | ["tests" | "benches" | "examples", name] => name.ends_with(".rs"),
            ["tests" | "benches" | "examples", _, name] => name == "main.rs",
            _ => false,
        };
        is_root.then(|| (format!("{}:{inside}", package.name), file.clone()))
    };
    files.keys().filter_map(root).collect()
}

fn is_crate_of(name: &str, package: &str) -> bool {
    name.split(':').next() == Some(package)
}

fn folder(file: &str) -> &str {
    file.rsplit_once('/').map_or("", |(folder, _)| folder)
}

/// Path without `..`.
fn normal(path: &str) -> String {
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            ".." => drop(parts.pop()),
            "." => {}
            part => parts.push(part),
        }
    }
    parts.join("/")
}

fn path_attribute(attributes: &[syn::Attribute]) -> Option<String> {
    let named = attributes.iter().find_map(|attribute| match &attribute.meta {
        syn::Meta::NameValue(value) if value.path.is_ident("path") => Some(&value.value),
        _ => None,
    })?;
    match named {
        syn::Expr::Lit(syn::ExprLit { lit: syn::Lit::Str(text), .. }) => Some(text.value()),
        _ => None,
    }
}

// === impl Workspace: resolving ===

impl Workspace {
    pub(crate) fn module(&self, path: &[String]) -> Option<&Module> {
        self.by_path.get(path).map(|index| &self.modules[*index])
    }

    /// All meanings of a mention: a name may be a type and a function, and a re-export of either.
    pub(crate) fn resolve(&self, module: &Module, mention: &Mention) -> Vec<Resolved> {
        let mut found = self.meanings(module, &mention.target);
        // A single name in code is a variable, a generic or an item, but no crate and no module.
        if !mention.may_be_crate && mention.target.path.len() == 1 {
            found.retain(|resolved| !resolved.is_module && resolved.path.len() > 1);
        }
        found
    }

    pub(crate) fn meanings(&self, module: &Module, target: &Target) -> Vec<Resolved> {
        let mut visited = BTreeSet::new();
        self.relative(module, target, &mut visited)
    }

    fn relative(&self, module: &Module, target: &Target, visited: &mut Visited) -> Vec<Resolved> {
        let Some(first) = target.path.first() else { return Vec::new() };
        if target.is_global {
            return self.absolute(target.path.clone(), visited);
        }
        let mut start = module.path.clone();
        let mut rest = &target.path[..];
        match first.as_str() {
            "Self" => return Vec::new(),
            "crate" => start.truncate(1),
            "self" | "super" => {}
            name => {
                let mut here = start.clone();
                here.push(name.to_owned());
                if !visited.contains(&here) && self.binds(module, name, &mut BTreeSet::new(), visited) {
                    here.extend_from_slice(&rest[1..]);
                    return self.absolute(here, visited);
                }
                return self.absolute(target.path.clone(), visited);
            }
        }
        while let Some(step) = rest.first().filter(|step| is_step(step)) {
            if step == "super" && start.len() > 1 {
                start.pop();
            }
            rest = &rest[1..];
        }
        start.extend_from_slice(rest);
        self.absolute(start, visited)
    }

    /// Returns whether a module binds a name, by itself or by a glob.
    fn binds(&self, module: &Module, name: &str, seen: &mut Visited, visited: &mut Visited) -> bool {
        if module.names.contains_key(name) {
            return true;
        }
        seen.insert(module.path.clone())
            && module.globs.iter().any(|glob| {
                let targets = self.glob_targets(module, glob, visited);
                targets.into_iter().any(|target| self.binds(target, name, seen, visited))
            })
    }

    fn glob_targets(&self, module: &Module, glob: &Import, visited: &mut Visited) -> Vec<&Module> {
        // The globs of a module do not name the start of its own globs.
        let first = glob.target.path.first();
        let is_named = first.is_some_and(|name| is_step(name) || module.names.contains_key(name));
        let target = Target { path: glob.target.path.clone(), is_global: !is_named };
        let found = self.relative(module, &target, visited);
        found
            .into_iter()
            .filter(|found| found.is_module)
            .filter_map(|found| Some(&self.modules[found.module?]))
            .collect()
    }

    /// Follows names from a crate down, and re-exports on the way.
    fn absolute(&self, path: Vec<String>, visited: &mut Visited) -> Vec<Resolved> {
        let Some(root) = self.by_path.get(&path[..1]) else {
            return vec![Resolved { path, module: None, is_module: false }];
        };
        let mut at = *root;
        let mut found = Vec::new();
        for (index, name) in path.iter().enumerate().skip(1) {
            let module = &self.modules[at];
            let rest = &path[index + 1..];
            found.extend(self.follow(module, name, rest, visited));
            let below = [&module.path[..], std::slice::from_ref(name)].concat();
            let meanings = module.names.get(name).map_or(&[][..], Vec::as_slice);
            let is_bound_as = |kind: fn(&Meaning) -> bool| meanings.iter().any(|binding| kind(&binding.meaning));
            match self.by_path.get(&below) {
                Some(next) if is_bound_as(|meaning| matches!(meaning, Meaning::Module)) => at = *next,
                _ => {
                    if found.is_empty() || is_bound_as(|meaning| matches!(meaning, Meaning::Item)) {
                        let path = [&below[..], rest].concat();
                        found.push(Resolved { path, module: Some(at), is_module: false });
                    }
                    return found;
                }
            }
        }
        found.push(Resolved { path: self.modules[at].path.clone(), module: Some(at), is_module: true });
        found
    }

    /// Meanings of a name that a module imports, by name or by a glob.
    fn follow(&self, module: &Module, name: &str, rest: &[String], visited: &mut Visited) -> Vec<Resolved> {
        let here = [&module.path[..], &[name.to_owned()]].concat();
        if !visited.insert(here.clone()) {
            return Vec::new();
        }
        let mut found = Vec::new();
        if let Some(bindings) = module.names.get(name) {
            for binding in bindings {
                if let Meaning::Import(target) = &binding.meaning {
                    let path = target.path.iter().chain(rest).cloned().collect();
                    found.extend(self.relative(module, &Target { path, is_global: target.is_global }, visited));
                }
            }
        } else {
            for glob in &module.globs {
                for target in self.glob_targets(module, glob, visited) {
                    if self.binds(target, name, &mut BTreeSet::new(), visited) {
                        let path = [&target.path[..], &[name.to_owned()], rest].concat();
                        found.extend(self.absolute(path, visited));
                    }
                }
            }
        }
        visited.remove(&here);
        found
    }
}

/// Returns whether a segment is a way through the modules and no name.
fn is_step(segment: &str) -> bool {
    ["crate", "self", "super"].contains(&segment)
}
