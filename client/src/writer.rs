//! Sending a payload of any length as a run of pieces; see [`strait_protocol::stream`].

use crate::client::{Client, Delivery};
use crate::error::Error;
use crate::record::answers_over_link;
use std::io::{self, Write};
use std::time::Instant;
use strait_protocol::stream::{self, NO_STREAM, Trailer};
use strait_protocol::{Header, Kind, SliceMemory, Slot, WorldId};

/// What part of the outbox is left free behind each piece: so that a stream can always be broken off, and then something be sent
/// to others, behind which the switch makes way for it, although nobody reads the stream.
const SPARE: u32 = 8;

/// Sends one payload of any length, which is written bit by bit; [`finish`](Self::finish) ends it. Up to a piece (12 KiB, less if the outbox
/// is small) is gathered in place in the outbox before it is sent; a payload that isn't longer goes as an ordinary
/// record. Nothing else can be sent meanwhile.
///
/// Dropped before it is finished, or when waiting for room took longer than [`Client::set_patience`] allows, the stream is broken off:
/// who gathers it learns that it is [incomplete](strait_protocol::Reason::Incomplete).
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = strait_client::Client::open()?;
/// let archive = client.resolve("archive")?;
/// let mut writer = client.writer(archive);
/// std::io::copy(&mut std::fs::File::open("/data/film")?, &mut writer)?;
/// writer.finish()?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
#[must_use = "a writer that isn't finished breaks its stream off"]
pub struct StreamWriter<'a> {
    client: &'a mut Client,
    /// Of the last piece.
    last: Header,
    /// None before the first piece was sent.
    stream: u32,
    sent_bytes: u64,
    /// The piece that is being filled, and how far.
    piece: Option<(Slot, usize)>,
    piece_bytes: usize,
    deadline: Option<Instant>,
    /// All of it, if it answers a request that came over a link, which carries no pieces.
    over_link: Option<Vec<u8>>,
}

/// A stream between two of its pieces, for who can't hold on to the client meanwhile. One that isn't resumed isn't broken off either.
#[cfg(feature = "tokio")]
#[derive(Clone, Copy, Debug)]
pub(crate) struct Suspended {
    last: Header,
    stream: u32,
    sent_bytes: u64,
}

#[cfg(feature = "tokio")]
impl Suspended {
    pub(crate) fn new(last: Header) -> Self {
        Self { last, stream: NO_STREAM, sent_bytes: 0 }
    }
}

impl Client {
    /// Begins a message of any length, written bit by bit.
    pub fn writer(&mut self, to: WorldId) -> StreamWriter<'_> {
        StreamWriter::new(self, Header::new(Kind::Message, to, 0), None)
    }

    /// Begins the answer to a request, of any length; to one that came over a [link](Self::link) as much as that takes at once. `code` 0 is success; other codes are the application's.
    pub fn reply_writer(&mut self, request: &Header, code: u16) -> StreamWriter<'_> {
        let mut writer = StreamWriter::new(self, Self::reply_header(request, code), None);
        writer.over_link = answers_over_link(&writer.last).then(Vec::new);
        writer
    }

    /// Sends a payload that is larger than the outbox.
    #[cold]
    pub(crate) fn put_pieces(&mut self, last: Header, payload: &[u8], deadline: Option<Instant>) -> Result<u64, Error> {
        let mut writer = StreamWriter::new(self, last, deadline);
        let mut rest = payload;
        while !rest.is_empty() {
            rest = &rest[writer.fill(rest)?..];
        }
        writer.finish()
    }

    /// The payload of a piece that suits our outbox, and the room that there must be before one is begun.
    pub(crate) fn piece_room(&self) -> (usize, usize) {
        let ring_bytes = self.endpoint.mine().ring_bytes();
        let piece = stream::piece_bytes(ring_bytes);
        (piece as usize, (piece + Trailer::BYTES + ring_bytes / SPARE) as usize)
    }

    fn next_stream(&mut self) -> u32 {
        self.streams = self.streams.checked_add(1).unwrap_or(NO_STREAM + 1);
        self.streams
    }
}

