//! Who takes the processor for long stands apart from those who take turns: a group of the scheduler's own, with a small share.
//!
//! In one group with them, a world that only burns time makes every yield of theirs cost a whole time slice (docs/decisions/0019-who-burns-stands-apart.md).
//! Version 1 only. In version 2 a process can't change its group of the scheduler without changing that of its memory too, which would leave what it
//! had charged behind.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::home::TURNS;
use super::{Controller, Group, Version};

/// Of 1024 that those who take turns have together: what is left to the ones apart while the others need the processor all the time.
const SHARES: u64 = 64;
/// The line of `/proc/<pid>/task/<tid>/status`.
const HANDED_ON: &str = "nonvoluntary_ctxt_switches:";
/// Passes over the list of processes, which may grow meanwhile.
const PASSES: usize = 4;

/// How often a thread had to hand its processor on is read only if it has waited so long for one since it was looked at before.
pub const LONG_WAIT: Duration = Duration::from_millis(50);

/// What threads that are there have had, by their numbers (`proc_pid_schedstat(5)`).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Turns {
    threads: BTreeMap<i32, Had>,
    /// There are more threads than were looked at.
    pub is_cut: bool,
}

/// What one thread has had since it began.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Had {
    /// On a processor.
    pub time: Duration,
    /// How long it waited for one.
    pub waited: Duration,
    /// How often it was given one.
    pub count: u64,
    /// How often it had to hand it on while it could have gone on, which is what a yield is too (`nonvoluntary_ctxt_switches`,
    /// `proc_pid_status(5)`). `None`: it hasn't waited long, or stands apart.
    pub handed_on: Option<u64>,
}

impl FromIterator<(i32, Had)> for Turns {
    fn from_iter<I: IntoIterator<Item = (i32, Had)>>(threads: I) -> Turns {
        Turns { threads: threads.into_iter().collect(), is_cut: false }
    }
}

impl Turns {
    /// Those of a process that is in no jail: of `most` threads at most, which had so much `before`.
    pub fn of_process(pid: i32, before: &Turns, most: usize) -> Turns {
        Turns::of_threads(threads_of(pid), Some(before), most)
    }

    fn of_threads(mut dirs: impl Iterator<Item = PathBuf>, before: Option<&Turns>, most: usize) -> Turns {
        let threads = dirs.by_ref().take(most).filter_map(|dir| Had::of_thread(&dir, before)).collect();
        Turns { threads, is_cut: dirs.next().is_some() }
    }

    /// Of how many threads this is.
    pub fn threads(&self) -> usize {
        self.threads.len()
    }

    /// What each thread that is there has had since `before`, by its number.
    pub fn since(&self, before: &Turns) -> impl Iterator<Item = (i32, Had)> {
        self.threads.iter().map(|(thread, now)| (*thread, now.since(before.of(*thread))))
    }

    fn of(&self, thread: i32) -> Had {
        self.threads.get(&thread).copied().unwrap_or(Had::NEW)
    }
}

/// The processor that a thread ran on last, or waits for (`proc_pid_stat(5)`). `None`: it has ended.
pub fn processor_of(thread: i32) -> Option<u32> {
    let stat = fs::read_to_string(format!("/proc/{thread}/stat")).ok()?;
    // Behind its name, which may have anything in it: 36 fields from the state on.
    stat.rsplit_once(") ")?.1.split(' ').nth(36)?.parse().ok()
}

/// The directories of its threads.
fn threads_of(pid: i32) -> impl Iterator<Item = PathBuf> {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    threads.map(|thread| thread.path())
}

impl Had {
    /// What one has had that has just begun.
    const NEW: Had = Had { time: Duration::ZERO, waited: Duration::ZERO, count: 0, handed_on: Some(0) };

    fn since(&self, before: Had) -> Had {
        Had {
            time: self.time.saturating_sub(before.time),
            waited: self.waited.saturating_sub(before.waited),
            count: self.count.saturating_sub(before.count),
            handed_on: self.handed_on.zip(before.handed_on).map(|(now, before)| now.saturating_sub(before)),
        }
    }

