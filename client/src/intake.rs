//! The way in, for what isn't taken as it is: pieces are gathered, packed records are taken apart, notices are heeded.
//!
//! Everything leaves the inbox through [`Client::take`], in the order in which it came.

use crate::assembly::{AssemblyLimits, Outcome};
use crate::client::Client;
use crate::error::Error;
use crate::parcel::Parcel;
use crate::record::{Piece, Record};
use std::time::{Duration, Instant};
use strait_protocol::packed::Item;
use strait_protocol::stream::{self, NO_STREAM, Trailer};
use strait_protocol::{FLAG_MORE, FLAG_PACKED, Header, Kind, RawHeader, Reason, WorldId, cause};

/// What is put aside for later receives while something else is waited for.
const MAX_ASIDE_BYTES: usize = 16 << 20;

/// How long to wait for a record.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Wait {
    /// Not at all. Makes ready for a poll, if there is nothing.
    Not,
    /// So long, or as long as it takes. The clock is asked only if there is something to wait for.
    For { time: Option<Duration>, end: Option<Instant> },
}

impl Wait {
    pub(crate) fn new(time: Option<Duration>) -> Self {
        Self::For { time, end: None }
    }

    pub(crate) fn until(end: Instant) -> Self {
        Self::For { time: None, end: Some(end) }
    }

    /// Whether the time is over. It runs from here on at the latest.
    pub(crate) fn is_over(&mut self) -> bool {
        match self {
            Self::Not => false,
            Self::For { time, end } => {
                *end = end.or_else(|| time.and_then(|time| Instant::now().checked_add(time)));
                end.is_some_and(|end| end <= Instant::now())
            }
        }
    }
}

/// Of which streams the pieces are handed out as they are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Raw {
    No,
    Yes,
    Only(WorldId, u32),
}

/// Where the payload of a record is.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Place {
    Inbox {
        offset: u32,
        bytes: u32,
    },
    /// In `handed_payload`.
    Aside,
}

impl Place {
    pub(crate) const NOWHERE: Self = Self::Inbox { offset: 0, bytes: 0 };
}

impl Default for Place {
    fn default() -> Self {
        Self::NOWHERE
    }
}

/// A record that was taken from the inbox.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Found {
    /// Its header is the one at the head of the inbox, as it is there; else it is in `handed`.
    is_head: bool,
    pub place: Place,
    /// Of the last piece of a stream.
    trailer: Option<Trailer>,
}

/// How far the record at the head of the inbox, a packed one, has been handed out.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Unpacking {
    /// Where in its payload the next message begins, and where they end. Both 0 if there is none.
    at: usize,
    end: usize,
    /// The message that was taken last.
    place: Place,
}

impl Unpacking {
    #[inline]
    pub(crate) fn is_under_way(&self) -> bool {
        self.end != 0
    }
}

impl Client {
    /// Bounds what is held of payloads that come in pieces. What is beyond them is given up at once; a payload that was given up is told
    /// of when its last piece arrives, by a notice with [`Reason::Incomplete`] in its place (and before, now and then, if it goes on and on).
    pub fn set_assembly_limits(&mut self, limits: AssemblyLimits) {
        self.assembly.set_limits(limits);
    }

