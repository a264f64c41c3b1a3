//! Paths of the host that worlds are granted: when they are there, that they end with their grant, and that nobody gets at more by them.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use strait_broker::{Error, Granted, Wake, World, WorldId};
use strait_protocol::control::{Answer, Request};
use strait_tests::{LONG, Stage, actor};

/// A directory that goes with the value, for everybody to enter.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strait-paths-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("inner")).unwrap();
        fs::write(path.join("inner/file"), "old").unwrap();
        for (path, mode) in [(path.clone(), 0o755), (path.join("inner"), 0o755), (path.join("inner/file"), 0o644)] {
            fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
        }
        // `/tmp` is a place of a jail's own.
        Self(path)
    }

    /// As a grant inside has it: at `/given`.
    fn given(&self) -> String {
        format!("{}:/given", self.0.display())
    }

    fn inner(&self) -> String {
        format!("{}/inner:/given/inner", self.0.display())
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn asker(wake: Wake, ask: &[String]) -> World {
    let mut world = actor(&["obedient"], &[]);
    (world.wake, world.ask) = (wake, ask.to_vec());
    world
}

fn tell(stage: &mut Stage, world: WorldId, order: &str) -> String {
    String::from_utf8(stage.ask(world, order.as_bytes())).unwrap()
}

/// Has a world ask for something and grants it.
fn grant(stage: &mut Stage, world: WorldId, resource: &str, time: Option<Duration>) -> Granted {
    let asked = stage.client().start_request(world, format!("ask {resource}").as_bytes(), LONG).unwrap();
    let end = Instant::now() + LONG;
    let number = loop {
        if let [only] = &stage.client().requests().unwrap()[..] {
            break only.number;
        }
        assert!(Instant::now() < end, "it doesn't ask");
        std::thread::sleep(Duration::from_millis(5));
    };
    let granted = stage.client().grant(number, time).unwrap();
    let (header, payload) = stage.receive();
    assert_eq!((header.correlation, payload), (asked, format!("granted {number} by host").into_bytes()));
    granted
}

fn until(stage: &mut Stage, world: WorldId, wanted: &str) {
    let end = Instant::now() + LONG;
    while stage.row(world).state != wanted {
        assert!(Instant::now() < end, "it is still {}", stage.row(world).state);
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn may(stage: &mut Stage, what: &str) -> bool {
    stage.client().judge("asker", what).unwrap().0
}

const NOTHING: &str = "/given/inner/file: NotFound";

#[test]
fn a_path_is_there_from_the_next_start_on() {
    let (place, mut stage) = (Place::new("start"), Stage::new());
    let read = format!("read {}", place.inner());
    let world = stage.host.spawn("asker", &asker(Wake::Never, &[format!("read {}", place.given())])).unwrap();
    let denied = tell(&mut stage, world, &format!("ask write {}", place.inner()));
    assert!(denied.contains("it takes `ask = [\"write "), "{denied}");
    let granted = grant(&mut stage, world, &read, None);
    assert!(granted.from_next_start && granted.left_ms.is_none());
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
    assert!(!may(&mut stage, &read), "not yet");
    let report = stage.client().inspect("asker").unwrap();
    assert!(report.contains(&format!("{read} (grant {}, from its next start on)", granted.number)), "{report}");
    // The same world, with its id and what is sent to it meanwhile.
    let (id, _) = stage.client().restart("asker", Duration::from_secs(5), "a path").unwrap();
    assert_eq!(id, world);
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), "old");
    assert_eq!(tell(&mut stage, world, "put /given/inner/file"), "/given/inner/file: ReadOnlyFilesystem");
    assert!(may(&mut stage, &read) && !may(&mut stage, &format!("read {}", place.given())));
    assert!(!stage.client().grants().unwrap()[0].from_next_start);
    assert!(stage.client().inspect("asker").unwrap().contains(&format!("{read} (grant {})", granted.number)));
    assert_eq!(tell(&mut stage, world, &format!("ask {read}")), format!("granted {} by host", granted.number));
    // It outlasts a life, and ends with its world.
    stage.client().restart("asker", Duration::from_secs(5), "again").unwrap();
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), "old");
    stage.client().stop("asker", Duration::from_secs(5), "enough").unwrap();
    assert!(stage.client().grants().unwrap().is_empty());
    let next = stage.host.spawn("asker", &asker(Wake::Never, &[])).unwrap();
    assert_eq!(tell(&mut stage, next, "cat /given/inner/file"), NOTHING, "a name inherits nothing");
}

