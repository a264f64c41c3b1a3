//! Direct links: a pair of slices that this world shares with another, past the switch.
//!
//! The other side is as hostile as any world is to the switch: what it writes is copied out once and judged as a copy. That a record is
//! from it holds because nobody else can write its slice; whatever it says of its source is written over. What it writes that can't be true
//! ends the link, and nothing else.
//!
//! Which way a record goes is settled here, and changes as often as need be without a change of the order (`strait_protocol::crossing`).

use crate::client::Delivery;
use crate::record::answers_over_link;
use crate::sending::STREAMED_BYTES;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_memory::{ReadOnly, Writable};
use strait_protocol::crossing::Crossing;
use strait_protocol::wait::{Event, Via};
use strait_protocol::{
    Corrupt, Endpoint, FLAG_MARK, FLAG_MORE, FLAG_PACKED, FLAG_PARCEL, Header, Kind, LINKED, RawHeader, Reason,
    SliceMemory, WorldId, WritableMemory,
};
use strait_sys::wake;

/// Records from one source before the next has its turn.
const BATCH: u32 = 64;
/// Looks at what there is between two looks at the clock, while requests are open.
const LOOKS_PER_CLOCK: u32 = 64;
/// Looks before yielding, at most: KERNEL_FACTS, a direct pair.
const SPINS: u32 = 200;
/// Waits between two trials of looking, where it didn't help.
const WAITS_PER_TRIAL: u32 = 32;
/// Looks that find nothing before the ring is given back whole.
const IDLE_LOOKS: u32 = 64;
/// Bytes of a batch that are shown at the latest.
const SHOWN_BYTES: u32 = 4096;
/// Shows between two looks at where the two sides run.
const SHOWS_PER_PLACE: u32 = 16;
/// Room in the ring that is always left, for END.
const END_BYTES: usize = Header::BYTES as usize;

/// A link that is being made: our slice is mapped and sealed.
#[derive(Debug)]
pub(crate) struct Offered {
    pub number: u32,
    pub peer: WorldId,
    pub mine: Writable,
    pub bells: Bells,
}

/// How the two sides wake each other where one polls.
#[derive(Debug)]
pub(crate) struct Bells {
    /// Rung by the other side.
    pub own: OwnedFd,
    /// Rings the other side.
    pub peers: OwnedFd,
    /// The other end of `peers`: with a reader that is ours, to ring is never an error or a signal.
    pub _anchor: OwnedFd,
}

#[derive(Debug)]
pub(crate) struct Link {
    pub number: u32,
    pub peer: WorldId,
    pub endpoint: Endpoint<Writable, ReadOnly>,
    pub bells: Bells,
    /// What we send goes over it.
    pub is_direct: bool,
    /// Nothing more is to go over it.
    pub is_closing: bool,
    /// It is gone, as soon as what is left was read; and what is told to those who wait.
    pub gone: Option<Gone>,
    pub crossing: Crossing,
    sent: u64,
    received: u64,
    /// Looks in a row that found nothing.
    idle: u32,
    /// The other side runs on another processor, as far as is known; asked for now and then.
    is_far: bool,
    writes: u32,
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gone {
    pub reason: Reason,
    /// What the other side hasn't read, it won't.
    pub is_unread_lost: bool,
}

/// A request that went over a link.
#[derive(Clone, Copy, Debug)]
struct Asked {
    link: u32,
    peer: WorldId,
    deadline: Instant,
    sequence: u64,
    tag: u64,
}

/// Which way a record goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Way {
    /// There is no link to choose.
    Plain,
    /// Over this link.
    Link(usize),
    /// Through the switch, though there is this link.
    Switch(usize),
    /// Its way is gone.
    Nowhere,
    /// It can only go over a link, which takes no more than so many bytes at once.
    TooLarge(usize),
}

/// What a look at a link found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Nothing,
    /// A record: its header and payload are where the caller wanted them.
    Record,
    /// Something that can't be true.
    Corrupt(Corrupt),
}

