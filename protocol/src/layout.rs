//! The layout of a slice.
//!
//! ```text
//! 0x0000  produced   u64   bytes ever published in this ring
//! 0x0008  consumed   u64   bytes ever released in the other ring
//! 0x0010  waiting    u32   how the writer of this slice sleeps, and for what (see `wait`)
//! 0x0014  bell       u32   the futex word on which the *other* party sleeps
//! 0x0018  stopped    u32   of an inbox: how many places in `stops` have been used, at most MAX_STOPS
//! 0x001c  processor  u32   1 + the processor the writer ran on when it last released or published, 0: not said
//! 0x0020  reserved         zero; room for the switch's intent word
//! 0x0040  stops      u64[] of an inbox: ids of receivers that take no more from this world for now, or 0
//! 0x0240  taken      u64   bytes ever read in the ring of the *other* slice, those not released yet included
//! 0x1000  ring       size - 4096 bytes of records; mapped twice in a row, so that
//!                    a record that wraps is still contiguous
//! ```
//!
//! One party writes all of it and the other reads all of it: the kernel enforces that with a seal
//! (`F_SEAL_FUTURE_WRITE`, `fcntl(2)`). These words share one cache line on purpose: whoever
//! looks for work needs them together, and the line has one writer.

use crate::primitive::{AtomicU32, AtomicU64};

/// Bytes of the header page in front of the ring.
pub const HEADER_BYTES: u32 = 4096;

/// Records start at multiples of this.
pub const RECORD_ALIGN: u32 = 16;

/// Receivers that one world can be told not to send to, at a time.
pub const MAX_STOPS: usize = if cfg!(loom) { 1 } else { 64 };

/// Where in a slice its writer says how it sleeps.
pub const WAITING_AT: u64 = 0x10;

/// The words at the start of a slice, all written by its one writer.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Control {
    /// Bytes ever published in this slice's ring.
    pub produced: AtomicU64,
    /// Bytes ever released in the ring of the other slice of the pair.
    pub consumed: AtomicU64,
    /// How the writer of this slice sleeps; see [`crate::wait::Waiting`].
    pub waiting: AtomicU32,
    /// The futex word on which the other party sleeps; the writer of this slice bumps it to wake it.
    pub bell: AtomicU32,
    /// How many of `stops` to look at.
    pub stopped: AtomicU32,
    /// Where the writer ran last: a hint for choosing how to write what it will read. Untrue, it costs only time.
    pub processor: AtomicU32,
    /// In a second cache line and further: who has to wait is slow anyway.
    pub stops: Stops,
    /// What the writer has begun to handle. Nobody looks at it as long as the writer lives.
    pub taken: Taken,
}

/// Ids of receivers, or 0.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Stops(pub [AtomicU64; MAX_STOPS]);

/// Bytes read, in a cache line of their own: written for each record, and its writer's alone.
#[repr(C, align(64))]
#[derive(Debug)]
pub struct Taken(pub AtomicU64);

impl Control {
    /// A header of a slice that nobody has used yet: all zero, like a fresh memfd.
    pub fn new() -> Self {
        Self {
            produced: AtomicU64::new(0),
            consumed: AtomicU64::new(0),
            waiting: AtomicU32::new(0),
            bell: AtomicU32::new(0),
            stopped: AtomicU32::new(0),
            processor: AtomicU32::new(0),
            stops: Stops(std::array::from_fn(|_| AtomicU64::new(0))),
            taken: Taken(AtomicU64::new(0)),
        }
    }
}

impl Default for Control {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(not(loom))]
const _: () = {
    use std::mem::{align_of, offset_of, size_of};
    assert!(offset_of!(Control, produced) == 0x00);
    assert!(offset_of!(Control, consumed) == 0x08);
    assert!(offset_of!(Control, waiting) as u64 == WAITING_AT);
    assert!(offset_of!(Control, bell) == 0x14);
    assert!(offset_of!(Control, stopped) == 0x18);
    assert!(offset_of!(Control, stops) == 0x40);
    assert!(offset_of!(Control, taken) == 0x240);
    assert!(size_of::<Control>() <= HEADER_BYTES as usize);
    assert!(align_of::<Control>() == 64);
};

/// The size of one slice in bytes, header page included: a power of two from 16 KiB to 64 MiB.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SliceSize(u32);

/// A number of bytes that no slice can have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a slice can't have {0} bytes: it takes a power of two from 16384 (16 KiB) to 67108864 (64 MiB)")]
pub struct SliceSizeError(pub u64);

impl SliceSize {
    /// 16 KiB.
    pub const MIN: Self = Self(16 * 1024);
    /// 64 KiB: both rings of a pair stay in a core's second-level cache.
    pub const DEFAULT: Self = Self(64 * 1024);
    /// 64 MiB.
    pub const MAX: Self = Self(64 * 1024 * 1024);

    /// Takes a size in bytes, or says why it can't be one.
    ///
    /// ```
    /// use strait_protocol::SliceSize;
    /// assert_eq!(SliceSize::new(65536).unwrap().ring_bytes(), 61440);
    /// assert!(SliceSize::new(60000).is_err());
    /// ```
    pub fn new(bytes: u64) -> Result<Self, SliceSizeError> {
        let fits = u64::from(Self::MIN.0) <= bytes && bytes <= u64::from(Self::MAX.0);
        match u32::try_from(bytes) {
            Ok(small) if fits && small.is_power_of_two() => Ok(Self(small)),
            _ => Err(SliceSizeError(bytes)),
        }
    }

    /// Bytes of the whole slice.
    pub const fn bytes(self) -> u32 {
        self.0
    }

    /// Bytes of its ring: the whole without the header page.
    pub const fn ring_bytes(self) -> u32 {
        self.0 - HEADER_BYTES
    }
}

impl Default for SliceSize {
    fn default() -> Self {
        Self::DEFAULT
    }
}
