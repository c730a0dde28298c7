//! The rules.

mod circles;
mod crates;
mod flow;
mod scripts;
mod shape;
mod store;

use crate::crates::Workspace;
use crate::module::Module;

/// Violation of a rule: file, line, and the name found there.
pub(crate) type Violations = Vec<String>;

pub(crate) struct Rule {
    pub(crate) text: &'static str,
    pub(crate) violations: fn(&Workspace) -> Violations,
}

pub(crate) const RULES: &[Rule] = &[
    crates::DOMAIN,
    crates::APP,
    crates::GRPC,
    crates::STORE,
    crates::CLIENT,
    crates::CLIENT_MANIFESTS,
    crates::SERVICES,
    store::EXPORTS,
    store::CLIENT_EXPORTS,
    flow::FLOW,
    circles::CIRCLES,
    shape::MAIN,
    shape::LIB,
    shape::ROOMS,
    shape::STYLE,
    shape::LENGTH,
    shape::ORPHANS,
    scripts::CONTRACTS,
];

/// Rooms of a service, by the second name of a module's path: `grpc`, `config`; the crate's root is `lib` or `main`.
fn room(module: &Module) -> &str {
    match module.path.get(1) {
        Some(room) => room,
        None if module.path[0].contains(":src/main.rs") => "main",
        None => "lib",
    }
}

/// Modules of all services, in any crate under `src/`.
fn service_modules(workspace: &Workspace) -> impl Iterator<Item = &Module> {
    let services = workspace.packages.iter().filter(|package| package.is_service());
    services.flat_map(|package| workspace.modules_of(package))
}

/// Mentions in a module whose meaning is forbidden: `file:line: path`.
fn mentions<'a>(
    workspace: &'a Workspace,
    module: &'a Module,
    is_forbidden: impl Fn(&[String]) -> bool + 'a,
) -> impl Iterator<Item = String> + 'a {
    module.mentions.iter().flat_map(move |mention| {
        let meanings = workspace.resolve(module, mention).into_iter();
        let forbidden: Vec<_> = meanings.filter(|meaning| is_forbidden(&meaning.path)).collect();
        forbidden.into_iter().map(|meaning| format!("{}:{}: {}", module.file, mention.line, meaning.path.join("::")))
    })
}