#[derive(Debug, Default)]
pub(crate) struct Links {
    pub offered: Vec<Offered>,
    pub all: Vec<Link>,
    asked: HashMap<u64, Asked>,
    /// The earliest deadline of those, or earlier.
    next_deadline: Option<Instant>,
    looks: u32,
    /// What became of what went over links.
    pub notices: VecDeque<Header>,
    /// Whose turn it is to be read: 0 is the inbox; and how many records more.
    turn: usize,
    left: u32,
    /// What is sent now is part of a batch.
    pub delivery: Delivery,
    /// The link that the last record went over.
    last: usize,
    /// How often it pays to look before yielding, as far as is known; and how many times something was waited for.
    spins: u32,
    waits: u32,
}

impl Link {
    pub(crate) fn new(offered: Offered, theirs: ReadOnly) -> Self {
        let Offered { number, peer, mine, bells } = offered;
        let endpoint = Endpoint::new(mine, theirs);
        let (is_direct, is_closing, gone) = (false, false, None);
        Self {
            number,
            peer,
            endpoint,
            bells,
            is_direct,
            is_closing,
            gone,
            crossing: Crossing::Closed,
            sent: 0,
            received: 0,
            idle: 0,
            is_far: false,
            writes: 0,
        }
    }

    /// Sequence numbers over this link start behind this one.
    #[inline]
    fn base(&self) -> u64 {
        LINKED | u64::from(self.number & 0x7f_ffff) << 40
    }

    /// Bytes of payload that one record can have.
    #[inline]
    fn max_payload(&self) -> usize {
        self.endpoint.max_payload() as usize - END_BYTES
    }

    /// Writes a record if there is room; of a batch, it may be shown later. Returns its sequence number.
    #[inline]
    pub(crate) fn put(
        &mut self,
        header: &Header,
        payload: &[u8],
        delivery: Delivery,
    ) -> Result<u64, strait_protocol::ReserveError> {
        // Longer than it will be, so that there is always room for END.
        let slot = self.endpoint.reserve(payload.len() + END_BYTES)?;
        // As on the way to the switch: much at once goes past the cache, if the other side runs elsewhere.
        let streams = self.is_far && (delivery == Delivery::Later || payload.len() >= STREAMED_BYTES);
        self.endpoint.mine_mut().set_streaming(streams);
        self.endpoint.mine_mut().copy_in(slot.payload_offset(), payload);
        self.endpoint.commit(&slot, &RawHeader::from(&Header { length: payload.len() as u32, ..*header }));
        self.sent += 1;
        if delivery == Delivery::Now || self.endpoint.staged() >= SHOWN_BYTES {
            self.show();
        }
        Ok(self.base() + self.sent)
    }

    /// Shows the other side what was written.
    #[inline]
    pub(crate) fn show(&mut self) {
        if self.endpoint.publish() {
            self.ring(Event::DATA);
            self.writes = self.writes.wrapping_add(1);
            if self.writes.is_multiple_of(SHOWS_PER_PLACE) {
                let here = wake::processor();
                self.endpoint.announce(here);
                self.is_far = self.endpoint.is_far_from(here);
            }
        }
    }

    /// Writes END, for which there is room. Returns the place behind it.
    pub(crate) fn end(&mut self) -> u64 {
        self.endpoint.mine_mut().set_streaming(false);
        let header = Header { flags: FLAG_MARK, ..Header::new(Kind::Message, self.peer, 0) };
        if let Ok(slot) = self.endpoint.reserve(0) {
            self.endpoint.commit(&slot, &RawHeader::from(&header));
            self.endpoint.publish();
            self.ring(Event::DATA);
        }
        self.is_direct = false;
        self.endpoint.written_to()
    }

