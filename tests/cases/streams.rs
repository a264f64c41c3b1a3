//! Payloads larger than a slice, between real worlds: whole or told of, whoever else is there, and within bounds.

use std::time::{Duration, Instant};
use strait_broker::WorldId;
use strait_protocol::SliceSize;
use strait_tests::attack::Attack;
use strait_tests::{LONG, Stage, kill_payload, pattern};

const MIB: usize = 1 << 20;

/// What the collector says it has seen: numbers, wholes, incomplete ones.
fn seen(stage: &mut Stage, collector: WorldId, order: &str) -> [u64; 3] {
    let report = String::from_utf8(stage.ask(collector, order.as_bytes())).unwrap();
    let numbers: Vec<u64> = report.split(' ').map(|word| word.parse().unwrap()).collect();
    numbers.try_into().unwrap()
}

fn wait_until(what: &str, mut is_so: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !is_so() {
        assert!(Instant::now() < end, "{what}: not so");
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Bytes of memory that the program of a world holds for itself.
fn memory(pid1: u32) -> usize {
    let children = std::fs::read_to_string(format!("/proc/{pid1}/task/{pid1}/children")).unwrap();
    let status = std::fs::read_to_string(format!("/proc/{}/status", children.trim())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("RssAnon:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<usize>().unwrap() * 1024
}

#[test]
fn twenty_mebibytes_cross_slices_of_64_kib() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    let payload = pattern(20 * MIB);
    assert!(payload.len() > SliceSize::DEFAULT.bytes() as usize * 100);
    assert!(stage.ask(echo, &payload) == payload);
    // And a message, both ways.
    stage.client().send(echo, &payload).unwrap();
    let (header, back) = stage.receive();
    assert_eq!((header.source, header.length as usize, header.stream), (echo, payload.len(), 0));
    assert!(back == payload);
}

#[test]
fn large_and_small_of_several_worlds_interleave() {
    let mut stage = Stage::new();
    let collector = stage.add("collector", &["collector"], &[]);
    let couriers: Vec<_> =
        (0..3).map(|n| stage.add(&format!("courier-{n}"), &["courier", "collector"], &["collector"])).collect();
    stage.add("flood", &["flood", "collector"], &["collector"]);
    wait_until("numbers come", || seen(&mut stage, collector, "")[0] > 0);
    let before = seen(&mut stage, collector, "");
    for courier in &couriers {
        stage.client().start_request(*courier, format!("send {}", 20 * MIB).as_bytes(), LONG).unwrap();
    }
    wait_until("all are whole", || seen(&mut stage, collector, "")[1] == 3);
    let after = seen(&mut stage, collector, "");
    assert!(after[0] > before[0] + 1000, "numbers came all the while: {before:?} {after:?}");
    assert_eq!(after[2], 0);
}

#[test]
fn a_world_that_was_asked_may_answer_at_any_length() {
    let mut stage = Stage::new();
    let mut server = strait_tests::actor(&["echo"], &[]);
    server.send.clear();
    stage.host.spawn("server", &server).unwrap();
    stage.add("curious", &["curious", "server"], &["server"]);
    assert_eq!(String::from_utf8(stage.receive().1).unwrap(), "the same");
}

#[test]
fn a_sender_that_breaks_off_is_told_of_once() {
    let mut stage = Stage::new();
    let collector = stage.add("collector", &["collector"], &[]);
    let courier = stage.add("courier", &["courier", "collector"], &["collector"]);
    stage.ask(courier, b"drop 1000000");
    wait_until("it is told", || seen(&mut stage, collector, "")[2] == 1);
    // The positive control: the same payload, finished.
    stage.ask(courier, b"send 1000000");
    wait_until("it is whole", || seen(&mut stage, collector, "") == [0, 1, 1]);
}

#[test]
fn what_a_dead_sender_left_is_let_go() {
    let mut stage = Stage::new();
    let collector = stage.add("collector", &["collector"], &["*"]);
    let courier = stage.add("courier", &["courier", "collector"], &["collector"]);
    let pid = stage.pid(collector);
    let before = memory(pid);
    stage.ask(courier, format!("half {}", 60 * MIB).as_bytes());
    wait_until("half of it is held", || memory(pid) > before + 29 * MIB);
    let courier_pid = stage.pid(courier);
    kill_payload(courier_pid);
    stage.client().wait(courier, Some(LONG)).unwrap();
    // The collector learns of the death when it sends there.
    seen(&mut stage, collector, &format!("to {}", courier.0));
    wait_until("it is let go", || memory(pid) < before + 8 * MIB);
    let heir = stage.add("heir", &["courier", "collector"], &["collector"]);
    stage.ask(heir, format!("send {}", 20 * MIB).as_bytes());
    wait_until("another is whole", || seen(&mut stage, collector, "") == [0, 1, 0]);
}

#[test]
fn ten_thousand_open_streams_cost_their_receiver_next_to_nothing() {
    let mut stage = Stage::new();
    let collector = stage.add("collector", &["collector"], &[]);
    let honest = stage.add("honest", &["courier", "collector"], &["collector"]);
    let rogue = stage.add("rogue", &["rogue"], &["collector"]);
    let pid = stage.pid(collector);
    let before = memory(pid);
    stage.ask(honest, b"half 9000000");
    let order = Attack::Streams { to: collector.0, streams: 10_000, bytes: 12_000 };
    stage.ask(rogue, &serde_json::to_vec(&order).unwrap());
    // Everything was sent before this is asked, and comes in order.
    seen(&mut stage, collector, "");
    let held = memory(pid) - before;
    // 120 MB came; 64 streams of it are kept, and the half of the honest one, which is the positive control.
    assert!(held < 16 * MIB, "{held} bytes are held");
    assert!(held > 4_000_000, "{held} bytes are held, and the honest half is not among them");
    stage.ask(honest, b"send 9000000");
    wait_until("the honest one is whole", || seen(&mut stage, collector, "")[1] == 1);
    // Of what comes to nothing its receiver is told now and then, not each time.
    let told = seen(&mut stage, collector, "")[2];
    assert!((1..100).contains(&told), "{told} times");
}
