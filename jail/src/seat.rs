//! Jails begun ahead of time: a first process that sits in its namespaces and control groups and waits for its plan.
//!
//! It is told two things, each of them possibly long before the other: its plan, by which it builds the jail and makes the payload's process, and the
//! task, which that process waits for and which is the program.
//!
//! What takes long doesn't depend on what will run: namespaces (an empty network takes the kernel 0.4 to 0.6 ms), in version 1 the move
//! into a control group, which may wait 10 ms for the kernel's readers, and the root with the system in it (`ground.rs`). A [`Seat`] has done all that. It is
//! fresh, used once, and never handed from one world to another, so nothing has to be cleaned out of a namespace. Its network belongs to its own
//! user namespace, as if it had been made on order.
//!
//! While it waits for its plan it is a process of ours: the launcher's code and descriptors (two sockets), the launcher's uid, all capabilities over its own
//! namespaces and none over the host. While it waits for its task it is a jail like any other, but that what is jailed is our own code. It ends when the
//! launcher's end of its socket does.

use std::convert::Infallible;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Pid, Signal, geteuid, pidfd_send_signal};
use strait_sys::launch::{Cloned, clone_process_into, exit_now, retain_only, unshare_namespaces};
use strait_sys::socket;

use crate::attest::Attested;
use crate::cgroup::{Group, Home, Label};
use crate::error::{At, SpawnError, Step, refused};
use crate::ground::Ground;
use crate::ids::Ids;
use crate::init::{Init, forbid_executable_memfds};
use crate::owner::{open_writable, writable};
use crate::payload::Task;
use crate::pool::Image;
use crate::privilege;
use crate::root;
use crate::seccomp::Filters;
use crate::shape::Shape;
use crate::spec::Limits;
use crate::wire::{First, MAX_BYTES, Plan, Progress};

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
    /// The kernel uid of its own that its user was mapped to.
    uid: Option<u32>,
    /// Its namespace of host names, if the name comes late.
    pub names: Option<OwnedFd>,
    /// In force in its group.
    limits: Limits,
    socket: OwnedFd,
    /// By which what is restored gets its streams, once it was told to be that.
    streams: Option<OwnedFd>,
    /// Where its first process writes how its payload ended.
    pub status: OwnedFd,
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
    /// Makes one. It may still be settling when this returns; a plan can be given at once.
    pub fn make(label: Label, limits: &Limits, givens: Givens<'_>) -> Result<Seat, SpawnError> {
        let group = Group::new(givens.home, label);
        let entry = group.make()?;
        let made = group.limit(limits).and_then(|()| {
            let (ours, theirs) = socket::pair().at(Step::Descriptors, "socketpair")?;
            let (status, writer) = pipe_with(PipeFlags::CLOEXEC).at(Step::Descriptors, "pipe2")?;
            // Only root can make files in it before the user of the jail is mapped: the file system has to be root's.
            let empty = geteuid().is_root().then(root::empty).transpose()?;
            let born_into = entry.born_into.as_ref().map(AsFd::as_fd);
            let cloned =
                clone_process_into(BORN_INTO, true, born_into).at(Step::Clone, "clone3 with five namespaces")?;
            let given = Given { launcher: theirs, status: writer, empty };
            Ok((ours, status, given, cloned))
        });
        match made {
            Ok((_, _, given, Cloned::Child)) => given.sit(&entry.moves_to, givens),
            Ok((socket, status, _, Cloned::Parent { pid, pidfd })) => {
                Ok(Seat { pid, pidfd, group, uid: None, names: None, limits: *limits, socket, streams: None, status })
            }
            Err(error) => {
                group.remove();
                Err(error)
            }
        }
    }

    pub fn first(&self) -> First {
        First { pid: self.pid.as_raw_nonzero().get(), group: self.group.label(), uid: self.uid }
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

    /// Makes it possible to name it once it is another user's. Before its plan.
    pub fn keep_names(&mut self) -> Result<(), SpawnError> {
        let path = format!("/proc/{}/ns/uts", self.pid.as_raw_nonzero());
        let names = std::fs::File::open(&path).at_path(Step::HostName, "open", Path::new(&path))?;
        self.names = Some(names.into());
        Ok(())
    }

    /// Tells it which jail to be, as which user. That it can't will be said when it gets its task.
    pub fn plan(
        &mut self,
        shape: &Shape,
        name: &str,
        ids: Ids,
        rendezvous: Option<&OwnedFd>,
    ) -> Result<(), SpawnError> {
        self.uid = ids.own();
        if self.limits != shape.limits {
            self.group.limit(&shape.limits)?;
        }
        ids.write(self.pid)?;
        let trees = open_writable(shape, self.uid)?;
        let plan = Plan { shape: shape.clone(), name: name.to_owned(), has_own_uid: self.uid.is_some() };
        let plan = postcard::to_stdvec(&plan).map_err(|error| refused(Step::Release, error))?;
        self.send(&plan, rendezvous.as_slice())?;
        let mut trees = trees.chunks(socket::MAX_DESCRIPTORS);
        trees.try_for_each(|trees| self.send(&[0], &trees.iter().collect::<Vec<_>>()))
    }

    /// Has it be filled from an image, of which nothing runs before [`start`](Self::start). After its plan; a second time it changes nothing.
    pub fn restore(&mut self, image: &Image) -> Result<(), SpawnError> {
        if self.streams.is_none() {
            let (giving, taking) = socket::lane(0).at(Step::Descriptors, "socketpair")?;
            let task = postcard::to_stdvec(&Task::Restore).map_err(|error| refused(Step::Release, error))?;
            self.send(&task, &[&image.restorer, &image.content, &taking])?;
            self.streams = Some(giving);
        }
        Ok(())
    }

    /// Hands over a task, as it came, and waits until its program runs, or why it doesn't. What is restored gets the streams alone.
    pub fn start(&self, task: &[u8], streams: &[OwnedFd]) -> Result<Attested, SpawnError> {
        let streams: Vec<_> = streams.iter().collect();
        let is_there = match &self.streams {
            Some(socket) => send(socket, &[0], &streams)?,
            None => send(&self.socket, task, &streams)?,
        };
        // Why it has ended is what it said last. One that had said it all, and waited, has died since.
        self.follow(Instant::now() + PATIENCE).and_then(|built| is_there.then_some(built).ok_or(SpawnError::Died))
    }

    /// That it has ended is said when it gets its task.
    fn send(&self, bytes: &[u8], descriptors: &[&OwnedFd]) -> Result<(), SpawnError> {
        send(&self.socket, bytes, descriptors).map(drop)
    }

    fn follow(&self, deadline: Instant) -> Result<Attested, SpawnError> {
        let (mut built, mut is_deaf) = (None, false);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let timeout = Timespec::try_from(left).expect("seconds fit");
            let mut ready = [PollFd::new(&self.socket, PollFlags::IN)];
            match poll(&mut ready, Some(&timeout)) {
                Ok(0) => return Err(SpawnError::TooSlow(PATIENCE.as_millis() as u64)),
                Err(Errno::INTR) => continue,
                other => other.at(Step::Descriptors, "poll")?,
            };
            let word = match socket::receive_whole(self.socket.as_fd(), MAX_BYTES) {
                // It ended without having read all it was told. That comes first, and what it said last after that.
                Err(Errno::CONNRESET) => {
                    is_deaf = true;
                    continue;
                }
                other => other.at(Step::Descriptors, "recvmsg")?.0,
            };
            match postcard::from_bytes(&word) {
                Ok(Progress::Built(attested)) => built = Some(attested),
                Ok(Progress::Failed(error)) => return Err(error),
                Err(_) if word.is_empty() => return built.filter(|_| !is_deaf).ok_or(SpawnError::Died),
                Err(_) => return Err(SpawnError::Died),
            }
        }
    }
}