#[test]
fn a_revoked_path_is_gone_when_revoke_returns() {
    let (place, mut stage) = (Place::new("revoked"), Stage::new());
    let write = format!("write {}", place.inner());
    let world = stage.host.spawn("asker", &asker(Wake::Never, std::slice::from_ref(&write))).unwrap();
    // Before a life has it, nothing has to end.
    let granted = grant(&mut stage, world, &write, None);
    let pid = stage.pid(world);
    stage.client().revoke(granted.number).unwrap();
    assert_eq!(stage.pid(world), pid);
    let granted = grant(&mut stage, world, &write, None);
    stage.client().restart("asker", Duration::from_secs(5), "a path").unwrap();
    assert_eq!(tell(&mut stage, world, "put /given/inner/file"), "put");
    assert_eq!(fs::read_to_string(place.0.join("inner/file")).unwrap(), "new");
    let pid = stage.pid(world);
    stage.client().revoke(granted.number).unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists(), "the life that had it has ended");
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
    assert!(!may(&mut stage, &write) && stage.client().grants().unwrap().is_empty());
}

#[test]
fn who_doesnt_end_for_a_revocation_is_killed() {
    let (place, mut stage) = (Place::new("stubborn"), Stage::new());
    let read = format!("read {}", place.inner());
    let mut world = asker(Wake::Never, std::slice::from_ref(&read));
    world.grace_ms = 300;
    let world = stage.host.spawn("asker", &world).unwrap();
    let granted = grant(&mut stage, world, &read, None);
    stage.client().restart("asker", Duration::from_secs(5), "a path").unwrap();
    // It hears nothing for longer than anybody waits here.
    stage.client().send(world, b"").unwrap();
    let stopped = stage.pid(world);
    let payload = strait_tests::payload_of(stopped).unwrap();
    let pid = rustix::process::Pid::from_raw(payload.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    stage.client().revoke(granted.number).unwrap();
    assert!(!Path::new(&format!("/proc/{stopped}")).exists());
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
}

#[test]
fn a_sleeper_has_its_path_when_it_wakes_and_sleeps_when_it_is_revoked() {
    let (place, mut stage) = (Place::new("sleeper"), Stage::new());
    let read = format!("read {}", place.inner());
    let (world, _) =
        stage.client().define(&asker(Wake::Message, std::slice::from_ref(&read)).specification("asker")).unwrap();
    let granted = grant(&mut stage, world, &read, Some(Duration::from_secs(3600)));
    stage.client().stop("asker", Duration::from_secs(5), "sleep").unwrap();
    assert_eq!(stage.client().grants().unwrap().len(), 1, "it outlasts the life");
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), "old");
    stage.client().revoke(granted.number).unwrap();
    until(&mut stage, world, "asleep");
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
    // One that is over by itself ends the life as well.
    let granted = grant(&mut stage, world, &read, Some(Duration::from_millis(1500)));
    stage.client().stop("asker", Duration::from_secs(5), "sleep").unwrap();
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), "old");
    until(&mut stage, world, "asleep");
    assert!(stage.client().grants().unwrap().is_empty(), "{}", granted.number);
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
}