impl<'a> StreamWriter<'a> {
    pub(crate) fn new(client: &'a mut Client, last: Header, deadline: Option<Instant>) -> Self {
        let (piece_bytes, _) = client.piece_room();
        Self { client, last, stream: NO_STREAM, sent_bytes: 0, piece: None, piece_bytes, deadline, over_link: None }
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn resume(client: &'a mut Client, at_rest: Suspended, deadline: Option<Instant>) -> Self {
        let mut writer = Self::new(client, at_rest.last, deadline);
        (writer.stream, writer.sent_bytes) = (at_rest.stream, at_rest.sent_bytes);
        writer
    }

    /// The piece that is being filled, if there is one, is forgotten.
    #[cfg(feature = "tokio")]
    pub(crate) fn suspend(mut self) -> Suspended {
        let stream = std::mem::replace(&mut self.stream, NO_STREAM);
        Suspended { last: self.last, stream, sent_bytes: self.sent_bytes }
    }

    /// The header of the whole: set the tag, the flags of applications, the code.
    pub fn header_mut(&mut self) -> &mut Header {
        &mut self.last
    }

    /// Ends the payload. The sequence number returned is that of the last piece: a notice about it is one about the whole.
    pub fn finish(mut self) -> Result<u64, Error> {
        if let Some(payload) = self.over_link.take() {
            return self.client.put(self.last, &payload, self.deadline);
        }
        let (slot, filled) = self.piece()?;
        match self.stream {
            NO_STREAM => self.commit(&slot, Header { length: filled as u32, stream: NO_STREAM, ..self.last }),
            _ => self.commit_last(&slot, filled, false),
        }
    }

    /// Takes as much as fits into the piece that is being filled, of which there is always something.
    pub(crate) fn fill(&mut self, bytes: &[u8]) -> Result<usize, Error> {
        if let Some(payload) = &mut self.over_link {
            payload.extend_from_slice(bytes);
            return Ok(bytes.len());
        }
        if self.piece.as_ref().is_some_and(|(_, filled)| *filled == self.piece_bytes) {
            self.send_piece()?;
        }
        let (slot, filled) = self.piece()?;
        let count = bytes.len().min(self.piece_bytes - filled);
        self.client.fill(&slot, filled as u32, &bytes[..count]);
        self.piece = Some((slot, filled + count));
        Ok(count)
    }

    /// Takes out the piece that is being filled, or a fresh one.
    fn piece(&mut self) -> Result<(Slot, usize), Error> {
        if let Some(piece) = self.piece.take() {
            return Ok(piece);
        }
        self.client.settle(self.last.destination)?;
        let (_, room) = self.client.piece_room();
        Ok((self.client.reserve(self.last.destination, room, self.deadline)?, 0))
    }

    pub(crate) fn send_piece(&mut self) -> Result<(), Error> {
        let Some((slot, filled)) = self.piece.take() else { return Ok(()) };
        if self.stream == NO_STREAM {
            self.stream = self.client.next_stream();
        }
        let header = stream::piece(&self.last, self.stream, self.sent_bytes, filled as u32);
        self.sent_bytes += filled as u64;
        self.commit(&slot, header).map(drop)
    }

    fn commit_last(&mut self, slot: &Slot, filled: usize, is_broken_off: bool) -> Result<u64, Error> {
        let trailer = Trailer { total: self.sent_bytes + filled as u64, is_broken_off };
        self.client.payload_mut(slot)[filled..][..Trailer::BYTES as usize].copy_from_slice(&trailer.encode());
        let kind = if is_broken_off { Kind::Message } else { self.last.kind };
        let length = filled as u32 + Trailer::BYTES;
        let header = Header { length, kind, stream: self.stream, ..self.last };
        self.stream = NO_STREAM;
        self.commit(slot, header)
    }

    fn commit(&mut self, slot: &Slot, header: Header) -> Result<u64, Error> {
        self.client.commit(slot, &header, Delivery::Now)
    }
}

impl Write for StreamWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if bytes.is_empty() { Ok(0) } else { Ok(self.fill(bytes)?) }
    }

    /// Sends what was written so far, as a piece that may be a short one.
    fn flush(&mut self) -> io::Result<()> {
        Ok(self.send_piece()?)
    }
}

impl Drop for StreamWriter<'_> {
    fn drop(&mut self) {
        if self.stream == NO_STREAM {
            return;
        }
        let slot = match self.piece.take() {
            Some((slot, _)) => Ok(slot),
            // There is room: it was left free behind the piece before, and nobody else writes.
            None => self.client.endpoint.reserve(Trailer::BYTES as usize).map_err(Error::from),
        };
        if let Ok(slot) = slot {
            let _ = self.commit_last(&slot, 0, true);
        }
    }
}
