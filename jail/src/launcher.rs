//! The supervisor's side: starting the launcher, giving it orders, taking its answers.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal};
use strait_sys::launch::{Cloned, check_single_threaded, clone_process, default_signals, exit_now, retain_only};
use strait_sys::socket;

use crate::error::{Error, SpawnError};
use crate::process::{Process, reap};
use crate::seccomp::Filters;
use crate::spawn;
use crate::spec::Spec;
use crate::wire::{Answer, MAX_BYTES, Order};

/// Orders that may be unanswered at a time. The answers to so many fit into the socket, so the launcher never waits for the
/// supervisor while the supervisor waits for the launcher.
pub const MAX_OPEN: usize = 64;

/// Which order an answer belongs to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(u64);

/// The descriptors that a payload starts with. Everything else is closed.
#[derive(Clone, Copy, Debug)]
pub struct Fds<'a> {
    /// Becomes 0.
    pub stdin: BorrowedFd<'a>,
    /// Becomes 1.
    pub stdout: BorrowedFd<'a>,
    /// Becomes 2.
    pub stderr: BorrowedFd<'a>,
    /// The inode of a listening Unix `SOCK_SEQPACKET` socket, opened with `O_PATH`, which the world's uid may write to. Pid 1 of the
    /// jail connects to it, and the connection becomes 3. `SO_PEERCRED` and `SO_PEERPIDFD` of the accepted end name pid 1 with its
    /// final uid: compare with [`Process::pidfd`]. Without it there is no 3.
    pub rendezvous: Option<BorrowedFd<'a>>,
}

/// A single-threaded process that builds jails.
///
/// It copies itself for every jail, which only a process with one thread can do soundly and only a small one quickly. It keeps the
/// privileges of whoever started it; nothing but orders of this value reaches it. It ends with this value; the jails that it
/// built don't: they are children of the supervisor, and end with the *thread* that called [`Launcher::start`], or their
/// [`Process`], whichever goes first.
#[derive(Debug)]
pub struct Launcher {
    socket: Option<OwnedFd>,
    pidfd: OwnedFd,
    open: VecDeque<(Ticket, OwnedFd)>,
    next: u64,
    buffer: Vec<u8>,
}

impl Launcher {
    /// Starts the launcher. The calling process must have no second thread yet, and should be small.
    pub fn start() -> Result<Launcher, Error> {
        if check_single_threaded().is_err() {
            return Err(Error::Threads { threads: count_threads() });
        }
        let filters = Filters::compile().map_err(|error| Error::Wire(error.to_string()))?;
        let (ours, theirs) = socket::pair().map_err(|error| Error::io("socketpair")(error.into()))?;
        match clone_process(0, false).map_err(Error::io("clone3"))? {
            Cloned::Child => live(&theirs, &filters),
            Cloned::Parent { pidfd, .. } => {
                Ok(Launcher { socket: Some(ours), pidfd, open: VecDeque::new(), next: 1, buffer: vec![0; MAX_BYTES] })
            }
        }
    }

