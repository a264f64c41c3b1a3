//! What a Rust world or host program uses to talk through strait.
//!
//! A *world* is a jailed process that the broker started: it [opens](Client::open) the connection that was made for
//! it. A *host program* runs outside of any jail and [attaches](Client::attach) to the broker's socket, if the policy lets its
//! uid have the name it asks for. From then on both are the same.
//!
//! ```no_run
//! use std::time::Duration;
//! use strait_client::{Client, Error, Kind};
//!
//! fn main() -> Result<(), Error> {
//!     let mut client = Client::open()?;
//!     // Ask another world and wait for its answer.
//!     let greeter = client.resolve("greeter")?;
//!     let answer = client.request(greeter, b"hello", Duration::from_secs(2))?;
//!     println!("{}", String::from_utf8_lossy(&answer.payload));
//!     // Serve others, until told to end.
//!     while let Some(record) = client.receive(None)? {
//!         let head = record.header();
//!         if record.shutdown().is_some() {
//!             client.reply(&head, 0, b"")?;
//!             break;
//!         }
//!         let payload = record.payload().to_vec();
//!         if head.kind == Kind::Request {
//!             client.reply(&head, 0, &payload)?;
//!         }
//!     }
//!     Ok(())
//! }
//! ```
//!
//! **Payloads of any length.** One that is larger than the outbox goes in pieces, interleaved with what others send, and arrives whole, within
//! [bounds](AssemblyLimits). What is made or used bit by bit needs no whole: [`Client::writer`], [`Client::receive_reader`],
//! [`Client::receive_piece`].
//!
//! **Topics.** [`Client::publish`] says something to whoever [subscribes](Client::subscribe) to that topic's name or to a pattern of names; policy
//! says who may do either.
//!
//! **What is promised.** A record is delivered, or its sender gets a notice that says why not; records between two
//! worlds arrive in the order they were sent; the sender's id is the switch's word. A request ends in a reply or a notice,
//! once. **What is not:** that a message was *handled*; only a reply says that.
//!
//! **A state of one's own.** [`Client::save`] keeps it safe, [`Client::load`] gives it back when the world starts anew; when to
//! save says a [`ControlNotice`].
//!
//! A client belongs to one thread at a time. Nothing here starts a thread or needs an async runtime; to wait together with other
//! things, poll [`Client::poll_fd`]. With the feature `tokio`, `Client::into_async` makes a client for that runtime; with `tracing`, `Record::span` is a
//! span for its handling.
#![forbid(unsafe_code)]

mod assembly;
#[cfg(feature = "tokio")]
mod asynchronous;
mod batch;
mod checkpoint;
mod client;
mod connect;
mod control;
mod dial;
mod error;
mod grants;
mod intake;
mod lane;
mod link;
mod linking;
mod outflow;
mod parcel;
mod reader;
mod receiving;
mod record;
mod sending;
#[cfg(feature = "tracing")]
mod spans;
mod store;
mod topics;
mod waiting;
mod writer;

pub use assembly::AssemblyLimits;
#[cfg(feature = "tokio")]
pub use asynchronous::AsyncClient;
pub use checkpoint::{Checkpoint, checkpoint};
pub use client::{Client, Delivery};
pub use error::Error;
pub use parcel::{Parcel, ParcelMut};
pub use reader::StreamReader;
#[cfg(feature = "tokio")]
pub use record::Arrived;
pub use record::{ControlNotice, Draft, Piece, Record, Reply, Shutdown};
pub use store::State;
pub use strait_protocol::control::{
    Asked, Decision, Ended, Granted, GroupRow, LogLine, MemberRow, Saved, SnapshotRow, Stream, Wanted, WorldRow,
};
pub use strait_protocol::exchange::Refusal;
pub use strait_protocol::tap::{Fate, Sight, Sights};
pub use strait_protocol::{Counters, Header, Kind, Name, Reason, Topic, WorldId};
pub use topics::{Published, SubscribeOptions};
pub use writer::StreamWriter;
