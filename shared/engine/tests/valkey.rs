//! Real Valkey server.

use std::time::Duration;

use keyplane_engine::{Reply, Toolbox, Valkey};

fn start() -> Valkey {
    Valkey::builder(&Toolbox::find()).start().unwrap()
}

#[test]
fn restarted_server_keeps_its_port_and_loses_its_data() {
    let valkey = start();
    let port = valkey.port();
    valkey.command(&["SET", "k", "v"]).unwrap();
    assert_eq!(valkey.command(&["GET", "k"]).unwrap().text(), Some("v"));

    let first = valkey.pid().unwrap();
    valkey.kill().unwrap();
    assert_eq!(valkey.pid(), None);
    assert!(valkey.command(&["PING"]).unwrap_err().to_string().contains(&port.to_string()));
    valkey.restart().unwrap();
    assert_ne!(valkey.pid(), Some(first));
    assert_eq!(valkey.port(), port);
    assert_eq!(valkey.command(&["GET", "k"]).unwrap(), Reply::Nil);

    valkey.stop().unwrap();
    assert!(valkey.log().contains("SIGTERM"), "{}", valkey.log());
    assert!(valkey.pause().unwrap_err().to_string().contains("not running"));
    valkey.restart().unwrap();
    assert_eq!(valkey.command(&["PING"]).unwrap().text(), Some("PONG"));
}

#[test]
fn paused_server_answers_after_resume() {
    let valkey = start();
    valkey.pause().unwrap();
    std::thread::scope(|scope| {
        let asked = scope.spawn(|| valkey.command(&["PING"]));
        valkey.resume().unwrap();
        assert_eq!(asked.join().unwrap().unwrap().text(), Some("PONG"));
    });
    valkey.pause().unwrap();
    // A stopped server dies all the same.
    valkey.stop().unwrap();
}

#[test]
fn user_of_the_url_lacks_the_commands_that_serverless_lacks() {
    let valkey = start();
    let url = valkey.url();
    assert!(url.starts_with("valkey://keyplane:"), "{url}");
    assert!(url.ends_with(&format!("@127.0.0.1:{}", valkey.port())), "{url}");
    let denied = [
        "PSUBSCRIBE x",
        "PUNSUBSCRIBE x",
        "FCALL f 0",
        "FCALL_RO f 0",
        "FUNCTION LIST",
        "KEYS *",
        "WAIT 0 0",
        "WAITAOF 0 0 0",
        "CONFIG GET save",
        "MEMORY USAGE k",
        "OBJECT ENCODING k",
        "SLOWLOG GET",
        "COMMANDLOG LEN slow",
        "LATENCY LATEST",
        "MONITOR",
        "CLIENT ID",
        "CLIENT LIST",
        "CLIENT INFO",
        "CLIENT KILL 127.0.0.1:1",
        "CLIENT TRACKING ON",
        "CLIENT CACHING YES",
        "CLIENT NO-EVICT ON",
        "SWAPDB 0 1",
        "MOVE k 1",
        "SCRIPT KILL",
    ];
    for line in denied {
        let verdict = dry_run(&valkey, line);
        assert!(verdict.contains("no permissions to run the"), "{line}: {verdict}");
    }
    let allowed = [
        "GET k",
        "SCRIPT LOAD x",
        "SCRIPT FLUSH",
        "EVALSHA x 0",
        "SUBSCRIBE x",
        "PUBLISH x y",
        "XRANGE k - +",
        "CLIENT SETNAME x",
        "CLIENT SETINFO lib-name x",
        "COMMAND INFO get",
        "CLUSTER SLOTS",
        "INFO server",
        "HELLO 3",
    ];
    for line in allowed {
        assert_eq!(dry_run(&valkey, line), "OK", "{line}");
    }
}

fn dry_run(valkey: &Valkey, line: &str) -> String {
    let mut args = vec!["ACL", "DRYRUN", "keyplane"];
    args.extend(line.split(' '));
    valkey.command(&args).unwrap().text().unwrap_or_default().to_owned()
}

#[test]
fn url_without_the_acl_names_the_default_user() {
    let valkey = Valkey::builder(&Toolbox::find()).acl_serverless(false).start().unwrap();
    assert_eq!(valkey.url(), valkey.admin_url());
}

#[test]
fn modules_give_indexes_and_bloom_filters() {
    let valkey = Valkey::builder(&Toolbox::find()).modules(true).start().unwrap();
    valkey.command(&["FT.CREATE", "i", "PREFIX", "1", "d:", "SCHEMA", "t", "TAG"]).unwrap();
    assert_eq!(valkey.command(&["FT._LIST"]).unwrap(), Reply::Array(vec![Reply::Text("i".to_owned())]));
    assert_eq!(valkey.command(&["BF.ADD", "b", "x"]).unwrap().int(), Some(1));
    assert_eq!(dry_run(&valkey, "BF.EXISTS b x"), "OK");
    valkey.restart().unwrap();
    assert_eq!(valkey.command(&["FT._LIST"]).unwrap(), Reply::Array(Vec::new()));
}

#[test]
fn started_replica_is_in_sync() {
    let primary = start();
    primary.command(&["SET", "k", "v"]).unwrap();
    let replica = Valkey::builder(&Toolbox::find()).replica_of(&primary).may_wait(true).start().unwrap();
    assert_eq!(replica.command(&["GET", "k"]).unwrap().text(), Some("v"));
    assert!(replica.command(&["SET", "k", "w"]).unwrap_err().to_string().contains("READONLY"));
    assert_eq!(dry_run(&replica, "WAIT 0 0"), "OK");
}

#[test]
fn failed_start_shows_the_log() {
    let bad = Valkey::builder(&Toolbox::find()).setting("no-such-setting", "1").start().unwrap_err().to_string();
    assert!(bad.contains("no-such-setting"), "{bad}");

    let first = start();
    let taken = Valkey::builder(&Toolbox::find()).port(Some(first.port())).start().unwrap_err().to_string();
    assert!(taken.contains("Address already in use"), "{taken}");
}

#[test]
fn given_folder_is_kept() {
    let parent = tempfile::tempdir().unwrap();
    let folder = parent.path().join("with blank");
    let valkey = Valkey::builder(&Toolbox::find()).dir(&folder).setting("maxmemory", "5mb").start().unwrap();
    let limit = valkey.command(&["CONFIG", "GET", "maxmemory"]).unwrap();
    assert!(format!("{limit:?}").contains(&(5 << 20).to_string()), "{limit:?}");
    drop(valkey);
    assert!(folder.join("valkey.log").exists());
}

#[tokio::test]
async fn server_works_in_an_async_test() {
    let valkey = start();
    let answered = tokio::time::timeout(Duration::from_secs(5), async { valkey.command(&["PING"]) });
    answered.await.unwrap().unwrap();
}