    /// Orders a jail and returns at once, unless [`MAX_OPEN`] are open (an error) or the socket is full (it waits).
    pub fn submit(&mut self, spec: &Spec, fds: Fds<'_>) -> Result<Ticket, Error> {
        if self.open.len() == MAX_OPEN {
            return Err(Error::Wire(format!("{MAX_OPEN} orders are unanswered already")));
        }
        check(spec).map_err(Error::Spawn)?;
        let ticket = Ticket(self.next);
        let order = Order { ticket: ticket.0, spec: spec.clone() };
        let bytes = postcard::to_stdvec(&order).map_err(|error| Error::Wire(error.to_string()))?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::Wire(format!("a specification of {} bytes is larger than {MAX_BYTES}", bytes.len())));
        }
        let pipe = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC);
        let (status, writer) = pipe.map_err(|error| Error::io("pipe2")(error.into()))?;
        let mut descriptors = vec![fds.stdin, fds.stdout, fds.stderr, writer.as_fd()];
        descriptors.extend(fds.rendezvous);
        socket::send(self.socket()?, &bytes, &descriptors).map_err(broken)?;
        self.next += 1;
        self.open.push_back((ticket, status));
        Ok(ticket)
    }

    /// Waits for the next answer. They come in the order of the orders.
    ///
    /// The inner error: this jail wasn't built, and nothing of it is left. The outer one: the launcher is of no more use.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have no end, and could not say why it broke")]
    pub fn next(&mut self) -> Result<(Ticket, Result<Process, SpawnError>), Error> {
        let (ticket, status) = self.open.pop_front().ok_or(Error::NothingOpen)?;
        let (answer, pidfd) = self.receive()?;
        if answer.ticket != ticket.0 {
            return Err(Error::Wire(format!("answer {} to order {}", answer.ticket, ticket.0)));
        }
        let process = pidfd.zip(answer.pid.and_then(Pid::from_raw));
        match (process, answer.error) {
            (Some((pidfd, pid)), None) => {
                let attested = answer.attested.ok_or_else(|| Error::Wire("a jail that attested nothing".into()))?;
                Ok((ticket, Ok(Process::new(pid, pidfd, status, attested))))
            }
            (Some((pidfd, _)), Some(error)) => {
                // The launcher has killed it; only the parent, which is us, can take it off the process table.
                reap(&pidfd).map_err(Error::io("waitid"))?;
                Ok((ticket, Err(error)))
            }
            (None, Some(error)) => Ok((ticket, Err(error))),
            (None, None) => Err(Error::Wire("an answer without process and without error".into())),
        }
    }

    /// One order and its answer, for callers that have nothing else to do. Fails if other orders are open.
    pub fn spawn(&mut self, spec: &Spec, fds: Fds<'_>) -> Result<Process, Error> {
        if !self.open.is_empty() {
            return Err(Error::Wire(format!("{} orders are unanswered", self.open.len())));
        }
        self.submit(spec, fds)?;
        self.next()?.1.map_err(Error::Spawn)
    }

    fn receive(&mut self) -> Result<(Answer, Option<OwnedFd>), Error> {
        let socket = self.socket.as_ref().ok_or(Error::Gone)?.as_fd();
        let received = rustix::io::retry_on_intr(|| socket::receive(socket, &mut self.buffer));
        let (length, mut descriptors) = received.map_err(broken)?;
        if length == 0 {
            return Err(Error::Gone);
        }
        let answer = postcard::from_bytes(&self.buffer[..length]).map_err(|error| Error::Wire(error.to_string()))?;
        Ok((answer, descriptors.pop()))
    }

    fn socket(&self) -> Result<BorrowedFd<'_>, Error> {
        Ok(self.socket.as_ref().ok_or(Error::Gone)?.as_fd())
    }
}

/// Readable when an answer waits, or when the launcher is gone.
impl AsFd for Launcher {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.socket.as_ref().expect("taken only by drop").as_fd()
    }
}

/// Waits for the orders that are open and kills what comes of them: the launcher can't be stopped in the middle of one without
/// the risk that a jail is left that nobody holds.
impl Drop for Launcher {
    fn drop(&mut self) {
        while !self.open.is_empty() && self.next().is_ok() {}
        self.socket = None;
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = reap(&self.pidfd);
    }
}

fn broken(error: rustix::io::Errno) -> Error {
    match error {
        rustix::io::Errno::PIPE | rustix::io::Errno::CONNRESET => Error::Gone,
        error => Error::io("sendmsg or recvmsg")(error.into()),
    }
}

/// What can be told without a jail.
fn check(spec: &Spec) -> Result<(), SpawnError> {
    if !(1..=63).contains(&spec.name.len()) || spec.name.contains('\0') {
        return Err(SpawnError::Spec(format!("{:?} is no host name of 1 to 63 bytes", spec.name)));
    }
    if spec.program.as_os_str().is_empty() {
        return Err(SpawnError::Spec("the program's name is empty".into()));
    }
    Ok(spec.profile.check()?)
}

fn count_threads() -> usize {
    std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count)
}

/// The launcher's life, in the copied process. It ends here, and never runs what its copy of the memory would do at its end.
fn live(supervisor: &OwnedFd, filters: &Filters) -> ! {
    // A panic must not unwind into the copy of the caller's code.
    let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        settle(supervisor).map(|()| spawn::serve(supervisor, filters))
    }));
    exit_now(i32::from(!matches!(served, Ok(Ok(())))))
}

/// Keeps nothing of the supervisor's but its privileges, its standard streams and the socket; and dies with it.
fn settle(supervisor: &OwnedFd) -> Result<(), Box<dyn std::error::Error>> {
    let streams = [rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr(), supervisor.as_fd()];
    retain_only(&streams)?;
    rustix::thread::set_name(c"strait-launcher")?;
    // What interrupts the supervisor's terminal is for the supervisor to judge.
    rustix::process::setpgid(None, None)?;
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))?;
    default_signals()?;
    // A supervisor that died before the signal was asked for is seen by its end of the socket.
    let mut ends = [PollFd::new(supervisor, PollFlags::empty())];
    poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))?;
    match ends[0].revents().contains(PollFlags::HUP) {
        true => Err("the supervisor is gone".into()),
        false => Ok(()),
    }
}
