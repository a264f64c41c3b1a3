//! Worlds that sleep until a message wakes them: nothing is lost, doubled or overtaken, and who can't start doesn't spin.

use std::collections::HashMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strait_broker::{Config, Error, Kind, Reason, Wake, World, WorldId};
use strait_protocol::control::{Answer, Request};
use strait_tests::{LONG, Stage, actor, kill_payload};

const SENDERS: u64 = 10;
const EACH: u64 = 100;
/// So many that a version takes over in the middle of them.
const MANY: u64 = 2000;

fn sleeper(role: &[&str]) -> World {
    let mut world = actor(role, &[]);
    world.wake = Wake::Message;
    world
}

fn state(stage: &mut Stage, world: WorldId) -> String {
    stage.row(world).state
}

fn until(stage: &mut Stage, world: WorldId, wanted: &str) {
    let end = Instant::now() + LONG;
    while state(stage, world) != wanted {
        assert!(Instant::now() < end, "it is still {}", state(stage, world));
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// A file in which worlds note their starts.
struct Starts(PathBuf);

impl Starts {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strait-lives-{name}-{}", std::process::id()));
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o666)).unwrap();
        Self(path)
    }

    fn world(&self, step: &str) -> World {
        let mut world = sleeper(&["failing", step, "/starts"]);
        world.write = vec![format!("{}:/starts", self.0.display())];
        world
    }

    /// A world that is ready when that is written to.
    fn gated(&self) -> World {
        let mut world = actor(&["late", "/gate"], &[]);
        world.read.push(format!("{}:/gate", self.0.display()));
        world
    }

    fn count(&self) -> usize {
        fs::read_to_string(&self.0).unwrap().lines().count()
    }
}

