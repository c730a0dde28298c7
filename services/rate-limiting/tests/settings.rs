//! Settings: the documented ones are those that the program reads.

use keyplane_rate_limiting::{Config, SERVICE};
use keyplane_server::config::{self, Env};

const BEGIN: &str = "<!-- settings rate-limiting:begin -->";
const END: &str = "<!-- settings rate-limiting:end -->";

#[test]
fn documented_settings_match_the_program() {
    let (server, _) = config::read(Env::default(), &SERVICE, Config::read).expect("the defaults are right");
    let table = server.settings.markdown();
    // Settings of every service stand in session's table.
    let own: Vec<_> = table.lines().filter(|line| !line.starts_with('|') || is_own(line)).collect();
    let docs = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/operations.md");
    let text = std::fs::read_to_string(docs).expect("docs/operations.md");
    let documented = text.split(BEGIN).nth(1).and_then(|rest| rest.split(END).next());
    let documented = documented.unwrap_or_else(|| panic!("docs/operations.md has the markers {BEGIN} and {END}"));
    let own = own.join("\n");
    assert_eq!(documented.trim(), own.trim(), "put this table between the markers in docs/operations.md:\n{own}\n");
}

fn is_own(line: &str) -> bool {
    ["| variable |", "|---|", "| `KEYPLANE_RATELIMIT_", "| `KEYPLANE_GRPC_ADDR`", "| `KEYPLANE_ADMIN_ADDR`"]
        .iter()
        .any(|start| line.starts_with(start))
}

#[test]
fn wrong_settings_are_reported_at_once() {
    let given = [
        ("KEYPLANE_RATELIMIT_REMEMBER", "2h"),
        ("KEYPLANE_RATELIMIT_ENVOY_DEADLINE", "0s"),
        ("KEYPLANE_RATELIMIT_AUDIT_AGE", "1000d"),
        ("KEYPLANE_RATELIMIT_OUTAGE_POLICY", "ajar"),
        ("KEYPLANE_RATELIMIT_REFUND_PEERS", "10.0.0.0/8, gateway"),
        ("KEYPLANE_RATELIMIT_BATCH", "0"),
        ("KEYPLANE_RATELIMIT_BATCHES", "257"),
        ("KEYPLANE_RATELIMIT_QUEUE", "0"),
    ];
    let read = config::read(Env::from_map(given), &SERVICE, Config::read);
    let errors = read.map(drop).expect_err("all of them are wrong").to_string();
    for (name, _) in given {
        assert!(errors.contains(name), "{name} is not in:\n{errors}");
    }
}
