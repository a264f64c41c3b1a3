//! Whose turn it is, where worlds and switch share one processor.
//!
//! Parties that wait for each other there take turns by `sched_yield(2)`, which is the quickest change of process there is: 1.4 us where
//! a futex or an eventfd takes 2.3 us (docs/performance.md). Two things decide whether the turn goes to who can use it.
//! **The switch counts double**: in a round trip each world has one turn and the switch two; with equal shares a third of the turns go to
//! somebody who has nothing to do yet. **All are in one scheduling group**: the kernel gives each session a group of its own
//! (`sched(7)`, autogroup), and a yield doesn't reach beyond its group.
//!
//! Both need root, and both are only about speed: what can't be had is left.

use std::fs;
use std::path::{Path, PathBuf};

/// The nice value with about twice the weight of 0 (`sched(7)`: 1.25 a step).
const TWICE: i32 = -3;
/// Where the hierarchies with the cpu controller are mounted: version 1 alone, with its accounting, or version 2.
const HIERARCHIES: [&str; 3] = ["/sys/fs/cgroup/cpu", "/sys/fs/cgroup/cpu,cpuacct", "/sys/fs/cgroup"];

/// Gives this process twice a world's share of the processor.
pub(crate) fn weigh_double() {
    // Refused without privilege.
    let _ = rustix::process::setpriority_process(None, TWICE);
}

/// Moves this process, and so all it will start, into one scheduling group; unless it is in one already, other than its session's.
pub(crate) fn gather() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let Some(root) = HIERARCHIES.iter().map(Path::new).find(|dir| gives_groups(dir) && is_at_root(dir)) else { return };
    sweep(root);
    let group = group_of(root, std::process::id());
    if fs::create_dir(&group).is_ok() && fs::write(group.join("cgroup.procs"), "0").is_err() {
        let _ = fs::remove_dir(&group);
    }
}

/// Removes the group that the supervisor with this pid, which is gone, had made.
pub(crate) fn dissolve(supervisor: u32) {
    for root in HIERARCHIES.iter().map(Path::new) {
        let _ = fs::remove_dir(group_of(root, supervisor));
    }
}

fn group_of(root: &Path, supervisor: u32) -> PathBuf {
    root.join(format!("strait-{supervisor}"))
}

/// Whether a directory made here is a scheduling group.
fn gives_groups(dir: &Path) -> bool {
    let controllers = fs::read_to_string(dir.join("cgroup.subtree_control"));
    match controllers {
        Ok(enabled) => enabled.split_whitespace().any(|name| name == "cpu"),
        // Version 1 has no such file.
        Err(_) => dir.join("cpu.shares").exists(),
    }
}

/// Whether this process is in no group of that hierarchy.
fn is_at_root(dir: &Path) -> bool {
    let own = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let is_v2 = dir.join("cgroup.subtree_control").exists();
    own.lines().any(|line| {
        let mut parts = line.splitn(3, ':').skip(1);
        let controllers = parts.next().unwrap_or_default();
        let matches = if is_v2 { controllers.is_empty() } else { controllers.split(',').any(|name| name == "cpu") };
        matches && parts.next() == Some("/")
    })
}

/// Removes what brokers that were killed have left. A group with somebody in it can't be removed.
fn sweep(root: &Path) {
    for entry in fs::read_dir(root).into_iter().flatten().flatten() {
        if entry.file_name().to_string_lossy().starts_with("strait-") {
            let _ = fs::remove_dir(entry.path());
        }
    }
}
