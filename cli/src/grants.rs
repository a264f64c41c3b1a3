//! `strait requests`, `grant`, `deny`, `grants` and `revoke`: what worlds ask for beyond their policy.

use crate::Outcome;
use crate::args::{Deny, Grant, Listing, Revoke};
use crate::table::{Column, Side, table};
use crate::{socket, text, units};
use serde_json::json;
use std::process::ExitCode;
use strait_broker::{Asked, Granted};

const REQUESTS: [Column; 5] = [
    ("NUMBER", Side::Right),
    ("WORLD", Side::Left),
    ("ASKS FOR", Side::Left),
    ("LEFT", Side::Right),
    ("REASON", Side::Left),
];
const GRANTS: [Column; 5] =
    [("NUMBER", Side::Right), ("WORLD", Side::Left), ("HAS", Side::Left), ("LEFT", Side::Right), ("BY", Side::Left)];

pub fn requests(args: &Listing) -> Outcome {
    let rows = socket::attach(&args.socket)?.requests()?;
    let text = match args.json {
        true => format!("{:#}\n", json!(rows.iter().map(asked_object).collect::<Vec<_>>())),
        false => table(&REQUESTS, rows.iter().map(asked_cells)),
    };
    text::print(text.as_bytes())
}

fn asked_object(row: &Asked) -> serde_json::Value {
    let Asked { number, id, name, resource, reason, left_ms } = row;
    json!({ "number": number, "id": id, "name": name, "resource": resource, "reason": reason, "left_ms": left_ms })
}

fn asked_cells(row: &Asked) -> [String; 5] {
    let [name, resource, reason] = [&row.name, &row.resource, &row.reason].map(|cell| text::one_line(cell));
    [row.number.to_string(), name, resource, units::left(row.left_ms.into()), reason]
}

pub fn grants(args: &Listing) -> Outcome {
    let rows = socket::attach(&args.socket)?.grants()?;
    let text = match args.json {
        true => format!("{:#}\n", json!(rows.iter().map(granted_object).collect::<Vec<_>>())),
        false => table(&GRANTS, rows.iter().map(granted_cells)),
    };
    text::print(text.as_bytes())
}

fn granted_object(row: &Granted) -> serde_json::Value {
    let Granted { number, id, name, resource, left_ms, by, from_next_start } = row;
    json!({
        "number": number, "id": id, "name": name, "resource": resource, "left_ms": left_ms, "by": by,
        "from_next_start": from_next_start,
    })
}

fn granted_cells(row: &Granted) -> [String; 5] {
    let [name, resource, by] = [&row.name, &row.resource, &row.by].map(|cell| text::one_line(cell));
    let left = row.left_ms.map_or_else(|| "-".into(), |ms| units::left(ms.into()));
    let resource = if row.from_next_start { format!("{resource}, from its next start on") } else { resource };
    [row.number.to_string(), name, resource, left, by]
}

pub fn grant(args: &Grant) -> Outcome {
    let granted = socket::attach(&args.socket)?.grant(args.number, args.time)?;
    let [name, resource, ..] = [&granted.name, &granted.resource].map(|cell| text::one_line(cell));
    let end = granted.left_ms.map_or_else(
        || format!("until `strait revoke {}`", granted.number),
        |ms| format!("for {}", units::left(ms.into())),
    );
    let text = match granted.from_next_start {
        false => format!("{name} has `{resource}` {end}\n"),
        true => format!("{name} has `{resource}` from its next start on, {end}: `strait restart {name}` is one\n"),
    };
    text::print(text.as_bytes())
}

pub fn deny(args: &Deny) -> Outcome {
    socket::attach(&args.socket)?.deny(args.number, &args.why)?;
    Ok(ExitCode::SUCCESS)
}

pub fn revoke(args: &Revoke) -> Outcome {
    socket::attach(&args.socket)?.revoke(args.number)?;
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_world_says_stays_on_its_line() {
        let asked = Asked {
            number: 7,
            id: 16,
            name: "loader".into(),
            resource: "send db".into(),
            reason: "please\n\u{1b}[2J".into(),
            left_ms: 61_000,
        };
        let expected = "\
NUMBER  WORLD   ASKS FOR  LEFT  REASON
     7  loader  send db    61s  please\\n\\u{1b}[2J
";
        assert_eq!(table(&REQUESTS, [asked_cells(&asked)]), expected);
    }
}
