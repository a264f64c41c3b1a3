//! Templates that are cloned: what a clone has from the first world, what it has of its own, and what becomes of images that are none.

#[path = "../../ffi/tests/build/mod.rs"]
mod build;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::{Duration, Instant};
use strait_broker::{Config, World, WorldId};
use strait_tests::{LONG, Stage, actor, payload_of};

/// A broker with one template of this name, which is cloned.
fn stage(name: &str, role: &[&str]) -> Stage {
    let mut world = actor(role, &[]);
    world.checkpoint = true;
    world.checkpoint_ms = 5000;
    world.limits.pids = None;
    Stage::with(&Config { templates: BTreeMap::from([(name.to_owned(), world)]), ..Config::default() })
}

fn start(stage: &mut Stage, template: &str) -> WorldId {
    stage.client().start(template, None).expect("a world").0
}

/// Starts one and waits for what it says first.
fn begin(stage: &mut Stage, template: &str) -> (WorldId, String) {
    let id = start(stage, template);
    let (header, said) = stage.receive();
    assert_eq!(header.source, id);
    (id, String::from_utf8(said).expect("text"))
}

fn ask(stage: &mut Stage, world: WorldId, question: &str) -> String {
    String::from_utf8(stage.ask(world, question.as_bytes())).expect("text")
}

#[test]
fn a_clone_has_the_memory_and_a_jail_of_its_own() {
    let mut stage = stage("table", &["table", "100"]);
    let (original, said) = begin(&mut stage, "table");
    assert_eq!(said, "original");
    let began = Instant::now();
    let (one, said) = begin(&mut stage, "table");
    assert_eq!(said, "clone");
    let took = began.elapsed();
    let (other, _) = begin(&mut stage, "table");
    let sum = ask(&mut stage, original, "sum");
    let mut pids = BTreeSet::new();
    let mut uids = BTreeSet::new();
    for world in [original, one, other] {
        assert_eq!(ask(&mut stage, world, "sum"), sum);
        assert_eq!(ask(&mut stage, world, "pid"), "2", "pid 1 is the jail's");
        assert_eq!(ask(&mut stage, world, "processes"), "1", "it sees nobody but itself");
        assert_eq!(ask(&mut stage, world, "address"), ask(&mut stage, one, "address"), "the layout is shared");
        let row = stage.row(world);
        assert_eq!(row.clone_of, if world == original { "" } else { "table" });
        pids.insert(row.pid);
        uids.insert(row.uid);
    }
    assert_eq!(pids.len(), 3);
    if rustix::process::geteuid().is_root() {
        assert_eq!(uids.len(), 3, "a uid each");
    }
    // The same descriptors as the original: nothing of the restorer's is left.
    assert_eq!(ask(&mut stage, one, "descriptors"), ask(&mut stage, original, "descriptors"));
    assert_eq!(namespaces(&mut stage, one).intersection(&namespaces(&mut stage, other)).count(), 0);
    assert!(took < Duration::from_millis(100), "it didn't build its table again: {took:?}");
}

/// The namespaces of a world's program.
fn namespaces(stage: &mut Stage, world: WorldId) -> BTreeSet<String> {
    let payload = payload_of(stage.pid(world)).expect("a program");
    let link = |name: &str| fs::read_link(format!("/proc/{payload}/ns/{name}")).expect("a namespace");
    let names = ["user", "mnt", "pid", "net", "ipc", "uts"];
    names.iter().map(|name| link(name).display().to_string()).collect()
}

#[test]
fn clones_diverge_and_do_not_see_each_other() {
    let mut stage = stage("table", &["table", "1"]);
    let (original, _) = begin(&mut stage, "table");
    let (one, _) = begin(&mut stage, "table");
    let (other, _) = begin(&mut stage, "table");
    let sum = ask(&mut stage, other, "sum");
    ask(&mut stage, one, "change");
    assert_ne!(ask(&mut stage, one, "sum"), sum);
    assert_eq!(ask(&mut stage, other, "sum"), sum);
    assert_eq!(ask(&mut stage, original, "sum"), sum);
    assert_eq!(ask(&mut stage, one, "write"), "true");
    assert_eq!(ask(&mut stage, one, "read"), "true", "the control");
    assert_eq!(ask(&mut stage, other, "read"), "false");
    let (late, _) = begin(&mut stage, "table");
    assert_eq!(ask(&mut stage, late, "sum"), sum, "nothing came back into the image");
    // The end of one is the end of one.
    let name = stage.row(one).name;
    stage.client().stop(&name, LONG, "enough").expect("an end");
    assert_eq!(ask(&mut stage, other, "sum"), sum);
}

