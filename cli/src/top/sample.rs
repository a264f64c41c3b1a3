//! Two looks at the counters, and what happened between them.

use crate::args::Order;
use crate::failure::Failure;
use crate::ps;
use serde::Serialize;
use serde_json::{Value, json};
use std::cmp::Reverse;
use std::collections::HashMap;
use std::time::Instant;
use strait_broker::{Client, Counters, WorldId, WorldRow};

/// Records that somebody sends to this command, which nobody should: so many are dropped between two looks.
const MAX_DROPPED: usize = 10_000;

/// What happened per second.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
pub struct Rates {
    pub sent: f64,
    pub received: f64,
    pub sent_bytes: f64,
    pub received_bytes: f64,
    pub denied: f64,
    pub returned: f64,
    pub wakeups: f64,
}

impl Rates {
    fn between(before: &Counters, now: &Counters, seconds: f64) -> Self {
        let rate = |of: fn(&Counters) -> u64| of(now).saturating_sub(of(before)) as f64 / seconds;
        Self {
            sent: rate(|c| c.sent),
            received: rate(|c| c.received),
            sent_bytes: rate(|c| c.sent_bytes),
            received_bytes: rate(|c| c.received_bytes),
            denied: rate(|c| c.denied),
            returned: rate(|c| c.returned),
            wakeups: rate(|c| c.wakeups),
        }
    }
}

/// One world in a sample.
#[derive(Clone, Debug)]
pub struct Load {
    pub row: WorldRow,
    pub rates: Rates,
    /// The name of the world for whose room it waits.
    pub waits_for: Option<String>,
}

impl Load {
    /// Bytes that wait because of it: unread, untaken, and held.
    fn queue(&self) -> u64 {
        let Counters { unread_bytes, untaken_bytes, held_bytes, .. } = self.row.counters;
        unread_bytes + untaken_bytes + held_bytes
    }
}

/// What the worlds did in some seconds.
#[derive(Clone, Debug)]
pub struct Sample {
    pub seconds: f64,
    loads: Vec<Load>,
}

impl Sample {
    fn new(before: &HashMap<u64, Counters>, rows: Vec<WorldRow>, seconds: f64) -> Self {
        let names: HashMap<u64, String> = rows.iter().map(|row| (row.id, row.name.clone())).collect();
        let name = |id: WorldId| names.get(&id.0).cloned().unwrap_or_else(|| id.to_string());
        let load = |row: WorldRow| {
            let earlier = before.get(&row.id).copied().unwrap_or_default();
            let rates = Rates::between(&earlier, &row.counters, seconds);
            Load { rates, waits_for: row.counters.waits_for().map(name), row }
        };
        Self { seconds, loads: rows.into_iter().map(load).collect() }
    }

    pub fn loads(&self) -> &[Load] {
        &self.loads
    }

    /// The worlds, those with the most in front.
    pub fn ordered(&self, order: Order) -> Vec<&Load> {
        let mut loads: Vec<&Load> = self.loads.iter().collect();
        let rate = |load: &Load| (load.rates.sent + load.rates.received) as u64;
        loads.sort_by_key(|load| {
            let key = match order {
                Order::Rate => rate(load),
                Order::Queue => load.queue(),
                Order::Denied => load.row.counters.denied,
                Order::Name => 0,
            };
            (Reverse(key), load.row.name.clone())
        });
        loads
    }

    pub fn json(&self, order: Order) -> Value {
        let object = |load: &&Load| {
            let mut object = ps::object(&load.row);
            object["waits_for"] = json!(load.waits_for);
            object["per_second"] = json!(load.rates);
            object
        };
        json!({ "seconds": self.seconds, "worlds": self.ordered(order).iter().map(object).collect::<Vec<_>>() })
    }
}

/// Asks for the counters again and again.
pub struct Sampler {
    client: Client,
    at: Instant,
    before: HashMap<u64, Counters>,
}

impl Sampler {
    /// Takes the first look.
    pub fn new(client: Client) -> Result<Self, Failure> {
        let mut sampler = Self { client, at: Instant::now(), before: HashMap::new() };
        sampler.next()?;
        Ok(sampler)
    }

    /// What happened since the look before this.
    pub fn next(&mut self) -> Result<Sample, Failure> {
        let own = self.client.id().0;
        let rows: Vec<WorldRow> = self.client.list()?.into_iter().filter(|row| row.id != own).collect();
        for _ in 0..MAX_DROPPED {
            if self.client.try_receive()?.is_none() {
                break;
            }
        }
        let now = Instant::now();
        let seconds = now.duration_since(std::mem::replace(&mut self.at, now)).as_secs_f64().max(f64::EPSILON);
        let counters = rows.iter().map(|row| (row.id, row.counters)).collect();
        let before = std::mem::replace(&mut self.before, counters);
        Ok(Sample::new(&before, rows, seconds))
    }
}

#[cfg(test)]
pub mod tests {
    use super::*;

    pub fn row(id: u64, name: &str, counters: Counters) -> WorldRow {
        WorldRow {
            id,
            name: name.into(),
            state: "ready".into(),
            pid: 1,
            uid: 1,
            age_ms: 1000,
            clone_of: String::new(),
            counters,
        }
    }

    pub fn sample() -> Sample {
        let before = [(16, Counters { sent: 100, denied: 1, ..Counters::default() })].into();
        let fast = Counters { sent: 2100, sent_bytes: 160_000, denied: 1, waits_for: 17, ..Counters::default() };
        let slow = Counters { received: 10, unread_bytes: 5000, owed_replies: 3, ..Counters::default() };
        let third = Counters { denied: 9, held_bytes: 50, budget_bytes: 200, ..Counters::default() };
        Sample::new(&before, vec![row(16, "fast", fast), row(17, "slow", slow), row(18, "third", third)], 2.0)
    }

    #[test]
    fn rates_are_per_second_and_a_new_world_counts_from_nothing() {
        let sample = sample();
        let [fast, slow, _] = sample.loads() else { panic!("three worlds") };
        assert_eq!((fast.rates.sent, fast.rates.denied), (1000.0, 0.0));
        assert_eq!((slow.rates.received, slow.rates.sent), (5.0, 0.0));
        assert_eq!(fast.waits_for.as_deref(), Some("slow"));
    }

    #[test]
    fn the_order_is_the_one_asked_for() {
        let sample = sample();
        let names = |order| sample.ordered(order).iter().map(|load| load.row.name.clone()).collect::<Vec<_>>();
        assert_eq!(names(Order::Rate), ["fast", "slow", "third"]);
        assert_eq!(names(Order::Queue), ["slow", "third", "fast"]);
        assert_eq!(names(Order::Denied), ["third", "fast", "slow"]);
        assert_eq!(names(Order::Name), ["fast", "slow", "third"]);
    }

    #[test]
    fn json_has_counters_rates_and_names() {
        let json = sample().json(Order::Rate);
        let fast = &json["worlds"][0];
        assert_eq!((&fast["name"], &fast["sent"], &fast["waits_for"]), (&json!("fast"), &json!(2100), &json!("slow")));
        assert_eq!((&fast["per_second"]["sent"], &json["seconds"]), (&json!(1000.0), &json!(2.0)));
    }
}
