//! The most jails that a broker can have begun ahead of time, and bursts of starts and stops beside them.

use rustix::process::{Pid, PidfdFlags, pidfd_open};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strait_broker::{Config, Kind, WorldId};
use strait_protocol::control::{Answer, Request};
use strait_sys::wake;
use strait_tests::{Holdings, LONG, Stage, actor};

/// The most there can be; and so many are built whole for a template at most.
const SEATS: usize = 64;
/// Starts that are under way at a time: nearly as many as the launcher takes.
const BURST: usize = 60;

/// So many until one changes nothing.
const BURSTS: usize = 6;

/// Nobody is left of any burst, nor of the jails that waited, and no control group and no mount.
#[test]
fn bursts_beside_sixty_four_seats_leave_nothing() {
    let mounts = mounts();
    let templates = [("echo".into(), actor(&["echo"], &[]))].into();
    let mut stage = Stage::with(&Config { seats: SEATS, templates, ..Config::default() });
    let (supervisor, _) = stage.broker_pids();
    let mut processes = burst(&mut stage, supervisor);
    // The first ones make the broker's own memory grow, and have jails built of their kind.
    let mut rest = settled(&stage);
    let is_repeated = (1..BURSTS).any(|_| {
        processes.extend(burst(&mut stage, supervisor));
        let before = std::mem::replace(&mut rest, settled(&stage));
        rest == before
    });
    assert!(is_repeated, "every one of {BURSTS} bursts leaves something: {rest:?}");
    assert!(rest.processes > SEATS, "no seats wait: {rest:?}");
    processes.extend(all_below(supervisor));
    drop(stage);
    let ends = |process: &OwnedFd| wake::wait_readable(process.as_fd(), Some(LONG)) == Ok(true);
    let left = processes.iter().filter(|process| !ends(process)).count();
    assert_eq!(left, 0, "processes, of {}", processes.len());
    until("control groups are left", || groups_of(supervisor).is_empty());
    until("mounts are left", || self::mounts() == mounts);
}

/// Starts so many worlds at once, talks to each, and stops them at once. Every process that there was meanwhile.
fn burst(stage: &mut Stage, supervisor: u32) -> Vec<OwnedFd> {
    let start = Request::Start { template: "echo".into(), name: None };
    let worlds = answers(stage, std::iter::repeat_n(start, BURST), |answer| match answer {
        Answer::World { id, name } => Some((WorldId(id), name)),
        _ => None,
    });
    for (id, _) in &worlds {
        assert_eq!(stage.ask(*id, b"?"), b"?");
    }
    let processes = all_below(supervisor);
    assert!(processes.len() > 2 * BURST, "{} processes of {BURST} worlds", processes.len());
    // The control: what a world's own process says of its group is found from outside.
    let own = fs::read_to_string(format!("/proc/{}/cgroup", stage.pid(worlds[0].0))).expect("a running world");
    assert_eq!(own.contains(&prefix_of(supervisor)), !groups_of(supervisor).is_empty(), "{own}");
    let stop = |(_, name)| Request::Stop { name, deadline_ms: LONG.as_millis() as u32, reason: "enough".into() };
    let ended = answers(stage, worlds.into_iter().map(stop), |answer| match answer {
        Answer::Ended(ended) => Some(ended),
        _ => None,
    });
    assert!(ended.iter().all(|ended| ended.code == Some(0)), "{ended:?}");
    processes
}

/// Asks all before it hears an answer to any.
fn answers<T>(stage: &mut Stage, requests: impl Iterator<Item = Request>, take: fn(Answer) -> Option<T>) -> Vec<T> {
    let asked = requests.map(|request| {
        stage.client().start_request(WorldId::CONTROL, &request.encode(), LONG).expect("room");
    });
    let asked = asked.count();
    let mut all = Vec::new();
    for _ in 0..asked {
        let (header, payload) = stage.receive();
        assert_eq!(header.kind, Kind::Reply, "{header:?}");
        let answer = Answer::decode(&payload).expect("an answer");
        let said = format!("{answer:?}");
        all.push(take(answer).unwrap_or_else(|| panic!("{said}")));
    }
    all
}

/// What the broker holds once that doesn't change for a second: seats that were taken are made anew.
fn settled(stage: &Stage) -> Holdings {
    let end = Instant::now() + LONG;
    let mut last = Holdings::of(stage);
    loop {
        std::thread::sleep(Duration::from_secs(1));
        let now = Holdings::of(stage);
        if now == last {
            return now;
        }
        assert!(Instant::now() < end, "{last:?} and then {now:?}");
        last = now;
    }
}

fn until(what: &str, is_so: impl Fn() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// Everybody below a process, by descriptors that name them still when their numbers are others'.
fn all_below(parent: u32) -> Vec<OwnedFd> {
    let children = fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    let children = children.split_whitespace().filter_map(|pid| pid.parse::<u32>().ok());
    let mut all = Vec::new();
    for child in children {
        let pid = Pid::from_raw(child.cast_signed()).expect("a pid");
        all.extend(pidfd_open(pid, PidfdFlags::empty()));
        all.extend(all_below(child));
    }
    all
}

/// How the names of a broker's control groups begin.
fn prefix_of(supervisor: u32) -> String {
    format!("strait-{supervisor}-")
}

/// The control groups of a broker, in whatever hierarchy.
fn groups_of(supervisor: u32) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = open.pop() {
        for entry in fs::read_dir(&dir).into_iter().flatten().flatten() {
            if !entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                continue;
            }
            let is_ours = entry.file_name().to_string_lossy().starts_with(&prefix_of(supervisor));
            if is_ours { &mut found } else { &mut open }.push(entry.path());
        }
    }
    found
}

/// What is mounted where this process and the broker's own processes are.
fn mounts() -> String {
    fs::read_to_string("/proc/self/mountinfo").expect("proc_pid_mountinfo(5)")
}