/// What was asked for twice is there before it is asked for again: its memory is the image's already, and it has no streams yet.
#[test]
fn a_clone_stands_before_it_is_asked_for() {
    if !rustix::process::geteuid().is_root() {
        let _ = writeln!(std::io::stdout(), "skipped: templates: an ordinary user's jails aren't built ahead of time");
        return;
    }
    let mut stage = stage("table", &["table", "1"]);
    let begun: Vec<WorldId> = (0..3).map(|_| begin(&mut stage, "table").0).collect();
    let (supervisor, _) = stage.broker_pids();
    let deadline = Instant::now() + LONG;
    let waiting = loop {
        let waiting = restored(supervisor);
        if waiting.len() == Config::default().seats {
            break waiting;
        }
        // Where the system's files change meanwhile, jails that wait are ended, and built anew with the next order.
        assert!(Instant::now() < deadline, "{waiting:?} wait");
        std::thread::sleep(Duration::from_millis(10));
    };
    let streams = |pid: u32| [0, 1, 2].map(|number| link(payload_of(pid).expect("a program"), &format!("fd/{number}")));
    assert!(waiting.iter().all(|pid| streams(*pid).iter().all(|stream| stream.starts_with("socket:"))));
    let (clone, said) = begin(&mut stage, "table");
    let pid = stage.pid(clone);
    assert!(said == "clone" && waiting.contains(&pid), "{pid} is none of {waiting:?}");
    let [input, output, error] = streams(pid);
    assert!(input == "/dev/null" && output.starts_with("pipe:") && error.starts_with("pipe:"), "its own to the log");
    assert_eq!(ask(&mut stage, clone, "descriptors"), ask(&mut stage, begun[0], "descriptors"));
    assert_eq!(ask(&mut stage, clone, "sum"), ask(&mut stage, begun[0], "sum"));
}

/// The first processes of jails where the image's memory is, and the restorer still.
fn restored(supervisor: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).unwrap_or_default();
    let program = strait_tests::program();
    let name = program.file_name().and_then(|name| name.to_str()).expect("text");
    let maps = |pid: u32| fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let is_restored = |pid: &u32| {
        let maps = payload_of(*pid).map(maps).unwrap_or_default();
        maps.contains(HOME) && maps.contains(name)
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).filter(is_restored).collect()
}

/// Where the restorer is in an address space (`strait_image::HOME`).
const HOME: &str = "3a5e00000000-";

fn link(pid: u32, name: &str) -> String {
    fs::read_link(format!("/proc/{pid}/{name}")).map(|target| target.display().to_string()).unwrap_or_default()
}

#[test]
fn the_end_of_the_first_is_not_the_end_of_its_image() {
    let mut stage = stage("table", &["table", "1"]);
    let (original, _) = begin(&mut stage, "table");
    let name = stage.row(original).name;
    stage.client().stop(&name, LONG, "enough").expect("an end");
    assert_eq!(begin(&mut stage, "table").1, "clone");
}

#[test]
fn what_cannot_be_cloned_says_why_and_is_started() {
    for (obstacle, expected) in [("thread", "has 2"), ("socket", "socket:["), ("open", "opened")] {
        let mut stage = stage("unready", &["unready", obstacle]);
        let (_, said) = begin(&mut stage, "unready");
        assert!(said.contains(expected), "{obstacle}: {said}");
        // The second is started like any other, and isn't asked any more: its checkpoint does nothing.
        let second = start(&mut stage, "unready");
        match obstacle {
            "open" => assert_eq!(stage.receive().0.source, second),
            _ => drop(stage.client().wait(second, Some(LONG)).expect("an end: there was no error to expect")),
        }
    }
}

#[test]
fn who_never_comes_to_a_checkpoint_is_ended_at_the_deadline() {
    let mut world = actor(&["unready", "never"], &[]);
    (world.checkpoint, world.checkpoint_ms) = (true, 300);
    let templates = BTreeMap::from([("never".to_owned(), world)]);
    let mut stage = Stage::with(&Config { templates, ..Config::default() });
    for _ in 0..2 {
        let id = start(&mut stage, "never");
        let ended = stage.client().wait(id, Some(LONG)).expect("an end");
        assert!(ended.killed && ended.note.contains("checkpoint"), "{ended:?}");
    }
}

