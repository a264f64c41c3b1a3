//! docs/escapes.md: every row in every kind of surroundings, side by side.

use super::judge::{Judgement, Verdict};
use super::surroundings::Kind;
use std::collections::BTreeMap;
use std::fmt::Write;
use strait_escapes::{Attempt, Control, Row};

/// What is known of one kind of surroundings.
#[derive(Debug, Default)]
pub struct Column {
    /// The program's version, or why it isn't there.
    pub version: String,
    /// Rows, by number.
    pub rows: BTreeMap<u8, Vec<Judgement>>,
}

/// Writes the page.
pub fn page(rows: &[&Row], columns: &BTreeMap<Kind, Column>) -> String {
    let mut text = String::from(HEAD);
    let _ =
        writeln!(text, "| # | attempt | {} |", columns.keys().map(|kind| kind.name()).collect::<Vec<_>>().join(" | "));
    let _ = writeln!(text, "| --- | --- |{}", " --- |".repeat(columns.len()));
    for row in rows {
        let cells =
            columns.values().map(|column| column.rows.get(&row.number).map_or("–".into(), |judged| cell(judged)));
        let _ = writeln!(text, "| {} | {} | {} |", row.number, row.title, cells.collect::<Vec<_>>().join(" | "));
    }
    text += "\n## What stood where\n\n";
    for (kind, column) in columns {
        let _ = writeln!(text, "- {}: {}{}", kind.name(), column.version, options(*kind));
    }
    text += "\n## Attempts without a positive control\n\n";
    for (row, attempt, verdict) in verdicts(rows, columns.get(&Kind::Unjailed)) {
        if let Verdict::CantWork(why) = verdict {
            let lead = if matches!(attempt.control, Control::Unless { .. }) { "this kernel lacks " } else { "" };
            let _ = writeln!(text, "- {}, {}: {lead}{why}.", row.number, attempt.name);
        }
    }
    text += "\n## What is open in our jail, and why\n\n";
    for kind in Kind::ALL.into_iter().filter(|kind| kind.is_ours()) {
        for (row, attempt, verdict) in verdicts(rows, columns.get(&kind)) {
            if let Verdict::Conceded(why) = verdict {
                let _ = writeln!(text, "- {}, {}, {}: {why}.", row.number, attempt.name, kind.name());
            }
        }
    }
    text
}

/// Every attempt of a column, in the order of the table.
fn verdicts<'a>(
    rows: &'a [&Row],
    column: Option<&'a Column>,
) -> impl Iterator<Item = (&'a Row, &'a Attempt, &'a Verdict)> {
    let judged = move |row: &Row| column.and_then(|column| column.rows.get(&row.number)).map_or(&[][..], Vec::as_slice);
    rows.iter().flat_map(move |row| {
        let named = move |name: &str| row.attempts.iter().find(|attempt| attempt.name == name);
        judged(row).iter().filter_map(move |judged| Some((*row, named(&judged.attempt)?, &judged.verdict)))
    })
}

const HEAD: &str = "\
# What a rogue world tries

Written by `cargo xtask escapes`; not to be edited. Each row is a few attempts that one static program (`tests/escapes`) makes from inside: in
a world of ours, started by root and by an ordinary user, and in one that is the clone of a template, where another clone is what it attacks; in bubblewrap and firejail with the strictest of their usual options; and in no
jail at all, as root, which is the positive control: there it must work, or the page says why it can't.

A cell shows what came of the attempts, in the words of `errno(3)` and `signal(7)`: **held** if none did its work, **open** with the names of
those that did. An attempt that does its work needn't reach the host: a socket in an empty network namespace leads nowhere. It is a door
that isn't shut, and what is behind it depends on the kernel. A dash: there is nothing of the kind to attack.

";

fn options(kind: Kind) -> String {
    match kind.options() {
        [] => ", as root, with mounts of its own that nobody else sees".into(),
        options => format!(", `{}`", options.join(" ")),
    }
}

fn cell(judged: &[Judgement]) -> String {
    let through: Vec<_> = judged
        .iter()
        .filter(|judged| matches!(judged.verdict, Verdict::Open | Verdict::Conceded(_)))
        .map(|judged| &*judged.attempt)
        .collect();
    let is_control = judged.iter().any(|judged| matches!(judged.verdict, Verdict::CantWork(_)))
        || judged.iter().all(|judged| judged.word == "ok");
    let failed: Vec<_> = judged
        .iter()
        .filter(|judged| judged.verdict.is_failure())
        .map(|judged| format!("{} {}", judged.attempt, judged.word))
        .collect();
    let words = || {
        let mut words: Vec<_> = judged.iter().map(|judged| &*judged.word).filter(|word| *word != "ok").collect();
        words.sort_unstable();
        words.dedup();
        words.join(", ")
    };
    match (through.is_empty(), failed.is_empty()) {
        (_, false) => format!("**OUT**: {}", failed.join(", ")),
        (true, _) if is_control => match words() {
            words if words.is_empty() => "works".into(),
            words => format!("works, {words}"),
        },
        (true, _) => format!("held: {}", words()),
        (false, _) if words().is_empty() => format!("**open**: {}", through.join(", ")),
        (false, _) => format!("**open**: {}; held: {}", through.join(", "), words()),
    }
}
