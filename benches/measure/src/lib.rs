//! What the benchmark measures and how: the one definition of loads and figures that every peer is held to.
//!
//! A *peer* is a way for processes to talk: a socket, a broker, a library. Here it is a type that implements [`Peer`]: how to
//! start who stands in the middle, and how a process opens its [`End`]. What is then done with an end (there and back, one way,
//! to many) is written once, in `work`, so that no peer is measured by a kinder rule than another.
//!
//! This crate knows no peer and depends on none: the always-there ones are in `benches/`, the heavy ones in `benches/peers/`,
//! which is a workspace of its own.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "used by the benchmark alone, not an interface")]

pub mod clock;
mod credit;
mod entry;
mod figures;
mod load;
mod message;
mod peer;
mod place;
mod work;

pub use entry::{Assignment, Entry, Spec, perform};
pub use figures::{Figures, rate, round_trips};
pub use load::{Kind, Load, TURNS_SECONDS};
pub use message::{Message, check, sum};
pub use peer::{End, Peer, Seat, patiently, run_server};
pub use place::{Placement, cpu_us, memory_kib, pin, tree};
pub use work::Report;

/// What can go wrong here is shown to a person, not handled.
pub type Outcome<T> = Result<T, Box<dyn std::error::Error>>;
