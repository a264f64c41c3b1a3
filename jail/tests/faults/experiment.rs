//! A supervisor, and what becomes of it and its worlds when one call fails, or when it is killed at one call.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use nix::unistd::Pid;
use syscalls::Sysno;

use crate::exceptions::{self, Exception};
use crate::subject::{Kind, Outcome, Subject, launcher_of};
use crate::tracer::{Call, Role, Tracer};

/// How long something may take: a thousand times as long as it does. Counted in naps, not by a clock, which goes on where this process and those
/// it watches are stopped together.
struct Patience {
    naps: u32,
}

impl Patience {
    const NAP: Duration = Duration::from_micros(50);

    fn new() -> Patience {
        Patience { naps: 200_000 }
    }

    /// `false`: it is at an end.
    fn nap(&mut self) -> bool {
        std::thread::sleep(Self::NAP);
        self.naps = self.naps.saturating_sub(1);
        self.naps > 0
    }
}

/// A supervisor whose launcher is watched.
pub struct Bench {
    subject: Subject,
    tracer: Tracer,
    /// Of its worlds alone: whoever has it is one of them.
    uid: u32,
    open: usize,
}

impl Bench {
    pub fn new(kind: Kind) -> Bench {
        let uid = 0x6100_0000 + std::process::id();
        let subject = Subject::start(kind, uid);
        let launcher = wait_for("a launcher", || launcher_of(subject.pid()));
        let tracer = Tracer::of(Pid::from_raw(launcher), kind == Kind::Clone).expect("ptrace");
        let mut bench = Bench { subject, tracer, uid, open: 0 };
        // The first spawns leave things open that stay so.
        for _ in 0..10 {
            let outcome = bench.order(|_| None).expect("an answer");
            assert!(outcome.error.is_none(), "what all else is compared with: {outcome:?}");
            assert!(bench.rest(), "the launcher ended");
            let open = bench.descriptors();
            if std::mem::replace(&mut bench.open, open) == open {
                return bench;
            }
        }
        panic!("every spawn leaves a descriptor open");
    }

    /// Every call on the way of a spawn, and what comes of it when nothing fails.
    pub fn watch(&mut self) -> (Vec<Call>, Outcome) {
        let mut calls = Vec::new();
        let outcome = self.order(|call| {
            calls.push(call);
            None
        });
        let outcome = outcome.expect("an answer");
        assert!(outcome.error.is_none() && outcome.is_marked, "{outcome:?}");
        self.rest();
        calls.sort_unstable();
        (calls, outcome)
    }

    /// Lets one call fail, and says what is wrong with what came of that. `false`: this value is of no more use.
    pub fn fail(&mut self, call: Call, errno: i32, clean: &Outcome) -> (Result<(), String>, bool) {
        let what = format!("{call}, failing with {errno}");
        let Some(outcome) = self.order(|now| call.is_at(&now).then_some(errno)) else {
            return (Err(format!("{what}: no answer")), false);
        };
        let lives = self.rest();
        let judged = judge(call, &outcome, clean).and_then(|()| if lives { self.check_nothing_left() } else { Ok(()) });
        (judged.map_err(|why| format!("{what}: {why}; {:?}", outcome.error)), lives)
    }

    /// Kills the supervisor before one call is made, and says what is left of its worlds.
    pub fn kill(mut self, call: Call) -> Result<(), String> {
        self.tracer.reset();
        self.subject.order("hold");
        let supervisor = &mut self.subject;
        let mut judge = |now: Call| {
            if call.is_at(&now) {
                supervisor.kill();
            }
            None
        };
        let mut patience = Patience::new();
        // Until the launcher, which ends last, has ended.
        while !self.tracer.roles().is_empty() {
            if !self.tracer.step(&mut judge) && !patience.nap() {
                return Err(format!("supervisor killed at {call}: {:?} live on", self.tracer.roles()));
            }
        }
        let (uid, pid) = (self.uid, self.subject.pid());
        let left = || (processes_of(uid).is_empty() && groups_of(pid).is_empty()).then_some(());
        while left().is_none() {
            if !patience.nap() {
                let (processes, groups) = (processes_of(uid), groups_of(pid));
                return Err(format!("supervisor killed at {call}: there are still {processes:?} {groups:?}"));
            }
        }
        Ok(())
    }

    /// The same spawn with the supervisor alive: the world runs, and goes on running.
    pub fn hold(mut self) -> Result<(), String> {
        self.subject.order("hold");
        self.follow(|_| None, |bench| bench.subject.outcome());
        std::thread::sleep(Duration::from_millis(300));
        match processes_of(self.uid).len() {
            // Pid 1 and its payload.
            2 => Ok(()),
            other => Err(format!("{other} processes of a world that nobody ended")),
        }
    }