    /// With its number; and how often it handed its processor on, if it takes turns and has waited long since `before`. `None`: it has ended.
    fn of_thread(dir: &Path, before: Option<&Turns>) -> Option<(i32, Had)> {
        let thread = dir.file_name()?.to_str()?.parse().ok()?;
        let mut had = Had::parse(&fs::read_to_string(dir.join("schedstat")).ok()?)?;
        if before.is_some_and(|before| had.since(before.of(thread)).waited >= LONG_WAIT) {
            let status = fs::read_to_string(dir.join("status")).ok()?;
            had.handed_on = Some(status.lines().find_map(|line| line.strip_prefix(HANDED_ON))?.trim().parse().ok()?);
        }
        Some((thread, had))
    }

    /// `time on a processor, time waited, turns`, in ns.
    fn parse(text: &str) -> Option<Had> {
        let mut numbers = text.split_whitespace().map(str::parse::<u64>);
        let mut next = || numbers.next()?.ok();
        let (time, waited) = (Duration::from_nanos(next()?), Duration::from_nanos(next()?));
        Some(Had { time, waited, count: next()?, handed_on: None })
    }
}

impl Group {
    /// Processor time of the jail so far. `None`: this machine doesn't count it by group.
    pub fn run_time(&self) -> Option<Duration> {
        let (_, dir) = self.dirs().find(|(place, _)| place.version == Version::Two)?;
        let stat = fs::read_to_string(dir.join("cpu.stat")).ok()?;
        let micros = stat.lines().find_map(|line| line.strip_prefix("usage_usec "))?;
        Some(Duration::from_micros(micros.parse().ok()?))
    }

    /// What its threads have had of turns, of `most` at most, which had so much `before`. Those that have ended don't count any more.
    pub fn turns(&self, before: &Turns, most: usize) -> Turns {
        let before = (!self.label.own_cpu).then_some(before);
        Turns::of_threads(self.members().into_iter().flat_map(threads_of), before, most)
    }

    /// Puts the jail apart, or back among those who take turns.
    pub fn set_apart(&mut self, apart: bool) -> io::Result<()> {
        let place = self.home.places.iter().find(|place| place.controllers == [Controller::Cpu]);
        let Some(home) = place.filter(|place| place.version == Version::One).map(|place| place.dir.clone()) else {
            return Err(io::ErrorKind::Unsupported.into());
        };
        let own = home.join(self.name());
        if !apart {
            self.move_to(&home.join(TURNS))?;
            self.label.own_cpu = false;
            self.home.remove(own);
            return Ok(());
        }
        match fs::create_dir(&own) {
            // It couldn't be removed when the jail went back: a process that was forked between two passes stayed in it.
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            other => other?,
        }
        self.label.own_cpu = true;
        fs::write(own.join("cpu.shares"), SHARES.to_string())?;
        self.move_to(&own)
    }

    /// What is forked while this goes on is born into its parent's group, and moved by the next pass.
    fn move_to(&self, dir: &Path) -> io::Result<()> {
        let procs = dir.join("cgroup.procs");
        for _ in 0..PASSES {
            let there = pids(&fs::read_to_string(&procs)?);
            let missing: Vec<i32> = self.members().into_iter().filter(|pid| !there.contains(pid)).collect();
            if missing.is_empty() {
                break;
            }
            // One that has ended meanwhile can't be moved, and needn't be.
            missing.iter().for_each(|pid| drop(fs::write(&procs, pid.to_string())));
        }
        Ok(())
    }

    /// Its processes, as a group that is the jail's alone lists them.
    fn members(&self) -> Vec<i32> {
        let mut dirs = self.dirs().filter(|(place, _)| place.controllers != [Controller::Cpu]);
        let text = dirs.next().and_then(|(_, dir)| fs::read_to_string(dir.join("cgroup.procs")).ok());
        pids(&text.unwrap_or_default())
    }
}

fn pids(text: &str) -> Vec<i32> {
    text.lines().filter_map(|line| line.parse().ok()).collect()
}
