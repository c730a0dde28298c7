//! Settings: the documented ones are those that the program reads.

use keyplane_rate_limiting::{Config, SERVICE};
use keyplane_server::config::{self, Env};

#[test]
fn documented_settings_match_the_program() {
    let (server, _) = config::read(Env::default(), &SERVICE, Config::read).expect("the defaults are right");
    keyplane_testkit::assert_settings_documented("rate-limiting", "KEYPLANE_RATELIMIT_", &server.settings.markdown());
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
