//! Direct links between real clients: made, used, changed over, ended, and lied about.

use super::tests::Bench;
use super::*;
use std::io::Write;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;
use strait_client::{Client, Error, Kind, Refusal};
use strait_protocol::{Header, LINKED};

const LONG: Duration = Duration::from_secs(10);
const A: WorldId = WorldId(20);
const B: WorldId = WorldId(21);

fn pair(bench: &mut Bench) -> (Client, Client) {
    (bench.attach(20, "a", &["*"]), bench.attach(21, "b", &["*"]))
}

/// Links A to B; B takes part on a thread of its own.
fn link(mut a: Client, mut b: Client) -> (Client, Client) {
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            while !b.is_linked(A) {
                assert!(b.receive(Some(Duration::from_millis(1))).unwrap().is_none());
            }
            b
        });
        a.link(B, LONG).unwrap();
        let b = other.join().unwrap();
        (a, b)
    })
}

fn receive(client: &mut Client) -> (Header, Vec<u8>) {
    let record = client.receive(Some(LONG)).unwrap().expect("a record within the time");
    (record.header(), record.payload().to_vec())
}

fn settle(client: &mut Client) {
    while client.receive(Some(Duration::from_millis(20))).unwrap().is_some() {}
}

#[test]
fn what_is_sent_over_a_link_is_from_its_sender_and_not_seen_by_the_switch() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    let (mut a, mut b) = link(a, b);
    a.send(B, b"opening").unwrap();
    receive(&mut b);
    let before = bench.count(20).counters.sent;
    for n in 1..=1000u64 {
        a.send(B, &n.to_ne_bytes()).unwrap();
        let (header, payload) = receive(&mut b);
        assert_eq!((header.source, header.destination, header.kind), (A, B, Kind::Message));
        assert_eq!((header.sequence & 0xff_ffff_ffff, payload), (n + 1, n.to_ne_bytes().to_vec()));
        assert!(header.sequence & LINKED != 0);
    }
    assert_eq!(bench.count(20).counters.sent, before);
    let count = bench.count(20);
    assert_eq!((count.counters.links, count.counters.linked_bytes), (1, 64 + 16 + 1000 * 80));
}

#[test]
fn requests_go_and_are_answered_over_the_link() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    let (mut a, mut b) = link(a, b);
    let (told, is_told) = mpsc::channel();
    let server = thread::spawn(move || {
        for _ in 0..100 {
            let (header, payload) = receive(&mut b);
            b.reply(&header, 3, &payload).unwrap();
        }
        // However an answer is made, it goes the way its request came.
        let (header, payload) = receive(&mut b);
        let mut draft = b.draft_reply(&header, 4, 16).unwrap();
        draft.payload_mut()[..3].copy_from_slice(&[payload[0], 1, 2]);
        draft.shorten(3);
        draft.send().unwrap();
        let (header, payload) = receive(&mut b);
        let mut writer = b.reply_writer(&header, 4);
        payload.iter().chain(&[1, 2]).for_each(|byte| writer.write_all(&[*byte]).unwrap());
        writer.finish().unwrap();
        // One more is asked, and answered when its asker has given up.
        let (header, _) = receive(&mut b);
        is_told.recv().unwrap();
        b.reply(&header, 0, b"too late").unwrap();
        b
    });
    for n in 0..100u8 {
        let reply = a.request(B, &[n], LONG).unwrap();
        assert_eq!((reply.header.source, reply.header.code, &reply.payload[..]), (B, 3, &[n][..]));
    }
    for way in 0..2u8 {
        let reply = a.request(B, &[way], LONG).unwrap();
        assert_eq!((reply.header.code, &reply.payload[..]), (4, &[way, 1, 2][..]));
        assert!(reply.header.sequence & LINKED != 0);
    }
    let late = a.request(B, b"", Duration::from_millis(20)).unwrap_err();
    assert!(matches!(late, Error::Undelivered { reason: Reason::Deadline, .. }), "{late}");
    told.send(()).unwrap();
    let _b = server.join().unwrap();
    assert!(a.receive(Some(Duration::from_millis(200))).unwrap().is_none(), "a request ends once");
}

#[test]
fn the_order_holds_whichever_way_each_record_goes() {
    let mut bench = Bench::new();
    let (mut a, mut b) = pair(&mut bench);
    let sender = thread::spawn(move || {
        let parcel = a.new_parcel(16).unwrap().seal().unwrap();
        for n in 0..30_000u32 {
            if n == 1000 {
                a.link(B, LONG).unwrap();
            }
            if n == 20_000 {
                a.unlink(B).unwrap();
            }
            if n == 21_000 {
                while a.is_linked(B) || a.link(B, LONG).is_err() {
                    let _ = a.try_receive().unwrap();
                }
            }
            match n % 97 {
                // Through the switch, all of these.
                0 => assert!(a.send_parcel(B, &parcel, &n.to_ne_bytes()).is_ok()),
                13 => {
                    let mut draft = a.draft(Kind::Message, B, 4).unwrap();
                    draft.payload_mut().copy_from_slice(&n.to_ne_bytes());
                    let _ = draft.send().unwrap();
                }
                _ => assert!(a.send(B, &n.to_ne_bytes()).is_ok()),
            }
        }
        assert!(a.drain(LONG).unwrap());
        a
    });
    let mut linked = 0;
    for n in 0..30_000u32 {
        let (header, payload) = receive(&mut b);
        assert_eq!((header.kind, payload), (Kind::Message, n.to_ne_bytes().to_vec()), "{header:?}");
        linked += u32::from(header.sequence & LINKED != 0);
    }
    assert!((20_000..29_000).contains(&linked), "{linked}");
    let mut a = sender.join().unwrap();
    settle(&mut a);
    assert_eq!(bench.count(20).counters.links, 1);
}

