//! The figures that come out.

use std::time::Duration;

/// What one run measured: name and value.
pub type Figures = Vec<(String, f64)>;

/// The figures of things that were timed one by one, in microseconds; the tail only where there is enough to have one.
pub fn round_trips(mut times: Vec<Duration>) -> Figures {
    times.sort_unstable();
    if times.is_empty() {
        return Figures::new();
    }
    let us = |time: Duration| time.as_secs_f64() * 1e6;
    let at = |share: f64| us(times[((times.len() - 1) as f64 * share) as usize]);
    let mean = us(times.iter().sum::<Duration>()) / times.len() as f64;
    [("mean_us", mean), ("p50_us", at(0.5)), ("p99_us", at(0.99)), ("p999_us", at(0.999))]
        .map(|(n, v)| (n.to_owned(), v))
        .into()
}

/// The figures of a stream: deliveries in a time.
pub fn rate(deliveries: u64, bytes: usize, nanoseconds: u64) -> Figures {
    let rate = deliveries as f64 / (nanoseconds.max(1) as f64 / 1e9);
    vec![("msgs_per_s".into(), rate), ("bytes_per_s".into(), rate * bytes as f64)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_the_sorted_times() {
        let times = (1..=1000).rev().map(Duration::from_micros).collect();
        let figures = round_trips(times);
        let at = |name: &str| figures.iter().find(|(n, _)| n == name).unwrap().1;
        assert!((at("mean_us") - 500.5).abs() < 1e-6);
        assert!((at("p50_us") - 500.0).abs() < 1e-6);
        assert!((at("p999_us") - 999.0).abs() < 1e-6);
    }

    #[test]
    fn a_rate_is_per_second() {
        assert_eq!(rate(10, 64, 1_000_000)[0].1, 10_000.0);
        assert_eq!(rate(10, 64, 1_000_000)[1].1, 640_000.0);
    }
}
