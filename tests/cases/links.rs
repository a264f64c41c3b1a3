//! Direct links between jailed worlds and this one: fast and slow paths keep one order, and a hostile other side can only end the link.

use std::time::{Duration, Instant};
use strait_broker::{Kind, Reason, WorldId};
use strait_client::{Error, Refusal};
use strait_protocol::LINKED;
use strait_tests::attack::{Attack, Lie};
use strait_tests::{Holdings, LONG, Stage, kill_payload};

fn is_linked(sequence: u64) -> bool {
    sequence & LINKED != 0
}

#[test]
fn a_jailed_world_answers_over_a_link_and_ps_shows_it() {
    let mut stage = Stage::new();
    let before = Holdings::of(&stage);
    let echo = stage.add_linked("echo", &["echo"], &["host"]);
    stage.client().link(echo, LONG).unwrap();
    for n in 0..1000u32 {
        let reply = stage.client().request(echo, &n.to_ne_bytes(), LONG).unwrap();
        assert!(is_linked(reply.header.sequence));
        assert_eq!(reply.payload, n.to_ne_bytes());
    }
    let rows = stage.client().list().unwrap();
    let row = rows.iter().find(|row| row.id == echo.0).unwrap();
    assert_eq!((row.counters.links, row.counters.linked_bytes), (1, 1000 * 80));
    // It ends as it should: told over what way there is.
    let ended = stage.client().stop("echo", LONG, "test").unwrap();
    assert!(ended.acknowledged && !ended.killed, "{ended:?}");
    let late = stage.client().request(echo, b"", LONG).unwrap_err();
    assert!(matches!(late, Error::Undelivered { reason: Reason::NoSuchWorld, .. }), "{late}");
    let after = Holdings::of(&stage);
    assert_eq!((after.switch_fds, after.switch_maps), (before.switch_fds, before.switch_maps));
}

#[test]
fn both_sides_must_allow_a_link() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    let refused = stage.client().link(echo, LONG).unwrap_err();
    assert!(matches!(refused, Error::Switch(Refusal::LinkRefused)), "{refused}");
}

#[test]
fn a_linked_sender_that_dies_loses_nothing_it_published() {
    let mut stage = Stage::new();
    let linker = stage.add_linked("linker", &["linker", "host"], &["host"]);
    let mut next = 0u64;
    let mut over_link = 0;
    let mut expect = |stage: &mut Stage, next: &mut u64, wait: Duration| {
        let Some(record) = stage.client().receive(Some(wait)).unwrap() else { return false };
        assert_eq!((record.header().source, record.payload()), (linker, &next.to_ne_bytes()[..]));
        over_link += u32::from(is_linked(record.header().sequence));
        *next += 1;
        true
    };
    while next < 100_000 {
        assert!(expect(&mut stage, &mut next, LONG));
    }
    let pid = stage.pid(linker);
    kill_payload(pid);
    while expect(&mut stage, &mut next, Duration::from_millis(500)) {}
    assert!(over_link > 90_000, "{over_link}");
    stage.client().send(linker, b"too late").unwrap();
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.code), (Kind::Notice, Reason::NoSuchWorld as u16));
}

#[test]
fn a_linked_receiver_that_dies_is_told_of_message_by_message() {
    let mut stage = Stage::new();
    let echo = stage.add_linked("echo", &["echo"], &["host"]);
    stage.client().link(echo, LONG).unwrap();
    let pid = stage.pid(echo);
    // Answered, or told: each of these.
    let mut open = Vec::new();
    for n in 0..200u64 {
        open.push(stage.client().start_request(echo, &n.to_ne_bytes(), LONG).unwrap());
        if n == 100 {
            kill_payload(pid);
        }
    }
    while !open.is_empty() {
        let (header, _) = stage.receive();
        assert!(matches!(header.kind, Kind::Reply | Kind::Notice));
        open.retain(|asked| *asked != header.correlation);
    }
    assert!(stage.client().receive(Some(Duration::from_millis(100))).unwrap().is_none());
}

#[test]
fn the_broker_can_end_a_link() {
    let mut stage = Stage::new();
    let echo = stage.add_linked("echo", &["echo"], &["host"]);
    let me = stage.client().id();
    stage.client().link(echo, LONG).unwrap();
    assert!(is_linked(stage.client().request(echo, b"?", LONG).unwrap().header.sequence));
    // Again and again: that it is over by the time it is said to be is no matter of luck.
    for _ in 0..50 {
        stage.host.unlink(me, echo).unwrap();
        assert!(!stage.client().is_linked(echo));
        assert!(!is_linked(stage.client().request(echo, b"?", LONG).unwrap().header.sequence));
        // It can be made anew.
        let end = Instant::now() + LONG;
        while stage.client().link(echo, LONG).is_err() {
            assert!(Instant::now() < end);
        }
        assert!(is_linked(stage.client().request(echo, b"?", LONG).unwrap().header.sequence));
    }
}

