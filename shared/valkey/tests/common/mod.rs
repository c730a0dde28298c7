//! Helpers of the tests.

// Each test binary uses its own part of this.
#![allow(dead_code)]

pub(crate) mod kinds;

use std::time::Duration;

use keyplane_valkey::{App, Feature, Key, Script, Settings, Valkey};

/// Increments a key, with a TTL of a minute; the count tells how often the script ran.
pub(crate) static COUNT: Script =
    Script::new("test.count", "local n = redis.call('INCR', KEYS[1]) redis.call('PEXPIRE', KEYS[1], 60000) return n");

/// Settings with short timeouts, for quick tests of outages.
pub(crate) fn settings(url: &str) -> Settings {
    Settings {
        connections: 2,
        connect_timeout: Duration::from_millis(500),
        command_timeout: Duration::from_millis(300),
        ..Settings::new(url)
    }
}

pub(crate) fn app() -> App {
    App::new(&keyplane_testkit::app()).expect("the testkit makes valid names")
}

pub(crate) async fn connect(settings: &Settings) -> Valkey {
    let valkey = Valkey::connect(settings, app()).expect("good settings");
    valkey.wait_ready(Duration::from_secs(20)).await.expect("a server that answers");
    valkey
}

pub(crate) fn key(valkey: &Valkey, subject: &str) -> Key {
    Key::tagged(valkey.app(), Feature::SESSION, "acme", subject, &[])
}

/// Waits until `condition` holds.
pub(crate) async fn eventually(what: &str, condition: impl AsyncFnMut() -> bool) {
    keyplane_testkit::eventually(what, Duration::from_secs(20), condition).await;
}
