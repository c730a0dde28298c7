//! Helpers of the session service's tests.
#![allow(dead_code, unused_imports, unreachable_pub, missing_docs)]

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keyplane_contracts::names::{SessionId, UserName};
use keyplane_session::domain::{Fields, NewSession, Overflow, Policy, Timeouts};
use keyplane_session::store::{Retention, Store};
use keyplane_valkey::{App, Settings, Valkey};

pub const MINUTE: Duration = Duration::from_secs(60);

pub fn policy() -> Policy {
    Policy { idle: 30 * MINUTE, absolute: 720 * MINUTE, max_sessions: 10, overflow: Overflow::EvictOldest }
}

pub fn retention() -> Retention {
    Retention { events: 128, event_age: 60 * MINUTE, request_age: 10 * MINUTE }
}

/// Connects to `url`, under an app prefix that no other test has.
pub async fn connect(url: &str) -> Valkey {
    connect_as(&keyplane_testkit::app(), url).await
}

/// Connects to `url` with a connection of its own, under the app prefix `app`.
pub async fn connect_as(app: &str, url: &str) -> Valkey {
    let app = App::new(app).expect("the test kit's prefix is an app");
    let valkey = Valkey::connect(&Settings::new(url), app).expect("the settings of the test server");
    valkey.wait_ready(Duration::from_secs(10)).await.expect("the test server answers");
    valkey
}

/// Opens a store of its own on the shared server.
pub async fn store() -> (Valkey, Store) {
    let valkey = connect(&keyplane_testkit::valkey().url()).await;
    (valkey.clone(), Store::new(valkey, retention()))
}

pub fn user() -> UserName {
    UserName::parse("tenants/acme/users/u-42", "user").expect("a user")
}

/// Session id that no other session of this process has.
pub fn fresh_id() -> SessionId {
    static NEXT: AtomicU64 = AtomicU64::new(1);
    let mut bits = [0; 16];
    bits[..8].copy_from_slice(&NEXT.fetch_add(1, Ordering::Relaxed).to_be_bytes());
    SessionId::from_bits(bits)
}

pub fn plain(fields: Fields) -> NewSession {
    NewSession { fields, timeouts: Timeouts::default(), request: None }
}
