//! The launcher's side: one order after the other, one clone each.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, Signal, pidfd_send_signal};
use strait_sys::launch::{Cloned, clone_process};
use strait_sys::socket;

use crate::attest::Attested;
use crate::error::{At, SpawnError, Step, refused};
use crate::init::Init;
use crate::seccomp::Filters;
use crate::spec::Spec;
use crate::system::INNER_ID;
use crate::wire::{Answer, MAX_BYTES, Order, Progress};

/// Everything a jail has of its own. The time namespace isn't among them: it hides nothing.
const NAMESPACES: i32 = libc::CLONE_NEWUSER
    | libc::CLONE_NEWNS
    | libc::CLONE_NEWPID
    | libc::CLONE_NEWNET
    | libc::CLONE_NEWIPC
    | libc::CLONE_NEWUTS
    | libc::CLONE_NEWCGROUP;

/// A jail takes about a millisecond. One that takes this long hangs, and the orders behind it wait.
const PATIENCE: Duration = Duration::from_secs(20);

/// Answers orders until the supervisor closes its end.
pub fn serve(supervisor: &OwnedFd, filters: &Filters) {
    let mut buffer = vec![0; MAX_BYTES];
    while let Ok((length @ 1.., descriptors)) = receive(supervisor, &mut buffer) {
        // An order that can't be read can't be answered either: there is no ticket. Both ends are the same build, so it is a bug.
        let Ok(order) = postcard::from_bytes::<Order>(&buffer[..length]) else { return };
        let (process, outcome) = match spawn(&order.spec, &descriptors, supervisor.as_fd(), filters) {
            Ok((process, outcome)) => (Some(process), outcome),
            Err(error) => (None, Err(error)),
        };
        let pid = process.as_ref().map(|(pid, _)| pid.as_raw_nonzero().get());
        let pidfd: Vec<_> = process.iter().map(|(_, pidfd)| pidfd.as_fd()).collect();
        let (attested, error) = outcome.map_or_else(|error| (None, Some(error)), |attested| (Some(attested), None));
        let Ok(answer) = postcard::to_stdvec(&Answer { ticket: order.ticket, pid, attested, error }) else { return };
        if socket::send(supervisor.as_fd(), &answer, &pidfd).is_err() {
            return;
        }
    }
}

fn receive(supervisor: &OwnedFd, buffer: &mut [u8]) -> rustix::io::Result<(usize, Vec<OwnedFd>)> {
    rustix::io::retry_on_intr(|| socket::receive(supervisor.as_fd(), buffer))
}

type Spawned = ((Pid, OwnedFd), Result<Attested, SpawnError>);

/// Makes the first process of a jail and waits until its program runs, or why it doesn't. The outer error: there is no process.
fn spawn(
    spec: &Spec,
    descriptors: &[OwnedFd],
    supervisor: BorrowedFd<'_>,
    filters: &Filters,
) -> Result<Spawned, SpawnError> {
    let ids = Ids::of(spec)?;
    let [stdin, stdout, stderr, status, rendezvous @ ..] = descriptors else {
        return Err(refused(Step::Receive, format!("{} descriptors came with the order", descriptors.len())));
    };
    let (release, releaser) = pipe(Step::Release)?;
    let (report, reporter) = pipe(Step::Descriptors)?;
    match clone_process(NAMESPACES, true).at(Step::Clone, "clone3 with seven namespaces")? {
        Cloned::Child => Init {
            spec,
            stdio: [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            status: status.as_fd(),
            rendezvous: rendezvous.first().map(AsFd::as_fd),
            release: release.as_fd(),
            report: reporter,
            lifeline: supervisor,
            filters,
        }
        .run(),
        Cloned::Parent { pid, pidfd } => {
            drop((release, reporter));
            let outcome = ids.write(pid).and_then(|()| finish(&releaser, &report));
            if outcome.is_err() {
                // It may be beyond listening. If it has ended by itself already, that is as good.
                let _ = pidfd_send_signal(&pidfd, Signal::KILL);
            }
            Ok(((pid, pidfd), outcome))
        }
    }
}

fn pipe(step: Step) -> Result<(OwnedFd, OwnedFd), SpawnError> {
    rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(step, "pipe2")
}

/// Who the world is outside. Never uid 0: without any capability it would still own the files of /proc/sys.
struct Ids {
    uid: u32,
    gid: u32,
    own: bool,
}

impl Ids {
    fn of(spec: &Spec) -> Result<Ids, SpawnError> {
        let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        match (spec.uid, caller) {
            (Some(0), _) => Err(SpawnError::Spec("a world can't have uid 0".into())),
            (None, (0, _)) => Err(SpawnError::Spec("the launcher is root: the world needs a uid of its own".into())),
            (Some(uid), (0, _)) => Ok(Ids { uid, gid: uid, own: true }),
            (Some(uid), (caller, _)) => Err(SpawnError::Spec(format!(
                "only a launcher that is root can give uid {uid}, this one is uid {caller}"
            ))),
            (None, (uid, gid)) => Ok(Ids { uid, gid, own: false }),
        }
    }

    /// Maps the one user and the one group of the jail's user namespace (`user_namespaces(7)`).
    fn write(&self, pid: Pid) -> Result<(), SpawnError> {
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        let write = |file: &str, text: String| {
            std::fs::write(format!("{process}/{file}"), &text)
                .at(Step::IdMaps, format_args!("write '{text}' to {file}"))
        };
        if !self.own {
            // The kernel's condition for mapping a group without privilege: nobody may drop a group that denies something.
            write("setgroups", "deny".into())?;
        }
        write("gid_map", format!("{INNER_ID} {} 1", self.gid))?;
        write("uid_map", format!("{INNER_ID} {} 1", self.uid))
    }
}

fn finish(releaser: &OwnedFd, report: &OwnedFd) -> Result<Attested, SpawnError> {
    rustix::io::write(releaser, &[1]).at(Step::Release, "write")?;
    judge(&read_to_end(report, Instant::now() + PATIENCE)?)
}

fn read_to_end(report: &OwnedFd, deadline: Instant) -> Result<Vec<u8>, SpawnError> {
    let mut bytes = Vec::new();
    let mut buffer = [0; 4096];
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec::try_from(left).expect("seconds fit");
        let mut ready = [PollFd::new(report, PollFlags::IN)];
        match poll(&mut ready, Some(&timeout)) {
            Ok(0) => return Err(SpawnError::TooSlow(PATIENCE.as_millis() as u64)),
            Err(rustix::io::Errno::INTR) => continue,
            other => other.at(Step::Descriptors, "poll")?,
        };
        match rustix::io::read(report, &mut buffer).at(Step::Descriptors, "read")? {
            0 => return Ok(bytes),
            length => bytes.extend_from_slice(&buffer[..length]),
        }
    }
}

fn judge(mut bytes: &[u8]) -> Result<Attested, SpawnError> {
    let mut built = None;
    while !bytes.is_empty() {
        let (progress, rest) = postcard::take_from_bytes(bytes).map_err(|_| SpawnError::Died)?;
        match progress {
            Progress::Built(attested) => built = Some(attested),
            Progress::Failed(error) => return Err(error),
        }
        bytes = rest;
    }
    built.ok_or(SpawnError::Died)
}
