//! Reads items into a module.

use proc_macro2::Span;
use syn::visit::Visit;

use crate::module::{Binding, Import, Meaning, Mention, Module, Output, Scope, Target};
use crate::tokens::{Tokens, plain};

// === impl Module ===

impl Module {
    /// Adds an item that is no module.
    pub(crate) fn add(&mut self, item: &syn::Item) {
        let is_test = self.is_test;
        Reader { module: self, is_test, visibility: None }.visit_item(item);
    }

    fn bind(&mut self, name: &syn::Ident, scope: Scope, meaning: Meaning) {
        self.bind_as(plain(&name.to_string()), line(name.span()), scope, meaning);
    }

    fn bind_as(&mut self, name: String, line: usize, scope: Scope, meaning: Meaning) {
        self.names.entry(name).or_default().push(Binding { scope, meaning, line });
    }

    pub(crate) fn bind_module(&mut self, item: &syn::ItemMod) {
        let scope = Scope::read(&item.vis, &self.path);
        self.bind(&item.ident, scope, Meaning::Module);
    }

    pub(crate) fn add_attributes(&mut self, attributes: &[syn::Attribute]) {
        let is_test = self.is_test;
        let mut reader = Reader { module: self, is_test, visibility: None };
        attributes.iter().for_each(|attribute| reader.visit_attribute(attribute));
    }
}

struct Reader<'a> {
    module: &'a mut Module,
    is_test: bool,
    /// That of the `use` being read.
    visibility: Option<Scope>,
}

// === impl Reader ===

