//! What can go wrong, and where: every failure names the step, the system call and what it was applied to.

use std::fmt;
use std::io;
use std::path::Path;

use serde::{Deserialize, Serialize};

/// Why a jail wasn't built or its program wasn't started. Nothing of it is left behind, but for [`SpawnError::Undead`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum SpawnError {
    /// The specification asks for something that no jail can be.
    #[error("{0}")]
    Spec(String),
    /// A system call failed.
    #[error("{step}: {call}: {}", name_of(*errno))]
    Step {
        /// The step of the construction.
        step: Step,
        /// The call, with what it was applied to.
        call: String,
        /// The error number it gave.
        errno: i32,
    },
    /// A library refused; it gives words, not numbers.
    #[error("{step}: {reason}")]
    Refused {
        /// The step of the construction.
        step: Step,
        /// What the library said.
        reason: String,
    },
    /// A program without a slash that is in none of the directories.
    #[error("no such program '{program}' in the jail (looked in {looked_in})")]
    NoProgram {
        /// As asked for.
        program: String,
        /// The value of `PATH`.
        looked_in: String,
    },
    /// The jail ended before its program was started, without a word: while it was built, or while it waited for its task.
    #[error("the jail died before its program was started")]
    Died,
    /// It failed, and what was made of it doesn't die: it is stuck in the kernel. It ends when it gets out.
    #[error("{why}; its first process, {pid}, was killed and hasn't ended")]
    Undead {
        /// As seen from outside.
        pid: i32,
        /// Why it failed.
        why: String,
    },
    /// Something in the construction hung, most likely a bind source on a file system that doesn't answer.
    #[error("the jail wasn't complete after {0} ms")]
    TooSlow(u64),
}

/// Where in the construction of a jail or an enclosure it failed, in the order in which they happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the words of Display are the documentation")]
pub enum Step {
    Receive,
    Group,
    Clone,
    IdMaps,
    Release,
    Descriptors,
    Memfd,
    Sources,
    Identity,
    Tie,
    Rendezvous,
    Root,
    Bind,
    Devices,
    Proc,
    Tmp,
    Etc,
    Pivot,
    HostName,
    Session,
    WorkingDirectory,
    Limits,
    NoNewPrivileges,
    Capabilities,
    Landlock,
    Code,
    Payload,
    Seccomp,
    Execute,
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Step::Receive => "receiving the order",
            Step::Group => "setting up the control groups",
            Step::Clone => "making the first process",
            Step::IdMaps => "mapping the user",
            Step::Release => "releasing the first process",
            Step::Descriptors => "sorting the descriptors",
            Step::Memfd => "forbidding executable memory files",
            Step::Sources => "opening what the jail may see",
            Step::Identity => "becoming the user",
            Step::Tie => "tying the jail to its supervisor",
            Step::Rendezvous => "connecting to the rendezvous",
            Step::Root => "making the root",
            Step::Bind => "attaching a bind",
            Step::Devices => "making /dev",
            Step::Proc => "making /proc",
            Step::Tmp => "making /tmp",
            Step::Etc => "making /etc",
            Step::Pivot => "entering the root",
            Step::HostName => "setting the host name",
            Step::Session => "making the session",
            Step::WorkingDirectory => "entering the working directory",
            Step::Limits => "setting the limits",
            Step::NoNewPrivileges => "giving up new privileges",
            Step::Capabilities => "dropping the capabilities",
            Step::Landlock => "landlock",
            Step::Code => "refusing new code",
            Step::Payload => "making the payload's process",
            Step::Seccomp => "seccomp",
            Step::Execute => "starting the program",
        })
    }
}

/// Why the launcher itself, or an enclosure, failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The launcher copies its process, so that must have one thread only.
    #[error("a launcher must start before any thread: this process has {threads} threads")]
    Threads {
        /// How many there are.
        threads: usize,
    },
    /// A call on the way to the launcher or back failed.
    #[error("launcher: {call}: {source}")]
    Io {
        /// The call.
        call: &'static str,
        /// What it said.
        source: io::Error,
    },
    /// A message between supervisor and launcher couldn't be made or read.
    #[error("launcher: {0}")]
    Wire(String),
    /// The launcher has ended; it starts nothing any more.
    #[error("the launcher has ended")]
    Gone,
    /// [`Launcher::next`](crate::Launcher::next) with no order open would wait for ever.
    #[error("nothing was submitted that is still unanswered")]
    NothingOpen,
    /// The jail wasn't built.
    #[error(transparent)]
    Spawn(#[from] SpawnError),
    /// A step of [`enclose`](crate::enclose) failed. The process is in an undefined state and should end.
    #[error("enclosure '{name}': {source}")]
    Enclose {
        /// Of the enclosure.
        name: String,
        /// What failed.
        source: SpawnError,
    },
}

impl Error {
    pub(crate) fn io(call: &'static str) -> impl FnOnce(io::Error) -> Error {
        move |source| Error::Io { call, source }
    }
}

/// Turns the error of a call into a [`SpawnError`] that says where. The words are made only if there is one (`format_args!`).
pub(crate) trait At<T> {
    /// The call had no argument worth naming.
    fn at(self, step: Step, call: impl fmt::Display) -> Result<T, SpawnError>;
    /// The call was applied to this path.
    fn at_path(self, step: Step, call: &str, path: &Path) -> Result<T, SpawnError>;
}

impl<T, E: Into<io::Error>> At<T> for Result<T, E> {
    fn at(self, step: Step, call: impl fmt::Display) -> Result<T, SpawnError> {
        self.map_err(|error| {
            let errno = error.into().raw_os_error().unwrap_or(libc::EIO);
            SpawnError::Step { step, call: call.to_string(), errno }
        })
    }

    fn at_path(self, step: Step, call: &str, path: &Path) -> Result<T, SpawnError> {
        self.at(step, format_args!("{call} {}", path.display()))
    }
}

fn name_of(errno: i32) -> String {
    io::Error::from_raw_os_error(errno).to_string()
}

/// The same for the libraries that give words.
pub(crate) fn refused(step: Step, reason: impl fmt::Display) -> SpawnError {
    SpawnError::Refused { step, reason: reason.to_string() }
}
