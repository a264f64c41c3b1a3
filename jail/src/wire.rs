//! What supervisor, launcher and seats say to each other. All are ours and equally trusted, over sockets that nobody else holds.
//!
//! What a program is told (its arguments and environment may hold secrets) is decoded by its own process alone: to the launcher, whose memory every
//! later jail begins as a copy of, it is bytes that it passes on and wipes.

use serde::{Deserialize, Serialize};

use crate::attest::Attested;
use crate::cgroup::Label;
use crate::error::SpawnError;
use crate::shape::Shape;

/// Largest message either way, 128 KiB: the socket's default send buffer takes it.
pub const MAX_BYTES: usize = 128 << 10;

/// Supervisor to launcher.
#[derive(Debug, Serialize, Deserialize)]
pub enum Request<'a> {
    /// A uid that nobody has, for a jail that is built ahead of time.
    Lend(u32),
    /// A jail, and what is to run in it.
    #[serde(borrow)]
    Order(Box<Order<'a>>),
}

/// With it come the descriptors: the rendezvous socket if there is one, the standard streams, and if it is restored the restorer and the image.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order<'a> {
    pub ticket: u64,
    pub name: &'a str,
    /// Unless a jail that was built ahead of time has another.
    pub uid: Option<u32>,
    pub shape: Shape,
    pub has_rendezvous: bool,
    pub is_restored: bool,
    /// A [`Task`](crate::payload::Task), as it goes to the payload. Of what is restored, nothing: that is all in the image.
    pub task: &'a [u8],
}

/// Launcher to seat: the jail that it is to be. With it comes the rendezvous, if there is one; after it come the trees of the grants for writing.
#[derive(Debug, Serialize, Deserialize)]
pub struct Plan {
    pub shape: Shape,
    /// The host name, or one that stands in for it.
    pub name: String,
    /// Whether its user is another than the launcher's.
    pub has_own_uid: bool,
}

/// Launcher to supervisor. With a first process come its pidfd and the pipe that says how the payload ended, also if the spawn failed later: the
/// supervisor is the parent and the only one who can reap it.
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
    /// The kernel uid, if it was given one of its own.
    pub uid: Option<u32>,
}

/// What a jail tells the launcher, before its end of the socket closes. The end without either is a death.
#[derive(Debug, Serialize, Deserialize)]
pub enum Progress {
    /// The jail stands; the payload waits for its task, or has it. Nothing after it means that the program did start.
    Built(Attested),
    Failed(SpawnError),
}

/// How the payload ended: one byte for the kind, four for the number, in one write to the status pipe.
pub const EXIT_BYTES: usize = 5;
