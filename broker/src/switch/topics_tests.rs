//! Topics and who publishes on them when it dies.

use super::tests::{Bench, SECOND, receive};
use super::*;
use crate::link::{Command, Subscription};
use std::time::Duration;
use strait_client::{Client, Parcel};
use strait_protocol::layout::HEADER_BYTES;
use strait_protocol::{FLAG_MARK, FLAG_MORE, FLAG_PARCEL, FLAG_RETAIN, Header, Kind, Reason, SliceSize};

fn lossless(world: u64) -> Subscription {
    Subscription { world, number: 1, newest: false, retained: false, tag_mask: 0, tag: 0 }
}

#[test]
fn what_a_dead_world_published_comes_to_each_subscriber() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &["*"]);
    let mut subscribers = [bench.attach(21, "b", &[]), bench.attach(22, "c", &[]), bench.attach(23, "d", &[])];
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Subscribe { subscriptions: [21, 22, 23].map(lossless).to_vec(), topics: vec![1] });
    bench.count(20);
    // Asleep by then, the switch finds what it published only when it is gone.
    std::thread::sleep(Duration::from_millis(200));
    for tag in 1..=3 {
        rogue.write_silently(&Header { tag, ..Header::new(Kind::Message, WorldId::topic(1), 0) });
    }
    bench.detach(20);
    for subscriber in &mut subscribers {
        for tag in 1..=3 {
            assert_eq!(receive(subscriber).0.tag, tag);
        }
    }
    assert!(subscribers[0].receive(SECOND.map(|_| Duration::from_millis(10))).unwrap().is_none());
}

#[test]
fn what_a_dead_world_leaves_for_many_is_bounded() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &["*"]);
    let worlds = 21..61;
    let mut subscribers: Vec<_> = worlds.clone().map(|id| bench.attach(id, &format!("w{id}"), &[])).collect();
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Subscribe { subscriptions: worlds.clone().map(lossless).collect(), topics: vec![1] });
    bench.count(20);
    std::thread::sleep(Duration::from_millis(200));
    let ring = SliceSize::MIN.bytes() - HEADER_BYTES;
    let records = ring / Header::BYTES - 1;
    (0..records).for_each(|_| rogue.write_silently(&Header::new(Kind::Message, WorldId::topic(1), 0)));
    // What isn't published is delivered in any case.
    rogue.write_silently(&Header::new(Kind::Message, WorldId(21), 0));
    bench.detach(20);
    let given: u64 = worlds.map(|id| bench.count(id).counters).map(|c| c.received + c.held_records).sum();
    assert!((u64::from(records)..u64::from(records) * 16).contains(&given), "{given} of {records} records");
    let last =
        std::iter::from_fn(|| subscribers[0].receive(Some(Duration::from_millis(50))).unwrap().map(|r| r.header()));
    assert_eq!(last.last().unwrap().destination, WorldId(21));
}

#[test]
fn a_subscription_that_is_said_twice_is_one_and_goes_with_its_world() {
    let mut bench = Bench::new();
    let (mut publisher, mut subscriber) = (bench.attach(20, "a", &[]), bench.attach(21, "b", &[]));
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    for _ in 0..2 {
        bench.say(&Command::Subscribe { subscriptions: vec![lossless(21)], topics: vec![1] });
    }
    bench.count(20);
    for tag in 1..=2 {
        let mut draft = publisher.draft(Kind::Message, WorldId::topic(1), 0).unwrap();
        draft.header_mut().tag = tag;
        draft.send().unwrap();
        assert_eq!(receive(&mut subscriber).0.tag, tag, "one copy of each");
    }
    bench.detach(21);
    // Where that one was.
    let mut other = bench.attach(22, "c", &[]);
    publisher.send(WorldId::topic(1), b"").unwrap();
    while bench.count(20).counters.sent < 3 {
        std::thread::sleep(Duration::from_millis(1));
    }
    assert!(other.receive(Some(Duration::from_millis(50))).unwrap().is_none());
}

#[test]
fn what_is_held_for_a_subscription_goes_with_it() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &["*"]);
    let mut idler = bench.attach(21, "idler", &[]);
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Subscribe { subscriptions: vec![lossless(21)], topics: vec![1] });
    while bench.count(20).counters.stops == 0 {
        rogue.write(&Header::new(Kind::Message, WorldId::topic(1), 0));
        std::thread::sleep(Duration::from_micros(500));
    }
    assert!(bench.count(20).counters.held_bytes > 0);
    // Else who publishes would be kept from it by a world that doesn't read, and doesn't subscribe any more.
    bench.say(&Command::Unsubscribe { world: 21, number: 1 });
    let counters = bench.count(20).counters;
    assert_eq!((counters.held_bytes, counters.stops), (0, 0));
    rogue.write(&Header::new(Kind::Message, WorldId(21), 0));
    let rest = std::iter::from_fn(|| idler.receive(Some(Duration::from_millis(50))).unwrap().map(|r| r.header()));
    assert_eq!(rest.last().unwrap().correlation, 0, "what comes directly comes");
}

