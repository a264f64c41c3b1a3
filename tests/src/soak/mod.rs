//! The soak: many worlds that send each other everything there is to send, pause, die and are replaced, while everything is accounted for.
//!
//! Each message and request has a number in its pair of worlds, and each payload a checksum ([`Stamp`]). A world checks what it
//! receives at once ([`Account`]); the host, at the end, whether what all say fits together ([`discrepancies`]). What is chosen follows from a
//! seed; who comes first is the scheduler's choice.

mod account;
mod chance;
mod host;
mod intake;
mod judge;
mod ranges;
mod stamp;
mod words;
mod world;

pub use account::Account;
pub use chance::Chance;
pub use host::{Outcome, Plan, Progress, run};
pub use judge::{Reports, discrepancies};
pub use ranges::Ranges;
pub use stamp::{Stamp, small_payload, stamp_bytes};
pub use words::{News, Order, Report, Row, Tally};
pub use world::live;