/// `false`: nobody is there to hear it any more.
fn send(socket: &OwnedFd, bytes: &[u8], descriptors: &[&OwnedFd]) -> Result<bool, SpawnError> {
    let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
    match socket::send(socket.as_fd(), bytes, &descriptors) {
        Err(Errno::PIPE | Errno::CONNRESET) => Ok(false),
        other => other.at(Step::Release, "sendmsg").map(|()| true),
    }
}

/// What a first process is given of its own.
struct Given {
    launcher: OwnedFd,
    status: OwnedFd,
    /// What its root is made of, if that can be made ahead of the plan.
    empty: Option<OwnedFd>,
}

impl Given {
    /// The first process until its plan comes, and then the whole of its life.
    fn sit(mut self, moves_to: &[PathBuf], givens: Givens<'_>) -> ! {
        let Err(error) = self.live(moves_to, givens);
        // If it can't be told, the socket ends without a word, and that is a death.
        let _ = tell(&self.launcher, &Progress::Failed(error));
        exit_now(1)
    }

    fn live(&mut self, moves_to: &[PathBuf], givens: Givens<'_>) -> Result<Infallible, SpawnError> {
        // Above every number that a payload gets, so that placing those doesn't overwrite the way to report a failed execve.
        let moved = rustix::io::fcntl_dupfd_cloexec(&self.launcher, 16);
        self.launcher = moved.at(Step::Descriptors, "fcntl F_DUPFD_CLOEXEC")?;
        let ground = self.settle(moves_to, givens)?;
        let received = socket::receive_whole(self.launcher.as_fd(), MAX_BYTES);
        let (plan, descriptors) = received.at(Step::Receive, "recvmsg")?;
        if plan.is_empty() {
            exit_now(0);
        }
        let plan = postcard::from_bytes(&plan).map_err(|error| refused(Step::Receive, error))?;
        self.build(&plan, descriptors.first(), ground, givens)
    }

    fn build(
        &self,
        plan: &Plan,
        rendezvous: Option<&OwnedFd>,
        ground: Option<Ground>,
        givens: Givens<'_>,
    ) -> Result<Infallible, SpawnError> {
        let trees = if plan.has_own_uid { writable(&plan.shape).count() } else { 0 };
        let trees = receive_trees(&self.launcher, trees)?;
        let ground = match ground {
            Some(ground) => ground,
            None => Ground::lay(root::empty()?, plan.shape.system)?,
        };
        // What it is called in a list of processes; no harm if it isn't.
        let _ = rustix::thread::set_name(c"strait-init");
        let init = Init {
            plan,
            status: self.status.as_fd(),
            rendezvous: rendezvous.map(AsFd::as_fd),
            trees: &trees,
            report: self.launcher.as_fd(),
            lifeline: givens.supervisor,
            filters: givens.filters,
        };
        init.run(ground)
    }

    /// Everything that doesn't depend on the plan.
    fn settle(&mut self, moves_to: &[PathBuf], givens: Givens<'_>) -> Result<Option<Ground>, SpawnError> {
        let empty = self.empty.take();
        let mut kept = vec![self.launcher.as_fd(), self.status.as_fd(), givens.supervisor];
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
        ground.transpose()
    }
}

/// The trees of grants for writing, which the launcher sends after the plan.
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

/// A word to the launcher.
pub fn tell(launcher: impl AsFd, progress: &Progress) -> Result<(), Errno> {
    let bytes = postcard::to_stdvec(progress).unwrap_or_default();
    rustix::io::write(launcher, &bytes).map(drop)
}
