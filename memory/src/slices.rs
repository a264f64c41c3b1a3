//! The three ways to hold a slice.

use crate::copy::{copy_racing, copy_streaming, load_line, load_line_into, settle, store_line, stream_line};
use crate::file::{SliceError, SliceFile};
use crate::mapping::Mapping;
use crate::racing;
use rustix::mm::ProtFlags;
use std::slice;
use strait_protocol::{Control, SliceMemory, WritableMemory};

/// A slice that a *hostile* peer writes: what is read from it may be anything, and different the next time.
#[derive(Debug)]
pub struct ReadOnly(Mapping);

/// A slice that only the holder of this writes.
#[derive(Debug)]
pub struct Writable {
    mapping: Mapping,
    /// Write past the cache.
    streams: bool,
    /// Something was, and isn't ordered before what follows yet.
    is_unsettled: bool,
}

/// A slice that the switch writes and a world reads: unreleased records in it don't change.
#[derive(Debug)]
pub struct Inbox(Mapping);

impl ReadOnly {
    /// Maps a slice for reading.
    pub fn map(file: &SliceFile) -> Result<Self, SliceError> {
        Mapping::new(file, ProtFlags::READ).map(Self)
    }
}

impl ReadOnly {
    /// Maps a slice that another world writes, after checking that the kernel lets nobody else become its writer any more.
    pub fn map_sealed(file: &SliceFile) -> Result<Self, SliceError> {
        file.check_single_writer()?;
        Self::map(file)
    }
}

impl Writable {
    /// Maps a slice for writing. Fails once it is sealed.
    pub fn map(file: &SliceFile) -> Result<Self, SliceError> {
        let mapping = Mapping::new(file, ProtFlags::READ | ProtFlags::WRITE)?;
        Ok(Self { mapping, streams: false, is_unsettled: false })
    }

    /// Payload of a record that isn't published yet, to be written in place.
    #[inline]
    pub fn bytes_mut(&mut self, offset: u32, bytes: usize) -> &mut [u8] {
        let start = self.mapping.at(offset, bytes);
        // SAFETY: `at` checked the range; this process writes the mapping through `&mut self` only; the other party has it
        // read-only and reads only what was published. A party that reads earlier sees garbage, and harms itself.
        unsafe { slice::from_raw_parts_mut(start.as_ptr(), bytes) }
    }
}

impl Inbox {
    /// Maps a slice that came from the broker, after checking that the kernel lets nobody become its writer any more.
    pub fn map(file: &SliceFile) -> Result<Self, SliceError> {
        file.check_single_writer()?;
        Mapping::new(file, ProtFlags::READ).map(Self)
    }

    /// Payload of a record that wasn't released yet, in place.
    #[inline]
    pub fn bytes(&self, offset: u32, bytes: usize) -> &[u8] {
        let start = self.0.at(offset, bytes);
        // SAFETY: `at` checked the range. The only writer is the switch (the seal was checked), which doesn't touch a record
        // before it was released: that takes `&mut` of the endpoint that this borrows from. The switch is the trusted part of the system.
        unsafe { slice::from_raw_parts(start.as_ptr(), bytes) }
    }
}

/// Copies payload from a hostile slice straight into another: each byte is read once.
#[inline]
pub fn transfer(from: &ReadOnly, from_offset: u32, to: &mut Writable, to_offset: u32, bytes: usize) {
    let (source, target) = (from.0.at(from_offset, bytes), to.mapping.at(to_offset, bytes));
    to.is_unsettled |= to.streams;
    // SAFETY: `at` checked both ranges; they are in different mappings; payloads are aligned to 16 by the layout, which
    // `Endpoint` keeps; nobody holds a reference into a `ReadOnly`, and `to` is borrowed mutably.
    unsafe { copy_hostile(source.as_ptr(), target.as_ptr(), bytes, to.streams) }
}

/// [`copy_racing`] or [`copy_streaming`] from a slice that a hostile peer writes; under the feature `racing`, in pieces.
///
/// # Safety
///
/// As for these.
#[inline]
unsafe fn copy_hostile(from: *const u8, to: *mut u8, bytes: usize, streams: bool) {
    let mut at = 0;
    loop {
        let piece = racing::piece(bytes - at);
        racing::before_read();
        let (from, to) = (from.wrapping_add(at), to.wrapping_add(at));
        match streams {
            // SAFETY: a part of both ranges, which are as the caller promised; pieces start at multiples of 64.
            true => unsafe { copy_streaming(from, to, piece) },
            // SAFETY: the same.
            false => unsafe { copy_racing(from, to, piece) },
        }
        at += piece;
        if at == bytes {
            return;
        }
    }
}

