//! The record: a header of one cache line, then the payload, padded to 16 bytes.
//!
//! ```text
//! word 0   length u32 | kind u8 | flags u8 | code u16
//! word 1   source            stamped by the switch; what a world wrote there is ignored
//! word 2   destination
//! word 3   correlation       of a request: chosen by who asks; of its reply: the same
//! word 4   sequence          per source, stamped by the switch: 1 for the first record it took
//! word 5   cause             the record that was being handled, by its source and sequence (see [`cause`]), or 0; its sender's word
//! word 6   tag               the application's; the system never looks at it
//! word 7   timeout_ms u32 | stream u32       stream: which of its source's streams a piece belongs to, or the number of the
//!                                            parcel that comes with it; 0 for none
//! ```
//!
//! Of a message that comes by a topic ([`FLAG_TOPIC`]) two words are the switch's: `correlation` is the number of the subscription (upper half) and
//! that of the topic (lower half), `timeout_ms` how many messages were missed for this subscription and topic since the last one.

use crate::packed::Item;
use crate::{Corrupt, WorldId, layout::RECORD_ALIGN};

/// A parcel comes with this record: `stream` is its number, the sender's on the way to the switch, the receiver's from there on. The switch sets
/// it again after it has found that it holds.
pub const FLAG_PARCEL: u8 = 0x08;
/// This record says something about the direct link with the number in `stream` and not to the user of the client: see [`crate::crossing`]. The
/// switch sets it again after it has found that there is such a link between the two.
pub const FLAG_MARK: u8 = 0x04;
/// This message comes by a topic; see [`RawHeader::topic`]. The switch's word.
pub const FLAG_TOPIC: u8 = 0x01;
/// Of a message to a topic: keep it for those who subscribe later, in the place of what was kept before; without a payload, keep nothing. Of a
/// message by a topic: this was kept.
pub const FLAG_RETAIN: u8 = 0x02;
/// In a request to a group: it may be given to another member if the one that has it dies. Where the switch sets it, that has happened: the
/// request may have been handled before, in part or in whole.
pub const FLAG_REPEATABLE: u8 = 0x02;
/// Set in the sequence number of what came over a direct link: such are numbered by their receiver, each link by itself.
pub const LINKED: u64 = 1 << 63;
/// Flags from here up belong to worlds and pass unchanged; those below are the switch's and are cleared.
pub const FIRST_FLAG_OF_WORLDS: u8 = 0x10;
/// The payload isn't whole: more pieces with the same source and stream number follow; see [`crate::stream`]. An agreement between
/// clients.
pub const FLAG_MORE: u8 = 0x10;
/// The payload is several messages, one after the other; see [`crate::packed`]. An agreement between clients.
pub const FLAG_PACKED: u8 = 0x20;
/// Flags from here up are the application's.
pub const FIRST_FLAG_OF_APPLICATIONS: u8 = 0x40;
/// Receivers of one multicast record at most.
pub const MAX_RECEIVERS: u32 = 64;

/// The word that names a record as the cause of another: the lower 39 bits of its sequence, then the lower 24 bits of its source, then
/// [`LINKED`]. Enough to tell the records of days apart, at a million a second.
#[inline]
pub const fn cause(source: WorldId, sequence: u64) -> u64 {
    const SEQUENCES: u64 = (1 << 39) - 1;
    sequence & (LINKED | SEQUENCES) | (source.0 & 0xff_ffff) << 39
}

/// The source that a word for a cause names, as far as it does.
pub const fn cause_source(cause: u64) -> WorldId {
    WorldId(cause >> 39 & 0xff_ffff)
}

/// Bytes of ring that a record with this much payload takes. 64-bit, so that no claimed length overflows it.
#[inline]
pub const fn stride(payload_bytes: u32) -> u64 {
    Header::BYTES as u64 + (payload_bytes as u64).next_multiple_of(RECORD_ALIGN as u64)
}

/// What a record is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// A message that wants no answer.
    Message = 1,
    /// A request: it ends in a reply or a notice, and in one only.
    Request = 2,
    /// The answer to a request that was delivered to the sender of this.
    Reply = 3,
    /// From the switch alone: what became of a record. Its source is the world that the record was for,
    /// its `code` is a [`Reason`], its sequence and correlation are the record's, its tag too. Its lower flags are the record's kind:
    /// who answers others must not take what became of a reply for the end of a request of its own.
    Notice = 4,
    /// From a world alone: one payload for several receivers, each of which gets it as a message. Its destination is how many
    /// they are, up to [`MAX_RECEIVERS`]; the payload starts with their ids, padded to 16 bytes.
    Multicast = 5,
}

