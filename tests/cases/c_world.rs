//! A world written in C, against the header and the library that C programs get.

#[path = "../../ffi/tests/build/mod.rs"]
mod build;

use std::net::TcpListener;
use std::path::Path;
use std::time::Duration;
use strait_broker::{Config, SubscribeOptions, Wake, World};
use strait_jail::Base;
use strait_tests::{LONG, Stage};

#[test]
fn a_c_world_answers_and_acknowledges() {
    let echo = build::c_program("examples/world.c", build::Link::Static);
    let mut stage = Stage::new();
    for profile in [Base::Default, Base::Strict] {
        let mut world = World::new(["/world-c"]);
        (world.system, world.profile) = (false, profile);
        world.read = vec![format!("{}:/world-c", echo.display())];
        let id = stage.host.spawn(profile.name(), &world).unwrap();
        for length in [0, 1, 100, 40_000] {
            let payload: Vec<u8> = (0..length).map(|n| n as u8).collect();
            assert_eq!(stage.ask(id, &payload), payload);
        }
        let ended = stage.client().stop(profile.name(), Duration::from_secs(5), "enough").unwrap();
        assert!(ended.acknowledged && ended.code == Some(0), "{ended:?}");
    }
}

#[test]
fn a_c_world_goes_on_where_it_was() {
    let program = build::c_program("tests/counter.c", build::Link::Static);
    let dir = std::env::temp_dir().join(format!("strait-counter-{}", std::process::id()));
    let mut world = World::new(["/counter"]);
    // Saving, too, fits into the narrowest profile.
    (world.system, world.profile, world.snapshots) = (false, Base::Strict, 1);
    world.read = vec![format!("{}:/counter", program.display())];
    let config = Config { state: Some(dir.clone()), ..Config::default() };
    for life in 0..2u64 {
        let mut stage = Stage::with(&config);
        let counter = stage.host.spawn("counter", &world).unwrap();
        for count in 1..=5 {
            assert_eq!(stage.ask(counter, b"?"), (life * 5 + count).to_ne_bytes());
        }
        let ended = stage.client().stop("counter", LONG, "enough").unwrap();
        let saved = ended.saved.expect("it saved its state");
        assert_eq!((ended.acknowledged, saved.version, saved.bytes), (true, life + 1, 8), "{ended:?}");
    }
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn c_worlds_share_parcels_link_and_multicast() {
    let program = build::c_program("tests/sharing.c", build::Link::Static);
    let world = |role: &str| {
        let mut world = World::new(["/sharing", role]);
        // All that a world can do with messages fits into the narrowest profile.
        (world.system, world.profile) = (false, Base::Strict);
        world.read = vec![format!("{}:/sharing", program.display())];
        (world.send, world.link) = (vec!["*".into()], vec!["maker".into(), "viewer".into()]);
        world
    };
    let mut stage = Stage::new();
    let viewer = stage.host.spawn("viewer", &world("view")).unwrap();
    let maker = stage.host.spawn("maker", &world("make")).unwrap();
    let (header, payload) = stage.receive();
    assert_eq!((header.source, &payload[..]), (maker, &b"end"[..]));
    for id in [maker, viewer] {
        assert_eq!(stage.client().wait(id, Some(LONG)).unwrap().code, Some(0));
    }
}

#[test]
fn c_worlds_publish_and_subscribe() {
    let program = build::c_program("tests/topics.c", build::Link::Static);
    let world = |role: &str| {
        let mut world = World::new(["/topics", role]);
        (world.system, world.profile) = (false, Base::Strict);
        world.read = vec![format!("{}:/topics", program.display())];
        (world.send, world.publish) = (vec!["*".into()], vec!["kept.c".into(), "live.*".into()]);
        world.subscribe = vec![">".into()];
        world
    };
    let mut stage = Stage::new();
    let talker = stage.host.spawn("talker", &world("talk")).unwrap();
    // It has published what is kept once its topic has a publisher: the host hears of that, too.
    let options = SubscribeOptions { retained: true, ..SubscribeOptions::default() };
    stage.client().subscribe("kept.c", &options).unwrap();
    assert_eq!(stage.receive().1, b"last");
    let listener = stage.host.spawn("listener", &world("listen")).unwrap();
    for id in [listener, talker] {
        assert_eq!(stage.client().wait(id, Some(LONG)).unwrap().code, Some(0));
    }
}

#[test]
fn a_c_world_commands_watches_and_decides() {
    let [counter, control] =
        ["counter", "control"].map(|name| build::c_program(&format!("tests/{name}.c"), build::Link::Static));
    let dir = std::env::temp_dir().join(format!("strait-control-{}", std::process::id()));
    let world = |program: &Path, args: &[&str]| {
        let mut world = World::new(["/program"].iter().chain(args).copied());
        (world.system, world.profile, world.tap_payload) = (false, Base::Strict, true);
        world.read = vec![format!("{}:/program", program.display())];
        world
    };
    let mut child = world(&counter, &[]);
    child.snapshots = 2;
    let templates = ["child", "child-2"].map(|name| (name.into(), child.clone())).into();
    let mut stage = Stage::with(&Config { state: Some(dir.clone()), templates, ..Config::default() });
    let mut sleeper = child;
    sleeper.wake = Wake::Message;
    stage.host.define("sleeper", &sleeper).unwrap();
    let mut commander = world(&control, &["command"]);
    (commander.may, commander.send) = (vec!["admin".into()], vec!["*".into()]);
    let commander = stage.host.spawn("commander", &commander).unwrap();
    let server = TcpListener::bind("127.0.0.1:0").unwrap();
    let place = server.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        let (mut connection, _) = server.accept().unwrap();
        std::io::copy(&mut connection.try_clone().unwrap(), &mut connection)
    });
    let mut asker = world(&control, &["ask", &place]);
    asker.ask = vec!["send *".into()];
    asker.network = vec![place];
    let asker = stage.host.spawn("asker", &asker).unwrap();
    for id in [commander, asker] {
        assert_eq!(stage.client().wait(id, Some(LONG)).unwrap().code, Some(0));
    }
    drop(stage);
    std::fs::remove_dir_all(dir).unwrap();
}
