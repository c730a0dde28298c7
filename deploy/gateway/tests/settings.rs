//! Table of settings in the documentation, held against the program.

use keyplane_gateway::Config;
use keyplane_server::config::Env;

#[test]
fn documented_settings_match_the_program() {
    let mut env = Env::from_map([] as [(String, String); 0]);
    let _ = Config::read(&mut env);
    let table = env.finish().expect("the defaults are right").markdown();
    keyplane_testkit::assert_settings_documented("gateway", "", &table);
}
