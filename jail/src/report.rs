//! What a jail *is*: read back from the kernel for the payload's process, not repeated from the specification.

use std::fs;
use std::io;
use std::os::fd::BorrowedFd;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use serde::{Deserialize, Serialize};

use crate::attest::Attested;
use crate::cgroup::Group;
use crate::mounts::Mount;
use crate::profile::Base;

/// The payload's state as `/proc` shows it. Capability sets are bit masks (`capabilities(7)`).
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// The payload, as seen from here.
    pub pid: i32,
    /// Its pid in each pid namespace, from ours inwards.
    pub pids: Vec<i32>,
    /// Kernel uid: real, effective, saved, file system.
    pub uids: Vec<u32>,
    /// Kernel gid, likewise.
    pub gids: Vec<u32>,
    /// Supplementary kernel groups.
    pub groups: Vec<u32>,
    /// The capability sets.
    pub capabilities: Capabilities,
    /// Whether set-user-ID programs gain nothing.
    pub no_new_privs: bool,
    /// 2: a seccomp filter is in force.
    pub seccomp: u32,
    /// How many are stacked.
    pub seccomp_filters: u32,
    /// Each namespace, and whether it is another than ours.
    pub namespaces: Vec<(String, bool)>,
    /// What is mounted.
    pub mounts: Vec<Mount>,
    /// Resource limits: name, soft, hard, in the kernel's words.
    pub limits: Vec<(String, String, String)>,
    /// Of its control groups: limits and what is used of them, by the kernel's names of the files.
    pub control_groups: Vec<(String, String)>,
    /// Open descriptors and what they lead to.
    pub descriptors: Vec<(i32, String)>,
    /// What the kernel shows to nobody outside: the first process of the jail looked, and tried, before it made the payload.
    pub attested: Attested,
    /// One sentence for each thing that this jail lacks.
    pub missing: Vec<String>,
}

/// The five capability sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "capabilities(7) explains the five")]
pub struct Capabilities {
    pub inheritable: u64,
    pub permitted: u64,
    pub effective: u64,
    pub bounding: u64,
    pub ambient: u64,
}

impl Capabilities {
    /// Whether all five are empty.
    pub fn none(&self) -> bool {
        self.inheritable | self.permitted | self.effective | self.bounding | self.ambient == 0
    }
}

/// The pid of a payload in its jail: the first that pid 1 makes.
const PAYLOAD: i32 = 2;

impl Report {
    /// `first` must be a child of ours, named by `pidfd`.
    pub(crate) fn read(first: i32, pidfd: BorrowedFd<'_>, group: &Group, attested: &Attested) -> io::Result<Report> {
        let pid = find_payload(first)?;
        let status = Status::read(pid)?;
        let mut attested = attested.clone();
        let mut report = Report {
            pid,
            pids: status.numbers("NSpid")?,
            uids: status.numbers("Uid")?,
            gids: status.numbers("Gid")?,
            groups: status.numbers("Groups")?,
            capabilities: status.capabilities()?,
            no_new_privs: status.number::<u32>("NoNewPrivs")? == 1,
            seccomp: status.number("Seccomp")?,
            seccomp_filters: status.number("Seccomp_filters")?,
            namespaces: namespaces(pid)?,
            mounts: std::mem::take(&mut attested.mounts),
            limits: limits(pid)?,
            control_groups: group.read_back(),
            descriptors: descriptors(pid)?,
            attested,
            missing: Vec::new(),
        };
        report.missing = group.missing();
        report.missing.extend(report.judge());
        // Numbers are reused: only if the jail is still there now did all of the above belong to it.
        if gone(pidfd)? { Err(io::ErrorKind::NotFound.into()) } else { Ok(report) }
    }

    fn judge(&self) -> Vec<String> {
        let mut missing = Vec::new();
        let own = rustix::process::geteuid().as_raw();
        if self.uids.contains(&own) {
            missing.push(format!("kernel uid {own} is shared with the supervisor and all its other worlds"));
        }
        missing.extend(self.judge_code(self.uids.contains(&own)));
        if self.groups.iter().any(|group| !self.gids.contains(group)) {
            missing.push(format!("supplementary groups are kept: {:?}", self.groups));
        }
        let shared = self.namespaces.iter().filter(|(_, other)| !other);
        missing.extend(shared.map(|(name, _)| format!("the {name} namespace is shared with the host")));
        missing
    }

