//! Records as the user of the client sees them.

use crate::client::{Client, Delivery};
use crate::error::Error;
use crate::parcel::Parcel;
use std::time::Duration;
use strait_protocol::control::Wanted;
use strait_protocol::stream::{Trailer, bytes_before};
use strait_protocol::tap::Sights;
use strait_protocol::{FLAG_MORE, FLAG_PARCEL, Header, Kind, LINKED, RawHeader, Reason, Slot, WorldId};

/// A record that arrived. Its payload lies in the inbox itself, or is gathered if it came in pieces, and is given back at the next
/// receive.
#[derive(Debug)]
pub struct Record<'a> {
    pub(crate) raw: &'a RawHeader,
    pub(crate) payload: &'a [u8],
    /// Of the last piece of a stream, where that is handed out as it came.
    pub(crate) trailer: Option<Trailer>,
    pub(crate) parcel: Option<&'a Parcel>,
}

/// Where a piece belongs: see [`Client::receive_piece`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which of its source's streams it belongs to. Never 0.
    pub stream: u32,
    /// Bytes of payload before this piece, as its sender says. Where that isn't what arrived, a piece was lost, and there is no whole.
    pub offset: u64,
    /// No more follow.
    pub is_last: bool,
    /// Its sender gave up: there is no whole.
    pub is_broken_off: bool,
}

impl Piece {
    pub(crate) fn of(raw: &RawHeader, trailer: Option<Trailer>) -> Option<Self> {
        let (stream, length) = (raw.stream(), u64::from(raw.length()));
        match trailer {
            Some(Trailer { total, is_broken_off }) => {
                let offset = total.checked_sub(length);
                let is_broken_off = is_broken_off || offset.is_none();
                Some(Self { stream, offset: offset.unwrap_or(u64::MAX), is_last: true, is_broken_off })
            }
            None if raw.flags() & FLAG_MORE != 0 => {
                let offset = bytes_before(&raw.header())?;
                Some(Self { stream, offset, is_last: false, is_broken_off: false })
            }
            None => None,
        }
    }
}

/// What the control service tells this world.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ControlNotice {
    /// What is wanted.
    pub wanted: Wanted,
    /// What is left for it.
    pub deadline: Duration,
    /// Why.
    pub reason: String,
}

/// The notice that this world is to end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shutdown {
    /// What is left until it is ended by force.
    pub deadline: Duration,
    /// Why.
    pub reason: String,
}

impl<'a> Record<'a> {
    /// The header. Keep it to reply with.
    #[inline]
    pub fn header(&self) -> Header {
        self.raw.header()
    }

    /// The payload. Aligned to 16 bytes, unless it came in pieces or was kept aside while a request waited. Of a message that was published with a
    /// parcel and nothing else: the parcel's bytes.
    pub fn payload(&self) -> &'a [u8] {
        self.payload
    }

    /// Where it belongs, if it is one piece of a larger payload: only [`Client::receive_piece`] hands out such.
    pub fn piece(&self) -> Option<Piece> {
        Piece::of(self.raw, self.trailer)
    }

    /// The parcel that came with it, if one did. A clone of it outlives the record.
    pub fn parcel(&self) -> Option<&'a Parcel> {
        self.parcel
    }

    /// Whether this request came to us by way of a group from a member that had it and died: it may have been handled before, in part or in
    /// whole. Its sender has said that it may be ([`Client::start_repeatable`]).
    pub fn is_repeated(&self) -> bool {
        self.raw.asks_to_be_repeated()
    }

    /// What became of a record of ours, if this is a notice; its [`Header::source`] is the world it was for.
    /// [`Reason::Incomplete`] alone is about something that was for us: the header is that of its last piece, so that a request can be
    /// answered all the same.
    pub fn notice(&self) -> Option<Reason> {
        match self.raw.kind() {
            Kind::Notice => Reason::from_code(self.header().code),
            _ => None,
        }
    }

    /// What a [tap](Client::tap) saw, if this is a batch of that, and how many records were seen since the last one that there was no
    /// place for.
    pub fn sights(&self) -> Option<(Sights<'a>, u64)> {
        let header = self.header();
        Sights::of(&header, self.payload).map(|sights| (sights, header.tag))
    }

    /// The notice of shutdown, if this is one. Nobody but the control service can send it. [Reply](Client::reply) to
    /// acknowledge.
    pub fn shutdown(&self) -> Option<Shutdown> {
        Shutdown::of(&self.header(), self.payload)
    }

    /// What the control service wants of this world, if this says so; a shutdown too. Nobody else can send it.
    /// [Reply](Client::reply) to acknowledge, when it is done. What isn't understood may be left: it is a request whose deadline passes.
    pub fn control_notice(&self) -> Option<ControlNotice> {
        ControlNotice::of(&self.header(), self.payload)
    }
}

