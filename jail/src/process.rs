//! A running jail, as its supervisor holds it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{
    Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, WaitIdStatus, pidfd_open, pidfd_send_signal, waitid,
};

use crate::attest::Attested;
use crate::cgroup::{Group, Turns};
use crate::error::SpawnError;
use crate::launcher::Jail;
use crate::report::{Report, find_payload};
use crate::wire::{EXIT_BYTES, First};

/// How a payload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// It ended itself with this code.
    Code(i32),
    /// This signal killed it. 9 also if the whole jail was killed, 31 (`SIGSYS`) if a seccomp filter did it.
    Signal(i32),
}

/// A jail with its payload. Dropping it kills the whole tree, and waits until it is gone; but no longer than 5 s, for a process that is stuck in
/// the kernel, or in a frozen control group, can't be killed before it gets out. It ends then; only its place in the process table stays
/// until the supervisor ends, and its groups until the next launcher starts.
#[derive(Debug)]
pub struct Process {
    first: First,
    pidfd: OwnedFd,
    status: OwnedFd,
    attested: Attested,
    group: Group,
    memory_kills: u64,
    exit: Option<Exit>,
}

impl Process {
    pub(crate) fn new(jail: Jail, group: Group, attested: Attested) -> Process {
        let Jail { first, pidfd, status } = jail;
        Process { first, pidfd, status, group, attested, memory_kills: 0, exit: None }
    }

    /// The jail's pid 1, as seen from here. Belongs to nobody once [`Process::wait`] has returned.
    pub fn pid(&self) -> i32 {
        self.first.pid
    }

    /// Its kernel uid: the one of its [`Spec`](crate::Spec), or the one that a jail had which was built ahead of time
    /// ([`Launcher::lend`](crate::Launcher::lend)). `None`: the launcher's.
    pub fn uid(&self) -> Option<u32> {
        self.first.uid
    }

