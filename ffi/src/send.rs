//! Sending: messages, requests, replies.

use crate::client::{StraitClient, duration, with_client};
use crate::error::Failure;
use crate::pointer::{bytes, give, many};
use crate::record::StraitRecord;
use std::ffi::{c_int, c_void};
use std::mem::MaybeUninit;
use std::time::{Duration, Instant};
use strait_client::{Client, Error, WorldId};

/// How long a request can wait at most.
pub(crate) const AGES: Duration = Duration::from_millis(u32::MAX as u64);

/// Sends a message of any length. When the outbox is full, waits for room: as long as it takes (-1), not at all (0), or so
/// many milliseconds, after which it is STRAIT_ERROR_FULL. `*sequence`, which a notice about the message would carry,
/// may be NULL.
///
/// What is longer than strait_max_payload() goes in pieces and arrives whole or not at all; it can't go without waiting, so
/// with 0 milliseconds it is STRAIT_ERROR_TOO_LARGE.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_send(
    client: Option<&mut StraitClient>,
    to: u64,
    payload: *const c_void,
    length: usize,
    timeout_ms: i32,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word (strait.h, "Pointers").
        let payload = unsafe { bytes(payload, length) }?;
        let (client, to) = (client.sender()?, WorldId(to));
        let sent = match duration(timeout_ms) {
            None => client.send(to, payload),
            Some(Duration::ZERO) => client.try_send(to, payload),
            Some(time) => client.send_before(Instant::now() + time, to, payload),
        };
        give(sequence, sent?);
        Ok(0)
    })
}

/// Some bytes of the caller.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitBytes {
    /// Where they start. May be NULL if there are none.
    pub start: *const c_void,
    /// How many there are.
    pub length: usize,
}

/// Sends `count` messages to one receiver, in order, many of them in one record: for many small ones quicker by far than one
/// by one. Each arrives as a message of its own. Those of one record have the same sequence, and a notice about it is about
/// all of them. Waits for room if need be, see strait_set_patience(): `*sent` is how many were sent, which is all of them
/// unless that took too long. It may be NULL. STRAIT_ERROR_FULL only if none was.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_send_batch(
    client: Option<&mut StraitClient>,
    to: u64,
    payloads: *const StraitBytes,
    count: usize,
    sent: Option<&mut MaybeUninit<usize>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `many`; that the list is there is the caller's word (strait.h, "Pointers").
        let payloads = unsafe { many(payloads, count, "payloads") }?;
        let client = client.sender()?;
        // All are judged before any is sent.
        for payload in payloads {
            // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word.
            unsafe { bytes(payload.start, payload.length) }?;
        }
        // SAFETY: the same.
        let all = payloads.iter().map(|payload| unsafe { bytes(payload.start, payload.length) }.unwrap_or_default());
        give(sent, client.send_batch(WorldId(to), all)?);
        Ok(0)
    })
}

/// Sends one message to `count` receivers, 1 to 64 of them: written once, copied by the switch to each. Each is judged by itself: a
/// notice with this sequence says who could not be reached. Waits for room if need be, see strait_set_patience().
/// `*sequence` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_multicast(
    client: Option<&mut StraitClient>,
    to: *const u64,
    count: usize,
    payload: *const c_void,
    length: usize,
    sequence: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `many`; that the list is there is the caller's word (strait.h, "Pointers").
        let to: Vec<_> = unsafe { many(to, count, "to") }?.iter().copied().map(WorldId).collect();
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word.
        let payload = unsafe { bytes(payload, length) }?;
        give(sequence, client.sender()?.multicast(&to, payload)?);
        Ok(0)
    })
}

/// Sends a request and waits for its reply, for `timeout_ms` milliseconds at most; -1 is 49 days. What else arrives
/// meanwhile is kept for later receives; the payload received last is dead. `reply` may be NULL. Its payload is a
/// copy that lives until the next strait_request() or strait_close().
///
/// STRAIT_ERROR_UNDELIVERED: there is no reply, and `*reply` is a notice without payload, whose code says why
/// (enum strait_reason). STRAIT_REASON_INCOMPLETE: the reply was more than we gather, or its sender broke it off.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_request(
    client: Option<&mut StraitClient>,
    to: u64,
    payload: *const c_void,
    length: usize,
    timeout_ms: i32,
    reply: Option<&mut MaybeUninit<StraitRecord>>,
) -> c_int {
    with_client(client, |client| {
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word (strait.h, "Pointers").
        let payload = unsafe { bytes(payload, length) }?;
        let answer = client.sender()?.request(WorldId(to), payload, duration(timeout_ms).unwrap_or(AGES));
        if let Err(Error::Undelivered { to, reason }) = answer {
            give(reply, StraitRecord::undelivered(to, reason));
            return Err(Error::Undelivered { to, reason }.into());
        }
        let answer = answer?;
        client.reply = answer.payload;
        give(reply, StraitRecord::new(&answer.header, &client.reply));
        Ok(0)
    })
}

