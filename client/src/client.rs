//! The client itself: sending, receiving, waiting.

use crate::assembly::Assembly;
use crate::connect::{self, Connection};
use crate::error::{Error, call};
use crate::intake::{Raw, Unpacking, Wait};
use crate::lane::Lane;
use crate::link::Links;
use crate::outflow::Outflow;
use crate::parcel::Parcels;
use crate::record::{Draft, Record, Reply};
use rustix::event::epoll;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};
use strait_memory::{Inbox, Writable};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{
    Endpoint, Header, Kind, MAX_RECEIVERS, Name, RawHeader, Reason, ReserveError, SliceMemory, Slot, WorldId,
    WritableMemory,
};
use strait_sys::wake;

/// How often a party yields and looks again before it sleeps. A wake across cores costs tens of
/// microseconds, a yield well under one; measured in docs/performance.md.
const LOOKS: u32 = 50;
/// From this length on, a payload for a switch on another processor is written past the cache.
pub(crate) const STREAMED_BYTES: usize = 1024;
/// How often a host program that waits makes sure that the broker is alive. (A jailed world needn't: it dies with it.)
const HEARTBEAT: Duration = Duration::from_secs(1);
/// What a `request` grants the switch beyond the deadline before it takes the broker for dead.
const GRACE: Duration = Duration::from_secs(5);

/// Whether a record is shown to the switch at once.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// At once.
    #[default]
    Now,
    /// With the next that is sent at once, or at [`Client::flush`].
    Later,
}

/// A world's or host program's connection to the switch.
#[derive(Debug)]
pub struct Client {
    pub(crate) endpoint: Endpoint<Writable, Inbox>,
    bell: OwnedFd,
    wakeup: OwnedFd,
    pub(crate) lane: Lane,
    pub(crate) parcels: Parcels,
    pub(crate) links: Links,
    /// The record that comes next is not at the head of the inbox, but in `handed`: it came over a link, or is our own notice.
    pub(crate) is_handed: bool,
    /// For a world that may have links and polls: what there is to be polled, in one.
    epoll: Option<OwnedFd>,
    pub(crate) may_link: bool,
    socket: OwnedFd,
    pub(crate) own_id: WorldId,
    name: Name,
    outlives_broker: bool,
    /// Bytes of inbox that the record takes that was handed out last: read, but not yet given back. 0 for none.
    current: u32,
    /// What arrived while a request waited.
    pub(crate) aside: VecDeque<(Header, Vec<u8>)>,
    pub(crate) aside_bytes: usize,
    /// Header and payload of the record that was handed out last, where they aren't those at the head of the inbox.
    pub(crate) handed: RawHeader,
    pub(crate) handed_payload: Vec<u8>,
    pub(crate) assembly: Assembly,
    pub(crate) unpacking: Unpacking,
    /// Streams that were begun.
    pub(crate) streams: u32,
    pub(crate) cause: u64,
    sent: u64,
    outflow: Outflow,
    /// Where messages are packed; kept for the next time.
    pub(crate) packing: Vec<u8>,
    asked: u64,
    polls: bool,
    armed: bool,
    /// Who polls waits for room too.
    #[cfg(feature = "tokio")]
    pub(crate) awaits_room: bool,
    patience: Option<Duration>,
    pub(crate) names: HashMap<Name, WorldId>,
}

impl Client {
    /// Takes up the connection that was made for this world before its program started. Once per process.
    pub fn open() -> Result<Self, Error> {
        connect::open().map(|connection| Self::new(connection, false))
    }

    /// Attaches a host program to the broker that listens at `socket`, under a name that policy gives to our uid.
    pub fn attach(socket: impl AsRef<Path>, name: &str) -> Result<Self, Error> {
        connect::attach(socket.as_ref(), name.parse()?).map(|connection| Self::new(connection, true))
    }

    /// Takes up a connection whose other end the broker already has: for programs that embed the broker.
    pub fn adopt(connection: OwnedFd) -> Result<Self, Error> {
        connect::adopt(connection).map(|connection| Self::new(connection, true))
    }