    #[inline]
    pub(crate) fn ring(&mut self, event: Event) {
        match self.endpoint.ring_for(event) {
            None => {}
            Some(Via::Futex) => wake::futex_wake(&self.endpoint.mine().control().bell),
            Some(Via::Fd) => wake::ring_pipe(self.bells.peers.as_fd()),
        }
    }

    /// Sleeps until there may be room. Whose user polls meanwhile leaves the ring there for it.
    pub(crate) fn sleep_for_room(&mut self, bytes: usize, at_most: Duration, is_polled: bool) {
        let via = if is_polled { Via::Fd } else { Via::Futex };
        let bell = self.endpoint.arm(Event::ANY, via);
        let has_room = self.endpoint.reserve(bytes).is_ok();
        if is_polled {
            let already = wake::wait_readable(self.bells.own.as_fd(), Some(Duration::ZERO)).unwrap_or(true);
            match already {
                _ if has_room => {}
                true => std::thread::sleep(Duration::from_millis(1)),
                // An error is looked at again soon: the wait is bounded.
                false => drop(wake::wait_readable(self.bells.own.as_fd(), Some(at_most))),
            }
            return;
        }
        if !has_room {
            wake::futex_wait(&self.endpoint.theirs().control().bell, bell, Some(at_most));
        }
        self.endpoint.disarm();
    }

    /// Gives the other side its ring back: all of it when there is nothing left to read, else a good deal at a time.
    #[inline]
    pub(crate) fn give_back(&mut self, caught_up: bool) {
        let unreleased = self.endpoint.unreleased();
        if unreleased > 0 && (caught_up || unreleased >= self.endpoint.theirs().ring_bytes() / 8) {
            self.endpoint.announce(wake::processor());
            let event = self.endpoint.release();
            self.ring(event);
        }
    }

    /// Whether there may be something to read.
    pub(crate) fn has_data(&mut self) -> bool {
        // What can't be true is something to read: it is found again then.
        self.crossing.may_read() && self.endpoint.hear_produced().unwrap_or(true)
    }

    /// Bytes that the other side says it has published.
    pub(crate) fn published(&mut self) -> Result<u64, Corrupt> {
        self.endpoint.hear_produced()?;
        Ok(self.endpoint.heard_to())
    }

    /// The next record, copied: its header as `own` may believe it, and its payload.
    #[inline]
    fn take(&mut self, own: WorldId, header: &mut RawHeader, payload: &mut Vec<u8>) -> Look {
        if !self.crossing.may_read() {
            return Look::Nothing;
        }
        match self.endpoint.fetch() {
            Err(corrupt) => return Look::Corrupt(corrupt),
            Ok(false) => {
                // Not at once: the other side looks at the same line for each record that it writes.
                self.idle = self.idle.saturating_add(1);
                if self.idle == IDLE_LOOKS {
                    self.give_back(true);
                }
                return Look::Nothing;
            }
            Ok(true) => {}
        }
        let head = self.endpoint.head();
        let (kind, length, stride) = (head.kind(), head.length() as usize, head.stride());
        if matches!(kind, Kind::Notice | Kind::Multicast) {
            return Look::Corrupt(Corrupt::Forged);
        }
        if head.flags() & FLAG_MARK != 0 {
            self.endpoint.pass(stride);
            self.crossing.end();
            self.give_back(true);
            return Look::Nothing;
        }
        self.idle = 0;
        self.received += 1;
        *header = head.over_link(self.peer, own, self.base() + self.received);
        payload.resize(length, 0);
        self.endpoint.theirs().copy_out(self.endpoint.head_payload(), payload);
        self.endpoint.pass(stride);
        self.crossing.read(self.endpoint.read_to());
        self.give_back(false);
        Look::Record
    }
}

impl Links {
    /// Whether there is nothing to be looked at beside the inbox.
    #[inline]
    pub(crate) fn is_quiet(&self) -> bool {
        self.all.is_empty() && self.notices.is_empty() && self.asked.is_empty()
    }

