//! Jails begun ahead of time: a first process that sits in its namespaces and control groups and waits for its order.
//!
//! What takes long doesn't depend on what will run: namespaces (an empty network takes the kernel 0.4 to 0.6 ms), in version 1 the move
//! into a control group, which may wait 10 ms for the kernel's readers, and the root with the system in it (`ground.rs`). A [`Seat`] has done all that. It is
//! fresh, used once, and never handed from one world to another, so nothing has to be cleaned out of a namespace. Its network belongs to its own
//! user namespace, as if it had been made on order.
//!
//! While it waits it is a process of ours: the launcher's code and descriptors (two sockets), the launcher's uid, all capabilities over its own
//! namespaces and none over the host. It ends when the launcher's end of its socket does.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, geteuid, pidfd_send_signal};
use strait_sys::launch::{Cloned, clone_process_into, exit_now, retain_only, unshare_namespaces};
use strait_sys::socket;

use crate::attest::Attested;
use crate::cgroup::{Group, Home, Label};
use crate::error::{At, SpawnError, Step, refused};
use crate::ground::Ground;
use crate::init::{Init, forbid_executable_memfds};
use crate::owner::writable;
use crate::privilege;
use crate::root;
use crate::seccomp::Filters;
use crate::spec::Limits;
use crate::wire::{First, MAX_BYTES, Order, Progress};

/// The namespaces that a process can only be born into, and those that cost little.
const BORN_INTO: i32 =
    libc::CLONE_NEWUSER | libc::CLONE_NEWNS | libc::CLONE_NEWPID | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS;
/// Made by the first process itself: the network because it takes so long, and the control groups' once it has entered them. The time namespace
/// isn't among them: it hides nothing.
const MADE_INSIDE: i32 = libc::CLONE_NEWNET | libc::CLONE_NEWCGROUP;

/// A jail takes about a millisecond. One that takes this long hangs, and the orders behind it wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// The launcher's side of a first process.
#[derive(Debug)]
pub struct Seat {
    pub pid: Pid,
    pub pidfd: OwnedFd,
    pub group: Group,
    /// In force in its group.
    limits: Limits,
    socket: OwnedFd,
}

/// What every first process is given.
#[derive(Clone, Copy)]
pub struct Givens<'a> {
    pub home: &'a Arc<Home>,
    /// The launcher's socket: its other end hangs up when the supervisor is gone.
    pub supervisor: BorrowedFd<'a>,
    pub filters: &'a Filters,
    /// Whether the host's programs and libraries are visible.
    pub system: bool,
}

impl Seat {
    /// Makes one. It may still be settling when this returns; an order can be given at once.
    pub fn make(label: Label, limits: &Limits, givens: Givens<'_>) -> Result<Seat, SpawnError> {
        let group = Group::new(givens.home, label);
        let entry = group.make()?;
        let made = group.limit(limits).and_then(|()| {
            let (ours, theirs) = socket::pair().at(Step::Descriptors, "socketpair")?;
            // Only root can make files in it before the user of the jail is mapped: the file system has to be root's.
            let empty = geteuid().is_root().then(root::empty).transpose()?;
            let born_into = entry.born_into.as_ref().map(AsFd::as_fd);
            let cloned =
                clone_process_into(BORN_INTO, true, born_into).at(Step::Clone, "clone3 with five namespaces")?;
            Ok((ours, theirs, empty, cloned))
        });
        match made {
            Ok((_, theirs, empty, Cloned::Child)) => sit(&theirs, &entry.moves_to, empty, givens),
            Ok((socket, _, _, Cloned::Parent { pid, pidfd })) => {
                Ok(Seat { pid, pidfd, group, limits: *limits, socket })
            }
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    /// Sets the limits of its group to those of an order.
    pub fn limit(&self, limits: &Limits) -> Result<(), SpawnError> {
        match self.limits == *limits {
            true => Ok(()),
            false => self.group.limit(limits),
        }
    }

    pub fn first(&self) -> First {
        First { pid: self.pid.as_raw_nonzero().get(), group: self.group.label() }
    }

    /// Whether it is waiting still. One that the kernel had to kill for want of memory isn't.
    pub fn is_alive(&self) -> bool {
        let mut ready = [PollFd::new(&self.pidfd, PollFlags::IN)];
        poll(&mut ready, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready == 0)
    }

    /// It may be beyond listening. If it has ended by itself already, that is as good.
    pub fn kill(&self) {
        let _ = pidfd_send_signal(&self.pidfd, Signal::KILL);
    }

    /// Hands over an order, as it came, and waits until its program runs, or why it doesn't.
    pub fn order(&self, order: &[u8], descriptors: &[OwnedFd], trees: &[OwnedFd]) -> Result<Attested, SpawnError> {
        let trees = trees.chunks(socket::MAX_DESCRIPTORS).map(|trees| (&[0][..], trees));
        for (bytes, descriptors) in std::iter::once((order, descriptors)).chain(trees) {
            let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
            match socket::send(self.socket.as_fd(), bytes, &descriptors) {
                Ok(()) => {}
                // Why it has ended is what it said last.
                Err(Errno::PIPE | Errno::CONNRESET) => break,
                Err(error) => Err(error).at(Step::Release, "sendmsg")?,
            }
        }
        self.follow(Instant::now() + PATIENCE)
    }

    fn follow(&self, deadline: Instant) -> Result<Attested, SpawnError> {
        let (mut built, mut buffer) = (None, vec![0; MAX_BYTES]);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("seconds fit");
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) => return Err(SpawnError::TooSlow(PATIENCE.as_millis() as u64)),
                Err(Errno::INTR) => continue,
                other => other.at(Step::Descriptors, "poll")?,
            };
            let length = match rustix::io::read(&self.socket, &mut buffer) {
                // It ended without having read its order. That is told first, and what it said last after that.
                Err(Errno::CONNRESET) => continue,
                other => other.at(Step::Descriptors, "read")?,
            };
            match postcard::from_bytes(&buffer[..length]) {
                Ok(Progress::Seated) => {}
                Ok(Progress::Built(attested)) => built = Some(attested),
                Ok(Progress::Failed(error)) => return Err(error),
                Err(_) if length == 0 => return built.ok_or(SpawnError::Died),
                Err(_) => return Err(SpawnError::Died),
            }
        }
    }
}

