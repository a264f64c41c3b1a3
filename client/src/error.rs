//! What can go wrong, in three kinds: not now, not allowed or not there, and the broker gone.

use rustix::io::Errno;
use std::io;
use strait_memory::{ParcelError, SliceError};
use strait_protocol::control::Malformed;
use strait_protocol::exchange::Refusal;
use strait_protocol::handshake::HandshakeError;
use strait_protocol::{Corrupt, NameError, Reason, ReserveError, WorldId};
use strait_sys::checkpoint::CheckpointError;

/// Why a call of the client failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// `open` was called in a process that the broker didn't start.
    #[error(
        "this process is no world of strait: it has no connection at descriptor 3 (start it with `strait run` or from a configuration)"
    )]
    NotAWorld,
    /// The broker's socket can't be reached.
    #[error("can't reach the broker at {path}: {errno}")]
    Unreachable {
        /// Where it was expected.
        path: String,
        /// What the kernel said.
        errno: Errno,
    },
    /// The broker didn't welcome this process.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
    /// A slice can't be mapped.
    #[error(transparent)]
    Slice(#[from] SliceError),
    /// A parcel can't be made, sealed or mapped.
    #[error(transparent)]
    Parcel(#[from] ParcelError),
    /// No image can be made of this process.
    #[error(transparent)]
    Checkpoint(#[from] CheckpointError),
    /// The switch said no.
    #[error(transparent)]
    Switch(#[from] Refusal),
    /// A client that has direct links, or polled for them, can't be used with tokio yet.
    #[error("direct links can't be used with tokio yet: end them before")]
    HasLinks,
    /// A system call on the connection failed.
    #[error("{call}: {errno}")]
    Call {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// No room in the outbox right now, or none before the deadline.
    #[error("the outbox is full: the receiver is slower than the sender")]
    Full,
    /// It can't be in this world's outbox at once. `send` and a writer take any length, in pieces.
    #[error("record of {payload_bytes} bytes is larger than the outbox takes at once ({max_bytes})")]
    TooLarge {
        /// The payload's length.
        payload_bytes: usize,
        /// The most that one record can carry.
        max_bytes: u32,
    },
    /// Too many receivers for one record, or none.
    #[error("a multicast record takes 1 to 64 receivers, not {given}")]
    Receivers {
        /// How many were given.
        given: usize,
    },
    /// The switch said why a request has no answer.
    #[error("{to}: {reason}")]
    Undelivered {
        /// Whom the request was for.
        to: WorldId,
        /// What became of it.
        reason: Reason,
    },
    /// The control service or the store said no.
    #[error("{0}")]
    Refused(String),
    /// What was asked for is not granted, and why.
    #[error("denied: {0}")]
    Denied(String),
    /// The text is no name.
    #[error(transparent)]
    Name(#[from] NameError),
    /// The control service answered with something else than was asked.
    #[error("the control service gave an answer that doesn't fit the question")]
    Unexpected,
    /// The control service's answer can't be read.
    #[error(transparent)]
    Malformed(#[from] Malformed),
    /// More arrived while a request waited for its answer than this client keeps aside.
    #[error(
        "more than {limit} bytes arrived while a request was waiting for its answer; use `start_request` and `receive`"
    )]
    TooMuchArrived {
        /// The bound, in bytes.
        limit: usize,
    },
    /// The broker is gone.
    #[error("the broker is gone")]
    BrokerGone,
    /// The broker wrote what can't be true: the two are of different builds, or one has a bug.
    #[error("the broker's slice is corrupt: {0}")]
    Corrupt(#[from] Corrupt),
}

impl From<ReserveError> for Error {
    fn from(error: ReserveError) -> Self {
        match error {
            ReserveError::Full => Self::Full,
            ReserveError::TooLarge { payload_bytes, max_bytes } => Self::TooLarge { payload_bytes, max_bytes },
            ReserveError::Corrupt(corrupt) => Self::Corrupt(corrupt),
        }
    }
}

/// For readers and writers of streams.
impl From<Error> for io::Error {
    fn from(error: Error) -> Self {
        let kind = match &error {
            Error::Full => io::ErrorKind::TimedOut,
            Error::BrokerGone => io::ErrorKind::BrokenPipe,
            _ => io::ErrorKind::Other,
        };
        Self::new(kind, error)
    }
}

pub(crate) fn call(call: &'static str) -> impl FnOnce(Errno) -> Error {
    move |errno| Error::Call { call, errno }
}
