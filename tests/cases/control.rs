//! The control service: who may ask it what, and the end of worlds.

use std::time::Duration;
use strait_broker::{Config, Error, HostError, Stdio, Uids, World, WorldId};
use strait_protocol::control::Request;
use strait_tests::{LONG, Stage, actor};

#[test]
fn a_world_starts_only_what_it_may() {
    let config = Config { templates: [("echo".to_owned(), actor(&["echo"], &[]))].into(), ..Config::default() };
    let mut stage = Stage::with(&config);
    let mut starter = actor(&["starter", "echo"], &[]);
    stage.host.spawn("denied", &starter).unwrap();
    assert_eq!(stage.receive().1, b"policy doesn't let you: it takes `may = [\"start echo\"]`");
    starter.may = vec!["start echo".into()];
    stage.host.spawn("allowed", &starter).unwrap();
    assert!(stage.receive().1.starts_with(b"started echo/"));
    starter.may = vec!["start nothing".into()];
    starter.command = vec!["/world".into(), "starter".into(), "nothing".into()];
    stage.host.spawn("wrong", &starter).unwrap();
    assert_eq!(stage.receive().1, b"there is no template `nothing` (there are: echo)");
}

#[test]
fn a_stop_is_told_acknowledged_and_within_its_time() {
    let mut stage = Stage::new();
    stage.add("echo", &["echo"], &[]);
    stage.client().resolve("echo").unwrap();
    let ended = stage.client().stop("echo", Duration::from_secs(5), "enough").unwrap();
    assert!(ended.acknowledged && !ended.killed && ended.code == Some(0) && ended.took_ms < 5000, "{ended:?}");
}

#[test]
fn a_world_that_ignores_its_stop_is_killed_at_the_deadline() {
    let mut stage = Stage::new();
    let stubborn = stage.add("stubborn", &["stubborn"], &[]);
    assert_eq!(stage.ask(stubborn, b"?"), b"still here");
    let ended = stage.client().stop("stubborn", Duration::from_millis(300), "enough").unwrap();
    assert!(!ended.acknowledged && ended.killed && (300..2000).contains(&ended.took_ms), "{ended:?}");
}

/// Whoever may stop it could otherwise keep others from stopping it.
#[test]
fn a_later_stop_brings_the_end_forward_and_never_back() {
    let mut stage = Stage::new();
    stage.add("stubborn", &["stubborn"], &[]);
    stage.client().resolve("stubborn").unwrap();
    let in_a_month = |name: &str| Request::Stop { name: name.into(), deadline_ms: u32::MAX, reason: String::new() };
    let client = stage.client();
    client.start_request(WorldId::CONTROL, &in_a_month("stubborn").encode(), LONG).unwrap();
    let ended = client.stop("stubborn", Duration::from_millis(300), "enough").unwrap();
    assert!(ended.killed && ended.took_ms < 20_000, "{ended:?}");
}

#[test]
fn one_that_is_told_to_end_while_it_starts_stays_told() {
    let mut stage = Stage::new();
    let specification = serde_json::to_string(&("late", &actor(&["stubborn"], &[]))).unwrap();
    let stop = Request::Stop { name: "late".into(), deadline_ms: u32::MAX, reason: String::new() };
    let client = stage.client();
    client.start_request(WorldId::CONTROL, &Request::Spawn { specification }.encode(), LONG).unwrap();
    client.start_request(WorldId::CONTROL, &stop.encode(), LONG).unwrap();
    let id = client.resolve("late").unwrap();
    while stage.row(id).pid == 0 {
        std::thread::sleep(Duration::from_millis(5));
    }
    assert_eq!(stage.row(id).state, "stopping");
}

#[test]
fn a_program_that_knows_nothing_of_strait_is_told_by_a_signal() {
    let mut stage = Stage::new();
    stage.host.spawn("sleeper", &World::new(["sleep", "1000"])).unwrap();
    let ended = stage.client().stop("sleeper", Duration::from_secs(20), "enough").unwrap();
    assert!(!ended.killed && ended.signal == Some(15), "{ended:?}");
}

#[test]
fn what_cant_be_started_says_why() {
    let mut stage = Stage::new();
    let refusal = |result: Result<_, HostError>| match result {
        Err(HostError::Client(Error::Refused(why))) => why,
        other => panic!("{other:?}"),
    };
    let mut quiet = |command: &[&str]| {
        let mut world = World::new(command.iter().copied());
        world.stdio = Stdio::Null;
        stage.host.spawn("world", &world)
    };
    let why = refusal(quiet(&["no-such-program"]));
    assert!(why.contains("no-such-program"), "{why}");
    assert!(matches!(quiet(&[]), Err(HostError::Config(_))));
    let id = quiet(&["sleep", "1000"]).unwrap();
    let again = refusal(quiet(&["true"]));
    assert_eq!(again, "there is a world named `world` already");
    assert!(stage.client().stop("world", LONG, "enough").unwrap().id == id.0);
}

#[test]
fn the_jail_report_comes_from_the_kernel() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    stage.ask(echo, b"up?");
    let report: serde_json::Value = serde_json::from_str(&stage.client().inspect("echo").unwrap()).unwrap();
    assert_eq!(report["no_new_privs"], true);
    assert_eq!(report["seccomp"], 2);
    for set in ["effective", "permitted", "inheritable", "bounding", "ambient"] {
        assert_eq!(report["capabilities"][set], 0, "{set}");
    }
    let others = report["namespaces"].as_array().unwrap().iter().filter(|pair| pair[1] == true).count();
    assert_eq!(others, 7);
}

#[test]
fn many_worlds_are_listed_page_by_page() {
    let mut stage = Stage::new();
    for n in 0..100 {
        stage.add(&format!("echo-{n}"), &["echo"], &[]);
    }
    let rows = stage.client().list().unwrap();
    assert_eq!(rows.len(), 102, "the worlds, the host and the control service");
    assert!(rows.is_sorted_by_key(|row| row.id));
    let ends = stage.host.stop(Duration::from_secs(20), "enough").unwrap();
    assert_eq!(ends.len(), 100);
    let odd: Vec<_> = ends.iter().filter(|ended| !ended.acknowledged && ended.signal != Some(15)).collect();
    assert!(odd.is_empty(), "{odd:?}");
}

#[test]
fn no_two_worlds_have_one_uid() {
    if !rustix::process::geteuid().is_root() {
        println!("skipped: only root can give worlds uids of their own");
        return;
    }
    let config = Config { uids: Uids { count: 2, ..Uids::default() }, ..Config::default() };
    let mut stage = Stage::with(&config);
    let first = stage.add("first", &["echo"], &[]);
    let second = stage.add("second", &["echo"], &[]);
    assert_ne!(stage.row(first).uid, stage.row(second).uid);
    let refused = stage.host.spawn("third", &actor(&["echo"], &[])).unwrap_err();
    assert!(refused.to_string().contains("all 2 uids for worlds are in use"), "{refused}");
    stage.client().stop("first", LONG, "make room").unwrap();
    stage.add("third", &["echo"], &[]);
}
