//! What is measured.

use serde::{Deserialize, Serialize};

const KIB: usize = 1024;
const MIB: usize = 1024 * KIB;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Kind {
    /// There and back, one at a time.
    RoundTrip,
    /// One way, as fast as it goes, nothing lost.
    OneWay,
    /// One publisher, everything to every receiver, nothing lost.
    FanOut,
    /// From nothing to the first message received: open, send, be answered.
    Connect,
    /// What a client that does nothing costs the process in the middle.
    Idle,
    /// From the order to start a program to the first that is heard of it.
    Spawn,
    /// One way by a topic, beside so many subscriptions to others.
    Topics,
    /// One way, now and then with somebody who watches.
    Watched,
}

impl Kind {
    pub const ALL: [Self; 8] = [
        Self::RoundTrip,
        Self::OneWay,
        Self::FanOut,
        Self::Connect,
        Self::Idle,
        Self::Spawn,
        Self::Topics,
        Self::Watched,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "rtt",
            Self::OneWay => "oneway",
            Self::FanOut => "fanout",
            Self::Connect => "connect",
            Self::Idle => "idle",
            Self::Spawn => "spawn",
            Self::Topics => "topics",
            Self::Watched => "watched",
        }
    }

    /// Whether messages flow without an answer to each, so that someone must hold the sender back.
    pub fn is_stream(self) -> bool {
        matches!(self, Self::OneWay | Self::FanOut | Self::Topics)
    }
}

/// One workload with one message size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Load {
    pub kind: Kind,
    pub bytes: usize,
    /// Messages, connections, idle clients, programs started, or turns of being watched and not.
    pub count: u64,
    /// How many receive.
    pub receivers: usize,
    /// Idle parties beside the busy ones; or subscriptions that what is published isn't for.
    pub bystanders: usize,
    /// Between a start and the next, in milliseconds.
    pub pause_ms: u64,
    /// Messages that are sent in a second, neither more nor less; 0 if as fast as it goes.
    pub per_second: u64,
}

/// Between starts that aren't a burst: what is made ahead of time has the time to be made.
const PAUSE_MS: u64 = 10;

/// What a sender holds that doesn't send as fast as it goes.
const HELD_PER_SECOND: u64 = 1_000_000;

/// How long one turn with nobody who watches takes and one with somebody, everything told, in seconds.
pub const TURNS_SECONDS: f64 = 1.0;

/// How many receive in a fan-out, if nothing else is said.
const FAN_OUT: usize = 8;

impl Load {
    /// A load as the first, short run has it; later runs are as long as the first was quick.
    pub fn new(kind: Kind, bytes: usize) -> Self {
        let receivers = if kind == Kind::FanOut { FAN_OUT } else { 1 };
        let count = Self::pilot(kind, bytes);
        Self { kind, bytes, count, receivers, bystanders: 0, pause_ms: 0, per_second: 0 }
    }

    fn pilot(kind: Kind, bytes: usize) -> u64 {
        let within = |bound: usize| (bound / bytes.max(1)) as u64;
        match kind {
            Kind::RoundTrip => within(16 * MIB).clamp(50, 500),
            Kind::OneWay | Kind::Topics => within(64 * MIB).clamp(64, 20_000),
            Kind::FanOut => within(32 * MIB).clamp(64, 4_000),
            Kind::Connect | Kind::Spawn => 20,
            Kind::Idle => 200,
            Kind::Watched => 1,
        }
    }

    /// What is measured if nothing else is asked for.
    pub fn all() -> Vec<Self> {
        vec![
            Self::new(Kind::RoundTrip, 64),
            Self::new(Kind::OneWay, 64),
            Self::new(Kind::OneWay, 16 * KIB),
            Self::new(Kind::OneWay, MIB),
            Self::new(Kind::FanOut, 64),
            Self::new(Kind::Connect, 64),
            Self::new(Kind::Idle, 64),
            Self::new(Kind::Spawn, 1),
            Self { pause_ms: PAUSE_MS, ..Self::new(Kind::Spawn, 1) },
            Self { bystanders: 10, ..Self::new(Kind::Topics, 64) },
            Self { bystanders: 10_000, ..Self::new(Kind::Topics, 64) },
            Self::new(Kind::Watched, 64),
            Self { per_second: HELD_PER_SECOND, ..Self::new(Kind::Watched, 64) },
        ]
    }

