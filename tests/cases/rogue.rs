//! A rogue world against its slices (attempts 61 to 65 and 70 of the list), while two honest worlds keep talking.

use std::process::Command;
use std::time::{Duration, Instant};
use strait_broker::{Ended, Kind, WorldId};
use strait_protocol::control::Answer;
use strait_tests::attack::Attack;
use strait_tests::{LONG, Stage};

/// A stage with two honest worlds in conversation, and how far they are.
struct Scene {
    stage: Stage,
    talker: WorldId,
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new();
        stage.add("echo", &["echo"], &["talker"]);
        let talker = stage.add("talker", &["talker", "echo"], &["echo"]);
        Self { stage, talker }
    }

    fn round_trips(&mut self) -> u64 {
        let answer = self.stage.ask(self.talker, b"how many?");
        String::from_utf8(answer).unwrap().parse().unwrap()
    }

    /// The two are talking: not one round trip went wrong (the talker would have ended), and more of them happen.
    fn assert_undisturbed(&mut self) {
        let before = self.round_trips();
        let end = Instant::now() + LONG;
        while self.round_trips() < before + 100 {
            assert!(Instant::now() < end, "the honest worlds have stopped talking");
        }
    }

    fn rogue(&mut self, name: &str) -> WorldId {
        self.stage.add(name, &["rogue"], &["echo"])
    }

    fn order(&mut self, rogue: WorldId, attack: &Attack) {
        let order = serde_json::to_vec(attack).unwrap();
        self.stage.client().start_request(rogue, &order, LONG).unwrap();
    }

    /// Orders an attack that must end the rogue, and nobody else.
    fn assert_quarantined(&mut self, name: &str, attack: &Attack, why: &str) {
        let rogue = self.rogue(name);
        self.order(rogue, attack);
        let ended = self.wait(rogue);
        assert!(
            ended.killed && ended.note.starts_with("quarantined: ") && ended.note.contains(why),
            "{attack:?}: {ended:?}"
        );
        self.assert_undisturbed();
    }

    fn wait(&mut self, world: WorldId) -> Ended {
        self.stage.client().wait(world, Some(LONG)).unwrap()
    }
}

#[test]
fn row_61_forged_sources_are_stamped_over() {
    let mut scene = Scene::new();
    let rogue = scene.rogue("rogue");
    let me = scene.stage.client().id();
    scene.order(rogue, &Attack::Forge { to: me.0 });
    let (forged, payload) = loop {
        let (header, payload) = scene.stage.receive();
        if header.kind == Kind::Message {
            break (header, payload);
        }
    };
    assert_eq!(payload, b"forged");
    // Its first record: so the sequence is 1, not 4711; and the switch's own flags are cleared.
    assert_eq!((forged.source, forged.sequence, forged.flags), (rogue, 1, 0xc0));
    scene.assert_undisturbed();
}

#[test]
fn row_61_system_records_are_refused() {
    let mut scene = Scene::new();
    let me = scene.stage.client().id();
    scene.assert_quarantined("rogue", &Attack::ForgeNotice { to: me.0 }, "can't send notices");
}

#[test]
fn row_62_lengths() {
    let mut scene = Scene::new();
    let me = scene.stage.client().id().0;
    // Here a length is that of the payload, so 0 is an empty message and 1 needs 15 bytes of padding, which are not published.
    for (n, length) in [1, 17, 61_440, 61_376, u32::MAX, u32::MAX - 15, 1 << 31].into_iter().enumerate() {
        scene.assert_quarantined(&format!("rogue-{n}"), &Attack::Length { to: me, length }, "published");
    }
    let rogue = scene.rogue("honest-length");
    scene.order(rogue, &Attack::Length { to: me, length: 0 });
    loop {
        let (header, payload) = scene.stage.receive();
        if header.kind == Kind::Message && header.source == rogue {
            assert!(payload.is_empty());
            break;
        }
    }
}