#[test]
fn what_is_held_of_who_may_publish_no_more_goes_nowhere() {
    let mut bench = Bench::new();
    let (mut rogue, mut other) = (bench.rogue(20, &["*"]), bench.attach(22, "other", &[]));
    let mut idler = bench.attach(21, "idler", &[]);
    for publisher in [20, 22] {
        bench.say(&Command::OpenTopic { topic: 1, publisher });
    }
    bench.say(&Command::Subscribe { subscriptions: vec![lossless(21)], topics: vec![1] });
    while bench.count(20).counters.stops == 0 {
        rogue.write(&Header::new(Kind::Message, WorldId::topic(1), 0));
        std::thread::sleep(Duration::from_micros(500));
    }
    let given = bench.count(21).counters.received;
    other.send(WorldId::topic(1), b"stays").unwrap();
    bench.say(&Command::LeaveTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Withdraw { topic: 1, publisher: 20 });
    let counters = bench.count(20).counters;
    assert_eq!((counters.held_bytes, counters.stops), (0, 0));
    let rest = std::iter::from_fn(|| idler.receive(Some(Duration::from_millis(100))).unwrap().map(|r| r.header()));
    let sources: Vec<WorldId> = rest.map(|header| header.source).collect();
    assert_eq!(sources.iter().filter(|source| **source == WorldId(20)).count() as u64, given);
    assert_eq!(sources.last(), Some(&WorldId(22)), "what others published there comes");
}

#[test]
fn what_waits_behind_what_is_withdrawn_goes_on() {
    let mut bench = Bench::new();
    let (mut publisher, mut other) = (bench.attach(20, "publisher", &["*"]), bench.attach(22, "other", &["*"]));
    let mut reader = bench.attach(21, "reader", &[]);
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Subscribe { subscriptions: vec![lossless(21)], topics: vec![1] });
    bench.count(20);
    // The second one finds no room; there is enough for the short one behind it.
    let large = vec![0; (SliceSize::MIN.bytes() - HEADER_BYTES) as usize / 3 * 2];
    for _ in 0..2 {
        publisher.send(TOPIC, &large).unwrap();
    }
    until(&mut bench, (1, 1, 0));
    other.send(WorldId(21), b"short").unwrap();
    until(&mut bench, (1, 1, 1));
    // By then the switch sleeps, and looks at nobody by itself.
    std::thread::sleep(Duration::from_millis(200));
    bench.say(&Command::LeaveTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Withdraw { topic: 1, publisher: 20 });
    let end = Instant::now() + SECOND.unwrap();
    while bench.count(21).counters.received < 2 {
        assert!(Instant::now() < end, "it waits for nothing");
        std::thread::sleep(Duration::from_millis(1));
    }
    // And who publishes there from then on says how many were missed.
    bench.say(&Command::OpenTopic { topic: 1, publisher: 22 });
    bench.count(22);
    other.send(TOPIC, b"").unwrap();
    let missed =
        std::iter::from_fn(|| reader.receive(Some(Duration::from_millis(200))).unwrap().map(|r| r.published()));
    let missed: Vec<_> = missed.flatten().map(|published| published.missed).collect();
    assert_eq!(missed, [0, 1]);
}

/// Until the reader has got so many, so many are held for it, and so many senders wait for it.
fn until(bench: &mut Bench, wanted: (u64, u64, u64)) {
    let end = Instant::now() + SECOND.unwrap();
    loop {
        let counters = bench.count(21).counters;
        let is = (counters.received, counters.held_records, counters.waiters);
        if is == wanted {
            return;
        }
        assert!(Instant::now() < end, "{is:?} instead of {wanted:?}");
        std::thread::sleep(Duration::from_millis(1));
    }
}

const TOPIC: WorldId = WorldId::topic(1);

fn parcel(client: &mut Client, fill: u8) -> Parcel {
    sized(client, fill, 4096)
}

fn sized(client: &mut Client, fill: u8, bytes: usize) -> Parcel {
    let mut parcel = client.new_parcel(bytes).unwrap();
    parcel.fill(fill);
    parcel.seal().unwrap()
}