    fn new(connection: Connection, outlives_broker: bool) -> Self {
        let Connection { welcome, endpoint, bell, wakeup, lane, socket } = connection;
        Self {
            endpoint,
            bell,
            wakeup,
            lane: Lane::new(lane),
            parcels: Parcels::default(),
            links: Links::default(),
            is_handed: false,
            epoll: None,
            may_link: welcome.links,
            socket,
            own_id: welcome.id,
            name: welcome.name,
            outlives_broker,
            current: 0,
            aside: VecDeque::new(),
            aside_bytes: 0,
            handed: RawHeader::from(&Header::new(Kind::Message, welcome.id, 0)),
            handed_payload: Vec::new(),
            assembly: Assembly::default(),
            unpacking: Unpacking::default(),
            streams: 0,
            cause: 0,
            sent: 0,
            outflow: Outflow::new(),
            packing: Vec::new(),
            asked: 0,
            polls: false,
            armed: false,
            #[cfg(feature = "tokio")]
            awaits_room: false,
            patience: None,
            names: HashMap::new(),
        }
    }

    /// Our id.
    pub fn id(&self) -> WorldId {
        self.own_id
    }

    /// Our name.
    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The largest payload that one record can carry, in bytes.
    pub fn max_payload(&self) -> u32 {
        self.endpoint.max_payload() - Outflow::kept(self.endpoint.mine().ring_bytes())
    }

    /// Bounds how long any send may wait for room: after that it is [`Error::Full`]. Without a bound, the default, it waits
    /// as long as it takes.
    pub fn set_patience(&mut self, patience: Option<Duration>) {
        self.patience = patience;
    }

    pub(crate) fn is_armed(&self) -> bool {
        self.armed
    }

    pub(crate) fn patience(&self) -> Option<Duration> {
        self.patience
    }

    // --- sending ---

    /// Sends a message of any length, waiting for room in the outbox if need be. Returns its sequence number, which a notice
    /// about it would carry.
    ///
    /// What is larger than [`max_payload`](Self::max_payload) goes in pieces. It arrives whole or not at all; if waiting for room ends in an
    /// error half way, the receiver is told that it is incomplete.
    #[inline]
    pub fn send(&mut self, to: WorldId, payload: &[u8]) -> Result<u64, Error> {
        self.put(Header::new(Kind::Message, to, 0), payload, None)
    }

    /// Sends a message, or says [`Error::Full`] at once. What is larger than [`max_payload`](Self::max_payload) can't go without
    /// waiting and is [`Error::TooLarge`].
    pub fn try_send(&mut self, to: WorldId, payload: &[u8]) -> Result<u64, Error> {
        let max_bytes = self.max_payload();
        if payload.len() > max_bytes as usize {
            return Err(Error::TooLarge { payload_bytes: payload.len(), max_bytes });
        }
        self.put(Header::new(Kind::Message, to, 0), payload, Some(Instant::now()))
    }

    /// Sends a message, waiting for room until the deadline at most, then says [`Error::Full`]. Then nothing of it arrives, whatever
    /// its length.
    pub fn send_before(&mut self, deadline: Instant, to: WorldId, payload: &[u8]) -> Result<u64, Error> {
        self.put(Header::new(Kind::Message, to, 0), payload, Some(deadline))
    }

    /// Sends one message to several receivers, of which there may be 64: written once, copied by the switch to each. Waits for room as
    /// [`send`](Self::send) does, and until none of them is known to take no more for now. Each is judged by itself: a notice with
    /// this sequence number says who could not be reached.
    pub fn multicast(&mut self, to: &[WorldId], payload: &[u8]) -> Result<u64, Error> {
        self.multicast_as(to, 0, payload)
    }

