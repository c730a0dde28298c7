//! The documented settings are those that the program reads.

use keyplane_server::config::Env;
use keyplane_session::Config;

#[test]
fn the_table_in_the_docs_is_the_programs() {
    let mut env = Env::from_map([] as [(String, String); 0]);
    let _ = Config::read(&mut env);
    let table = env.finish().expect("the defaults are right").markdown();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(docs).expect("docs/operations.md");
    let found =
        text.split("<!-- settings:begin -->").nth(1).and_then(|rest| rest.split("<!-- settings:end -->").next());
    let found = found.expect("docs/operations.md has the markers <!-- settings:begin --> and <!-- settings:end -->");
    assert_eq!(found.trim(), table.trim(), "put the right-hand table between the markers in docs/operations.md");
}

#[test]
fn wrong_settings_are_told_at_once() {
    let given = [
        ("KEYPLANE_SESSION_IDLE_TIMEOUT", "13h"),
        ("KEYPLANE_SESSION_MAX_SESSIONS", "many"),
        ("KEYPLANE_SESSION_OVERFLOW", "maybe"),
        ("KEYPLANE_SESSION_TENANTS", "acme: idle=5"),
        ("KEYPLANE_SESSION_EVENT_AGE", "0s"),
        ("KEYPLANE_KV_URL", "http://store"),
    ];
    let mut env = Env::from_map(given.map(|(name, value)| (name.to_owned(), value.to_owned())));
    let _ = Config::read(&mut env);
    let errors = env.finish().expect_err("six of them are wrong").to_string();
    for (name, _) in given {
        assert!(errors.contains(name), "{name} is not in:\n{errors}");
    }
}
