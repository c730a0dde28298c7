//! Settings: the documented ones are those that the program reads.

use keyplane_server::config::{self, Env};
use keyplane_session::{Config, SERVICE};

#[test]
fn documented_settings_match_the_program() {
    let (server, _) = config::read(Env::default(), &SERVICE, Config::read).expect("the defaults are right");
    // Other services document their own settings alone; the common ones stand here.
    keyplane_testkit::assert_settings_documented("session", "", &server.settings.markdown());
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
        ("KEYPLANE_SESSION_REVOCATION_URL", "auth-revocation:50052"),
    ];
    let read = config::read(Env::from_map(given), &SERVICE, Config::read);
    let errors = read.map(drop).expect_err("all of them are wrong").to_string();
    for (name, _) in given {
        assert!(errors.contains(name), "{name} is not in:\n{errors}");
    }
}

#[test]
fn revocation_service_is_a_bare_address() {
    let read = |url: &str| {
        let mut env = Env::from_map([("KEYPLANE_SESSION_REVOCATION_URL", url)]);
        let config = Config::read(&mut env);
        env.finish().map(|_| config.revocation.map(|endpoint| endpoint.uri().to_string()))
    };
    for url in ["http://auth-revocation:50052", "http://127.0.0.1:1/", "http://[::1]:50052"] {
        let found = read(url).unwrap_or_else(|errors| panic!("{url}: {errors}")).expect("it is set");
        assert_eq!(found.trim_end_matches('/'), url.trim_end_matches('/'));
    }
    let wrong = [
        "https://a:1",
        "http://a",
        "http://user@a:1",
        "http://a:1/path",
        "http://a:1/?q",
        "a:1",
        "http://",
        "not an address",
    ];
    for url in wrong {
        let errors = read(url).expect_err(url).to_string();
        assert!(errors.contains("must be `http://<host>:<port>`"), "{url}: {errors}");
    }
}
