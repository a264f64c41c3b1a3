//! The supervisor's side: starting the launcher, giving it orders, taking its answers.

use std::collections::{BTreeSet, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::net::Shutdown;
use rustix::process::Signal;
use serde::Serialize;
use strait_sys::launch::{Cloned, check_single_threaded, clone_process, default_signals, exit_now, retain_only};
use strait_sys::socket;

use crate::cgroup::{Group, Home};
use crate::error::{Error, SpawnError};
use crate::payload::Task;
use crate::process::{LAST_WAIT, Process, reap};
use crate::seccomp::Filters;
use crate::shape::Shape;
use crate::spawn::Service;
use crate::spec::Spec;
use crate::wire::{Answer, First, MAX_BYTES, NOBODY, Order, Request};

/// Orders that may be unanswered at a time: what the launcher may have to keep of answers until they are heard.
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

/// What a payload is restored from, instead of being started. What was asked for twice is restored before it is asked for again, and goes on
/// when it is given its standard streams.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// The restorer: a static program, executed by its descriptor. It is given no other way to it.
    pub restorer: BorrowedFd<'a>,
    /// What it restores. Becomes 4, which the restorer closes; so is 5, by which it gets the streams.
    pub content: BorrowedFd<'a>,
}

/// How a launcher works.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Options {
    /// Jails that are begun ahead of time, while nobody asks for one, at most [`MAX_SEATS`]: their spawn is quicker by what the namespaces and
    /// the control groups and the root cost. Each is an idle process of some 200 KiB. As many again of each other kind, once one was spawned: with a
    /// processor limit, without the system. And as many jails that are whole but for their program, of each of the last eight shapes (binds, profile,
    /// limits) that were asked for at least twice, as far as uids were [lent](Launcher::lend): they end when nothing was asked for in 30 s. Those of an
    /// image of 32 MiB at most are restored, and hold their pages.
    pub seats: usize,
    /// Whether all worlds without a processor limit of their own, and the launcher, are put into one group of the scheduler. See
    /// [`Launcher::take_turns`].
    pub share_turns: bool,
}

/// Most jails that are begun ahead of time.
pub const MAX_SEATS: usize = 64;

impl Default for Options {
    /// Two seats, nothing changed about the scheduler.
    fn default() -> Options {
        Options { seats: 2, share_turns: false }
    }
}

/// A single-threaded process that builds jails.
///
/// It copies itself for every jail, which only a process with one thread can do soundly and only a small one quickly. It keeps the
/// privileges of whoever started it; nothing but orders of this value reaches it. It ends with this value, or with the supervisor, after it has
/// removed the control groups of the jails that died with that. The jails that it built don't end with this value: they are children of the supervisor, and end with the *thread* that called [`Launcher::start`], or their
/// [`Process`], whichever goes first.
#[derive(Debug)]
pub struct Launcher {
    socket: Option<OwnedFd>,
    pidfd: OwnedFd,
    home: Arc<Home>,
    /// With the uid that was given with each.
    open: VecDeque<(Ticket, Option<u32>)>,
    /// Uids that the launcher may use.
    lent: BTreeSet<u32>,
    /// Were killed and haven't ended.
    undead: Vec<(OwnedFd, Group)>,
    next: u64,
    buffer: Vec<u8>,
}

impl Launcher {
    /// Starts the launcher. The calling process must have no second thread yet, and should be small.
    pub fn start() -> Result<Launcher, Error> {
        Launcher::start_with(&Options::default())
    }

    /// The same with other [`Options`].
    pub fn start_with(options: &Options) -> Result<Launcher, Error> {
        if check_single_threaded().is_err() {
            return Err(Error::Threads { threads: count_threads() });
        }
        let filters = Filters::compile().map_err(|error| Error::Wire(error.to_string()))?;
        let (ours, theirs) = socket::pair().map_err(|error| Error::io("socketpair")(error.into()))?;
        let home = Arc::new(Home::make());
        match clone_process(0, false).map_err(Error::io("clone3"))? {
            Cloned::Child => live(&theirs, &filters, &home, options),
            Cloned::Parent { pidfd, .. } => {
                let (open, lent, undead) = (VecDeque::new(), BTreeSet::new(), Vec::new());
                let buffer = vec![0; MAX_BYTES];
                Ok(Launcher { socket: Some(ours), pidfd, home, open, lent, undead, next: 1, buffer })
            }
        }
    }

