//! Pid 1 of a jail: builds the jail around itself, starts the payload, and then only reaps and reports.
//!
//! It runs in its own copy of the launcher's memory, from the moment at which its plan came (`seat.rs`), and ends with [`exit_now`], never by returning. The payload has the same
//! uid, so pid 1 protects itself: it isn't dumpable (no ptrace, no /proc access), it has no signal handlers (the kernel ignores what
//! its own pid namespace sends to it), and its seccomp filter leaves it six system calls.

use std::convert::Infallible;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::fs::Mode;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, WaitOptions};
use strait_sys::launch::{Cloned, clone_process, exit_now, retain_only};

use crate::attest::attest;
use crate::error::{At, SpawnError, Step, refused};
use crate::ground::Ground;
use crate::mounts::Mount;
use crate::payload::Payload;
use crate::privilege;
use crate::root::{Kind, Source, adopt_source, leave_namespace, open_source, open_without_links};
use crate::ruleset::Rights;
use crate::seat::tell;
use crate::seccomp::Filters;
use crate::spec::{Access, Bind};
use crate::system::{self, INNER_ID};
use crate::wire::{EXIT_BYTES, Plan, Progress};

/// Everything pid 1 was given.
pub struct Init<'a> {
    pub plan: &'a Plan,
    /// Where the payload's end is written.
    pub status: BorrowedFd<'a>,
    /// The socket inode to connect to.
    pub rendezvous: Option<BorrowedFd<'a>>,
    /// What it may write, in the order of the grants: [`crate::owner`].
    pub trees: &'a [OwnedFd],
    /// [`Progress`] goes here. A number above those that a payload gets.
    pub report: BorrowedFd<'a>,
    /// The launcher's socket: its other end hangs up when the supervisor is gone.
    pub lifeline: BorrowedFd<'a>,
    pub filters: &'a Filters,
}

impl Init<'_> {
    /// The whole life of pid 1.
    pub fn run(self, ground: Ground) -> ! {
        let Err(error) = self.live(ground);
        self.fail(error)
    }

    fn fail(&self, error: SpawnError) -> ! {
        // If it can't be told, the socket ends without a word, and that is a death.
        let _ = tell(self.report, &Progress::Failed(error));
        exit_now(1)
    }

    fn live(&self, ground: Ground) -> Result<Infallible, SpawnError> {
        let Built { connection, mounts, slow } = self.build(ground)?;
        let gate = Gate::make()?;
        tell(self.report, &Progress::Built(attest(&self.plan.shape.profile, mounts)?))
            .at(Step::Payload, "write to the launcher")?;
        let (has_closed, closes) = pipe_with(PipeFlags::CLOEXEC).at(Step::Payload, "pipe2")?;
        let cloned = clone_process(0, false).at(Step::Payload, "clone3")?;
        // Both close descriptors by number, behind the backs of the values here: neither may come back.
        let Err(error) = match &cloned {
            Cloned::Child => {
                drop((slow, closes));
                let (connection, profile) = (connection.as_ref().map(AsFd::as_fd), &self.plan.shape.profile);
                Payload { launcher: self.report, connection, gate: &gate, profile, filters: self.filters }.run()
            }
            Cloned::Parent { pid, .. } => {
                drop(closes);
                // Who closes them last is who waits for the kernel: not the payload, from which nothing is to be read but its end here.
                rustix::io::read(&has_closed, &mut [0]).at(Step::Payload, "read from the payload")?;
                self.attend(*pid, &gate, &slow)
            }
        };
        self.fail(error)
    }

    /// The jail, step by step. Each step needs something that a later one gives up. See the crate's documentation for why this order.
    fn build(&self, ground: Ground) -> Result<Built, SpawnError> {
        let shape = &self.plan.shape;
        let (settings, binds) = self.open_sources()?;
        ground.enter()?;
        let Ground { mut root, rules, proc, host, .. } = ground;
        for source in settings {
            root.attach(source, Rights::Read, Step::Etc)?;
        }
        let mut grants = vec![root.tmp(shape.limits.tmp_bytes, shape.profile.is_write_xor_execute())?];
        for (source, bind) in binds.into_iter().zip(&shape.binds) {
            grants.push(root.attach(source, Rights::Bind(bind.access), Step::Bind)?);
        }
        grants.push(root.seal()?);
        let rules = rules.allow(&grants)?;
        let (mounts, copy) = leave_namespace(&proc)?;

        privilege::become_user(INNER_ID, INNER_ID, self.plan.has_own_uid)?;
        privilege::hide()?;
        self.tie()?;
        let connection = self.rendezvous.map(|inode| connect(inode, &proc)).transpose()?;

        self.settle()?;
        privilege::limit(&shape.limits)?;
        privilege::no_new_privileges()?;
        privilege::lock_secure_bits()?;
        privilege::drop_capabilities()?;
        rules.enforce()?;
        if shape.profile.refuses_new_code() {
            privilege::refuse_new_code()?;
        }
        Ok(Built { connection, mounts, slow: [host, proc, copy] })
    }

    /// What is granted beside the system: settings of language VMs, and the binds.
    fn open_sources(&self) -> Result<(Vec<Source>, Vec<Source>), SpawnError> {
        let settings = match self.plan.shape.has_java() {
            true => system::open_java_settings()?,
            false => Vec::new(),
        };
        Ok((settings, self.open_binds()?))
    }

    fn open_binds(&self) -> Result<Vec<Source>, SpawnError> {
        let shape = &self.plan.shape;
        let noexec = shape.profile.is_write_xor_execute();
        let mut trees = self.trees.iter();
        let mut adopted = |bind: &Bind| (bind.access == Access::ReadWrite).then(|| trees.next()).flatten();
        let open = |bind: &Bind| match adopted(bind) {
            Some(tree) => adopt_source(tree.try_clone().at(Step::Sources, "dup")?, &bind.source, &bind.target),
            None if bind.follows_links => open_source(&bind.source, &bind.target, Kind::of(bind.access, noexec)),
            None => open_without_links(&bind.source, &bind.target, Kind::of(bind.access, noexec)),
        };
        shape.binds.iter().map(open).collect()
    }

    /// Dies with the supervisor, whatever the supervisor dies of.
    ///
    /// The parent of this process is the supervisor, not the launcher. The signal is asked for after the last change of user, because
    /// such a change takes it back; a supervisor that died before that is seen by its socket.
    fn tie(&self) -> Result<(), SpawnError> {
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).at(Step::Tie, "prctl PR_SET_PDEATHSIG")?;
        let mut lifeline = [PollFd::new(&self.lifeline, PollFlags::empty())];
        poll(&mut lifeline, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).at(Step::Tie, "poll")?;
        match lifeline[0].revents().contains(PollFlags::HUP) {
            true => Err(refused(Step::Tie, "the supervisor is gone")),
            false => Ok(()),
        }
    }

    fn settle(&self) -> Result<(), SpawnError> {
        rustix::process::umask(Mode::from_raw_mode(0o022));
        rustix::system::sethostname(self.plan.name.as_bytes()).at(Step::HostName, "sethostname")
    }

    /// Waits for the payload, reaping every orphan of the jail on the way; then reports and ends, and with pid 1 the kernel
    /// ends every process that is left.
    fn attend(&self, payload: Pid, gate: &Gate, slow: &[OwnedFd]) -> Result<Infallible, SpawnError> {
        let mut kept = vec![self.status, self.report, gate.as_fd()];
        kept.extend(slow.iter().map(AsFd::as_fd));
        retain_only(&kept).at(Step::Descriptors, "close_range")?;
        self.filters.apply_to_first_process()?;
        gate.open()?;
        // From here on nothing can fail in a way that anybody could be told of; and the launcher waits for the end of this socket.
        // The values still own the numbers, but are never dropped: this function doesn't return.
        strait_sys::launch::close_number(self.report);
        slow.iter().for_each(strait_sys::launch::close_number);
        loop {
            match rustix::process::wait(WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned())) {
                Ok(Some((pid, status))) if pid == payload => {
                    let record = record(status.exit_status(), status.terminating_signal());
                    let written = rustix::io::write(self.status, &record);
                    exit_now(i32::from(written.is_err()));
                }
                Ok(_) | Err(rustix::io::Errno::INTR) => {}
                Err(_) => exit_now(1),
            }
        }
    }
}