/// Sends a request and doesn't wait: the reply, or the notice that there is none, comes by strait_receive() with this
/// correlation, within `timeout_ms` milliseconds; -1 is 49 days. Waits for room if need be, see strait_set_patience().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_start_request(
    client: Option<&mut StraitClient>,
    to: u64,
    payload: *const c_void,
    length: usize,
    timeout_ms: i32,
    correlation: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    // SAFETY: null is refused there; that the bytes are there is the caller's word (strait.h, "Pointers").
    unsafe { start(client, Client::start_request, WorldId(to), (payload, length), timeout_ms, correlation) }
}

/// The same for a group, whose next member gets the request if the one that has it dies before it has answered: it is kept by the
/// switch, on our account, until it ends. What is sent to a world isn't repeated. STRAIT_ERROR_TOO_LARGE: it needs more than one
/// record. Where STRAIT_FLAG_REPEATABLE is set in a request that was received, another member had it first.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_start_repeatable(
    client: Option<&mut StraitClient>,
    to: u64,
    payload: *const c_void,
    length: usize,
    timeout_ms: i32,
    correlation: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    // SAFETY: null is refused there; that the bytes are there is the caller's word (strait.h, "Pointers").
    unsafe { start(client, Client::start_repeatable, WorldId(to), (payload, length), timeout_ms, correlation) }
}

/// Starts a request in one of the ways that there are.
///
/// # Safety
///
/// The payload is there, as its length says, or null (strait.h, "Pointers").
unsafe fn start(
    client: Option<&mut StraitClient>,
    how: fn(&mut Client, WorldId, &[u8], Duration) -> Result<u64, Error>,
    to: WorldId,
    (payload, length): (*const c_void, usize),
    timeout_ms: i32,
    correlation: Option<&mut MaybeUninit<u64>>,
) -> c_int {
    with_client(client, |client| {
        let correlation = correlation.ok_or_else(|| Failure::null("correlation"))?;
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word.
        let payload = unsafe { bytes(payload, length) }?;
        let time = duration(timeout_ms).unwrap_or(AGES);
        correlation.write(how(client.sender()?, to, payload, time)?);
        Ok(0)
    })
}

/// Answers a request, or acknowledges a notice of shutdown. `code` 0 is success; other codes are the application's.
/// The payload may be that of the request. Only `source`, `correlation`, `sequence` and `tag` of the request matter, so a
/// copy will do, at any later time. Waits for room if need be, see strait_set_patience().
#[unsafe(no_mangle)]
pub unsafe extern "C" fn strait_reply(
    client: Option<&mut StraitClient>,
    request: Option<&StraitRecord>,
    code: u16,
    payload: *const c_void,
    length: usize,
) -> c_int {
    with_client(client, |client| {
        let request = request.ok_or_else(|| Failure::null("request"))?;
        // SAFETY: null is refused in `bytes`; that the bytes are there is the caller's word (strait.h, "Pointers"),
        // also for a payload in the inbox: sending doesn't step past the record received last.
        let payload = unsafe { bytes(payload, length) }?;
        client.sender()?.reply(&request.header(), code, payload)?;
        Ok(0)
    })
}

/// Bounds how long any call may wait for room in the outbox, where it has no time of its own: after that it is
/// STRAIT_ERROR_FULL. -1, as long as it takes, is how a client begins.
#[unsafe(no_mangle)]
pub extern "C" fn strait_set_patience(client: Option<&mut StraitClient>, timeout_ms: i32) -> c_int {
    with_client(client, |client| {
        client.client.set_patience(duration(timeout_ms));
        Ok(0)
    })
}

/// Shows the switch whatever was staged.
#[unsafe(no_mangle)]
pub extern "C" fn strait_flush(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |client| {
        client.client.flush();
        Ok(0)
    })
}

/// Waits until the switch has taken everything that was sent. 1 if it has, 0 if the time was over before; -1 is 49
/// days.
#[unsafe(no_mangle)]
pub extern "C" fn strait_drain(client: Option<&mut StraitClient>, timeout_ms: i32) -> c_int {
    with_client(client, |client| Ok(client.client.drain(duration(timeout_ms).unwrap_or(AGES))?.into()))
}
