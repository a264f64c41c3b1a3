//! Sending through the switch: messages, requests, answers, and room in the outbox.

use crate::client::{Client, Delivery};
use crate::error::Error;
use crate::intake::{Raw, Wait};
use crate::record::{Draft, Reply};
use crate::waiting::LOOKS;
use std::time::{Duration, Instant};
use strait_protocol::wait::Event;
use strait_protocol::{
    FLAG_REPEATABLE, Header, Kind, MAX_RECEIVERS, RawHeader, Reason, ReserveError, SliceMemory, Slot, WorldId,
    WritableMemory,
};
use strait_sys::wake;

/// From this length on, a payload for a switch on another processor is written past the cache.
pub(crate) const STREAMED_BYTES: usize = 1024;
/// What a `request` grants the switch beyond the deadline before it takes the broker for dead.
const GRACE: Duration = Duration::from_secs(5);

impl Client {
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
    pub(crate) fn wait_until_open(&mut self, receiver: WorldId) -> Result<(), Error> {
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

    /// The same for a group whose member may handle it again if the first one dies before it has answered: it is kept by the switch on our account
    /// until it ends. When three have died with it, it ends with [`Reason::DeliveryLimit`]. To a world, or in more than one record
    /// ([`max_payload`](Self::max_payload)), nothing is repeated: the latter is [`Error::TooLarge`].
    pub fn start_repeatable(&mut self, to: WorldId, payload: &[u8], timeout: Duration) -> Result<u64, Error> {
        let max_bytes = self.max_payload();
        if payload.len() > max_bytes as usize {
            return Err(Error::TooLarge { payload_bytes: payload.len(), max_bytes });
        }
        let mut header = self.request_header(to, timeout);
        header.flags = FLAG_REPEATABLE;
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
        self.wait_for_reply(to, correlation, timeout)
    }

    /// Sends a request that may be repeated, as [`start_repeatable`](Self::start_repeatable) does, and waits for its answer as
    /// [`request`](Self::request) does.
    pub fn request_repeatable(&mut self, to: WorldId, payload: &[u8], timeout: Duration) -> Result<Reply, Error> {
        let correlation = self.start_repeatable(to, payload, timeout)?;
        self.wait_for_reply(to, correlation, timeout)
    }

    /// Waits for the answer to a request that was sent.
    pub(crate) fn wait_for_reply(&mut self, to: WorldId, correlation: u64, timeout: Duration) -> Result<Reply, Error> {
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
            // A topic takes whole records only.
            Err(Error::TooLarge { .. }) if !header.destination.is_topic() => {
                return self.put_pieces(header, payload, deadline);
            }
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
    pub(crate) fn try_reserve(&mut self, to: WorldId, payload_bytes: usize) -> Result<Slot, Error> {
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

    #[cfg(feature = "tokio")]
    pub(crate) fn has_room(&mut self, to: WorldId, payload_bytes: usize) -> bool {
        !matches!(self.try_reserve(to, payload_bytes), Err(Error::Full))
    }

    pub(crate) fn wait_for_room(
        &mut self,
        to: WorldId,
        payload_bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<Slot, Error> {
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
    pub(crate) fn make_way(&mut self, to: WorldId) {
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
        #[cfg(feature = "tracing")]
        crate::spans::sent(&header, self.sent);
        if delivery == Delivery::Now {
            self.flush();
        }
        Ok(self.sent)
    }
}

/// The receiver in whose window a record counts. A reply counts in none: who asked pays for it, and it must not wait for one that doesn't read.
#[inline]
pub(crate) fn window_of(header: &Header) -> WorldId {
    if header.kind == Kind::Reply { WorldId::SWITCH } else { header.destination }
}
