//! Table of settings in the documentation, held against the program.

use keyplane_gateway::Config;
use keyplane_server::config::Env;

#[test]
fn documented_settings_match_the_program() {
    let mut env = Env::from_map([] as [(String, String); 0]);
    let _ = Config::read(&mut env);
    let table = env.finish().expect("the defaults are right").markdown();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(docs).expect("docs/operations.md");
    let found = text.split("<!-- settings gateway:begin -->").nth(1);
    let found = found.and_then(|rest| rest.split("<!-- settings gateway:end -->").next()).expect("the markers");
    assert_eq!(found.trim(), table.trim(), "put the right-hand table between the markers in docs/operations.md");
}
