//! What supervisor and launcher say to each other. Both are ours and equally trusted, over a socket that nobody else holds.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use serde::{Deserialize, Serialize};

use crate::attest::Attested;
use crate::cgroup::Label;
use crate::error::SpawnError;
use crate::spec::Spec;

/// Largest message either way, 128 KiB: the socket's default send buffer takes it.
pub const MAX_BYTES: usize = 128 << 10;

/// Supervisor to launcher. With it come the descriptors: stdin, stdout, stderr, the status pipe's write end, and the
/// rendezvous socket if there is one, then the restorer and the image if it is restored.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub ticket: u64,
    pub spec: Spec,
    pub is_restored: bool,
}

impl Order {
    /// The restorer and the image, of the descriptors that come after the first four.
    pub fn image<'a>(&self, others: &'a [OwnedFd]) -> Option<[BorrowedFd<'a>; 2]> {
        match others {
            [_rendezvous, restorer, content] if self.is_restored => Some([restorer.as_fd(), content.as_fd()]),
            _ => None,
        }
    }
}

/// Launcher to supervisor. With a first process comes its pidfd, also if the spawn failed later: the supervisor is the parent and
/// the only one who can reap it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    /// Which order it answers. [`NOBODY`]: none, a jail that was begun ahead of time and has ended unused.
    pub ticket: u64,
    pub first: Option<First>,
    /// What the first process found in force, once it was.
    pub attested: Option<Attested>,
    pub error: Option<SpawnError>,
}

/// No order's ticket.
pub const NOBODY: u64 = 0;

/// The first process of a jail.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
pub struct First {
    pub pid: i32,
    pub group: Label,
}

/// What the first process tells the launcher, before its end of the socket closes. The end without either is a death.
#[derive(Debug, Serialize, Deserialize)]
pub enum Progress {
    /// All that doesn't depend on the order is done.
    Seated,
    /// The jail stands; the program starts next. Nothing after it means that it did start.
    Built(Attested),
    Failed(SpawnError),
}

/// How the payload ended: one byte for the kind, four for the number, in one write to the status pipe.
pub const EXIT_BYTES: usize = 5;