/// A publisher and a subscriber, whose inbox is full of what was published before, so much that something waits outside.
fn full(bench: &mut Bench, newest: bool) -> (Client, Client) {
    let mut publisher = bench.attach(20, "publisher", &["*"]);
    let subscriber = bench.attach(21, "subscriber", &[]);
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Subscribe { subscriptions: vec![Subscription { newest, ..lossless(21) }], topics: vec![1] });
    while bench.count(21).counters.held_records == 0 {
        // As long as what brings a parcel: there is no room for that either.
        publisher.send(TOPIC, b"").unwrap();
    }
    (publisher, subscriber)
}

/// Until what was sent is where it goes.
fn settle(bench: &mut Bench, publisher: &mut Client) {
    assert!(publisher.drain(SECOND.unwrap()).unwrap());
    bench.count(20);
}

fn parcels(bench: &mut Bench, id: u64) -> (u64, u64) {
    let counters = bench.count(id).counters;
    (counters.parcels, counters.parcel_bytes)
}

/// Everything that comes: which parcel, and how many were missed in all.
fn read(client: &mut Client) -> (Vec<u8>, u64) {
    let (mut brought, mut missed) = (Vec::new(), 0);
    while let Some(record) = client.receive(Some(Duration::from_millis(200))).unwrap() {
        missed += u64::from(record.published().expect("by a topic").missed);
        if let Some(parcel) = record.parcel() {
            assert!(parcel.bytes().iter().all(|byte| *byte == parcel.bytes()[0]));
            assert_eq!(record.payload(), parcel.bytes(), "without a payload of its own");
            brought.push(parcel.bytes()[0]);
        }
    }
    (brought, missed)
}

#[test]
fn the_newest_parcel_takes_the_place_of_the_one_that_waits() {
    let mut bench = Bench::new();
    let (mut publisher, mut subscriber) = full(&mut bench, true);
    for fill in 1..=20 {
        let parcel = parcel(&mut publisher, fill);
        publisher.send_parcel(TOPIC, &parcel, b"").unwrap();
    }
    assert!(publisher.drain(SECOND.unwrap()).unwrap());
    // One waits, on the account of who is to have it; who published it holds none any more.
    assert_eq!(parcels(&mut bench, 21), (1, 4096));
    assert!(publisher.receive(Some(Duration::from_millis(50))).unwrap().is_none());
    assert_eq!(parcels(&mut bench, 20), (0, 0));
    let (brought, missed) = read(&mut subscriber);
    assert_eq!(brought, [20]);
    assert!(missed >= 19, "{missed}");
    assert!(subscriber.receive(Some(Duration::from_millis(50))).unwrap().is_none());
    assert_eq!(parcels(&mut bench, 21), (0, 0));
}

#[test]
fn the_newest_parcel_takes_that_place_however_much_others_have_brought() {
    let mut bench = Bench::new();
    let (mut publisher, mut subscriber) = full(&mut bench, true);
    let mut others = [bench.attach(22, "one", &["*"]), bench.attach(23, "two", &["*"])];
    for publisher in [22, 23] {
        bench.say(&Command::OpenTopic { topic: 2, publisher });
    }
    let subscription = Subscription { number: 2, ..lossless(21) };
    bench.say(&Command::Subscribe { subscriptions: vec![subscription], topics: vec![2] });
    bench.count(21);
    let first = sized(&mut publisher, 1, 16 * 1024);
    publisher.send_parcel(TOPIC, &first, b"").unwrap();
    settle(&mut bench, &mut publisher);
    // Each as much as it may. Now the first has more than half of what these leave.
    for (other, (fill, kib)) in others.iter_mut().zip([(2, 24), (3, 12)]) {
        let parcel = sized(other, fill, kib * 1024);
        other.send_parcel(WorldId::topic(2), &parcel, b"").unwrap();
        settle(&mut bench, other);
    }
    assert_eq!(parcels(&mut bench, 21), (3, 52 * 1024));
    let next = sized(&mut publisher, 4, 16 * 1024);
    publisher.send_parcel(TOPIC, &next, b"").unwrap();
    settle(&mut bench, &mut publisher);
    assert_eq!(read(&mut subscriber).0, [4, 2, 3]);
}

#[test]
fn a_parcel_that_waits_comes_whatever_others_bring_meanwhile() {
    let mut bench = Bench::new();
    let (mut publisher, mut subscriber) = full(&mut bench, false);
    let mut other = bench.attach(22, "other", &["*"]);
    bench.say(&Command::OpenTopic { topic: 1, publisher: 22 });
    bench.count(22);
    // Two are half of what the subscriber may hold, and one half of what those leave.
    let sent = [1, 2].map(|fill| parcel(&mut publisher, fill));
    for parcel in &sent {
        publisher.send_parcel(TOPIC, parcel, b"").unwrap();
    }
    settle(&mut bench, &mut publisher);
    let third = parcel(&mut other, 3);
    other.send_parcel(TOPIC, &third, b"").unwrap();
    settle(&mut bench, &mut other);
    assert_eq!(parcels(&mut bench, 21), (3, 3 * 4096));
    assert_eq!(read(&mut subscriber), (vec![1, 2, 3], 0));
    assert!(subscriber.receive(Some(Duration::from_millis(50))).unwrap().is_none());
    assert_eq!(parcels(&mut bench, 21), (0, 0));
}