    /// The next record as it came, also a piece of a larger payload, in place in the inbox: see [`Record::piece`]. For who
    /// wants no copy of the whole, or holds none.
    ///
    /// Pieces of a stream that [`receive`](Self::receive) or [`request`](Self::request) began to gather go on being gathered. The other way round, a stream
    /// whose beginning was handed out here is incomplete for those.
    pub fn receive_piece(&mut self, timeout: Option<Duration>) -> Result<Option<Record<'_>>, Error> {
        self.receive_as(Raw::Yes, Wait::new(timeout))
    }

    /// The same if one is there.
    pub fn try_receive_piece(&mut self) -> Result<Option<Record<'_>>, Error> {
        self.receive_as(Raw::Yes, Wait::Not)
    }

    pub(crate) fn receive_as(&mut self, raw: Raw, mut wait: Wait) -> Result<Option<Record<'_>>, Error> {
        let found = self.find(raw, &mut wait)?;
        Ok(found.map(|found| self.hand_out(&found)))
    }

    /// The rest of a receive that fetched a record that isn't plain.
    #[cold]
    pub(crate) fn receive_head(&mut self, mut wait: Wait) -> Result<Option<Record<'_>>, Error> {
        let found = match self.sift(Raw::No) {
            None if wait.is_over() => None,
            None => self.take(Raw::No, &mut wait)?,
            found => found,
        };
        Ok(found.map(|found| self.hand_out(&found)))
    }

    /// The next record: what was put aside comes first.
    pub(crate) fn find(&mut self, raw: Raw, wait: &mut Wait) -> Result<Option<Found>, Error> {
        match self.take_from_aside() {
            None => self.take(raw, wait),
            aside => Ok(aside),
        }
    }

    /// The next record out of the inbox that is something by itself.
    pub(crate) fn take(&mut self, raw: Raw, wait: &mut Wait) -> Result<Option<Found>, Error> {
        loop {
            if let Some(item) = self.take_item() {
                return Ok(Some(item));
            }
            let is_there = match wait {
                Wait::Not => self.try_next()?,
                Wait::For { time, end } => self.wait_for_data(*time, end)?,
            };
            if !is_there {
                return Ok(None);
            }
            if let Some(found) = self.sift(raw) {
                return Ok(Some(found));
            }
            if wait.is_over() {
                return Ok(None);
            }
        }
    }

    /// What is to be done with the record at the head of the inbox, and whether that makes something to hand out.
    fn sift(&mut self, raw: Raw) -> Option<Found> {
        if std::mem::take(&mut self.is_handed) {
            return self.sift_handed(raw);
        }
        let head = *self.endpoint.head();
        if head.is_plain() {
            return Some(self.whole());
        }
        if head.kind() == Kind::Notice {
            return self.heed(raw, &head.header()).then(|| self.whole());
        }
        if head.parcel() != 0 {
            return Some(self.whole());
        }
        if head.flags() & FLAG_MORE != 0 || head.stream() != NO_STREAM {
            return self.take_piece(raw, &head.header());
        }
        // Packed. Nobody asks several things in one, nor answers so: there the flag says nothing.
        if head.kind() != Kind::Message {
            return Some(self.whole());
        }
        if head.length() == 0 {
            return Some(self.lost(&head.header()));
        }
        self.handed = head;
        self.unpacking = Unpacking { at: 0, end: head.length() as usize, place: Place::NOWHERE };
        self.take_item()
    }

    /// The same with a record that came over a link, or a notice of our own: it is copied already, and never a part of something.
    fn sift_handed(&mut self, raw: Raw) -> Option<Found> {
        let header = self.handed.header();
        let is_shown = header.kind != Kind::Notice || self.heed(raw, &header);
        is_shown.then_some(Found { is_head: false, place: Place::Aside, trailer: None })
    }

    /// A world that a notice speaks of is looked up anew next time. Says whether it is to be handed out.
    fn heed(&mut self, raw: Raw, notice: &Header) -> bool {
        self.names.retain(|_, id| *id != notice.source);
        if Reason::from_code(notice.code) == Some(Reason::Refused) {
            self.topics.retain(|_, id| *id != notice.source);
        }
        if let Some(Reason::NoSuchWorld | Reason::Died) = Reason::from_code(notice.code) {
            self.assembly.forget(notice.source);
        }
        raw == Raw::Yes || !stream::is_about_piece(notice)
    }

    // --- pieces ---

    fn take_piece(&mut self, raw: Raw, header: &Header) -> Option<Found> {
        let (source, stream) = (header.source, header.stream);
        let is_asked_for = match raw {
            Raw::No => false,
            Raw::Yes => stream != NO_STREAM && !self.assembly.is_open(source, stream),
            Raw::Only(of, number) => (of, number) == (source, stream),
        };
        let is_last = header.flags & FLAG_MORE == 0;
        if is_asked_for && is_last {
            return Some(self.raw_last(header));
        }
        if is_asked_for && header.kind == Kind::Message && stream::bytes_before(header).is_some() {
            return Some(self.whole());
        }
        let payload = self.endpoint.theirs().bytes(self.endpoint.head_payload(), header.length as usize);
        match self.assembly.push(header, payload) {
            Outcome::Gathered => None,
            Outcome::Lost => Some(self.lost(header)),
            Outcome::Whole(header, payload) => Some(self.handed_whole(&header, payload)),
        }
    }

    /// The last piece, without its trailer.
    fn raw_last(&mut self, header: &Header) -> Found {
        // One that has none comes from nobody who keeps the rules: there is no whole.
        let nothing = (&[][..], Trailer { total: 0, is_broken_off: true });
        let head = self.whole();
        let (payload, trailer) = Trailer::split(self.payload_at(head.place)).unwrap_or(nothing);
        let (bytes, offset) = (payload.len() as u32, self.endpoint.head_payload());
        self.handed = RawHeader::from(&Header { length: bytes, ..*header });
        Found { is_head: false, place: Place::Inbox { offset, bytes }, trailer: Some(trailer) }
    }

    // --- packed records ---

    fn take_item(&mut self) -> Option<Found> {
        let record = self.endpoint.head().header();
        let was_under_way = self.unpacking.is_under_way();
        match self.unpack() {
            true => Some(Found { is_head: false, place: self.unpacking.place, trailer: None }),
            false => was_under_way.then(|| self.lost(&record)),
        }
    }

    /// Takes the next message of the packed record at the head of the inbox, if there is such. The last well-formed one of a record that
    /// isn't well-formed to its end leaves `unpacking` under way: the next look finds the fault, and that it is incomplete.
    #[inline]
    pub(crate) fn unpack(&mut self) -> bool {
        let Unpacking { at, end, .. } = self.unpacking;
        if end == 0 {
            return false;
        }
        let start = self.endpoint.head_payload();
        let Some(item) = Item::read(self.endpoint.theirs().bytes(start, end), at) else { return false };
        self.handed.set_item(&item);
        let place = Place::Inbox { offset: start + item.at as u32, bytes: item.length as u32 };
        let rest = if item.end() < end { (item.end(), end) } else { (0, 0) };
        self.unpacking = Unpacking { at: rest.0, end: rest.1, place };
        true
    }

    /// The message that was just taken out of a packed record.
    #[inline]
    pub(crate) fn item(&mut self) -> Record<'_> {
        self.cause = self.handed.as_cause();
        Record { raw: &self.handed, payload: self.payload_at(self.unpacking.place), trailer: None, parcel: None }
    }

    // --- what was found ---

    fn whole(&self) -> Found {
        let place = Place::Inbox { offset: self.endpoint.head_payload(), bytes: self.endpoint.head().length() };
        Found { is_head: true, place, trailer: None }
    }

    fn handed_whole(&mut self, header: &Header, payload: Vec<u8>) -> Found {
        (self.handed, self.handed_payload) = (RawHeader::from(header), payload);
        Found { is_head: false, place: Place::Aside, trailer: None }
    }

    /// What is handed out for something that is not whole. Who waits for a reply learns from it that none will come.
    fn lost(&mut self, header: &Header) -> Found {
        self.unpacking = Unpacking::default();
        let about = if header.kind == Kind::Reply { Kind::Request as u8 } else { 0 };
        let flags = about | header.flags & !(0xf | FLAG_MORE | FLAG_PACKED);
        let code = Reason::Incomplete as u16;
        let notice = Header { kind: Kind::Notice, flags, code, length: 0, stream: NO_STREAM, ..*header };
        self.handed = RawHeader::from(&notice);
        Found { is_head: false, place: Place::NOWHERE, trailer: None }
    }

    #[inline]
    pub(crate) fn header_of(&self, found: &Found) -> &RawHeader {
        if found.is_head { self.endpoint.head() } else { &self.handed }
    }

    #[inline]
    pub(crate) fn payload_at(&self, place: Place) -> &[u8] {
        match place {
            Place::Inbox { offset, bytes } => self.endpoint.theirs().bytes(offset, bytes as usize),
            Place::Aside => &self.handed_payload,
        }
    }

    /// What it is a piece of, if it is a piece.
    pub(crate) fn piece_of(&self, found: &Found) -> Option<Piece> {
        Piece::of(self.header_of(found), found.trailer)
    }

    /// What is sent from now on is caused by this record.
    pub(crate) fn hand_out(&mut self, found: &Found) -> Record<'_> {
        self.cause = self.as_cause(self.header_of(found));
        let raw = self.header_of(found);
        let (payload, parcel) = (self.payload_at(found.place), self.parcels.of(raw));
        // What was too long for a record to be published in.
        let is_parcel = payload.is_empty() && raw.topic().is_some();
        let payload = parcel.filter(|_| is_parcel).map_or(payload, Parcel::bytes);
        Record { raw, payload, trailer: found.trailer, parcel }
    }

    /// The word for what is caused by a record: a notice stands for the record of ours that it is about.
    fn as_cause(&self, raw: &RawHeader) -> u64 {
        match raw.kind() {
            Kind::Notice if raw.header().code != Reason::Incomplete as u16 => cause(self.own_id, raw.sequence()),
            _ => raw.as_cause(),
        }
    }

    /// The payload of a record that was just taken, as memory of one's own.
    pub(crate) fn own_payload(&mut self, found: &Found) -> Vec<u8> {
        match found.place {
            Place::Inbox { .. } => self.payload_at(found.place).to_vec(),
            Place::Aside => std::mem::take(&mut self.handed_payload),
        }
    }

    /// Keeps a record that was just taken for a later receive. One more than the bound allows is kept before this fails, so that
    /// nothing is lost.
    pub(crate) fn put_aside(&mut self, found: &Found) -> Result<(), Error> {
        let (header, payload) = (self.header_of(found).header(), self.own_payload(found));
        self.parcels.put_aside(header.flags);
        self.aside_bytes += payload.len() + Header::BYTES as usize;
        self.aside.push_back((header, payload));
        match self.aside_bytes > MAX_ASIDE_BYTES {
            true => Err(Error::TooMuchArrived { limit: MAX_ASIDE_BYTES }),
            false => Ok(()),
        }
    }

    /// What arrived while something else was waited for.
    fn take_from_aside(&mut self) -> Option<Found> {
        let (header, payload) = self.aside.pop_front()?;
        self.aside_bytes -= payload.len() + Header::BYTES as usize;
        self.parcels.take_aside(header.flags);
        Some(self.handed_whole(&header, payload))
    }
}