    #[inline]
    pub(crate) fn is_linked(&self) -> bool {
        !self.all.is_empty()
    }

    /// How often to look for something before yielding. With the other side on another processor it is there in no time; on the same one it
    /// can't come before we yield. Which it is shows in whether looking helped; now and then it is tried anew.
    #[inline]
    pub(crate) fn spins(&mut self) -> u32 {
        if self.all.is_empty() {
            return 0;
        }
        self.waits = self.waits.wrapping_add(1);
        if self.waits.is_multiple_of(WAITS_PER_TRIAL) { SPINS } else { self.spins }
    }

    /// Something was there after so many looks.
    #[inline]
    pub(crate) fn found(&mut self, looks: u32, spins: u32) {
        if looks > spins {
            self.spins /= 2;
        } else if looks > 0 {
            self.spins = SPINS;
        }
    }

    pub(crate) fn at(&self, number: u32) -> Option<usize> {
        self.all.iter().position(|link| link.number == number)
    }

    #[inline]
    fn to(&self, peer: WorldId) -> Option<usize> {
        let is_to = |link: &Link| link.peer == peer && link.gone.is_none();
        match self.all.get(self.last) {
            Some(link) if is_to(link) => Some(self.last),
            _ => self.all.iter().position(is_to),
        }
    }

    pub(crate) fn to_peer(&self, peer: WorldId) -> Option<&Link> {
        self.to(peer).map(|at| &self.all[at])
    }

    pub(crate) fn to_peer_mut(&mut self, peer: WorldId) -> Option<&mut Link> {
        self.to(peer).map(|at| &mut self.all[at])
    }

    /// Which way a record goes that is to be sent.
    #[inline]
    pub(crate) fn way(&mut self, header: &Header, payload_bytes: usize) -> Way {
        let is_linked_reply = answers_over_link(header);
        let Some(at) = self.to(header.destination) else {
            return if is_linked_reply { Way::Nowhere } else { Way::Plain };
        };
        self.last = at;
        let link = &self.all[at];
        if header.kind == Kind::Reply {
            let is_of_link = is_linked_reply && header.sequence & !0xff_ffff_ffff == link.base();
            return match (is_linked_reply, is_of_link && !link.is_closing) {
                (true, true) if payload_bytes <= link.max_payload() => Way::Link(at),
                (true, true) => Way::TooLarge(link.max_payload()),
                (true, _) => Way::Nowhere,
                (false, _) => Way::Switch(at),
            };
        }
        let is_special = header.flags & (FLAG_PARCEL | FLAG_MORE | FLAG_PACKED) != 0 || header.stream != 0;
        match is_special || link.is_closing || payload_bytes > link.max_payload() {
            true => Way::Switch(at),
            false => Way::Link(at),
        }
    }

    /// One more record from whose turn it is; or, if there is none or it has had its share, the next one's turn.
    #[inline]
    pub(crate) fn count_turn(&mut self, found: bool) {
        if found && self.left > 0 {
            self.left -= 1;
        } else {
            self.turn = if self.turn >= self.all.len() { 0 } else { self.turn + 1 };
            self.left = BATCH;
        }
    }

    /// Whether something comes before what is next in the inbox, or is over.
    #[inline]
    pub(crate) fn is_urgent(&self) -> bool {
        !self.notices.is_empty() || self.all.iter().any(|link| link.gone.is_some() || link.crossing.must_read())
    }

    /// The link that must be read before anything else.
    #[inline]
    pub(crate) fn must_read(&self) -> Option<usize> {
        self.all.iter().position(|link| link.crossing.must_read())
    }

    /// The next record of a link; of a reply, if it answers something.
    #[inline]
    pub(crate) fn take(&mut self, at: usize, own: WorldId, header: &mut RawHeader, payload: &mut Vec<u8>) -> Look {
        loop {
            let link = &mut self.all[at];
            let look = link.take(own, header, payload);
            if look != Look::Record || header.kind() != Kind::Reply || self.is_answered(at, header.correlation()) {
                return look;
            }
        }
    }

