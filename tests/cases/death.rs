//! Worlds that die in the middle of things: the other side gets what was published before, then a notice; nothing hangs,
//! nothing leaks.

use std::time::{Duration, Instant};
use strait_broker::{Kind, Reason, WorldId};
use strait_tests::{Holdings, LONG, Stage, actor, kill_payload};

#[test]
fn a_sender_that_dies_loses_nothing_it_published() {
    let mut stage = Stage::new();
    let flood = stage.add("flood", &["flood", "host"], &[]);
    let pid = stage.pid(flood);
    let mut next = 0u64;
    while next < 10_000 {
        next = expect_number(&mut stage, flood, next);
    }
    kill_payload(pid);
    // What it had published arrives whole and in order, then no more.
    while let Some(record) = stage.client().receive(Some(Duration::from_millis(500))).unwrap() {
        assert_eq!((record.header().source, record.payload()), (flood, &next.to_ne_bytes()[..]));
        next += 1;
    }
    let ended = stage.client().wait(flood, Some(LONG)).unwrap();
    assert_eq!((ended.signal, ended.killed), (Some(9), false));
    // And what is sent to it now comes back.
    stage.client().send(flood, b"too late").unwrap();
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.code), (Kind::Notice, Reason::NoSuchWorld as u16));
}

fn expect_number(stage: &mut Stage, from: WorldId, number: u64) -> u64 {
    let (header, payload) = stage.receive();
    assert_eq!((header.source, payload), (from, number.to_ne_bytes().to_vec()));
    number + 1
}

#[test]
fn who_asks_a_world_that_dies_is_told() {
    let mut stage = Stage::new();
    let deaf = stage.add("deaf", &["deaf"], &[]);
    stage.add("asker", &["asker", "deaf"], &["deaf"]);
    assert_eq!(stage.receive().1, b"asking");
    std::thread::sleep(Duration::from_millis(50));
    let pid = stage.pid(deaf);
    kill_payload(pid);
    assert_eq!(stage.receive().1, b"Died");
}

#[test]
fn who_answers_a_world_that_died_is_told() {
    let mut stage = Stage::new();
    let asker = stage.add("asker", &["asker", "host"], &[]);
    assert_eq!(stage.receive().1, b"asking");
    let (request, _) = stage.receive();
    assert_eq!((request.kind, request.source), (Kind::Request, asker));
    let pid = stage.pid(asker);
    kill_payload(pid);
    stage.client().wait(asker, Some(LONG)).unwrap();
    stage.client().reply(&request, 0, b"too late").unwrap();
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.code), (Kind::Notice, Reason::NoSuchWorld as u16));
}

#[test]
fn a_receiver_that_dies_with_a_full_inbox_frees_its_senders() {
    let mut stage = Stage::new();
    let deaf = stage.add("deaf", &["deaf"], &[]);
    let pid = stage.pid(deaf);
    stage.client().set_patience(Some(Duration::from_millis(200)));
    while stage.client().send(deaf, &[1; 4096]).is_ok() {}
    kill_payload(pid);
    stage.client().set_patience(None);
    // Everything that didn't fit comes back as a notice, and the outbox is free again.
    let echo = stage.add("echo", &["echo"], &[]);
    assert_eq!(stage.ask(echo, b"free"), b"free");
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.source), (Kind::Notice, deaf));
}

/// {what it is doing} x {1,000 deaths in all}: the counts before and after are the same.
#[test]
fn a_thousand_deaths_leak_nothing() {
    let mut stage = Stage::new();
    let roles: [&[&str]; 4] = [&["flood", "sink"], &["asker", "sink"], &["echo"], &["deaf"]];
    stage.add("sink", &["deaf"], &[]);
    // The first of each kind may make the broker's own memory grow; from then on nothing does.
    for (n, role) in roles.iter().enumerate() {
        die(&mut stage, &format!("first-{n}"), role);
    }
    let before = settled(&stage);
    for n in 0..1000 {
        die(&mut stage, &format!("world-{n}"), roles[n % roles.len()]);
    }
    let end = Instant::now() + LONG;
    let mut after = settled(&stage);
    while after != before && Instant::now() < end {
        std::thread::sleep(Duration::from_millis(50));
        after = settled(&stage);
    }
    assert_eq!(before, after);
}

fn die(stage: &mut Stage, name: &str, role: &[&str]) {
    let id = stage.host.spawn(name, &actor(role, &["sink"])).unwrap();
    let pid = stage.pid(id);
    std::thread::sleep(Duration::from_micros(u64::from(pid) * 997 % 3000));
    kill_payload(pid);
    let end = Instant::now() + LONG;
    // Killed before there was a payload to kill: again, until it is gone.
    while stage.client().list().unwrap().iter().any(|row| row.id == id.0) {
        kill_payload(pid);
        assert!(Instant::now() < end, "{name} doesn't die");
    }
    while stage.client().try_receive().unwrap().is_some() {}
}

fn settled(stage: &Stage) -> Holdings {
    std::thread::sleep(Duration::from_millis(100));
    Holdings::of(stage)
}

#[test]
fn the_end_of_the_host_is_the_end_of_everything() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    let (supervisor, switch) = stage.broker_pids();
    let world = stage.pid(echo);
    drop(stage);
    for pid in [supervisor, switch, world] {
        assert!(!std::path::Path::new(&format!("/proc/{pid}")).exists(), "process {pid} is still there");
    }
}

#[test]
fn killing_the_supervisor_kills_its_worlds_and_tells_the_host() {
    use rustix::process::{Pid, Signal, kill_process};
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    let (supervisor, switch) = stage.broker_pids();
    let world = stage.pid(echo);
    kill_process(Pid::from_raw(supervisor.cast_signed()).unwrap(), Signal::KILL).unwrap();
    let gone = stage.client().receive(Some(LONG));
    assert!(matches!(gone, Err(strait_client::Error::BrokerGone)), "{gone:?}");
    let end = Instant::now() + LONG;
    for pid in [switch, world] {
        // A zombie that init hasn't collected yet has no memory left either.
        let lives = || std::fs::read_to_string(format!("/proc/{pid}/status")).is_ok_and(|s| !s.contains("State:\tZ"));
        while lives() {
            assert!(Instant::now() < end, "process {pid} outlives its supervisor");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}
