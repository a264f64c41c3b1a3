//! strait beside what a user would pick instead: the measuring itself, for the benchmark and for the demo.
//!
//! Separate processes; payload written by the sender and read by the receiver; peers interleaved in one run. The program that
//! measures starts itself again for each process: it hands such arguments on to [`role`]. What is measured and how is defined in
//! [`strait_measure`], for every peer alike.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "used by this package alone, not an interface")]

mod attach;
mod contest;
mod folder;
#[cfg(feature = "program")]
mod plot;
#[cfg(feature = "program")]
mod selection;
#[cfg(feature = "program")]
mod spawn;
mod strait;
mod table;
mod team;
mod uds;
mod uds_broker;

pub use contest::{Contender, Contest, Results};
pub use folder::remove_all;
#[cfg(feature = "program")]
pub use plot::plot;
#[cfg(feature = "program")]
pub use selection::{Heavy, Selection};
#[cfg(feature = "program")]
pub use spawn::this as this_starter;
pub use strait_measure::{Kind, Load, Outcome, Placement};
pub use table::{Row, Table};
pub use team::Program;

use strait_measure::Entry;

/// The arguments, after the program's own name, under which a program reaches [`role`].
pub type Prefix = &'static [&'static str];

/// What every other peer is compared with.
pub const BASELINE: &str = "uds-seqpacket";
/// What every other way to start a program is compared with.
pub const SPAWN_BASELINE: &str = "bwrap";

/// The peers that need nothing installed and nothing heavy built.
fn entries() -> Vec<Entry> {
    vec![
        Entry::of::<uds::Direct<uds::Packets>>(),
        Entry::of::<uds::Direct<uds::Lengths>>(),
        Entry::of::<uds_broker::UdsBroker>(),
        #[cfg(feature = "program")]
        Entry::of::<strait_bench_trusting::RawSync>(),
    ]
}

/// Those peers, and strait.
pub fn always_there(prefix: Prefix) -> Vec<Box<dyn Contender>> {
    let mut all: Vec<Box<dyn Contender>> = Vec::new();
    for entry in entries() {
        all.push(Box::new(team::Peer { program: Program::this(prefix), spec: entry.spec() }));
    }
    for (name, style) in strait::STYLES {
        all.push(Box::new(strait::Strait { prefix, name, style }));
    }
    all
}

/// strait beside the baseline in a few seconds: a round trip of 64 bytes, and one way with 64 bytes and with 16 KiB.
pub fn brief(prefix: Prefix) -> Outcome<Vec<Row>> {
    let mut contenders = always_there(prefix);
    contenders.retain(|one| [BASELINE, "strait"].contains(&one.name()));
    let loads = [(Kind::RoundTrip, 64), (Kind::OneWay, 64), (Kind::OneWay, 16 * 1024)].map(|(k, b)| Load::new(k, b));
    let contest = Contest { contenders, loads: loads.into(), placements: vec![Placement::Free], reps: 1, seconds: 0.3 };
    let results = contest.hold(|_| ());
    match results.gaps.first() {
        Some(gap) => Err(gap.clone().into()),
        None => Ok(results.rows),
    }
}

/// Does what a child of the benchmark is told to.
pub fn role(arguments: &[String]) -> Outcome<()> {
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["world"] => strait::world(),
        ["opener", orders] => attach::opener(orders),
        #[cfg(feature = "program")]
        ["spawner", orders] => spawn::spawner(orders),
        #[cfg(feature = "program")]
        ["starter", ..] => strait_bench_starter::start(&arguments[1..]),
        ["peer", assignment] => strait_measure::perform(&entries(), assignment),
        _ => Err("no such role".into()),
    }
}