/// Why a record was not delivered, or a request not answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
pub enum Reason {
    /// No running world has this id.
    #[error("there is no such world")]
    NoSuchWorld = 1,
    /// Policy doesn't let this sender reach it.
    #[error("policy doesn't allow sending to it")]
    Refused = 2,
    /// It was there when the request was delivered, and is gone without having answered.
    #[error("it died before it answered")]
    Died = 3,
    /// The request's deadline passed.
    #[error("the deadline passed without an answer")]
    Deadline = 4,
    /// The sender has as many requests open as it may.
    #[error("too many requests are waiting for an answer already")]
    Quota = 5,
    /// A reply to no request: never asked, answered already, or given up by the asker.
    #[error("no request is waiting for this reply")]
    NoSuchRequest = 6,
    /// The receiver's inbox is smaller than the record.
    #[error("the record is larger than the receiver's inbox")]
    TooLarge = 7,
    /// Not from the switch but from the receiving client itself: something from this world didn't arrive whole. Its sender broke it off or
    /// made it badly, or it was more than the client gathers.
    #[error("it didn't arrive whole")]
    Incomplete = 64,
    /// The record was to bring a parcel that its sender doesn't have.
    #[error("the sender has no such parcel")]
    NoSuchParcel = 16,
    /// The record was to bring a parcel that its sender can still write to.
    #[error("the parcel isn't sealed")]
    Unsealed = 17,
    /// The receiver holds as many parcels as it may, of this sender or altogether, or hasn't taken those that it was given.
    #[error("the receiver holds as many parcels as it may")]
    ParcelQuota = 18,
    /// It wasn't running, and couldn't be started so that it could take the record.
    #[error("it can't be started")]
    CantStart = 20,
    /// Each member of the group that was given the request died with it, and there were as many as it is given to.
    #[error("each member that was given it died, and it is given to no more")]
    DeliveryLimit = 21,
    /// The link is gone over which the request was asked, or the record was to go.
    #[error("the link that it went over is gone")]
    Unlinked = 19,
    /// The record was for a topic, and was a piece of something larger, or was to be kept and brought a parcel.
    #[error("a topic takes whole records only, and keeps no parcel")]
    NotByTopic = 24,
}

impl Reason {
    /// The reason that a notice's `code` names.
    pub fn from_code(code: u16) -> Option<Self> {
        use Reason::*;
        let delivery = [NoSuchWorld, Refused, Died, Deadline, Quota, NoSuchRequest, TooLarge, Incomplete];
        let others = [NoSuchParcel, Unsealed, ParcelQuota, Unlinked, NotByTopic, CantStart, DeliveryLimit];
        delivery.into_iter().chain(others).find(|reason| *reason as u16 == code)
    }
}

/// A record's header, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Bytes of payload.
    pub length: u32,
    /// What the record is.
    pub kind: Kind,
    /// See [`FIRST_FLAG_OF_WORLDS`].
    pub flags: u8,
    /// Of a reply: the application's status, 0 for success. Of a notice: a [`Reason`]. Of a request from
    /// the control service: see [`crate::control::Wanted`].
    pub code: u16,
    /// Who sent it: the switch's word, not the sender's.
    pub source: WorldId,
    /// Who it is for.
    pub destination: WorldId,
    /// Ties a reply to its request.
    pub correlation: u64,
    /// The how-manieth record of its source this is.
    pub sequence: u64,
    /// The record being handled when this one was sent, as [`as_cause`](Self::as_cause) names it, or 0: its sender's word.
    pub cause: u64,
    /// The application's own word.
    pub tag: u64,
    /// Of a request: how long its asker waits, in milliseconds.
    pub timeout_ms: u32,
    /// Of a piece of a larger payload: which of its source's streams it belongs to. With [`FLAG_PARCEL`]: the parcel's number. 0 otherwise.
    pub stream: u32,
}

impl Header {
    /// One cache line.
    pub const BYTES: u32 = 64;