impl Drop for Starts {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Ten senders, a thousand messages: each arrives once and in its sender's order, however many lives it takes.
fn a_thousand_arrive(lasts: &str) {
    let mut stage = Stage::new();
    let host = stage.client().id().0.to_string();
    let world = stage.host.define("sleeper", &sleeper(&["recorder", lasts, &host])).unwrap();
    assert_eq!((state(&mut stage, world).as_str(), stage.row(world).pid), ("asleep", 0));
    for n in 0..SENDERS {
        stage.add(&format!("sender-{n}"), &["counter", "sleeper", &EACH.to_string()], &["sleeper"]);
    }
    all_arrive(&mut stage, world);
}

fn all_arrive(stage: &mut Stage, world: WorldId) {
    let mut next: HashMap<u64, u64> = HashMap::new();
    for _ in 0..SENDERS * EACH {
        let (header, payload) = stage.receive();
        assert_eq!((header.kind, header.source), (Kind::Message, world));
        let words: Vec<u64> = payload.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        let next = next.entry(words[0]).or_default();
        assert_eq!(words[1], *next, "of sender {}", words[0]);
        *next += 1;
    }
    assert_eq!(next.len() as u64, SENDERS);
    let more = stage.client().receive(Some(Duration::from_millis(300))).unwrap();
    assert_eq!(more.map(|record| record.header()), None);
}

#[test]
fn a_thousand_messages_of_ten_senders_wake_it_and_arrive() {
    a_thousand_arrive("1000000");
}

#[test]
fn a_thousand_messages_arrive_over_many_lives() {
    a_thousand_arrive("37");
}

#[test]
fn it_sleeps_again_when_it_was_told_to_end_and_keeps_its_name() {
    let mut stage = Stage::new();
    let world = stage.host.define("sleeper", &sleeper(&["echo"])).unwrap();
    for round in 0..3u64 {
        assert_eq!(state(&mut stage, world), "asleep");
        assert_eq!(stage.ask(world, &round.to_ne_bytes()), round.to_ne_bytes());
        assert_eq!(state(&mut stage, world), "ready");
        let ended = stage.client().stop("sleeper", LONG, "enough").unwrap();
        assert_eq!((ended.code, ended.sleeps, ended.acknowledged), (Some(0), true, true));
        assert_eq!(stage.client().resolve("sleeper").unwrap(), world);
    }
    // Asked again, it is as ended as it can be.
    assert!(stage.client().stop("sleeper", LONG, "enough").unwrap().sleeps);
}

#[test]
fn a_world_that_was_spawned_sleeps_when_it_ends_too() {
    let mut stage = Stage::new();
    let world = stage.host.spawn("sleeper", &sleeper(&["recorder", "1", "16"])).unwrap();
    assert_eq!(stage.ask(world, b"1"), b"1");
    until(&mut stage, world, "asleep");
    assert_eq!(stage.ask(world, b"2"), b"2");
}

#[test]
fn who_asked_a_life_that_crashed_is_told_and_the_next_one_answers() {
    let mut stage = Stage::new();
    let world = stage.host.define("sleeper", &sleeper(&["stubborn"])).unwrap();
    assert_eq!(stage.ask(world, b"?"), b"still here");
    std::thread::sleep(Duration::from_secs(1));
    // One that it has read and won't answer: a life is told apart by its pid.
    let pid = stage.pid(world);
    kill_payload(pid);
    until(&mut stage, world, "asleep");
    assert_eq!(stage.ask(world, b"?"), b"still here");
    assert_ne!(stage.pid(world), pid);
}

fn given_back(step: &str) {
    let starts = Starts::new(step);
    let mut stage = Stage::new();
    let world = stage.host.define("sleeper", &starts.world(step)).unwrap();
    let began = Instant::now();
    let sent = stage.client().send(world, b"wake up").unwrap();
    let (notice, _) = stage.receive();
    let took = began.elapsed();
    assert_eq!((notice.kind, notice.code, notice.sequence), (Kind::Notice, Reason::CantStart as u16, sent));
    // Pauses of 100, 200, 400 and 800 ms lie between five starts.
    assert!(took >= Duration::from_millis(1500), "given back after {took:?}");
    assert_eq!(starts.count(), 5);
    let refused = stage.client().resolve("sleeper").unwrap_err();
    assert!(
        matches!(&refused, Error::Refused(why) if why.contains("can't be started") && why.contains("strait wake")),
        "{refused}"
    );
    // It doesn't start by itself, and a message that comes now waits for the end of the pause.
    assert!(stage.client().receive(Some(Duration::from_millis(500))).unwrap().is_none());
    assert_eq!((starts.count(), state(&mut stage, world).as_str()), (5, "asleep"));
    let error = stage.client().request(world, b"?", LONG).unwrap_err();
    assert!(matches!(error, Error::Undelivered { reason: Reason::CantStart, .. }), "{error}");
    assert_eq!(starts.count(), 6);
}

#[test]
fn one_that_crashes_before_it_opens_its_connection_does_not_spin() {
    given_back("at-once");
}

#[test]
fn one_that_ends_without_a_word_does_not_spin() {
    given_back("without-a-word");
}

#[test]
fn one_that_crashes_with_its_slices_in_its_hands_does_not_spin() {
    given_back("opened");
}

#[test]
fn one_that_ends_well_and_takes_nothing_does_not_spin() {
    given_back("opened-well");
}

#[test]
fn a_message_that_kills_whoever_reads_it_is_read_once() {
    let starts = Starts::new("told");
    let mut stage = Stage::new();
    let world = stage.host.define("sleeper", &starts.world("told")).unwrap();
    stage.client().request(world, b"die", LONG).unwrap_err();
    until(&mut stage, world, "asleep");
    std::thread::sleep(Duration::from_millis(500));
    assert_eq!(starts.count(), 1);
}

#[test]
fn a_program_that_does_not_exist_is_said_to_who_wakes_it() {
    let mut stage = Stage::new();
    let mut world = sleeper(&["echo"]);
    world.command = vec!["/no/such/program".into()];
    let id = stage.host.define("sleeper", &world).unwrap();
    for _ in 0..2 {
        let why = stage.client().wake("sleeper").unwrap_err().to_string();
        assert!(why.contains("/no/such/program"), "{why}");
        assert_eq!(state(&mut stage, id), "asleep");
    }
    stage.client().stop("sleeper", LONG, "").unwrap();
}

#[test]
fn waking_needs_no_message() {
    let mut stage = Stage::new();
    let id = stage.host.define("sleeper", &sleeper(&["echo"])).unwrap();
    assert_eq!(stage.client().wake("sleeper").unwrap().0, id);
    until(&mut stage, id, "ready");
    // Again is no mistake.
    assert_eq!(stage.client().wake("sleeper").unwrap().0, id);
    assert_eq!(stage.ask(id, b"?"), b"?");
}

#[test]
fn a_request_to_one_that_sleeps_keeps_its_deadline() {
    let starts = Starts::new("deadline");
    let mut stage = Stage::new();
    let world = stage.host.define("sleeper", &starts.world("at-once")).unwrap();
    let error = stage.client().request(world, b"?", Duration::from_millis(200)).unwrap_err();
    assert!(matches!(error, Error::Undelivered { reason: Reason::Deadline, .. }), "{error}");
}

#[test]
fn flooding_one_that_can_not_start_costs_its_senders_and_nobody_else() {
    let starts = Starts::new("flood");
    let mut stage = Stage::new();
    stage.host.define("sleeper", &starts.world("at-once")).unwrap();
    for n in 0..4 {
        stage.add(&format!("flood-{n}"), &["flood", "sleeper"], &["sleeper"]);
    }
    let echo = stage.add("echo", &["echo"], &[]);
    let end = Instant::now() + Duration::from_secs(3);
    let mut rounds = 0;
    while Instant::now() < end {
        assert_eq!(stage.ask(echo, b"?"), b"?");
        rounds += 1;
    }
    assert!(rounds > 100, "{rounds} round trips in three seconds");
    assert!(starts.count() <= 6, "{} starts", starts.count());
    for row in stage.client().list().unwrap() {
        assert!(row.counters.held_bytes <= 300 * 1024, "{row:?}");
    }
}

#[test]
fn an_idle_world_is_put_to_sleep_and_one_that_works_is_not() {
    let mut stage = Stage::new();
    let mut world = sleeper(&["echo"]);
    world.idle_ms = Some(300);
    let id = stage.host.define("sleeper", &world).unwrap();
    // As long as it is asked more often than that, it is the same life.
    assert_eq!(stage.ask(id, b"?"), b"?");
    let pid = stage.pid(id);
    let end = Instant::now() + Duration::from_millis(1200);
    while Instant::now() < end {
        assert_eq!(stage.ask(id, b"?"), b"?");
        std::thread::sleep(Duration::from_millis(50));
    }
    assert_eq!(stage.pid(id), pid);
    // Asleep it costs no process, and the next request wakes it.
    let ended = stage.client().wait(id, Some(LONG)).unwrap();
    assert_eq!((ended.sleeps, ended.acknowledged, ended.code), (true, true, Some(0)));
    assert_eq!(stage.row(id).pid, 0);
    assert_eq!(stage.ask(id, b"?"), b"?");
}

#[test]
fn an_idle_world_that_owes_an_answer_is_left_alone() {
    let mut stage = Stage::new();
    let mut world = sleeper(&["deaf"]);
    world.idle_ms = Some(100);
    let id = stage.host.define("sleeper", &world).unwrap();
    let error = stage.client().request(id, b"?", Duration::from_secs(1)).unwrap_err();
    assert!(matches!(error, Error::Undelivered { reason: Reason::Deadline, .. }), "{error}");
    assert_eq!(state(&mut stage, id), "ready");
}

#[test]
fn nothing_wakes_up_while_everything_ends() {
    let mut stage = Stage::new();
    stage.host.define("sleeper", &sleeper(&["echo"])).unwrap();
    stage.add("flood", &["flood", "sleeper"], &["sleeper"]);
    let world = stage.client().resolve("sleeper").unwrap();
    until(&mut stage, world, "ready");
    let ends = stage.host.stop(Duration::from_millis(500), "that's it").unwrap();
    assert_eq!(ends.len(), 2);
    assert!(ends.iter().all(|ended| !ended.sleeps), "{ends:?}");
}

#[test]
fn a_new_version_takes_over_and_no_message_is_lost_or_doubled() {
    let mut stage = Stage::new();
    let host = stage.client().id().0.to_string();
    let version = |wakes: bool| {
        let mut world = actor(&["recorder", "1000000", &host], &[]);
        world.wake = if wakes { Wake::Message } else { Wake::Never };
        world
    };
    let world = stage.host.spawn("recorder", &version(false)).unwrap();
    let mut pids = vec![stage.pid(world)];
    for n in 0..SENDERS {
        stage.add(&format!("sender-{n}"), &["counter", "recorder", &EACH.to_string()], &["recorder"]);
        if n % 3 == 0 {
            let id = stage.host.upgrade("recorder", &version(n == 3), LONG).unwrap();
            assert_eq!(id, world);
            pids.push(stage.pid(world));
        }
    }
    pids.dedup();
    assert_eq!(pids.len(), 5, "{pids:?}");
    all_arrive(&mut stage, world);
    // The last one is of those that end for good.
    let ended = stage.client().stop("recorder", LONG, "enough").unwrap();
    assert!(!ended.sleeps);
}

#[test]
fn one_that_sleeps_wakes_as_its_new_version() {
    let mut stage = Stage::new();
    let id = stage.host.define("sleeper", &sleeper(&["deaf"])).unwrap();
    assert_eq!(stage.host.upgrade("sleeper", &sleeper(&["echo"]), LONG).unwrap(), id);
    assert_eq!(stage.ask(id, b"?"), b"?");
}

#[test]
fn one_that_does_not_make_way_is_ended_and_who_can_not_start_is_said() {
    let mut stage = Stage::new();
    let id = stage.host.spawn("old", &actor(&["stubborn"], &[])).unwrap();
    let mut broken = actor(&["echo"], &[]);
    broken.command = vec!["/no/such/program".into()];
    let why = stage.host.upgrade("old", &broken, Duration::from_millis(200)).unwrap_err().to_string();
    assert!(why.contains("/no/such/program"), "{why}");
    // It is there to be given a better one, and what comes meanwhile waits.
    stage.client().send(id, b"waits").unwrap();
    assert_eq!(stage.host.upgrade("old", &actor(&["echo"], &[]), LONG).unwrap(), id);
    let (header, payload) = stage.receive();
    assert_eq!((header.source, payload), (id, b"waits".to_vec()));
}

#[test]
fn a_version_with_smaller_slices_is_refused() {
    let mut stage = Stage::new();
    let id = stage.host.spawn("old", &actor(&["echo"], &[])).unwrap();
    let mut small = actor(&["echo"], &[]);
    small.slice = 16 * 1024;
    let why = stage.host.upgrade("old", &small, LONG).unwrap_err().to_string();
    assert!(why.contains("16384") && why.contains("65536"), "{why}");
    assert_eq!(stage.ask(id, b"?"), b"?");
}

#[test]
fn a_version_beside_takes_what_comes_and_the_old_one_finishes() {
    let mut stage = Stage::new();
    let host = stage.client().id().0.to_string();
    let version = || actor(&["recorder", "1000000", &host], &[]);
    let mut ids = vec![stage.host.spawn("recorder", &version()).unwrap()];
    for n in 0..SENDERS {
        stage.add(&format!("sender-{n}"), &["counter", "recorder", &MANY.to_string()], &["recorder"]);
        if n % 4 == 0 {
            ids.push(stage.host.upgrade_beside("recorder", &version(), LONG).unwrap());
        }
    }
    // Which version took it is in the source: of each sender the older ones have the earlier messages, in order.
    let mut by_version: HashMap<(u64, WorldId), Vec<u64>> = HashMap::new();
    for _ in 0..SENDERS * MANY {
        let (header, payload) = stage.receive();
        assert!(header.kind == Kind::Message && ids.contains(&header.source), "{header:?}");
        let words: Vec<u64> = payload.chunks(8).map(|word| u64::from_ne_bytes(word.try_into().unwrap())).collect();
        by_version.entry((words[0], header.source)).or_default().push(words[1]);
    }
    let mut taken: HashMap<u64, Vec<u64>> = HashMap::new();
    for id in &ids {
        for (_, numbers) in by_version.iter().filter(|((_, version), _)| version == id).map(|((s, _), n)| (*s, n)) {
            assert!(numbers.is_sorted(), "{numbers:?}");
        }
        by_version.iter().filter(|((_, version), _)| version == id).for_each(|((sender, _), numbers)| {
            taken.entry(*sender).or_default().extend(numbers);
        });
    }
    assert!(taken.len() as u64 == SENDERS && taken.values().all(|numbers| numbers.iter().copied().eq(0..MANY)));
    // The old ones are gone, and what is sent to their ids arrives.
    assert_eq!(stage.ask(ids[0], b"?"), b"?");
    let end = Instant::now() + LONG;
    loop {
        let rows = stage.client().list().unwrap();
        let living: Vec<u64> = rows.iter().filter(|row| row.name == "recorder").map(|row| row.id).collect();
        if living == [ids[3].0] {
            break;
        }
        assert!(Instant::now() < end, "{living:?}");
        std::thread::sleep(Duration::from_millis(10));
    }
    assert_eq!(stage.client().resolve("recorder").unwrap(), ids[3]);
}

#[test]
fn a_version_beside_that_never_is_ready_changes_nothing() {
    let mut stage = Stage::new();
    let old = stage.add("old", &["echo"], &[]);
    let mut broken = actor(&["echo"], &[]);
    broken.command = vec!["/no/such/program".into()];
    let why = stage.host.upgrade_beside("old", &broken, LONG).unwrap_err().to_string();
    assert!(why.contains("/no/such/program"), "{why}");
    broken.command = vec!["sleep".into(), "1000".into()];
    let why = stage.host.upgrade_beside("old", &broken, LONG).unwrap_err().to_string();
    assert!(why.contains("wasn't ready in time"), "{why}");
    assert_eq!(stage.ask(old, b"?"), b"?");
    assert_eq!(stage.client().resolve("old").unwrap(), old);
    assert_eq!(stage.client().list().unwrap().iter().filter(|row| row.name == "old").count(), 1);
}

/// One that would sleep when its life is over, too: nobody would know it, by no name.
#[test]
fn a_version_beside_that_ends_before_it_takes_over_is_gone() {
    let mut stage = Stage::new();
    let old = stage.host.define("old", &sleeper(&["echo"])).unwrap();
    assert_eq!(stage.ask(old, b"?"), b"?");
    let mut next = sleeper(&["echo"]);
    for command in [&["true"][..], &["sleep", "1000"]] {
        next.command = command.iter().copied().map(String::from).collect();
        stage.host.upgrade_beside("old", &next, LONG).unwrap_err();
        assert_eq!(versions(&mut stage, "old"), [old], "{command:?}");
    }
    assert_eq!(stage.ask(old, b"?"), b"?");
}

/// Has a new version of a world come up beside it, which isn't ready yet: the number of that request.
fn begin_beside(stage: &mut Stage, name: &str, gate: &Starts) -> u64 {
    let request = Request::Upgrade {
        name: name.into(),
        template: None,
        specification: gate.gated().specification(name),
        beside: true,
        deadline_ms: 5000,
        reason: "next".into(),
    };
    let asked = stage.client().start_request(WorldId::CONTROL, &request.encode(), LONG).unwrap();
    let end = Instant::now() + LONG;
    while versions(stage, name).len() < 2 {
        assert!(Instant::now() < end, "it doesn't come up");
    }
    asked
}

/// The ids of the worlds of this name, the oldest first.
fn versions(stage: &mut Stage, name: &str) -> Vec<WorldId> {
    let rows = stage.client().list().unwrap();
    rows.iter().filter(|row| row.name == name).map(|row| WorldId(row.id)).collect()
}

/// Waits until a version has taken over and is the only one: what is sent to either id it answers.
fn ends_alone(stage: &mut Stage, name: &str, gate: &Starts, asked: u64, old: WorldId) {
    fs::write(&gate.0, "open").unwrap();
    let (header, answer) = stage.receive();
    assert_eq!(header.correlation, asked);
    let Answer::World { id, .. } = Answer::decode(&answer).unwrap() else { panic!("{:?}", Answer::decode(&answer)) };
    let end = Instant::now() + LONG;
    while versions(stage, name) != [WorldId(id)] {
        assert!(Instant::now() < end, "{:?} beside {id}", versions(stage, name));
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stage.client().resolve(name).unwrap(), WorldId(id));
    assert_eq!(stage.ask(old, b"?"), b"?");
}

#[test]
fn no_life_of_the_old_one_begins_while_another_version_comes_up() {
    let (gate, mut stage) = (Starts::new("anew"), Stage::new());
    let old = stage.add("world", &["echo"], &[]);
    let asked = begin_beside(&mut stage, "world", &gate);
    let (again, next) = (Duration::from_secs(5), actor(&["echo"], &[]));
    let refusals = [
        stage.client().restart("world", again, "again").map(drop).unwrap_err(),
        stage.client().remove("world", again, "away").map(drop).unwrap_err(),
        stage.client().upgrade("world", None, &next.specification("world"), again, "next").map(drop).unwrap_err(),
    ];
    for refused in refusals {
        assert!(matches!(&refused, Error::Refused(why) if why.contains("being replaced")), "{refused}");
    }
    ends_alone(&mut stage, "world", &gate, asked, old);
    stage.client().restart("world", again, "now").unwrap();
}

#[test]
fn an_old_version_that_sleeps_when_another_takes_over_is_gone() {
    let (gate, mut stage) = (Starts::new("asleep"), Stage::new());
    let old = stage.host.define("world", &sleeper(&["echo"])).unwrap();
    assert_eq!(stage.ask(old, b"?"), b"?");
    let asked = begin_beside(&mut stage, "world", &gate);
    assert!(stage.client().stop("world", LONG, "sleep").unwrap().sleeps);
    ends_alone(&mut stage, "world", &gate, asked, old);
}

/// It sleeps, and what has come for it can't wake it for a while.
#[test]
fn what_waits_for_a_sleeper_that_is_removed_goes_back() {
    let starts = Starts::new("removed");
    let mut stage = Stage::new();
    let world = stage.host.define("sleeper", &starts.world("at-once")).unwrap();
    let sent = stage.client().send(world, b"waits").unwrap();
    let end = Instant::now() + LONG;
    while starts.count() < 3 || state(&mut stage, world) != "asleep" {
        assert!(Instant::now() < end);
    }
    let ended = stage.client().remove("sleeper", LONG, "not needed").unwrap();
    assert_eq!((&*ended.note, ended.sleeps), ("slept, and was removed", false));
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.code, notice.sequence), (Kind::Notice, Reason::CantStart as u16, sent));
}