/// A jail that stands around pid 1.
struct Built {
    connection: Option<OwnedFd>,
    mounts: Vec<Mount>,
    /// The mount namespaces that the jail has left, and what was made to leave them: to close them makes the kernel wait for every processor.
    slow: [OwnedFd; 3],
}

/// What holds the payload back until pid 1 has confined itself: nobody runs beside a pid 1 that could still fail to.
pub struct Gate(OwnedFd);

impl AsFd for Gate {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

impl Gate {
    fn make() -> Result<Gate, SpawnError> {
        let event = eventfd(0, EventfdFlags::CLOEXEC).at(Step::Payload, "eventfd2")?;
        // Above every number that the payload gets.
        rustix::io::fcntl_dupfd_cloexec(&event, 16).at(Step::Payload, "fcntl F_DUPFD_CLOEXEC").map(Gate)
    }

    fn open(&self) -> Result<(), SpawnError> {
        rustix::io::write(&self.0, &1_u64.to_ne_bytes()).at(Step::Payload, "write to the payload's gate").map(drop)
    }

    /// If pid 1 ends before it opens, so does this process.
    pub fn wait(&self) -> Result<(), SpawnError> {
        rustix::io::read(&self.0, &mut [0_u8; 8]).at(Step::Payload, "read at the payload's gate").map(drop)
    }
}

fn record(code: Option<i32>, signal: Option<i32>) -> [u8; EXIT_BYTES] {
    let (kind, number) = match (code, signal) {
        (Some(code), _) => (0, code),
        (None, signal) => (1, signal.unwrap_or(libc::SIGKILL)),
    };
    let mut record = [kind; EXIT_BYTES];
    record[1..].copy_from_slice(&number.to_le_bytes());
    record
}

/// `memfd_create` followed by `fexecve` would run a program that no mount and no Landlock rule knows of. The setting belongs to
/// the pid namespace, but its file to the host's root: only a launcher that is root can do this, before it changes its user.
pub fn forbid_executable_memfds() -> Result<(), SpawnError> {
    let path = Path::new("/proc/sys/vm/memfd_noexec");
    std::fs::write(path, "2").at_path(Step::Memfd, "write", path)
}

/// Connects to a socket inode, by its name in a `/proc`. The kernel notes the connecting process, its uid and its pidfd for the one who accepts:
/// that is why pid 1 does it, with its final uid, and not the launcher.
fn connect(inode: BorrowedFd<'_>, proc: &OwnedFd) -> Result<OwnedFd, SpawnError> {
    let step = Step::Rendezvous;
    rustix::process::fchdir(proc).at(step, "fchdir to /proc")?;
    let path = format!("self/fd/{}", inode.as_raw_fd());
    let address = SocketAddrUnix::new(&*path).at(step, "sockaddr_un")?;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None);
    let socket = socket.at(step, "socket AF_UNIX SOCK_SEQPACKET")?;
    rustix::net::connect(&socket, &address).at_path(step, "connect", Path::new(&path))?;
    Ok(socket)
}
