//! Where processes run, and how much processor time they took.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use std::fs;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Placement {
    /// The scheduler decides.
    Free,
    /// Everything on processor 0.
    Same,
    /// Sender on processor 0, receiver on 1; who stands between is placed by the scheduler.
    Cross,
}

impl Placement {
    pub const ALL: [Self; 3] = [Self::Free, Self::Same, Self::Cross];

    pub fn name(self) -> &'static str {
        match self {
            Self::Free => "free",
            Self::Same => "same",
            Self::Cross => "cross",
        }
    }

    /// The processors for the sender and for the receiver; `None` is all of them.
    fn processors(self) -> [Option<usize>; 2] {
        match self {
            Self::Free => [None, None],
            Self::Same => [Some(0), Some(0)],
            Self::Cross => [Some(0), Some(1)],
        }
    }

    /// Places sender and receiver, and everyone between them under `Same`.
    pub fn place(self, sender: u32, receiver: u32, between: &[u32]) -> std::io::Result<()> {
        let [first, second] = self.processors();
        pin(sender, first)?;
        pin(receiver, second)?;
        let middle = if self == Self::Same { Some(0) } else { None };
        between.iter().try_for_each(|pid| pin(*pid, middle))
    }
}

fn pin(pid: u32, processor: Option<usize>) -> std::io::Result<()> {
    let count = std::thread::available_parallelism()?.get();
    let mut set = CpuSet::new();
    match processor {
        Some(one) => set.set(one.min(count - 1)),
        None => (0..count).for_each(|one| set.set(one)),
    }
    Ok(sched_setaffinity(Pid::from_raw(pid.cast_signed()), &set)?)
}

/// Everything below a process, itself included.
pub fn tree(root: u32) -> Vec<u32> {
    let children = fs::read_to_string(format!("/proc/{root}/task/{root}/children")).unwrap_or_default();
    let below = children.split_whitespace().filter_map(|pid| pid.parse().ok()).flat_map(tree);
    std::iter::once(root).chain(below).collect()
}

/// Processor time of these processes so far, in microseconds (`/proc/<pid>/schedstat`, its first number).
pub fn cpu_us(pids: &[u32]) -> f64 {
    let spent = |pid: &u32| -> Option<f64> {
        let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    pids.iter().filter_map(spent).sum::<f64>() / 1000.0
}