/// The new version may kill another world, the old one may not, and asks for it with its last word.
#[test]
fn what_the_old_version_still_asks_is_judged_by_its_own_policy() {
    let mut stage = Stage::new();
    let victim = stage.add("victim", &["echo"], &[]);
    let mut allowed = actor(&["parting", "victim"], &[]);
    allowed.may = vec!["kill victim".into()];
    stage.add("world", &["parting", "victim"], &[]);
    stage.client().resolve("world").unwrap();
    stage.host.upgrade("world", &allowed, LONG).unwrap();
    assert_eq!(stage.ask(victim, b"?"), b"?");
    // The same last word of the version that may.
    stage.client().stop("world", LONG, "").unwrap();
    assert!(stage.client().wait(victim, Some(LONG)).is_ok());
}

#[test]
fn who_may_only_send_does_not_have_one_that_fails_started_without_a_pause() {
    let mut stage = Stage::new();
    let starts = Starts::new("woken");
    stage.host.define("failing", &starts.world("at-once")).unwrap();
    stage.add("waker", &["waker", "failing"], &["failing"]);
    let end = Instant::now() + LONG;
    while starts.count() == 0 {
        assert!(Instant::now() < end, "it is woken");
        std::thread::sleep(Duration::from_millis(5));
    }
    // After 100, 200, 400 and 800 ms, and then those who may only send are told that it can't be started.
    std::thread::sleep(Duration::from_secs(2));
    assert!(starts.count() <= 6, "{} starts", starts.count());
    // Who may everything tries anew at once, as often as it likes.
    let (before, end) = (starts.count(), Instant::now() + LONG);
    while starts.count() < before + 6 {
        assert!(Instant::now() < end, "{before} and then {}", starts.count());
        let _ = stage.client().wake("failing");
    }
    stage.client().kill("waker", "").unwrap();
}

