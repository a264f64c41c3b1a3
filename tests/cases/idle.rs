//! Worlds that have nothing to say cost no processor time: nobody is woken to look whether they have.

use std::time::Duration;
use strait_tests::Stage;

/// How often a process has been given the processor (`proc_pid_schedstat(5)`, the third number).
fn turns(pid: u32) -> u64 {
    let text = std::fs::read_to_string(format!("/proc/{pid}/schedstat")).expect("a running process");
    text.split_whitespace().nth(2).and_then(|word| word.parse().ok()).expect("three numbers")
}

#[test]
fn nobody_runs_while_nobody_talks() {
    let mut stage = Stage::new();
    let worlds: Vec<_> = (0..20).map(|n| stage.add(&format!("idle-{n}"), &["echo"], &[])).collect();
    let (supervisor, switch) = stage.broker_pids();
    // What it takes to make a switch of a program that has just started.
    std::thread::sleep(Duration::from_millis(500));
    let before = [turns(supervisor), turns(switch)];
    std::thread::sleep(Duration::from_secs(1));
    // The kernel may tell the supervisor of pressure once in 2 s, where others press.
    assert!(turns(supervisor) - before[0] <= 1, "the supervisor runs though nothing happens");
    assert_eq!(turns(switch), before[1], "the switch runs though nothing happens");
    // The control: it does when something does.
    assert_eq!(stage.ask(worlds[7], b"still there"), b"still there");
    assert_ne!(turns(switch), before[1]);
}
