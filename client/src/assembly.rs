//! Gathers pieces into whole payloads, within bounds: pure logic, which knows nothing of slices.
//!
//! What pieces say of themselves is an allegation. A stream grows by what arrived and never by what was announced, and what
//! it takes is charged to its source before it is held. A piece that doesn't follow on what is there belongs to a stream that isn't
//! gathered (any more), and is let go without a trace: so a stream that was given up costs nothing to remember.
//!
//! **Who gives way.** A source beyond its own bound loses its stream that was idle for longest. When all sources together reach theirs, the one that
//! holds most loses one. So a source that holds less than its share (the bound by the number of sources) is never
//! hurt by the others, whatever they do.

use std::collections::HashMap;
use strait_protocol::stream::{NO_STREAM, Trailer, bytes_before};
use strait_protocol::{FLAG_MORE, FLAG_PACKED, Header, Kind, WorldId};

/// What an open stream is charged beside its payload.
const STREAM_BYTES: usize = 512;
/// After so many pieces that came to nothing one is told of as lost, though it isn't the last of its stream: so that a call that takes pieces without
/// waiting ends, however long somebody goes on sending such.
const MISFITS: u32 = 256;

/// How much a client gathers of payloads that come in pieces. See [`Client::set_assembly_limits`](crate::Client::set_assembly_limits).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AssemblyLimits {
    /// Bytes from one source, over all of its streams, and so the longest payload that is gathered. 64 MiB unless changed.
    pub source_bytes: usize,
    /// Bytes from all sources together. 256 MiB unless changed.
    pub total_bytes: usize,
    /// Streams that one source may have open. 64 unless changed.
    pub source_streams: usize,
}

impl Default for AssemblyLimits {
    fn default() -> Self {
        Self { source_bytes: 64 << 20, total_bytes: 256 << 20, source_streams: 64 }
    }
}

/// What came of a piece.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Nothing yet.
    Gathered,
    /// It was the last: the payload, and the header with the length of the whole.
    Whole(Header, Vec<u8>),
    /// It was the last, or can't be a piece at all, and there is no whole. Or one of many that came to nothing.
    Lost,
}

#[derive(Debug, Default)]
struct Open {
    bytes: Vec<u8>,
    touched: u64,
}

impl Open {
    fn charge(&self) -> usize {
        STREAM_BYTES + self.bytes.capacity()
    }
}

#[derive(Debug, Default)]
struct Source {
    open: HashMap<u32, Open>,
    charged: usize,
}

impl Source {
    /// The stream that was idle for longest, but for one.
    fn idlest(&self, except: Option<u32>) -> Option<u32> {
        let others = self.open.iter().filter(|(stream, _)| Some(**stream) != except);
        others.min_by_key(|(_, open)| open.touched).map(|(stream, _)| *stream)
    }
}

/// The streams that are being gathered.
#[derive(Debug, Default)]
pub(crate) struct Assembly {
    limits: AssemblyLimits,
    sources: HashMap<WorldId, Source>,
    charged: usize,
    clock: u64,
    /// Pieces that came to nothing since somebody was told of one.
    misfits: u32,
}

impl Assembly {
    /// Changes the bounds, and lets go whatever is beyond them.
    pub(crate) fn set_limits(&mut self, limits: AssemblyLimits) {
        self.limits = limits;
        let beyond =
            |source: &Source| source.charged > limits.source_bytes || source.open.len() > limits.source_streams;
        let ids: Vec<WorldId> = self.sources.iter().filter(|(_, source)| beyond(source)).map(|(id, _)| *id).collect();
        ids.into_iter().for_each(|id| self.forget(id));
        while self.charged > limits.total_bytes {
            let Some(largest) = self.largest() else { break };
            self.forget(largest);
        }
    }

    /// Whether this stream is being gathered.
    pub(crate) fn is_open(&self, source: WorldId, stream: u32) -> bool {
        self.sources.get(&source).is_some_and(|source| source.open.contains_key(&stream))
    }

    /// Lets go everything of a source that is gone.
    pub(crate) fn forget(&mut self, source: WorldId) {
        if let Some(gone) = self.sources.remove(&source) {
            self.charged -= gone.charged;
        }
    }

    /// Takes a piece: a record with [`FLAG_MORE`] or a stream number, and its whole payload as it lay in the record.
    pub(crate) fn push(&mut self, header: &Header, payload: &[u8]) -> Outcome {
        self.clock += 1;
        match header.flags & FLAG_MORE != 0 {
            true => self.push_more(header, payload),
            false => self.push_last(header, payload),
        }
    }

    fn push_more(&mut self, header: &Header, payload: &[u8]) -> Outcome {
        let (source, stream) = (header.source, header.stream);
        // A request or a reply that says it is one piece of many: whoever waits for it must hear that nothing will come of it.
        let before = bytes_before(header).filter(|_| header.kind == Kind::Message && stream != NO_STREAM);
        let Some(before) = before else { return Outcome::Lost };
        let gathered = self.gathered(source, stream);
        let follows = gathered.is_some_and(|bytes| bytes as u64 == before);
        // One that begins anew has a number that was used before, by a stream that was never ended.
        if !follows && gathered.is_some() {
            self.close(source, stream);
        }
        let fits = (follows || before == 0) && self.append(source, stream, payload);
        if !fits {
            self.close(source, stream);
        }
        if !fits || before == 0 && gathered.is_some() {
            self.misfits += 1;
        }
        match self.misfits >= MISFITS {
            true => {
                self.misfits = 0;
                Outcome::Lost
            }
            false => Outcome::Gathered,
        }
    }

