//! `strait ps`: which worlds there are.

use crate::Outcome;
use crate::args::Ps;
use crate::table::{self, Column, Side};
use crate::{socket, text, units};
use serde_json::{Value, json};
use strait_broker::WorldRow;

pub fn ps(args: &Ps) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let own = client.id().0;
    let rows: Vec<WorldRow> = client.list()?.into_iter().filter(|row| row.id != own).collect();
    let text = if args.json { json_text(&rows) } else { table(&rows) };
    text::print(text.as_bytes())
}

fn json_text(rows: &[WorldRow]) -> String {
    let objects: Vec<_> = rows.iter().map(object).collect();
    format!("{:#}\n", json!(objects))
}

/// A world as JSON, its counters beside the rest.
pub fn object(row: &WorldRow) -> Value {
    let mut object = json!(row.counters);
    for (key, value) in [
        ("id", json!(row.id)),
        ("name", json!(row.name)),
        ("state", json!(row.state)),
        ("pid", json!(row.pid)),
        ("uid", json!(row.uid)),
        ("age_ms", json!(row.age_ms)),
        ("clone_of", json!(row.clone_of)),
    ] {
        object[key] = value;
    }
    object
}

const COLUMNS: [Column; 11] = [
    ("ID", Side::Right),
    ("NAME", Side::Left),
    ("STATE", Side::Left),
    ("PID", Side::Right),
    ("UID", Side::Right),
    ("AGE", Side::Right),
    ("SENT", Side::Right),
    ("RECEIVED", Side::Right),
    ("HELD", Side::Right),
    ("LINKS", Side::Right),
    ("LINKED", Side::Right),
];

fn table(rows: &[WorldRow]) -> String {
    table::table(&COLUMNS, rows.iter().map(cells))
}

fn cells(row: &WorldRow) -> [String; COLUMNS.len()] {
    [
        row.id.to_string(),
        text::one_line(&row.name),
        text::one_line(&state(row)),
        row.pid.to_string(),
        row.uid.to_string(),
        units::age(row.age_ms),
        row.counters.sent.to_string(),
        row.counters.received.to_string(),
        row.counters.held_bytes.to_string(),
        row.counters.links.to_string(),
        row.counters.linked_bytes.to_string(),
    ]
}

fn state(row: &WorldRow) -> String {
    if row.clone_of.is_empty() { row.state.clone() } else { format!("{}, clone", row.state) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_broker::Counters;

    #[test]
    fn columns_stand_under_their_heads() {
        let row = WorldRow {
            id: 16,
            name: "compressor/1".into(),
            state: "ready".into(),
            pid: 4711,
            uid: 1879048192,
            age_ms: 61_000,
            clone_of: "compressor".into(),
            counters: Counters { sent: 3, received: 4, links: 2, linked_bytes: 99, ..Counters::default() },
        };
        let expected = "\
ID  NAME          STATE          PID         UID  AGE  SENT  RECEIVED  HELD  LINKS  LINKED
16  compressor/1  ready, clone  4711  1879048192   1m     3         4     0      2      99
";
        assert_eq!(table(&[row]), expected);
    }
}
