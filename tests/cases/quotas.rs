//! Worlds that take what they can get within the rules (attempts 66 to 68 of the list), while two honest worlds keep talking.

use std::time::{Duration, Instant};
use strait_broker::{Error, Reason, WorldId, WorldRow};
use strait_tests::attack::Attack;
use strait_tests::{Gauge, LONG, Pair, Stage, payload_of, processor_time};

/// Bytes that the switch may hold on a world's account: its budget, a record more, and a notice for each of the requests that it may have open,
/// which must end even if there is no room for their replies.
const BUDGET: u64 = 256 * 1024 + 4096 + 1025 * 128;
/// What a switch may grow by for a handful of worlds.
const BOUND_KIB: u64 = 8192;

struct Scene {
    stage: Stage,
    pair: Pair,
    switch: Gauge,
}

impl Scene {
    fn new() -> Self {
        let mut stage = Stage::new();
        let pair = Pair::on(&mut stage);
        pair.assert_undisturbed(&mut stage);
        let switch = Gauge::new(stage.broker_pids().1);
        Self { stage, pair, switch }
    }

    fn order(&mut self, rogue: WorldId, attack: &Attack) {
        let order = serde_json::to_vec(attack).unwrap();
        self.stage.client().start_request(rogue, &order, LONG).unwrap();
    }

    /// A rogue that presses on: see [`Attack::Press`].
    fn press(&mut self, to: u64, receivers: u64, records: u64, bytes: u32, asks: bool) -> WorldId {
        let rogue = self.stage.add("rogue", &["rogue"], &["deaf", "sink", "echo"]);
        self.order(rogue, &Attack::Press { to, receivers, records, bytes, asks });
        rogue
    }

    /// What the broker says of a world from which nothing more has been taken for a while.
    fn stopped(&mut self, world: WorldId) -> WorldRow {
        let end = Instant::now() + LONG;
        let (mut last, mut since) = (self.stage.row(world), Instant::now());
        while since.elapsed() < Duration::from_secs(1) {
            assert!(Instant::now() < end, "{last:?} is still sending");
            std::thread::sleep(Duration::from_millis(20));
            let row = self.stage.row(world);
            if row.counters.sent != last.counters.sent {
                (last, since) = (row, Instant::now());
            }
        }
        self.stage.row(world)
    }

