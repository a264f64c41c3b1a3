//! States that worlds save: durable, their own, bounded, and found again.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};
use strait_broker::{Config, Ended, Error, Wake, World, WorldId};
use strait_protocol::control::{Saved, SnapshotRow};
use strait_tests::{LONG, Stage, actor, program};

/// A state directory of one test, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strait-states-{test}-{}", std::process::id()));
        fs::create_dir(&path).expect("a directory");
        Self(path)
    }

    fn stage(&self) -> Stage {
        Stage::with(&self.config())
    }

    fn config(&self) -> Config {
        Config { state: Some(self.0.clone()), ..Config::default() }
    }

    fn file(&self, directory: &str, version: u64) -> PathBuf {
        self.0.join(format!("snapshots/{directory}/{version:020}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn saver() -> World {
    World { snapshots: 3, ..actor(&["saver"], &[]) }
}

fn ask(stage: &mut Stage, world: WorldId, question: &str) -> String {
    String::from_utf8(stage.ask(world, question.as_bytes())).expect("text")
}

fn snapshots(stage: &mut Stage, name: &str) -> Vec<SnapshotRow> {
    stage.client().snapshots(name).expect("a list")
}

fn snapshot(stage: &mut Stage, name: &str, deadline_ms: u64) -> Result<Saved, Error> {
    stage.client().snapshot(name, Duration::from_millis(deadline_ms), "test")
}

#[test]
fn a_state_of_any_length_comes_back_in_the_next_life() {
    let place = Place::new("lives");
    {
        let mut stage = place.stage();
        let world = stage.host.spawn("a/b", &saver()).unwrap();
        assert_eq!(ask(&mut stage, world, "load"), "none");
        for (version, prepare, save) in [
            (1, "set hello", "save"),
            (2, "set ", "save"),
            (3, "fill 12160", "save"),
            (4, "fill 3000000", "save"),
            (5, "fill 3000001", "parcel"),
        ] {
            ask(&mut stage, world, prepare);
            assert_eq!(ask(&mut stage, world, save), version.to_string(), "{prepare}");
            assert!(ask(&mut stage, world, "load").starts_with(&format!("{version} same")), "{prepare}");
        }
        ask(&mut stage, world, "set last words");
        let ended = stage.client().stop("a/b", LONG, "enough").unwrap();
        let saved = ended.saved.expect("it saved");
        assert!(ended.acknowledged && !ended.killed && (saved.version, saved.bytes) == (6, 10), "{ended:?}");
    }
    let mut stage = place.stage();
    let rows = snapshots(&mut stage, "a/b");
    assert_eq!(
        rows.iter().map(|row| (row.version, row.bytes)).collect::<Vec<_>>(),
        [(4, 3_000_000), (5, 3_000_001), (6, 10)]
    );
    assert!(rows.iter().all(|row| row.damage.is_empty() && row.saved_ms > 1_600_000_000_000), "{rows:?}");
    let world = stage.host.spawn("a/b", &saver()).unwrap();
    assert_eq!(ask(&mut stage, world, "load"), "6 same last words");
}

#[test]
fn a_damaged_state_is_told_of_and_the_one_before_used() {
    let place = Place::new("damaged");
    let mut stage = place.stage();
    let world = stage.host.spawn("saver", &saver()).unwrap();
    for words in ["set older", "save", "set newer", "save"] {
        ask(&mut stage, world, words);
    }
    let mut bytes = fs::read(place.file("saver", 2)).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::write(place.file("saver", 2), bytes).unwrap();
    assert_eq!(ask(&mut stage, world, "load"), "1 other damaged 2 older");
    let damage: Vec<_> = snapshots(&mut stage, "saver").into_iter().map(|row| row.damage).collect();
    assert_eq!(damage, ["", "its checksum is wrong"]);
    fs::write(place.file("saver", 1), b"").unwrap();
    let told = ask(&mut stage, world, "load");
    assert_eq!(told, "no state of `saver` is whole; the newest is version 2: its checksum is wrong");
    assert_eq!(ask(&mut stage, world, "save"), "3");
    assert_eq!(ask(&mut stage, world, "load"), "3 same newer");
}

#[test]
fn nobody_reaches_the_state_of_another() {
    let place = Place::new("thief");
    let mut stage = place.stage();
    let victim = stage.host.spawn("victim", &saver()).unwrap();
    ask(&mut stage, victim, "set secret");
    assert_eq!(ask(&mut stage, victim, "save"), "1");
    let thief = stage.host.spawn("thief", &saver()).unwrap();
    assert_eq!(ask(&mut stage, thief, "load"), "none");
    assert!(ask(&mut stage, thief, "raw list").starts_with("1 "), "not for worlds");
    assert_eq!(ask(&mut stage, thief, "raw keeping"), "that is for `strait.store` alone");
    // Its own it has, which shows that the attempts were good ones.
    ask(&mut stage, thief, "set own");
    assert_eq!(ask(&mut stage, thief, "save"), "1");
    assert_eq!(ask(&mut stage, thief, "load"), "1 same own");
    assert_eq!(ask(&mut stage, victim, "load"), "1 same secret");
}

#[test]
fn what_makes_no_sense_is_refused_and_harms_nobody() {
    let place = Place::new("senseless");
    let mut stage = place.stage();
    let world = stage.host.spawn("rogue", &saver()).unwrap();
    for (what, answer) in [
        ("unoffered", "1 a state is offered before it is saved"),
        ("unloaded", "1 a state is loaded before it is read"),
        ("unknown", "1 the store doesn't understand this request"),
        ("malformed", "1 the store doesn't understand this request"),
        ("more", "1 the state has 11 bytes or more, and 10 are kept"),
    ] {
        let heard = ask(&mut stage, world, &format!("raw {what}"));
        assert!(heard.starts_with(answer), "{what}: {heard}");
    }
    ask(&mut stage, world, "set fine");
    assert_eq!(ask(&mut stage, world, "save"), "1", "and after all that it can save");
    assert_eq!(ask(&mut stage, world, "raw beyond"), "0 ", "there is nothing behind the end");
}

#[test]
fn nothing_is_kept_of_whom_policy_doesnt_name_and_no_more_than_it_says() {
    let place = Place::new("policy");
    let mut stage = place.stage();
    let none = stage.host.spawn("none", &actor(&["saver"], &[])).unwrap();
    assert!(ask(&mut stage, none, "save").contains("needs `snapshots = 1` or more"));
    assert!(!place.0.join("snapshots").exists(), "nor is there a store, as long as nobody needs one");
    let small = World { snapshot_bytes: 100_000, ..saver() };
    let small = stage.host.spawn("small", &small).unwrap();
    ask(&mut stage, small, "fill 100000");
    assert_eq!(ask(&mut stage, small, "save"), "1");
    ask(&mut stage, small, "fill 100001");
    let refused = "the state has 100001 bytes or more, and 100000 are kept of `small`: raise `snapshot_bytes` in its configuration";
    assert_eq!(ask(&mut stage, small, "save"), refused);
    assert_eq!(ask(&mut stage, small, "parcel"), refused);
    assert!(ask(&mut stage, small, "load").starts_with("1 other"));
}

#[test]
fn a_world_is_told_to_save_and_goes_on() {
    let place = Place::new("told");
    let mut stage = place.stage();
    let world = stage.host.spawn("saver", &saver()).unwrap();
    ask(&mut stage, world, "fill 5000");
    let saved = snapshot(&mut stage, "saver", 60_000).unwrap();
    assert_eq!((saved.version, saved.bytes), (1, 5000));
    assert_eq!(ask(&mut stage, world, "load").split(' ').take(2).collect::<Vec<_>>(), ["1", "same"]);
    let why = |answer| match answer {
        Err(Error::Refused(why)) => why,
        other => panic!("{other:?}"),
    };
    let lazy = stage.host.spawn("lazy", &World { snapshots: 1, ..actor(&["saver", "lazy"], &[]) }).unwrap();
    ask(&mut stage, lazy, "set x");
    assert_eq!(why(snapshot(&mut stage, "lazy", 60_000)), "it answered, and saved nothing");
    let deaf = stage.host.spawn("deaf", &World { snapshots: 1, ..actor(&["deaf"], &[]) }).unwrap();
    while stage.row(deaf).state != "ready" {}
    assert_eq!(why(snapshot(&mut stage, "deaf", 200)), "it didn't save its state in time");
    stage.add("none", &["echo"], &[]);
    assert!(why(snapshot(&mut stage, "none", 200)).contains("`snapshots = 1`"));
    assert_eq!(why(snapshot(&mut stage, "nobody", 200)), "there is no world named `nobody`");
}

#[test]
fn a_world_that_sleeps_wakes_with_its_state() {
    let place = Place::new("sleeps");
    let mut stage = place.stage();
    let world = World { wake: Wake::Message, idle_ms: Some(100), ..saver() };
    let id = stage.host.define("sleeper", &world).unwrap();
    ask(&mut stage, id, "set dream");
    for version in 1..=3 {
        let end = Instant::now() + LONG;
        while stage.row(id).state != "asleep" {
            assert!(Instant::now() < end, "it doesn't go to sleep: {}", stage.row(id).state);
            std::thread::sleep(Duration::from_millis(20));
        }
        assert_eq!(ask(&mut stage, id, "load"), format!("{version} same dream"), "it saved when it went to sleep");
    }
}

#[test]
fn who_asks_without_end_keeps_nobody_from_saving() {
    let place = Place::new("hoard");
    let mut stage = place.stage();
    for name in ["hoarder-1", "hoarder-2"] {
        stage.host.spawn(name, &World { snapshots: 2, ..actor(&["hoarder"], &[]) }).unwrap();
    }
    for _ in 0..2 {
        assert_eq!(stage.receive().1, b"begun");
    }
    let honest = stage.host.spawn("honest", &saver()).unwrap();
    ask(&mut stage, honest, "fill 100000");
    let began = Instant::now();
    for version in 1..=10 {
        assert_eq!(ask(&mut stage, honest, "save"), version.to_string());
    }
    println!("10 states saved beside two hoarders: {:?}", began.elapsed());
    assert!(ask(&mut stage, honest, "load").starts_with("10 same"));
    for name in ["hoarder-1", "hoarder-2"] {
        let kept = fs::read_dir(place.0.join("snapshots").join(name)).unwrap().count();
        assert!(kept <= 4, "{kept} files of {name}: two versions, the next, and one that is on its way");
    }
}

#[test]
fn a_store_that_is_killed_comes_again() {
    let place = Place::new("killed");
    let mut stage = place.stage();
    let world = stage.host.spawn("saver", &saver()).unwrap();
    ask(&mut stage, world, "set before");
    assert_eq!(ask(&mut stage, world, "save"), "1");
    let store = stage.row(WorldId::STORE);
    assert_eq!((store.name.as_str(), store.state.as_str()), ("strait.store", "service"));
    assert_ne!(store.uid, 0);
    let pid = rustix::process::Pid::from_raw(store.pid).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    let end = Instant::now() + LONG;
    while ask(&mut stage, world, "save") != "2" {
        assert!(Instant::now() < end, "it doesn't come again");
        std::thread::sleep(Duration::from_millis(100));
    }
    assert_eq!(ask(&mut stage, world, "load"), "2 same before");
}

#[test]
fn a_directory_of_somebody_else_is_not_used() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give a directory to somebody else");
        return;
    }
    let place = Place::new("owner");
    let part = place.0.join("snapshots");
    let directories = [part.clone(), part.join("saver"), place.file("saver", 1)];
    let give = |uid: u32| {
        for path in directories.iter().filter(|path| path.exists()) {
            std::os::unix::fs::chown(path, Some(uid), Some(uid)).unwrap();
        }
    };
    let save_once = |expected: &str| {
        let mut stage = place.stage();
        let world = stage.host.spawn("saver", &saver()).unwrap();
        let said = ask(&mut stage, world, "save");
        assert!(said.ends_with(expected), "{said}");
    };
    save_once("1");
    give(60_000);
    save_once("it belongs to uid 60000: make it and all in it yours with `chown -R`");
    // Given back to root, it is taken over with all that is in it.
    give(0);
    save_once("2");
    fs::set_permissions(&part, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    save_once("its mode is 755: make it 700, so that nobody else gets at it");
}

#[test]
fn a_directory_is_of_one_broker() {
    let place = Place::new("shared");
    let mut first = place.stage();
    let world = first.host.spawn("saver", &saver()).unwrap();
    assert_eq!(ask(&mut first, world, "save"), "1");
    let mut second = place.stage();
    let other = second.host.spawn("saver", &saver()).unwrap();
    let refused = ask(&mut second, other, "save");
    assert!(refused.ends_with("another broker keeps its states here: give one of them another `state`"), "{refused}");
    drop(first);
    let mut third = place.stage();
    let world = third.host.spawn("saver", &saver()).unwrap();
    assert_eq!(ask(&mut third, world, "save"), "2", "a broker that has ended keeps nothing");
}

/// Of a hundred worlds a quarter saves, a quarter only acknowledges, a quarter ignores what it is told, and the rest knows nothing of strait.
#[test]
fn a_hundred_worlds_are_gone_by_the_deadline() {
    const DEADLINE: Duration = Duration::from_secs(6);
    let place = Place::new("hundred");
    let mut stage = place.stage();
    let kinds = [
        saver(),
        actor(&["echo"], &[]),
        actor(&["stubborn"], &[]),
        World::new(["sh", "-c", "trap '' TERM; while :; do sleep 1; done"]),
    ];
    let mut ids = Vec::new();
    for n in 0..100 {
        ids.push(stage.host.spawn(&format!("world-{n}"), &kinds[n % 4]).unwrap());
    }
    for (n, id) in ids.iter().enumerate().filter(|(n, _)| n % 4 < 3) {
        let question = format!("set state {n}");
        stage.client().request(*id, question.as_bytes(), LONG).unwrap();
    }
    let began = Instant::now();
    let ends = stage.host.stop(DEADLINE, "enough").unwrap();
    let took = began.elapsed();
    let sum = |what: fn(&Ended) -> bool| ends.iter().filter(|ended| what(ended)).count();
    let (saved, acknowledged) = (sum(|ended| ended.saved.is_some()), sum(|ended| ended.acknowledged));
    println!(
        "100 worlds gone after {took:?}: {acknowledged} acknowledged, {saved} saved, {} killed",
        sum(|e| e.killed)
    );
    assert_eq!((ends.len(), saved, acknowledged, sum(|ended| ended.killed)), (100, 25, 50, 50));
    // What the kernel needs to end fifty of them at once comes on top of it.
    assert!(took < DEADLINE + Duration::from_secs(4), "{took:?}");
    let mut next = place.stage();
    for n in (0..100).step_by(4) {
        let world = next.host.spawn(&format!("world-{n}"), &saver()).unwrap();
        assert_eq!(ask(&mut next, world, "load"), format!("1 same state {n}"));
    }
}

/// At random moments of a world that saves one state after the other everything is killed. Whatever was acknowledged is there afterwards, whole.
/// `STRAIT_KILLS` says how often.
#[test]
fn what_was_acknowledged_survives_the_death_of_the_supervisor() {
    let kills: u64 = std::env::var("STRAIT_KILLS").ok().and_then(|text| text.parse().ok()).unwrap_or(10);
    let place = Place::new("kills");
    let log = place.0.join("acknowledged");
    fs::create_dir(&log).unwrap();
    fs::set_permissions(&log, std::os::unix::fs::PermissionsExt::from_mode(0o777)).unwrap();
    let log_file = log.join("log");
    fs::write(&log_file, b"").unwrap();
    fs::set_permissions(&log_file, std::os::unix::fs::PermissionsExt::from_mode(0o666)).unwrap();
    let mut world = World { snapshots: 2, ..actor(&["recorder"], &[]) };
    world.write = vec![format!("{}:/acknowledged", log.display())];
    let (mut acknowledged, mut damaged) = (0, 0);
    for round in 0..kills {
        let mut stage = place.stage();
        stage.host.spawn("recorder", &world).unwrap();
        let lines = || fs::read_to_string(&log_file).unwrap().lines().count();
        let before = lines();
        let end = Instant::now() + LONG;
        while lines() == before {
            assert!(Instant::now() < end, "nothing is saved");
            std::thread::sleep(Duration::from_millis(1));
        }
        // Spread over the time that a few states take.
        std::thread::sleep(Duration::from_micros((round * 7919) % 20_000));
        let pid = rustix::process::Pid::from_raw(stage.host.supervisor_pid().cast_signed()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
        drop(stage);
        let mut next = place.stage();
        let reader = next.host.spawn("recorder", &World { snapshots: 2, ..actor(&["recorded"], &[]) }).unwrap();
        let said = ask(&mut next, reader, "?");
        let text = fs::read_to_string(&log_file).unwrap();
        let last: Vec<u64> = text.lines().last().unwrap().split(' ').map(|word| word.parse().unwrap()).collect();
        let found: Vec<u64> = said.split(' ').map(|word| word.parse().expect(&said)).collect();
        // The one after the last that was written down may have been saved too.
        let [version, nth, newest_damaged] = found[..] else { panic!("{said}") };
        assert!(
            version == last[0] && nth == last[1] || version == last[0] + 1 && nth == last[1] + 1,
            "{said} after {last:?}"
        );
        damaged += u64::from(newest_damaged != 0);
        acknowledged = text.lines().count();
    }
    println!("{kills} kills, {acknowledged} states acknowledged, each there; {damaged} files damaged");
    assert_eq!(damaged, 0, "no file with a version's name is ever half written");
}

/// In a mount namespace with a file system of 1 MiB for the states.
#[test]
fn a_full_disk_is_told_of_and_harms_no_older_state() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can mount a small file system for this");
        return;
    }
    let place = Place::new("full");
    let script = "mount -t tmpfs -o size=1m,mode=0700 small \"$0\" && exec \"$1\" small-disk \"$0\"";
    let output = std::process::Command::new("unshare")
        .args(["--mount", "--propagation", "private", "sh", "-c", script])
        .args([place.0.as_os_str(), program().as_os_str()])
        .output()
        .unwrap();
    let (said, errors) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{said}{errors}");
    let said: Vec<&str> = said.lines().collect();
    let full = "the state can't be written: No space left on device (os error 28); those that were saved before are still there";
    assert_eq!(said, ["1", full, full, "1 same", "2"], "{errors}");
}

/// Two versions of one world side by side: the states are those of the one that has the name.
#[test]
fn an_old_version_saves_nothing_once_the_new_one_is_in_force() {
    let place = Place::new("versions");
    let mut stage = place.stage();
    let old = stage.host.spawn("saver", &saver()).unwrap();
    for words in ["set old", "save"] {
        ask(&mut stage, old, words);
    }
    // The old one tries when it is told to make way.
    let new = stage.host.upgrade_beside("saver", &saver(), LONG).unwrap();
    assert!(stage.client().wait(old, Some(LONG)).unwrap().acknowledged);
    assert_eq!(ask(&mut stage, new, "load"), "1 same old", "it has loaded that when it started");
    ask(&mut stage, new, "set new");
    assert_eq!(ask(&mut stage, new, "save"), "2");
    assert_eq!(snapshots(&mut stage, "saver").len(), 2);
    // The same without another version: what is saved at the end is kept.
    stage.client().stop("saver", LONG, "enough").unwrap();
    assert_eq!(snapshots(&mut stage, "saver").len(), 3);
    assert_eq!(stage.client().clear_states("saver").unwrap(), 3);
    assert!(snapshots(&mut stage, "saver").is_empty());
}
