//! Records as plain C structs.

use std::ffi::{CString, c_char};
use std::sync::LazyLock;
use strait_client::{Header, Kind, Reason, WorldId};
use strait_protocol::control::Wanted;

/// What a record is.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum StraitKind {
    /// A message that wants no answer.
    Message = 1,
    /// A request: answer it with strait_reply().
    Request = 2,
    /// The answer to a request of ours: `correlation` says to which, `code` how it went (0 is success).
    Reply = 3,
    /// From the switch alone: what became of a record of ours. `code` is an enum strait_reason, `source` the world
    /// that the record was for; `sequence`, `correlation` and `tag` are the record's.
    Notice = 4,
}

/// Why a record was not delivered, or a request not answered: the `code` of a notice.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub enum StraitReason {
    /// No running world has this id.
    NoSuchWorld = 1,
    /// Policy doesn't let us reach it.
    Refused = 2,
    /// It was there when the request was delivered, and is gone without having answered.
    Died = 3,
    /// The request's deadline passed.
    Deadline = 4,
    /// Too many requests of ours are open already.
    Quota = 5,
    /// A reply to no request: never asked, answered already, or given up by the asker.
    NoSuchRequest = 6,
    /// The receiver's inbox is smaller than the record.
    TooLarge = 7,
    /// The record was to bring a parcel that we don't have.
    NoSuchParcel = 16,
    /// The record was to bring a parcel that we can still write to.
    Unsealed = 17,
    /// The receiver holds as many parcels as it may, of ours or altogether, or hasn't taken those that it was given.
    ParcelQuota = 18,
    /// The link is gone over which the request was asked.
    Unlinked = 19,
    /// The receiver wasn't running, and couldn't be started so that it could take the record.
    CantStart = 20,
    /// Each member of the group that was given the request died with it, and there were as many as it is given to.
    DeliveryLimit = 21,
    /// It was for a topic, and was a piece of something larger, or was to be kept and brought a parcel.
    NotByTopic = 24,
    /// Something that was for us, from the world that is the source, didn't arrive whole: its sender broke it off, or it
    /// was more than we gather. The other fields are those of what it would have been, so that a request can be answered.
    Incomplete = 64,
}

// The header's numbers are the protocol's.
const _: () = {
    assert!(StraitKind::Message as u8 == Kind::Message as u8 && StraitKind::Request as u8 == Kind::Request as u8);
    assert!(StraitKind::Reply as u8 == Kind::Reply as u8 && StraitKind::Notice as u8 == Kind::Notice as u8);
    assert!(StraitReason::NoSuchWorld as u16 == Reason::NoSuchWorld as u16);
    assert!(StraitReason::Refused as u16 == Reason::Refused as u16);
    assert!(StraitReason::Died as u16 == Reason::Died as u16);
    assert!(StraitReason::Deadline as u16 == Reason::Deadline as u16);
    assert!(StraitReason::Quota as u16 == Reason::Quota as u16);
    assert!(StraitReason::NoSuchRequest as u16 == Reason::NoSuchRequest as u16);
    assert!(StraitReason::TooLarge as u16 == Reason::TooLarge as u16);
    assert!(StraitReason::NoSuchParcel as u16 == Reason::NoSuchParcel as u16);
    assert!(StraitReason::Unsealed as u16 == Reason::Unsealed as u16);
    assert!(StraitReason::ParcelQuota as u16 == Reason::ParcelQuota as u16);
    assert!(StraitReason::Unlinked as u16 == Reason::Unlinked as u16);
    assert!(StraitReason::CantStart as u16 == Reason::CantStart as u16);
    assert!(StraitReason::DeliveryLimit as u16 == Reason::DeliveryLimit as u16);
    assert!(StraitReason::NotByTopic as u16 == Reason::NotByTopic as u16);
    assert!(StraitReason::Incomplete as u16 == Reason::Incomplete as u16);
};

/// What the control service wants of a world.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StraitWanted {
    /// Nothing: this is a record of somebody else, or of another kind.
    Nothing = 0,
    /// That it ends. It may save its state before. At the deadline it is ended by force.
    Shutdown = 1,
    /// That it saves its state now, and goes on.
    Snapshot = 2,
    /// That it saves its state and ends, because a new version takes its place.
    Upgrade = 3,
}