/// A start that fails in a jail which had waited leaves its uid to the next jails that wait, and so to other worlds; and a connection that nobody is
/// at the other end of.
#[test]
fn starts_that_failed_leave_nobody_without_a_uid_of_its_own_or_without_a_connection() {
    let mut stage = Stage::new();
    let mut broken = sleeper(&["echo"]);
    broken.dir = "/no/such".into();
    let broken = stage.host.define("broken", &broken).unwrap();
    // More often than there are uids for jails that wait, or connections that nobody has been seen to have made.
    for _ in 0..120 {
        let _ = stage.client().wake("broken");
        until(&mut stage, broken, "asleep");
        std::thread::sleep(Duration::from_millis(10));
    }
    for n in 0..8 {
        let echo = stage.add(&format!("echo-{n}"), &["echo"], &[]);
        assert_eq!(stage.ask(echo, b"?"), b"?");
        std::thread::sleep(Duration::from_millis(20));
    }
    let rows = stage.client().list().unwrap();
    let mut uids: Vec<u32> = rows.iter().filter(|row| row.name.starts_with("echo-")).map(|row| row.uid).collect();
    assert_eq!(uids.len(), 8);
    uids.sort_unstable();
    uids.dedup();
    // Without root all have the broker's.
    let wanted = if rustix::process::geteuid().is_root() { 8 } else { 1 };
    assert_eq!(uids.len(), wanted, "{rows:#?}");
}