/// Who may put a link on the way to a granted path would choose what root's launcher opens: here the way to a file in a closed directory.
#[test]
fn a_granted_path_is_followed_through_no_link() {
    let (place, secret, mut stage) = (Place::new("link"), Place::new("secret"), Stage::new());
    fs::set_permissions(&secret.0, fs::Permissions::from_mode(0o700)).unwrap();
    symlink(&secret.0, place.0.join("trap")).unwrap();
    let line = format!("read {}", place.given());
    let trap = format!("{}/trap/inner:/given/trap/inner", place.0.display());
    // The operator's own line is followed: that is what makes the other case matter.
    let mut control = asker(Wake::Never, &[]);
    control.read.push(trap.clone());
    let control = stage.host.spawn("control", &control).unwrap();
    assert_eq!(tell(&mut stage, control, "cat /given/trap/inner/file"), "old");
    let (world, _) = stage.client().define(&asker(Wake::Message, &[line]).specification("asker")).unwrap();
    let granted = grant(&mut stage, world, &format!("read {trap}"), None);
    stage.client().stop("asker", Duration::from_secs(5), "sleep").unwrap();
    let refused = stage.client().wake("asker").unwrap_err();
    assert!(matches!(&refused, Error::Refused(why) if why.contains("symbolic link")), "{refused}");
    stage.client().revoke(granted.number).unwrap();
    assert_eq!(tell(&mut stage, world, "cat /given/trap/inner/file"), "/given/trap/inner/file: NotFound");
}

#[test]
fn a_new_version_keeps_what_it_may_ask_for() {
    let (place, mut stage) = (Place::new("version"), Stage::new());
    let read = format!("read {}", place.inner());
    let world = stage.host.spawn("asker", &asker(Wake::Never, std::slice::from_ref(&read))).unwrap();
    grant(&mut stage, world, &read, None);
    let upgrade = |stage: &mut Stage, ask: &[String]| {
        let next = asker(Wake::Never, ask).specification("asker");
        stage.client().upgrade("asker", None, &next, Duration::from_millis(300), "next").unwrap();
    };
    upgrade(&mut stage, &[read]);
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), "old");
    upgrade(&mut stage, &[]);
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
    assert!(stage.client().grants().unwrap().is_empty());
}

/// A world that has its path, and a number to revoke it by.
fn with_path(stage: &mut Stage, read: &str) -> (WorldId, u64) {
    let world = stage.host.spawn("asker", &asker(Wake::Never, &[read.into()])).unwrap();
    let granted = grant(stage, world, read, None);
    stage.client().restart("asker", Duration::from_secs(5), "a path").unwrap();
    (world, granted.number)
}

#[test]
fn a_version_beside_has_what_it_may_ask_for_and_holds_the_grant() {
    let (place, mut stage) = (Place::new("beside"), Stage::new());
    let read = format!("read {}", place.inner());
    let (old, number) = with_path(&mut stage, &read);
    // The old one takes its time, with the path in its hands.
    let stopped = stage.pid(old);
    let payload = strait_tests::payload_of(stopped).unwrap();
    let pid = rustix::process::Pid::from_raw(payload.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let next = asker(Wake::Never, std::slice::from_ref(&read));
    let new = stage.host.upgrade_beside("asker", &next, LONG).unwrap();
    assert_eq!(tell(&mut stage, new, "cat /given/inner/file"), "old");
    let holders: Vec<_> = stage.client().grants().unwrap().iter().map(|grant| (grant.number, grant.id)).collect();
    assert_eq!(holders, [(number, new.0)]);
    assert!(Path::new(&format!("/proc/{stopped}")).exists());
    let pid = stage.pid(new);
    stage.client().revoke(number).unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists() && !Path::new(&format!("/proc/{stopped}")).exists());
    assert_eq!(tell(&mut stage, new, "cat /given/inner/file"), NOTHING);
}

/// An old version that takes its time, with its path in its hands, beside a new one that holds the grant: the process of the old one, and
/// the new one.
fn old_and_new(stage: &mut Stage, read: &str) -> (PathBuf, WorldId) {
    let (old, _) = with_path(stage, read);
    let process = stage.pid(old);
    let payload = strait_tests::payload_of(process).unwrap();
    let pid = rustix::process::Pid::from_raw(payload.cast_signed()).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::STOP).unwrap();
    let new = stage.host.upgrade_beside("asker", &asker(Wake::Never, &[read.into()]), LONG).unwrap();
    let process = PathBuf::from(format!("/proc/{process}"));
    assert!(process.exists() && stage.client().grants().unwrap()[0].id == new.0);
    (process, new)
}