    /// A header with everything zero but the kind, the destination and the length.
    pub fn new(kind: Kind, destination: WorldId, length: u32) -> Self {
        Self {
            length,
            kind,
            flags: 0,
            code: 0,
            source: WorldId::SWITCH,
            destination,
            correlation: 0,
            sequence: 0,
            cause: 0,
            tag: 0,
            timeout_ms: 0,
            stream: 0,
        }
    }

    /// The header as it lies in the ring.
    #[inline]
    pub fn encode(&self) -> [u64; 8] {
        let first = u64::from(self.length)
            | (self.kind as u64) << 32
            | u64::from(self.flags) << 40
            | u64::from(self.code) << 48;
        [
            first,
            self.source.0,
            self.destination.0,
            self.correlation,
            self.sequence,
            self.cause,
            self.tag,
            u64::from(self.timeout_ms) | u64::from(self.stream) << 32,
        ]
    }

    /// Bytes of ring that the record takes.
    #[inline]
    pub fn stride(&self) -> u32 {
        stride(self.length) as u32
    }

    /// The word that names this record as the cause of another.
    pub fn as_cause(&self) -> u64 {
        cause(self.source, self.sequence)
    }
}

/// A header as it lies in a ring, judged: its kind exists and its record fits what was published.
///
/// It stays the eight words it was read as, and its fields are taken out where they are used: a decoded struct that is
/// handed up through several calls costs more than everything else that is done with a small record. Aligned, so that each copy moves the
/// same 16-byte parts as the one before it: a load that straddles two recent stores waits until they have left the store buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(align(16))]
pub struct RawHeader([u64; 8]);

impl RawHeader {
    /// No record: what a place for a header holds before one is there.
    pub(crate) const NONE: Self = Self([0; 8]);

    /// Judges a copy of what a peer wrote: `published` bytes of ring start with this header.
    #[inline]
    pub fn judge(words: [u64; 8], published: u32) -> Result<Self, Corrupt> {
        let raw = Self(words);
        raw.check(published)?;
        Ok(raw)
    }

    /// The words, to be filled with what is to be judged.
    #[inline]
    pub(crate) fn words_mut(&mut self) -> &mut [u64; 8] {
        &mut self.0
    }

    #[inline]
    pub(crate) fn check(&self, published: u32) -> Result<(), Corrupt> {
        let kind = (self.0[0] >> 32) as u8;
        if !(Kind::Message as u8..=Kind::Multicast as u8).contains(&kind) {
            return Err(Corrupt::Kind(kind));
        }
        let needed = stride(self.length());
        if needed > u64::from(published) {
            return Err(Corrupt::Truncated { payload_bytes: self.length(), needed, published });
        }
        Ok(())
    }

    /// The words.
    #[inline]
    pub fn words(&self) -> &[u64; 8] {
        &self.0
    }

    /// Bytes of payload.
    #[inline]
    pub fn length(&self) -> u32 {
        self.0[0] as u32
    }

    /// Bytes of ring that the record takes.
    #[inline]
    pub fn stride(&self) -> u32 {
        stride(self.length()) as u32
    }

    /// What the record is.
    #[inline]
    pub fn kind(&self) -> Kind {
        match (self.0[0] >> 32) as u8 {
            1 => Kind::Message,
            2 => Kind::Request,
            3 => Kind::Reply,
            4 => Kind::Notice,
            _ => Kind::Multicast,
        }
    }

    /// What it is, from whom, and which of its records.
    #[inline]
    pub fn origin(&self) -> (Kind, WorldId, u64) {
        (self.kind(), WorldId(self.0[1]), self.0[4])
    }

    /// Who it is for.
    #[inline]
    pub fn destination(&self) -> WorldId {
        WorldId(self.0[2])
    }

    /// The switch's and the worlds' flags.
    #[inline]
    pub fn flags(&self) -> u8 {
        (self.0[0] >> 40) as u8
    }

    /// The number of the parcel that comes with it, or 0 for none.
    #[inline]
    pub fn parcel(&self) -> u32 {
        if self.flags() & FLAG_PARCEL != 0 { self.stream() } else { 0 }
    }

    /// Who sent it.
    #[inline]
    pub fn source(&self) -> WorldId {
        WorldId(self.0[1])
    }

    /// Ties a reply to its request.
    #[inline]
    pub fn correlation(&self) -> u64 {
        self.0[3]
    }

    /// The how-manieth record of its source this is.
    #[inline]
    pub fn sequence(&self) -> u64 {
        self.0[4]
    }