#[test]
fn both_flood_each_other_before_they_read() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    let (a, b) = link(a, b);
    let talk = |mut client: Client, peer: WorldId| {
        move || {
            for n in 0..2000u32 {
                client.send(peer, &[n as u8; 200]).unwrap();
            }
            for n in 0..2000u32 {
                assert_eq!(receive(&mut client).1, [n as u8; 200]);
            }
            client
        }
    };
    let (one, two) = (thread::spawn(talk(a, B)), thread::spawn(talk(b, A)));
    let _clients = (one.join().unwrap(), two.join().unwrap());
}

#[test]
fn policy_is_asked_of_both_sides() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["b"]);
    let _b = bench.attach(21, "b", &["c"]);
    for peer in [B, A, WorldId(99), WorldId::SWITCH, WorldId::CONTROL] {
        let refused = a.link(peer, LONG).unwrap_err();
        assert!(matches!(refused, Error::Switch(Refusal::LinkRefused)), "{refused}");
    }
}

#[test]
fn who_takes_no_part_is_not_waited_for() {
    let mut bench = Bench::new();
    let (mut a, mut b) = pair(&mut bench);
    let late = a.link(B, Duration::from_millis(50)).unwrap_err();
    assert!(matches!(late, Error::Undelivered { reason: Reason::Deadline, .. }), "{late}");
    a.send(B, b"all the same").unwrap();
    assert_eq!(receive(&mut b).1, b"all the same");
    settle(&mut b);
    settle(&mut a);
    assert!(!b.is_linked(A) && !a.is_linked(B));
    assert_eq!((bench.count(20).counters.links, bench.count(21).counters.links), (0, 0));
}

#[test]
fn what_a_dead_one_published_is_read_and_who_waits_is_told() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    let (mut a, mut b) = link(a, b);
    let asked = a.start_request(B, b"?", Duration::from_secs(60)).unwrap();
    receive(&mut b);
    for n in 0..50u8 {
        b.send(A, &[n]).unwrap();
    }
    // Two that B doesn't read any more.
    let unread = [a.send(B, b"one").unwrap(), a.send(B, b"two").unwrap()];
    drop(b);
    bench.detach(21);
    for n in 0..50u8 {
        assert_eq!(receive(&mut a).1, [n]);
    }
    let mut told: Vec<_> = (0..3).map(|_| receive(&mut a).0).collect();
    told.sort_by_key(|notice| notice.sequence);
    assert!(
        told.iter().all(|notice| (notice.kind, notice.code, notice.source) == (Kind::Notice, Reason::Died as u16, B))
    );
    assert_eq!(told[0].correlation, asked);
    assert_eq!([told[1].sequence, told[2].sequence], unread);
    a.send(B, b"later").unwrap();
    assert_eq!(receive(&mut a).0.code, Reason::NoSuchWorld as u16);
}

#[test]
fn an_unlinked_request_ends_and_its_answer_goes_nowhere() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    let (mut a, mut b) = link(a, b);
    let asked = a.start_request(B, b"?", Duration::from_secs(60)).unwrap();
    let (request, _) = receive(&mut b);
    a.unlink(B).unwrap();
    let ended = thread::spawn(move || {
        let (notice, _) = receive(&mut a);
        (a, notice)
    });
    settle(&mut b);
    let (mut a, notice) = ended.join().unwrap();
    assert_eq!((notice.kind, notice.code, notice.correlation), (Kind::Notice, Reason::Unlinked as u16, asked));
    b.reply(&request, 0, b"too late").unwrap();
    assert_eq!(receive(&mut b).0.code, Reason::NoSuchRequest as u16);
    settle(&mut a);
    a.send(B, b"by the switch").unwrap();
    assert_eq!(receive(&mut b).0.sequence & LINKED, 0);
    assert_eq!((bench.count(20).counters.links, bench.count(21).counters.links), (0, 0));
}

#[test]
fn the_broker_ends_a_link_and_who_doesnt_listen_loses_it_all_the_same() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    let (mut a, mut b) = link(a, b);
    a.send(B, b"one").unwrap();
    receive(&mut b);
    bench.unlink(20, 21);
    settle(&mut b);
    // A hasn't looked, and is waited for; what it writes to the link meanwhile is read.
    a.send(B, b"in time").unwrap();
    assert_eq!(receive(&mut b).1, b"in time");
    thread::sleep(Duration::from_millis(2200));
    settle(&mut b);
    let lost = a.send(B, b"lost").unwrap();
    let (notice, _) = receive(&mut a);
    assert_eq!((notice.kind, notice.code, notice.sequence), (Kind::Notice, Reason::Unlinked as u16, lost));
    a.send(B, b"two").unwrap();
    assert_eq!(receive(&mut b).1, b"two");
}
