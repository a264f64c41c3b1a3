//! Receiving in place, and waiting for it together with other things.

use crate::client::{StraitClient, duration, with_client};
use crate::error::Failure;
use crate::record::StraitRecord;
use std::ffi::c_int;
use std::mem::MaybeUninit;
use std::os::fd::AsRawFd;
use strait_client::{AssemblyLimits, Piece};

/// The next record: 1 if there is one, 0 if the time was over before. Waits as long as it takes (-1), not at all
/// (0), or so many milliseconds. The payload lies in the inbox itself, or in the client's memory if it came in pieces (see
/// "Lifetimes"), and can't be written. What is sent from now on has this record as its cause.
#[unsafe(no_mangle)]
pub extern "C" fn strait_receive(
    client: Option<&mut StraitClient>,
    timeout_ms: i32,
    record: Option<&mut MaybeUninit<StraitRecord>>,
) -> c_int {
    with_client(client, |client| {
        let record = record.ok_or_else(|| Failure::null("record"))?;
        let found = match timeout_ms {
            0 => client.client.try_receive(),
            _ => client.client.receive(duration(timeout_ms)),
        }?;
        client.parcel = found.as_ref().and_then(|found| found.parcel().cloned());
        let Some(found) = found else { return Ok(0) };
        // The pointer outlives the borrow: the payload stays where it is until the client steps past the record,
        // which the functions listed under "Lifetimes" do, and no others.
        record.write(StraitRecord {
            length: found.payload().len(),
            ..StraitRecord::new(&found.header(), found.payload())
        });
        Ok(1)
    })
}

/// Where a piece of a larger payload belongs.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct StraitPiece {
    /// Bytes of payload before this piece, as its sender says. Where that isn't what arrived, a piece was lost, and there
    /// is no whole.
    pub offset: u64,
    /// Which of its source's streams it belongs to. 0: it is no piece, but a whole; then the rest of this is 0 too.
    pub stream: u32,
    /// No more follow. Only now the record says what the whole is: kind, correlation, code, tag.
    pub is_last: bool,
    /// Its sender gave up: there is no whole.
    pub is_broken_off: bool,
}

/// The next record as it came, also a piece of a larger payload, in place in the inbox: for who wants no copy of the whole,
/// or holds none. Otherwise like strait_receive(). Pieces of a stream that strait_receive() or strait_request() began to
/// gather go on being gathered; the other way round, a stream whose beginning was handed out here is incomplete for those.
#[unsafe(no_mangle)]
pub extern "C" fn strait_receive_piece(
    client: Option<&mut StraitClient>,
    timeout_ms: i32,
    record: Option<&mut MaybeUninit<StraitRecord>>,
    piece: Option<&mut MaybeUninit<StraitPiece>>,
) -> c_int {
    with_client(client, |client| {
        let record = record.ok_or_else(|| Failure::null("record"))?;
        let piece = piece.ok_or_else(|| Failure::null("piece"))?;
        let found = match timeout_ms {
            0 => client.client.try_receive_piece(),
            _ => client.client.receive_piece(duration(timeout_ms)),
        }?;
        client.parcel = found.as_ref().and_then(|found| found.parcel().cloned());
        let Some(found) = found else { return Ok(0) };
        piece.write(found.piece().map_or(
            StraitPiece { offset: 0, stream: 0, is_last: false, is_broken_off: false },
            |Piece { stream, offset, is_last, is_broken_off }| StraitPiece { offset, stream, is_last, is_broken_off },
        ));
        // The pointer outlives the borrow, as in `strait_receive`.
        record.write(StraitRecord {
            length: found.payload().len(),
            ..StraitRecord::new(&found.header(), found.payload())
        });
        Ok(1)
    })
}

/// Bounds what is held of payloads that come in pieces, in bytes: from one source, which is also the longest payload that
/// strait_receive() gives (64 MiB at first), and from all (256 MiB); and how many a source may have begun (64). What is
/// beyond that is given up: in its place comes a notice, STRAIT_REASON_INCOMPLETE.
#[unsafe(no_mangle)]
pub extern "C" fn strait_set_assembly_limits(
    client: Option<&mut StraitClient>,
    source_bytes: usize,
    total_bytes: usize,
    source_streams: usize,
) -> c_int {
    with_client(client, |client| {
        client.client.set_assembly_limits(AssemblyLimits { source_bytes, total_bytes, source_streams });
        Ok(0)
    })
}

/// Gives the payload received last back now: it isn't needed any more. The next receive does that too; this is for who is
/// going to be busy with something else.
#[unsafe(no_mangle)]
pub extern "C" fn strait_release(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |client| {
        client.parcel = None;
        client.client.release();
        Ok(0)
    })
}

/// A descriptor that becomes readable when a record arrives, for poll(2), epoll(7) and the like. Poll it only after
/// strait_receive() with 0 milliseconds has returned 0; when it is readable, call that again until it does. It
/// belongs to the client: neither read nor close it.
#[unsafe(no_mangle)]
pub extern "C" fn strait_poll_fd(client: Option<&mut StraitClient>) -> c_int {
    with_client(client, |client| Ok(client.client.poll_fd().as_raw_fd()))
}