/// A record that arrived.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitRecord {
    /// The payload, never NULL. How long it is there says the function that filled this.
    pub payload: *const u8,
    /// Bytes of payload.
    pub length: usize,
    /// Who sent it: the switch's word.
    pub source: u64,
    /// Who it is for.
    pub destination: u64,
    /// Ties a reply, or a notice, to its request.
    pub correlation: u64,
    /// The how-manieth record of its source this is.
    pub sequence: u64,
    /// The record that its source was handling when it sent this, or 0: bits 0 to 38 are of that one's sequence, bits 39 to 62 of its source; bit
    /// 63 is set if it came over a direct link. Its source's word.
    pub cause: u64,
    /// The application's own word.
    pub tag: u64,
    /// Of a request: how long its asker waits, in milliseconds.
    pub timeout_ms: u32,
    /// Of a reply: the application's status, 0 for success. Of a notice: an enum strait_reason.
    pub code: u16,
    /// An enum strait_kind.
    pub kind: u8,
    /// 0x10 and above belong to worlds, those below to the switch.
    pub flags: u8,
}

/// In the `flags` of a request that was received: another member of a group had it first, and died.
pub const STRAIT_FLAG_REPEATABLE: u8 = 0x02;

const _: () = assert!(STRAIT_FLAG_REPEATABLE == strait_protocol::FLAG_REPEATABLE);

impl StraitRecord {
    pub(crate) fn new(header: &Header, payload: &[u8]) -> Self {
        // An empty slice may start nowhere at all; C may not even pass such a pointer to memcpy.
        let payload = if payload.is_empty() { c"".as_ptr().cast() } else { payload.as_ptr() };
        Self {
            payload,
            length: header.length as usize,
            source: header.source.0,
            destination: header.destination.0,
            correlation: header.correlation,
            sequence: header.sequence,
            cause: header.cause,
            tag: header.tag,
            timeout_ms: header.timeout_ms,
            code: header.code,
            kind: header.kind as u8,
            flags: header.flags,
        }
    }

    /// What stands in for the reply of a request that `to` won't answer.
    pub(crate) fn undelivered(to: WorldId, reason: Reason) -> Self {
        let header = Header {
            source: to,
            code: reason as u16,
            flags: Kind::Request as u8,
            ..Header::new(Kind::Notice, WorldId::SWITCH, 0)
        };
        Self::new(&header, &[])
    }

    /// The header to reply with.
    pub(crate) fn header(&self) -> Header {
        Header {
            correlation: self.correlation,
            sequence: self.sequence,
            tag: self.tag,
            source: WorldId(self.source),
            ..Header::new(Kind::Request, WorldId(self.destination), 0)
        }
    }
}

/// Whether this record is the notice that this world is to end: within `timeout_ms`, for the reason that is its
/// payload (UTF-8, without a NUL). Nobody but the control service can send it. Reply to acknowledge, with any code.
/// False for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_shutdown_notice(record: Option<&StraitRecord>) -> bool {
    wanted(record) == Some(Wanted::Shutdown)
}

/// What the control service wants of this world, if this record says so; else STRAIT_WANTED_NOTHING, also for NULL. Nobody but the control
/// service can send it. It has `timeout_ms` for that; why is the payload (UTF-8, without a NUL). Reply when it is done, with any code.
#[unsafe(no_mangle)]
pub extern "C" fn strait_control_notice(record: Option<&StraitRecord>) -> StraitWanted {
    match wanted(record) {
        None => StraitWanted::Nothing,
        Some(Wanted::Shutdown) => StraitWanted::Shutdown,
        Some(Wanted::Snapshot) => StraitWanted::Snapshot,
        Some(Wanted::Upgrade) => StraitWanted::Upgrade,
    }
}

fn wanted(record: Option<&StraitRecord>) -> Option<Wanted> {
    let of_control = |record: &&StraitRecord| (record.kind, record.source) == (Kind::Request as u8, WorldId::CONTROL.0);
    record.filter(of_control).and_then(|record| Wanted::from_code(record.code))
}

static REASONS: LazyLock<Vec<CString>> = LazyLock::new(|| {
    let text = |code| Reason::from_code(code).and_then(|reason| CString::new(reason.to_string()).ok());
    (0..=StraitReason::Incomplete as u16).map(|code| text(code).unwrap_or_default()).collect()
});

/// What an enum strait_reason means, in words. Never NULL; empty for what is none. Alive for ever.
#[unsafe(no_mangle)]
pub extern "C" fn strait_reason_text(code: u16) -> *const c_char {
    REASONS.get(usize::from(code)).map_or(c"".as_ptr(), |text| text.as_ptr())
}
