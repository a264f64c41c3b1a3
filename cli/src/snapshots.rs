//! `strait snapshot` and `strait snapshots`: have a world save its state, and see what is kept.

use crate::Outcome;
use crate::args::{Snapshot, Snapshots};
use crate::failure::Failure;
use crate::table::{self, Column, Side};
use crate::{socket, text, units};
use serde_json::json;
use std::time::{Duration, SystemTime};
use strait_protocol::control::SnapshotRow;

pub fn snapshot(args: &Snapshot) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let saved = client.snapshot(&args.world, args.deadline, &args.reason);
    let saved = saved.map_err(|error| Failure::from(error).about(&args.world))?;
    let line = format!("{} saved version {} ({})\n", args.world, saved.version, units::size(saved.bytes));
    text::print(line.as_bytes())
}

pub fn snapshots(args: &Snapshots) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let rows = client.snapshots(&args.world).map_err(|error| Failure::from(error).about(&args.world))?;
    let text = match args.json {
        true => json_text(&rows),
        false if rows.is_empty() => format!("nothing is kept of {}\n", args.world),
        false => table(&rows),
    };
    text::print(text.as_bytes())
}

fn json_text(rows: &[SnapshotRow]) -> String {
    let object = |row: &SnapshotRow| {
        let damage = (!row.damage.is_empty()).then_some(&row.damage);
        json!({ "version": row.version, "bytes": row.bytes, "saved_ms": row.saved_ms, "damage": damage })
    };
    let objects: Vec<_> = rows.iter().map(object).collect();
    format!("{:#}\n", json!(objects))
}

const COLUMNS: [Column; 5] = [
    ("VERSION", Side::Right),
    ("SAVED", Side::Left),
    ("AGE", Side::Right),
    ("SIZE", Side::Right),
    ("STATE", Side::Left),
];

fn table(rows: &[SnapshotRow]) -> String {
    table::table(&COLUMNS, rows.iter().map(|row| cells(row, SystemTime::now())))
}

fn cells(row: &SnapshotRow, now: SystemTime) -> [String; COLUMNS.len()] {
    let saved = SystemTime::UNIX_EPOCH + Duration::from_millis(row.saved_ms);
    let age = now.duration_since(saved).unwrap_or_default();
    let is_known = row.saved_ms != 0;
    [
        row.version.to_string(),
        if is_known { units::timestamp(saved) } else { "-".into() },
        if is_known { units::age(u64::try_from(age.as_millis()).unwrap_or(u64::MAX)) } else { "-".into() },
        units::size(row.bytes),
        if row.damage.is_empty() { "good".into() } else { format!("damaged: {}", text::one_line(&row.damage)) },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_says_what_is_wrong_with_it() {
        let row = |saved_ms, damage: &str| SnapshotRow { version: 7, bytes: 2048, saved_ms, damage: damage.into() };
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_795_284_000);
        let good = cells(&row(1_795_283_940_000, ""), now);
        assert_eq!(good[0], "7");
        assert_eq!((&*good[2], &*good[3], &*good[4]), ("1m", "2.0 KiB", "good"));
        let bad = cells(&row(0, "its checksum\nis wrong"), now);
        assert_eq!((&*bad[1], &*bad[2], &*bad[4]), ("-", "-", "damaged: its checksum\\nis wrong"));
    }
}