/// What somebody has started counts as long as it is there, asleep too, and what that has started in turn.
#[test]
fn an_asker_starts_so_many_and_what_sleeps_can_be_removed() {
    let mut kin = sleeper(&["obedient"]);
    kin.may = vec!["start kin".into()];
    let mut asker = actor(&["obedient"], &[]);
    asker.may = kin.may.clone();
    let config = Config { starts: 3, templates: [("kin".into(), kin)].into(), ..Config::default() };
    let mut stage = Stage::with(&config);
    let asker = stage.host.spawn("asker", &asker).unwrap();
    let start = |stage: &mut Stage, of: WorldId| String::from_utf8(stage.ask(of, b"start kin")).unwrap();
    let id = |text: String| WorldId(text.parse().expect("an id"));
    let first = id(start(&mut stage, asker));
    let second = id(start(&mut stage, first));
    start(&mut stage, second).parse::<u64>().unwrap();
    for one in [asker, first, second] {
        let why = start(&mut stage, one);
        assert!(why.starts_with("3 worlds are there that you started, or they in turn, and 3 is the most"), "{why}");
    }
    let name = stage.row(second).name;
    assert!(stage.client().stop(&name, LONG, "sleep").unwrap().sleeps);
    assert!(start(&mut stage, asker).contains("strait rm"));
    let why = stage.client().kill(&name, "").unwrap_err().to_string();
    assert!(why.contains("`strait rm"), "{why}");
    let ended = stage.client().remove(&name, LONG, "not needed").unwrap();
    assert!(!ended.sleeps && ended.note.contains("removed"), "{ended:?}");
    let gone = stage.client().request(second, b"?", LONG).unwrap_err();
    assert!(matches!(gone, Error::Undelivered { reason: Reason::NoSuchWorld, .. }), "{gone}");
    // Three came at once: the next one may 20 ms after the first.
    std::thread::sleep(Duration::from_millis(20));
    let again = id(start(&mut stage, asker));
    // One that runs ends first, and doesn't sleep.
    let name = stage.row(again).name;
    let ended = stage.client().remove(&name, LONG, "not needed").unwrap();
    assert!(ended.code == Some(0) && !ended.sleeps, "{ended:?}");
    assert!(stage.client().resolve(&name).is_err());
    // Who may everything is bound by nothing but the whole.
    for _ in 0..4 {
        stage.client().start("kin", None).unwrap();
    }
}

