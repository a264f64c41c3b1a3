//! The mapping of a slice: header page, ring, and the ring again.

use crate::file::{SliceError, SliceFile, call};
use rustix::mm::{MapFlags, ProtFlags, mmap, mmap_anonymous, munmap};
use std::os::fd::AsFd;
use std::ptr::{self, NonNull};
use strait_protocol::layout::HEADER_BYTES;
use strait_protocol::{Control, SliceSize};

/// Address space of a slice whose ring is mapped twice in a row. Unmapped when dropped.
#[derive(Debug)]
pub(crate) struct Mapping {
    base: NonNull<u8>,
    size: SliceSize,
}

// SAFETY: a mapping belongs to the process and not to the thread that made it. What may be done with
// the memory behind it is settled by the types around it (`ReadOnly`, `Writable`, `Inbox`).
unsafe impl Send for Mapping {}

impl Mapping {
    /// Maps `file`; `ProtFlags::WRITE` fails with `EPERM` once the file is sealed.
    pub(crate) fn new(file: &SliceFile, protection: ProtFlags) -> Result<Self, SliceError> {
        let size = file.size();
        let (header, ring) = (HEADER_BYTES as usize, size.ring_bytes() as usize);
        // SAFETY: a fresh reservation at an address of the kernel's choice touches nothing that exists.
        let base = unsafe {
            mmap_anonymous(
                ptr::null_mut(),
                header + 2 * ring,
                ProtFlags::empty(),
                MapFlags::PRIVATE | MapFlags::NORESERVE,
            )
        };
        let base =
            NonNull::new(base.map_err(call("mmap"))?.cast::<u8>()).expect("mmap never answers null without MAP_FIXED");
        let mapping = Self { base, size };
        mapping.place(file, protection, 0, header + ring, 0)?;
        mapping.place(file, protection, header + ring, ring, u64::from(HEADER_BYTES))?;
        Ok(mapping)
    }

    fn place(
        &self,
        file: &SliceFile,
        protection: ProtFlags,
        at: usize,
        bytes: usize,
        from: u64,
    ) -> Result<(), SliceError> {
        let target = self.base.as_ptr().wrapping_add(at).cast();
        // SAFETY: `at + bytes` is at most `header + 2 * ring`, the length of our own reservation, so that MAP_FIXED
        // replaces nothing else.
        unsafe { mmap(target, bytes, protection, MapFlags::SHARED | MapFlags::FIXED, file.as_fd(), from) }
            .map(drop)
            .map_err(call("mmap"))
    }

    #[inline]
    pub(crate) fn control(&self) -> &Control {
        // SAFETY: the mapping starts with a page of which `Control` is the first 64 bytes, page-aligned, alive as long
        // as `self`, and consists of atomics only: other processes may write them at any time.
        unsafe { self.base.cast::<Control>().as_ref() }
    }

    #[inline]
    pub(crate) fn ring_bytes(&self) -> u32 {
        self.size.ring_bytes()
    }

    #[inline]
    /// Where `bytes` from `offset` of the ring lie. Panics unless they are inside the doubled ring.
    pub(crate) fn at(&self, offset: u32, bytes: usize) -> NonNull<u8> {
        let (ring, offset) = (self.ring_bytes() as usize, offset as usize);
        assert!(offset + bytes <= 2 * ring, "outside of the ring");
        // SAFETY: the sum is inside the mapping, as the assertion says.
        unsafe { self.base.add(HEADER_BYTES as usize + offset) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        let bytes = HEADER_BYTES as usize + 2 * self.ring_bytes() as usize;
        // SAFETY: exactly what `new` reserved; every borrow of the memory borrows `self`, so none is left.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), bytes) };
        debug_assert!(unmapped.is_ok());
    }
}
