//! What the whole-system tests share: a stage with a broker, worlds to put on it, and a look at what the kernel holds.
#![forbid(unsafe_code)]
#![expect(missing_docs, reason = "used by this package alone, not an interface")]

pub mod attack;
pub mod bombs;
mod count;
pub mod escapes;
mod gauge;
pub mod mix;
mod pair;
mod pattern;
pub mod soak;
mod stage;

pub use count::Holdings;
pub use gauge::{Gauge, Memory, processor_time};
pub use pair::Pair;
pub use pattern::{is_pattern, pattern, recorded};
pub use stage::{LONG, Stage, actor, kill_payload, payload_of, program};