    fn received(&mut self, world: WorldId, count: u64) {
        let end = Instant::now() + LONG;
        while self.stage.row(world).counters.received < count {
            assert!(Instant::now() < end, "{:?} has not received {count}", self.stage.row(world));
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn assert_unharmed(&mut self) {
        self.switch.look();
        let grown = self.switch.most.own_kib - self.switch.start.own_kib;
        assert!(grown < BOUND_KIB, "the switch has grown by {grown} KiB");
        self.pair.assert_undisturbed(&mut self.stage);
    }
}

#[test]
fn row_66_a_bell_costs_its_ringer_more_than_the_switch() {
    let mut stage = Stage::new();
    let rogue = stage.add("rogue", &["rogue"], &[]);
    let (pid, switch) = (stage.pid(rogue), stage.broker_pids().1);
    let ringer = payload_of(pid).unwrap();
    std::thread::sleep(Duration::from_millis(200));
    let before = (processor_time(ringer), processor_time(switch));
    let rings = serde_json::to_vec(&Attack::Bell { rings: 1_000_000 }).unwrap();
    assert_eq!(stage.ask(rogue, &rings), b"done");
    let took = (processor_time(ringer) - before.0, processor_time(switch) - before.1);
    assert!(took.1 < took.0 / 4, "ringing took {:?}, listening {:?}", took.0, took.1);
}

#[test]
fn row_66_a_bell_that_rings_all_the_time_disturbs_nobody_and_is_heard() {
    let mut scene = Scene::new();
    let rogue = scene.stage.add("rogue", &["rogue"], &[]);
    scene.order(rogue, &Attack::Bell { rings: 3_000_000 });
    scene.assert_unharmed();
    // The control: what it publishes after all that is taken.
    let me = scene.stage.client().id();
    scene.order(rogue, &Attack::Forge { to: me.0 });
    while scene.stage.receive().1 != b"forged" {}
    scene.assert_unharmed();
}

#[test]
fn row_67_only_who_sends_to_a_world_that_never_reads_waits() {
    let mut scene = Scene::new();
    let deaf = scene.stage.add("deaf", &["deaf"], &[]);
    let honest = scene.stage.add("honest", &["flood", "deaf"], &["deaf"]);
    let rogue = scene.press(deaf.0, 1, 100_000, 4000, false);
    for world in [honest, rogue] {
        let row = scene.stopped(world);
        assert!(row.counters.held_bytes <= BUDGET, "{row:?}");
    }
    // Nothing is charged to who can't help it, and who sends elsewhere doesn't wait.
    let row = scene.stage.row(deaf);
    assert_eq!(row.counters.held_bytes, 0, "{row:?}");
    scene.assert_unharmed();
}

#[test]
fn row_67_who_asks_a_world_that_never_reads_is_told() {
    let mut scene = Scene::new();
    let deaf = scene.stage.add("deaf", &["deaf"], &[]);
    let honest = scene.stage.add("honest", &["flood", "deaf"], &["deaf"]);
    scene.stopped(honest);
    let told = scene.stage.client().request(deaf, b"?", Duration::from_millis(300));
    assert!(matches!(told, Err(Error::Undelivered { reason: Reason::Deadline, .. })), "{told:?}");
}

#[test]
fn row_67_who_reads_gets_all_of_the_same() {
    let mut scene = Scene::new();
    let sink = scene.stage.add("sink", &["sink"], &[]);
    scene.press(sink.0, 1, 20_000, 4000, false);
    scene.received(sink, 20_000);
    scene.assert_unharmed();
}

#[test]
fn row_68_who_sends_to_nobody_and_doesnt_read_is_not_read() {
    let mut scene = Scene::new();
    let rogue = scene.press(1 << 40, 10_000, 10_000, 16, false);
    let row = scene.stopped(rogue);
    assert!(row.counters.sent < 10_000 && row.counters.held_bytes <= BUDGET, "{row:?}");
    scene.assert_unharmed();
    // The control: who reads what comes back may go on.
    scene.stage.add("caller", &["caller", "10000"], &[]);
    assert_eq!(scene.stage.receive().1, b"10000");
}

#[test]
fn row_68_who_asks_and_doesnt_read_the_answers_is_not_read() {
    let mut scene = Scene::new();
    let echo = scene.stage.client().resolve("echo").unwrap();
    let rogue = scene.press(echo.0, 1, 10_000, 512, true);
    let row = scene.stopped(rogue);
    assert!(row.counters.sent < 10_000 && row.counters.held_bytes <= BUDGET, "{row:?}");
    // Whom it asked goes on answering others.
    scene.assert_unharmed();
}

#[test]
fn row_68_who_asks_the_control_service_and_doesnt_read_is_not_read() {
    let mut scene = Scene::new();
    let rogue = scene.press(WorldId::CONTROL.0, 1, 10_000, 64, true);
    let row = scene.stopped(rogue);
    assert!(row.counters.sent < 10_000 && row.counters.held_bytes <= BUDGET, "{row:?}");
    scene.assert_unharmed();
}

#[test]
fn row_68_a_world_has_a_thousand_requests_open_and_no_more() {
    let mut scene = Scene::new();
    scene.stage.add("sink", &["sink"], &[]);
    scene.stage.add("petitioner", &["petitioner", "sink", "3000"], &["sink"]);
    assert_eq!(scene.stage.receive().1, (3000 - 1024).to_string().as_bytes());
    scene.assert_unharmed();
}
