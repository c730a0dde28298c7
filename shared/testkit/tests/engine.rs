//! Shared server of a test binary.

use std::collections::HashSet;

#[test]
fn threads_share_one_server() {
    let port = keyplane_testkit::valkey().port();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(move || assert_eq!(keyplane_testkit::valkey().port(), port));
        }
    });
    assert!(keyplane_testkit::valkey().url().contains("keyplane:"));
}

#[test]
fn prefixes_are_unique_and_plain() {
    let apps: HashSet<String> = (0..100).map(|_| keyplane_testkit::app()).collect();
    assert_eq!(apps.len(), 100);
    assert!(apps.iter().all(|app| app.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())));
}
