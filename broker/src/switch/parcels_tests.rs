//! Parcels between real clients, and what a holder can and can't do.

use super::*;
use crate::switch::tests::Bench;
use std::time::Duration;
use strait_client::{Client, Error, Kind, Parcel};
use strait_protocol::layout::HEADER_BYTES;
use strait_protocol::{FLAG_PARCEL, Header, SliceSize};

const SECOND: Option<Duration> = Some(Duration::from_secs(5));

fn receive(client: &mut Client) -> (Header, Option<Parcel>) {
    let record = client.receive(SECOND).unwrap().expect("a record within the time");
    (record.header(), record.parcel().cloned())
}

fn sealed(client: &mut Client, bytes: usize, fill: u8) -> Parcel {
    let mut parcel = client.new_parcel(bytes).unwrap();
    parcel.fill(fill);
    parcel.seal().unwrap()
}

/// Until the switch has taken back what was dropped.
fn settle(client: &mut Client) {
    assert!(client.receive(Some(Duration::from_millis(50))).unwrap().is_none());
}

#[test]
fn a_parcel_arrives_and_goes_on_in_order_with_the_rest() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &["*"]);
    let mut c = bench.attach(22, "c", &[]);
    let parcel = sealed(&mut a, 10_000, 7);
    a.send(WorldId(21), b"before").unwrap();
    a.send_parcel(WorldId(21), &parcel, b"with").unwrap();
    a.send(WorldId(21), b"after").unwrap();
    drop(parcel);
    assert!(receive(&mut b).1.is_none());
    let (header, parcel) = receive(&mut b);
    assert_eq!(
        (header.source, header.sequence, header.length),
        (WorldId(20), 3, 4),
        "the request for it was the first"
    );
    let parcel = parcel.unwrap();
    assert_eq!(parcel.bytes(), [7; 10_000]);
    assert!(receive(&mut b).1.is_none());
    b.send_parcel(WorldId(22), &parcel, b"").unwrap();
    drop(b);
    bench.detach(21);
    let (header, parcel) = receive(&mut c);
    assert_eq!((header.source, parcel.unwrap().bytes()), (WorldId(21), &[7; 10_000][..]));
}

#[test]
fn a_parcel_that_is_sent_often_is_handed_over_once() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &[]);
    let parcel = sealed(&mut a, 4096, 1);
    let mut kept = None;
    for round in 0..1000 {
        a.send_parcel(WorldId(21), &parcel, b"").unwrap();
        let (_, parcel) = receive(&mut b);
        assert_eq!(parcel.as_ref().unwrap().bytes()[0], 1);
        // Now and then it is dropped while more of it are on the way.
        kept = if round % 7 == 0 { None } else { parcel };
    }
    drop(kept);
    settle(&mut b);
    // All came back: there is room for as many others as at the start.
    for fill in 0..2 {
        let other = sealed(&mut a, 4096, fill);
        a.send_parcel(WorldId(21), &other, b"").unwrap();
        assert_eq!(receive(&mut b).1.unwrap().bytes()[0], fill);
        settle(&mut b);
    }
}

#[test]
fn only_what_is_sealed_and_held_can_be_sent() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &[]);
    let open = a.new_parcel(100).unwrap();
    for (number, reason) in [(1, Reason::Unsealed), (2, Reason::NoSuchParcel), (u32::MAX, Reason::NoSuchParcel)] {
        let mut draft = a.draft(Kind::Message, WorldId(21), 0).unwrap();
        (draft.header_mut().flags, draft.header_mut().stream) = (FLAG_PARCEL, number);
        draft.send().unwrap();
        assert_eq!(receive(&mut a).0.code, reason as u16);
    }
    let parcel = open.seal().unwrap();
    a.send_parcel(WorldId(21), &parcel, b"").unwrap();
    assert_eq!(receive(&mut b).1.unwrap().bytes(), [0; 100]);
    // A number is its holder's own: to B, whose first parcel this is, it means nothing until it has one.
    let mut c = bench.attach(22, "c", &["*"]);
    let mut draft = c.draft(Kind::Message, WorldId(21), 0).unwrap();
    (draft.header_mut().flags, draft.header_mut().stream) = (FLAG_PARCEL, 1);
    draft.send().unwrap();
    assert_eq!(receive(&mut c).0.code, Reason::NoSuchParcel as u16);
}

