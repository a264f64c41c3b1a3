//! One party's view of a pair of slices: the same code for a world, the switch, and a direct link.
//!
//! Steps come in pairs. Writing: `reserve`, fill the payload, `commit`, and `publish` when the batch is
//! whole. Reading: `peek`, use the payload, `advance`, and `release` when enough has been read. Sleeping:
//! `arm`, look once more, sleep, `disarm`; and after each publish or release, `ring_for`.

use crate::layout::{Control, MAX_STOPS, RECORD_ALIGN};
use crate::primitive::{Ordering, fence};
use crate::wait::{Event, Via, Waiting};
use crate::{Consumer, Corrupt, Header, Producer, RawHeader, WorldId, stride};

/// A slice that can be read. `offset` is a place in the ring; header and payload may run past the ring's
/// end by up to a ring, where the same bytes lie again.
pub trait SliceMemory {
    /// The words of the header page.
    fn control(&self) -> &Control;
    /// Bytes of the ring.
    fn ring_bytes(&self) -> u32;
    /// Reads the eight words of a record header, each once.
    fn load_header(&self, offset: u32) -> [u64; 8];
    /// The same, to where they are wanted: without a copy on the way.
    #[inline]
    fn load_header_into(&self, offset: u32, to: &mut [u64; 8]) {
        *to = self.load_header(offset);
    }
    /// Copies payload out, each byte read once.
    fn copy_out(&self, offset: u32, to: &mut [u8]);
}

/// A slice that can be written: by the holder of this and nobody else.
pub trait WritableMemory: SliceMemory {
    /// Writes the eight words of a record header.
    fn store_header(&mut self, offset: u32, words: &[u64; 8]);
    /// Writes payload.
    fn copy_in(&mut self, offset: u32, from: &[u8]);
    /// Whether what is written from now on should go past this processor's cache, because its reader has another.
    fn set_streaming(&mut self, _on: bool) {}
    /// Makes everything written visible before whatever is written next.
    fn settle(&mut self) {}
}

/// Room for one record: made by [`Endpoint::reserve`], used up by [`Endpoint::commit`].
#[derive(Debug)]
#[must_use = "a reservation that isn't committed sends nothing"]
pub struct Slot {
    offset: u32,
    payload_bytes: u32,
}

impl Slot {
    /// Where in the ring the record goes.
    pub fn offset(&self) -> u32 {
        self.offset
    }

    /// Where in the ring the payload goes.
    pub fn payload_offset(&self) -> u32 {
        self.offset + Header::BYTES
    }

    /// How long it may be.
    pub fn payload_bytes(&self) -> u32 {
        self.payload_bytes
    }
}

/// A record in a ring, at the head of the other party's or in one's own, its header already copied and judged.
#[derive(Clone, Copy, Debug)]
pub struct Incoming {
    /// The header.
    pub raw: RawHeader,
    offset: u32,
}

impl Incoming {
    /// Where in the ring the payload is.
    pub fn payload_offset(&self) -> u32 {
        self.offset + Header::BYTES
    }
}

/// Why there is no room for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReserveError {
    /// Not now: the other party has to read first.
    #[error("the ring is full")]
    Full,
    /// Never: the ring is too small.
    #[error("record of {payload_bytes} bytes is larger than the ring takes ({max_bytes})")]
    TooLarge {
        /// What was asked for.
        payload_bytes: usize,
        /// The largest payload of this ring.
        max_bytes: u32,
    },
    /// The other party's consumer cursor can't be true.
    #[error(transparent)]
    Corrupt(#[from] Corrupt),
}

/// A pair of slices as seen by the writer of `mine`.
#[derive(Debug)]
pub struct Endpoint<M, T> {
    mine: M,
    theirs: T,
    producer: Producer,
    consumer: Consumer,
    waiting: Waiting,
    rung: Waiting,
    /// The header of the record at the head of the other party's ring, and where that is.
    head: RawHeader,
    head_offset: u32,
}

impl<M: WritableMemory, T: SliceMemory> Endpoint<M, T> {
    /// A view of an unused pair.
    pub fn new(mine: M, theirs: T) -> Self {
        let producer = Producer::new(mine.ring_bytes());
        let consumer = Consumer::new(theirs.ring_bytes());
        let (waiting, rung) = (Waiting::default(), Waiting::default());
        Self { mine, theirs, producer, consumer, waiting, rung, head: RawHeader::NONE, head_offset: 0 }
    }

