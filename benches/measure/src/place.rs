//! Where processes run, how much processor time they took, and how much memory they hold.

use rustix::process::Pid;
use rustix::thread::{CpuSet, sched_setaffinity};
use serde::{Deserialize, Serialize};
use std::fs;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Placement {
    /// The scheduler decides.
    Free,
    /// Everything on processor 0.
    Same,
    /// Sender on processor 0, receivers on 1; who stands between is placed by the scheduler.
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

    /// The processor for the sender, which is party 0, or a receiver; `None` is all of them.
    pub fn of_party(self, index: usize) -> Option<usize> {
        match (self, index) {
            (Self::Free, _) => None,
            (Self::Same, _) | (Self::Cross, 0) => Some(0),
            (Self::Cross, _) => Some(1),
        }
    }

    /// The processor for who stands between.
    pub fn of_server(self) -> Option<usize> {
        (self == Self::Same).then_some(0)
    }

    /// Places sender and receivers, and everyone between them under `Same`: processes that run already, with one thread each.
    pub fn place(self, sender: u32, receivers: &[u32], between: &[u32]) -> std::io::Result<()> {
        pin(Some(sender), self.of_party(0))?;
        receivers.iter().try_for_each(|pid| pin(Some(*pid), self.of_party(1)))?;
        between.iter().try_for_each(|pid| pin(Some(*pid), self.of_server()))
    }
}

/// Places a process, or this thread and those it will start.
pub fn pin(pid: Option<u32>, processor: Option<usize>) -> std::io::Result<()> {
    let mut set = CpuSet::new();
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    match processor {
        Some(one) => set.set(one),
        None if pid.is_none() => return Ok(()),
        None => (0..count).for_each(|one| set.set(one)),
    }
    Ok(sched_setaffinity(pid.and_then(|pid| Pid::from_raw(pid.cast_signed())), &set)?)
}

/// Everything below a process, itself included, whichever of its threads started it.
pub fn tree(root: u32) -> Vec<u32> {
    let below = tasks(root).into_iter().flat_map(|task| {
        let children = fs::read_to_string(format!("/proc/{root}/task/{task}/children")).unwrap_or_default();
        let pids: Vec<u32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
        pids
    });
    std::iter::once(root).chain(below.flat_map(tree)).collect()
}

fn tasks(pid: u32) -> Vec<u32> {
    let Ok(folder) = fs::read_dir(format!("/proc/{pid}/task")) else { return Vec::new() };
    folder.filter_map(|entry| entry.ok()?.file_name().to_str()?.parse().ok()).collect()
}

/// Processor time of these processes so far, in microseconds: of every thread that is still there (`schedstat`, its first number).
pub fn cpu_us(pids: &[u32]) -> f64 {
    let spent = |path: String| -> Option<f64> {
        let text = fs::read_to_string(path).ok()?;
        text.split_whitespace().next()?.parse::<f64>().ok()
    };
    let of_all = pids.iter().flat_map(|pid| tasks(*pid).into_iter().map(move |task| (*pid, task)));
    of_all.filter_map(|(pid, task)| spent(format!("/proc/{pid}/task/{task}/schedstat"))).sum::<f64>() / 1000.0
}

/// Memory of these processes in KiB: their own, and what they share with others in proportion (`smaps_rollup`, `Pss_Anon` and
/// `Pss_Shmem`). Not the pages of program files, whose share depends on who else happens to run the same program.
pub fn memory_kib(pids: &[u32]) -> f64 {
    let of_one = |pid: &u32| Some(own_kib(&fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok()?));
    pids.iter().filter_map(of_one).sum()
}

fn own_kib(rollup: &str) -> f64 {
    let lines = rollup.lines().filter_map(|line| line.strip_prefix("Pss_Anon:").or(line.strip_prefix("Pss_Shmem:")));
    lines.filter_map(|line| line.split_whitespace().next()?.parse::<f64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_spent_time_and_holds_memory() {
        let me = [std::process::id()];
        assert!(cpu_us(&me) > 0.0);
        assert!(memory_kib(&me) > 0.0);
        assert!(tree(me[0]).contains(&me[0]));
    }

    #[test]
    fn memory_is_what_is_private_and_what_is_shared_on_purpose() {
        let rollup = "Rss:  9 kB\nPss:     1234 kB\nPss_Anon:  700 kB\nPss_File:  500 kB\nPss_Shmem:  34 kB\n";
        assert_eq!(own_kib(rollup), 734.0);
    }
}
