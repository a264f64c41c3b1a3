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
    // Starting that many is work for a while, and the kernel tells the supervisor of pressure once in 2 s while others press. Who polls,
    // or has a heartbeat, never has such a second.
    let has_quiet_second = || {
        let before = [turns(supervisor), turns(switch)];
        std::thread::sleep(Duration::from_secs(1));
        [turns(supervisor), turns(switch)] == before
    };
    assert!((0..30).any(|_| has_quiet_second()), "the broker runs though nothing happens");
    let before = turns(switch);
    // The control: it does when something does.
    assert_eq!(stage.ask(worlds[7], b"still there"), b"still there");
    assert_ne!(turns(switch), before);
}
