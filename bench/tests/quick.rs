//! Runs every benchmark as short as possible: everything works, no call fails, the report is complete.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn run(command: &str, options: &[&str]) -> Value {
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{command}-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_keyplane-bench"))
        .args([command, "--quick"])
        .args(options)
        .arg("--json")
        .arg(&report)
        .output()
        .expect("the bench starts");
    let summary = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{summary}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(summary.contains("p99"), "no table in {summary}");
    let text = std::fs::read_to_string(&report).expect("a report");
    std::fs::remove_file(&report).expect("the report can be removed");
    serde_json::from_str(&text).expect("the report is JSON")
}

#[test]
fn mesh() {
    let report = run("mesh", &[]);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 9);
    for row in rows {
        assert_eq!(row["failed"], 0, "{row}");
        assert!(row["calls_per_second"].as_f64().is_some_and(|calls| calls > 0.0), "{row}");
        let limit = &row["limit"];
        assert!(limit.is_null() || rows.iter().any(|other| other["row"] == *limit), "{row}");
    }
    for service in ["session", "revocation", "rate-limit"] {
        assert!(report["idle_rss"][service].as_u64().is_some_and(|bytes| bytes > 0), "{service}");
    }
}

#[test]
fn sessions() {
    let report = run("sessions", &[]);
    assert_eq!(report["updates_acknowledged"], report["updates_due"]);
    assert_eq!(report["events"], report["updates_acknowledged"]);
    assert!(report["update_us"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0));
    assert!(report["valkey_bytes_per_session"][0].as_f64().is_some_and(|bytes| bytes > 192.0));
}

/// Plays one scenario; `just prove --quick` plays them all.
#[test]
fn propagation() {
    let report = run("propagation", &["--scenario", "sigstop"]);
    let runs = report["runs"].as_array().expect("runs");
    assert_eq!(runs.len(), 2);
    let [on, off] = [&runs[0], &runs[1]];
    assert_eq!((&on["rule"], &on["late"], &on["wrong"]), (&true.into(), &0.into(), &0.into()), "{on}");
    assert!(on["strikes"].as_u64().is_some_and(|strikes| strikes > 0), "{on}");
    assert!(on["others_us"]["count"].as_u64() == on["revocations"].as_u64().map(|count| count * 2), "{on}");
    assert_eq!(off["rule"], false);
    assert!(off["late"].as_u64().is_some_and(|late| late > 0), "{off}");
}

/// A few faults in seconds: too few calls, on too busy a machine, to say anything of times, but enough for all that
/// must hold at any pace.
#[test]
fn soak() {
    let faults = "script-flush,client-kill,instance-kill";
    let report = run("soak", &["--hasty", "--seed", "1", "--ground", "single", "--faults", faults]);
    let part = &report["parts"][0];
    assert!(part["faults"].as_array().is_some_and(|faults| !faults.is_empty()), "{part}");
    assert!(part["revocations"].as_u64().is_some_and(|revocations| revocations > 2), "{part}");
    let invariants = part["invariants"].as_array().expect("invariants");
    assert_eq!(invariants.len(), 21);
    for name in [
        "revoked stays rejected",
        "good tokens pass",
        "never over the limit",
        "sessions are kept",
        "events in order, once",
    ] {
        let line = invariants.iter().find(|line| line["name"] == name).expect(name);
        assert_eq!(line["broken"], 0, "{line}");
        assert!(line["checks"].as_u64().is_some_and(|checks| checks > 10), "{line}");
    }
}