    pub(crate) fn multicast_as(&mut self, to: &[WorldId], flags: u8, payload: &[u8]) -> Result<u64, Error> {
        let receivers = u32::try_from(to.len()).ok().filter(|count| (1..=MAX_RECEIVERS).contains(count));
        let receivers = receivers.ok_or(Error::Receivers { given: to.len() })?;
        let ids = (to.len() * 8).next_multiple_of(16);
        for receiver in to {
            self.settle(*receiver)?;
            self.wait_until_open(*receiver)?;
        }
        let destination = WorldId(u64::from(receivers));
        let slot = self.reserve(WorldId::SWITCH, ids + payload.len(), None)?;
        let header = Header { flags, ..Header::new(Kind::Multicast, destination, slot.payload_bytes()) };
        let bytes = self.payload_mut(&slot);
        let (places, _) = bytes.as_chunks_mut::<8>();
        for (index, place) in places[..ids / 8].iter_mut().enumerate() {
            *place = to.get(index).map_or(0, |id| id.0).to_ne_bytes();
        }
        bytes[ids..].copy_from_slice(payload);
        self.commit(&slot, &header, Delivery::Now)
    }

    /// Waits while the switch says that a receiver takes no more.
    fn wait_until_open(&mut self, receiver: WorldId) -> Result<(), Error> {
        match self.endpoint.is_stopped(receiver) {
            true => self.reserve(receiver, 0, None).map(drop),
            false => Ok(()),
        }
    }

    /// Answers a request. `code` 0 is success; other codes are the application's.
    pub fn reply(&mut self, request: &Header, code: u16, payload: &[u8]) -> Result<u64, Error> {
        self.put(Self::reply_header(request, code), payload, None)
    }

    pub(crate) fn reply_header(request: &Header, code: u16) -> Header {
        // The sequence number tells which way the request came, and so which way the reply goes.
        let Header { source, correlation, tag, sequence, .. } = *request;
        Header { correlation, code, tag, sequence, ..Header::new(Kind::Reply, source, 0) }
    }

    /// Sends a request and returns its correlation id: the reply, or the notice that there is none, comes by
    /// [`receive`](Self::receive) with that id. Within `timeout`, or 49 days at most; waiting for room in the outbox takes no
    /// longer than that either.
    pub fn start_request(&mut self, to: WorldId, payload: &[u8], timeout: Duration) -> Result<u64, Error> {
        let header = self.request_header(to, timeout);
        self.put(header, payload, Instant::now().checked_add(timeout))?;
        Ok(header.correlation)
    }

    pub(crate) fn request_header(&mut self, to: WorldId, timeout: Duration) -> Header {
        self.asked += 1;
        let mut header = Header::new(Kind::Request, to, 0);
        header.correlation = self.asked;
        header.timeout_ms = u32::try_from(timeout.as_millis()).unwrap_or(u32::MAX).max(1);
        header
    }