    #[inline]
    pub(crate) fn turn(&self) -> usize {
        self.turn
    }

    // --- requests ---

    /// A request goes over a link. It ends in a reply, or we end it.
    pub(crate) fn ask(&mut self, at: usize, header: &Header, sequence: u64, deadline: Instant) {
        let Link { number, peer, .. } = self.all[at];
        let asked = Asked { link: number, peer, deadline, sequence, tag: header.tag };
        self.asked.insert(header.correlation, asked);
        self.next_deadline = Some(self.next_deadline.map_or(deadline, |next| next.min(deadline)));
    }

    #[inline]
    fn is_answered(&mut self, at: usize, correlation: u64) -> bool {
        let number = self.all[at].number;
        match self.asked.get(&correlation) {
            Some(asked) if asked.link == number => self.asked.remove(&correlation).is_some(),
            _ => false,
        }
    }

    /// When something is to be looked at even if nobody rings.
    pub(crate) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline.filter(|_| !self.asked.is_empty())
    }

    /// Ends the requests whose deadline has passed. The clock is asked now and then, or when there is time for it.
    #[inline]
    pub(crate) fn end_overdue(&mut self, has_time: bool) {
        if self.asked.is_empty() {
            return;
        }
        self.looks += 1;
        if has_time || self.looks.is_multiple_of(LOOKS_PER_CLOCK) {
            self.end_overdue_at(Instant::now());
        }
    }

    #[cold]
    fn end_overdue_at(&mut self, now: Instant) {
        if self.next_deadline.is_some_and(|next| next <= now) {
            self.end_asked(Reason::Deadline, |asked| asked.deadline <= now);
            self.next_deadline = self.asked.values().map(|asked| asked.deadline).min();
        }
    }

    fn end_asked(&mut self, reason: Reason, which: impl Fn(&Asked) -> bool) {
        let mut ended: Vec<(u64, Asked)> =
            self.asked.iter().map(|(key, asked)| (*key, *asked)).filter(|(_, asked)| which(asked)).collect();
        ended.sort_unstable_by_key(|(_, asked)| asked.sequence);
        for (correlation, asked) in ended {
            self.asked.remove(&correlation);
            let mut about = Header::new(Kind::Request, asked.peer, 0);
            (about.correlation, about.sequence, about.tag) = (correlation, asked.sequence, asked.tag);
            self.notify(&about, reason);
        }
    }

    /// The notice that the switch would make.
    pub(crate) fn notify(&mut self, about: &Header, reason: Reason) {
        let mut notice = Header::new(Kind::Notice, WorldId::SWITCH, 0);
        (notice.source, notice.code, notice.flags) = (about.destination, reason as u16, about.kind as u8);
        (notice.correlation, notice.sequence, notice.tag) = (about.correlation, about.sequence, about.tag);
        self.notices.push_back(notice);
    }

    /// A link is over: who waits for something of it is told.
    pub(crate) fn finish(&mut self, at: usize, gone: Gone) {
        let mut link = self.all.swap_remove(at);
        (self.turn, self.left, self.last) = (0, BATCH, 0);
        link.give_back(true);
        if gone.is_unread_lost {
            let unread = link.endpoint.unread().unwrap_or_default();
            let first = link.sent
                - (unread.iter().filter(|record| record.flags() & FLAG_MARK == 0).count() as u64).min(link.sent);
            let records = unread.iter().filter(|record| record.flags() & FLAG_MARK == 0);
            for (n, record) in records.enumerate().filter(|(_, record)| record.kind() == Kind::Message) {
                let about =
                    Header { destination: link.peer, sequence: link.base() + first + n as u64 + 1, ..record.header() };
                self.notify(&about, gone.reason);
            }
        }
        let number = link.number;
        self.end_asked(gone.reason, |asked| asked.link == number);
    }
}
