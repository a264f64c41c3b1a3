//! What a tap sees and what it doesn't, and what is counted.

use super::tests::Bench;
use super::*;
use std::thread;
use std::time::Duration;
use strait_client::{Client, Fate, Header, Kind};

const LONG: Duration = Duration::from_secs(10);
/// Longer than a batch waits.
const A_WHILE: Duration = Duration::from_millis(200);

/// One sight with a payload of its own.
#[derive(Debug)]
struct Seen {
    header: Header,
    fate: Fate,
    payload: Vec<u8>,
}

/// What a tap sees until nothing came for a while, and how much it missed.
fn seen(tapper: &mut Client) -> (Vec<Seen>, u64) {
    let (mut all, mut missed) = (Vec::new(), 0);
    while let Some(record) = tapper.receive(Some(A_WHILE)).unwrap() {
        let (sights, lost) = record.sights().expect("a batch");
        missed += lost;
        all.extend(sights.map(|sight| Seen {
            header: sight.header,
            fate: sight.fate,
            payload: sight.payload.to_vec(),
        }));
    }
    (all, missed)
}

fn settle(client: &mut Client) {
    while client.receive(Some(Duration::from_millis(50))).unwrap().is_some() {}
}

#[test]
fn a_tap_sees_what_is_delivered_refused_and_never_answered() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(20, "a", &["b"]), bench.attach(21, "b", &["a"]));
    let mut tapper = bench.attach(30, "tapper", &[]);
    a.send(WorldId(21), b"before").unwrap();
    settle(&mut b);
    bench.tap(30, "a", true);
    a.send(WorldId(21), b"one").unwrap();
    a.send(WorldId(30), b"denied").unwrap();
    a.start_request(WorldId(21), b"two", Duration::from_millis(20)).unwrap();
    b.send(WorldId(20), b"back").unwrap();
    settle(&mut a);
    let (all, missed) = seen(&mut tapper);
    let told: Vec<_> = all.iter().map(|s| (s.header.source.0, s.header.kind, s.fate, &s.payload[..])).collect();
    let expected = [
        (20, Kind::Message, Fate::Delivered, &b"one"[..]),
        (20, Kind::Message, Fate::Ended(Reason::Refused), b""),
        (20, Kind::Request, Fate::Delivered, b"two"),
        (20, Kind::Request, Fate::Ended(Reason::Deadline), b""),
    ];
    let of_a: Vec<_> = told.iter().copied().filter(|told| told.0 == 20).collect();
    assert_eq!((of_a, missed), (expected.to_vec(), 0));
    assert!(told.contains(&(21, Kind::Message, Fate::Delivered, b"back")), "{told:?}");
    let sequences: Vec<u64> = all.iter().filter(|s| s.header.source.0 == 20).map(|s| s.header.sequence).collect();
    assert_eq!(sequences, [2, 3, 4, 4]);
}

#[test]
fn others_and_what_comes_after_the_end_are_not_seen() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["b"]);
    let mut b = bench.attach(21, "b", &[]);
    let mut tapper = bench.attach(30, "tapper", &[]);
    bench.tap(30, "c*", true);
    a.send(WorldId(21), b"one").unwrap();
    settle(&mut b);
    assert_eq!(seen(&mut tapper).0.len(), 0);
    bench.tap(30, "b", true);
    a.send(WorldId(21), b"two").unwrap();
    assert_eq!(seen(&mut tapper).0.len(), 1);
    bench.untap(30);
    a.send(WorldId(21), b"three").unwrap();
    settle(&mut b);
    assert_eq!(seen(&mut tapper).0.len(), 0);
}

#[test]
fn a_payload_is_shown_if_it_is_wanted_and_both_let_it() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let (mut b, mut shy) = (bench.attach(21, "b", &[]), bench.attach(22, "shy", &[]));
    let mut tapper = bench.attach(30, "tapper", &[]);
    let mut shown = |wants: bool| {
        bench.tap(30, "*", wants);
        a.send(WorldId(21), &[7; 300]).unwrap();
        a.send(WorldId(22), b"secret").unwrap();
        settle(&mut b);
        settle(&mut shy);
        let (all, _) = seen(&mut tapper);
        all.into_iter().map(|seen| (seen.header.length, seen.payload)).collect::<Vec<_>>()
    };
    assert_eq!(shown(true), [(300, vec![7; 256]), (6, Vec::new())]);
    assert_eq!(shown(false), [(300, Vec::new()), (6, Vec::new())]);
}