    /// What may run that wasn't granted as a file, and what was let through by name.
    fn judge_code(&self, is_rootless: bool) -> Vec<String> {
        let profile = &self.attested.profile;
        let mut missing = Vec::new();
        if is_rootless && profile.base != Base::Strict {
            missing
                .push("a memory file (memfd) can be executed: only a launcher that is root can forbid it".to_owned());
        }
        if !self.attested.refuses_new_code {
            missing.push(format!("memory can be writable and executable: profile {}", profile.base));
        }
        if !profile.allow.is_empty() {
            missing.push(format!(
                "system calls beside those of profile {}: {}",
                profile.base,
                profile.allow.join(", ")
            ));
        }
        missing
    }
}

fn gone(pidfd: BorrowedFd<'_>) -> io::Result<bool> {
    let mut ready = [PollFd::new(&pidfd, PollFlags::IN)];
    Ok(poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))? > 0)
}

/// Orphans become children of pid 1 too; the payload is the one that it made first.
pub(crate) fn find_payload(first: i32) -> io::Result<i32> {
    let children = fs::read_to_string(format!("/proc/{first}/task/{first}/children"))?;
    let is_payload = |pid: &i32| {
        let pids = Status::read(*pid).and_then(|status| status.numbers::<i32>("NSpid"));
        pids.is_ok_and(|pids| pids.last() == Some(&PAYLOAD))
    };
    let payload = children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_payload);
    payload.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "the payload has ended"))
}

/// The text of `/proc/<pid>/status`. The name in its first line is the program's own choice, but the kernel escapes the line's end.
struct Status(String);

impl Status {
    fn read(pid: i32) -> io::Result<Status> {
        fs::read_to_string(format!("/proc/{pid}/status")).map(Status)
    }

    fn field(&self, name: &str) -> io::Result<&str> {
        let value = self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'));
        value.map(str::trim).ok_or_else(|| malformed("status", name))
    }

    fn number<T: std::str::FromStr>(&self, name: &str) -> io::Result<T> {
        self.field(name)?.parse().map_err(|_| malformed("status", name))
    }

    fn numbers<T: std::str::FromStr>(&self, name: &str) -> io::Result<Vec<T>> {
        let words = self.field(name)?.split_whitespace();
        words.map(|word| word.parse().map_err(|_| malformed("status", name))).collect()
    }

    fn capabilities(&self) -> io::Result<Capabilities> {
        let set = |name| u64::from_str_radix(self.field(name)?, 16).map_err(|_| malformed("status", name));
        Ok(Capabilities {
            inheritable: set("CapInh")?,
            permitted: set("CapPrm")?,
            effective: set("CapEff")?,
            bounding: set("CapBnd")?,
            ambient: set("CapAmb")?,
        })
    }
}

fn malformed(file: &str, what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("/proc/<pid>/{file}: no usable {what}"))
}

fn namespaces(pid: i32) -> io::Result<Vec<(String, bool)>> {
    let names = ["user", "mnt", "pid", "net", "ipc", "uts", "cgroup"];
    let link = |pid: &str, name: &str| fs::read_link(format!("/proc/{pid}/ns/{name}"));
    let compare = |name: &str| Ok((name.to_owned(), link(&pid.to_string(), name)? != link("self", name)?));
    names.into_iter().map(compare).collect()
}

/// Columns of fixed width: the names contain spaces.
fn limits(pid: i32) -> io::Result<Vec<(String, String, String)>> {
    const NAME: usize = 26;
    let text = fs::read_to_string(format!("/proc/{pid}/limits"))?;
    let limit = |line: &str| {
        let (name, values) = line.split_at_checked(NAME)?;
        let mut values = values.split_whitespace().map(str::to_owned);
        Some((name.trim().to_owned(), values.next()?, values.next()?))
    };
    text.lines().skip(1).map(|line| limit(line).ok_or_else(|| malformed("limits", "line"))).collect()
}

fn descriptors(pid: i32) -> io::Result<Vec<(i32, String)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(format!("/proc/{pid}/fd"))? {
        let entry = entry?;
        let number = entry.file_name().to_string_lossy().parse().map_err(|_| malformed("fd", "number"))?;
        // One that was closed in between isn't open.
        let Ok(target) = fs::read_link(entry.path()) else { continue };
        found.push((number, target.to_string_lossy().into_owned()));
    }
    found.sort_unstable();
    Ok(found)
}
