//! A sample as text.

use super::sample::{Load, Sample};
use crate::table::{self, Column, Side};
use crate::{text, units};

pub const COLUMNS: [Column; 13] = [
    ("NAME", Side::Left),
    ("STATE", Side::Left),
    ("SENT/S", Side::Right),
    ("RECV/S", Side::Right),
    ("BYTES/S", Side::Right),
    ("INBOX", Side::Right),
    ("OUTBOX", Side::Right),
    ("HELD", Side::Right),
    ("ASKS", Side::Right),
    ("OWES", Side::Right),
    ("WAITS FOR", Side::Left),
    ("DENIED", Side::Right),
    ("RETURNED", Side::Right),
];

pub fn cells(load: &Load) -> [String; COLUMNS.len()] {
    let (rates, count) = (&load.rates, &load.row.counters);
    [
        text::one_line(&load.row.name),
        text::one_line(&load.row.state),
        units::short(rates.sent),
        units::short(rates.received),
        units::short(rates.sent_bytes + rates.received_bytes),
        units::short(count.unread_bytes as f64),
        units::short(count.untaken_bytes as f64),
        held(load),
        count.open_requests.to_string(),
        count.owed_replies.to_string(),
        load.waits_for.as_deref().map_or_else(String::new, text::one_line),
        count.denied.to_string(),
        count.returned.to_string(),
    ]
}

/// Bytes, and how much of the budget that is.
fn held(load: &Load) -> String {
    let count = &load.row.counters;
    match count.held_bytes {
        0 => "0".into(),
        bytes => format!("{} {}%", units::short(bytes as f64), bytes * 100 / count.budget_bytes.max(1)),
    }
}

pub fn table(loads: &[&Load]) -> String {
    table::table(&COLUMNS, loads.iter().map(|load| cells(load)))
}

/// All worlds together, in a line.
pub fn summary(sample: &Sample) -> String {
    let loads = sample.loads();
    let sum = |of: fn(&Load) -> f64| units::short(loads.iter().map(of).sum());
    let waiting = loads.iter().filter(|load| load.waits_for.is_some()).count();
    format!(
        "{} worlds, {} records/s taken, {} bytes/s, {waiting} waiting for another, {} denied/s",
        loads.len(),
        sum(|load| load.rates.sent),
        sum(|load| load.rates.sent_bytes),
        sum(|load| load.rates.denied),
    )
}

#[cfg(test)]
mod tests {
    use super::super::sample::tests::sample;
    use super::*;
    use crate::args::Order;

    #[test]
    fn a_table_says_who_waits_for_whom() {
        let expected = "\
NAME   STATE  SENT/S  RECV/S  BYTES/S  INBOX  OUTBOX    HELD  ASKS  OWES  WAITS FOR  DENIED  RETURNED
fast   ready    1.0k       0    80.0k      0       0       0     0     0  slow            1         0
slow   ready       0       5        0   5.0k       0       0     0     3                  0         0
third  ready       0       0        0      0       0  50 25%     0     0                  9         0
";
        assert_eq!(table(&sample().ordered(Order::Rate)), expected);
        let line = "3 worlds, 1.0k records/s taken, 80.0k bytes/s, 1 waiting for another, 4.5 denied/s";
        assert_eq!(summary(&sample()), line);
    }
}
