//! Both runs, as short as they get: everything works, no call fails, the report is whole.

use std::path::Path;
use std::process::Command;

use serde_json::Value;

fn run(command: &str) -> Value {
    let report = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{command}-{}.json", std::process::id()));
    let output = Command::new(env!("CARGO_BIN_EXE_keyplane-bench"))
        .args([command, "--quick", "--json"])
        .arg(&report)
        .output()
        .expect("the bench starts");
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    assert!(told.contains("| p99"), "no table in {told}");
    let text = std::fs::read_to_string(&report).expect("a report");
    std::fs::remove_file(&report).expect("the report can be removed");
    serde_json::from_str(&text).expect("the report is JSON")
}

#[test]
fn mesh() {
    let report = run("mesh");
    let rows = report["rows"].as_array().expect("rows");
    assert_eq!(rows.len(), 9);
    for row in rows {
        assert_eq!(row["failed"], 0, "{row}");
        assert!(row["calls_per_second"].as_f64().is_some_and(|calls| calls > 0.0), "{row}");
        let limit = &row["limit"];
        assert!(limit.is_null() || rows.iter().any(|other| other["row"] == *limit), "{row}");
    }
    assert!(report["idle_rss"].as_u64().is_some_and(|bytes| bytes > 0));
}

#[test]
fn sessions() {
    let report = run("sessions");
    assert_eq!(report["updates_acknowledged"], report["updates_due"]);
    assert_eq!(report["events"], report["updates_acknowledged"]);
    assert!(report["update_us"]["p99"].as_f64().is_some_and(|p99| p99 > 0.0));
    assert!(report["valkey_bytes_per_session"][0].as_f64().is_some_and(|bytes| bytes > 192.0));
}
