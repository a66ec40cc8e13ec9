//! The whole chain without Redis and a gateway: the bare sender, a swarm of clients, the books between them.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on says where")]

use std::process::Command;

use serde_json::Value;

fn report(arguments: &[&str]) -> (Option<i32>, Value) {
    let output = Command::new(env!("CARGO_BIN_EXE_tickcast-loadtest")).args(arguments).output().unwrap();
    let report = serde_json::from_slice(&output.stdout);
    let errors = String::from_utf8_lossy(&output.stderr);
    (output.status.code(), report.unwrap_or_else(|error| panic!("{error}: {errors}")))
}

#[test]
fn every_frame_of_the_floor_is_owed_once_and_arrives_once() {
    let (code, report) = report(&[
        "floor",
        "--clients",
        "60",
        "--symbols",
        "7",
        "--per-client",
        "3",
        "--spread",
        "zipf",
        "--rate",
        "350",
        "--warmup",
        "200ms",
        "--duration",
        "1s",
        "--drain",
        "30s",
        "--workers",
        "2",
        "--frames-per-write",
        "4",
        "--only",
        "paced",
        "--json",
        "--quiet",
    ]);
    let runs = report["runs"].as_array().unwrap();
    assert_eq!(runs.len(), 2, "one frame a write, and four");
    for run in runs {
        let tally = &run["delivery"]["tally"];
        // 1.2 s at 350 updates/s are 420: 60 of each of the 7 symbols, for 60 × 3 subscriptions.
        assert_eq!(run["publish"]["updates"], 420, "{run:#}");
        assert_eq!((&tally["owed"], &tally["arrived"]), (&Value::from(10_800), &Value::from(10_800)), "{run:#}");
        assert_eq!(run["violated"], Value::Array(vec![]), "{run:#}");
        assert_eq!(run["connect"]["connected"], 60);
        assert!(run["cpu"]["clients"].as_array().unwrap().len() == 2, "two client processes");
    }
    // A busy machine may spoil the figures (3), but no promise is broken (1) and all of it ran (4).
    assert!(matches!(code, Some(0 | 3)), "{code:?}");
}

#[test]
fn what_cannot_be_run_says_so_and_has_its_own_exit_code() {
    let output = Command::new(env!("CARGO_BIN_EXE_tickcast-loadtest"))
        .args(["run", "--quiet", "--url", "ws://127.0.0.1:9/ws", "--redis", "redis://127.0.0.1:9"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(4), "{errors}");
    assert!(errors.contains("no Redis at 127.0.0.1:9"), "{errors}");
}
