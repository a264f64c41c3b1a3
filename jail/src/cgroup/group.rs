//! One jail's groups: entered, limited, killed, removed.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{Mode, OFlags, open};
use serde::{Deserialize, Serialize};

use super::home::{Place, TURNS};
use super::{Controller, Home, Version};
use crate::error::{At, SpawnError, Step, refused};
use crate::spec::{DEFAULT_MEMORY_BYTES, Limits};

/// The time after which a processor limit begins anew, in microseconds. The kernel's own choice; its shortest quota is 1,000.
const PERIOD_US: u64 = 100_000;
/// The least processor limit: a quota of 1,000 of a period.
const LEAST_PERMILLE: u32 = 10;

/// Which of a home's groups; launcher and supervisor both make the rest from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Label {
    pub number: u64,
    /// Whether it has a share of the processor of its own, as a limit needs it. Without one it takes turns with the others.
    pub own_cpu: bool,
}

/// The groups of one jail: one directory per hierarchy.
#[derive(Debug)]
pub struct Group {
    pub(super) home: Arc<Home>,
    pub(super) label: Label,
}

/// How a process gets into its groups: with its birth, or by a move of its own.
#[derive(Debug)]
pub struct Entry {
    /// Version 2: for `CLONE_INTO_CGROUP`.
    pub born_into: Option<OwnedFd>,
    /// Version 1: a process that writes `0` there moves there.
    pub moves_to: Vec<PathBuf>,
}

impl Group {
    /// Names groups that are there, or are about to be made.
    pub fn new(home: &Arc<Home>, label: Label) -> Group {
        Group { home: home.clone(), label }
    }

    pub fn label(&self) -> Label {
        self.label
    }

    /// Makes the directories.
    pub fn make(&self) -> Result<Entry, SpawnError> {
        let made = self.dirs().try_for_each(|(_, dir)| fs::create_dir(&dir).at_path(Step::Group, "mkdir", &dir));
        made.and_then(|()| self.entry()).inspect_err(|_| self.remove())
    }

    fn entry(&self) -> Result<Entry, SpawnError> {
        let mut entry = Entry { born_into: None, moves_to: Vec::new() };
        for (place, dir) in self.dirs() {
            match place.version {
                Version::One => entry.moves_to.push(dir.join("cgroup.procs")),
                Version::Two => {
                    let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                    entry.born_into = Some(open(&dir, flags, Mode::empty()).at_path(Step::Group, "open", &dir)?);
                }
            }
        }
        Ok(entry)
    }

    /// Sets the limits, or others than before; one that was asked for and can't be had is an error. The number of processes is limited in any
    /// case, if it can be.
    pub fn limit(&self, limits: &Limits) -> Result<(), SpawnError> {
        if let Some(permille) = limits.cpu_permille.filter(|permille| *permille < LEAST_PERMILLE) {
            return Err(SpawnError::Spec(format!(
                "a processor limit of {permille} thousandths is below {LEAST_PERMILLE}"
            )));
        }
        self.limit_memory(limits.memory_bytes)?;
        self.limit_pids(limits)?;
        limits.cpu_permille.map_or(Ok(()), |permille| self.limit_cpu(permille))
    }

    fn limit_memory(&self, asked: Option<u64>) -> Result<(), SpawnError> {
        let bytes = asked.unwrap_or(DEFAULT_MEMORY_BYTES);
        match self.dir_of(Controller::Memory) {
            None if asked.is_none() => Ok(()),
            None => Err(self.lacking("memory", Controller::Memory)),
            Some((Version::One, dir)) => {
                // Memory and swap together the same: no way out into swap. Absent where the kernel doesn't account swap. Neither is ever less
                // than memory alone: what is raised is raised first.
                let both = || set_if_there(&dir, "memory.memsw.limit_in_bytes", bytes);
                let memory = || set(&dir, "memory.limit_in_bytes", bytes);
                memory().or_else(|_| both().and_then(|()| memory()))?;
                both()
            }
            Some((Version::Two, dir)) => {
                // A world that lost a part of itself is no world: it ends as a whole.
                set(&dir, "memory.oom.group", 1)?;
                set(&dir, "memory.max", bytes)?;
                set_if_there(&dir, "memory.swap.max", 0)
            }
        }
    }

    /// The same for a jail that runs. In version 1 the limit of memory alone may never be above that of memory and swap together.
    pub fn change_memory(&self, bytes: u64) -> Result<(), SpawnError> {
        const TOGETHER: &str = "memory.memsw.limit_in_bytes";
        let dir = match self.dir_of(Controller::Memory) {
            Some((Version::One, dir)) => dir,
            _ => return self.limit_memory(Some(bytes)),
        };
        let before = fs::read_to_string(dir.join(TOGETHER)).ok().and_then(|text| text.trim().parse::<u64>().ok());
        if before.is_some_and(|before| before < bytes) {
            set_if_there(&dir, TOGETHER, bytes)?;
        }
        self.limit_memory(Some(bytes))
    }

