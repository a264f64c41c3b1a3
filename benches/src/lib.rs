//! strait beside what a user would pick instead: the measuring itself, for the benchmark and for the demo.
//!
//! Separate processes; payload written by the sender and read by the receiver; peers interleaved in one run. The program that
//! measures starts itself again for each process: it hands such arguments on to [`role`].
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "used by this package alone, not an interface")]

mod load;
mod place;
mod seqpacket;
mod strait;
mod table;

pub use load::{Figures, Kind, Load};
pub use place::Placement;
pub use table::{Row, Table};

/// What can go wrong here is shown to a person, not handled.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// The arguments, after the program's own name, under which a program reaches [`role`].
pub type Prefix = &'static [&'static str];

/// What of all that can be measured is.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// A tenth of the messages.
    pub quick: bool,
    /// Only this workload: `rtt`, `oneway`.
    pub workload: Option<String>,
    /// Only this placement: `free`, `same`, `cross`.
    pub placement: Option<String>,
    /// Only this peer.
    pub peer: Option<String>,
    /// Only this message size, in bytes.
    pub size: Option<usize>,
}

impl Selection {
    fn has(only: Option<&String>, name: &str) -> bool {
        only.is_none_or(|only| only == name)
    }
}

/// Measures every peer under every selected load and placement, `reps` times.
pub fn measure(prefix: Prefix, reps: u32, selection: &Selection, say: impl Fn(&str)) -> Outcome<Vec<Row>> {
    let (workload, placement) = (selection.workload.as_ref(), selection.placement.as_ref());
    let all = Load::all(selection.quick).into_iter();
    let is_of_size = |load: &Load| selection.size.is_none_or(|size| size == load.bytes);
    let loads: Vec<Load> = all.filter(|load| is_of_size(load) && Selection::has(workload, load.kind.name())).collect();
    let mut rows = Vec::new();
    for rep in 0..reps {
        for placement in Placement::ALL.into_iter().filter(|one| Selection::has(placement, one.name())) {
            say(&format!("repetition {} of {reps}, placement {}", rep + 1, placement.name()));
            rows.extend(one_round(prefix, rep, placement, &loads, selection.peer.as_ref())?);
        }
    }
    Ok(rows)
}

/// Every peer once under every load, one after the other: what else the machine does hits them alike.
pub fn one_round(
    prefix: Prefix,
    rep: u32,
    placement: Placement,
    loads: &[Load],
    only: Option<&String>,
) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    let mut worlds = strait::Peer::start(prefix, placement)?;
    for load in loads {
        if Selection::has(only, seqpacket::NAME) {
            let figures = seqpacket::run(prefix, load, placement)?;
            rows.extend(Row::of(seqpacket::NAME, load, placement, rep, &figures));
        }
        let styles = strait::STYLES.iter().filter(|(name, style)| style.fits(load) && Selection::has(only, name));
        for (name, style) in styles {
            let figures = worlds.run(load, *style)?;
            rows.extend(Row::of(name, load, placement, rep, &figures));
        }
    }
    Ok(rows)
}

/// Does what a child of the benchmark is told to.
pub fn role(arguments: &[String]) -> Outcome<()> {
    match arguments.split_first() {
        Some((role, _)) if role == "world" => strait::world(),
        Some((role, rest)) if role == "seqpacket" => seqpacket::child(rest),
        _ => Err("no such role".into()),
    }
}
