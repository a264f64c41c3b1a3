//! Figures as pictures: bars for each workload with the peers side by side, and curves where one thing was varied.
//!
//! The SVG is written here and not by a plotting crate: it is text, and a few shapes and scales are less than what such a crate brings.

mod bars;
mod curves;
mod scale;
mod svg;

use crate::Outcome;
use crate::table::{Row, human, unique};
use std::fs;
use std::path::Path;

/// The figure that a workload is judged by, in words, and whether less of it is better.
#[derive(Clone, Copy)]
struct Measure {
    metric: &'static str,
    title: &'static str,
    unit: &'static str,
    less_is_better: bool,
}

impl Measure {
    fn of(workload: &str, size: usize) -> Self {
        let time = |metric, title| Self { metric, title, unit: "median in µs", less_is_better: true };
        let rate = |title| Self { metric: "msgs_per_s", title, unit: "messages/s", less_is_better: false };
        match workload.split('-').next() {
            Some("rtt") => time("p50_us", "Round trip"),
            Some("connect") => time("p50_us", "Open, send, be answered"),
            Some("idle") => Self {
                metric: "kib_per_client",
                title: "Memory in the middle per idle client",
                unit: "KiB",
                less_is_better: true,
            },
            Some("fanout") => rate("Fan-out, deliveries"),
            _ if size >= 4096 => {
                Self { metric: "bytes_per_s", title: "One way", unit: "bytes/s", less_is_better: false }
            }
            _ => rate("One way"),
        }
    }

    /// The unit and which way is good, for below a title.
    fn subtitle(self, is_log: bool) -> String {
        let better = if self.less_is_better { "less" } else { "more" };
        let scale = if is_log { ", logarithmic" } else { "" };
        format!("{}, {better} is better{scale}", self.unit)
    }
}

/// Draws whatever these rows have to show, as SVG files in a folder.
pub fn plot(rows: &[Row], dir: &Path) -> Outcome<()> {
    fs::create_dir_all(dir).map_err(|error| format!("{}: {error}", dir.display()))?;
    let mut pictures = bars::draw(rows);
    pictures.extend(curves::draw(rows));
    for (name, svg) in pictures {
        let path = dir.join(name);
        fs::write(&path, svg).map_err(|error| format!("{}: {error}", path.display()))?;
    }
    Ok(())
}

/// Message sizes as a person says them.
fn bytes(size: usize) -> String {
    match size {
        size if size >= 1 << 20 && size.is_multiple_of(1 << 20) => format!("{} MiB", size >> 20),
        size if size >= 1 << 10 && size.is_multiple_of(1 << 10) => format!("{} KiB", size >> 10),
        size => format!("{size} B"),
    }
}

/// A number with three digits, more or less: 1.2 k, 340, 5.6.
fn short(value: f64) -> String {
    match value {
        v if v >= 1e5 => human(v),
        v if v >= 1e4 => format!("{:.0} k", v / 1e3),
        v if v >= 1e3 => format!("{:.1} k", v / 1e3),
        v if v >= 100.0 => format!("{v:.0}"),
        v if v >= 10.0 => format!("{v:.1}"),
        v => format!("{v:.2}"),
    }
}

fn is_ours(peer: &str) -> bool {
    peer.starts_with("strait")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::BASELINE;
    use strait_measure::{Kind, Load, Placement};

    fn rows() -> Vec<Row> {
        let mut rows = Vec::new();
        for (n, load) in Load::all().into_iter().chain(Load::curves()).enumerate() {
            for (m, peer) in [BASELINE, "strait", "a<b"].into_iter().enumerate() {
                let value = 3.0 + (n * 7 + m * 1000) as f64;
                let names = ["p50_us", "msgs_per_s", "bytes_per_s", "kib_per_client"];
                let figures = names.map(|name| (name.to_owned(), value)).into();
                rows.extend(Row::of(peer, &load, Placement::Free, 0, &figures));
            }
        }
        rows
    }

    #[test]
    fn every_workload_and_everything_that_was_varied_has_its_picture() {
        let dir = std::env::temp_dir().join(format!("strait-plot-{}", std::process::id()));
        plot(&rows(), &dir).unwrap();
        let names: Vec<String> =
            fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        for name in ["rtt-64.svg", "idle-64.svg", "oneway-by-size-free.svg", "fanout-by-receivers-free.svg"] {
            assert!(names.contains(&name.to_owned()), "{names:?}");
        }
        let svg = fs::read_to_string(dir.join("rtt-64.svg")).unwrap();
        assert!(svg.contains("a&lt;b") && !svg.contains("a<b") && !svg.contains("NaN"), "{svg}");
        fs::remove_dir_all(&dir).unwrap();
    }

    #[test]
    fn nothing_measured_is_nothing_drawn() {
        assert!(bars::draw(&[]).is_empty() && curves::draw(&[]).is_empty());
        let load = Load::new(Kind::RoundTrip, 64);
        let rows = Row::of(BASELINE, &load, Placement::Free, 0, &vec![("p50_us".into(), 0.0)]);
        assert_eq!(bars::draw(&rows).len(), 1);
        assert!(curves::draw(&rows).is_empty());
    }

    #[test]
    fn sizes_and_numbers_are_said_as_a_person_would() {
        assert_eq!([64, 1024, 16384, 1 << 20].map(bytes), ["64 B", "1 KiB", "16 KiB", "1 MiB"]);
        assert_eq!([0.5, 12.34, 345.6, 1234.0, 45678.0].map(short), ["0.50", "12.3", "346", "1.2 k", "46 k"]);
    }
}