    /// The word that names this record as the cause of another.
    #[inline]
    pub fn as_cause(&self) -> u64 {
        cause(self.source(), self.sequence())
    }

    /// Which of its source's streams this is a piece of; see [`crate::stream`].
    #[inline]
    pub fn stream(&self) -> u32 {
        (self.0[7] >> 32) as u32
    }

    /// Whether a receiver takes it as it is: no notice, no piece of something larger, not several in one.
    #[inline]
    pub fn is_plain(&self) -> bool {
        const FLAGS: u64 = ((FLAG_MORE | FLAG_PACKED) as u64) << 40;
        self.0[0] & FLAGS == 0 && self.stream() == 0 && (self.0[0] >> 32) as u8 != Kind::Notice as u8
    }

    /// Becomes the header of one message out of those that the record carries; see [`crate::packed`].
    #[inline]
    pub fn set_item(&mut self, item: &Item) {
        const KEPT: u64 = (0xff & !FLAG_PACKED as u64) << 40 | 0xff << 32;
        self.0[0] = self.0[0] & KEPT | item.length as u64 | u64::from(item.code) << 48;
        self.0[6] = item.tag;
    }

    /// The same with what the switch vouches for written over whatever the world wrote there.
    #[inline]
    pub fn stamped(mut self, source: WorldId, sequence: u64) -> Self {
        const FLAGS_OF_THE_SWITCH: u64 = (FIRST_FLAG_OF_WORLDS as u64 - 1) << 40;
        self.0[0] &= !FLAGS_OF_THE_SWITCH;
        self.0[1] = source.0;
        self.0[4] = sequence;
        self
    }

    /// The topic that it comes by, and the number of the subscription, if it comes by one.
    #[inline]
    pub fn topic(&self) -> Option<(WorldId, u32)> {
        let is_topic = self.flags() & FLAG_TOPIC != 0 && self.kind() == Kind::Message;
        is_topic.then(|| (WorldId::topic(self.correlation() as u32), (self.correlation() >> 32) as u32))
    }

    /// Of a message by a topic: how many were missed before it.
    #[inline]
    pub fn missed(&self) -> u32 {
        self.0[7] as u32
    }

    /// What a subscriber gets of a message to a topic, before it is [stamped](Self::stamped).
    pub fn by_topic(mut self, subscriber: WorldId, subscription: u32, missed: u32) -> Self {
        let topic = self.0[2] as u32;
        self.0[2] = subscriber.0;
        self.0[3] = u64::from(subscription) << 32 | u64::from(topic);
        self.with_missed(missed)
    }

    /// The same with another count of what was missed before it.
    pub fn with_missed(mut self, missed: u32) -> Self {
        self.0[7] = self.0[7] & !0xffff_ffff | u64::from(missed);
        self
    }

    /// The same with flags of the switch.
    #[inline]
    pub fn with_flags(mut self, flags: u8) -> Self {
        self.0[0] |= u64::from(flags) << 40;
        self
    }

    /// Whether there is more to it for the switch than its payload: a parcel, or a mark.
    #[inline]
    pub fn brings(&self) -> bool {
        self.stream() != 0 && self.flags() & (FLAG_PARCEL | FLAG_MARK) != 0
    }

    /// Whether it says something about a link: the link's number, or 0.
    #[inline]
    pub fn mark(&self) -> u32 {
        if self.flags() & FLAG_MARK != 0 && self.kind() == Kind::Message { self.stream() } else { 0 }
    }

    /// Whether its sender lets it be given to a second member of a group.
    #[inline]
    pub fn asks_to_be_repeated(&self) -> bool {
        self.flags() & FLAG_REPEATABLE != 0 && self.kind() == Kind::Request
    }

    /// The application's word.
    #[inline]
    pub fn tag(&self) -> u64 {
        self.0[6]
    }

    /// What its receiver makes of a record that came over a direct link: whatever its sender wrote there, it is from that
    /// sender, for this receiver, has this number, and is no part of something larger.
    #[inline]
    pub fn over_link(mut self, source: WorldId, destination: WorldId, sequence: u64) -> Self {
        const FLAGS: u64 = ((FLAG_MORE | FLAG_PACKED) as u64) << 40;
        self.0[0] &= !FLAGS;
        self.0[2] = destination.0;
        self.0[7] &= 0xffff_ffff;
        self.stamped(source, sequence)
    }