    fn limit_pids(&self, limits: &Limits) -> Result<(), SpawnError> {
        match (self.dir_of(Controller::Pids), limits.pids, limits.processes) {
            (Some((_, dir)), Some(count), _) | (Some((_, dir)), None, Some(count)) => set(&dir, "pids.max", count),
            (Some((_, dir)), None, None) => set_text(&dir, "pids.max", "max"),
            (None, Some(_), _) => Err(self.lacking("pids", Controller::Pids)),
            (None, None, _) => Ok(()),
        }
    }

    pub fn limit_cpu(&self, permille: u32) -> Result<(), SpawnError> {
        let quota = u64::from(permille) * PERIOD_US / 1000;
        match self.dir_of(Controller::Cpu) {
            Some((Version::One, dir)) => {
                set(&dir, "cpu.cfs_period_us", PERIOD_US)?;
                set(&dir, "cpu.cfs_quota_us", quota)
            }
            Some((Version::Two, dir)) => set_text(&dir, "cpu.max", &format!("{quota} {PERIOD_US}")),
            None => Err(self.lacking("cpu", Controller::Cpu)),
        }
    }

    fn lacking(&self, limit: &str, controller: Controller) -> SpawnError {
        let why = self.home.why_not(controller).unwrap_or("this jail has no group there");
        refused(Step::Group, format!("{limit} needs the {} controller: {why}", controller.name()))
    }

    /// Kills all that is in it at once, where the kernel can (version 2). The death of the jail's pid 1 does the same; this is the second way.
    pub fn kill(&self) {
        for (_, dir) in self.dirs().filter(|(place, _)| place.version == Version::Two) {
            let _ = fs::write(dir.join("cgroup.kill"), "1");
        }
    }

    /// Removes the directories of a jail that is gone: now, or when the kernel has counted its last process out.
    pub fn remove(&self) {
        self.dirs().for_each(|(_, dir)| self.home.remove(dir));
    }

    /// How many of its processes the kernel has killed for want of memory. 0 too where there is no group to count in.
    pub fn memory_kills(&self) -> u64 {
        let Some((version, dir)) = self.dir_of(Controller::Memory) else { return 0 };
        let file = match version {
            Version::One => "memory.oom_control",
            Version::Two => "memory.events",
        };
        let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
        text.lines().find_map(|line| line.strip_prefix("oom_kill ")?.parse().ok()).unwrap_or(0)
    }

    /// The limits in force and what is used of them, in the kernel's words: name of the file and its text.
    pub fn read_back(&self) -> Vec<(String, String)> {
        const FILES: [&str; 9] = [
            "memory.max",
            "memory.limit_in_bytes",
            "memory.current",
            "memory.usage_in_bytes",
            "pids.max",
            "pids.current",
            "cpu.max",
            "cpu.cfs_quota_us",
            "cpu.cfs_period_us",
        ];
        let read = |dir: &Path, file: &str| {
            let text = fs::read_to_string(dir.join(file)).ok()?;
            Some((file.to_owned(), text.trim().to_owned()))
        };
        self.dirs().flat_map(|(_, dir)| FILES.iter().filter_map(|file| read(&dir, file)).collect::<Vec<_>>()).collect()
    }

    /// One sentence for each controller that this machine doesn't give.
    pub fn missing(&self) -> Vec<String> {
        let sentence = |controller: Controller| {
            let why = self.home.why_not(controller)?;
            Some(format!("no {} limit for the whole jail: {why}", controller.name()))
        };
        Controller::ALL.into_iter().filter_map(sentence).collect()
    }

    fn dir_of(&self, controller: Controller) -> Option<(Version, PathBuf)> {
        let mut dirs = self.dirs().filter(|(place, _)| place.controllers.contains(&controller));
        dirs.next().map(|(place, dir)| (place.version, dir))
    }

    pub(super) fn name(&self) -> String {
        format!("w{}", self.label.number)
    }

    pub(super) fn dirs(&self) -> impl Iterator<Item = (&Place, PathBuf)> {
        self.home.places.iter().filter_map(|place| {
            let name = self.name();
            let has_cpu = place.controllers.contains(&Controller::Cpu);
            match (has_cpu && !self.label.own_cpu, place.version) {
                (false, _) => Some((place, place.dir.join(name))),
                (true, Version::Two) => Some((place, place.dir.join(TURNS).join(name))),
                // The launcher takes turns itself, and its jails with it.
                (true, Version::One) => None,
            }
        })
    }
}

fn set(dir: &Path, file: &str, value: u64) -> Result<(), SpawnError> {
    set_text(dir, file, &value.to_string())
}

fn set_text(dir: &Path, file: &str, value: &str) -> Result<(), SpawnError> {
    write(&dir.join(file), value).at_path(Step::Group, &format!("write '{value}' to"), &dir.join(file))
}

fn set_if_there(dir: &Path, file: &str, value: u64) -> Result<(), SpawnError> {
    match write(&dir.join(file), &value.to_string()) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other.at_path(Step::Group, &format!("write '{value}' to"), &dir.join(file)),
    }
}

/// Without creating: what isn't there is an error, not a file.
fn write(file: &Path, text: &str) -> io::Result<()> {
    use std::io::Write;
    fs::OpenOptions::new().write(true).open(file)?.write_all(text.as_bytes())
}