    /// The slice this party writes.
    pub fn mine(&self) -> &M {
        &self.mine
    }

    /// The slice this party writes, to fill a reserved payload.
    pub fn mine_mut(&mut self) -> &mut M {
        &mut self.mine
    }

    /// Both slices at once, to move payload from one into another pair's.
    pub fn theirs_and_mine(&mut self) -> (&T, &mut M) {
        (&self.theirs, &mut self.mine)
    }

    /// The slice the other party writes.
    pub fn theirs(&self) -> &T {
        &self.theirs
    }

    /// The largest payload that this party can send in one record.
    pub fn max_payload(&self) -> u32 {
        self.mine.ring_bytes() - Header::BYTES
    }

    /// Makes room for a record, looking at the other party's cursor only when the room it knows of is too small.
    #[inline]
    pub fn reserve(&mut self, payload_bytes: usize) -> Result<Slot, ReserveError> {
        self.reserve_beside(payload_bytes, 0)
    }

    /// The same, if so many bytes of the ring stay free beside it.
    #[inline]
    pub fn reserve_beside(&mut self, payload_bytes: usize, free_bytes: u32) -> Result<Slot, ReserveError> {
        let max_bytes = self.max_payload();
        let length = match u32::try_from(payload_bytes) {
            Ok(length) if length <= max_bytes => length,
            _ => {
                return Err(ReserveError::TooLarge { payload_bytes, max_bytes });
            }
        };
        let needed = stride(length) as u32;
        if self.producer.free() < needed.saturating_add(free_bytes) {
            self.hear_consumed()?;
            if self.producer.free() < needed.saturating_add(free_bytes) {
                return Err(ReserveError::Full);
            }
        }
        let offset = self.producer.reserve(needed).ok_or(ReserveError::Full)?;
        Ok(Slot { offset, payload_bytes: length })
    }

    /// Writes the header of a reserved record; the payload is in place. Its length may be less than reserved.
    #[inline]
    pub fn commit(&mut self, slot: &Slot, header: &RawHeader) {
        assert!(header.length() <= slot.payload_bytes, "a record longer than its reservation");
        self.mine.store_header(slot.offset, header.words());
        self.producer.commit(header.stride());
    }

    /// Shows the other party everything committed. Says whether there was anything.
    #[inline]
    pub fn publish(&mut self) -> bool {
        let staged = self.producer.is_staged();
        if staged {
            let produced = self.producer.publish();
            self.mine.settle();
            self.mine.control().produced.store(produced, Ordering::Release);
        }
        staged
    }

    /// Says on which processor this party runs.
    #[inline]
    pub fn announce(&mut self, processor: u32) {
        let word = &self.mine.control().processor;
        if word.load(Ordering::Relaxed) != processor + 1 {
            word.store(processor + 1, Ordering::Relaxed);
        }
    }

    /// Whether the other party says that it runs on another processor.
    #[inline]
    pub fn is_far_from(&self, processor: u32) -> bool {
        let theirs = self.theirs.control().processor.load(Ordering::Relaxed);
        theirs != 0 && theirs != processor + 1
    }

    /// Bytes written and not yet published.
    #[inline]
    pub fn staged(&self) -> u32 {
        self.producer.staged()
    }

    /// Bytes this party has ever written, published or not.
    #[inline]
    pub fn written(&self) -> u64 {
        self.producer.written()
    }

    /// Bytes this party has ever been told of that the other has released.
    #[inline]
    pub fn consumed(&self) -> u64 {
        self.producer.consumed()
    }

    /// Tells the other party at one of the [`MAX_STOPS`] places not to send to this receiver, or to no longer keep from it.
    pub fn set_stop(&mut self, place: usize, receiver: Option<WorldId>) {
        let control = self.mine.control();
        control.stops.0[place].store(receiver.map_or(0, |id| id.0), Ordering::Relaxed);
        let used = control.stopped.load(Ordering::Relaxed).max(place as u32 + 1);
        control.stopped.store(used, Ordering::Release);
    }