/// What ends at once makes room for the next: without a pause the launcher would do nothing else.
#[test]
fn who_starts_without_end_has_to_wait() {
    const AT_ONCE: u64 = 16;
    let mut storm = actor(&["storm", "moment", "2"], &[]);
    storm.may = vec!["start moment".into()];
    let templates = [("moment".into(), World::new(["true"]))].into();
    let mut stage = Stage::with(&Config { starts: AT_ONCE as usize, templates, ..Config::default() });
    let began = Instant::now();
    let storm = stage.host.spawn("storm", &storm).unwrap();
    let (mut started, mut refused) = (0, 0);
    // For two seconds, and until more have come than may come at once, however long that takes, and one had to wait.
    while began.elapsed() < Duration::from_secs(2) || started < 3 * AT_ONCE || refused == 0 {
        assert!(began.elapsed() < 2 * LONG, "{started} starts and {refused} refusals");
        std::thread::sleep(Duration::from_millis(100));
        [started, refused] = serde_json::from_slice(&stage.ask(storm, b"")).unwrap();
        // Without a bound, some hundreds a second.
        let most = AT_ONCE + began.elapsed().as_millis() as u64 / 20;
        assert!(started <= most, "{started} starts, and {most} are the most");
    }
    stage.host.spawn("other", &World::new(["true"])).unwrap();
}

