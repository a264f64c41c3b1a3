//! `strait-escape-probe ROW FROM UNTIL [KEY=VALUE]...`: makes the attempts FROM to UNTIL of a row (the first is 0, UNTIL isn't one of them)
//! and prints `attempt<TAB>outcome` for each. Without arguments: lists the rows.
//!
//! `strait-escape-probe cloned ROW ...` does the same in a clone of itself: the world named `probe/attacker`. It makes them on the one named
//! `probe/victim`, whose pid outside it finds in the file `victim` of its writable directory; that one and the original only wait.
//!
//! It needs nothing of where it runs: no library, no file, no `/proc`. See the library for what the words mean.
#![forbid(unsafe_code)]

mod cloned;

use std::io::Write;
use std::process::ExitCode;
use strait_escapes::raw::{call, in_child};
use strait_escapes::{Attempt, Ground, Outcome, ROWS, Row};

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words[..] {
        [] => list(),
        ["identity"] => identity(),
        ["cloned", ref rest @ ..] if cloned::is_attacker() => return attack(rest, true),
        ["cloned", ..] => cloned::wait(),
        _ => return attack(&words, false),
    }
    ExitCode::SUCCESS
}

fn attack(words: &[&str], is_clone: bool) -> ExitCode {
    match *words {
        [row, from, until, ref ground @ ..] => {
            let Some((row, attempts)) = select(row, from, until) else { return ExitCode::from(64) };
            let mut ground = Ground::read(ground.iter().copied());
            ground.note_descriptors();
            if is_clone {
                ground.victim = cloned::victim(&ground).unwrap_or(ground.victim);
            }
            make(row, attempts, ground);
        }
        _ => return ExitCode::from(64),
    }
    ExitCode::SUCCESS
}

fn list() {
    for row in ROWS {
        println!("{}\t{}\t{}", row.number, row.title, row.attempts.len());
    }
}

fn select(row: &str, from: &str, until: &str) -> Option<(&'static Row, &'static [Attempt])> {
    let row = ROWS.iter().find(|known| known.number.to_string() == row)?;
    Some((row, row.attempts.get(from.parse().ok()?..until.parse().ok()?)?))
}

fn make(row: &Row, attempts: &[Attempt], mut ground: Ground) {
    let missing = if row.needs_slices { ground.take_slices().err() } else { None };
    for attempt in attempts {
        if row.ending.is_some() {
            // It stays, unless something stops it.
            println!("{}", Outcome::from((attempt.run)(&ground)));
        }
        let outcome = missing.map_or_else(|| in_child(|| (attempt.run)(&ground)), |outcome| outcome.to_string());
        println!("{}\t{outcome}", attempt.name);
        // What comes next may be the last thing that this program does.
        let _ = std::io::stdout().flush();
    }
}

/// What a program that could gain by being executed says of itself: user and capabilities.
fn identity() {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let effective = status.lines().find_map(|line| line.strip_prefix("CapEff:\t")).unwrap_or("none");
    let user = call(libc::SYS_geteuid, &mut []).unwrap_or(0);
    println!("{user} {effective}");
}