/// Guard is asked about each body, and about nothing else: otherwise the run fails.
#[test]
fn gateway() {
    let report = run("gateway", &[]);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 8);
    for row in rows {
        for side in [&row["shipped"], &row["plain"]] {
            assert_eq!(side["failed"], 0, "{row}");
            assert!(side["latency_us"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0), "{row}");
            assert!(side["envoy_cpu_us"].as_f64().is_some_and(|cpu| cpu > 0.0), "{row}");
        }
        assert_eq!(row["plain"]["guard_cpu_us"], 0.0, "{row}");
    }
    let asked = |row: usize| rows[row]["shipped"]["asked"].as_u64();
    assert!(asked(0) > Some(0) && asked(7) > Some(0), "{report}");
    let checked = report["checked"].as_array().expect("checks");
    assert!(checked[1]["bytes"].as_u64() > Some(1_000_000) && checked[1]["micros"].as_f64() > Some(0.0), "{report}");
}

/// With envoyproxy/ratelimit where it is installed.
#[test]
fn ratelimit() {
    let report = run("ratelimit", &[]);
    let rows = |lines: &Value| lines["rows"].as_array().expect("rows").clone();
    assert_eq!((rows(&report).len(), rows(&report["cluster"]).len()), (11, 5));
    let mut all = [rows(&report), rows(&report["cluster"])].concat();
    for duel in [&report["duels"]["together"], &report["duels"]["apart"]].into_iter().filter(|duel| duel.is_object()) {
        assert_eq!((rows(duel).len(), duel["admitted"].as_f64()), (4, Some(1.0)), "{duel}");
        all.extend(rows(duel));
    }
    for row in &all {
        assert_eq!(row["failed"], 0, "{row}");
        assert!(row["calls_per_second"].as_f64().is_some_and(|calls| calls > 0.0), "{row}");
    }
    let answers = &report["answers"];
    assert_eq!(answers["Acquire"]["denied"], 0, "{answers}");
    let denied = &answers["Acquire, denied"];
    assert!(denied["cached"].as_u64() > denied["admitted"].as_u64(), "{denied}");
    for name in ["spread", "herds"] {
        let outcome = &report["open"][name];
        assert_eq!(outcome["failed"], 0, "{outcome}");
        let answered = ["admitted", "denied"].map(|count| outcome[count].as_u64().unwrap_or(0));
        assert_eq!(Some(answered.iter().sum()), outcome["due"].as_u64(), "{outcome}");
        assert!(answered[0] > 0, "{outcome}");
    }
    let (flood, memory) = (&report["flood"], &report["memory"]);
    assert!(flood["scripts"].as_u64() < flood["cached"].as_u64(), "{flood}");
    assert!(memory["bucket"].as_u64().is_some_and(|bytes| bytes > 40), "{memory}");
    assert!(memory["record"].as_u64() > memory["bucket"].as_u64(), "{memory}");
}

#[test]
fn revocation() {
    let report = run("revocation", &[]);
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 5);
    for row in rows {
        assert_eq!(row["failed"], 0, "{row}");
        assert!(row["calls_per_second"].as_f64().is_some_and(|calls| calls > 0.0), "{row}");
    }
    let filled = &report["filled"];
    let bytes = |name: &str| filled[name].as_u64().unwrap_or(0);
    assert!(bytes("valkey") > bytes("feed") && bytes("feed") > 0 && bytes("filters") > 0, "{filled}");
    assert!(report["idle_commands"].as_object().is_some_and(|commands| !commands.is_empty()), "{report}");
    assert!(report["in_process"]["checks_per_second"].as_f64().is_some_and(|checks| checks > 0.0));
}

#[test]
fn search() {
    let report = run("search", &[]);
    assert_eq!(report["import"]["failed"], 0, "{report}");
    assert_eq!(report["bare"]["documents"], report["documents"], "{report}");
    let lone = report["lone"].as_array().expect("rows");
    assert_eq!(lone.len(), 12);
    for row in lone {
        assert!(row["latency_us"]["p50"].as_f64().is_some_and(|p50| p50 > 0.0), "{row}");
        assert!(row["replay"]["bare_p50"].as_f64().is_some_and(|p50| p50 > 0.0), "{row}");
    }
    assert!(report["facets"]["all"].as_u64().is_some_and(|facets| facets > 0), "{report}");
}
