//! A port: what the switch keeps for one world.

use super::backlog::Blocked;
use super::lane::Lane;
use super::parcels::{Holdings, Parcel};
use super::starts::Starts;
use super::tap::Shown;
use crate::link::Passport;
use crate::policy::{Reach, Way};
use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::rc::Rc;
use strait_memory::{ReadOnly, SliceError, SliceFile, Writable, transfer};
use strait_protocol::handshake::DESCRIPTORS;
use strait_protocol::wait::{Event, Via};
use strait_protocol::{
    Counters, Endpoint, MAX_STOPS, Name, NameError, RawHeader, Reason, ReserveError, SliceMemory, SliceSize,
    SliceSizeError, WorldId, WritableMemory,
};
use strait_sys::wake;

/// From so many bytes in one go on, what goes to another processor is written past the cache.
const STREAMED_BYTES: u32 = 1024;

/// A record that waits outside of any slice, because its receiver's inbox is full.
#[derive(Debug)]
pub(crate) struct Held {
    pub raw: RawHeader,
    /// Shared by the receivers of a multicast record.
    pub payload: Rc<[u8]>,
    /// On whose account.
    pub charged: WorldId,
    /// What a message by a topic brings and hasn't handed over yet. It counts among what its receiver holds.
    pub parcel: Option<Rc<Parcel>>,
}

impl Held {
    /// Bytes that keeping a record costs beside itself.
    pub(crate) const KEEPING: u64 = 64;

    /// What holding a record costs: itself, and where it is kept.
    pub(crate) fn bytes_of(raw: &RawHeader) -> u64 {
        u64::from(raw.stride()) + Self::KEEPING
    }

    pub(crate) fn bytes(&self) -> u64 {
        Self::bytes_of(&self.raw)
    }

    /// In which window of the account it counts: that of the topic that it comes by, or of the address that its sender wrote, which is its receiver
    /// or that one's group. On the receiver's own, in none.
    pub(crate) fn window(&self, receiver: WorldId) -> WorldId {
        match self.raw.topic() {
            _ if self.charged == receiver => receiver,
            Some((topic, _)) => topic,
            None => self.raw.destination(),
        }
    }
}