    /// The same, for ever. Readable when the whole tree is gone.
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.pidfd.as_fd()
    }

    /// Kills the whole tree: with pid 1 of a pid namespace the kernel kills all that is in it, however it hid; and where there are control
    /// groups of version 2, by those too. It is no error if the
    /// tree is gone already. [`Process::wait`] tells when it is.
    pub fn kill(&self) -> io::Result<()> {
        if self.exit.is_none() {
            self.group.kill();
        }
        match pidfd_send_signal(&self.pidfd, Signal::KILL) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Asks the payload to end (`SIGTERM`), for programs that can't be told otherwise. Fails if it has ended.
    pub fn terminate(&self) -> io::Result<()> {
        let payload = find_payload(self.pid())?;
        let pidfd = pidfd_open(Pid::from_raw(payload).ok_or(io::ErrorKind::NotFound)?, PidfdFlags::empty())?;
        // Its number may have gone to another process before it was opened: then it isn't the payload any more.
        if find_payload(self.pid())? != payload {
            return Err(io::ErrorKind::NotFound.into());
        }
        Ok(pidfd_send_signal(&pidfd, Signal::TERM)?)
    }

    /// Processor time of the whole tree so far, the dead included. `None`: this machine doesn't count it by jail (that takes version 2 of control
    /// groups, with or without controllers).
    pub fn run_time(&self) -> Option<Duration> {
        self.group.run_time()
    }

    /// What the threads of the tree have had of turns on a processor: of `most` at most, which had so much `before`. Those that have ended don't
    /// count any more.
    pub fn turns(&self, before: &Turns, most: usize) -> Turns {
        self.group.turns(before, most)
    }

    /// Puts the tree into a group of the scheduler with a small share, beside those who [take turns](crate::Launcher::take_turns), or back among
    /// them. Fails without version 1's cpu controller. Takes up to 10 ms after a pause.
    pub fn set_apart(&mut self, apart: bool) -> io::Result<()> {
        self.group.set_apart(apart)
    }

    /// Limits the memory of the whole tree anew, in bytes. Fails without a memory controller; and in version 1 if more is used than that: then
    /// nothing has changed. In version 2 the kernel kills then, as it does beyond any limit.
    pub fn set_memory(&self, bytes: u64) -> Result<(), SpawnError> {
        self.group.change_memory(bytes)
    }

    /// Limits the processor time of the whole tree anew, in thousandths of a processor. Fails for a jail that had no such limit from the
    /// beginning.
    pub fn set_cpu(&self, permille: u32) -> Result<(), SpawnError> {
        self.group.limit_cpu(permille)
    }

    /// Waits until the payload has ended and nothing of the tree is left.
    pub fn wait(&mut self) -> io::Result<Exit> {
        loop {
            if let Some(exit) = self.collect(WaitIdOptions::empty())? {
                return Ok(exit);
            }
        }
    }

    /// The same without waiting: `None` while something of the tree is left.
    pub fn try_wait(&mut self) -> io::Result<Option<Exit>> {
        self.collect(WaitIdOptions::NOHANG)
    }

    /// Once it has ended: how many of its processes the kernel killed for want of memory, as far as there was a control group to count them.
    pub fn memory_kills(&self) -> u64 {
        self.memory_kills
    }

    /// What the kernel says about the payload, now, and what pid 1 attested. Fails once it has ended.
    pub fn report(&self) -> io::Result<Report> {
        Report::read(self.pid(), self.pidfd(), &self.group, &self.attested)
    }

    fn collect(&mut self, options: WaitIdOptions) -> io::Result<Option<Exit>> {
        if self.exit.is_none()
            && let Some(end) = take(&self.pidfd, options)?
        {
            // Pid 1 is gone, and with it the only writer: the record is there or never will be, and reading can't block.
            self.exit = Some(self.recorded()?.unwrap_or_else(|| own_exit(&end)));
            self.memory_kills = self.group.memory_kills();
            self.group.remove();
        }
        Ok(self.exit)
    }

    fn recorded(&self) -> io::Result<Option<Exit>> {
        let mut record = [0; EXIT_BYTES];
        let length = rustix::io::retry_on_intr(|| rustix::io::read(&self.status, &mut record))?;
        let [kind, number @ ..] = record;
        let number = i32::from_le_bytes(number);
        Ok(match (length, kind) {
            (EXIT_BYTES, 0) => Some(Exit::Code(number)),
            (EXIT_BYTES, _) => Some(Exit::Signal(number)),
            _ => None,
        })
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if self.exit.is_none() {
            // For a child of ours that nobody else reaped only its end can fail to come; if somebody did, there is nothing left to do.
            let _ = self.kill();
            let _ = reap(&self.pidfd, LAST_WAIT);
            self.group.remove();
        }
    }
}

/// Without a record pid 1 itself was killed, and its payload with it.
fn own_exit(end: &WaitIdStatus) -> Exit {
    match (end.exit_status(), end.terminating_signal()) {
        (Some(code), _) => Exit::Code(code),
        (None, signal) => Exit::Signal(signal.unwrap_or(libc::SIGKILL)),
    }
}

/// Takes a child that announces its end by no signal (`__WALL`) off the process table.
fn take(pidfd: &OwnedFd, options: WaitIdOptions) -> io::Result<Option<WaitIdStatus>> {
    let any_kind = WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    let options = options | WaitIdOptions::EXITED | any_kind;
    Ok(rustix::io::retry_on_intr(|| waitid(WaitId::PidFd(pidfd.as_fd()), options))?)
}

/// How long a process that was killed may take to end.
pub(crate) const LAST_WAIT: Duration = Duration::from_secs(5);

/// Takes a child that was killed off the process table. `TimedOut`: it hasn't ended within this time.
pub(crate) fn reap(pidfd: &OwnedFd, within: Duration) -> io::Result<()> {
    let mut end = [PollFd::new(pidfd, PollFlags::IN)];
    let within = Timespec::try_from(within).expect("seconds fit");
    match rustix::io::retry_on_intr(|| poll(&mut end, Some(&within)))? {
        0 => Err(io::ErrorKind::TimedOut.into()),
        _ => take(pidfd, WaitIdOptions::empty()).map(drop),
    }
}
