//! A ring of equal slots between one writer and one reader.

use raw_sync::Timeout;
use raw_sync::events::{Event, EventImpl, EventInit, EventState};
use raw_sync::locks::{LockImpl, LockInit, Mutex};
use strait_measure::Outcome;

/// What the mutex guards.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct State {
    written: u64,
    released: u64,
    reader_sleeps: bool,
    writer_sleeps: bool,
}

/// Room for the mutex, the two events and the state, each in a part of its own.
const PART: usize = 256;
const HEAD: usize = 4 * PART;
/// A ring holds at least this much, and at least four messages.
const ROOM: usize = 256 * 1024;
const LEAST: usize = 4;

#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Side {
    Writes,
    Reads,
}

/// One side's view. Everything in the memory is believed.
pub struct Ring {
    mutex: Box<dyn LockImpl>,
    readable: Box<dyn EventImpl>,
    writable: Box<dyn EventImpl>,
    slots: *mut u8,
    bytes: usize,
    count: u64,
    side: Side,
    /// How far this side is; the other side learns of it by the state.
    position: u64,
    /// Until where this side may go without looking.
    limit: u64,
    /// Reader: up to where slots were given back.
    released: u64,
}

fn slot_bytes(bytes: usize) -> usize {
    bytes.next_multiple_of(64)
}

fn slot_count(bytes: usize) -> usize {
    (ROOM / slot_bytes(bytes)).max(LEAST)
}

impl Ring {
    /// The memory that a ring of such messages takes.
    pub fn size(bytes: usize) -> usize {
        HEAD + slot_count(bytes) * slot_bytes(bytes)
    }

    /// # Safety
    /// `memory` is aligned to 64 and [`size`](Self::size) bytes large, stays while the ring does, and was made into a ring before unless
    /// `is_new`. The other side keeps to the rules: this is the trusting baseline.
    pub unsafe fn at(memory: *mut u8, bytes: usize, side: Side, is_new: bool) -> Outcome<Self> {
        let part = |n: usize| memory.wrapping_add(n * PART);
        let state = part(3).cast::<State>();
        let (mutex, readable, writable) = if is_new {
            // SAFETY: in the ring's memory, aligned, and nobody else has it yet.
            unsafe { state.write(State::default()) };
            // SAFETY: a mutex takes less than a part of the memory, and guards the state behind it.
            let mutex = unsafe { Mutex::new(part(0), state.cast()) }?.0;
            // SAFETY: an event takes less than a part of the memory.
            let readable = unsafe { Event::new(part(1), true) }?.0;
            // SAFETY: as above.
            let writable = unsafe { Event::new(part(2), true) }?.0;
            (mutex, readable, writable)
        } else {
            // SAFETY: made there by the other side.
            let mutex = unsafe { Mutex::from_existing(part(0), state.cast()) }?.0;
            // SAFETY: as above.
            let readable = unsafe { Event::from_existing(part(1)) }?.0;
            // SAFETY: as above.
            let writable = unsafe { Event::from_existing(part(2)) }?.0;
            (mutex, readable, writable)
        };
        let slots = memory.wrapping_add(HEAD);
        let mut ring = Self {
            mutex,
            readable,
            writable,
            slots,
            bytes,
            count: slot_count(bytes) as u64,
            side,
            position: 0,
            limit: 0,
            released: 0,
        };
        // Whoever joins goes on where the one before it ended.
        let state = ring.with(|state| *state)?;
        ring.position = if side == Side::Writes { state.written } else { state.released };
        ring.released = state.released;
        ring.limit = ring.position;
        Ok(ring)
    }

    /// Looks at the state, or changes it, under the mutex.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> Outcome<T> {
        let guard = self.mutex.lock()?;
        // SAFETY: the mutex was made with a pointer to the state, and is held.
        let state = unsafe { &mut *(*guard).cast::<State>() };
        Ok(change(state))
    }

    fn slot(&self) -> *mut u8 {
        let index = (self.position % self.count) as usize;
        self.slots.wrapping_add(index * slot_bytes(self.bytes))
    }

    /// Writes the next message in place, waiting for room if need be.
    pub fn put(&mut self, write: impl FnOnce(&mut [u8])) -> Outcome<()> {
        debug_assert!(self.side == Side::Writes);
        while self.position == self.limit {
            let (position, count) = (self.position, self.count);
            self.limit = self.with(|state| {
                state.writer_sleeps = state.released + count == position;
                state.released + count
            })?;
            if self.position == self.limit {
                self.writable.wait(Timeout::Infinite)?;
            }
        }
        // SAFETY: the slot is in the ring's memory, and the writer's alone until the state says that it is written.
        write(unsafe { std::slice::from_raw_parts_mut(self.slot(), self.bytes) });
        self.position += 1;
        let position = self.position;
        let sleeps = self.with(|state| {
            state.written = position;
            std::mem::take(&mut state.reader_sleeps)
        })?;
        if sleeps {
            self.readable.set(EventState::Signaled)?;
        }
        Ok(())
    }

    /// Shows the next message in place, waiting for it if need be.
    pub fn take(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        debug_assert!(self.side == Side::Reads);
        while self.position == self.limit {
            let position = self.position;
            self.limit = self.with(|state| {
                state.reader_sleeps = state.written == position;
                state.written
            })?;
            if self.position == self.limit {
                self.readable.wait(Timeout::Infinite)?;
            }
        }
        // SAFETY: the slot is in the ring's memory, and isn't written again until the state says that it is released.
        read(unsafe { std::slice::from_raw_parts(self.slot(), self.bytes) })?;
        self.position += 1;
        if self.position == self.limit || self.position - self.released >= self.count / 2 {
            self.release()?;
        }
        Ok(())
    }

    /// Gives back what was read: once per batch, so that a writer is woken for a good deal of room.
    fn release(&mut self) -> Outcome<()> {
        let position = self.position;
        self.released = position;
        let sleeps = self.with(|state| {
            state.released = position;
            std::mem::take(&mut state.writer_sleeps)
        })?;
        if sleeps {
            self.writable.set(EventState::Signaled)?;
        }
        Ok(())
    }
}