    /// Whether the other party says that this receiver takes nothing for now. It never says that of the switch, whose id means that a place is
    /// free.
    #[inline]
    pub fn is_stopped(&self, receiver: WorldId) -> bool {
        let control = self.theirs.control();
        let used = control.stopped.load(Ordering::Acquire) as usize;
        used > 0
            && receiver != WorldId::SWITCH
            && control.stops.0[..used.min(MAX_STOPS)].iter().any(|id| id.load(Ordering::Relaxed) == receiver.0)
    }

    fn hear_consumed(&mut self) -> Result<(), Corrupt> {
        self.producer.learn(self.theirs.control().consumed.load(Ordering::Acquire))
    }

    /// Whether the other party has read and released everything published.
    pub fn is_drained(&mut self) -> Result<bool, Corrupt> {
        self.hear_consumed()?;
        Ok(self.producer.is_drained())
    }

    /// Bytes of ring this party could write right now.
    pub fn room(&mut self) -> Result<u32, Corrupt> {
        self.hear_consumed()?;
        Ok(self.producer.free())
    }

    /// The next record of the other party, if there is one, its header copied once and judged.
    #[inline]
    pub fn peek(&mut self) -> Result<Option<Incoming>, Corrupt> {
        if self.consumer.available() == 0 && !self.hear_produced()? {
            return Ok(None);
        }
        let offset = self.consumer.offset();
        let raw = RawHeader::judge(self.theirs.load_header(offset), self.consumer.available())?;
        Ok(Some(Incoming { raw, offset }))
    }

    /// Copies the header of the other party's next record to [`head`](Self::head), once, and judges it there. False if there is no
    /// record. The same as [`peek`](Self::peek) for those to whom the copies count.
    #[inline(always)]
    pub fn fetch(&mut self) -> Result<bool, Corrupt> {
        if self.consumer.available() == 0 && !self.hear_produced()? {
            return Ok(false);
        }
        self.head_offset = self.consumer.offset();
        self.theirs.load_header_into(self.head_offset, self.head.words_mut());
        self.head.check(self.consumer.available())?;
        Ok(true)
    }

    /// What was fetched last.
    #[inline(always)]
    pub fn head(&self) -> &RawHeader {
        &self.head
    }

    /// Where in the ring its payload is.
    #[inline(always)]
    pub fn head_payload(&self) -> u32 {
        self.head_offset + Header::BYTES
    }

    /// Steps past `bytes` of record: what was fetched or peeked takes.
    #[inline(always)]
    pub fn pass(&mut self, bytes: u32) {
        self.consumer.advance(bytes);
    }

    /// The record that starts `past` bytes behind the head, if one is published there: to see what is coming without
    /// taking it. What it says may have changed by the time it is taken.
    pub fn peek_past(&self, past: u32) -> Result<Option<RawHeader>, Corrupt> {
        match self.consumer.available().checked_sub(past) {
            None | Some(0) => Ok(None),
            Some(left) => {
                let offset = (self.consumer.offset() + past) % self.theirs.ring_bytes();
                RawHeader::judge(self.theirs.load_header(offset), left).map(Some)
            }
        }
    }

    /// Looks at the other party's cursor: says whether something is there to be read.
    #[inline]
    pub fn hear_produced(&mut self) -> Result<bool, Corrupt> {
        self.consumer.learn(self.theirs.control().produced.load(Ordering::Acquire))?;
        Ok(self.consumer.available() > 0)
    }

    /// Steps past a record that was peeked.
    pub fn advance(&mut self, past: &Incoming) {
        assert!(past.offset == self.consumer.offset(), "only the record at the head can be stepped past");
        self.consumer.advance(past.raw.stride());
    }

    /// Bytes read and not yet given back.
    #[inline]
    pub fn unreleased(&self) -> u32 {
        self.consumer.unreleased()
    }

    /// Bytes of the other party's ring that were read so far, ever.
    #[inline]
    pub fn read_to(&self) -> u64 {
        self.consumer.read_to()
    }

    /// Bytes of the other party's ring that are known to be published, ever.
    pub fn heard_to(&self) -> u64 {
        self.consumer.heard_to()
    }

    /// Bytes of this party's ring that were written so far, ever.
    #[inline]
    pub fn written_to(&self) -> u64 {
        self.producer.written_to()
    }

