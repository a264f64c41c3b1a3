//! `strait groups`: which groups there are, and what their members do.

use crate::Outcome;
use crate::args::Ps;
use crate::table::{self, Column, Side};
use crate::{socket, text};
use serde_json::{Value, json};
use strait_broker::{GroupRow, MemberRow};

pub fn groups(args: &Ps) -> Outcome {
    let rows = socket::attach(&args.socket)?.groups()?;
    let text = match args.json {
        true => format!("{:#}\n", json!(rows.iter().map(object).collect::<Vec<_>>())),
        false if rows.is_empty() => "there are no groups: [groups] in the file makes some\n".into(),
        false => table(&rows),
    };
    text::print(text.as_bytes())
}

fn object(row: &GroupRow) -> Value {
    let member = |member: &MemberRow| json!({ "id": member.id, "name": member.name, "load": member.load, "taken": member.taken });
    json!({
        "id": row.id,
        "name": row.name,
        "template": row.template,
        "min": row.min,
        "max": row.max,
        "outstanding": row.outstanding,
        "waiting": row.waiting,
        "starting": row.starting,
        "failures": row.failures,
        "members": row.members.iter().map(member).collect::<Vec<_>>(),
    })
}

const COLUMNS: [Column; 8] = [
    ("ID", Side::Right),
    ("GROUP", Side::Left),
    ("TEMPLATE", Side::Left),
    ("MEMBERS", Side::Left),
    ("STARTING", Side::Right),
    ("WAITING", Side::Right),
    ("LOAD", Side::Right),
    ("TAKEN", Side::Right),
];

/// Each group, and below it its members.
fn table(rows: &[GroupRow]) -> String {
    table::table(
        &COLUMNS,
        rows.iter().flat_map(|row| std::iter::once(group(row)).chain(row.members.iter().map(member))),
    )
}

fn group(row: &GroupRow) -> [String; COLUMNS.len()] {
    [
        row.id.to_string(),
        text::one_line(&row.name),
        text::one_line(&row.template),
        format!("{} of {} to {}", row.members.len(), row.min, row.max),
        row.starting.to_string(),
        row.waiting.to_string(),
        row.members.iter().map(|member| u64::from(member.load)).sum::<u64>().to_string(),
        row.members.iter().map(|member| member.taken).sum::<u64>().to_string(),
    ]
}

fn member(row: &MemberRow) -> [String; COLUMNS.len()] {
    let nothing = String::new;
    let (id, name) = (row.id.to_string(), format!("  {}", text::one_line(&row.name)));
    [id, name, nothing(), nothing(), nothing(), nothing(), row.load.to_string(), row.taken.to_string()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn members_stand_below_their_group() {
        let members = vec![
            MemberRow { id: 20, name: "compressor/1".into(), load: 1, taken: 12 },
            MemberRow { id: 21, name: "compressor/2".into(), load: 0, taken: 9 },
        ];
        let row = GroupRow {
            id: 17,
            name: "compressor".into(),
            template: "compressor".into(),
            min: 0,
            max: 4,
            outstanding: 1,
            waiting: 3,
            starting: 1,
            failures: 0,
            members,
        };
        let expected = "\
ID  GROUP           TEMPLATE    MEMBERS      STARTING  WAITING  LOAD  TAKEN
17  compressor      compressor  2 of 0 to 4         1        3     1     21
20    compressor/1                                                 1     12
21    compressor/2                                                 0      9
";
        assert_eq!(table(&[row]), expected);
    }
}
