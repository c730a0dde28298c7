//! Examples of requests and responses: `examples.json` beside each proto.

use std::sync::OnceLock;

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::http::Binding;

const FILES: [(&str, &str); 4] = [
    ("keyplane.session.v1", include_str!("../../../../proto/keyplane/session/v1/examples.json")),
    ("keyplane.ratelimit.v1", include_str!("../../../../proto/keyplane/ratelimit/v1/examples.json")),
    ("keyplane.search.v1", include_str!("../../../../proto/keyplane/search/v1/examples.json")),
    ("keyplane.revocation.v1", include_str!("../../../../proto/keyplane/revocation/v1/examples.json")),
];

/// One call of an RPC, and what it answers.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Example {
    /// Variables of the path.
    #[serde(default)]
    pub(super) path: Map<String, Value>,
    /// Parameters in the query.
    #[serde(default)]
    pub(super) query: Map<String, Value>,
    /// Body; null for none.
    #[serde(default)]
    pub(super) body: Value,
    /// Response: a message, or the text of a stream.
    pub(super) response: Value,
}

/// Example of the route's RPC. An additional route may have its own, under the RPC's name and its verb: `SearchDocumentsByGet`.
///
/// # Panics
///
/// Panics if the RPC has no example, or a file is no JSON; a test of this module excludes both.
pub(super) fn example(binding: &Binding) -> Example {
    let package = binding.method.parent_service().package_name().to_owned();
    let (_, file) = files().iter().find(|(known, _)| *known == package).expect("each package has a file of examples");
    let own = format!("{}By{}", binding.method.name(), title(binding.verb));
    let own = file.get(&own).filter(|_| binding.index > 0);
    let example = own.or_else(|| file.get(binding.method.name()));
    let example = example.unwrap_or_else(|| panic!("{package}/examples.json has none for {}", binding.method.name()));
    serde_json::from_value(example.clone()).unwrap_or_else(|error| panic!("{}: {error}", binding.method.name()))
}

/// `Post` of `POST`.
pub(super) fn title(verb: &str) -> String {
    verb[..1].to_owned() + &verb[1..].to_lowercase()
}

fn files() -> &'static [(&'static str, Map<String, Value>)] {
    static PARSED: OnceLock<Vec<(&'static str, Map<String, Value>)>> = OnceLock::new();
    PARSED.get_or_init(|| {
        let parse = |(package, text): (&'static str, &str)| {
            (package, serde_json::from_str(text).unwrap_or_else(|error| panic!("{package}/examples.json: {error}")))
        };
        FILES.map(parse).into()
    })
}
