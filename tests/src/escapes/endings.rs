//! The attempts to outlive one's end: the end, and a look from outside at what is left.

use super::surroundings::{Kind, Surroundings};
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::io::{self, BufRead, BufReader};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use strait_escapes::outcome::THROUGH;
use strait_escapes::{Cage, Ending, Row};

/// How long whoever is told to stop may take: our worlds have a grace of 300 ms, and no jail is no time.
fn deadline(kind: Kind) -> Duration {
    Duration::from_secs(if kind == Kind::Unjailed { 1 } else { 5 })
}

/// Moments of a start at which its broker is killed, 2 ms apart.
const MOMENTS: u64 = 16;

impl Surroundings<'_> {
    /// Has an attempt made, ends it, and says what is left: nothing (`gone`), nothing but too late (`late`), or something.
    pub(super) fn end(&self, row: &Row, at: usize, ending: Ending) -> io::Result<String> {
        let start = || {
            let mut command = self.probe(row, at..at + 1, Cage::Open)?;
            command.stderr(Stdio::null()).spawn()
        };
        match ending {
            Ending::Stop => {
                let mut child = start()?;
                let word = await_ready(&mut child)?.unwrap_or_else(|| stop(&mut child, deadline(self.kind)));
                Ok(self.look(&word))
            }
            Ending::Kill => {
                for moment in 0..MOMENTS {
                    let mut child = start()?;
                    std::thread::sleep(Duration::from_millis(2 * moment));
                    kill_broker(&mut child, moment % 2 == 1)?;
                    if self.look("gone") == THROUGH {
                        return Ok(THROUGH.into());
                    }
                }
                Ok("gone".into())
            }
        }
    }

    /// The word, or that there is something left a while later; what there is is killed.
    fn look(&self, word: &str) -> String {
        let deadline = Instant::now() + Duration::from_secs(1);
        loop {
            let left = processes_about(self.place.dir());
            if left.is_empty() {
                return word.into();
            }
            if Instant::now() > deadline {
                left.into_iter().for_each(kill);
                return THROUGH.into();
            }
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}

/// Waits until the attempt is made; otherwise what it said instead.
fn await_ready(child: &mut Child) -> io::Result<Option<String>> {
    let mut line = String::new();
    if let Some(stdout) = &mut child.stdout {
        BufReader::new(stdout).read_line(&mut line)?;
    }
    Ok((line != "ready\n").then(|| format!("no answer: {}", line.trim())))
}

fn stop(child: &mut Child, patience: Duration) -> String {
    if let Some(pid) = Pid::from_raw(child.id().cast_signed()) {
        let _ = kill_process(pid, Signal::TERM);
    }
    let deadline = Instant::now() + patience;
    while Instant::now() < deadline {
        if matches!(child.try_wait(), Ok(Some(_))) {
            return "gone".into();
        }
        std::thread::sleep(Duration::from_millis(10));
    }
    let _ = child.kill();
    let _ = child.wait();
    "late".into()
}

/// Kills whoever runs the jail: the process that was started, or its first child, which in our case is the supervisor.
fn kill_broker(child: &mut Child, inner: bool) -> io::Result<()> {
    let pid = child.id();
    let children = fs::read_to_string(format!("/proc/{pid}/task/{pid}/children")).unwrap_or_default();
    let supervisor = children.split_whitespace().next().and_then(|pid| pid.parse().ok());
    if let Some(supervisor) = supervisor.filter(|_| inner) {
        kill(supervisor);
        std::thread::sleep(Duration::from_millis(20));
    }
    child.kill()?;
    child.wait().map(drop)
}

/// Processes whose command line names the directory of this run: the probe's does, wherever it runs.
fn processes_about(dir: &Path) -> Vec<i32> {
    let needle = [b"outside=", dir.as_os_str().as_bytes()].concat();
    let names = |pid: &i32| {
        let line = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
        line.windows(needle.len()).any(|part| part == needle)
    };
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).filter(names).collect()
}

fn kill(pid: i32) {
    if let Some(pid) = Pid::from_raw(pid) {
        let _ = kill_process(pid, Signal::KILL);
    }
}