/// Why a world can't be attached.
#[derive(Debug, thiserror::Error)]
pub(crate) enum AttachError {
    #[error("a world comes with {DESCRIPTORS} descriptors, not {0}")]
    Descriptors(usize),
    #[error(transparent)]
    Slice(#[from] SliceError),
    #[error(transparent)]
    Size(#[from] SliceSizeError),
    #[error(transparent)]
    Name(#[from] NameError),
    #[error("{0} is attached already")]
    Twice(WorldId),
    #[error("epoll_ctl: {0}")]
    Epoll(rustix::io::Errno),
}

/// What is counted where it costs nothing: off the way of a record that goes where it is sent.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Tally {
    pub denied: u64,
    pub returned: u64,
    pub waits: u64,
    pub wakeups: u64,
    pub rings: u64,
}

impl Tally {
    /// A record of the world goes nowhere.
    pub(super) fn refuse(&mut self, reason: Reason) {
        match reason {
            Reason::Refused => self.denied += 1,
            _ => self.returned += 1,
        }
    }
}

#[derive(Debug)]
pub(crate) struct Port {
    pub id: WorldId,
    pub name: Name,
    /// The world's slices: its inbox is ours to write, its outbox is hostile.
    pub endpoint: Endpoint<Writable, ReadOnly>,
    /// Where in its inbox records start.
    pub starts: Starts,
    /// Rung by the world (we only watch it).
    pub bell: OwnedFd,
    /// Rung by us.
    wakeup: OwnedFd,
    pub lane: Lane,
    /// What the world had released when something by a topic found its lane full: until it has released more, nothing else is tried.
    lane_full_at: Option<u64>,
    pub holdings: Holdings,
    /// Whom policy lets it reach.
    pub reach: Reach,
    /// Bytes that it says it has written to links that are gone.
    pub linked_bytes: u64,
    /// The taps that see it, a bit each, and whether they may see payloads.
    pub taps: u8,
    pub shows_payload: bool,
    /// Where the last record went, so that a stream to one place is looked up once.
    pub last_route: Option<(WorldId, usize)>,
    /// What this world's next record waits for, if it has to.
    pub blocked: Option<Blocked>,
    /// Worlds whose next record waits for room in this one's inbox, who came first in front.
    pub waiters: VecDeque<WorldId>,
    /// Groups that it is a member of.
    pub groups: Vec<WorldId>,
    /// Receivers of the multicast record at the head of the outbox that have been served; of a message to a topic, the last one's serial number.
    pub served: u64,
    /// Records for this world that found its inbox full, in order.
    pub held: VecDeque<Held>,
    /// How many of those found room in the end.
    pub unseated: u64,
    /// Topics that it may publish on.
    pub topics: HashSet<WorldId>,
    /// Of each of its subscriptions: the topics that it meets, and its serial number there.
    pub subscriptions: HashMap<u32, BTreeMap<WorldId, u64>>,
    /// Bytes of values kept on topics on its account.
    pub retained_bytes: u64,
    /// What it missed of the control service's announcements since the last that it got.
    pub unannounced: u32,
    /// Bytes held anywhere on this world's account, and how many may be.
    pub held_bytes: u64,
    pub budget_bytes: u64,
    /// Of the bytes held, how many for each receiver or topic.
    held_for: HashMap<WorldId, u64>,
    /// Receivers that it was told not to send to, at the places where its inbox says so.
    stops: Vec<Option<WorldId>>,
    pub open_requests: u32,
    /// Records taken from it: the sequence number of the last one.
    pub sequence: u64,
    pub received: u64,
    pub tally: Tally,
    /// The world runs on another processor than the switch.
    pub is_far: bool,
    /// Rings since its last record was taken that there was nothing to be done for.
    pub empty_rings: u32,
    /// Passes without work; an active port is looked at in each pass.
    pub idle_passes: u32,
    pub is_active: bool,
    /// Something was committed to its inbox in this pass.
    pub is_touched: bool,
    /// Somebody waits for room in its inbox.
    pub is_awaited: bool,
    /// Its world is dead, and what it published is delivered.
    pub is_leaving: bool,
    /// It wrote what can't be true, and is about to be forgotten.
    pub is_doomed: bool,
}

impl Port {
    pub(crate) fn new(passport: &Passport, descriptors: Vec<OwnedFd>) -> Result<Self, AttachError> {
        let count = descriptors.len();
        let [outbox, inbox, bell, wakeup, lane]: [OwnedFd; DESCRIPTORS] =
            descriptors.try_into().map_err(|_| AttachError::Descriptors(count))?;
        let outbox = SliceFile::adopt(outbox, SliceSize::new(passport.outbox_bytes.into())?)?;
        let inbox = SliceFile::adopt(inbox, SliceSize::new(passport.inbox_bytes.into())?)?;
        let endpoint = Endpoint::new(Writable::map(&inbox)?, ReadOnly::map(&outbox)?);
        Ok(Self {
            id: WorldId(passport.id),
            name: passport.name.parse()?,
            starts: Starts::new(endpoint.mine().ring_bytes()),
            endpoint,
            bell,
            wakeup,
            lane: Lane::new(lane),
            lane_full_at: None,
            holdings: Holdings::new(passport.parcel_count, passport.parcel_bytes),
            reach: Reach::parse(&passport.send, &passport.link)?,
            linked_bytes: 0,
            taps: 0,
            shows_payload: passport.tap_payload,
            last_route: None,
            blocked: None,
            waiters: VecDeque::new(),
            groups: Vec::new(),
            served: 0,
            held: VecDeque::new(),
            unseated: 0,
            topics: HashSet::new(),
            subscriptions: HashMap::new(),
            retained_bytes: 0,
            unannounced: 0,
            held_bytes: 0,
            budget_bytes: passport.budget_bytes,
            held_for: HashMap::new(),
            stops: Vec::new(),
            open_requests: 0,
            sequence: 0,
            received: 0,
            tally: Tally::default(),
            is_far: false,
            empty_rings: 0,
            idle_passes: 0,
            is_active: false,
            is_touched: false,
            is_awaited: false,
            is_leaving: false,
            is_doomed: false,
        })
    }

    /// Takes what belongs to one life of a world from a port that was made for the next one, and leaves it that of the last one. What is the world's
    /// own stays: what it sent and is charged for, who waits for it, and whom it was told not to send to.
    pub(crate) fn swap_life(&mut self, other: &mut Self) {
        std::mem::swap(&mut self.endpoint, &mut other.endpoint);
        std::mem::swap(&mut self.starts, &mut other.starts);
        std::mem::swap(&mut self.bell, &mut other.bell);
        std::mem::swap(&mut self.wakeup, &mut other.wakeup);
        std::mem::swap(&mut self.lane, &mut other.lane);
        std::mem::swap(&mut self.lane_full_at, &mut other.lane_full_at);
        std::mem::swap(&mut self.holdings, &mut other.holdings);
        std::mem::swap(&mut self.reach, &mut other.reach);
        std::mem::swap(&mut self.topics, &mut other.topics);
        std::mem::swap(&mut self.subscriptions, &mut other.subscriptions);
        (self.budget_bytes, self.shows_payload) = (other.budget_bytes, other.shows_payload);
        (self.last_route, self.blocked, self.served, self.open_requests) = (None, None, 0, 0);
        (self.is_far, self.empty_rings) = (false, 0);
        (self.is_active, self.is_touched, self.is_awaited) = (false, false, false);
        (self.is_leaving, self.is_doomed) = (false, false);
        for (place, stop) in self.stops.iter().enumerate().filter(|(_, stop)| stop.is_some()) {
            self.endpoint.set_stop(place, *stop);
        }
    }

    /// Policy: whether this world may send to another, by its own lines or because both agree to a link.
    pub(crate) fn may_send_to(&self, other: &Self) -> bool {
        self.reach.sends_to(other.id, &other.name) || self.may_link_with(other)
    }

    /// Policy: whether these two may have a direct link. Both must name the other; then they may also send to each other.
    pub(crate) fn may_link_with(&self, other: &Self) -> bool {
        self.reach.covers(Way::Link, &other.name) && other.reach.covers(Way::Link, &self.name)
    }

    /// Whether the switch may hold so much more on this world's account. One record may always be held.
    pub(crate) fn can_charge(&self, bytes: u64) -> bool {
        self.held_bytes == 0 || self.held_bytes + bytes <= self.budget_bytes
    }

    /// The same, and whether it fits this world's window for one receiver or topic: a quarter of its budget, or one record.
    pub(crate) fn can_hold(&self, bytes: u64, receiver: WorldId) -> bool {
        let held = self.held_for.get(&receiver).copied().unwrap_or(0);
        self.can_charge(bytes) && (held == 0 || held + bytes <= self.window())
    }

    /// Whether a value may be kept on its account in the place of one of so many bytes: all of them together fit a quarter of its budget, which is
    /// beside what may be held.
    pub(crate) fn can_retain(&self, raw: &RawHeader, replaced: u64) -> bool {
        raw.length() == 0 || self.retained_bytes - replaced + Held::bytes_of(raw) <= self.window()
    }

    /// The world hasn't taken up what it was handed, and can be handed no more.
    pub(super) fn note_full_lane(&mut self) {
        self.lane_full_at = Some(self.endpoint.consumed());
    }

    /// Whether that is so still, as far as was looked at what it has released.
    pub(super) fn is_lane_full(&self) -> bool {
        self.lane_full_at == Some(self.endpoint.consumed())
    }

    /// Whether what waits outside of the inbox has to wait on: for room, or until the world has taken up what it was handed.
    pub(super) fn keeps_waiting(&mut self) -> bool {
        let room = self.endpoint.room();
        self.held.front().is_some_and(|first| {
            room.is_ok_and(|room| room < first.raw.stride() || first.parcel.is_some() && self.is_lane_full())
        })
    }

    /// Where a value of a topic waits, by its seat, if it may make way for the next one.
    pub(super) fn place_of(&self, seat: Option<u64>, topic: Option<(WorldId, u32)>) -> Option<usize> {
        let place = seat?.checked_sub(self.unseated)? as usize;
        let waiting = self.held.get(place)?;
        // What a parcel was handed over for already must come.
        let may_go = waiting.charged == self.id && waiting.raw.topic() == topic && waiting.raw.parcel() == 0;
        may_go.then_some(place)
    }

    /// Holds something for this world on its own account: in the place of the value that waits at `seat`, if that is of the same subscription
    /// and topic and so missed, else behind all that waits; `seat` is then where. False if there is no room on the account.
    pub(crate) fn keep(&mut self, mut held: Held, seat: &mut Option<u64>) -> bool {
        let place = self.place_of(*seat, held.raw.topic());
        let waiting = place.and_then(|place| self.held.get_mut(place));
        let (missed, freed) = waiting.as_ref().map_or((0, 0), |w| (w.raw.missed().saturating_add(1), w.bytes()));
        let left = self.held_bytes - freed;
        if left > 0 && left + held.bytes() > self.budget_bytes {
            return false;
        }
        held.raw = held.raw.with_missed(held.raw.missed().saturating_add(missed));
        self.held_bytes = left + held.bytes();
        match waiting {
            Some(waiting) => *waiting = held,
            None => {
                *seat = Some(self.unseated + self.held.len() as u64);
                self.held.push_back(held);
            }
        }
        true
    }

    fn window(&self) -> u64 {
        self.budget_bytes / 4
    }

    /// Charges what is held for a receiver. True when it is time to tell the world to stop.
    pub(crate) fn charge(&mut self, bytes: u64, receiver: WorldId) -> bool {
        self.held_bytes += bytes;
        if receiver == self.id {
            return false;
        }
        let window = self.window();
        let held = self.held_for.entry(receiver).or_default();
        *held += bytes;
        *held > window / 2
    }

    /// Takes a charge back. True when the world may be told to go on.
    pub(crate) fn uncharge(&mut self, bytes: u64, receiver: WorldId) -> bool {
        self.held_bytes -= bytes;
        let window = self.window();
        let Some(held) = self.held_for.get_mut(&receiver) else { return false };
        *held = held.saturating_sub(bytes);
        let is_free = *held <= window / 8;
        if *held == 0 {
            self.held_for.remove(&receiver);
        }
        is_free
    }

    /// Tells the world not to send to a receiver for now. Beyond so many of them it isn't told, and its window says the same less kindly.
    pub(crate) fn stop(&mut self, receiver: WorldId) {
        if self.is_stopped(receiver) {
            return;
        }
        let place = self.stops.iter().position(Option::is_none).unwrap_or(self.stops.len());
        if place < MAX_STOPS {
            self.stops.resize(self.stops.len().max(place + 1), None);
            self.stops[place] = Some(receiver);
            self.endpoint.set_stop(place, Some(receiver));
        }
    }

    pub(crate) fn is_stopped(&self, receiver: WorldId) -> bool {
        self.stops.contains(&Some(receiver))
    }

    /// Tells it that it may send there again. False if it wasn't told otherwise.
    pub(crate) fn go_on(&mut self, receiver: WorldId) -> bool {
        let place = self.stops.iter().position(|stop| *stop == Some(receiver));
        if let Some(place) = place {
            self.stops[place] = None;
            self.endpoint.set_stop(place, None);
        }
        place.is_some()
    }

    /// Whether a sender may put something into the inbox now, as far as others are concerned: nothing is held for it, and nobody
    /// waits longer.
    #[inline]
    pub(crate) fn has_turn(&self, sender: WorldId) -> bool {
        self.held.is_empty() && self.waiters.front().is_none_or(|first| *first == sender)
    }

    /// Puts a record into the inbox if there is room and nothing waits before it.
    pub(crate) fn put(&mut self, header: &RawHeader, payload: &[u8]) -> Result<(), ReserveError> {
        let slot = self.endpoint.reserve(payload.len())?;
        self.endpoint.mine_mut().set_streaming(false);
        self.endpoint.mine_mut().copy_in(slot.payload_offset(), payload);
        self.endpoint.commit(&slot, header);
        self.starts.mark(slot.offset(), header.stride());
        self.received += 1;
        Ok(())
    }

    /// Moves a record's payload from where it lies in another world's outbox straight into the inbox, and says where it is there.
    #[inline]
    pub(crate) fn take_over(&mut self, from: &ReadOnly, at: u32, header: &RawHeader) -> Result<u32, ReserveError> {
        let bytes = header.length() as usize;
        let slot = self.endpoint.reserve(bytes)?;
        // A few small records are with their reader sooner by way of the cache.
        let streams = self.is_far && self.endpoint.staged() + header.length() >= STREAMED_BYTES;
        self.endpoint.mine_mut().set_streaming(streams);
        transfer(from, at, self.endpoint.mine_mut(), slot.payload_offset(), bytes);
        self.endpoint.commit(&slot, header);
        self.starts.mark(slot.offset(), header.stride());
        self.received += 1;
        Ok(slot.payload_offset())
    }

    /// What of a payload can be shown that a world sent to this one, and that is in its inbox at this place.
    pub(super) fn shown(&self, sender: &Self, at: u32) -> Shown<'_> {
        match sender.shows_payload && self.shows_payload {
            true => Shown::Delivered(self.endpoint.mine(), at),
            false => Shown::Nothing,
        }
    }

    /// Copies payload out of the outbox.
    pub(crate) fn copy_out(&self, at: u32, to: &mut [u8]) {
        self.endpoint.theirs().copy_out(at, to);
    }

    /// Bytes of its inbox that the world has released, as far as it was looked at.
    pub(crate) fn consumed(&self) -> u64 {
        self.endpoint.consumed()
    }

    /// Wakes the world if it sleeps for what happened.
    pub(crate) fn ring(&mut self, event: Event) {
        let via = self.endpoint.ring_for(event);
        self.tally.wakeups += u64::from(via.is_some());
        match via {
            Some(Via::Futex) => wake::futex_wake(&self.endpoint.mine().control().bell),
            Some(Via::Fd) => wake::ring_pipe(self.wakeup.as_fd()),
            None => {}
        }
    }

    /// What there is to be told of it but what others know: who owes it what, and its links.
    pub(super) fn count(&mut self) -> Counters {
        // A cursor that can't be true is found again, and acted on, in the next pass.
        let _ = (self.endpoint.room(), self.endpoint.hear_produced());
        Counters {
            sent: self.sequence,
            sent_bytes: self.endpoint.read_to(),
            received: self.received,
            received_bytes: self.endpoint.written(),
            unread_bytes: self.endpoint.written() - self.endpoint.consumed(),
            untaken_bytes: self.endpoint.heard_to() - self.endpoint.read_to(),
            held_records: self.held.len() as u64,
            held_bytes: self.held_bytes,
            budget_bytes: self.budget_bytes,
            open_requests: self.open_requests.into(),
            denied: self.tally.denied,
            returned: self.tally.returned,
            waits: self.tally.waits,
            waits_for: self.blocked.map_or(0, |blocked| blocked.on.0),
            waiters: self.waiters.len() as u64,
            stops: self.stops.iter().flatten().count() as u64,
            wakeups: self.tally.wakeups,
            rings: self.tally.rings,
            parcels: self.holdings.count().into(),
            parcel_bytes: self.holdings.bytes(),
            linked_bytes: self.linked_bytes,
            ..Counters::default()
        }
    }
}