impl ControlNotice {
    /// Whether this world is to end when it has done what is wanted.
    pub fn ends(&self) -> bool {
        self.wanted != Wanted::Snapshot
    }

    fn of(header: &Header, payload: &[u8]) -> Option<Self> {
        let Header { kind, source, code, timeout_ms, .. } = *header;
        let wanted = Wanted::from_code(code).filter(|_| kind == Kind::Request && source == WorldId::CONTROL)?;
        let deadline = Duration::from_millis(u64::from(timeout_ms));
        Some(Self { wanted, deadline, reason: String::from_utf8_lossy(payload).into_owned() })
    }
}

impl Shutdown {
    fn of(header: &Header, payload: &[u8]) -> Option<Self> {
        let notice = ControlNotice::of(header, payload).filter(|notice| notice.wanted == Wanted::Shutdown);
        notice.map(|ControlNotice { deadline, reason, .. }| Self { deadline, reason })
    }
}

/// The answer to a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reply {
    /// Who answered, what status, which tag.
    pub header: Header,
    /// What.
    pub payload: Vec<u8>,
}

/// A record that arrived, as memory of one's own.
#[cfg(feature = "tokio")]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrived {
    /// Who sent it, what it is.
    pub header: Header,
    /// What.
    pub payload: Vec<u8>,
}

#[cfg(feature = "tokio")]
impl Arrived {
    /// How it came, if somebody published it on a topic.
    pub fn published(&self) -> Option<crate::topics::Published> {
        crate::topics::Published::of(&RawHeader::from(&self.header))
    }

    /// What became of a record of ours, if this is a notice: see [`Record::notice`].
    pub fn notice(&self) -> Option<Reason> {
        (self.header.kind == Kind::Notice).then(|| Reason::from_code(self.header.code)).flatten()
    }

    /// The notice of shutdown, if this is one: see [`Record::shutdown`].
    pub fn shutdown(&self) -> Option<Shutdown> {
        Shutdown::of(&self.header, &self.payload)
    }

    /// What the control service wants: see [`Record::control_notice`].
    pub fn control_notice(&self) -> Option<ControlNotice> {
        ControlNotice::of(&self.header, &self.payload)
    }
}

/// Whether this is the answer to a request that came over a link: it must go the same way, past the outbox.
pub(crate) fn answers_over_link(header: &Header) -> bool {
    header.kind == Kind::Reply && header.sequence & LINKED != 0
}

/// A record under construction, in place in the outbox. Dropped, it is as if it had never been.
#[derive(Debug)]
#[must_use = "a draft is sent by `send`"]
pub struct Draft<'a> {
    pub(crate) client: &'a mut Client,
    pub(crate) slot: Slot,
    pub(crate) header: Header,
}

impl Draft<'_> {
    /// The payload. What it holds before it is written is unspecified.
    pub fn payload_mut(&mut self) -> &mut [u8] {
        self.client.payload_mut(&self.slot)
    }

    /// The header: set the tag, the flags, the code.
    pub fn header_mut(&mut self) -> &mut Header {
        &mut self.header
    }

    /// Sends a parcel with it.
    pub fn attach(&mut self, parcel: &Parcel) {
        self.header.flags |= FLAG_PARCEL;
        self.header.stream = parcel.number();
    }

    /// Makes the payload shorter than was reserved.
    pub fn shorten(&mut self, bytes: u32) {
        self.header.length = self.header.length.min(bytes);
    }

    /// Sends it. The sequence number returned is the one that a notice about this record would carry.
    pub fn send(self) -> Result<u64, Error> {
        self.finish(Delivery::Now)
    }

    /// Leaves it in the outbox until something else is sent, or [`Client::flush`]: for many small records in a row.
    pub fn stage(self) -> Result<u64, Error> {
        self.finish(Delivery::Later)
    }

    fn finish(mut self, delivery: Delivery) -> Result<u64, Error> {
        if answers_over_link(&self.header) {
            let length = self.header.length as usize;
            let payload = self.payload_mut()[..length].to_vec();
            return self.client.put(self.header, &payload, None);
        }
        self.client.commit(&self.slot, &self.header, delivery)
    }
}
