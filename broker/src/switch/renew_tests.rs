//! Worlds that end and go on: what their next life gets, what their senders are told, and that neither their word nor their death can change that.

use super::tests::{Bench, SECOND, receive};
use super::*;
use crate::link::{Command, Event as Report, GroupPassport};
use rustix::fs::{SealFlags, fcntl_add_seals};
use std::io::Write;
use std::time::Duration;
use strait_client::Client;
use strait_protocol::{FLAG_REPEATABLE, Header, Kind};

impl Bench {
    /// Ends one life of `b` (20) and begins the next.
    fn renew(&mut self, gives_back: bool) -> (Client, bool) {
        let (passport, for_switch, for_world) = Self::channel(20, "b", &["*"]);
        let command = Command::Renew { passport, gives_back };
        self.link.send(&command, &for_switch.each_ref().map(AsFd::as_fd)).unwrap();
        let Report::Renewed { id: 20, has_taken, .. } = self.report() else { panic!("not renewed") };
        fcntl_add_seals(&for_world[1], SealFlags::FUTURE_WRITE | SealFlags::SEAL).unwrap();
        (Self::client(20, "b", &for_world), has_taken)
    }
}

fn number(client: &mut Client) -> u64 {
    u64::from_ne_bytes(receive(client).1[..8].try_into().unwrap())
}

#[test]
fn what_was_not_read_is_there_in_the_next_life_once_and_in_order() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    // More than the inbox takes: some wait in it, some are held, some are still with their sender.
    a.set_patience(Some(Duration::from_millis(50)));
    let sent = (0u64..).take_while(|n| a.send(WorldId(20), &[n.to_ne_bytes(); 100].concat()).is_ok()).count() as u64;
    assert!(sent > 20, "{sent}");
    for expected in 0..5 {
        assert_eq!(number(&mut b), expected);
    }
    drop(b);
    let (mut b, has_taken) = bench.renew(false);
    assert!(has_taken);
    for expected in 5..sent {
        assert_eq!(number(&mut b), expected);
    }
    a.send(WorldId(20), &sent.to_ne_bytes()).unwrap();
    assert_eq!(number(&mut b), sent);
    assert_eq!(bench.count(19).counters.held_bytes, 0);
}

#[test]
fn a_request_that_was_read_is_told_and_one_that_waits_is_answered() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    let read = a.start_request(WorldId(20), b"read", SECOND.unwrap()).unwrap();
    assert_eq!(receive(&mut b).1, b"read");
    let waits = a.start_request(WorldId(20), b"waits", SECOND.unwrap()).unwrap();
    // Taken by the switch by the time that an answer to this is here.
    assert!(a.drain(SECOND.unwrap()).unwrap());
    drop(b);
    let (mut b, _) = bench.renew(false);
    let (notice, _) = receive(&mut a);
    assert_eq!((notice.kind, notice.code, notice.correlation), (Kind::Notice, Reason::Died as u16, read));
    let (request, payload) = receive(&mut b);
    assert_eq!((payload.as_slice(), request.correlation), (&b"waits"[..], waits));
    b.reply(&request, 0, b"here").unwrap();
    assert_eq!(receive(&mut a).0.correlation, waits);
    // What the last life read can't be answered by this one.
    b.reply(&Header { correlation: read, ..request }, 0, b"late").unwrap();
    assert_eq!(receive(&mut b).0.code, Reason::NoSuchRequest as u16);
}

#[test]
fn of_an_answer_that_has_ended_no_piece_comes_to_the_next_life() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    b.start_request(WorldId(19), b"?", SECOND.unwrap()).unwrap();
    let (request, _) = receive(&mut a);
    let mut writer = a.reply_writer(&request, 0);
    writer.write_all(&[7; 8000]).unwrap();
    writer.finish().unwrap();
    assert!(a.drain(SECOND.unwrap()).unwrap());
    let counters = bench.count(20).counters;
    assert_eq!((counters.held_records, counters.open_requests), (0, 0), "all of it is there");
    assert!(counters.received > 1, "in pieces");
    drop(b);
    let (mut b, _) = bench.renew(false);
    a.send(WorldId(20), b"next").unwrap();
    let record = b.receive_piece(SECOND).unwrap().expect("a record");
    assert_eq!((record.payload(), record.piece()), (&b"next"[..], None));
}

