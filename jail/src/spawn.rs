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
use crate::outlook::Outlook;
use crate::owner::open_writable;
use crate::seat::{Givens, Seat};
use crate::seccomp::Filters;
use crate::spec::{Limits, Spec};
use crate::system::INNER_ID;
use crate::wire::{Answer, MAX_BYTES, NOBODY, Order};

/// How long no order must have come before a seat is made: who has just been started gets the processors first.
const CALM: Duration = Duration::from_micros(500);
/// How long the groups of worlds may take to be empty when the supervisor was killed.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// What the launcher holds while it answers orders.
pub struct Service<'a> {
    supervisor: BorrowedFd<'a>,
    filters: &'a Filters,
    home: &'a Arc<Home>,
    pool: Pool,
    outlook: Outlook,
    next_group: u64,
}

/// What jails differ in from the beginning.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Kind {
    /// A share of the processor of its own, as a limit needs it.
    own_cpu: bool,
    /// The host's programs and libraries.
    system: bool,
}

impl Kind {
    fn of(spec: &Spec) -> Kind {
        Kind { own_cpu: spec.limits.cpu_permille.is_some(), system: spec.system }
    }
}

/// The seats of one kind.
struct Row {
    kind: Kind,
    seats: VecDeque<Seat>,
}

/// Seats of every kind that was ever asked for, and of the usual one.
struct Pool {
    /// Of each kind.
    size: usize,
    rows: Vec<Row>,
}

impl Pool {
    fn new(size: usize) -> Pool {
        let mut pool = Pool { size, rows: Vec::new() };
        pool.of(Kind { own_cpu: false, system: true });
        pool
    }

    fn lacking(&self) -> Option<Kind> {
        self.rows.iter().find(|row| row.seats.len() < self.size).map(|row| row.kind)
    }

    fn of(&mut self, kind: Kind) -> &mut VecDeque<Seat> {
        let at = self.rows.iter().position(|row| row.kind == kind).unwrap_or_else(|| {
            self.rows.push(Row { kind, seats: VecDeque::new() });
            self.rows.len() - 1
        });
        &mut self.rows[at].seats
    }

    fn take_all(&mut self) -> Vec<Seat> {
        self.rows.iter_mut().flat_map(|row| std::mem::take(&mut row.seats)).collect()
    }
}

impl<'a> Service<'a> {
    /// With so many jails of each kind begun ahead of time.
    pub fn new(supervisor: BorrowedFd<'a>, filters: &'a Filters, home: &'a Arc<Home>, seats: usize) -> Self {
        Service { supervisor, filters, home, pool: Pool::new(seats), outlook: Outlook::new(), next_group: 0 }
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
        while let Some(kind) = self.pool.lacking() {
            if self.is_asked(CALM) {
                break;
            }
            // What is the matter will be said when it is asked for.
            let Ok(seat) = self.make_seat(kind, &Limits::default()) else { break };
            self.pool.of(kind).push_back(seat);
        }
        rustix::io::retry_on_intr(|| socket::receive(self.supervisor, buffer)).ok()
    }

    fn is_asked(&self, within: Duration) -> bool {
        let mut ready = [PollFd::new(&self.supervisor, PollFlags::IN)];
        let within = Timespec::try_from(within).expect("microseconds fit");
        poll(&mut ready, Some(&within)).is_ok_and(|ready| ready > 0)
    }

    fn make_seat(&mut self, kind: Kind, limits: &Limits) -> Result<Seat, SpawnError> {
        self.next_group += 1;
        let label = Label { number: self.next_group, own_cpu: kind.own_cpu };
        let Service { home, supervisor, filters, .. } = *self;
        Seat::make(label, limits, Givens { home, supervisor, filters, system: kind.system })
    }

    /// One that waits, or else a new one.
    fn take_seat(&mut self, spec: &Spec) -> Result<Seat, SpawnError> {
        if self.outlook.has_changed() {
            self.clear_pool();
        }
        let kind = Kind::of(spec);
        while let Some(seat) = self.pool.of(kind).pop_front() {
            if seat.is_alive() {
                return Ok(seat);
            }
            let _ = self.tell(NOBODY, Some(&seat), Ok(None));
        }
        self.make_seat(kind, &spec.limits)
    }

    /// Ends the seats. Only the supervisor, as their parent, can take them off the process table. `None`: it is gone.
    fn clear_pool(&mut self) -> Option<()> {
        let seats = self.pool.take_all();
        seats.iter().for_each(Seat::kill);
        seats.iter().try_for_each(|seat| self.tell(NOBODY, Some(seat), Ok(None)))
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
        let seat = match self.take_seat(&order.spec) {
            Ok(seat) => seat,
            Err(error) => return self.tell(order.ticket, None, Err(error)),
        };
        let limited = seat.limit(&order.spec.limits).and_then(|()| ids.write(seat.pid));
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

    fn dismiss(&mut self) {
        if self.clear_pool().is_none() || self.is_orphaned() {
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