    /// Moves the calling process, and so all it will start, into the scheduler's group of the worlds. Those who hand turns to each other with
    /// `sched_yield(2)` have to be in one, which is all that a yield looks at. `None`: there is no such group to be had. Takes 10 ms the
    /// first time. Before this value ends, [`leave_turns`](Launcher::leave_turns): a group with somebody in it can't be removed.
    pub fn take_turns(&self) -> Option<()> {
        self.home.take_turns().ok()
    }

    /// Moves the calling process back to where it was when the launcher was started.
    pub fn leave_turns(&self) {
        self.home.leave();
    }

    /// Orders a jail and returns at once, unless [`MAX_OPEN`] are open (an error) or the socket is full (it waits for the launcher,
    /// which goes on listening whether its answers are heard or not).
    pub fn submit(&mut self, spec: &Spec, fds: Fds<'_>) -> Result<Ticket, Error> {
        self.send(spec, fds, None)
    }

    /// The same, but the payload is made of an image instead of the program that `spec` names, which needs a rendezvous.
    pub fn submit_restored(&mut self, spec: &Spec, fds: Fds<'_>, image: Image<'_>) -> Result<Ticket, Error> {
        match fds.rendezvous {
            Some(_) => self.send(spec, fds, Some(image)),
            None => Err(Error::Spawn(SpawnError::Spec("an image takes a rendezvous".into()))),
        }
    }

    fn send(&mut self, spec: &Spec, fds: Fds<'_>, image: Option<Image<'_>>) -> Result<Ticket, Error> {
        if self.open.len() == MAX_OPEN {
            return Err(Error::Wire(format!("{MAX_OPEN} orders are unanswered already")));
        }
        check(spec).map_err(Error::Spawn)?;
        let ticket = Ticket(self.next);
        let task = if image.is_some() { Vec::new() } else { encode(&Task::of(spec))? };
        let order = Order {
            ticket: ticket.0,
            name: &spec.name,
            uid: spec.uid,
            shape: Shape::of(spec),
            has_rendezvous: fds.rendezvous.is_some(),
            is_restored: image.is_some(),
            task: &task,
        };
        self.request(&Request::Order(Box::new(order)), &descriptors(fds, image))?;
        self.next += 1;
        self.open.push_back((ticket, spec.uid));
        Ok(ticket)
    }