#[test]
fn a_life_hears_nothing_that_was_said_to_the_last_one() {
    let mut bench = Bench::new();
    let mut control = bench.attach(1, "strait.control", &["*"]);
    let (mut a, mut b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    b.start_request(WorldId(19), b"?", SECOND.unwrap()).unwrap();
    let (request, _) = receive(&mut a);
    let told = control.start_request(WorldId(20), b"end", SECOND.unwrap()).unwrap();
    assert!(control.drain(SECOND.unwrap()).unwrap());
    a.reply(&request, 0, b"to the last one").unwrap();
    a.send(WorldId(20), b"to whoever is b").unwrap();
    assert!(a.drain(SECOND.unwrap()).unwrap());
    drop(b);
    let (mut b, has_taken) = bench.renew(false);
    assert!(!has_taken);
    assert_eq!(receive(&mut b).1, b"to whoever is b");
    assert_eq!(b.try_receive().unwrap().map(|record| record.header()), None);
    let (notice, _) = receive(&mut control);
    assert_eq!((notice.kind, notice.code, notice.correlation), (Kind::Notice, Reason::Died as u16, told));
    // Its own requests count anew.
    b.start_request(WorldId(19), b"again", SECOND.unwrap()).unwrap();
    assert_eq!(receive(&mut a).1, b"again");
}

#[test]
fn what_is_given_back_is_told_to_each_sender_and_charged_to_nobody() {
    let mut bench = Bench::new();
    let (mut a, b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    let mut c = bench.attach(21, "c", &["*"]);
    let asked = a.start_request(WorldId(20), b"?", SECOND.unwrap()).unwrap();
    // More than the inbox takes; something for somebody else behind it makes the switch hold the rest.
    let sent = 1 + (0..20).map(|_| a.send(WorldId(20), &[7; 1000]).unwrap()).count();
    a.send(WorldId(21), b"past").unwrap();
    assert_eq!(receive(&mut c).1, b"past");
    assert!(bench.count(19).counters.held_bytes > 0);
    drop(b);
    let (mut b, has_taken) = bench.renew(true);
    assert!(!has_taken);
    for n in 0..sent {
        let (notice, _) = receive(&mut a);
        assert_eq!((notice.kind, notice.code), (Kind::Notice, Reason::CantStart as u16), "{n}");
        assert_eq!(notice.correlation == asked, n == 0);
    }
    assert!(b.try_receive().unwrap().is_none());
    assert_eq!(bench.count(19).counters.held_bytes, 0);
    a.send(WorldId(20), b"next").unwrap();
    assert_eq!(receive(&mut b).1, b"next");
}

#[test]
fn what_a_life_published_is_delivered_after_its_end() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    for n in 0..50u64 {
        b.send(WorldId(19), &n.to_ne_bytes()).unwrap();
    }
    drop(b);
    let (mut b, _) = bench.renew(false);
    b.send(WorldId(19), &50u64.to_ne_bytes()).unwrap();
    for expected in 0..=50 {
        let (header, payload) = receive(&mut a);
        assert_eq!((header.source, header.sequence), (WorldId(20), expected + 1));
        assert_eq!(payload, expected.to_ne_bytes());
    }
}

#[test]
fn a_parcel_that_waits_comes_with_its_record() {
    let mut bench = Bench::new();
    let (mut a, b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    let mut parcel = a.new_parcel(4096).unwrap();
    parcel[..13].copy_from_slice(b"in the parcel");
    let parcel = parcel.seal().unwrap();
    a.send_parcel(WorldId(20), &parcel, b"with it").unwrap();
    assert!(a.drain(SECOND.unwrap()).unwrap());
    drop(b);
    let (mut b, _) = bench.renew(false);
    let record = b.receive(SECOND).unwrap().unwrap();
    assert_eq!(record.payload(), b"with it");
    assert_eq!(&record.parcel().unwrap().bytes()[..13], b"in the parcel");
}

#[test]
fn a_life_that_says_it_read_what_never_came_is_not_believed() {
    let mut bench = Bench::new();
    let mut a = bench.attach(19, "a", &["*"]);
    let rogue = bench.rogue(20, &["*"]);
    a.send(WorldId(20), b"one").unwrap();
    a.send(WorldId(20), b"two").unwrap();
    assert!(a.drain(SECOND.unwrap()).unwrap());
    rogue.consumed(u64::MAX);
    let (mut b, has_taken) = bench.renew(false);
    assert!(!has_taken);
    assert_eq!((receive(&mut b).1, receive(&mut b).1), (b"one".to_vec(), b"two".to_vec()));
}

#[test]
fn a_life_that_says_it_read_half_a_record_forges_none() {
    let mut bench = Bench::new();
    let mut a = bench.attach(19, "a", &["*"]);
    let rogue = bench.rogue(20, &["*"]);
    // The payload looks like a record from the control service, and the last life says that it begins with that.
    let forged = Header { source: WorldId::CONTROL, ..Header::new(Kind::Message, WorldId(20), 0) };
    let payload: Vec<u8> = forged.encode().iter().flat_map(|word| word.to_ne_bytes()).collect();
    a.send(WorldId(20), &payload).unwrap();
    a.send(WorldId(20), b"next").unwrap();
    assert!(a.drain(SECOND.unwrap()).unwrap());
    rogue.consumed(u64::from(Header::BYTES));
    let (mut b, has_taken) = bench.renew(false);
    assert!(has_taken);
    let (header, payload) = receive(&mut b);
    assert_eq!((header.source, payload.as_slice()), (WorldId(19), &b"next"[..]));
}

#[test]
fn a_parcel_that_waits_for_a_group_goes_with_the_life_that_sent_it() {
    const GROUP: WorldId = WorldId(50);
    let mut bench = Bench::new();
    let group = GroupPassport { id: 50, name: "pool".into(), outstanding: 1, max_payload: 1000, budget_bytes: 4096 };
    bench.say(&Command::Group(group));
    let (mut a, mut b) = (bench.attach(19, "a", &["*"]), bench.attach(20, "b", &["*"]));
    let mut parcel = a.new_parcel(4096).unwrap();
    parcel.fill(7);
    let parcel = parcel.seal().unwrap();
    a.send_parcel(WorldId(20), &parcel, b"read").unwrap();
    let held = b.receive(SECOND).unwrap().unwrap().parcel().unwrap().clone();
    let mut draft = b.draft(Kind::Request, GROUP, 0).unwrap();
    (draft.header_mut().flags, draft.header_mut().timeout_ms) = (FLAG_REPEATABLE, 60_000);
    draft.send().unwrap();
    b.send_parcel(GROUP, &held, b"for a member").unwrap();
    b.send(GROUP, b"without").unwrap();
    while bench.count(20).counters.held_bytes < 3 * 128 {
        std::thread::yield_now();
    }
    // The next life gets the same parcel once more.
    a.send_parcel(WorldId(20), &parcel, b"not read").unwrap();
    assert!(a.drain(SECOND.unwrap()).unwrap());
    std::mem::forget((held, b));
    let (mut b, _) = bench.renew(false);
    let again = b.receive(SECOND).unwrap().unwrap().parcel().unwrap().clone();
    let mut member = bench.attach(30, "pool/30", &[]);
    bench.say(&Command::Join { group: GROUP.0, world: 30 });
    assert_eq!(receive(&mut member).1, b"without");
    assert_eq!(bench.count(20).counters.held_bytes, 0);
    assert_eq!(again.bytes(), [7; 4096]);
    drop(again);
    assert!(b.receive(Some(Duration::from_millis(50))).unwrap().is_none());
    assert_eq!(bench.count(20).counters.parcels, 0, "it can be given back");
}
