//! Follows a launcher and what it starts from system call to system call (`ptrace(2)`), and lets chosen calls fail.
//!
//! A call fails as it does under `strace --inject`: it isn't made, and its caller sees the error. Unlike strace this tells the processes apart:
//! the launcher, the first process of a jail, the payload until its program starts, and the restorer until its image's program goes on.

use std::collections::{BTreeMap, BTreeSet};

use nix::errno::Errno;
use nix::sys::ptrace::{self, Options};
use nix::sys::wait::{WaitPidFlag, WaitStatus, waitpid};
use nix::unistd::Pid;

/// How often an event is looked for: from a call to the next one takes less time than the shortest nap.
const LOOKS: u32 = 50;

/// Whose call it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Role {
    Launcher,
    /// Holds the user namespace by which the owner of a grant is mapped. The launcher's child; what else it starts is the supervisor's.
    Owner,
    First,
    Payload,
    /// What the payload executes to become a clone.
    Restorer,
}

impl Role {
    /// What a process of this role has started.
    fn of(child: Pid, parent: Pid, role: Role) -> Role {
        match role {
            Role::Launcher if parent_of(child) == Some(parent) => Role::Owner,
            Role::Launcher => Role::First,
            Role::Owner | Role::First | Role::Payload | Role::Restorer => Role::Payload,
        }
    }
}

/// `proc_pid_status(5)`.
fn parent_of(process: Pid) -> Option<Pid> {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let parent = status.lines().find_map(|line| line.strip_prefix("PPid:"))?;
    parent.trim().parse().ok().map(Pid::from_raw)
}

/// One system call: whose, the how many-th of that process since the order, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Call {
    pub role: Role,
    pub index: usize,
    pub number: i64,
}

#[derive(Debug)]
struct Tracee {
    role: Role,
    calls: usize,
    /// The call that it is inside of.
    inside: Option<i64>,
    /// What the call that it is inside of is to return, negated.
    fails_with: Option<i32>,
}

/// The processes that are followed.
#[derive(Debug, Default)]
pub struct Tracer {
    tracees: BTreeMap<Pid, Tracee>,
    /// Were seen before their parents' word of them.
    unnamed: BTreeSet<Pid>,
    /// What is executed is the restorer.
    restores: bool,
}

impl Tracer {
    /// Follows a launcher from its next call on: one of programs, or one of clones.
    pub fn of(launcher: Pid, restores: bool) -> nix::Result<Tracer> {
        let options = Options::PTRACE_O_TRACESYSGOOD
            | Options::PTRACE_O_TRACECLONE
            | Options::PTRACE_O_TRACEFORK
            | Options::PTRACE_O_TRACEEXEC;
        ptrace::seize(launcher, options)?;
        ptrace::interrupt(launcher)?;
        let mut tracer = Tracer { restores, ..Tracer::default() };
        tracer.tracees.insert(launcher, Tracee::new(Role::Launcher));
        Ok(tracer)
    }

    /// Counts anew.
    pub fn reset(&mut self) {
        self.tracees.values_mut().for_each(|tracee| tracee.calls = 0);
    }

    /// Whether the launcher waits for an order.
    pub fn is_resting(&self) -> bool {
        let rests = |tracee: &Tracee| tracee.role != Role::Launcher || tracee.inside == Some(libc::SYS_recvmsg);
        self.tracees.values().all(rests)
    }

    /// Who is followed still.
    pub fn roles(&self) -> Vec<Role> {
        self.tracees.values().map(|tracee| tracee.role).collect()
    }

    /// Takes one event, if there is one soon. Every call is shown before it is made; what is returned is the error that it is to fail with.
    pub fn step(&mut self, mut judge: impl FnMut(Call) -> Option<i32>) -> bool {
        let Some(status) = (0..LOOKS).find_map(|_| look()) else { return false };
        match status {
            WaitStatus::Exited(pid, _) | WaitStatus::Signaled(pid, ..) => self.forget(pid),
            WaitStatus::PtraceSyscall(pid) => self.at_call(pid, &mut judge),
            WaitStatus::PtraceEvent(pid, _, event) => self.at_event(pid, event),
            WaitStatus::Stopped(pid, signal) => drop(ptrace::syscall(pid, signal)),
            _ => {}
        }
        true
    }