/// A life that ends well can be followed by the next one at once, which nobody has to ask to start.
#[test]
fn lives_of_what_somebody_started_come_no_faster_than_starts() {
    const AT_ONCE: usize = 8;
    const AGAIN: u64 = 5;
    let mut asker = actor(&["obedient"], &[]);
    asker.may = vec!["start kin".into()];
    let templates = [("kin".into(), sleeper(&["echo"]))].into();
    let mut stage = Stage::with(&Config { starts: AT_ONCE, templates, ..Config::default() });
    let asker = stage.host.spawn("asker", &asker).unwrap();
    let began = Instant::now();
    let mut start = || String::from_utf8(stage.ask(asker, b"start kin")).unwrap().parse().map(WorldId).expect("an id");
    let kin = [(); AT_ONCE].map(|()| start());
    for _ in 0..AGAIN {
        for id in &kin {
            let name = stage.row(*id).name;
            assert!(stage.client().stop(&name, LONG, "sleep").unwrap().sleeps);
        }
        for id in &kin {
            stage.client().start_request(*id, b"?", LONG).unwrap();
        }
        for _ in &kin {
            assert_eq!(stage.receive().0.kind, Kind::Reply);
        }
    }
    // So many at once, and then one in 20 ms.
    let least = Duration::from_millis(20 * AGAIN * AT_ONCE as u64);
    assert!(began.elapsed() >= least, "{:?}, and {least:?} is the least", began.elapsed());
}

/// More worlds wake at once than the launcher takes orders: the others wait, and none of that counts as a start that failed.
#[test]
fn so_many_wake_at_once_that_some_have_to_wait() {
    const MANY: usize = 80;
    let mut stage = Stage::new();
    let ids: Vec<WorldId> =
        (0..MANY).map(|n| stage.host.define(&format!("echo-{n}"), &sleeper(&["echo"])).unwrap()).collect();
    let from = stage.client().log(0).unwrap().last().map_or(0, |line| line.number + 1);
    for id in &ids {
        stage.client().start_request(*id, b"?", LONG).unwrap();
    }
    for _ in &ids {
        assert_eq!(stage.receive().0.kind, Kind::Reply);
    }
    let mut next = from;
    loop {
        let lines = stage.client().log(next).unwrap();
        let Some(last) = lines.last() else { break };
        next = last.number + 1;
        assert!(!lines.iter().any(|line| line.text.contains("fail")), "{lines:?}");
    }
}
