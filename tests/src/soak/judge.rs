//! Whether what all say they sent is what all say they received.

use super::words::{Report, Row};
use std::collections::BTreeMap;

/// Every world that is there, and what it reports.
pub type Reports = BTreeMap<u64, Report>;

/// What doesn't fit. Empty if every message between worlds that are there was received once and in order, or its sender was told; if
/// of what the dead sent nothing is missing but the end; and if every request has ended.
pub fn discrepancies(reports: &Reports) -> Vec<String> {
    let mut found = Vec::new();
    for (id, report) in reports {
        if report.open > 0 || report.unreturned > 0 {
            found.push(format!(
                "#{id}: {} requests open, {} messages to the dead untold",
                report.open, report.unreturned
            ));
        }
        for row in &report.rows {
            match reports.get(&row.peer) {
                Some(peer) => between(*id, row, &back(peer, *id), &mut found),
                None => from_the_dead(*id, row, &mut found),
            }
        }
    }
    found
}

/// What a world sent to another, against what that received.
fn between(from: u64, sent: &Row, received: &Row, found: &mut Vec<String>) {
    let to = sent.peer;
    if received.received > sent.sent {
        found.push(format!("#{from} to #{to}: {} received, {} sent", received.received, sent.sent));
    }
    let tail = received.received..sent.sent;
    let missing: Vec<u64> = received.holes.iter().chain(tail).filter(|number| !sent.told.contains(*number)).collect();
    if let [first, ..] = missing[..] {
        found.push(format!(
            "#{from} to #{to}: {} missing and not told of, from {first} on, of {}; received up to {}",
            missing.len(),
            sent.sent,
            received.received
        ));
    }
    if sent.returned > 0 {
        found.push(format!("#{from} to #{to}: {} said to have gone nowhere, but it is there", sent.returned));
    }
    if received.incomplete > sent.given_up {
        found.push(format!("#{from} to #{to}: {} incomplete, {} given up", received.incomplete, sent.given_up));
    }
}

fn from_the_dead(to: u64, row: &Row, found: &mut Vec<String>) {
    if !row.holes.is_empty() {
        let holes: Vec<u64> = row.holes.iter().take(10).collect();
        found.push(format!(
            "#{} (dead) to #{to}: {holes:?} missing in the middle; received up to {}, {} incomplete",
            row.peer, row.received, row.incomplete
        ));
    }
}

fn back(report: &Report, to: u64) -> Row {
    report.rows.iter().find(|row| row.peer == to).cloned().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(rows: Vec<Row>) -> Report {
        Report { rows, ..Report::default() }
    }

    fn pair(sent: Row, received: Row) -> Reports {
        [(16, report(vec![Row { peer: 17, ..sent }])), (17, report(vec![Row { peer: 16, ..received }]))].into()
    }

    fn range(from: u64, to: u64) -> super::super::Ranges {
        let mut ranges = super::super::Ranges::default();
        ranges.add(from, to);
        ranges
    }

    #[test]
    fn all_there_or_told_of_is_right() {
        let sent = Row { sent: 10, told: range(3, 5), ..Row::default() };
        let received = Row { received: 10, holes: range(3, 5), ..Row::default() };
        assert!(discrepancies(&pair(sent, received)).is_empty());
    }

    #[test]
    fn anything_else_is_found() {
        let sent = |told| Row { sent: 10, told, ..Row::default() };
        let received = |received, holes| Row { received, holes, ..Row::default() };
        let none = || range(0, 0);
        for (sent, received) in [
            (sent(none()), received(9, none())),
            (sent(none()), received(11, none())),
            (sent(range(3, 4)), received(10, range(3, 5))),
            (Row { returned: 1, ..sent(none()) }, received(10, none())),
            (sent(none()), Row { incomplete: 1, ..received(10, none()) }),
        ] {
            assert_eq!(discrepancies(&pair(sent.clone(), received.clone())).len(), 1, "{sent:?} {received:?}");
        }
        let open = [(16, Report { open: 1, ..Report::default() })].into();
        assert_eq!(discrepancies(&open).len(), 1);
        let dead = Row { peer: 99, received: 5, holes: range(1, 2), ..Row::default() };
        assert_eq!(discrepancies(&[(16, report(vec![dead]))].into()).len(), 1);
    }
}
