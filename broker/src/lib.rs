//! strait's broker, as a library first: the `strait` binary is one of its users.
//!
//! ```text
//! host program       holds a `Host`; talks to the worlds like one of them
//!   supervisor       starts, limits, stops and vouches for worlds; answers as `strait.control`
//!     switch         moves records between slices; no privilege, no file, no network
//!     store          keeps the states of worlds, once one is to be kept; one directory, nothing else
//!     launcher       one thread; forks every jail
//!     world ...      jailed
//! ```
//!
//! A program that embeds the broker needs no daemon and no root: see [`Host`].
//!
//! **Invariant:** the switch knows records, policy and identity, and nothing else. It doesn't parse payloads, start
//! processes, open files or know what a jail is. The supervisor never reads a world's slice.
#![forbid(unsafe_code)]

mod config;
mod host;
mod link;
mod policy;
pub mod quantity;
mod roles;
mod store;
mod supervisor;
mod switch;
mod text;
mod turns;

pub use config::{AttachRule, Config, ConfigError, Group, Limits, Stdio, Uids, Wake, World};
pub use host::{Host, HostError};
pub use policy::{Judgement, Permission, Policy, Role, judge};
pub use roles::init;
pub use strait_client::{
    Asked, Client, Counters, Decision, Ended, Error, Fate, Granted, GroupRow, Header, Kind, LogLine, MemberRow, Name,
    Published, Reason, Sight, Stream, SubscribeOptions, Topic, WorldId, WorldRow,
};
pub use strait_protocol::cause_source;
#[cfg(feature = "racing")]
pub use switch::harness;
pub use text::{harmless, one_line};
