//! Groups: members that come when there is work and go when there is none, who gets what, and what becomes of the work of the dead.

use std::collections::HashMap;
use std::time::{Duration, Instant};
use strait_broker::{Config, Group, GroupRow, Kind, Reason, World, WorldId};
use strait_tests::{LONG, Stage, actor, kill_payload};

/// A broker with a group `pool` of worlds that are made so.
fn stage(world: World, finish: impl FnOnce(&mut Group)) -> Stage {
    let mut group = Group::new("worker");
    finish(&mut group);
    let (templates, groups) = ([("worker".into(), world)].into(), [("pool".into(), group)].into());
    Stage::with(&Config { templates, groups, ..Config::default() })
}

fn row(stage: &mut Stage) -> GroupRow {
    let mut rows = stage.client().groups().expect("groups");
    assert_eq!(rows.len(), 1);
    rows.remove(0)
}

/// The group when it is as it should be.
fn wait_for(stage: &mut Stage, what: &str, holds: impl Fn(&GroupRow) -> bool) -> GroupRow {
    let end = Instant::now() + LONG;
    loop {
        let row = row(stage);
        if holds(&row) {
            return row;
        }
        assert!(Instant::now() < end, "never {what}: {row:?}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn pool(stage: &mut Stage) -> WorldId {
    stage.client().resolve("pool").expect("the group")
}

/// Begins a request for so many milliseconds of work.
fn begin(stage: &mut Stage, pool: WorldId, work_ms: u32) -> u64 {
    stage.client().start_request(pool, work_ms.to_string().as_bytes(), LONG).expect("a request")
}

/// What became of so many requests, by correlation: who answered, or why nobody did.
fn ends(stage: &mut Stage, count: usize) -> HashMap<u64, Result<String, Reason>> {
    let mut ends = HashMap::new();
    while ends.len() < count {
        let (header, payload) = stage.receive();
        let end = match header.kind {
            Kind::Reply => Ok(String::from_utf8(payload).expect("a name")),
            _ => Err(Reason::from_code(header.code).expect("a reason")),
        };
        assert!(ends.insert(header.correlation, end).is_none(), "{} ended twice", header.correlation);
    }
    ends
}

#[test]
fn members_come_when_there_is_work_and_go_when_there_is_none() {
    let mut stage = stage(actor(&["worker"], &[]), |group| (group.max, group.idle_ms) = (2, 300));
    let pool = pool(&mut stage);
    assert_eq!(row(&mut stage).members, []);
    for _ in 0..6 {
        begin(&mut stage, pool, 300);
    }
    let busy = wait_for(&mut stage, "two members", |row| row.members.len() == 2);
    assert!(busy.members.iter().all(|member| member.name.starts_with("pool/")), "{busy:?}");
    assert!(busy.members.iter().all(|member| member.load <= 1), "{busy:?}");
    assert!(ends(&mut stage, 6).values().all(Result::is_ok));
    assert_eq!(row(&mut stage).waiting, 0);
    wait_for(&mut stage, "empty again", |row| row.members.is_empty() && row.starting == 0);
    // And again.
    begin(&mut stage, pool, 1);
    assert!(ends(&mut stage, 1).values().all(Result::is_ok));
}

#[test]
fn a_skewed_load_is_balanced() {
    const MEMBERS: u32 = 4;
    let mut stage = stage(actor(&["worker"], &[]), |group| (group.min, group.max) = (MEMBERS, MEMBERS));
    let pool = pool(&mut stage);
    wait_for(&mut stage, "complete", |row| row.members.len() == MEMBERS as usize);
    // One in twenty takes twenty times as long, and they come in bunches.
    let work = |n: u32| if n % 100 < 5 { 60 } else { 3 };
    let asked: HashMap<u64, u32> = (0..200).map(|n| (begin(&mut stage, pool, work(n)), work(n))).collect();
    let mut done: HashMap<String, u32> = HashMap::new();
    for (correlation, end) in ends(&mut stage, 200) {
        *done.entry(end.expect("an answer")).or_default() += asked[&correlation];
    }
    let (all, most) = (asked.values().sum::<u32>(), done.values().copied().max().unwrap_or(0));
    // In milliseconds of work, not of a clock: what else this machine does has no part in it.
    assert!(most * MEMBERS * 10 <= all * 13, "{most} ms of {all} were one member's: {done:?}");
}

#[test]
fn who_is_killed_loses_no_request_that_may_be_repeated() {
    let mut stage = stage(actor(&["worker"], &[]), |group| (group.min, group.max, group.outstanding) = (2, 2, 3));
    let pool = pool(&mut stage);
    let members = wait_for(&mut stage, "complete", |row| row.members.len() == 2).members;
    let pids: Vec<u32> = members.iter().map(|member| stage.pid(WorldId(member.id))).collect();
    let once: Vec<u64> = (0..4).map(|_| begin(&mut stage, pool, 300)).collect();
    let repeatable: Vec<u64> =
        (0..6).map(|_| stage.client().start_repeatable(pool, b"100", LONG).expect("a request")).collect();
    // Both have as much as they may have at once.
    wait_for(&mut stage, "busy", |row| row.members.iter().all(|member| member.load == 3));
    kill_payload(pids[0]);
    let ends = ends(&mut stage, 10);
    for correlation in &repeatable {
        assert!(ends[correlation].is_ok(), "{ends:?}");
    }
    // It had two of those that are done once at most, and was at the first of them.
    let lost = once.iter().filter(|correlation| ends[correlation] == Err(Reason::Died)).count();
    assert!((1..=2).contains(&lost), "{ends:?}");
    assert_eq!(once.iter().filter(|correlation| ends[correlation].is_ok()).count(), 4 - lost);
}

#[test]
fn a_member_that_is_stopped_ends_what_it_has() {
    let mut stage = stage(actor(&["worker"], &[]), |group| (group.min, group.max) = (2, 2));
    let pool = pool(&mut stage);
    let members = wait_for(&mut stage, "complete", |row| row.members.len() == 2).members;
    for _ in 0..40 {
        begin(&mut stage, pool, 10);
    }
    let stop = |stage: &mut Stage, name: &str| stage.client().stop(name, LONG, "enough").expect("an end");
    let ended = stop(&mut stage, &members[0].name);
    assert!(ended.acknowledged && !ended.killed, "{ended:?}");
    let ends = ends(&mut stage, 40);
    assert!(ends.values().all(Result::is_ok), "{ends:?}");
}

#[test]
fn what_doesnt_come_up_is_tried_again_later_and_later() {
    let mut broken = World::new(["false"]);
    broken.stdio = strait_broker::Stdio::Null;
    let mut stage = stage(broken, |_| ());
    let pool = pool(&mut stage);
    let asked = begin(&mut stage, pool, 1);
    let begun = Instant::now();
    wait_for(&mut stage, "tried thrice", |row| row.failures >= 3);
    assert!(begun.elapsed() >= Duration::from_millis(300), "after 100 and 200 ms");
    assert_eq!(row(&mut stage).waiting, 1);
    // After the fifth, who asked is told.
    assert_eq!(ends(&mut stage, 1), HashMap::from([(asked, Err(Reason::CantStart))]));
    assert!(row(&mut stage).failures >= 5);
}

#[test]
fn a_group_is_reached_by_who_may_send_to_its_name() {
    let mut stage = stage(actor(&["worker"], &[]), |_| ());
    stage.add("asker", &["pool-user", "pool"], &["pool"]);
    let (_, answer) = stage.receive();
    assert!(answer.starts_with(b"pool/"), "{}", String::from_utf8_lossy(&answer));
    stage.add("other", &["pool-user", "pool"], &["pool/*"]);
    let (_, answer) = stage.receive();
    assert!(String::from_utf8_lossy(&answer).contains("policy"), "{}", String::from_utf8_lossy(&answer));
    // And nobody else can take the name.
    let taken = stage.host.spawn("pool", &actor(&["worker"], &[])).unwrap_err();
    assert!(taken.to_string().contains("the name of a group"), "{taken}");
}
