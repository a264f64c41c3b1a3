//! What the broker's processes hold, as the kernel counts it.

use crate::Stage;
use std::fs;

/// Processes, descriptors, memory files and mappings of a broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Holdings {
    pub processes: usize,
    pub supervisor_fds: usize,
    pub memfds: usize,
    /// Of the switch; `None` where it can't be looked into (it is not dumpable, so only root can).
    pub switch_fds: Option<usize>,
    pub switch_maps: Option<usize>,
}

impl Holdings {
    pub fn of(stage: &Stage) -> Self {
        let (supervisor, switch) = stage.broker_pids();
        let fds = links(supervisor).expect("the supervisor's descriptors");
        Self {
            processes: below(supervisor),
            supervisor_fds: fds.len(),
            memfds: fds.iter().filter(|target| target.starts_with("/memfd:")).count(),
            switch_fds: links(switch).map(|all| all.len()),
            switch_maps: maps(switch),
        }
    }
}

fn links(pid: u32) -> Option<Vec<String>> {
    let target =
        |entry: std::io::Result<fs::DirEntry>| Some(fs::read_link(entry.ok()?.path()).ok()?.display().to_string());
    Some(fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(target).collect())
}

/// Mappings of slices.
fn maps(pid: u32) -> Option<usize> {
    let text = fs::read_to_string(format!("/proc/{pid}/maps")).ok().filter(|text| !text.is_empty())?;
    Some(text.lines().filter(|line| line.contains("memfd:strait")).count())
}

/// How many processes are below this one.
fn below(pid: u32) -> usize {
    let text = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).map(|child: u32| 1 + below(child)).sum()
}
