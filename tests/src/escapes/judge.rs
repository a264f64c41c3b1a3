//! What outcomes mean.

use super::surroundings::Kind;
use strait_escapes::outcome::THROUGH;
use strait_escapes::{Attempt, Control, Row};

/// One attempt in one kind of surroundings, judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// The attempt's name.
    pub attempt: String,
    /// The outcome's word.
    pub word: String,
    /// What it means.
    pub verdict: Verdict,
}

/// What an outcome means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The jail held; or, unjailed, the attempt works.
    AsExpected,
    /// Another jail let it do its work.
    Open,
    /// Our jail let it do its work, or did something that isn't expected: why.
    Out(String),
    /// The positive control failed: why.
    NoControl(String),
    /// Our jail let it do its work, and it is known why.
    Conceded(&'static str),
    /// It works nowhere, or not on this kernel: why.
    CantWork(&'static str),
}

impl Verdict {
    /// Whether the suite fails for it.
    pub fn is_failure(&self) -> bool {
        matches!(self, Self::Out(_) | Self::NoControl(_))
    }
}

/// Judges one outcome. One that belongs to no attempt of the row is something that changed outside, which is bad wherever it comes from.
pub fn judge(kind: Kind, row: &Row, name: &str, word: &str) -> Judgement {
    let attempt = row.attempts.iter().find(|attempt| attempt.name == name);
    let verdict = match (attempt, kind) {
        (None, _) => Verdict::Out(format!("row {}, {name}: {word}", row.number)),
        (Some(attempt), Kind::Unjailed) => control(row, attempt, word),
        (Some(attempt), _) if kind.is_ours() => ours(kind, row, attempt, word),
        (Some(_), _) if word.starts_with("no answer") => {
            Verdict::NoControl(format!("row {}, {name}: {word}", row.number))
        }
        (Some(_), _) => {
            if word == THROUGH {
                Verdict::Open
            } else {
                Verdict::AsExpected
            }
        }
    };
    Judgement { attempt: name.into(), word: word.into(), verdict }
}

fn ours(kind: Kind, row: &Row, attempt: &Attempt, word: &str) -> Verdict {
    let held = row.held_of(attempt);
    let rootless = attempt.rootless.filter(|(words, _)| kind.is_rootless() && words.contains(&word));
    let known = attempt.known.filter(|_| word == THROUGH);
    match (held.contains(&word), rootless.map(|(_, why)| why).or(known)) {
        (true, _) => Verdict::AsExpected,
        (_, Some(why)) => Verdict::Conceded(why),
        _ => Verdict::Out(format!(
            "row {}, {}, {}: {word} instead of {}",
            row.number,
            attempt.name,
            kind.name(),
            held.join(" or ")
        )),
    }
}

fn control(row: &Row, attempt: &Attempt, word: &str) -> Verdict {
    match attempt.control {
        Control::Impossible { why } => Verdict::CantWork(why),
        _ if word == THROUGH => Verdict::AsExpected,
        Control::Unless { outcome, lacks } if word == outcome => Verdict::CantWork(lacks),
        _ => Verdict::NoControl(format!("row {}, {}, unjailed: {word}", row.number, attempt.name)),
    }
}
