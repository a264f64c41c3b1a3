//! Grants between real clients: in force from one record on, and over before the next.

use super::super::tests::Bench;
use crate::policy::Way;
use std::thread;
use std::time::Duration;
use strait_client::{Client, Error, Kind};
use strait_protocol::{Reason, WorldId};

const SOON: Option<Duration> = Some(Duration::from_secs(5));
const A: WorldId = WorldId(20);
const B: WorldId = WorldId(21);
const GRANT: u64 = 7;

fn pair(bench: &mut Bench) -> (Client, Client) {
    (bench.attach(20, "a", &[]), bench.attach(21, "b", &[]))
}

/// What becomes of one message: `None` if nothing comes back.
fn notice(client: &mut Client, time: Duration) -> Option<Reason> {
    client.receive(Some(time)).unwrap().map(|record| record.notice().expect("nothing but notices"))
}

#[test]
fn a_grant_lets_records_pass_until_it_is_revoked() {
    let mut bench = Bench::new();
    let (mut a, mut b) = pair(&mut bench);
    a.send(B, b"before").unwrap();
    assert_eq!(notice(&mut a, SOON.unwrap()), Some(Reason::Refused));
    bench.permit(GRANT, 20, Way::Send, "b");
    a.send(B, b"granted").unwrap();
    assert_eq!(b.receive(SOON).unwrap().unwrap().payload(), b"granted");
    b.send(A, b"not for me").unwrap();
    assert_eq!(notice(&mut b, SOON.unwrap()), Some(Reason::Refused));
    assert!(!bench.revoke(GRANT, 20));
    a.send(B, b"after").unwrap();
    assert_eq!(notice(&mut a, SOON.unwrap()), Some(Reason::Refused));
    assert!(b.receive(Some(Duration::from_millis(50))).unwrap().is_none());
}

#[test]
fn of_two_grants_the_other_one_holds() {
    let mut bench = Bench::new();
    let (mut a, mut b) = pair(&mut bench);
    bench.permit(1, 20, Way::Send, "b");
    bench.permit(2, 20, Way::Send, "b*");
    bench.revoke(1, 20);
    a.send(B, b"still").unwrap();
    assert_eq!(b.receive(SOON).unwrap().unwrap().payload(), b"still");
    bench.revoke(2, 20);
    bench.revoke(3, 99);
    a.send(B, b"no more").unwrap();
    assert_eq!(notice(&mut a, SOON.unwrap()), Some(Reason::Refused));
}

/// B doesn't read, so that records are held for it, and wait in the outbox behind. The one for C makes the switch look past them.
#[test]
fn what_waits_under_a_grant_goes_back_to_its_sender() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(20, "a", &["c"]), bench.attach(21, "b", &[]));
    let mut c = bench.attach(22, "c", &[]);
    bench.permit(GRANT, 20, Way::Send, "b");
    const SENT: usize = 16;
    a.set_patience(SOON);
    let (mut refused, mut taken) = (0, 0);
    for _ in 0..SENT {
        a.send(B, &[1; 1000]).unwrap();
        a.send(WorldId(22), b"x").unwrap();
        c.receive(SOON).unwrap().expect("C is reached past what waits for B");
    }
    a.start_request(B, b"?", Duration::from_secs(60)).unwrap();
    assert!(bench.count(20).counters.held_bytes > 0, "nothing is held");
    bench.revoke(GRANT, 20);
    assert_eq!(bench.count(20).counters.held_bytes, 0);
    while let Some(record) = a.receive(Some(Duration::from_millis(100))).unwrap() {
        assert_eq!(record.notice(), Some(Reason::Refused));
        refused += 1;
    }
    while let Some(record) = b.receive(Some(Duration::from_millis(100))).unwrap() {
        assert_eq!(record.header().kind, Kind::Message);
        taken += 1;
    }
    assert_eq!(taken + refused, SENT + 1, "each went one way or the other: {taken} {refused}");
    assert!(taken > 0 && refused > 0, "{taken} {refused}");
}

#[test]
fn a_request_that_waits_ends_and_one_that_arrived_is_answered() {
    let mut bench = Bench::new();
    let (mut a, mut b) = pair(&mut bench);
    bench.permit(GRANT, 20, Way::Send, "b");
    let arrived = a.start_request(B, b"first", Duration::from_secs(60)).unwrap();
    let header = b.receive(SOON).unwrap().unwrap().header();
    while bench.count(20).counters.held_bytes == 0 {
        a.start_request(B, &[2; 4000], Duration::from_secs(60)).unwrap();
        a.flush();
        thread::sleep(Duration::from_millis(5));
    }
    bench.revoke(GRANT, 20);
    let record = a.receive(SOON).unwrap().unwrap();
    assert_eq!((record.notice(), record.header().source), (Some(Reason::Refused), B));
    b.reply(&header, 0, b"late, but asked").unwrap();
    loop {
        let record = a.receive(SOON).unwrap().expect("the answer");
        if record.header().correlation == arrived {
            assert_eq!((record.header().kind, record.payload()), (Kind::Reply, &b"late, but asked"[..]));
            return;
        }
    }
}

fn link(mut a: Client, mut b: Client) -> (Result<(), Error>, Client, Client) {
    thread::scope(|scope| {
        let other = scope.spawn(move || {
            let end = std::time::Instant::now() + Duration::from_secs(2);
            while !b.is_linked(A) && std::time::Instant::now() < end {
                b.receive(Some(Duration::from_millis(1))).unwrap();
            }
            b
        });
        let linked = a.link(B, Duration::from_secs(2)).map(drop);
        (linked, a, other.join().unwrap())
    })
}

#[test]
fn a_link_under_a_grant_ends_with_it() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    bench.permit(1, 20, Way::Link, "b");
    // Both must be allowed to.
    let (linked, a, b) = link(a, b);
    assert!(linked.is_err());
    bench.permit(2, 21, Way::Link, "a");
    let (linked, mut a, mut b) = link(a, b);
    linked.unwrap();
    assert_eq!(bench.count(20).counters.links, 1);
    let ends = thread::spawn(move || {
        while b.is_linked(A) {
            b.receive(Some(Duration::from_millis(1))).unwrap();
        }
        b
    });
    let revoked = thread::spawn(move || (bench.revoke(2, 21), bench));
    while a.is_linked(B) {
        a.receive(Some(Duration::from_millis(1))).unwrap();
    }
    let (is_late, mut bench) = revoked.join().unwrap();
    assert!(!is_late);
    assert_eq!(bench.count(20).counters.links, 0);
    let b = ends.join().unwrap();
    assert!(link(a, b).0.is_err(), "no new one");
}

#[test]
fn a_side_that_does_not_end_its_link_is_named_late() {
    let mut bench = Bench::new();
    let (a, b) = pair(&mut bench);
    bench.permit(1, 20, Way::Link, "b");
    bench.permit(2, 21, Way::Link, "a");
    let (linked, a, b) = link(a, b);
    linked.unwrap();
    assert!(bench.revoke(1, 20));
    drop((a, b));
}