/// Before the time is over that the old version was given.
fn ends_soon(process: &Path) {
    let end = Instant::now() + LONG / 2;
    while process.exists() {
        assert!(Instant::now() < end, "nobody holds the grant, and who has the path goes on");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[test]
fn an_old_version_ends_soon_when_the_holder_of_its_path_is_gone() {
    let (place, mut stage) = (Place::new("orphan"), Stage::new());
    let (old, _) = old_and_new(&mut stage, &format!("read {}", place.inner()));
    stage.client().stop("asker", Duration::from_secs(5), "enough").unwrap();
    ends_soon(&old);
    assert!(stage.client().grants().unwrap().is_empty());
}

#[test]
fn an_old_version_ends_soon_when_the_holder_of_its_path_may_not_ask_for_it_any_more() {
    let (place, mut stage) = (Place::new("disowned"), Stage::new());
    let (old, new) = old_and_new(&mut stage, &format!("read {}", place.inner()));
    let next = asker(Wake::Never, &[]).specification("asker");
    stage.client().upgrade("asker", None, &next, Duration::from_millis(300), "next").unwrap();
    assert_eq!(tell(&mut stage, new, "cat /given/inner/file"), NOTHING);
    ends_soon(&old);
    assert!(stage.client().grants().unwrap().is_empty());
}

#[test]
fn a_version_beside_that_may_not_ask_for_a_path_has_none() {
    let (place, mut stage) = (Place::new("beyond"), Stage::new());
    with_path(&mut stage, &format!("read {}", place.inner()));
    let new = stage.host.upgrade_beside("asker", &asker(Wake::Never, &[]), Duration::from_secs(1)).unwrap();
    assert_eq!(tell(&mut stage, new, "cat /given/inner/file"), NOTHING);
    let end = Instant::now() + LONG;
    while !stage.client().grants().unwrap().is_empty() {
        assert!(Instant::now() < end, "it outlasts who held it");
    }
}

#[test]
fn a_path_that_is_revoked_while_a_version_comes_up_is_gone_from_both() {
    let (place, mut stage) = (Place::new("coming"), Stage::new());
    let read = format!("read {}", place.inner());
    let (world, number) = with_path(&mut stage, &read);
    let mut next = asker(Wake::Never, std::slice::from_ref(&read));
    next.command = vec!["sleep".into(), "1000".into()];
    let request = Request::Upgrade {
        name: "asker".into(),
        template: None,
        specification: next.specification("asker"),
        beside: true,
        deadline_ms: 1000,
        reason: "next".into(),
    };
    let asked = stage.client().start_request(WorldId::CONTROL, &request.encode(), LONG).unwrap();
    let end = Instant::now() + LONG;
    let coming = loop {
        let rows = stage.client().list().unwrap();
        if let Some(row) = rows.iter().find(|row| row.name == "asker" && row.id != world.0 && row.pid != 0) {
            break row.pid;
        }
        assert!(Instant::now() < end, "it doesn't come up");
    };
    let pid = stage.pid(world);
    stage.client().revoke(number).unwrap();
    for pid in [coming.cast_unsigned(), pid] {
        assert!(!Path::new(&format!("/proc/{pid}")).exists(), "a life that had it goes on");
    }
    let (header, answer) = stage.receive();
    assert_eq!(header.correlation, asked);
    assert!(
        matches!(Answer::decode(&answer).unwrap(), Answer::Refused(why) if why.contains("is over")),
        "who asked for the new one is told"
    );
    assert_eq!(tell(&mut stage, world, "cat /given/inner/file"), NOTHING);
    assert!(stage.client().grants().unwrap().is_empty());
}

#[test]
fn who_runs_outside_has_no_paths_granted() {
    let (place, mut stage) = (Place::new("outside"), Stage::new());
    let refused = stage.client().ask_for(&format!("read {}", place.inner()), "why not", LONG).unwrap_err();
    assert!(matches!(&refused, Error::Refused(_)), "{refused}");
    assert!(matches!(stage.client().restart("host", LONG, ""), Err(Error::Refused(_))));
}
