//! The whole of it once, small: real processes, every peer that is always there, every workload.
#![forbid(unsafe_code)]

use serde_json::Value;
use std::collections::BTreeSet;
use std::process::{Command, Output};

fn bench(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait-bench"));
    command.args(["--quick", "--reps", "1", "--seconds", "0.01"]).args(arguments);
    command.output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Folders and shared memory that a process of this name has left.
fn remains_of(pid: u32) -> Vec<String> {
    let tag = format!("strait-bench-{pid}");
    let names = |dir: &std::path::Path| -> Vec<String> {
        let Ok(entries) = std::fs::read_dir(dir) else { return Vec::new() };
        entries.flatten().map(|entry| entry.file_name().to_string_lossy().into_owned()).collect()
    };
    let mut all = names(&std::env::temp_dir());
    all.extend(names(std::path::Path::new("/dev/shm")));
    all.retain(|name| name == &tag || name.starts_with(&format!("{tag}-")));
    all
}

#[test]
fn every_peer_goes_through_every_workload_that_applies_to_it() {
    let json = std::env::temp_dir().join(format!("strait-smoke-{}.json", std::process::id()));
    let output = bench(&["--placement", "free", "--json", json.to_str().unwrap()]);
    let (out, said) = (text(&output.stdout), text(&output.stderr));
    assert!(output.status.success(), "{out}{said}");
    let lines = std::fs::read_to_string(&json).unwrap();
    std::fs::remove_file(&json).unwrap();
    let rows: Vec<Value> = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut there = BTreeSet::new();
    for row in &rows {
        let word = |key: &str| row[key].as_str().unwrap().to_owned();
        // Two hundred idle clients may cost less than the memory of a process moves by itself.
        assert!(row["value"].as_f64().unwrap() > 0.0 || word("workload") == "idle", "{row}");
        there.insert((word("peer"), word("workload"), row["size"].as_u64().unwrap()));
    }
    for peer in ["uds-seqpacket", "uds-stream", "uds-broker", "raw-sync", "strait"] {
        for load in
            [("rtt", 64), ("oneway", 64), ("oneway", 16384), ("oneway", 1 << 20), ("fanout", 64), ("connect", 64)]
        {
            assert!(there.contains(&(peer.into(), load.0.into(), load.1)), "{peer} {load:?}\n{out}{said}");
        }
    }
    for (peer, is_weighed) in [("uds-broker", true), ("strait", true), ("uds-stream", false)] {
        assert_eq!(there.contains(&(peer.into(), "idle".into(), 64)), is_weighed, "{peer}\n{out}{said}");
    }
    assert!(out.contains("uds-seqpacket") && !out.contains("not measured"), "{out}");
}

#[test]
fn what_is_not_there_is_told_with_what_is() {
    for (arguments, known) in [
        (["--peer", "nonsense"], "uds-broker"),
        (["--workload", "nonsense"], "fanout"),
        (["--placement", "nonsense"], "cross"),
        (["--size", "63"], "16384"),
    ] {
        let output = bench(&arguments);
        let said = text(&output.stderr);
        assert!(!output.status.success());
        assert!(said.contains(arguments[1]) && said.contains(known), "{said}");
    }
}

/// On two signals: one that the program hears of, and one that it doesn't.
#[test]
fn nothing_outlives_a_benchmark_that_is_ended_early() {
    use rustix::process::{Pid, Signal, kill_process};
    for signal in [Signal::INT, Signal::KILL] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_strait-bench"));
        command.args(["--quick", "--peer", "uds-broker", "--workload", "rtt", "--seconds", "30"]);
        let mut child =
            command.stdout(std::process::Stdio::null()).stderr(std::process::Stdio::null()).spawn().unwrap();
        let children = wait_for_three_children(child.id());
        kill_process(Pid::from_raw(child.id().cast_signed()).unwrap(), signal).unwrap();
        assert!(!child.wait().unwrap().success());
        let is_there = |pid: &u32| std::path::Path::new(&format!("/proc/{pid}/exe")).read_link().is_ok();
        let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
        while children.iter().any(is_there) {
            assert!(std::time::Instant::now() < end, "still there: {children:?}");
            std::thread::sleep(std::time::Duration::from_millis(5));
        }
        match signal {
            Signal::INT => assert_eq!(remains_of(child.id()), Vec::<String>::new()),
            // Nobody was left to tidy up but us.
            _ => drop(std::fs::remove_dir_all(std::env::temp_dir().join(format!("strait-bench-{}", child.id())))),
        }
    }
}

/// A broker and two parties: then a run is under way.
fn wait_for_three_children(parent: u32) -> Vec<u32> {
    let end = std::time::Instant::now() + std::time::Duration::from_secs(30);
    loop {
        let children = strait_measure::tree(parent).split_off(1);
        if children.len() == 3 {
            return children;
        }
        assert!(std::time::Instant::now() < end, "no run began");
        std::thread::sleep(std::time::Duration::from_millis(1));
    }
}