#[inline]
fn load_header(mapping: &Mapping, offset: u32) -> [u64; 8] {
    let start = mapping.at(offset, 64).as_ptr();
    // SAFETY: `at` checked 64 bytes; records start at multiples of 16 in a page-aligned ring.
    unsafe { load_line(start) }
}

fn copy_out(mapping: &Mapping, offset: u32, to: &mut [u8]) {
    let source = mapping.at(offset, to.len());
    // SAFETY: `at` checked the range; `to` is a unique borrow of other memory; payloads are aligned to 16.
    unsafe { copy_hostile(source.as_ptr(), to.as_mut_ptr(), to.len(), false) }
}

macro_rules! readable {
    ($($type:ty: $mapping:tt, $before_read:path);* $(;)?) => {$(
        impl SliceMemory for $type {
            #[inline]
            fn control(&self) -> &Control {
                $before_read();
                self.$mapping.control()
            }
            #[inline]
            fn ring_bytes(&self) -> u32 {
                self.$mapping.ring_bytes()
            }
            #[inline]
            fn load_header(&self, offset: u32) -> [u64; 8] {
                $before_read();
                load_header(&self.$mapping, offset)
            }
            #[inline]
            fn load_header_into(&self, offset: u32, to: &mut [u64; 8]) {
                $before_read();
                let start = self.$mapping.at(offset, 64).as_ptr();
                // SAFETY: `at` checked 64 bytes; records start at multiples of 16 in a page-aligned ring.
                unsafe { load_line_into(start, to) };
            }
            fn copy_out(&self, offset: u32, to: &mut [u8]) {
                copy_out(&self.$mapping, offset, to);
            }
        }
    )*};
}

readable!(ReadOnly: 0, racing::before_read; Writable: mapping, nothing; Inbox: 0, nothing);

/// Before reads of what no hostile peer writes.
#[inline(always)]
fn nothing() {}

impl WritableMemory for Writable {
    #[inline]
    fn store_header(&mut self, offset: u32, words: &[u64; 8]) {
        let start = self.mapping.at(offset, 64).as_ptr().cast::<u64>();
        self.is_unsettled |= self.streams;
        match self.streams {
            // SAFETY: `at` checked 64 bytes; records start at multiples of 16 in a page-aligned ring.
            true => unsafe { stream_line(start, words) },
            // SAFETY: the same.
            false => unsafe { store_line(start, words) },
        }
    }

    #[inline]
    fn copy_in(&mut self, offset: u32, from: &[u8]) {
        if !self.streams || !offset.is_multiple_of(16) {
            return self.bytes_mut(offset, from.len()).copy_from_slice(from);
        }
        let target = self.mapping.at(offset, from.len());
        self.is_unsettled = true;
        // SAFETY: `at` checked the range, which is aligned to 16 as checked above; `from` is ours and elsewhere.
        unsafe { copy_streaming(from.as_ptr(), target.as_ptr(), from.len()) };
    }

    #[inline]
    fn set_streaming(&mut self, on: bool) {
        self.streams = on;
    }