    fn forget(&mut self, pid: Pid) {
        self.tracees.remove(&pid);
        self.unnamed.remove(&pid);
    }

    fn at_event(&mut self, pid: Pid, event: i32) {
        if !self.tracees.contains_key(&pid) {
            // Its parent's event, which says what it is, comes next.
            self.unnamed.insert(pid);
            return;
        }
        match event {
            libc::PTRACE_EVENT_CLONE | libc::PTRACE_EVENT_FORK => self.at_birth(pid),
            libc::PTRACE_EVENT_EXEC if self.restores => {
                self.tracees.entry(pid).and_modify(|tracee| (tracee.role, tracee.calls) = (Role::Restorer, 0));
            }
            libc::PTRACE_EVENT_EXEC => return self.let_go(pid),
            _ => {}
        }
        let _ = ptrace::syscall(pid, None);
    }

    /// A program of somebody else's from here on.
    fn let_go(&mut self, pid: Pid) {
        self.forget(pid);
        let _ = ptrace::detach(pid, None);
    }

    fn at_birth(&mut self, parent: Pid) {
        let Ok(child) = ptrace::getevent(parent) else { return };
        let child = Pid::from_raw(child as i32);
        self.tracees.insert(child, Tracee::new(Role::of(child, parent, self.tracees[&parent].role)));
        if self.unnamed.remove(&child) {
            let _ = ptrace::syscall(child, None);
        }
    }

    fn at_call(&mut self, pid: Pid, judge: &mut impl FnMut(Call) -> Option<i32>) {
        let Some(tracee) = self.tracees.get_mut(&pid) else { return };
        if tracee.is_at_mark(pid) {
            return self.let_go(pid);
        }
        // Whoever was killed meanwhile isn't there to be asked.
        let _ = tracee.pass(pid, judge);
        let _ = ptrace::syscall(pid, None);
    }
}

/// The next event, if it is there. If not, whoever is to make it gets the processor.
fn look() -> Option<WaitStatus> {
    match waitpid(None, Some(WaitPidFlag::WNOHANG | WaitPidFlag::__WALL)) {
        Ok(WaitStatus::StillAlive) | Err(_) => {
            std::thread::yield_now();
            None
        }
        Ok(status) => Some(status),
    }
}

impl Tracee {
    fn new(role: Role) -> Tracee {
        Tracee { role, calls: 0, inside: None, fails_with: None }
    }

    /// Whether it is about to make the mark of a program that goes on: a restorer writes nothing.
    fn is_at_mark(&self, pid: Pid) -> bool {
        let is = |registers: libc::user_regs_struct| registers.orig_rax.cast_signed() == libc::SYS_write;
        self.role == Role::Restorer && self.inside.is_none() && ptrace::getregs(pid).is_ok_and(is)
    }

    /// At the entry into a call, or at its end.
    fn pass(&mut self, pid: Pid, judge: &mut impl FnMut(Call) -> Option<i32>) -> Result<(), Errno> {
        let mut registers = ptrace::getregs(pid)?;
        if self.inside.take().is_none() {
            let call = Call { role: self.role, index: self.calls, number: registers.orig_rax.cast_signed() };
            self.inside = Some(call.number);
            self.calls += 1;
            self.fails_with = judge(call);
            if self.fails_with.is_none() {
                return Ok(());
            }
            // No such call: it isn't made. The restorer's filter kills for that, so it makes one that does nothing.
            registers.orig_rax = if self.role == Role::Restorer { libc::SYS_getpid.cast_unsigned() } else { u64::MAX };
        } else {
            let Some(errno) = self.fails_with.take() else { return Ok(()) };
            registers.rax = i64::from(-errno).cast_unsigned();
        }
        ptrace::setregs(pid, registers)
    }
}