impl Reader<'_> {
    fn mention(&mut self, target: Target, line: usize, may_be_crate: bool) {
        self.module.mentions.push(Mention { target, line, is_test: self.is_test, may_be_crate });
    }

    fn tokens(&mut self, stream: proc_macro2::TokenStream) -> Vec<(String, usize)> {
        let tokens = Tokens::read(stream);
        for path in tokens.paths {
            self.mention(Target { path: path.segments, is_global: path.is_global }, path.line, true);
        }
        self.module.methods.extend(tokens.methods);
        tokens.strings
    }

    fn leaves(&mut self, tree: &syn::UseTree, prefix: &Target) {
        let scope = self.visibility.clone().unwrap_or(Scope::Everywhere);
        let below = |name: &syn::Ident| {
            let mut target = prefix.clone();
            // `use a::{self, b}` imports `a` itself.
            if name != "self" || target.path.is_empty() {
                target.path.push(plain(&name.to_string()));
            }
            target
        };
        match tree {
            syn::UseTree::Path(path) => self.leaves(&path.tree, &below(&path.ident)),
            syn::UseTree::Group(group) => group.items.iter().for_each(|item| self.leaves(item, prefix)),
            syn::UseTree::Name(name) => {
                let target = below(&name.ident);
                self.mention(target.clone(), line(name.ident.span()), true);
                let bound = target.path.last().cloned().unwrap_or_default();
                self.module.bind_as(bound, line(name.ident.span()), scope, Meaning::Import(target));
            }
            syn::UseTree::Rename(rename) => {
                let target = below(&rename.ident);
                self.mention(target.clone(), line(rename.ident.span()), true);
                self.module.bind(&rename.rename, scope, Meaning::Import(target));
            }
            syn::UseTree::Glob(glob) => {
                let line = line(glob.star_token.spans[0]);
                self.mention(prefix.clone(), line, true);
                self.module.globs.push(Import { scope, target: prefix.clone(), line });
            }
        }
    }

    fn outputs(&mut self, owner: &[String], scope: &Scope, visit: impl FnOnce(&mut Paths)) {
        if self.is_test {
            return;
        }
        let mut paths = Paths::default();
        visit(&mut paths);
        let output = |(target, line)| Output { owner: owner.to_vec(), scope: scope.clone(), target, line };
        self.module.outputs.extend(paths.0.into_iter().map(output));
    }

    fn fields(&mut self, owner: &[String], fields: &syn::Fields, scope_of: impl Fn(&syn::Field) -> Scope) {
        for field in fields {
            self.outputs(owner, &scope_of(field), |paths| paths.visit_type(&field.ty));
        }
    }

    fn item(&mut self, item: &syn::Item) {
        let path = self.module.path.clone();
        let scope = |visibility: &syn::Visibility| Scope::read(visibility, &path);
        let owner = |name: &syn::Ident| vec![plain(&name.to_string())];
        let bound = match item {
            syn::Item::Const(item) => Some((&item.ident, &item.vis)),
            syn::Item::Enum(item) => Some((&item.ident, &item.vis)),
            syn::Item::Fn(item) => Some((&item.sig.ident, &item.vis)),
            syn::Item::Mod(item) => Some((&item.ident, &item.vis)),
            syn::Item::Static(item) => Some((&item.ident, &item.vis)),
            syn::Item::Struct(item) => Some((&item.ident, &item.vis)),
            syn::Item::Trait(item) => Some((&item.ident, &item.vis)),
            syn::Item::Type(item) => Some((&item.ident, &item.vis)),
            syn::Item::Union(item) => Some((&item.ident, &item.vis)),
            _ => None,
        };
        if let Some((name, visibility)) = bound {
            self.module.bind(name, scope(visibility), Meaning::Item);
        }
        match item {
            syn::Item::Const(item) => {
                self.outputs(&owner(&item.ident), &Scope::Everywhere, |paths| paths.visit_type(&item.ty));
            }
            syn::Item::Static(item) => {
                self.outputs(&owner(&item.ident), &Scope::Everywhere, |paths| paths.visit_type(&item.ty));
            }
            syn::Item::Type(item) => {
                self.outputs(&owner(&item.ident), &Scope::Everywhere, |paths| paths.visit_type(&item.ty));
            }
            syn::Item::Fn(item) => {
                self.outputs(&owner(&item.sig.ident), &Scope::Everywhere, |paths| {
                    paths.visit_return_type(&item.sig.output);
                });
            }
            syn::Item::Struct(item) => {
                self.fields(&owner(&item.ident), &item.fields, |field| scope(&field.vis));
            }
            syn::Item::Enum(item) => {
                for variant in &item.variants {
                    self.fields(&owner(&item.ident), &variant.fields, |_| Scope::Everywhere);
                }
            }
            syn::Item::Trait(item) => {
                for method in &item.items {
                    if let syn::TraitItem::Fn(method) = method {
                        self.outputs(&owner(&item.ident), &Scope::Everywhere, |paths| {
                            paths.visit_return_type(&method.sig.output);
                        });
                    }
                }
            }
            syn::Item::Impl(item) => self.implementation(item),
            _ => {}
        }
    }

    fn implementation(&mut self, item: &syn::ItemImpl) {
        let syn::Type::Path(owner) = &*item.self_ty else { return };
        let owner = segments(&owner.path);
        let path = self.module.path.clone();
        for part in &item.items {
            match part {
                syn::ImplItem::Fn(method) if item.trait_.is_none() && !is_test(&method.attrs) => {
                    let scope = Scope::read(&method.vis, &path);
                    self.outputs(&owner, &scope, |paths| paths.visit_return_type(&method.sig.output));
                }
                syn::ImplItem::Const(constant) if item.trait_.is_none() => {
                    let scope = Scope::read(&constant.vis, &path);
                    self.outputs(&owner, &scope, |paths| paths.visit_type(&constant.ty));
                }
                syn::ImplItem::Type(alias) => {
                    self.outputs(&owner, &Scope::Everywhere, |paths| paths.visit_type(&alias.ty));
                }
                _ => {}
            }
        }
    }

    fn nested(&mut self, attributes: &[syn::Attribute], visit: impl FnOnce(&mut Self)) {
        let before = self.is_test;
        self.is_test |= is_test(attributes);
        visit(self);
        self.is_test = before;
    }
}