    fn push_last(&mut self, header: &Header, piece: &[u8]) -> Outcome {
        let (source, stream) = (header.source, header.stream);
        let gathered = self.gathered(source, stream).unwrap_or(0);
        let whole = Trailer::split(piece).filter(|(payload, trailer)| {
            let total = gathered + payload.len();
            !trailer.is_broken_off && trailer.total == total as u64 && u32::try_from(total).is_ok()
        });
        let fits = whole.is_some_and(|(payload, _)| self.append(source, stream, payload));
        match self.close(source, stream) {
            Some(bytes) if fits => Outcome::Whole(whole_header(header, bytes.len()), bytes),
            _ => Outcome::Lost,
        }
    }

    fn gathered(&self, source: WorldId, stream: u32) -> Option<usize> {
        self.sources.get(&source)?.open.get(&stream).map(|open| open.bytes.len())
    }

    /// Adds to a stream, which is opened if it isn't yet. False if it is too much.
    fn append(&mut self, source: WorldId, stream: u32, payload: &[u8]) -> bool {
        let open = self.sources.get(&source).and_then(|source| source.open.get(&stream));
        let (length, capacity) = open.map_or((0, 0), |open| (open.bytes.len(), open.bytes.capacity()));
        let overhead = if open.is_some() { 0 } else { STREAM_BYTES };
        let needed = (length + payload.len()).saturating_sub(capacity);
        if needed + overhead > 0 {
            // Twice as much, where that hurts nobody: then all growing together copies each byte but once or twice.
            let ample = needed.max(capacity);
            let grown = if self.has_room(source, ample + overhead) { ample } else { needed };
            let opens = open.is_none();
            if !self.make_room(source, stream, grown + overhead, opens) || !self.grow(source, stream, capacity + grown)
            {
                return false;
            }
        }
        let clock = self.clock;
        let open = self.sources.get_mut(&source).and_then(|source| source.open.get_mut(&stream));
        open.is_some_and(|open| {
            open.touched = clock;
            open.bytes.extend_from_slice(payload);
            true
        })
    }

    fn has_room(&self, source: WorldId, more: usize) -> bool {
        let charged = self.sources.get(&source).map_or(0, |source| source.charged);
        charged + more <= self.limits.source_bytes && self.charged + more <= self.limits.total_bytes
    }

    /// Makes others give way until a stream can be charged so much more. False if that can't be.
    fn make_room(&mut self, id: WorldId, stream: u32, more: usize, opens: bool) -> bool {
        loop {
            let (charged, count) = self.sources.get(&id).map_or((0, 0), |source| (source.charged, source.open.len()));
            let is_over = charged + more > self.limits.source_bytes || opens && count >= self.limits.source_streams;
            let victim = match is_over {
                true => id,
                false if self.charged + more <= self.limits.total_bytes => return true,
                false => self.largest().filter(|largest| self.sources[largest].charged > charged + more).unwrap_or(id),
            };
            let idlest = self.sources.get(&victim).and_then(|source| source.idlest((victim == id).then_some(stream)));
            match idlest {
                Some(idlest) => {
                    self.close(victim, idlest);
                    self.misfits += 1;
                }
                None => return false,
            }
        }
    }

    fn largest(&self) -> Option<WorldId> {
        self.sources.iter().max_by_key(|(_, source)| source.charged).map(|(id, _)| *id)
    }

    /// Charges and reserves, in this order. False if the system has no memory: then nothing is charged for it either.
    fn grow(&mut self, id: WorldId, stream: u32, capacity: usize) -> bool {
        let source = self.sources.entry(id).or_default();
        let open = source.open.entry(stream).or_insert_with(|| {
            (source.charged, self.charged) = (source.charged + STREAM_BYTES, self.charged + STREAM_BYTES);
            Open::default()
        });
        let before = open.bytes.capacity();
        let reserved = open.bytes.try_reserve_exact(capacity - open.bytes.len()).is_ok();
        // What the allocator rounded up is held as well.
        let more = open.bytes.capacity() - before;
        (source.charged, self.charged) = (source.charged + more, self.charged + more);
        reserved
    }

    fn close(&mut self, id: WorldId, stream: u32) -> Option<Vec<u8>> {
        let source = self.sources.get_mut(&id)?;
        let open = source.open.remove(&stream)?;
        source.charged -= open.charge();
        self.charged -= open.charge();
        if source.open.is_empty() {
            self.sources.remove(&id);
        }
        Some(open.bytes)
    }
}

fn whole_header(last: &Header, bytes: usize) -> Header {
    Header { length: bytes as u32, flags: last.flags & !FLAG_PACKED, stream: NO_STREAM, ..*last }
}

#[cfg(test)]
#[path = "assembly_tests.rs"]
mod tests;
