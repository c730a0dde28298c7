//! Settings: the documented ones are those that the program reads.

use keyplane_search::{Config, SERVICE};
use keyplane_server::config::{self, Env};

#[test]
fn documented_settings_match_the_program() {
    let (server, _) = config::read(Env::default(), &SERVICE, Config::read).expect("the defaults are right");
    keyplane_testkit::assert_settings_documented("search", "KEYPLANE_SEARCH_", &server.settings.markdown());
}

#[test]
fn wrong_settings_are_reported_at_once_and_secrets_never() {
    let given = [
        ("KEYPLANE_SEARCH_URL", "http://store"),
        ("KEYPLANE_SEARCH_MAX_COLLECTIONS", "0"),
        ("KEYPLANE_SEARCH_MAX_DOCUMENTS", "many"),
        ("KEYPLANE_SEARCH_MAX_BYTES", "4294967296"),
        ("KEYPLANE_SEARCH_MAX_INDEXES", "10001"),
        ("KEYPLANE_SEARCH_OWN_INDEX_DOCUMENTS", "0"),
        ("KEYPLANE_SEARCH_ROLLBACK_AGE", "2d"),
        ("KEYPLANE_SEARCH_REBUILD_PACE", "-1"),
        ("KEYPLANE_SEARCH_RECONCILE_INTERVAL", "1"),
        ("KEYPLANE_SEARCH_SWEEP_INTERVAL", "0s"),
        ("KEYPLANE_SEARCH_CANDIDATES", "9"),
        ("KEYPLANE_SEARCH_LEXICON_MEMORY", "1KiB"),
        ("KEYPLANE_SEARCH_SAMPLE_MEMORY", "1"),
        ("KEYPLANE_SEARCH_CURSOR_KEY", "s3cret"),
    ];
    let read = config::read(Env::from_map(given), &SERVICE, Config::read);
    let errors = read.map(drop).expect_err("all of them are wrong").to_string();
    for (name, _) in given {
        assert!(errors.contains(name), "{name} is not in:\n{errors}");
    }
    assert!(!errors.contains("s3cret"), "{errors}");
    let given = [("KEYPLANE_SEARCH_CURSOR_KEY", "0123456789abcdef"), ("KEYPLANE_SEARCH_MAX_BYTES", "2GiB")];
    let (server, config) = config::read(Env::from_map(given), &SERVICE, Config::read).expect("the settings are right");
    assert!(!server.settings.print().contains("0123456789abcdef"));
    assert_eq!(config.cursor_key.as_deref(), Some("0123456789abcdef"));
    assert_eq!(config.limits.bytes, 2 << 30);
}
