//! One way by a topic, beside many subscriptions that what is published isn't for: does anybody look for them?

use super::{LONG, Task, WorldId, post};
use crate::Outcome;
use strait_broker::{Client, Host, SubscribeOptions, World};
use strait_measure::{Load, Message, Report};

const TOPIC: &str = "bench.load.live";
/// What the receiver subscribes to.
const PATTERN: &str = "bench.*.live";
/// Subscriptions of one world.
const PER_WORLD: usize = 1000;

/// A subscription that misses the topic by one token, at one place or another.
fn miss(n: usize) -> String {
    match n % 3 {
        0 => format!("bench.*.dead-{n}"),
        1 => format!("*.load.dead-{n}.>"),
        _ => format!("bench.load-{n}.>"),
    }
}

/// Brings up the worlds with so many subscriptions, and lets the receiver subscribe to what will be published.
pub fn subscribe(host: &mut Host, world: &World, receiver: WorldId, others: usize) -> Outcome<()> {
    for first in (0..others).step_by(PER_WORLD) {
        let id = host.spawn(&format!("subscriber-{first}"), world)?;
        order(host.client(), id, (first..others.min(first + PER_WORLD)).map(miss).collect())?;
    }
    order(host.client(), receiver, vec![PATTERN.into()])
}

fn order(client: &mut Client, world: WorldId, patterns: Vec<String>) -> Outcome<()> {
    client.request(world, &serde_json::to_vec(&Task::Subscribe { patterns })?, LONG)?;
    Ok(())
}

pub fn subscribe_to(client: &mut Client, patterns: &[String]) -> Outcome<Report> {
    for pattern in patterns {
        client.subscribe(pattern, &SubscribeOptions::default())?;
    }
    Ok(Report::default())
}

pub fn publish(client: &mut Client, load: &Load) -> Outcome<()> {
    let (topic, mut buffer) = (client.topic(TOPIC)?, Vec::new());
    for number in 0..load.count {
        post(client, topic, Message { number, bytes: load.bytes }, &mut buffer)?;
    }
    Ok(())
}