    #[inline]
    fn settle(&mut self) {
        if self.is_unsettled {
            self.is_unsettled = false;
            settle();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::Ordering;
    use strait_protocol::wait::{Event, Via, Waiting};
    use strait_protocol::{Endpoint, Header, Kind, RawHeader, SliceSize, WorldId};

    fn file() -> SliceFile {
        SliceFile::create("test", SliceSize::MIN).unwrap()
    }

    #[test]
    fn a_sealed_slice_takes_no_second_writer() {
        let file = file();
        let writer = Writable::map(&file).unwrap();
        assert!(matches!(Inbox::map(&file), Err(SliceError::Unsealed { .. })));
        file.seal_writes().unwrap();
        let refused = Writable::map(&file).unwrap_err();
        assert_eq!(refused.to_string(), "mmap on a slice: Operation not permitted (os error 1)");
        let reader = Inbox::map(&file).unwrap();
        writer.control().produced.store(7, Ordering::Relaxed);
        assert_eq!(reader.control().produced.load(Ordering::Relaxed), 7);
    }

    #[test]
    fn a_world_that_is_not_running_sleeps_by_the_word_of_its_keeper() {
        let (outbox, inbox) = (file(), file());
        outbox.put_waiting(Waiting::DORMANT).unwrap();
        let mut switch = Endpoint::new(Writable::map(&inbox).unwrap(), ReadOnly::map(&outbox).unwrap());
        assert_eq!(switch.ring_for(Event::DATA), Some(Via::Fd));
        assert_eq!(switch.ring_for(Event::DATA), None);
        // Its next life says for itself how it sleeps, and is rung for that.
        let mut world = Endpoint::new(Writable::map(&outbox).unwrap(), ReadOnly::map(&inbox).unwrap());
        world.arm(Event::DATA, Via::Fd);
        assert_eq!(switch.ring_for(Event::DATA), Some(Via::Fd));
        outbox.seal_writes().unwrap();
        let refused = outbox.put_waiting(Waiting::DORMANT).unwrap_err();
        assert_eq!(refused.to_string(), "pwrite on a slice: Operation not permitted (os error 1)");
    }

    #[test]
    fn the_ring_comes_twice() {
        let file = file();
        let mut writer = Writable::map(&file).unwrap();
        let last = writer.ring_bytes() - 16;
        let bytes: Vec<u8> = (0..64).collect();
        writer.copy_in(last, &bytes);
        let reader = ReadOnly::map(&file).unwrap();
        let mut start = [0; 48];
        reader.copy_out(0, &mut start);
        assert_eq!(start, bytes[16..]);
    }

    #[test]
    fn every_length_is_copied_whole() {
        let (from, to) = (file(), file());
        let mut writer = Writable::map(&from).unwrap();
        let (reader, mut target) = (ReadOnly::map(&from).unwrap(), Writable::map(&to).unwrap());
        let bytes: Vec<u8> = (0..3000u32).map(|n| (n * 7) as u8).collect();
        writer.copy_in(16, &bytes);
        for length in (0..300).chain([511, 512, 1000, 3000]) {
            target.bytes_mut(32, 3000).fill(0);
            transfer(&reader, 16, &mut target, 32, length);
            assert_eq!(target.bytes_mut(32, length), &bytes[..length]);
            assert!(target.bytes_mut(32, 3000)[length..].iter().all(|b| *b == 0));
        }
    }

    #[test]
    #[should_panic(expected = "outside of the ring")]
    fn nothing_is_read_past_the_ring() {
        let mapping = ReadOnly::map(&file()).unwrap();
        mapping.copy_out(mapping.ring_bytes() - 16, &mut vec![0; mapping.ring_bytes() as usize + 32]);
    }

    #[test]
    fn a_slice_of_the_wrong_size_is_refused() {
        let fd = std::os::fd::AsFd::as_fd(&file()).try_clone_to_owned().unwrap();
        let error = SliceFile::adopt(fd, SliceSize::DEFAULT).unwrap_err();
        assert_eq!(error.to_string(), "the slice has 16384 bytes instead of 65536");
    }

    #[test]
    fn records_cross_a_real_mapping() {
        let (a, b) = (file(), file());
        let mut sender = Endpoint::new(Writable::map(&a).unwrap(), ReadOnly::map(&b).unwrap());
        let mut receiver = Endpoint::new(Writable::map(&b).unwrap(), ReadOnly::map(&a).unwrap());
        for round in 0..10_000u32 {
            let length = (round % 700) as usize;
            let slot = sender.reserve(length).unwrap();
            sender.mine_mut().bytes_mut(slot.payload_offset(), length).fill(round as u8);
            sender.commit(&slot, &RawHeader::from(&Header::new(Kind::Message, WorldId(16), length as u32)));
            sender.publish();
            let incoming = receiver.peek().unwrap().unwrap();
            let mut payload = vec![0; length];
            receiver.theirs().copy_out(incoming.payload_offset(), &mut payload);
            assert!(payload.iter().all(|byte| *byte == round as u8));
            receiver.advance(&incoming);
            receiver.release();
        }
    }
}