    fn request(&self, request: &Request<'_>, descriptors: &[BorrowedFd<'_>]) -> Result<(), Error> {
        let bytes = encode(request)?;
        if bytes.len() > MAX_BYTES {
            return Err(Error::Wire(format!("a specification of {} bytes is larger than {MAX_BYTES}", bytes.len())));
        }
        socket::send(self.socket()?, &bytes, descriptors).map_err(broken)
    }

    /// Lends a kernel uid that nobody has and nobody else will give away, for a jail that is built ahead of time. As many such jails may wait as
    /// uids were lent, and what was asked for twice is then had in a part of the time ([`Options::seats`]).
    ///
    /// A jail that waited has its own uid ([`Process::uid`]), which isn't lent any more; the one that was ordered is, instead. So it is when the
    /// program couldn't be started in such a jail: who orders anew after an error gives another uid if [this one was lent](Launcher::has_lent).
    pub fn lend(&mut self, uid: u32) -> Result<(), Error> {
        self.request(&Request::Lend(uid), &[])?;
        self.lent.insert(uid);
        Ok(())
    }

    /// Whether it was lent and is so still.
    pub fn has_lent(&self, uid: u32) -> bool {
        self.lent.contains(&uid)
    }

    /// Waits for the next answer. They come in the order of the orders.
    ///
    /// The inner error: this jail wasn't built, and nothing of it is left. The outer one: the launcher is of no more use.
    #[expect(clippy::should_implement_trait, reason = "an iterator would have no end, and could not say why it broke")]
    pub fn next(&mut self) -> Result<(Ticket, Result<Process, SpawnError>), Error> {
        while !self.open.is_empty() {
            if let Some(answer) = self.hear()? {
                return Ok(answer);
            }
        }
        Err(Error::NothingOpen)
    }

    /// Waits for the next word of the launcher. `None`: it is no answer, but the end of a jail that was begun ahead of time, which comes unasked.
    #[expect(clippy::type_complexity, reason = "as `next`")]
    pub fn hear(&mut self) -> Result<Option<(Ticket, Result<Process, SpawnError>)>, Error> {
        let (answer, first) = self.receive()?;
        if answer.ticket == NOBODY {
            first.map_or(Ok(()), |unused| self.bury_unused(unused))?;
            return Ok(None);
        }
        let (ticket, uid) = self.open.pop_front().ok_or(Error::NothingOpen)?;
        if answer.ticket != ticket.0 {
            return Err(Error::Wire(format!("answer {} to order {}", answer.ticket, ticket.0)));
        }
        if let Some(jail) = &first {
            self.swap(jail.first.uid, uid);
        }
        Ok(Some((ticket, self.judge(answer, first)?)))
    }

    /// A jail that was built ahead of time had another uid than the one that was ordered.
    fn swap(&mut self, had: Option<u32>, ordered: Option<u32>) {
        if had != ordered && had.is_some_and(|had| self.lent.remove(&had)) {
            self.lent.extend(ordered);
        }
    }

    fn judge(&mut self, answer: Answer, jail: Option<Jail>) -> Result<Result<Process, SpawnError>, Error> {
        match (jail, answer.error) {
            (Some(jail), None) => {
                let attested = answer.attested.ok_or_else(|| Error::Wire("a jail that attested nothing".into()))?;
                let group = Group::new(&self.home, jail.first.group);
                Ok(Ok(Process::new(jail, group, attested)))
            }
            (Some(failed), Some(error)) => {
                let pid = failed.first.pid;
                let is_gone = self.bury(failed, LAST_WAIT)?;
                let undead = |why: SpawnError| SpawnError::Undead { pid, why: why.to_string() };
                Ok(Err(if is_gone { error } else { undead(error) }))
            }
            (None, Some(error)) => Ok(Err(error)),
            (None, None) => Err(Error::Wire("an answer without process and without error".into())),
        }
    }

    /// Its uid is lent anew, once nothing has it any more. It is dead when it is told of: nobody waits here.
    fn bury_unused(&mut self, unused: Jail) -> Result<(), Error> {
        let uid = unused.first.uid;
        match (self.bury(unused, Duration::ZERO)?, uid) {
            (true, Some(uid)) => self.lend(uid),
            _ => Ok(()),
        }
    }

    /// The launcher has killed it; only the parent, which is us, can take it off the process table. `false`: it doesn't die. That is tried again
    /// when the next one is buried.
    fn bury(&mut self, Jail { first, pidfd, .. }: Jail, within: Duration) -> Result<bool, Error> {
        self.undead.retain(|(pidfd, group)| !is_buried(pidfd, group, Duration::ZERO).unwrap_or(true));
        let group = Group::new(&self.home, first.group);
        let is_gone = is_buried(&pidfd, &group, within).map_err(Error::io("waitid"))?;
        if !is_gone {
            self.undead.push((pidfd, group));
        }
        Ok(is_gone)
    }

    /// One order and its answer, for callers that have nothing else to do. Fails if other orders are open.
    pub fn spawn(&mut self, spec: &Spec, fds: Fds<'_>) -> Result<Process, Error> {
        if !self.open.is_empty() {
            return Err(Error::Wire(format!("{} orders are unanswered", self.open.len())));
        }
        self.submit(spec, fds)?;
        self.next()?.1.map_err(Error::Spawn)
    }

    fn receive(&mut self) -> Result<(Answer, Option<Jail>), Error> {
        let socket = self.socket.as_ref().ok_or(Error::Gone)?.as_fd();
        let received = rustix::io::retry_on_intr(|| socket::receive(socket, &mut self.buffer));
        let (length, descriptors) = received.map_err(broken)?;
        if length == 0 {
            return Err(Error::Gone);
        }
        let answer: Answer =
            postcard::from_bytes(&self.buffer[..length]).map_err(|error| Error::Wire(error.to_string()))?;
        let jail = answer.first.zip(<[OwnedFd; 2]>::try_from(descriptors).ok());
        let jail = jail.map(|(first, [pidfd, status])| Jail { first, pidfd, status });
        Ok((answer, jail))
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
/// the risk that a jail is left that nobody holds. Then it tells which jails it had begun ahead of time, and ends.
impl Drop for Launcher {
    fn drop(&mut self) {
        while !self.open.is_empty() && self.next().is_ok() {}
        if let Some(socket) = &self.socket {
            let _ = rustix::net::shutdown(socket, Shutdown::Write);
        }
        // All were killed before the first is told of, so they have this time together.
        let until = Instant::now() + LAST_WAIT;
        while let Ok((_, Some(unused))) = self.receive() {
            let _ = self.bury(unused, until.saturating_duration_since(Instant::now()));
        }
        let _ = rustix::process::pidfd_send_signal(&self.pidfd, Signal::KILL);
        let _ = reap(&self.pidfd, LAST_WAIT);
        self.socket = None;
    }
}

/// What the launcher hands over of a jail.
#[derive(Debug)]
pub(crate) struct Jail {
    pub first: First,
    pub pidfd: OwnedFd,
    pub status: OwnedFd,
}

fn descriptors<'a>(fds: Fds<'a>, image: Option<Image<'a>>) -> Vec<BorrowedFd<'a>> {
    let mut descriptors: Vec<_> = fds.rendezvous.into_iter().chain([fds.stdin, fds.stdout, fds.stderr]).collect();
    descriptors.extend(image.iter().flat_map(|image| [image.restorer, image.content]));
    descriptors
}

fn encode(what: &impl Serialize) -> Result<Vec<u8>, Error> {
    postcard::to_stdvec(what).map_err(|error| Error::Wire(error.to_string()))
}

fn is_buried(pidfd: &OwnedFd, group: &Group, within: Duration) -> std::io::Result<bool> {
    match reap(pidfd, within) {
        Err(error) if error.kind() == std::io::ErrorKind::TimedOut => Ok(false),
        other => other.map(|()| {
            group.remove();
            true
        }),
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
fn live(supervisor: &OwnedFd, filters: &Filters, home: &Arc<Home>, options: &Options) -> ! {
    // A panic must not unwind into the copy of the caller's code.
    let served = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        settle(supervisor, home)?;
        if options.share_turns {
            // Only about speed: what can't be had is left.
            let _ = home.take_turns();
        }
        Service::new(supervisor.as_fd(), filters, home, options.seats.min(MAX_SEATS)).serve();
        Ok::<_, Box<dyn std::error::Error>>(())
    }));
    exit_now(i32::from(!matches!(served, Ok(Ok(())))))
}

/// Keeps nothing of the supervisor's but its privileges, its standard streams, the socket and the locks on its control groups. It isn't killed
/// with the supervisor, but hears of its end by the socket: somebody has to remove the groups of the worlds that die then.
fn settle(supervisor: &OwnedFd, home: &Home) -> Result<(), Box<dyn std::error::Error>> {
    let mut kept = vec![rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr(), supervisor.as_fd()];
    kept.extend(home.locks());
    retain_only(&kept)?;
    rustix::thread::set_name(c"strait-launcher")?;
    // What interrupts the supervisor's terminal is for the supervisor to judge.
    rustix::process::setpgid(None, None)?;
    default_signals()?;
    Ok(())
}
