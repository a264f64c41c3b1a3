//! What is measured, and the figures that come out.

use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// One workload with one message size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Load {
    pub kind: Kind,
    pub bytes: usize,
    pub count: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// There and back, one at a time.
    RoundTrip,
    /// One way, as fast as it goes, nothing lost.
    OneWay,
}

impl Kind {
    pub fn name(self) -> &'static str {
        match self {
            Self::RoundTrip => "rtt",
            Self::OneWay => "oneway",
        }
    }
}

impl Load {
    pub fn all(quick: bool) -> Vec<Self> {
        let scale = if quick { 1 } else { 4 };
        vec![
            Self { kind: Kind::RoundTrip, bytes: 64, count: 10_000 * scale },
            Self { kind: Kind::OneWay, bytes: 64, count: 500_000 * scale },
            Self { kind: Kind::OneWay, bytes: 16 * 1024, count: 50_000 * scale },
        ]
    }
}

/// What one run measured: name and value.
pub type Figures = Vec<(String, f64)>;

/// The figures of round trips, in microseconds.
pub fn round_trips(mut times: Vec<Duration>) -> Figures {
    times.sort_unstable();
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let at = |share: f64| us(times[((times.len() - 1) as f64 * share) as usize]);
    let mean = us(times.iter().sum::<Duration>()) / times.len() as f64;
    [("mean_us", mean), ("p50_us", at(0.5)), ("p99_us", at(0.99)), ("p999_us", at(0.999))]
        .map(|(n, v)| (n.to_owned(), v))
        .into()
}

/// The figures of a one-way stream.
pub fn stream(load: &Load, time: Duration) -> Figures {
    let rate = load.count as f64 / time.as_secs_f64();
    vec![("msgs_per_s".into(), rate), ("bytes_per_s".into(), rate * load.bytes as f64)]
}

/// Times `count` round trips, after a warm-up of a tenth.
pub fn time_round_trips<E>(count: u64, mut once: impl FnMut() -> Result<(), E>) -> Result<Vec<Duration>, E> {
    for _ in 0..count / 10 {
        once()?;
    }
    let mut times = Vec::with_capacity(count as usize);
    for _ in 0..count {
        let start = Instant::now();
        once()?;
        times.push(start.elapsed());
    }
    Ok(times)
}

/// Reads every byte of a payload, as a receiver that uses it would.
pub fn read(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks::<8>();
    words.iter().fold(rest.len() as u64, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
}
