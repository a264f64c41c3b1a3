//! Memory for the time in which this process writes itself down. It is in no image.

use super::error::{CheckpointError, call};
use std::ptr::NonNull;
use strait_image::{MAX_AREAS, MAX_FILES, MAX_INDEX_BYTES, Range};

/// A run of pages, as the kernel tells it (`struct page_region`).
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Run {
    pub start: u64,
    pub end: u64,
    pub categories: u64,
}

/// Plain numbers: all zero, as the kernel gives it, is a value.
#[repr(C)]
pub(super) struct Tables {
    pub text: [u8; 8 << 20],
    pub index: [u8; MAX_INDEX_BYTES],
    pub areas: [[u64; 6]; MAX_AREAS],
    pub files: [[u64; 6]; MAX_FILES],
    pub names: [u8; 64 << 10],
    pub runs: [Run; 1024],
}

/// The mapping that holds the tables. Shared, so that the kernel doesn't make it one with a neighbour.
#[derive(Debug)]
pub(super) struct Scratch(NonNull<Tables>);

impl Scratch {
    pub(super) fn new() -> Result<Self, CheckpointError> {
        let (protection, flags) =
            (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_SHARED | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE);
        // SAFETY: new memory at an address of the kernel's choice.
        let start = unsafe { libc::mmap(std::ptr::null_mut(), size_of::<Tables>(), protection, flags, -1, 0) };
        match NonNull::new(start.cast::<Tables>()).filter(|_| start != libc::MAP_FAILED) {
            Some(start) => Ok(Self(start)),
            None => Err(call("mmap")(crate::socket::last_error())),
        }
    }

    pub(super) fn range(&self) -> Range {
        let start = self.0.as_ptr() as u64;
        Range { start, end: start + (size_of::<Tables>() as u64).next_multiple_of(strait_image::PAGE) }
    }

    pub(super) fn tables(&mut self) -> &mut Tables {
        // SAFETY: the whole mapping, zero or written as tables, for as long as this value is borrowed.
        unsafe { self.0.as_mut() }
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // SAFETY: our own mapping, and nobody has a reference into it any more.
        unsafe { libc::munmap(self.0.as_ptr().cast(), size_of::<Tables>()) };
    }
}
