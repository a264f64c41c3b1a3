//! Figures as rows, and rows as a table of medians.

use crate::load::{Figures, Load};
use crate::place::Placement;
use serde::Serialize;
use std::fmt;

/// One figure of one run.
#[derive(Clone, Debug, Serialize)]
pub struct Row {
    pub peer: String,
    pub workload: &'static str,
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
            workload: load.kind.name(),
            size: load.bytes,
            placement: placement.name(),
            metric: metric.clone(),
            value: *value,
            rep,
        };
        figures.iter().map(row).collect()
    }

    fn key(&self) -> (&str, usize, &str, &str) {
        (self.workload, self.size, self.placement, &self.metric)
    }
}

/// Medians over the repetitions, a line for each figure, a column for each peer, and the ratio to the baseline.
pub struct Table<'a>(&'a [Row]);

const BASELINE: &str = crate::seqpacket::NAME;

impl<'a> Table<'a> {
    pub fn new(rows: &'a [Row]) -> Self {
        Self(rows)
    }

    fn median(&self, peer: &str, key: (&str, usize, &str, &str)) -> Option<f64> {
        let mut values: Vec<f64> =
            self.0.iter().filter(|row| row.peer == peer && row.key() == key).map(|row| row.value).collect();
        values.sort_by(f64::total_cmp);
        values.get(values.len() / 2).copied()
    }

    fn unique<T: PartialEq>(&self, of: impl Fn(&'a Row) -> T) -> Vec<T> {
        let mut seen = Vec::new();
        for row in self.0 {
            let value = of(row);
            if !seen.contains(&value) {
                seen.push(value);
            }
        }
        seen
    }
}

impl fmt::Display for Table<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let peers: Vec<&str> = self.unique(|row| row.peer.as_str());
        write!(f, "{:<34}", "workload size placement metric")?;
        for peer in &peers {
            write!(f, "{peer:>22}")?;
        }
        writeln!(f)?;
        for key in self.unique(Row::key) {
            let (workload, size, placement, metric) = key;
            write!(f, "{:<34}", format!("{workload} {size} {placement} {metric}"))?;
            let base = self.median(BASELINE, key);
            for peer in &peers {
                let cell = match (self.median(peer, key), base) {
                    (None, _) => "-".into(),
                    (Some(value), Some(base)) if *peer != BASELINE => {
                        format!("{} ({:.2}x)", human(value), value / base)
                    }
                    (Some(value), _) => human(value),
                };
                write!(f, "{cell:>22}")?;
            }
            writeln!(f)?;
        }
        writeln!(f, "medians; in brackets the ratio to {BASELINE}")
    }
}

fn human(value: f64) -> String {
    match value {
        v if v >= 1e9 => format!("{:.2} G", v / 1e9),
        v if v >= 1e6 => format!("{:.2} M", v / 1e6),
        v if v >= 1e5 => format!("{:.0} k", v / 1e3),
        v => format!("{v:.2}"),
    }
}