impl<'ast> Visit<'ast> for Reader<'_> {
    fn visit_item(&mut self, item: &'ast syn::Item) {
        self.nested(attributes(item), |reader| {
            reader.item(item);
            syn::visit::visit_item(reader, item);
        });
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.nested(&item.attrs, |reader| syn::visit::visit_impl_item_fn(reader, item));
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        self.visibility = Some(Scope::read(&item.vis, &self.module.path));
        let is_global = item.leading_colon.is_some();
        self.leaves(&item.tree, &Target { path: Vec::new(), is_global });
    }

    fn visit_item_extern_crate(&mut self, item: &'ast syn::ItemExternCrate) {
        let target = Target { path: vec![plain(&item.ident.to_string())], is_global: true };
        self.mention(target.clone(), line(item.ident.span()), true);
        let name = item.rename.as_ref().map_or(&item.ident, |(_, name)| name);
        let scope = Scope::read(&item.vis, &self.module.path);
        self.module.bind(name, scope, Meaning::Import(target));
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let is_global = path.leading_colon.is_some();
        let target = Target { path: segments(path), is_global };
        self.mention(target, line_of(path), false);
        syn::visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, invocation: &'ast syn::Macro) {
        syn::visit::visit_macro(self, invocation);
        self.tokens(invocation.tokens.clone());
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        self.module.methods.push((call.method.to_string(), line(call.method.span())));
        syn::visit::visit_expr_method_call(self, call);
    }

    fn visit_attribute(&mut self, attribute: &'ast syn::Attribute) {
        if attribute.path().is_ident("doc") {
            return;
        }
        let target = Target { path: segments(attribute.path()), is_global: false };
        self.mention(target, line_of(attribute.path()), false);
        let strings = match &attribute.meta {
            syn::Meta::List(list) => self.tokens(list.tokens.clone()),
            _ => Vec::new(),
        };
        // serde names functions in strings: `with = "a::b"`.
        for (text, line) in strings.into_iter().filter(|(text, _)| text.contains("::")) {
            if let Ok(path) = syn::parse_str::<syn::Path>(&text) {
                self.mention(Target { path: segments(&path), is_global: false }, line, false);
            }
        }
    }
}

/// Paths in a type.
#[derive(Default)]
struct Paths(Vec<(Target, usize)>);

impl<'ast> Visit<'ast> for Paths {
    fn visit_path(&mut self, path: &'ast syn::Path) {
        let target = Target { path: segments(path), is_global: path.leading_colon.is_some() };
        self.0.push((target, line_of(path)));
        syn::visit::visit_path(self, path);
    }
}

/// Returns whether an item is compiled for tests alone.
pub(crate) fn is_test(attributes: &[syn::Attribute]) -> bool {
    attributes.iter().any(|attribute| {
        let syn::Meta::List(list) = &attribute.meta else { return false };
        let names: Vec<Vec<String>> =
            Tokens::read(list.tokens.clone()).paths.into_iter().map(|path| path.segments).collect();
        list.path.is_ident("cfg")
            && names.iter().any(|name| name == &["test"])
            && !names.iter().any(|name| name == &["not"])
    })
}

fn attributes(item: &syn::Item) -> &[syn::Attribute] {
    match item {
        syn::Item::Const(item) => &item.attrs,
        syn::Item::Enum(item) => &item.attrs,
        syn::Item::Fn(item) => &item.attrs,
        syn::Item::Impl(item) => &item.attrs,
        syn::Item::Macro(item) => &item.attrs,
        syn::Item::Mod(item) => &item.attrs,
        syn::Item::Static(item) => &item.attrs,
        syn::Item::Struct(item) => &item.attrs,
        syn::Item::Trait(item) => &item.attrs,
        syn::Item::Type(item) => &item.attrs,
        syn::Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

pub(crate) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| plain(&segment.ident.to_string())).collect()
}

fn line_of(path: &syn::Path) -> usize {
    path.segments.first().map_or(0, |segment| line(segment.ident.span()))
}

fn line(span: Span) -> usize {
    span.start().line
}