    /// The same with one of the switch's flags and the number that belongs to it.
    #[inline]
    pub fn with_number(mut self, flag: u8, number: u32) -> Self {
        self.0[0] |= u64::from(flag) << 40;
        self.0[7] = self.0[7] & 0xffff_ffff | u64::from(number) << 32;
        self
    }

    /// Whether this is the notice that ends a request of ours with this correlation id.
    pub fn ends_request(&self, correlation: u64) -> bool {
        let about = (self.0[0] >> 40) as u8 & (FIRST_FLAG_OF_WORLDS - 1);
        self.kind() == Kind::Notice && about == Kind::Request as u8 && self.correlation() == correlation
    }

    /// The receivers of a multicast record, whose payload starts with their ids: how many, and the bytes that these take.
    pub fn receivers(&self) -> Result<(u32, u32), Corrupt> {
        let receivers = self.0[2];
        let ids = (receivers.min(u64::from(MAX_RECEIVERS)) * 8).next_multiple_of(u64::from(RECORD_ALIGN)) as u32;
        match (1..=u64::from(MAX_RECEIVERS)).contains(&receivers) && ids <= self.length() {
            true => Ok((receivers as u32, ids)),
            false => Err(Corrupt::Receivers { receivers, payload_bytes: self.length() }),
        }
    }

    /// What one receiver of a multicast record gets: a message with the payload behind the `ids` bytes of ids.
    pub fn to_one(mut self, receiver: WorldId, ids: u32) -> Self {
        self.0[0] = self.0[0] & !0xff_ffff_ffff | u64::from(self.length() - ids) | (Kind::Message as u64) << 32;
        self.0[2] = receiver.0;
        self
    }

    /// The same record for somebody else.
    pub fn readdressed(mut self, receiver: WorldId) -> Self {
        self.0[2] = receiver.0;
        self
    }

    /// All of it, decoded.
    #[inline]
    pub fn header(&self) -> Header {
        let [first, source, destination, correlation, sequence, cause, tag, last] = self.0;
        Header {
            length: self.length(),
            kind: self.kind(),
            flags: (first >> 40) as u8,
            code: (first >> 48) as u16,
            source: WorldId(source),
            destination: WorldId(destination),
            correlation,
            sequence,
            cause,
            tag,
            timeout_ms: last as u32,
            stream: (last >> 32) as u32,
        }
    }
}

impl From<&Header> for RawHeader {
    fn from(header: &Header) -> Self {
        Self(header.encode())
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn any_words_decode_or_are_refused(words in any::<[u64; 8]>(), published in 0..=65536u32) {
            if let Ok(raw) = RawHeader::judge(words, published) {
                prop_assert!(u64::from(raw.stride()) <= u64::from(published));
                prop_assert_eq!(raw.header().encode(), words);
                let stamped = raw.stamped(WorldId(7), 9).header();
                prop_assert_eq!(stamped, Header { source: WorldId(7), sequence: 9, flags: raw.header().flags & 0xf0, ..raw.header() });
            }
        }

        #[test]
        fn lengths_near_the_end_of_the_ring(length in any::<u32>(), published in (0..4096u32).prop_map(|n| n * 16)) {
            let mut words = Header::new(Kind::Message, WorldId(20), 0).encode();
            words[0] = words[0] & !0xffff_ffff | u64::from(length);
            let fits = 64 + u64::from(length).div_ceil(16) * 16 <= u64::from(published);
            prop_assert_eq!(RawHeader::judge(words, published).is_ok(), fits);
        }
    }

    #[test]
    fn a_cause_names_its_source_and_is_never_none() {
        let word = |source, sequence| cause(WorldId(source), sequence);
        assert_eq!(cause_source(word(17, 5)), WorldId(17));
        assert_ne!(word(17, 5), word(17, 6));
        assert_ne!(word(17, 5), word(18, 5));
        assert_ne!(word(17, 5), word(17, 5 | LINKED));
        assert_eq!(cause_source(word(17, 5 | LINKED)), WorldId(17));
        assert_ne!(word(1 << 24, 1), 0);
    }

    #[test]
    fn zeroed_memory_is_no_record() {
        assert_eq!(RawHeader::judge([0; 8], 4096), Err(Corrupt::Kind(0)));
    }
}
