//! The launcher's side: one order after the other, and in between the jails that are begun ahead of time.

use std::collections::VecDeque;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use strait_sys::socket;

use crate::attest::Attested;
use crate::cgroup::{Home, Label};
use crate::error::{At, SpawnError, Step, refused};
use crate::ids::Ids;
use crate::outbox::Outbox;
use crate::pool::{Image, Kind, Lack, Pool};
use crate::seat::{Givens, Seat};
use crate::seccomp::Filters;
use crate::spec::Limits;
use crate::wire::{Answer, MAX_BYTES, NOBODY, Order, Request};

/// How long no order must have come before a seat is made: who has just been started gets the processors first.
const CALM: Duration = Duration::from_micros(500);
/// How long the groups of worlds may take to be empty when the supervisor was killed.
const LAST_WAIT: Duration = Duration::from_secs(10);

/// How long jails wait for a task that nobody asks for, and how long what they would be made of is remembered. They hold on to what they show of the
/// host, and that to an image: what is deleted takes its room until then.
const REST: Duration = Duration::from_secs(30);
/// The host name of a jail that has none yet.
const STAND_IN: &str = "world";

/// What the launcher holds while it answers orders.
pub struct Service<'a> {
    supervisor: BorrowedFd<'a>,
    outbox: Outbox<'a>,
    filters: &'a Filters,
    home: &'a Arc<Home>,
    /// Its own namespace of host names, to come back to.
    own_names: Option<OwnedFd>,
    pool: Pool,
    /// Were killed, and are dead or will be.
    dying: Vec<Seat>,
    /// Uids for jails that are built ahead of time.
    uids: VecDeque<u32>,
    next_group: u64,
}

impl<'a> Service<'a> {
    /// With so many jails of each kind begun ahead of time.
    pub fn new(supervisor: BorrowedFd<'a>, filters: &'a Filters, home: &'a Arc<Home>, seats: usize) -> Self {
        let own_names = File::open("/proc/self/ns/uts").map(Into::into).ok();
        let (pool, dying, uids) = (Pool::new(seats), Vec::new(), VecDeque::new());
        let outbox = Outbox::new(supervisor);
        Service { supervisor, outbox, filters, home, own_names, pool, dying, uids, next_group: 0 }
    }

    /// Answers orders until the supervisor ends it: with an empty message, or with its own end, after which the groups of what it started are
    /// the launcher's to remove.
    pub fn serve(&mut self) {
        let mut buffer = vec![0; MAX_BYTES];
        while let Some((length, descriptors)) = self.next_request(&mut buffer) {
            if length == 0 || self.take(&buffer[..length], descriptors).is_none() {
                break;
            }
            // What somebody's program was told is in no process that is made from here on.
            buffer[..length].fill(0);
        }
        self.dismiss();
    }

    /// Makes seats and jails while nobody asks for anything. `None`: the supervisor is gone.
    fn next_request(&mut self, buffer: &mut [u8]) -> Option<(usize, Vec<OwnedFd>)> {
        self.end_outdated();
        self.outbox.flush_or_hear()?;
        while let Some(lack) = self.pool.lack(!self.uids.is_empty()) {
            // What is the matter with a seat will be said when one is asked for.
            if self.is_asked(Some(CALM))? || self.make_good(lack).is_none() {
                break;
            }
        }
        if !self.pool.series.is_empty() && !self.is_asked(Some(REST))? {
            self.pool.forget(None);
            self.end_outdated();
        }
        if !self.dying.is_empty() {
            self.is_asked(None)?;
        }
        rustix::io::retry_on_intr(|| socket::receive(self.supervisor, buffer)).ok()
    }

    /// Whether somebody asks for something within this time, or at all. Those who die meanwhile are told of. `None`: the supervisor is gone.
    fn is_asked(&mut self, within: Option<Duration>) -> Option<bool> {
        let until = within.map(|within| Instant::now() + within);
        loop {
            self.tell_dead()?;
            let left = until.map(|until| until.saturating_duration_since(Instant::now()));
            let left = left.map(|left| Timespec::try_from(left).expect("seconds fit"));
            let dying = self.dying.iter().map(|seat| PollFd::new(&seat.pidfd, PollFlags::IN));
            let mut ready: Vec<_> =
                std::iter::once(PollFd::new(&self.supervisor, PollFlags::IN)).chain(dying).collect();
            let count = poll(&mut ready, left.as_ref()).unwrap_or(0);
            if count == 0 || !ready[0].revents().is_empty() {
                return Some(count > 0);
            }
        }
    }

