//! Who watches sees what policy says, and nobody else sees anything.

use std::path::Path;
use std::time::Duration;
use strait_broker::{AttachRule, Client, Config, Error};
use strait_client::{Fate, Kind, Sight};
use strait_tests::{LONG, Stage, actor};

/// Longer than the switch keeps what was seen.
const A_WHILE: Duration = Duration::from_millis(300);

fn config(dir: &Path) -> Config {
    let uid = rustix::process::geteuid().as_raw();
    let rule = |name: &str, may: &[&str]| AttachRule {
        name: name.into(),
        uid,
        send: vec!["*".into()],
        link: Vec::new(),
        may: may.iter().map(ToString::to_string).collect(),
        ask: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    Config {
        socket: Some(dir.join("socket")),
        attach: vec![rule("watcher", &["tap echo/*"]), rule("nosy", &["list"])],
        ..Config::default()
    }
}

/// What a tap sees of what the control service has no part in: from whom, to whom, what, and the payload as far as it is shown. At least so
/// much of it, and until nothing comes for a while.
fn seen(client: &mut Client, least: usize) -> Vec<(u64, u64, Kind, Vec<u8>)> {
    let mut all = Vec::new();
    while let Some(record) = client.receive(Some(if all.len() < least { LONG } else { A_WHILE })).unwrap() {
        if let Some((sights, missed)) = record.sights() {
            assert_eq!(missed, 0);
            let told = |sight: Sight<'_>| {
                assert_eq!(sight.fate, Fate::Delivered);
                (sight.header.source.0, sight.header.destination.0, sight.header.kind, sight.payload.to_vec())
            };
            all.extend(sights.map(told).filter(|(from, to, ..)| *from != 1 && *to != 1));
        }
    }
    all
}

#[test]
fn a_tap_shows_what_policy_lets_it_show_and_to_nobody_else() {
    let dir = std::env::temp_dir().join(format!("strait-test-watch-{}", std::process::id()));
    std::fs::create_dir_all(&dir).unwrap();
    let mut stage = Stage::with(&config(&dir));
    let attach = |name| Client::attach(dir.join("socket"), name).unwrap();
    let (mut watcher, mut nosy) = (attach("watcher"), attach("nosy"));
    let open = {
        let mut world = actor(&["echo"], &[]);
        world.tap_payload = true;
        stage.host.spawn("echo/open", &world).unwrap()
    };
    let shy = stage.add("echo/shy", &["echo"], &[]);
    let other = stage.add("other", &["echo"], &[]);

    let refused = |client: &mut Client, pattern: &str| {
        let refused = client.tap(pattern, true);
        let why = format!("policy doesn't let you: it takes `may = [\"tap {pattern}\"]`");
        assert!(matches!(&refused, Err(Error::Refused(said)) if *said == why), "{refused:?}");
    };
    refused(&mut nosy, "echo/open");
    refused(&mut watcher, "*");
    refused(&mut watcher, "other");
    watcher.tap("echo/*", true).unwrap();
    for world in [open, shy, other] {
        assert_eq!(stage.ask(world, b"secret"), b"secret");
    }
    let host = stage.client().id().0;
    // The host may everything, so its payloads may be shown where the other side's may be.
    let shown = |world: u64, payload: &[u8]| {
        [(host, world, Kind::Request, payload.to_vec()), (world, host, Kind::Reply, payload.to_vec())]
    };
    let mut expected = shown(open.0, b"secret").to_vec();
    expected.extend(shown(shy.0, b""));
    assert_eq!(seen(&mut watcher, expected.len()), expected);
    assert_eq!(seen(&mut nosy, 0), []);

    watcher.untap().unwrap();
    stage.ask(open, b"after");
    assert_eq!(seen(&mut watcher, 0), []);
    assert_eq!(nosy.request(open, b"?", LONG).unwrap().payload, b"?");
    std::fs::remove_dir_all(&dir).unwrap();
}