#[test]
fn a_parcel_that_waits_comes_though_its_publisher_is_gone() {
    let mut bench = Bench::new();
    let (mut publisher, mut subscriber) = full(&mut bench, false);
    let parcel = parcel(&mut publisher, 7);
    publisher.send_parcel(TOPIC, &parcel, b"").unwrap();
    assert!(publisher.drain(SECOND.unwrap()).unwrap());
    assert_eq!(parcels(&mut bench, 21), (1, 4096));
    drop((parcel, publisher));
    bench.detach(20);
    assert_eq!(read(&mut subscriber), (vec![7], 0));
    assert!(subscriber.receive(Some(Duration::from_millis(50))).unwrap().is_none());
    assert_eq!(parcels(&mut bench, 21), (0, 0));
}

#[test]
fn a_parcel_that_waits_goes_with_its_subscription_and_with_its_world() {
    for leaves in [true, false] {
        let mut bench = Bench::new();
        let (mut publisher, mut subscriber) = full(&mut bench, false);
        let parcel = parcel(&mut publisher, 7);
        publisher.send_parcel(TOPIC, &parcel, b"").unwrap();
        assert!(publisher.drain(SECOND.unwrap()).unwrap());
        assert_eq!(parcels(&mut bench, 21), (1, 4096));
        if leaves {
            drop(subscriber);
            bench.detach(21);
        } else {
            bench.say(&Command::Unsubscribe { world: 21, number: 1 });
            assert_eq!(parcels(&mut bench, 21), (0, 0));
            assert!(read(&mut subscriber).0.is_empty());
        }
        assert_eq!(parcels(&mut bench, 20), (1, 4096), "its own");
        publisher.send(TOPIC, b"nobody").unwrap();
        assert!(publisher.drain(SECOND.unwrap()).unwrap());
    }
}

#[test]
fn who_holds_as_much_as_it_may_misses_parcels_and_is_told() {
    let mut bench = Bench::new();
    let mut publisher = bench.attach(20, "publisher", &["*"]);
    let mut subscriber = bench.attach(21, "subscriber", &[]);
    bench.say(&Command::OpenTopic { topic: 1, publisher: 20 });
    bench.say(&Command::Subscribe { subscriptions: vec![lossless(21)], topics: vec![1] });
    bench.count(20);
    // Of the four that it may hold two may be of one sender.
    for fill in 1..=5 {
        let parcel = parcel(&mut publisher, fill);
        publisher.send_parcel(TOPIC, &parcel, b"").unwrap();
    }
    publisher.send(TOPIC, b"three are missing").unwrap();
    settle(&mut bench, &mut publisher);
    assert_eq!(read(&mut subscriber), (vec![1, 2], 3));
    let again = parcel(&mut publisher, 6);
    publisher.send_parcel(TOPIC, &again, b"").unwrap();
    settle(&mut bench, &mut publisher);
    assert_eq!(read(&mut subscriber), (vec![6], 0));
}

#[test]
fn what_a_topic_doesnt_take_comes_back() {
    let mut bench = Bench::new();
    let (mut publisher, _subscriber) = full(&mut bench, true);
    let open = publisher.new_parcel(100).unwrap();
    let sealed = parcel(&mut publisher, 1);
    let mut refused = |flags: u8, stream: u32, sealed: Option<&Parcel>| {
        let mut draft = publisher.draft(Kind::Message, TOPIC, 0).unwrap();
        (draft.header_mut().flags, draft.header_mut().stream) = (flags, stream);
        sealed.into_iter().for_each(|parcel| draft.attach(parcel));
        draft.send().unwrap();
        let record = publisher.receive(SECOND).unwrap().expect("a notice");
        record.notice()
    };
    assert_eq!(refused(FLAG_MORE, 1, None), Some(Reason::NotByTopic));
    assert_eq!(refused(0, 1, None), Some(Reason::NotByTopic));
    assert_eq!(refused(FLAG_MARK, 1, None), Some(Reason::NotByTopic));
    assert_eq!(refused(FLAG_RETAIN, 0, Some(&sealed)), Some(Reason::NotByTopic));
    assert_eq!(refused(FLAG_PARCEL, 1, None), Some(Reason::Unsealed));
    assert_eq!(refused(FLAG_PARCEL, 99, None), Some(Reason::NoSuchParcel));
    drop(open);
}