    fn make_good(&mut self, lack: Lack) -> Option<()> {
        match lack {
            Lack::Seat(kind) => {
                let seat = self.make_seat(kind, &Limits::default()).ok()?;
                self.pool.put_seat(kind, seat);
            }
            Lack::Jail(at) => {
                if self.build_ahead(at).is_err() {
                    self.pool.forget(Some(at));
                }
            }
        }
        Some(())
    }

    /// Adds a jail to a series. A uid is taken for it only when there is a seat that has it from then on, and gives it back by its end.
    fn build_ahead(&mut self, at: usize) -> Result<(), SpawnError> {
        let outdated = self.pool.series[at].look();
        self.pool.outdated.extend(outdated);
        let mut seat = self.take_seat(Kind::of(&self.pool.series[at].shape))?;
        let series = &mut self.pool.series[at];
        let planned = seat.keep_names().and_then(|()| {
            let ids = Ids::of(self.uids.pop_front())?;
            seat.plan(&series.shape, STAND_IN, ids, series.rendezvous.as_ref())?;
            series.image.as_ref().map_or(Ok(()), |image| seat.restore(image))
        });
        match planned.is_ok() {
            true => series.jails.push_back(seat),
            false => self.pool.outdated.push(seat),
        }
        planned
    }

    fn make_seat(&mut self, kind: Kind, limits: &Limits) -> Result<Seat, SpawnError> {
        self.next_group += 1;
        let label = Label { number: self.next_group, own_cpu: kind.own_cpu };
        let Service { home, supervisor, filters, .. } = *self;
        Seat::make(label, limits, Givens { home, supervisor, filters, system: kind.system })
    }

    /// One that waits, or else a new one.
    fn take_seat(&mut self, kind: Kind) -> Result<Seat, SpawnError> {
        while let Some(seat) = self.pool.take_seat(kind) {
            if seat.is_alive() {
                return Ok(seat);
            }
            self.pool.outdated.push(seat);
        }
        self.make_seat(kind, &Limits::default())
    }

    /// Ends seats. One that is stuck in the kernel, by a file system that doesn't answer, takes its time.
    fn end_outdated(&mut self) {
        self.pool.outdated.iter().for_each(Seat::kill);
        self.dying.append(&mut self.pool.outdated);
    }

    /// Only the supervisor, as their parent, can take them off the process table. It hears of them when it needn't wait for that any more. `None`: it is
    /// gone.
    fn tell_dead(&mut self) -> Option<()> {
        let (dying, dead): (Vec<_>, Vec<_>) = self.dying.drain(..).partition(Seat::is_alive);
        self.dying = dying;
        dead.iter().try_for_each(|seat| self.tell(NOBODY, Some(seat), Ok(None)))?;
        self.outbox.flush_or_hear()
    }

    fn take(&mut self, request: &[u8], descriptors: Vec<OwnedFd>) -> Option<()> {
        // A request that can't be read can't be answered either: there is no ticket. Both ends are the same build, so it is a bug.
        match postcard::from_bytes(request).ok()? {
            Request::Lend(uid) => self.uids.push_back(uid),
            Request::Order(order) => return self.answer(&order, descriptors),
        }
        Some(())
    }