    /// The records of this party that were published and that the other hasn't released.
    pub fn unread(&mut self) -> Result<Vec<RawHeader>, Corrupt> {
        self.hear_consumed()?;
        Ok(self.published_records(self.producer.consumed()).map(|record| record.raw).collect())
    }

    /// The records of this party that the other, which is gone, hasn't begun to handle, as far as what it says of that can be true. And whether it
    /// has begun with any. `is_start` says at which offsets records start: the other's cursor may lie inside of one, which then counts as handled.
    pub fn left_behind(&mut self, is_start: impl Fn(u32) -> bool) -> (Vec<Incoming>, bool) {
        let _ = self.hear_consumed();
        let (consumed, published) = self.producer.unread();
        let taken = self.theirs.control().taken.0.load(Ordering::Acquire);
        let mut places = (consumed..published).step_by(RECORD_ALIGN as usize);
        let first = places.find(|at| is_start(self.offset_of(*at))).unwrap_or(published);
        let mut end = first;
        let left = self.published_records(first).filter(|record| {
            end += u64::from(record.raw.stride());
            end > taken
        });
        let left = left.collect();
        (left, consumed > 0 || taken > 0)
    }

    /// What is published from a place on where a record starts. Nobody but this party wrote it.
    fn published_records(&self, mut at: u64) -> impl Iterator<Item = Incoming> {
        let (_, end) = self.producer.unread();
        std::iter::from_fn(move || {
            let (offset, left) = (self.offset_of(at), (end - at) as u32);
            let raw = (left > 0).then(|| RawHeader::judge(self.mine.load_header(offset), left).ok()).flatten()?;
            at += u64::from(raw.stride());
            Some(Incoming { raw, offset })
        })
    }

    /// Where in the ring that this party writes a cursor is.
    fn offset_of(&self, cursor: u64) -> u32 {
        (cursor % u64::from(self.mine.ring_bytes())) as u32
    }

    /// Says that a record of so many bytes at the head of the other's ring is being handled: whoever comes after this party doesn't get it again.
    #[inline]
    pub fn note_taken(&mut self, bytes: u32) {
        let taken = self.consumer.read_to() + u64::from(bytes);
        self.mine.control().taken.0.store(taken, Ordering::Release);
    }

    /// Whether nothing is left to read, as far as known without looking.
    pub fn is_caught_up(&self) -> bool {
        self.consumer.available() == 0
    }

    /// Gives back what was read. Says what that means to the other party: [`Event::ROOM`] once half the ring is
    /// free, so that a sleeping producer is woken for a good deal and not for one record.
    #[inline]
    pub fn release(&mut self) -> Event {
        if self.consumer.unreleased() > 0 {
            let consumed = self.consumer.release();
            self.mine.control().consumed.store(consumed, Ordering::Release);
        }
        if self.consumer.available() <= self.theirs.ring_bytes() / 2 { Event::ROOM } else { Event::NONE }
    }

    /// Says that this party is about to sleep. Look once more after this, then sleep: on the futex
    /// word `theirs().control().bell` while it has the value returned here, or on the descriptor.
    pub fn arm(&mut self, until: Event, via: Via) -> u32 {
        let bell = self.theirs.control().bell.load(Ordering::Acquire);
        self.waiting = self.waiting.asleep(until, via);
        self.mine.control().waiting.store(self.waiting.0, Ordering::Relaxed);
        fence(Ordering::SeqCst);
        bell
    }

    /// Says that this party is awake.
    pub fn disarm(&mut self) {
        self.waiting = self.waiting.awake();
        self.mine.control().waiting.store(self.waiting.0, Ordering::Relaxed);
    }

    /// Whether the other party sleeps for what `happened` and has not been rung for this sleep: then the futex
    /// word is bumped and the caller makes the system call that the answer names.
    #[inline]
    pub fn ring_for(&mut self, happened: Event) -> Option<Via> {
        fence(Ordering::SeqCst);
        let waiting = Waiting(self.theirs.control().waiting.load(Ordering::Relaxed));
        let via = waiting.rings_for(happened)?;
        if waiting == self.rung {
            return None;
        }
        self.rung = waiting;
        let bell = &self.mine.control().bell;
        bell.store(bell.load(Ordering::Relaxed).wrapping_add(1), Ordering::Release);
        Some(via)
    }
}

#[cfg(test)]
#[path = "endpoint_tests.rs"]
mod tests;