    /// By message size, by receivers, by idle parties: what a line in a plot is drawn from.
    pub fn curves() -> Vec<Self> {
        let sizes = [64, 256, KIB, 4 * KIB, 16 * KIB, 64 * KIB, 256 * KIB, MIB];
        let by_size = |kind| sizes.map(|bytes| Self::new(kind, bytes));
        let fan = |receivers| Self { receivers, ..Self::new(Kind::FanOut, 64) };
        let among = |bystanders| Self { bystanders, ..Self::new(Kind::RoundTrip, 64) };
        let mut all = Vec::new();
        all.extend(by_size(Kind::RoundTrip));
        all.extend(by_size(Kind::OneWay));
        all.extend([1, 2, 4, 8, 16].map(fan));
        all.extend([2, 10, 100, 1000].map(among));
        all
    }

    /// Its name in tables: the kind, and what about it isn't usual.
    pub fn name(&self) -> String {
        match (self.kind, self.receivers, self.bystanders) {
            (Kind::FanOut, receivers, _) if receivers != FAN_OUT => format!("fanout-{receivers}"),
            (Kind::RoundTrip, _, idle) if idle != 0 => format!("rtt-idle-{idle}"),
            (Kind::Topics, _, others) => format!("topics-{others}"),
            (Kind::Spawn, ..) if self.pause_ms != 0 => format!("spawn-paused-{}", self.pause_ms),
            (Kind::Watched, ..) if self.per_second != 0 => format!("watched-{}", self.per_second),
            (kind, ..) => kind.name().into(),
        }
    }

    /// Messages that were handed to someone, warm-up included: what processor time is divided by.
    pub fn deliveries(&self) -> u64 {
        match self.kind {
            Kind::RoundTrip => self.count + self.warm_up(),
            _ => self.count * self.receivers as u64,
        }
    }

    /// Round trips before the first that counts.
    pub fn warm_up(&self) -> u64 {
        self.count / 10
    }

    /// The same load, long enough to take about `seconds` at this many messages (of one sender) in a second.
    pub fn lasting(&self, seconds: f64, per_second: f64) -> Self {
        let most = match self.kind {
            Kind::RoundTrip => 200_000,
            Kind::Connect => 500,
            Kind::Spawn => 1_000,
            _ => 20_000_000,
        };
        // As many of each, whoever is how quick: so that the tails are of equally many.
        let per_second = match self.kind {
            Kind::Spawn => 1_000.0,
            Kind::Watched => TURNS_SECONDS.recip(),
            _ => per_second,
        };
        let count = ((per_second * seconds) as u64).clamp(self.count.min(most), most);
        Self { count, ..*self }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_load_is_named_by_what_is_unusual() {
        assert_eq!(Load::new(Kind::FanOut, 64).name(), "fanout");
        assert_eq!(Load { receivers: 2, ..Load::new(Kind::FanOut, 64) }.name(), "fanout-2");
        assert_eq!(Load { bystanders: 100, ..Load::new(Kind::RoundTrip, 64) }.name(), "rtt-idle-100");
    }

    #[test]
    fn a_run_lasts_as_long_as_asked_but_is_never_shorter_than_the_pilot() {
        let load = Load::new(Kind::OneWay, 64);
        assert_eq!(load.lasting(0.5, 1e6).count, 500_000);
        assert_eq!(load.lasting(0.5, 10.0).count, load.count);
        assert_eq!(load.lasting(1e9, 1e9).count, 20_000_000);
    }

    #[test]
    fn processor_time_is_shared_out_over_deliveries() {
        let load = Load { count: 100, ..Load::new(Kind::FanOut, 64) };
        assert_eq!(load.deliveries(), 800);
        assert_eq!(Load { count: 100, ..Load::new(Kind::RoundTrip, 64) }.deliveries(), 110);
    }
}