    fn answer(&mut self, order: &Order<'_>, descriptors: Vec<OwnedFd>) -> Option<()> {
        let found = sort(order, descriptors).and_then(|came| {
            let (seat, planned) = self.find(order, came.rendezvous.as_ref(), came.image.as_ref())?;
            Ok((came, seat, planned))
        });
        let (came, mut seat, planned) = match found {
            Ok(found) => found,
            Err(error) => return self.tell(order.ticket, None, Err(error)),
        };
        let told = planned.and_then(|()| came.image.map_or(Ok(()), |image| seat.restore(&image)));
        match told.and_then(|()| seat.start(order.task, &came.streams)) {
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

    /// A jail as it was ordered, or one that will be; and whether it could be told.
    fn find(
        &mut self,
        order: &Order<'_>,
        rendezvous: Option<&OwnedFd>,
        image: Option<&Image>,
    ) -> Result<(Seat, Result<(), SpawnError>), SpawnError> {
        let ids = Ids::of(order.uid)?;
        self.pool.look_out(order.shape.system);
        self.pool.remember(&order.shape, rendezvous, image);
        if let Some(jail) = self.take_jail() {
            // It has a uid already; this one is for the next.
            self.uids.extend(ids.own());
            let named = self.name(&jail, order.name);
            return Ok((jail, named));
        }
        let mut seat = self.take_seat(Kind::of(&order.shape))?;
        let planned = seat.plan(&order.shape, order.name, ids, rendezvous);
        Ok((seat, planned))
    }

    /// Where one has died others of its series may always: no more of it are made before it is asked for twice again.
    fn take_jail(&mut self) -> Option<Seat> {
        let jail = self.pool.take_jail()?;
        if jail.is_alive() {
            return Some(jail);
        }
        self.pool.outdated.push(jail);
        self.pool.forget(Some(0));
        None
    }

    /// Gives a jail that stands its host name. What is in it hasn't the right to any more.
    fn name(&self, jail: &Seat, name: &str) -> Result<(), SpawnError> {
        let namespaces = jail.names.as_ref().zip(self.own_names.as_ref());
        let (names, own) = namespaces.ok_or_else(|| refused(Step::HostName, "no namespace of host names to enter"))?;
        let enter = |namespace: &OwnedFd| {
            move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::HostNameAndNISDomainName))
                .at(Step::HostName, "setns to a namespace of host names")
        };
        enter(names)?;
        let named = rustix::system::sethostname(name.as_bytes()).at(Step::HostName, "sethostname");
        enter(own).and(named)
    }

    fn tell(&mut self, ticket: u64, seat: Option<&Seat>, outcome: Result<Option<Attested>, SpawnError>) -> Option<()> {
        let (attested, error) = outcome.map_or_else(|error| (None, Some(error)), |attested| (attested, None));
        let answer = Answer { ticket, first: seat.map(Seat::first), attested, error };
        let descriptors: Vec<_> = seat.iter().flat_map(|seat| [seat.pidfd.as_fd(), seat.status.as_fd()]).collect();
        let bytes = postcard::to_stdvec(&answer).ok()?;
        self.outbox.say(bytes, &descriptors)
    }

    fn dismiss(&mut self) {
        self.pool.clear();
        self.end_outdated();
        let dying = std::mem::take(&mut self.dying);
        let told = dying.iter().try_for_each(|seat| self.tell(NOBODY, Some(seat), Ok(None)));
        if told.and_then(|()| self.outbox.flush_all()).is_none() || self.is_orphaned() {
            self.home.clear(LAST_WAIT);
        }
    }

    fn is_orphaned(&self) -> bool {
        let mut ends = [PollFd::new(&self.supervisor, PollFlags::empty())];
        let polled = poll(&mut ends, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
        polled.is_err() || ends[0].revents().contains(PollFlags::HUP)
    }
}

/// What comes with an order.
struct Attachments {
    rendezvous: Option<OwnedFd>,
    streams: Vec<OwnedFd>,
    image: Option<Image>,
}

/// In the order of [`Order`]'s documentation, and no more and no fewer than it says.
fn sort(order: &Order<'_>, descriptors: Vec<OwnedFd>) -> Result<Attachments, SpawnError> {
    let came = descriptors.len();
    let mut descriptors = descriptors.into_iter();
    let rendezvous = if order.has_rendezvous { descriptors.next() } else { None };
    let streams: Vec<_> = descriptors.by_ref().take(3).collect();
    let image = descriptors.next().zip(descriptors.next()).map(|(restorer, content)| Image { restorer, content });
    let are_right = rendezvous.is_some() == order.has_rendezvous && streams.len() == 3;
    match are_right && image.is_some() == order.is_restored && descriptors.len() == 0 {
        true => Ok(Attachments { rendezvous, streams, image }),
        false => {
            Err(refused(Step::Receive, format_args!("{came} descriptors came with it, which are too few or too many")))
        }
    }
}