#[test]
fn a_forged_image_ends_its_own_clone_only() {
    for (what, is_taken) in [("unsealed", false), ("large", false), ("noise", true)] {
        let mut stage = stage("forger", &["forger", what]);
        let witness = stage.add("witness", &["echo"], &[]);
        let first = start(&mut stage, "forger");
        // What it sent is judged before the supervisor takes the next order only if it has come: wait for the welcome's effect.
        std::thread::sleep(Duration::from_millis(300));
        let second = start(&mut stage, "forger");
        if is_taken {
            let ended = stage.client().wait(second, Some(LONG)).expect("an end");
            assert_eq!(ended.code, Some(225), "{ended:?}");
            assert!(ended.note.contains("image"), "{ended:?}");
        }
        let third = start(&mut stage, "forger");
        assert_eq!(stage.ask(witness, b"still here?"), b"still here?");
        for world in [first, third] {
            assert_eq!(stage.row(world).state, "running", "{what}");
        }
    }
}

#[test]
fn five_hundred_clones_leave_nothing_behind() {
    let mut stage = stage("table", &["table", "1"]);
    begin(&mut stage, "table");
    let (supervisor, _) = stage.broker_pids();
    let descriptors = |pid: u32| fs::read_dir(format!("/proc/{pid}/fd")).expect("fds").count();
    let mut before = None;
    for round in 0..500 {
        let (clone, said) = begin(&mut stage, "table");
        assert_eq!(said, "clone");
        let pid = stage.pid(clone);
        let _ = stage.client().request(clone, b"exit", LONG).expect_err("it ends");
        while Path::new(&format!("/proc/{pid}")).exists() {
            std::thread::sleep(Duration::from_millis(1));
        }
        // The first rounds make what is made once.
        if round == 20 {
            before = Some(descriptors(supervisor));
        }
    }
    std::thread::sleep(Duration::from_millis(200));
    let after = descriptors(supervisor);
    assert!(after <= before.expect("20 rounds") + 12, "{before:?} descriptors became {after}");
    assert_eq!(stage.client().list().expect("a list").iter().filter(|row| row.name.starts_with("table")).count(), 1);
}

/// A template whose program is a script with libstrait beside it; none where the interpreter isn't installed.
fn scripted(interpreter: &str, name: &str) -> Option<World> {
    if !Path::new("/usr/bin").join(interpreter).exists() {
        // Past the harness, which keeps what a test that succeeds prints.
        let _ = writeln!(std::io::stdout(), "skipped: templates: no /usr/bin/{interpreter} on this machine");
        return None;
    }
    let mut world = World::new([interpreter, &format!("/script/{name}")]);
    world.read = vec![
        format!("{}/scripts/{name}:/script/{name}", env!("CARGO_MANIFEST_DIR")),
        format!("{}:/strait/libstrait.so", build::libraries().join("libstrait.so").display()),
    ];
    world.send = vec!["host".into()];
    world.checkpoint = true;
    Some(world)
}

#[test]
fn python_is_cloned_through_the_c_abi() {
    let Some(world) = scripted("python3", "ready.py") else { return };
    let mut stage =
        Stage::with(&Config { templates: BTreeMap::from([("python".to_owned(), world)]), ..Config::default() });
    let tell = |stage: &mut Stage| {
        let (id, said) = begin(stage, "python");
        let ended = stage.client().wait(id, Some(LONG)).expect("an end");
        assert_eq!((ended.code, &*ended.note), (Some(0), ""), "{said}");
        serde_json::from_str::<serde_json::Value>(&said).expect("JSON")
    };
    let (original, one, other) = (tell(&mut stage), tell(&mut stage), tell(&mut stage));
    assert_eq!((&original["is_clone"], &one["is_clone"], &other["is_clone"]), (&0.into(), &1.into(), &1.into()));
    for clone in [&one, &other] {
        for same in ["rows", "line", "pid", "hash"] {
            assert_eq!(clone[same], original[same], "{same}");
        }
    }
    assert_ne!(one["random"], other["random"], "each has seeded its generator anew");
}

#[test]
fn lua_is_cloned_through_the_c_abi() {
    let Some(mut world) = scripted("lua5.4", "ready.lua") else { return };
    let out = std::env::temp_dir().join(format!("strait-templates-{}", std::process::id()));
    fs::create_dir_all(&out).expect("a folder");
    fs::set_permissions(&out, fs::Permissions::from_mode(0o777)).expect("chmod");
    world.write = vec![format!("{}:/out", out.display())];
    let mut stage =
        Stage::with(&Config { templates: BTreeMap::from([("lua".to_owned(), world)]), ..Config::default() });
    for _ in 0..2 {
        let id = start(&mut stage, "lua");
        let ended = stage.client().wait(id, Some(LONG)).expect("an end");
        assert_eq!((ended.code, &*ended.note), (Some(0), ""));
    }
    let [original, clone] = ["original", "clone"].map(|name| fs::read_to_string(out.join(name)).expect("an answer"));
    assert!(original.starts_with("400000 "), "{original}");
    assert_eq!(original, clone);
    let _ = fs::remove_dir_all(&out);
}