/// A stage with a rogue that lies over a link to us, and an honest world that we go on talking to.
fn lie(stage: &mut Stage, name: &str, lie: Lie) -> (WorldId, Result<(), Error>) {
    let rogue = stage.add_linked(name, &["rogue"], &["host"]);
    let order = serde_json::to_vec(&Attack::OverLink { lie }).unwrap();
    stage.client().start_request(rogue, &order, LONG).unwrap();
    let linked = stage.client().link(rogue, Duration::from_secs(5));
    (rogue, linked)
}

#[test]
fn a_forged_source_over_a_link_is_written_over() {
    let mut stage = Stage::new();
    let (rogue, linked) = lie(&mut stage, "rogue", Lie::Forge);
    linked.unwrap();
    let me = stage.client().id();
    loop {
        let (header, payload) = stage.receive();
        if header.kind == Kind::Message {
            assert_eq!((header.source, header.destination, &payload[..]), (rogue, me, &b"forged"[..]));
            assert_eq!((header.flags & 0x3f, header.stream, header.sequence & 0xffff_ffff), (0, 0, 1));
            return;
        }
    }
}

#[test]
fn what_cant_be_true_ends_the_link_and_nothing_else() {
    let mut stage = Stage::new();
    let echo = stage.add_linked("echo", &["echo"], &["host"]);
    stage.client().link(echo, LONG).unwrap();
    let lies = [
        Lie::Kind { kind: 4 },
        Lie::Kind { kind: 5 },
        Lie::Kind { kind: 200 },
        Lie::Length { length: 1 },
        Lie::Length { length: u32::MAX },
        Lie::Produced { cursor: u64::MAX },
        Lie::Produced { cursor: 1 << 40 },
        Lie::Produced { cursor: 7 },
        Lie::Close { place: 1 << 40 },
    ];
    for (n, told) in lies.into_iter().enumerate() {
        let name = format!("rogue-{n}");
        let (rogue, linked) = lie(&mut stage, &name, told.clone());
        // It may be over before we have looked.
        assert!(
            linked.is_ok() || matches!(linked, Err(Error::Undelivered { reason: Reason::Unlinked, .. })),
            "{linked:?}"
        );
        let end = Instant::now() + LONG;
        while stage.client().is_linked(rogue) {
            assert!(Instant::now() < end, "{told:?}");
            let seen = stage.client().receive(Some(Duration::from_millis(5))).unwrap().map(|record| record.header());
            assert!(seen.is_none_or(|header| header.kind == Kind::Reply), "{told:?}: {seen:?}");
        }
        // The accused lives, is spoken to through the switch, and the other link is as it was.
        assert!(stage.client().list().unwrap().iter().any(|row| row.id == rogue.0), "{told:?}");
        let order = serde_json::to_vec(&Attack::Control { bytes: vec![] }).unwrap();
        assert!(!stage.ask(rogue, &order).is_empty());
        assert!(is_linked(stage.client().request(echo, b"?", LONG).unwrap().header.sequence));
    }
}

#[test]
fn a_false_consumer_cursor_ends_the_link_when_room_is_looked_for() {
    let mut stage = Stage::new();
    let (rogue, linked) = lie(&mut stage, "rogue", Lie::Consumed { cursor: 1 << 40 });
    linked.unwrap();
    assert_eq!(stage.receive().1, b"done");
    // The lie is found when the ring is full; that record and those behind it go through the switch.
    for _ in 0..2000 {
        stage.client().send_before(Instant::now() + Duration::from_secs(1), rogue, &[0; 100]).unwrap();
        if !stage.client().is_linked(rogue) {
            return;
        }
    }
    panic!("the lie was believed");
}

#[test]
fn records_that_change_under_the_reader() {
    let mut stage = Stage::new();
    let (rogue, linked) = lie(&mut stage, "rogue", Lie::Rewrite { records: 20_000 });
    linked.unwrap();
    let mut arrived = 0;
    loop {
        let record = stage.client().receive(Some(LONG)).unwrap().unwrap();
        let header = record.header();
        match header.kind {
            Kind::Message => {
                assert_eq!((header.source, header.length, record.payload().len()), (rogue, 512, 512));
                arrived += 1;
            }
            Kind::Reply if arrived == 20_000 => return,
            Kind::Reply => assert!(arrived > 0),
            other => panic!("{other:?}"),
        }
        if arrived == 20_000 {
            return;
        }
    }
}

#[test]
fn a_slice_that_isnt_sealed_is_handed_to_nobody() {
    let mut stage = Stage::new();
    let rogue = stage.add_linked("rogue", &["rogue"], &["host"]);
    let order = serde_json::to_vec(&Attack::OverLink { lie: Lie::Unsealed }).unwrap();
    stage.client().start_request(rogue, &order, LONG).unwrap();
    assert!(stage.client().link(rogue, Duration::from_millis(500)).is_err());
    assert!(!stage.client().is_linked(rogue));
}
