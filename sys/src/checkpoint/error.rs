//! Why a process can't be written down.

use rustix::io::Errno;
use strait_image::{Full, Range};

/// Why a process can't be written down. It goes on as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CheckpointError {
    /// There is no restorer for this architecture.
    #[error("a checkpoint isn't supported on this architecture ({0})")]
    Architecture(&'static str),
    /// Only the calling thread could be cloned.
    #[error("a checkpoint takes a process with one thread: this one has {0}; make it before the others start")]
    Threads(u64),
    /// Descriptors that a clone can't have.
    #[error(
        "a clone can't have what is open here: {}; close it before the checkpoint (files open for reading may stay)",
        .0.join(", ")
    )]
    Descriptors(Vec<String>),
    /// A timer runs, and no clone would be told.
    #[error("a timer is running: stop it before the checkpoint")]
    Timer,
    /// A child, which no clone has.
    #[error("the process has a child: wait for its end before the checkpoint")]
    Child,
    /// Memory that can't be written down.
    #[error("memory at {:#x} to {:#x} ({name}) can't be in an image: {why}", range.start, range.end)]
    Memory {
        /// Where.
        range: Range,
        /// What the kernel calls it.
        name: String,
        /// What is wrong with it.
        why: &'static str,
    },
    /// The image would be larger than it may be.
    #[error("the image has more than the {limit} bytes that it may have (`checkpoint_bytes`)")]
    TooLarge {
        /// The limit.
        limit: u64,
    },
    /// So many mappings that the index doesn't take them.
    #[error("the process has more mappings or mapped files than an image describes")]
    TooMany,
    /// The kernel wrote what wasn't understood.
    #[error("{0} of this kernel can't be understood")]
    Unreadable(&'static str),
    /// A system call failed.
    #[error("{call}: {errno}")]
    Call {
        /// The call, or the file that it was about.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
}

impl From<Full> for CheckpointError {
    fn from(_: Full) -> Self {
        Self::TooMany
    }
}

pub(super) fn call(call: &'static str) -> impl FnOnce(Errno) -> CheckpointError {
    move |errno| CheckpointError::Call { call, errno }
}
