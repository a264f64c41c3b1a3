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

/// Measures every peer under every load and placement, `reps` times.
pub fn measure(prefix: Prefix, reps: u32, quick: bool, say: impl Fn(&str)) -> Outcome<Vec<Row>> {
    let loads = Load::all(quick);
    let mut rows = Vec::new();
    for rep in 0..reps {
        for placement in Placement::ALL {
            say(&format!("repetition {} of {reps}, placement {}", rep + 1, placement.name()));
            rows.extend(one_round(prefix, rep, placement, &loads)?);
        }
    }
    Ok(rows)
}

/// Every peer once under every load, one after the other: what else the machine does hits them alike.
pub fn one_round(prefix: Prefix, rep: u32, placement: Placement, loads: &[Load]) -> Outcome<Vec<Row>> {
    let mut rows = Vec::new();
    let mut worlds = strait::Peer::start(prefix, placement)?;
    for load in loads {
        let figures = seqpacket::run(prefix, load, placement)?;
        rows.extend(Row::of("uds-seqpacket", load, placement, rep, &figures));
        for (name, style) in strait::STYLES.iter().filter(|(_, style)| style.fits(load)) {
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