#[test]
fn row_63_producer_cursors() {
    let mut scene = Scene::new();
    for (n, cursor) in [1 << 40, u64::MAX, u64::MAX - 15, 7, 61_456].into_iter().enumerate() {
        scene.assert_quarantined(&format!("rogue-{n}"), &Attack::Produced { cursor }, "producer cursor");
    }
    // Backwards: its first attack is answered, so its cursor has moved.
    let rogue = scene.rogue("backwards");
    let me = scene.stage.client().id().0;
    let order = serde_json::to_vec(&Attack::Forge { to: me }).unwrap();
    scene.stage.ask(rogue, &order);
    scene.order(rogue, &Attack::Produced { cursor: 0 });
    let ended = scene.wait(rogue);
    assert!(ended.killed && ended.note.contains("producer cursor 0 is outside"), "{ended:?}");
    scene.assert_undisturbed();
}

#[test]
fn row_64_consumer_cursors() {
    let mut scene = Scene::new();
    for (n, cursor) in [1 << 40, u64::MAX, 3].into_iter().enumerate() {
        scene.assert_quarantined(&format!("rogue-{n}"), &Attack::Consumed { cursor }, "consumer cursor");
    }
}

#[test]
fn row_65_records_that_change_under_the_switch() {
    let mut scene = Scene::new();
    let rogue = scene.rogue("rogue");
    let me = scene.stage.client().id();
    scene.order(rogue, &Attack::Rewrite { to: me.0, records: 20_000 });
    let (mut arrived, mut replied) = (0, false);
    let end = Instant::now() + LONG;
    while !replied && Instant::now() < end {
        let Some(record) = scene.stage.client().receive(Some(Duration::from_secs(1))).unwrap() else { continue };
        let header = record.header();
        match header.kind {
            Kind::Message => {
                assert_eq!(header.source, rogue, "a forged source arrived");
                assert_eq!((header.length, record.payload().len()), (512, 512));
                arrived += 1;
            }
            Kind::Reply => replied = true,
            Kind::Notice => panic!("the rogue was ended: it only rewrote what was valid either way"),
            Kind::Request | Kind::Multicast => {}
        }
    }
    assert!(replied && arrived > 0, "{arrived} records arrived");
    scene.assert_undisturbed();
}

#[test]
fn row_70_control_payloads() {
    let mut scene = Scene::new();
    let rogue = scene.rogue("rogue");
    let mut payloads = vec![vec![], vec![0; 1], vec![0xff; 4096], vec![0; 16 * 1024 + 16]];
    payloads.extend(
        (1..50u32).map(|seed| (0..seed * 13).map(|n| (n.wrapping_mul(2_654_435_761 ^ seed) >> 7) as u8).collect()),
    );
    for bytes in payloads {
        let order = serde_json::to_vec(&Attack::Control { bytes: bytes.clone() }).unwrap();
        // Orders are JSON and so several times longer than what they order: the longest are cut into the rogue's inbox.
        if order.len() > 50_000 {
            continue;
        }
        let answer = Answer::decode(&scene.stage.ask(rogue, &order)).expect("an answer that can be read");
        assert!(matches!(answer, Answer::Refused(_)), "{bytes:?}: {answer:?}");
    }
    scene.assert_undisturbed();
}

#[test]
fn a_world_that_leaves_its_outbox_unsealed_is_ended() {
    let mut scene = Scene::new();
    let liar = scene.stage.add("liar", &["unsealed"], &[]);
    let ended = scene.wait(liar);
    assert!(ended.killed && ended.note.contains("has not sealed it"), "{ended:?}");
    // The same program that does seal goes on: it answers.
    let honest = scene.rogue("honest");
    assert!(!scene.stage.ask(honest, &serde_json::to_vec(&Attack::Slices).unwrap()).is_empty());
    scene.assert_undisturbed();
}

#[test]
fn a_full_standard_error_holds_nobody_up() {
    let (reader, writer) = std::io::pipe().unwrap();
    rustix::io::ioctl_fionbio(&writer, true).unwrap();
    while rustix::io::write(&writer, &[b'x'; 4096]).is_ok() {}
    rustix::io::ioctl_fionbio(&writer, false).unwrap();
    let mut host = Command::new(strait_tests::program()).arg("muffled-host").stderr(writer).spawn().unwrap();
    let end = Instant::now() + LONG;
    let status = loop {
        match host.try_wait().unwrap() {
            Some(status) => break status,
            None if Instant::now() > end => {
                host.kill().unwrap();
                break host.wait().unwrap();
            }
            None => std::thread::sleep(Duration::from_millis(20)),
        }
    };
    assert!(status.success(), "{status}");
    drop(reader);
}
