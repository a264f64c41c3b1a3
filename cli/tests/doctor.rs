//! `strait doctor`: what it finds here, and what it says where something is missing.

mod common;

use common::{run, strait};
use serde_json::Value;
use std::io::Write;
use std::process::{Command, Stdio};

#[test]
fn what_runs_the_tests_lacks_nothing() {
    let said = run(strait(["doctor"]));
    assert_eq!(said.code, Some(0), "{}{}", said.out, said.err);
    assert!(said.out.contains("\njail\n  ok        broker ") && said.out.contains(", 0 missing\n"), "{}", said.out);
}

#[test]
fn json_says_the_same() {
    let said = run(strait(["doctor", "--json"]));
    let report: Value = serde_json::from_str(&said.out).expect("JSON");
    let checks = report["checks"].as_array().expect("checks");
    let state = |name: &str| checks.iter().find(|check| check["name"] == name).map(|check| check["state"].clone());
    for required in [
        "version",
        "landlock",
        "own namespaces",
        "root file system",
        "capabilities",
        "system calls",
        "new code",
        "profile strict",
    ] {
        assert_eq!(state(required), Some("ok".into()), "{required}: {}", said.out);
    }
    let is_root = rustix::process::geteuid().is_root();
    assert_eq!(state("uids"), Some(if is_root { "ok" } else { "degraded" }.into()), "{}", said.out);
    let counted = ["ok", "degraded", "missing"].map(|word| report[word].as_u64().expect("a number"));
    assert_eq!((counted.iter().sum::<u64>(), counted[2]), (checks.len() as u64, 0));
}

#[test]
fn without_user_namespaces_it_says_what_to_do() {
    if !rustix::process::geteuid().is_root() {
        // Past the harness, which keeps what a test that succeeds prints.
        let _ = writeln!(
            std::io::stdout(),
            "skipped: without_user_namespaces_it_says_what_to_do: only root can take them away"
        );
        return;
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/no_namespaces.py");
    // Where an unprivileged user can start it, wherever the build keeps the original.
    let dir = common::Dir::new("doctor");
    let copy = dir.path("strait");
    std::fs::copy(env!("CARGO_BIN_EXE_strait"), &copy).expect("a copy");
    let mut command = Command::new("/usr/bin/python3");
    command.arg(script).arg(&copy).arg("doctor");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = run(command);
    assert_eq!(said.code, Some(1), "{}{}", said.out, said.err);
    let (_, rest) = said.out.split_once("  missing   namespaces ").expect("what is missing");
    assert!(rest.contains("-> sysctl user.max_user_namespaces=10000\n"), "{}", said.out);
    assert!(said.out.contains("  missing   broker "), "{}", said.out);
}