/// The first process until its order comes, and then the whole of its life.
fn sit(launcher: &OwnedFd, moves_to: &[PathBuf], empty: Option<OwnedFd>, givens: Givens<'_>) -> ! {
    // Above every number that a payload gets, so that placing those doesn't overwrite the way to report a failed execve.
    let moved = rustix::io::fcntl_dupfd_cloexec(launcher, 16).at(Step::Descriptors, "fcntl F_DUPFD_CLOEXEC");
    let launcher = moved.unwrap_or_else(|error| give_up(launcher, error));
    let ground = settle(&launcher, moves_to, empty, givens).unwrap_or_else(|error| give_up(&launcher, error));
    let mut buffer = vec![0; MAX_BYTES];
    let received = rustix::io::retry_on_intr(|| socket::receive(launcher.as_fd(), &mut buffer));
    match received.at(Step::Receive, "recvmsg") {
        Ok((0, _)) => exit_now(0),
        Ok((length, descriptors)) => match begin(&buffer[..length], &descriptors, &launcher, ground, givens) {
            Ok(never) => match never {},
            Err(error) => give_up(&launcher, error),
        },
        Err(error) => give_up(&launcher, error),
    }
}

fn give_up(launcher: &OwnedFd, error: SpawnError) -> ! {
    // If it can't be told, the socket ends without a word, and that is a death.
    let _ = tell(launcher, &Progress::Failed(error));
    exit_now(1)
}

fn begin(
    order: &[u8],
    descriptors: &[OwnedFd],
    launcher: &OwnedFd,
    ground: Option<Ground>,
    givens: Givens<'_>,
) -> Result<Infallible, SpawnError> {
    let order: Order = postcard::from_bytes(order).map_err(|error| refused(Step::Receive, error))?;
    let [stdin, stdout, stderr, status, others @ ..] = descriptors else {
        return Err(refused(Step::Receive, format!("{} descriptors came with the order", descriptors.len())));
    };
    let trees = receive_trees(launcher, writable(&order.spec).count())?;
    let ground = match ground {
        Some(ground) => ground,
        None => Ground::lay(root::empty()?, order.spec.system)?,
    };
    // What it is called in a list of processes; no harm if it isn't.
    let _ = rustix::thread::set_name(c"strait-init");
    let init = Init {
        spec: &order.spec,
        stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
        status: status.as_fd(),
        rendezvous: others.first().map(AsFd::as_fd),
        image: order.image(others),
        trees: &trees,
        report: launcher.as_fd(),
        lifeline: givens.supervisor,
        filters: givens.filters,
    };
    init.run(ground)
}

/// The trees of grants for writing, which the launcher sends after the order.
fn receive_trees(launcher: &OwnedFd, count: usize) -> Result<Vec<OwnedFd>, SpawnError> {
    let mut trees = Vec::new();
    while trees.len() < count {
        let received = rustix::io::retry_on_intr(|| socket::receive(launcher.as_fd(), &mut [0]));
        match received.at(Step::Receive, "recvmsg")? {
            (1, more) if !more.is_empty() => trees.extend(more),
            _ => return Err(refused(Step::Receive, format!("{} of {count} paths to write came", trees.len()))),
        }
    }
    Ok(trees)
}

/// Everything that doesn't depend on the order.
fn settle(
    launcher: &OwnedFd,
    moves_to: &[PathBuf],
    empty: Option<OwnedFd>,
    givens: Givens<'_>,
) -> Result<Option<Ground>, SpawnError> {
    let mut kept = vec![launcher.as_fd(), givens.supervisor];
    kept.extend(empty.as_ref().map(AsFd::as_fd));
    retain_only(&kept).at(Step::Descriptors, "close_range")?;
    rustix::thread::set_name(c"strait-seat").at(Step::Descriptors, "prctl PR_SET_NAME")?;
    // A session of its own, whose leader is pid 1: no terminal is ours, and the payload can't take one by opening it.
    rustix::process::setsid().at(Step::Session, "setsid")?;
    privilege::be_ordinary()?;
    privilege::empty_bounding_set()?;
    for file in moves_to {
        std::fs::write(file, "0").at_path(Step::Group, "write '0' to", file)?;
    }
    unshare_namespaces(MADE_INSIDE).at(Step::Clone, "unshare of the network and control group namespaces")?;
    let ground = empty.map(|empty| {
        forbid_executable_memfds()?;
        Ground::lay(empty, givens.system)
    });
    let ground = ground.transpose()?;
    tell(launcher, &Progress::Seated).at(Step::Descriptors, "write")?;
    Ok(ground)
}

/// A word to the launcher.
pub fn tell(launcher: impl AsFd, progress: &Progress) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(progress).unwrap_or_default();
    rustix::io::write(launcher, &bytes).map(drop)
}
