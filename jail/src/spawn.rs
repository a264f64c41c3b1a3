//! The launcher's side: one order after the other, and in between the jails that are begun ahead of time.

use std::collections::VecDeque;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::Pid;
use strait_sys::socket;

use crate::attest::Attested;
use crate::cgroup::{Home, Label};
use crate::error::{At, SpawnError, Step};
use crate::owner::open_writable;
use crate::seat::{Givens, Seat};
use crate::seccomp::Filters;
use crate::spec::Spec;
use crate::system::INNER_ID;
use crate::wire::{Answer, MAX_BYTES, NOBODY, Order};

/// How long no order must have come before seats are made: who has just been started gets the processors first.
const CALM: Duration = Duration::from_micros(500);
/// How long the groups of worlds may take to be empty when the supervisor was killed.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// What the launcher holds while it answers orders.
pub struct Service<'a> {
    supervisor: BorrowedFd<'a>,
    filters: &'a Filters,
    home: &'a Arc<Home>,
    pool: Pool,
    next_group: u64,
}

/// Seats of both kinds, without a share of the processor of their own and with one. Those with one are kept only once somebody has asked for one.
#[derive(Default)]
struct Pool {
    size: usize,
    seats: [VecDeque<Seat>; 2],
    wants_own_cpu: bool,
}

impl Pool {
    fn lacking(&self) -> Option<bool> {
        let [shared, own] = self.seats.each_ref().map(|seats| seats.len() < self.size);
        if shared { Some(false) } else { (own && self.wants_own_cpu).then_some(true) }
    }

    fn of(&mut self, own_cpu: bool) -> &mut VecDeque<Seat> {
        &mut self.seats[usize::from(own_cpu)]
    }
}

impl<'a> Service<'a> {
    /// With so many jails of each kind begun ahead of time.
    pub fn new(supervisor: BorrowedFd<'a>, filters: &'a Filters, home: &'a Arc<Home>, seats: usize) -> Self {
        let pool = Pool { size: seats, ..Pool::default() };
        Service { supervisor, filters, home, pool, next_group: 0 }
    }

    /// Answers orders until the supervisor ends it: with an empty message, or with its own end, after which the groups of what it started are
    /// the launcher's to remove.
    pub fn serve(&mut self) {
        let mut buffer = vec![0; MAX_BYTES];
        while let Some((length, descriptors)) = self.next_order(&mut buffer) {
            if length == 0 || self.answer(&buffer[..length], &descriptors).is_none() {
                break;
            }
        }
        self.dismiss();
    }

    /// Makes seats while nobody asks for anything. `None`: the supervisor is gone.
    fn next_order(&mut self, buffer: &mut [u8]) -> Option<(usize, Vec<OwnedFd>)> {
        while let Some(own_cpu) = self.pool.lacking() {
            if self.is_asked(CALM) {
                break;
            }
            // What is the matter will be said when it is asked for.
            let Ok(seat) = self.make_seat(own_cpu) else { break };
            self.pool.of(own_cpu).push_back(seat);
        }
        rustix::io::retry_on_intr(|| socket::receive(self.supervisor, buffer)).ok()
    }

    fn is_asked(&self, within: Duration) -> bool {
        let mut ready = [PollFd::new(&self.supervisor, PollFlags::IN)];
        let within = Timespec::try_from(within).expect("microseconds fit");
        poll(&mut ready, Some(&within)).is_ok_and(|ready| ready > 0)
    }

    fn make_seat(&mut self, own_cpu: bool) -> Result<Seat, SpawnError> {
        self.next_group += 1;
        let label = Label { number: self.next_group, own_cpu };
        Seat::make(label, Givens { home: self.home, supervisor: self.supervisor, filters: self.filters })
    }

    /// One that waits, or else a new one.
    fn take_seat(&mut self, own_cpu: bool) -> Result<Seat, SpawnError> {
        self.pool.wants_own_cpu |= own_cpu;
        while let Some(seat) = self.pool.of(own_cpu).pop_front() {
            if seat.is_alive() {
                return Ok(seat);
            }
            let _ = self.tell(NOBODY, Some(&seat), Ok(None));
        }
        self.make_seat(own_cpu)
    }

    fn answer(&mut self, bytes: &[u8], descriptors: &[OwnedFd]) -> Option<()> {
        // An order that can't be read can't be answered either: there is no ticket. Both ends are the same build, so it is a bug.
        let order = postcard::from_bytes::<Order>(bytes).ok()?;
        let ids = match Ids::of(&order.spec) {
            Ok(ids) => ids,
            Err(error) => return self.tell(order.ticket, None, Err(error)),
        };
        let trees = match open_writable(&order.spec) {
            Ok(trees) => trees,
            Err(error) => return self.tell(order.ticket, None, Err(error)),
        };
        let seat = match self.take_seat(order.spec.limits.cpu_permille.is_some()) {
            Ok(seat) => seat,
            Err(error) => return self.tell(order.ticket, None, Err(error)),
        };
        let limited = seat.group.limit(&order.spec.limits).and_then(|()| ids.write(seat.pid));
        match limited.and_then(|()| seat.order(bytes, descriptors, &trees)) {
            Ok(attested) => {
                let told = self.tell(order.ticket, Some(&seat), Ok(Some(attested)));
                if told.is_none() {
                    // Nobody knows of it, so nobody would ever end it.
                    seat.kill();
                }
                told
            }
            Err(error) => {
                seat.kill();
                self.tell(order.ticket, Some(&seat), Err(error))
            }
        }
    }

    fn tell(&self, ticket: u64, seat: Option<&Seat>, outcome: Result<Option<Attested>, SpawnError>) -> Option<()> {
        let (attested, error) = outcome.map_or_else(|error| (None, Some(error)), |attested| (attested, None));
        let answer = Answer { ticket, first: seat.map(Seat::first), attested, error };
        let pidfd: Vec<_> = seat.iter().map(|seat| seat.pidfd.as_fd()).collect();
        let bytes = postcard::to_stdvec(&answer).ok()?;
        socket::send(self.supervisor, &bytes, &pidfd).ok()
    }

    /// Ends the seats. Only the supervisor, as their parent, can take them off the process table.
    fn dismiss(&mut self) {
        let seats: Vec<Seat> = self.pool.seats.iter_mut().flat_map(std::mem::take).collect();
        seats.iter().for_each(Seat::kill);
        let told = seats.iter().all(|seat| self.tell(NOBODY, Some(seat), Ok(None)).is_some());
        if !told || self.is_orphaned() {
            self.home.clear(LAST_WAIT);
        }
    }

    fn is_orphaned(&self) -> bool {
        let mut ends = [PollFd::new(&self.supervisor, PollFlags::empty())];
        let polled = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_err() || ends[0].revents().contains(PollFlags::HUP)
    }
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
