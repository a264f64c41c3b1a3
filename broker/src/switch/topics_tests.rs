//! Topics and who publishes on them when it dies.

use super::tests::{Bench, SECOND, receive};
use super::*;
use crate::link::Subscription;
use std::time::Duration;
use strait_protocol::layout::HEADER_BYTES;
use strait_protocol::{Header, Kind, SliceSize};

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
