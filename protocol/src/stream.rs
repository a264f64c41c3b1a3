//! A payload that is larger than one record takes: a run of pieces with the same source and stream number.
//!
//! ```text
//! each but the last   kind Message, FLAG_MORE, stream, tag = MARK | bytes before this piece; payload
//!                     correlation: of a piece of a reply that of its request, else MARK
//! the last            the real kind, correlation, code, tag and flags, and the stream; payload, then a trailer:
//!                     total u64 | is_broken_off u64
//! ```
//!
//! An agreement between clients; the switch moves each piece as a record of its own, in order with everything else, so that
//! pieces of many streams come interleaved. The offsets and the total are there so that a piece that was lost (refused, say, because
//! the policy changed meanwhile) is noticed, and so that a receiver that gave a stream up needs no memory of having done so: what
//! doesn't follow on what it has is of a stream that it doesn't gather. Whoever gathers takes nothing on trust: pieces may come
//! from a hostile world.

use crate::layout::{RECORD_ALIGN, SliceSize};
use crate::{FLAG_MORE, Header, Kind};

/// What a stream number that is none looks like.
pub const NO_STREAM: u32 = 0;
/// In tag and correlation of a piece, so that its sender tells notices about pieces from others.
pub const MARK: u64 = 1 << 63;
/// The longest payload of a piece, in bytes: with header and trailer it fits into the smallest inbox that there is, so that no sender needs to know
/// how large its receiver's is.
pub const MAX_PIECE_BYTES: u32 = (SliceSize::MIN.ring_bytes() - Header::BYTES - Trailer::BYTES) / 64 * 64;

/// The payload of a piece that suits an outbox with a ring of so many bytes: a quarter of it, so that sender, switch and receiver work
/// on different pieces at the same time; a multiple of 64.
pub const fn piece_bytes(ring_bytes: u32) -> u32 {
    let quarter = (ring_bytes / 4 - Header::BYTES - Trailer::BYTES) / 64 * 64;
    if quarter < MAX_PIECE_BYTES { quarter } else { MAX_PIECE_BYTES }
}

const _: () = assert!(MAX_PIECE_BYTES == 12160 && MAX_PIECE_BYTES.is_multiple_of(RECORD_ALIGN));

/// The header of a piece that isn't the last of its stream, which will end in `last`.
pub fn piece(last: &Header, stream: u32, bytes_before: u64, length: u32) -> Header {
    Header {
        flags: FLAG_MORE,
        stream,
        tag: MARK | bytes_before,
        correlation: if last.kind == Kind::Reply { last.correlation } else { MARK },
        ..Header::new(Kind::Message, last.destination, length)
    }
}

/// How many bytes its sender says are before this piece, which isn't the last; `None` if it says nothing of the kind.
pub fn bytes_before(piece: &Header) -> Option<u64> {
    (piece.tag & MARK != 0).then_some(piece.tag & !MARK)
}

/// Whether a notice is about a piece that isn't the last: then the notice about the last says the same once more.
pub fn is_about_piece(notice: &Header) -> bool {
    notice.flags & 0xf == Kind::Message as u8 && notice.correlation != 0 && notice.tag & MARK != 0
}

/// What stands behind the payload of the last piece.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    /// Bytes of payload of all pieces together.
    pub total: u64,
    /// The sender gave up: there is no whole.
    pub is_broken_off: bool,
}

impl Trailer {
    /// Bytes that it takes.
    pub const BYTES: u32 = 16;

    /// As it lies behind the payload.
    pub fn encode(&self) -> [u8; 16] {
        (u128::from(self.total) | u128::from(self.is_broken_off) << 64).to_le_bytes()
    }

    /// What the last piece says, and its payload; `None` if it is too short to say anything.
    pub fn split(last_piece: &[u8]) -> Option<(&[u8], Self)> {
        let (payload, trailer) = last_piece.split_last_chunk::<16>()?;
        let words = u128::from_le_bytes(*trailer);
        Some((payload, Self { total: words as u64, is_broken_off: words >> 64 != 0 }))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::{WorldId, stride};

    #[test]
    fn the_largest_piece_fits_every_inbox_and_four_fit_every_outbox() {
        assert!(stride(MAX_PIECE_BYTES + Trailer::BYTES) <= u64::from(SliceSize::MIN.ring_bytes()));
        let mut size = u64::from(SliceSize::MIN.bytes());
        while let Ok(slice) = SliceSize::new(size) {
            let piece = piece_bytes(slice.ring_bytes());
            assert!(piece.is_multiple_of(64) && piece <= MAX_PIECE_BYTES);
            assert!(4 * stride(piece + Trailer::BYTES) <= u64::from(slice.ring_bytes()));
            size *= 2;
        }
    }

    #[test]
    fn a_trailer_is_read_as_it_was_written() {
        for (total, is_broken_off) in [(0, false), (u64::MAX, true), (1 << 40, false)] {
            let trailer = Trailer { total, is_broken_off };
            let piece = [&b"abc"[..], &trailer.encode()].concat();
            assert_eq!(Trailer::split(&piece), Some((&b"abc"[..], trailer)));
        }
        assert_eq!(Trailer::split(&[0; 15]), None);
    }

    #[test]
    fn pieces_say_where_they_belong() {
        let reply = Header { correlation: 7, tag: MARK, ..Header::new(Kind::Reply, WorldId(20), 0) };
        let of_reply = piece(&reply, 3, 100, 50);
        assert_eq!((of_reply.kind, of_reply.correlation, bytes_before(&of_reply)), (Kind::Message, 7, Some(100)));
        let notice = |about: &Header| Header { flags: about.kind as u8, ..*about };
        assert!(is_about_piece(&notice(&of_reply)) && !is_about_piece(&notice(&reply)));
        let message = Header::new(Kind::Message, WorldId(20), 0);
        assert!(is_about_piece(&notice(&piece(&message, 3, 0, 50))) && !is_about_piece(&notice(&message)));
    }
}
