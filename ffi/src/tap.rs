//! Seeing what others send and are sent.

use crate::client::{StraitClient, with_client};
use crate::error::{Failure, guarded};
use crate::pointer::{bytes, give, text};
use crate::record::StraitRecord;
use std::ffi::{c_char, c_int};
use std::mem::MaybeUninit;
use strait_client::{Fate, Header, Kind, Sights, WorldId};
use strait_protocol::tap::sight_stride;

/// What the switch did with a record.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StraitFate {
    /// It is in its receiver's inbox.
    Delivered = 0,
    /// It is held until its receiver has room.
    Held = 1,
    /// It went nowhere; of a request also: it ended without a reply. `reason` says why.
    Ended = 2,
}

/// One record, as a tap saw it.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitSight {
    /// The record, as the switch stamped it. Its `length` is the record's; of its payload `shown` bytes are there.
    pub record: StraitRecord,
    /// How much of its payload is shown: nothing, if policy doesn't let it be.
    pub shown: usize,
    /// When, in nanoseconds since the tap began.
    pub at_ns: u64,
    /// An enum strait_fate.
    pub fate: u16,
    /// An enum strait_reason, where `fate` is STRAIT_FATE_ENDED; else 0.
    pub reason: u16,
}

/// Sees from now on what worlds send and are sent whose names are of a pattern: a name, or the beginning of names with a `*` at its end. Takes
/// `may = ["tap PATTERN"]`. With `payload` the beginning of payloads too, as far as the worlds' configuration lets them be shown. It comes by strait_receive(), many at a time:
/// strait_sights(). One tap at a time: this is in place of what was tapped before. Waits up to 10 seconds; ends the life of the payload
/// received last.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_tap(client: Option<&mut StraitClient>, pattern: *const c_char, payload: bool) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `text`; that the text ends is the caller's word (strait.h, "Pointers").
        let pattern = unsafe { text(pattern, "pattern") }?;
        client.sender()?.tap(pattern, payload)?;
        Ok(0)
    })
}

/// Sees nothing of others any more. Waits up to 10 seconds; ends the life of the payload received last.
#[unsafe(no_mangle)]
pub extern "C" fn strait_untap(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |client| {
        client.sender()?.untap()?;
        Ok(0)
    })
}

/// Whether this record is of our tap: then strait_next_sight() gives what was seen. `*missed`, which may be NULL, is how many were seen since the
/// last such record and had no place. False for NULL.
#[unsafe(no_mangle)]
pub extern "C" fn strait_sights(record: Option<&StraitRecord>, missed: Option<&mut MaybeUninit<u64>>) -> bool {
    let Some(record) = record.filter(|record| is_batch(record)) else { return false };
    give(missed, record.tag);
    true
}

/// One after the other of what a tap saw: 1 if there was another one, 0 if not, or if the record isn't of our tap. `*place` must be 0 at first.
/// The payload of `*sight` lives as long as that of `*record`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_next_sight(
    record: Option<&StraitRecord>,
    place: Option<&mut usize>,
    sight: Option<&mut MaybeUninit<StraitSight>>,
) -> c_int {
    guarded(|| {
        let record = record.ok_or_else(|| Failure::null("record"))?;
        let place = place.ok_or_else(|| Failure::null("place"))?;
        let out = sight.ok_or_else(|| Failure::null("sight"))?;
        // SAFETY: null is refused in `bytes`; that the payload is still there is the caller's word (strait.h, "Lifetimes").
        let payload = unsafe { bytes(record.payload.cast(), record.length) }?;
        let header = Header { source: WorldId(record.source), ..Header::new(Kind::Message, WorldId::SWITCH, 0) };
        let rest = payload.get(*place..).filter(|_| is_batch(record));
        let Some(seen) = rest.and_then(|rest| Sights::of(&header, rest)?.next()) else { return Ok(0) };
        *place += sight_stride(seen.payload.len());
        let (fate, reason) = match seen.fate {
            Fate::Delivered => (StraitFate::Delivered, 0),
            Fate::Held => (StraitFate::Held, 0),
            Fate::Ended(reason) => (StraitFate::Ended, reason as u16),
        };
        let (record, shown) = (StraitRecord::new(&seen.header, seen.payload), seen.payload.len());
        out.write(StraitSight { record, shown, at_ns: seen.at_ns, fate: fate as u16, reason });
        Ok(1)
    })
}

fn is_batch(record: &StraitRecord) -> bool {
    (record.kind, record.source) == (Kind::Message as u8, WorldId::SWITCH.0)
}
