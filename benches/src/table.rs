//! Figures as rows, and rows as a table of medians.

use crate::{BASELINE, SPAWN_BASELINE};
use serde::Serialize;
use std::fmt;
use strait_measure::{Figures, Kind, Load, Placement};

/// One figure of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub peer: String,
    pub workload: String,
    pub size: usize,
    pub placement: &'static str,
    pub metric: String,
    pub value: f64,
    pub rep: u32,
}

impl Row {
    pub fn of(peer: &str, load: &Load, placement: Placement, rep: u32, figures: &Figures) -> Vec<Self> {
        let row = |(metric, value): &(String, f64)| Self {
            peer: peer.into(),
            workload: load.name(),
            size: load.bytes,
            placement: placement.name(),
            metric: metric.clone(),
            value: *value,
            rep,
        };
        figures.iter().map(row).collect()
    }

    /// What was done, whoever did it.
    pub fn scene(&self) -> Scene<'_> {
        (&self.workload, self.size, self.placement)
    }
}

/// Workload, size, placement.
pub type Scene<'a> = (&'a str, usize, &'a str);

/// Each value once, in the order of its first appearance.
pub fn unique<T: PartialEq>(values: impl Iterator<Item = T>) -> Vec<T> {
    let mut seen = Vec::new();
    for value in values {
        if !seen.contains(&value) {
            seen.push(value);
        }
    }
    seen
}

/// The middle one over the repetitions: the lower of two.
pub fn median(rows: &[Row], peer: &str, scene: Scene, metric: &str) -> Option<f64> {
    let of_it = rows.iter().filter(|row| row.peer == peer && row.scene() == scene && row.metric == metric);
    let mut values: Vec<f64> = of_it.map(|row| row.value).collect();
    values.sort_by(f64::total_cmp);
    values.get(values.len().saturating_sub(1) / 2).copied()
}

/// Medians over the repetitions, a block for each load and placement, a line for each peer, and the ratio to the baseline.
pub struct Table<'a>(&'a [Row]);

impl<'a> Table<'a> {
    pub fn new(rows: &'a [Row]) -> Self {
        Self(rows)
    }

    fn block(&self, scene: Scene, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let here = || self.0.iter().filter(|row| row.scene() == scene);
        let (peers, metrics) = (unique(here().map(|row| &*row.peer)), unique(here().map(|row| &*row.metric)));
        let (workload, size, placement) = scene;
        let baseline = baseline(workload);
        write!(f, "{:<NAME$}", format!("{workload} {size} {placement}"))?;
        for metric in &metrics {
            write!(f, "{metric:>FIGURE$}{:RATIO$}", "")?;
        }
        writeln!(f)?;
        for peer in peers {
            write!(f, "  {peer:<width$}", width = NAME - 2)?;
            for metric in &metrics {
                let [value, base] = [peer, baseline].map(|who| median(self.0, who, scene, metric));
                let ratio = if peer == baseline { String::new() } else { ratio(value, base) };
                write!(f, "{:>FIGURE$}{ratio:>RATIO$}", value.map_or("-".into(), human))?;
            }
            writeln!(f)?;
        }
        writeln!(f)
    }
}

const NAME: usize = 24;
const FIGURE: usize = 14;
const RATIO: usize = 8;

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        unique(self.0.iter().map(Row::scene)).into_iter().try_for_each(|scene| self.block(scene, f))?;
        writeln!(f, "medians over the repetitions; beside each the ratio to {BASELINE}, of starts to {SPAWN_BASELINE}")
    }
}

fn baseline(workload: &str) -> &'static str {
    if workload.starts_with(Kind::Spawn.name()) { SPAWN_BASELINE } else { BASELINE }
}

fn ratio(value: Option<f64>, base: Option<f64>) -> String {
    match (value, base) {
        (Some(value), Some(base)) if base != 0.0 => match value / base {
            ratio if ratio >= 10.0 => format!("{ratio:.0}x"),
            ratio => format!("{ratio:.2}x"),
        },
        _ => String::new(),
    }
}

/// A number as a person reads it.
pub fn human(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2} G", v / 1e9),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e5 => format!("{:.0} k", v / 1e3),
        v => format!("{v:.2}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows() -> Vec<Row> {
        let load = Load::new(Kind::RoundTrip, 64);
        let of = |peer, rep, value| {
            Row::of(peer, &load, Placement::Same, rep, &vec![("mean_us".into(), value), ("p50_us".into(), value)])
        };
        [
            of(BASELINE, 0, 10.0),
            of("strait", 0, 5.0),
            of(BASELINE, 1, 30.0),
            of("strait", 1, 6.0),
            of(BASELINE, 2, 20.0),
        ]
        .concat()
    }

    #[test]
    fn a_block_has_a_line_for_each_peer_and_medians_with_ratios() {
        let text = Table::new(&rows()).to_string();
        let lines: Vec<Vec<&str>> = text.lines().map(|line| line.split_whitespace().collect()).collect();
        assert_eq!(lines[0], ["rtt", "64", "same", "mean_us", "p50_us"]);
        assert_eq!(lines[1], [BASELINE, "20.00", "20.00"]);
        assert_eq!(lines[2], ["strait", "5.00", "0.25x", "5.00", "0.25x"]);
    }

    #[test]
    fn a_figure_that_only_some_have_leaves_a_dash() {
        let mut rows = rows();
        rows.retain(|row| row.peer != "strait" || row.metric == "mean_us");
        let text = Table::new(&rows).to_string();
        assert!(text.lines().any(|line| line.contains("strait") && line.trim_end().ends_with('-')), "{text}");
    }

    #[test]
    fn a_row_is_one_json_object_with_seven_keys() {
        let json = serde_json::to_value(&rows()[0]).unwrap();
        let keys: Vec<&String> = json.as_object().unwrap().keys().collect();
        assert_eq!(keys, ["metric", "peer", "placement", "rep", "size", "value", "workload"]);
    }
}