    /// Begins a request in place in the outbox; its correlation id is in the draft's header.
    pub fn draft_request(&mut self, to: WorldId, payload_bytes: usize, timeout: Duration) -> Result<Draft<'_>, Error> {
        self.settle(to)?;
        let slot = self.reserve(to, payload_bytes, Instant::now().checked_add(timeout))?;
        let header = Header { length: slot.payload_bytes(), ..self.request_header(to, timeout) };
        Ok(Draft { client: self, slot, header })
    }

    /// Sends a request and waits for its answer. What else arrives meanwhile is kept for later receives; after
    /// [`Error::TooMuchArrived`] it still is, and the answer comes by a receive too.
    pub fn request(&mut self, to: WorldId, payload: &[u8], timeout: Duration) -> Result<Reply, Error> {
        let correlation = self.start_request(to, payload, timeout)?;
        let mut wait = Wait::until(Instant::now() + timeout + GRACE);
        loop {
            let found = self.take(Raw::No, &mut wait)?.ok_or(Error::BrokerGone)?;
            let header = self.header_of(&found).header();
            match header.kind {
                Kind::Reply if header.correlation == correlation => {
                    return Ok(Reply { header, payload: self.own_payload(&found) });
                }
                Kind::Notice if RawHeader::from(&header).ends_request(correlation) => {
                    let reason = Reason::from_code(header.code).ok_or(Error::Unexpected)?;
                    return Err(Error::Undelivered { to, reason });
                }
                _ => self.put_aside(&found)?,
            }
        }
    }

    /// Begins a record in place in the outbox, waiting for room if need be: fill the payload, then send it.
    pub fn draft(&mut self, kind: Kind, to: WorldId, payload_bytes: usize) -> Result<Draft<'_>, Error> {
        self.settle(to)?;
        let header = Header::new(kind, to, 0);
        let slot = self.reserve(window_of(&header), payload_bytes, None)?;
        let header = Header { length: slot.payload_bytes(), ..header };
        Ok(Draft { client: self, slot, header })
    }

    /// Begins the answer to a request in place. `code` 0 is success; other codes are the application's.
    pub fn draft_reply(&mut self, request: &Header, code: u16, payload_bytes: usize) -> Result<Draft<'_>, Error> {
        let mut draft = self.draft(Kind::Reply, request.source, payload_bytes)?;
        draft.header = Header { length: draft.header.length, ..Self::reply_header(request, code) };
        Ok(draft)
    }

    /// Shows the switch whatever was staged.
    #[inline]
    pub fn flush(&mut self) {
        if self.endpoint.publish() {
            self.ring(Event::DATA);
        }
    }

    #[inline]
    pub(crate) fn put(&mut self, header: Header, payload: &[u8], deadline: Option<Instant>) -> Result<u64, Error> {
        match self.links.is_linked() {
            true => self.put_somewhere(header, payload, deadline),
            false => self.put_in_outbox(header, payload, deadline),
        }
    }

    /// Sends a record through the switch.
    #[inline]
    pub(crate) fn put_in_outbox(
        &mut self,
        mut header: Header,
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Result<u64, Error> {
        let slot = match self.reserve(window_of(&header), payload.len(), deadline) {
            Err(Error::TooLarge { .. }) => return self.put_pieces(header, payload, deadline),
            other => other?,
        };
        header.length = slot.payload_bytes();
        self.fill(&slot, 0, payload);
        self.commit(&slot, &header, Delivery::Now)
    }

    /// Room for a record that counts in the window for `to` (see [`window_of`]), now or by the deadline.
    #[inline]
    pub(crate) fn reserve(
        &mut self,
        to: WorldId,
        payload_bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<Slot, Error> {
        match self.try_reserve(to, payload_bytes) {
            Err(Error::Full) => {
                let patience = self.patience.map(|time| Instant::now() + time);
                self.wait_for_room(to, payload_bytes, deadline.or(patience))
            }
            other => other,
        }
    }

    #[inline]
    fn try_reserve(&mut self, to: WorldId, payload_bytes: usize) -> Result<Slot, Error> {
        if payload_bytes > self.max_payload() as usize {
            return Err(Error::TooLarge { payload_bytes, max_bytes: self.max_payload() });
        }
        if self.endpoint.is_stopped(to) {
            return Err(Error::Full);
        }
        let beside = self.outflow.beside(to, self.endpoint.consumed(), self.endpoint.mine().ring_bytes());
        match self.endpoint.reserve_beside(payload_bytes, beside) {
            Err(ReserveError::Full) => Err(Error::Full),
            other => Ok(other?),
        }
    }

    fn wait_for_room(&mut self, to: WorldId, payload_bytes: usize, deadline: Option<Instant>) -> Result<Slot, Error> {
        self.make_way(to);
        self.flush();
        let mut looks = 0;
        loop {
            match self.try_reserve(to, payload_bytes) {
                Err(Error::Full) => {}
                other => return other,
            }
            if looks < LOOKS {
                looks += 1;
                wake::yield_now();
                continue;
            }
            if !self.sleep(Event::ROOM, deadline, Some((to, payload_bytes)))? {
                return Err(Error::Full);
            }
        }
    }

    /// If the outbox is full of records for one other receiver, which may be slow: puts a record for the switch itself behind them, that asks
    /// for nothing but makes them be somebody's obstacle, so that they are taken out.
    fn make_way(&mut self, to: WorldId) {
        if self.endpoint.is_stopped(to) || !self.outflow.is_all_for_another(to, self.endpoint.consumed()) {
            return;
        }
        if let Ok(slot) = self.endpoint.reserve(0) {
            let header = Header::new(Kind::Message, WorldId::SWITCH, 0);
            // Counted by the switch among our records like any other.
            let _ = self.commit(&slot, &header, Delivery::Now);
        }
    }

    /// Writes a reserved payload from a place on; much at once past the cache, if the switch is on another processor.
    #[inline]
    pub(crate) fn fill(&mut self, slot: &Slot, at: u32, payload: &[u8]) {
        let streams = payload.len() >= STREAMED_BYTES && self.endpoint.is_far_from(wake::processor());
        let outbox = self.endpoint.mine_mut();
        outbox.set_streaming(streams);
        outbox.copy_in(slot.payload_offset() + at, payload);
        outbox.set_streaming(false);
    }

    pub(crate) fn payload_mut(&mut self, slot: &Slot) -> &mut [u8] {
        self.endpoint.mine_mut().bytes_mut(slot.payload_offset(), slot.payload_bytes() as usize)
    }

    #[inline]
    pub(crate) fn commit(&mut self, slot: &Slot, header: &Header, delivery: Delivery) -> Result<u64, Error> {
        let header = Header { cause: self.cause, ..*header };
        self.outflow.note(header.destination, self.endpoint.written());
        self.endpoint.commit(slot, &RawHeader::from(&header));
        self.sent += 1;
        if delivery == Delivery::Now {
            self.flush();
        }
        Ok(self.sent)
    }

    // --- receiving ---

    /// The next record, or `None` when the time is over. Without a time, waits as long as it takes. What came in pieces is
    /// handed out whole, what came packed one by one.
    #[inline]
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Record<'_>>, Error> {
        if self.is_at_inbox() {
            let mut end = None;
            if !self.wait_for_data(timeout, &mut end)? {
                return Ok(None);
            }
            if self.is_plain() {
                return Ok(Some(self.record()));
            }
            return self.receive_head(Wait::For { time: timeout, end });
        }
        if self.aside.is_empty() && self.unpack() {
            return Ok(Some(self.item()));
        }
        self.receive_as(Raw::No, Wait::new(timeout))
    }

    /// The next record if one is there. Of a payload in pieces, what is there is gathered.
    #[inline]
    pub fn try_receive(&mut self) -> Result<Option<Record<'_>>, Error> {
        if self.is_at_inbox() {
            if !self.try_next()? {
                return Ok(None);
            }
            if self.is_plain() {
                return Ok(Some(self.record()));
            }
            return self.receive_head(Wait::Not);
        }
        if self.aside.is_empty() && self.unpack() {
            return Ok(Some(self.item()));
        }
        self.receive_as(Raw::No, Wait::Not)
    }

    /// Whether the record that comes next is taken as it is.
    #[inline]
    fn is_plain(&self) -> bool {
        if self.is_handed { self.handed.is_plain() } else { self.endpoint.head().is_plain() }
    }

    /// Whether what comes next is the next record of the inbox.
    #[inline]
    fn is_at_inbox(&self) -> bool {
        self.aside.is_empty() && !self.unpacking.is_under_way()
    }

    #[inline]
    pub(crate) fn try_next(&mut self) -> Result<bool, Error> {
        self.wake_from_poll()?;
        let mut found = self.next()?;
        if !found {
            self.give_back_parcels(true)?;
        }
        if !found && self.polls {
            self.arm(Event::DATA);
            self.arm_links();
            found = self.next()?;
        }
        Ok(found)
    }

    fn arm(&mut self, until: Event) {
        #[cfg(feature = "tokio")]
        let until = if self.awaits_room { until.or(Event::ROOM) } else { until };
        self.endpoint.arm(until, Via::Fd);
        self.armed = true;
    }

    /// Makes ready for a poll that isn't for data.
    #[cfg(feature = "tokio")]
    pub(crate) fn arm_without_data(&mut self) -> Result<(), Error> {
        self.wake_from_poll()?;
        self.arm(Event::NONE);
        Ok(())
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn has_room(&mut self, to: WorldId, payload_bytes: usize) -> bool {
        !matches!(self.try_reserve(to, payload_bytes), Err(Error::Full))
    }

    /// Correlation of the last request.
    #[cfg(feature = "tokio")]
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Gives the record that was received last back to the switch now, not only at the next receive: for a world that is going to
    /// be busy with something else.
    pub fn release(&mut self) {
        self.handed_payload = Vec::new();
        if !self.unpacking.is_under_way() {
            self.pass_current();
        }
        if self.endpoint.unreleased() > 0 {
            let event = self.endpoint.release();
            self.ring(event);
        }
    }

    /// A descriptor that becomes readable when a record arrives, for `poll(2)`, `epoll(7)` and the like. Poll it
    /// only after [`try_receive`](Self::try_receive) has said `None`; when it is readable, call that again until it does.
    pub fn poll_fd(&mut self) -> BorrowedFd<'_> {
        self.polls = true;
        if self.may_link && self.epoll.is_none() {
            self.epoll = self.watch_all();
        }
        self.epoll.as_ref().unwrap_or(&self.wakeup).as_fd()
    }

    /// One descriptor for the wakeup of the switch and the bells of all links. Without it, these go unheard until something else rings.
    fn watch_all(&self) -> Option<OwnedFd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
        for bell in std::iter::once(self.wakeup.as_fd()).chain(self.links.all.iter().map(|link| link.bells.own.as_fd()))
        {
            epoll::add(&epoll, bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN).ok()?;
        }
        Some(epoll)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_watching(&self) -> bool {
        self.epoll.is_some()
    }

    pub(crate) fn watch(&self, bell: BorrowedFd<'_>) -> Result<(), Error> {
        let added = self.epoll.as_ref().map(|epoll| {
            epoll::add(epoll, bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(call("epoll_ctl"))
        });
        added.unwrap_or(Ok(()))
    }

    pub(crate) fn unwatch(&self, bell: BorrowedFd<'_>) {
        if let Some(epoll) = &self.epoll {
            // The other side may have the pipe still: closing our end would not take it out of the set.
            let _ = epoll::delete(epoll, bell);
        }
    }

    fn wake_from_poll(&mut self) -> Result<(), Error> {
        if self.armed {
            self.armed = false;
            self.endpoint.disarm();
            self.disarm_links();
            if !wake::drain_pipe(self.wakeup.as_fd()) {
                return Err(Error::BrokerGone);
            }
        }
        Ok(())
    }

    /// The record at the head of the inbox. What is sent from now on is caused by it.
    #[inline]
    fn record(&mut self) -> Record<'_> {
        if std::mem::take(&mut self.is_handed) {
            self.cause = self.handed.sequence();
            return Record { raw: &self.handed, payload: &self.handed_payload, trailer: None, parcel: None };
        }
        let head = self.endpoint.head();
        self.cause = head.sequence();
        let payload = self.endpoint.theirs().bytes(self.endpoint.head_payload(), head.length() as usize);
        Record { raw: head, payload, trailer: None, parcel: None }
    }

    #[inline]
    pub(crate) fn wait_for_data(
        &mut self,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
    ) -> Result<bool, Error> {
        self.wake_from_poll()?;
        let (mut looks, spins) = (0, self.links.spins());
        loop {
            if self.next()? {
                self.links.found(looks, spins);
                return Ok(true);
            }
            if looks < spins {
                looks += 1;
                std::hint::spin_loop();
                continue;
            }
            if looks < spins + LOOKS {
                looks += 1;
                wake::yield_now();
                continue;
            }
            // The clock is asked only here: what is quick needs no clock.
            *deadline = deadline.or_else(|| timeout.map(|time| Instant::now() + time));
            self.give_back_parcels(true)?;
            if !self.sleep(Event::DATA, *deadline, None)? {
                return Ok(false);
            }
        }
    }

    /// Steps past the record that was handed out last and looks at the one behind it.
    #[inline]
    fn next(&mut self) -> Result<bool, Error> {
        match self.links.is_quiet() {
            true => Ok(self.next_of_inbox()? || !self.links.is_quiet() && self.next_of_all()?),
            false => self.next_of_all(),
        }
    }

    /// The same of the inbox alone.
    #[inline]
    pub(crate) fn next_of_inbox(&mut self) -> Result<bool, Error> {
        loop {
            self.pass_current();
            let found = self.endpoint.fetch()?;
            self.give_back(!found);
            self.current = if found { self.endpoint.head().stride() } else { 0 };
            if !found || self.endpoint.head().stream() == 0 || !self.take_in()? {
                return Ok(found);
            }
            // What was taken in may say that something else comes first.
            if self.links.is_urgent() {
                self.pass_current();
                return Ok(false);
            }
        }
    }

    #[inline]
    fn pass_current(&mut self) {
        self.endpoint.pass(std::mem::take(&mut self.current));
    }

    /// Gives the switch its ring back: all of it when there is nothing left to read, else a good deal at a time.
    #[inline]
    fn give_back(&mut self, caught_up: bool) {
        let unreleased = self.endpoint.unreleased();
        if unreleased > 0 && (caught_up || unreleased >= self.endpoint.theirs().ring_bytes() / 8) {
            self.endpoint.announce(wake::processor());
            let event = self.endpoint.release();
            self.ring(event);
        }
    }

    // --- waiting ---

    fn ring(&mut self, event: Event) {
        if self.endpoint.ring_for(event).is_some() {
            wake::ring(self.bell.as_fd());
        }
    }

    /// Sleeps until something of `what` may have happened. False when the deadline has passed.
    fn sleep(&mut self, what: Event, deadline: Option<Instant>, room: Option<(WorldId, usize)>) -> Result<bool, Error> {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let at_most = match self.outlives_broker {
            true => Some(left.unwrap_or(HEARTBEAT).min(HEARTBEAT)),
            false => left,
        };
        if self.armed {
            self.sleep_polled(what, room, at_most)?;
        } else if what.meets(Event::DATA) && !self.links.is_quiet() {
            self.sleep_for_all(at_most)?;
        } else {
            let bell = self.endpoint.arm(what, Via::Futex);
            if !self.has_happened(what, room)? {
                wake::futex_wait(&self.endpoint.theirs().control().bell, bell, at_most);
            }
            self.endpoint.disarm();
        }
        match self.outlives_broker && !self.has_happened(what, room)? && wake::is_hung_up(self.socket.as_fd()) {
            true => Err(Error::BrokerGone),
            false => Ok(true),
        }
    }

    /// The same for a sender whose user polls for data meanwhile: it waits at the same descriptor, and what rings is left there for
    /// the user, who must not miss it.
    fn sleep_polled(
        &mut self,
        what: Event,
        room: Option<(WorldId, usize)>,
        at_most: Option<Duration>,
    ) -> Result<(), Error> {
        self.endpoint.arm(Event::DATA.or(what), Via::Fd);
        if !self.has_happened(what, room)? {
            let already = wake::wait_readable(self.wakeup.as_fd(), Some(Duration::ZERO)).map_err(call("poll"))?;
            match already {
                // Rung before, and left there: it can't say more, so this looks again soon.
                true => std::thread::sleep(Duration::from_millis(1)),
                false => drop(wake::wait_readable(self.wakeup.as_fd(), at_most).map_err(call("poll"))?),
            }
        }
        Ok(())
    }

    fn has_happened(&mut self, what: Event, room: Option<(WorldId, usize)>) -> Result<bool, Error> {
        let data = what.meets(Event::DATA) && self.endpoint.hear_produced()?;
        Ok(data || room.is_some_and(|(to, payload_bytes)| self.try_reserve(to, payload_bytes).is_ok()))
    }

    /// Waits until the switch has taken everything that was sent: for a program that ends right after. What went over a direct link needs no
    /// waiting: the other side reads it all the same.
    pub fn drain(&mut self, timeout: Duration) -> Result<bool, Error> {
        self.flush();
        let end = Instant::now() + timeout;
        while !self.endpoint.is_drained()? {
            if Instant::now() >= end {
                return Ok(false);
            }
            if self.outlives_broker && wake::is_hung_up(self.socket.as_fd()) {
                return Err(Error::BrokerGone);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(true)
    }
}

/// The receiver in whose window a record counts. A reply counts in none: who asked pays for it, and it must not wait for one that doesn't read.
#[inline]
pub(crate) fn window_of(header: &Header) -> WorldId {
    if header.kind == Kind::Reply { WorldId::SWITCH } else { header.destination }
}

impl Drop for Client {
    /// Shows the switch what was staged, and tells the supervisor that this is the end.
    fn drop(&mut self) {
        self.flush();
        let _ = rustix::net::shutdown(&self.socket, rustix::net::Shutdown::Both);
    }
}