    fn order(&mut self, judge: impl FnMut(Call) -> Option<i32>) -> Option<Outcome> {
        self.tracer.reset();
        self.subject.order("spawn");
        self.follow(judge, |bench| bench.subject.outcome())
    }

    /// Until the launcher waits for an order; or doesn't live any more.
    fn rest(&mut self) -> bool {
        let rests = |bench: &mut Bench| match bench.tracer.roles().contains(&Role::Launcher) {
            true => bench.tracer.is_resting().then_some(true),
            false => Some(false),
        };
        self.follow(|_| None, rests).unwrap_or(false)
    }

    /// Watches until something is so, or for too long.
    fn follow<T>(
        &mut self,
        mut judge: impl FnMut(Call) -> Option<i32>,
        mut until: impl FnMut(&mut Bench) -> Option<T>,
    ) -> Option<T> {
        let mut patience = Patience::new();
        loop {
            if self.tracer.step(&mut judge) {
                continue;
            }
            let result = until(self);
            if result.is_some() || !patience.nap() {
                return result;
            }
        }
    }

    fn check_nothing_left(&self) -> Result<(), String> {
        let (processes, groups) = (processes_of(self.uid), groups_of(self.subject.pid()));
        let open = self.descriptors();
        match processes.is_empty() && groups.is_empty() && open == self.open {
            true => Ok(()),
            false => Err(format!("left: {processes:?} {groups:?}, {open} descriptors instead of {}", self.open)),
        }
    }

    /// Of the supervisor and the launcher together.
    fn descriptors(&self) -> usize {
        let count = |pid: &str| fs::read_dir(format!("/proc/{pid}/fd")).map_or(0, Iterator::count);
        let supervisor = self.subject.pid();
        count(&supervisor.to_string()) + launcher_of(supervisor).map_or(0, |pid| count(&pid.to_string()))
    }
}

impl Call {
    fn is_at(&self, other: &Call) -> bool {
        (self.role, self.index) == (other.role, other.index)
    }

    pub fn name(&self) -> &'static str {
        Sysno::new(self.number as usize).map_or("?", |number| number.name())
    }
}

impl std::fmt::Display for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:?} call {} ({})", self.role, self.index, self.name())
    }
}

fn judge(call: Call, outcome: &Outcome, clean: &Outcome) -> Result<(), String> {
    let is = |exception| exceptions::of(call.role, call.name()).any(|one| one == exception);
    match &outcome.error {
        // None of the image's code has run, and its supervisor is told what was the matter.
        None if call.role == Role::Restorer && !outcome.is_marked && outcome.fault.is_some() => Ok(()),
        None if is(Exception::Ends) => Ok(()),
        None if is(Exception::Harmless) && outcome.is_as_whole_as(clean, false) => Ok(()),
        None if is(Exception::Answer) && outcome.is_as_whole_as(clean, true) => Ok(()),
        None => Err(format!("the spawn succeeded, as {} {:?}", outcome.report, outcome.mounts)),
        Some(_) if outcome.is_marked && !is(Exception::Late) => Err("the program ran".into()),
        Some(error) if !names_a_step(error) && !is(Exception::Unnamed) => Err("the error names no step".into()),
        Some(_) => Ok(()),
    }
}

/// `step: call: error`, as against the words for an end without one.
fn names_a_step(error: &str) -> bool {
    error.contains(": ")
}

fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let mut patience = Patience::new();
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(patience.nap(), "waited in vain for {what}");
    }
}

/// Processes of a kernel uid that aren't dead.
fn processes_of(uid: u32) -> Vec<i32> {
    let is_of = |pid: &i32| {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.contains(&format!("Uid:\t{uid}\t")) && !status.contains("State:\tZ")
    };
    let entries = fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(is_of).collect()
}

/// The control groups of a supervisor's worlds.
fn groups_of(supervisor: u32) -> Vec<PathBuf> {
    let own = format!("strait-{supervisor}-");
    let mut found = Vec::new();
    let mut open = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(dir) = open.pop() {
        for path in fs::read_dir(&dir).into_iter().flatten().flatten().map(|entry| entry.path()) {
            let is_dir = fs::symlink_metadata(&path).is_ok_and(|data| data.is_dir());
            let is_world = is_dir && name(&dir).starts_with(&own) && name(&path).starts_with('w');
            if is_world {
                found.push(path);
            } else if is_dir {
                open.push(path);
            }
        }
    }
    found
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}
