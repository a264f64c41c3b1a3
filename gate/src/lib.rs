//! The gate: dials for worlds, which can't make a socket.
//!
//! ```text
//! world --Request::Dial--> strait.control      judges the place by the world's policy
//!                            | Order::Dial, with the giving end of the world's lane
//!                            v
//!                          gate                resolves once, judges every address, connects
//!                            | the connected socket, by the lane            | Told::Connected before that, Told::Dialed after it
//!                            v                                              v
//! world                                        strait.control answers, and remembers the connection
//! ```
//!
//! From then on the connection is the world's, at the kernel's own speed. When the policy that it was made by is no longer so, the supervisor ends it
//! ([`diag::destroy`]).
//!
//! The gate is a process of its own: it has no privilege, no file but `/etc` to resolve names by, and no descriptor of a world but the lanes of those it
//! dials for, on which it can only give. It is the only part of strait with a socket to the network, and no byte that comes from there is read by it.

#![forbid(unsafe_code)]

pub mod address;
mod connect;
pub mod diag;
mod dial;
mod enclosure;
mod service;

use rustix::io::Errno;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::os::fd::{BorrowedFd, OwnedFd};
use strait_sys::socket;

pub use service::main;

/// The longest message on its link, in bytes.
const MAX_BYTES: usize = 64 * 1024;

/// What the supervisor says first.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct Setup {
    /// As root: the user that the gate becomes.
    pub uid: Option<u32>,
}

/// The supervisor to the gate.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Order {
    /// Connect, and hand the socket over on the lane that comes with this, under the ticket's number.
    Dial(Dial),
    /// Don't. Answered by [`Told::Cancelled`]: from then on nothing is connected or handed over under this ticket.
    Cancel {
        /// Which.
        ticket: u32,
    },
}

/// Where to connect to, and what is allowed there.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Dial {
    /// Its number, of the supervisor's choosing.
    pub ticket: u32,
    /// The host, in canonical form.
    pub host: Host,
    /// The port.
    pub port: u16,
    /// Addresses that a line of the world's policy names: it may connect to these even where they aren't public.
    pub named: Vec<IpAddr>,
    /// How long it may take, in milliseconds.
    pub timeout_ms: u32,
}

/// A host as a world names it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Host {
    /// A name, to be resolved once.
    Name(String),
    /// An address.
    Address(IpAddr),
}

/// The gate to the supervisor.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Told {
    /// It is connected, and about to be handed over: from now on the world may have it, even if this is the last that the gate says.
    Connected {
        /// Which.
        ticket: u32,
        /// What the kernel calls it.
        connection: Connection,
    },
    /// The socket lies in the lane.
    Dialed {
        /// Under this number.
        ticket: u32,
    },
    /// Nothing was handed over.
    Failed {
        /// Which.
        ticket: u32,
        /// Why, for the world to read.
        why: String,
    },
    /// The answer to [`Order::Cancel`], behind whatever became of the ticket before.
    Cancelled {
        /// Which.
        ticket: u32,
    },
}

/// A connection that was handed over, as `sock_diag(7)` finds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Connection {
    /// This end.
    pub local: SocketAddr,
    /// The other end: the address that was judged.
    pub peer: SocketAddr,
    /// The kernel's number for the socket, never used again (`SO_COOKIE`, `socket(7)`).
    pub cookie: u64,
}

/// Sends a message on the link of supervisor and gate, waiting for room.
pub fn send<T: Serialize>(link: BorrowedFd<'_>, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
    socket::send(link, &bytes, descriptors)
}

/// The same, or `EAGAIN` where it would have to wait.
pub fn try_send<T: Serialize>(link: BorrowedFd<'_>, message: &T, descriptors: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(message).map_err(|_| Errno::INVAL)?;
    socket::try_send(link, &bytes, descriptors)
}

/// The next message on the link, waiting for it. `None`: the other side is gone.
pub fn receive<T: DeserializeOwned>(link: BorrowedFd<'_>) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    decode(|buffer| socket::receive(link, buffer))
}

/// The same, or `EAGAIN` where there is none.
pub fn try_receive<T: DeserializeOwned>(link: BorrowedFd<'_>) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    decode(|buffer| socket::try_receive(link, buffer))
}

fn decode<T: DeserializeOwned>(
    receive: impl FnOnce(&mut [u8]) -> Result<(usize, Vec<OwnedFd>), Errno>,
) -> Result<Option<(T, Vec<OwnedFd>)>, Errno> {
    let mut buffer = vec![0; MAX_BYTES];
    match receive(&mut buffer) {
        Ok((0, _)) | Err(Errno::CONNRESET) => Ok(None),
        Err(errno) => Err(errno),
        Ok((length, descriptors)) => {
            postcard::from_bytes(&buffer[..length]).map(|m| Some((m, descriptors))).map_err(|_| Errno::PROTO)
        }
    }
}
