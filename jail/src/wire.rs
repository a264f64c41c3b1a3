//! What supervisor and launcher say to each other. Both are ours and equally trusted, over a socket that nobody else holds.

use serde::{Deserialize, Serialize};

use crate::attest::Attested;
use crate::error::SpawnError;
use crate::spec::Spec;

/// Largest message either way, 128 KiB: the socket's default send buffer takes it.
pub const MAX_BYTES: usize = 128 << 10;

/// Supervisor to launcher. With it come the descriptors: stdin, stdout, stderr, the status pipe's write end, and the
/// rendezvous socket if there is one.
#[derive(Debug, Serialize, Deserialize)]
pub struct Order {
    pub ticket: u64,
    pub spec: Spec,
}

/// Launcher to supervisor. With a pid comes its pidfd, also if the spawn failed later: the supervisor is the parent and
/// the only one who can reap it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Answer {
    pub ticket: u64,
    pub pid: Option<i32>,
    /// What the first process found in force, once it was.
    pub attested: Option<Attested>,
    pub error: Option<SpawnError>,
}

/// What the first process tells the launcher, before the pipe ends. The end without either is a death.
#[derive(Debug, Serialize, Deserialize)]
pub enum Progress {
    /// The jail stands; the program starts next. Nothing after it means that it did start.
    Built(Attested),
    Failed(SpawnError),
}

/// How the payload ended: one byte for the kind, four for the number, in one write to the status pipe.
pub const EXIT_BYTES: usize = 5;
