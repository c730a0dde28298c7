use keyplane_server::config::{Env, ServerConfig};

use crate::echo::INFO;

#[test]
fn wrong_settings_are_reported_at_once() {
    let mut env = Env::from_map([
        ("KEYPLANE_GRPC_ADDR", "localhost:50051"),
        ("KEYPLANE_DRAIN_DELAY", "5"),
        ("KEYPLANE_GRPC_MAX_MESSAGE", "4000000"),
        ("KEYPLANE_KV_URL", "user:s3cret@ host"),
        ("KEYPLANE_KV_CONNECTIONS", "0"),
        ("KEYPLANE_DEFAULT_DEADLINE", "1m"),
        ("KEYPLANE_LOG_JSON", "yes"),
        ("KEYPLANE_DRIAN_TIMEOUT", "20s"),
        ("KEYPLANE_WHATEVER_THIS_IS", "x"),
        ("KEYPLANE_ECHO_SERVICE_HOST", "10.0.0.1"),
        ("KEYPLANE_APP", ""),
    ]);
    let _ = ServerConfig::read(&mut env, &INFO);
    let text = env.finish().unwrap_err().to_string();
    assert_eq!(
        text,
        "9 settings are wrong:
  KEYPLANE_GRPC_ADDR: \"localhost:50051\" must be an IP address and a port, like 0.0.0.0:50051
  KEYPLANE_KV_URL: \"(hidden, since it may hold a password; 17 characters)\" is not an address: write it like scheme://host:port
  KEYPLANE_KV_CONNECTIONS: \"0\" must be from 1 to 64
  KEYPLANE_DRAIN_DELAY: \"5\" needs a unit: write it like 250ms, 30s or 5m
  KEYPLANE_GRPC_MAX_MESSAGE: \"4000000\" needs a unit: write it like 64KiB or 4MiB
  KEYPLANE_MAX_DEADLINE: \"30s\" must not be shorter than KEYPLANE_DEFAULT_DEADLINE
  KEYPLANE_LOG_JSON: \"yes\" must be true or false
  KEYPLANE_DRIAN_TIMEOUT is no setting; did you mean KEYPLANE_DRAIN_TIMEOUT?
  KEYPLANE_WHATEVER_THIS_IS is no setting; --print-config lists all
"
    );
}

#[test]
fn printed_settings_can_be_read_again_and_hide_passwords() {
    let mut env = Env::from_map([("KEYPLANE_KV_URL", "valkeys://app:s3cret@store:6380")]);
    let config = ServerConfig::read(&mut env, &INFO);
    assert_eq!(config.store.url, "valkeys://app:s3cret@store:6380");
    let table = env.finish().unwrap();
    let printed = table.print();
    assert!(printed.contains("KEYPLANE_KV_URL=valkeys://app:****@store:6380\n"));
    assert!(!printed.contains("s3cret"));
    assert!(!table.markdown().contains("s3cret"));

    let lines = printed.lines().map(|line| line.split_once('=').unwrap());
    let mut again = Env::from_map(lines);
    let _ = ServerConfig::read(&mut again, &INFO);
    assert_eq!(again.finish().unwrap().print(), printed);
}

#[test]
fn table_lists_every_setting_once() {
    let mut env = Env::default();
    let config = ServerConfig::read(&mut env, &INFO);
    assert_eq!(config.grpc_addr.to_string(), "127.0.0.1:50099");
    assert_eq!(config.admin_addr.to_string(), "127.0.0.1:51099");
    let markdown = env.finish().unwrap().markdown();
    assert!(markdown.contains("| `KEYPLANE_DRAIN_DELAY` | `3s` |"));
    assert!(markdown.contains("| `KEYPLANE_HEALTH_ADDR` | - |"));
}
