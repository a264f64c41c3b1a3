//! Control groups (`cgroups(7)`): what a whole jail may use, and the proof that nothing of it is left.
//!
//! A [`Launcher`](crate::Launcher) has one directory per hierarchy, its [`Home`], and in it one [`Group`] per jail:
//!
//! ```text
//! memory:   <own>/strait-<pid>/w7
//! pids:     <own>/strait-<pid>/w7
//! cpu:      <own>/strait-<pid>/turns            all worlds without a limit of their own, and the broker
//!           <own>/strait-<pid>/w8               one with a limit
//! unified:  <near>/strait-<pid>/w7              version 2; with the cpu controller: turns/w7, or w8
//! ```
//!
//! Version 1, version 2 and any mixture work: which controller is where is read from `/proc/self/cgroup` and `/proc/self/mountinfo`. Groups are
//! made below the caller's own, so what it is limited to itself still holds; in version 2, where a group with processes can't have groups with
//! limits below, beside it, in the nearest ancestor that the caller may write to and that hands the controllers on (a delegated scope, a slice, or
//! the root).
//!
//! What isn't there is known by name ([`Home::why_not`]): asked for, it fails the spawn; else the jail report names it.
//!
//! **Entering.** Version 2 takes a process in as it is made (`CLONE_INTO_CGROUP`). In version 1 a process that isn't there yet can only be
//! moved, and the kernel lets the first move after a pause wait 7 to 10 ms for a grace period of RCU: that is why jails are begun ahead of time
//! (`seat.rs`).
//!
//! **Leaving nothing.** `rmdir` of a group succeeds only when the kernel counts no process in it: a removed group is the proof. A home that a killed
//! supervisor left is removed by the next launcher: its owner holds a lock (`flock(2)`) on it, which ends with the owner, so nobody's pid
//! has to be trusted.

mod apart;
mod discover;
mod group;
mod home;

pub use apart::{Had, LONG_WAIT, Turns, processor_of};
pub use group::{Group, Label};
pub use home::Home;

/// The controllers that limits are made of.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Controller {
    Memory,
    Pids,
    Cpu,
}

impl Controller {
    pub const ALL: [Controller; 3] = [Controller::Memory, Controller::Pids, Controller::Cpu];

    /// The kernel's name of it.
    pub fn name(self) -> &'static str {
        match self {
            Controller::Memory => "memory",
            Controller::Pids => "pids",
            Controller::Cpu => "cpu",
        }
    }

    fn named(name: &str) -> Option<Controller> {
        Controller::ALL.into_iter().find(|controller| controller.name() == name)
    }
}

/// Which of the kernel's two interfaces a hierarchy has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    One,
    Two,
}