#[test]
fn who_makes_more_than_it_may_is_refused() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let quota = |result: Result<_, Error>| matches!(result, Err(Error::Switch(Refusal::ParcelQuota)));
    assert!(quota(a.new_parcel(64 * 1024 + 1)));
    assert!(quota(a.new_parcel(usize::MAX)));
    assert!(matches!(a.new_parcel(0), Err(Error::Switch(Refusal::Malformed))));
    let all: Vec<_> = (0..4).map(|_| a.new_parcel(1).unwrap()).collect();
    assert!(quota(a.new_parcel(1)), "four is the most");
    drop(all);
    let whole = a.new_parcel(64 * 1024).unwrap();
    assert!(quota(a.new_parcel(1)), "no bytes are left");
    drop(whole);
    assert!(a.new_parcel(64 * 1024).is_ok());
}

#[test]
fn who_keeps_parcels_gets_no_more_and_no_sender_takes_all_the_room() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut other = bench.attach(22, "other", &["*"]);
    let mut hoarder = bench.attach(21, "hoarder", &[]);
    let mut kept = Vec::new();
    for n in 0..3 {
        let parcel = sealed(&mut a, 4096, n);
        a.send_parcel(WorldId(21), &parcel, b"").unwrap();
        if n < 2 {
            kept.push(receive(&mut hoarder).1.unwrap());
        }
    }
    assert_eq!(receive(&mut a).0.code, Reason::ParcelQuota as u16, "half of four is two");
    let parcel = sealed(&mut other, 4096, 9);
    other.send_parcel(WorldId(21), &parcel, b"").unwrap();
    assert_eq!(receive(&mut hoarder).1.unwrap().bytes()[0], 9);
    kept.pop();
    settle(&mut hoarder);
    let parcel = sealed(&mut a, 4096, 5);
    a.send_parcel(WorldId(21), &parcel, b"").unwrap();
    assert_eq!(receive(&mut hoarder).1.unwrap().bytes()[0], 5);
}

#[test]
fn parcels_that_had_to_wait_for_room_are_not_counted_twice() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &[]);
    let mut c = bench.attach(22, "c", &[]);
    let parcel = sealed(&mut a, 4096, 3);
    for n in 0..30u32 {
        a.send_parcel(WorldId(21), &parcel, &[n as u8; 1000]).unwrap();
        // Something for another receiver, so that what waits is taken out and held.
        a.send(WorldId(22), b"through").unwrap();
        while c.try_receive().unwrap().is_some() {}
        if n >= 12 {
            let record = b.receive(SECOND).unwrap().unwrap();
            assert_eq!((record.payload()[0], record.parcel().unwrap().bytes()[0]), (n as u8 - 12, 3));
        }
    }
    for n in 18..30u8 {
        let record = b.receive(SECOND).unwrap().unwrap();
        assert_eq!((record.payload()[0], record.parcel().unwrap().bytes()[0]), (n, 3));
    }
    settle(&mut b);
    assert_eq!(bench.count(21).counters.parcels, 0);
    assert_eq!(bench.count(20).counters.parcels, 1);
}

#[test]
fn a_parcel_that_waits_its_turn_is_counted_once() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &["*"]);
    let mut c = bench.attach(22, "c", &[]);
    // Half of the inbox is full, and who waits in line needs more than the other half.
    let half = (SliceSize::MIN.bytes() - HEADER_BYTES) / 2;
    a.draft(Kind::Message, WorldId(22), (half - Header::BYTES) as usize).unwrap().send().unwrap();
    a.draft(Kind::Message, WorldId(22), half as usize).unwrap().send().unwrap();
    while bench.count(22).counters.waiters == 0 {
        std::thread::yield_now();
    }
    let parcel = sealed(&mut b, 4096, 7);
    b.send_parcel(WorldId(22), &parcel, b"").unwrap();
    while bench.count(22).counters.waiters < 2 {
        std::thread::yield_now();
    }
    assert!(receive(&mut c).1.is_none());
    assert!(receive(&mut c).1.is_none());
    assert!(receive(&mut c).1.is_some());
    settle(&mut c);
    assert_eq!(bench.count(22).counters.parcels, 0, "it came once and was given back once");
}
