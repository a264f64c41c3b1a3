//! Every byte that two parties of strait share, and the rules for reading what the other wrote.
//!
//! A world and the switch share two *slices*: the world's **outbox**, which only the world can
//! write, and its **inbox**, which only the switch can write. Each is a header page and a ring of
//! records ([`layout`]). Whoever writes a slice says three things in its header: how far it has
//! produced in this ring, how far it has consumed in the *other* ring, and whether it sleeps
//! ([`wait`]). Nothing else is shared.
//!
//! This crate is pure logic: no system call, no unsafe code, no dependency on another crate of the
//! workspace. Memory comes in through [`SliceMemory`], so that the same lines run over a
//! mapping, over the heap in a property test, and over loom's memory in a model.
//!
//! **What a peer writes is an allegation.** A raw cursor or header goes in at one door and comes out
//! as a validated value or as [`Corrupt`], which says who is to blame and by how much; an index
//! never runs backwards nor past its ring.
#![forbid(unsafe_code)]

#[cfg(not(target_endian = "little"))]
compile_error!("record headers are shared as native words and documented as little-endian");

pub mod control;
mod counters;
pub mod crossing;
mod cursor;
mod endpoint;
pub mod exchange;
pub mod handshake;
pub mod layout;
pub mod packed;
mod primitive;
mod record;
pub mod store;
pub mod stream;
pub mod tap;
mod topic;
pub mod wait;
mod world;

pub use counters::Counters;
pub use cursor::{Consumer, Corrupt, Producer};
pub use endpoint::{Endpoint, Incoming, ReserveError, SliceMemory, Slot, WritableMemory};
pub use layout::{Control, MAX_STOPS, SliceSize, SliceSizeError};
pub use record::{
    FIRST_FLAG_OF_APPLICATIONS, FIRST_FLAG_OF_WORLDS, FLAG_MARK, FLAG_MORE, FLAG_PACKED, FLAG_PARCEL, FLAG_REPEATABLE,
    FLAG_RETAIN, FLAG_TOPIC, Header, Kind, LINKED, MAX_RECEIVERS, RawHeader, Reason, cause, cause_source, stride,
};
pub use topic::{MAX_TOPIC_BYTES, MAX_TOPIC_TOKENS, Token, Topic, TopicError, TopicPattern};
pub use world::{Name, NameError, Pattern, WorldId};