#[test]
fn what_a_tap_has_no_place_for_is_counted_and_holds_nobody_up() {
    const RECORDS: u64 = 20_000;
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(20, "a", &["b"]), bench.attach(21, "b", &[]));
    let mut tapper = bench.attach(30, "tapper", &[]);
    bench.tap(30, "*", false);
    let reader = thread::spawn(move || {
        for _ in 0..RECORDS {
            b.receive(Some(LONG)).unwrap().expect("every record");
        }
        b
    });
    for _ in 0..RECORDS {
        a.send(WorldId(21), b"x").unwrap();
    }
    // The tapper has read nothing so far.
    let _b = reader.join().unwrap();
    // What was lost is told with the next batch.
    let (first, missed_first) = seen(&mut tapper);
    a.send(WorldId(21), b"last").unwrap();
    let (second, missed) = seen(&mut tapper);
    assert!(missed_first + missed > 0, "some were too many");
    assert_eq!((first.len() + second.len()) as u64 + missed_first + missed, RECORDS + 1);
    let numbers: Vec<u64> = first.iter().map(|seen| seen.header.sequence).collect();
    assert!(numbers.is_sorted());
}

#[test]
fn there_are_so_many_taps_and_they_end_with_their_worlds() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["a*"]);
    let mut tappers: Vec<Client> = (30..39).map(|id| bench.attach(id, "tapper", &[])).collect();
    (30..39).for_each(|id| bench.tap(id, "a", false));
    a.send(WorldId(99), b"x").unwrap();
    let counts: Vec<usize> = tappers.iter_mut().map(|tapper| seen(tapper).0.len()).collect();
    assert_eq!(counts, [1, 1, 1, 1, 1, 1, 1, 1, 0]);
    bench.detach(33);
    bench.tap(38, "a", false);
    a.send(WorldId(99), b"x").unwrap();
    assert_eq!(seen(&mut tappers[8]).0.len(), 1);
}

#[test]
fn counters_say_who_was_denied_who_waits_for_whom_and_who_owes_an_answer() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(20, "a", &["b"]), bench.attach(21, "b", &[]));
    b.send(WorldId(20), b"x").unwrap();
    b.send(WorldId(99), b"x").unwrap();
    settle(&mut b);
    let of_b = bench.count(21).counters;
    assert_eq!((of_b.denied, of_b.returned, of_b.sent, of_b.received), (1, 1, 2, 2));
    assert_eq!((of_b.sent_bytes, of_b.received_bytes), (2 * 80, 2 * 64));
    a.start_request(WorldId(21), b"?", LONG).unwrap();
    while a.try_send(WorldId(21), &[0; 1000]).is_ok() || !a.drain(Duration::from_millis(20)).unwrap_or(false) {
        let of_a = bench.count(20).counters;
        if of_a.waits_for().is_some() {
            break;
        }
    }
    let (of_a, of_b) = (bench.count(20).counters, bench.count(21).counters);
    assert_eq!((of_a.waits_for(), of_b.waiters, of_a.open_requests, of_b.owed_replies), (Some(WorldId(21)), 1, 1, 1));
    assert!(of_a.waits > 0 && of_a.untaken_bytes > 0 && of_b.unread_bytes > 10_000, "{of_a:?} {of_b:?}");
    let request = b.receive(Some(LONG)).unwrap().unwrap().header();
    b.reply(&request, 0, b"").unwrap();
    settle(&mut b);
    settle(&mut a);
    let (of_a, of_b) = (bench.count(20).counters, bench.count(21).counters);
    assert_eq!((of_a.waits_for(), of_b.waiters, of_a.open_requests, of_b.owed_replies), (None, 0, 0, 0));
}
