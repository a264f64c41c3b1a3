//! Which pages a process has of its own, and writing them down.

use super::error::{CheckpointError, call};
use super::scratch::Run;
use rustix::io::Errno;
use std::os::fd::{AsRawFd, BorrowedFd};
use strait_image::{PAGES_AT, Range};

/// `struct pm_scan_arg` of `PAGEMAP_SCAN` (`ioctl_pagemap_scan(2)`, Linux 6.7).
#[repr(C)]
struct Scan {
    size: u64,
    flags: u64,
    start: u64,
    end: u64,
    walk_end: u64,
    vec: u64,
    vec_len: u64,
    max_pages: u64,
    category_inverted: u64,
    category_mask: u64,
    category_anyof_mask: u64,
    return_mask: u64,
}

const PAGEMAP_SCAN: libc::c_ulong = 0xc060_6610;
const FILE: u64 = 1 << 2;
const PRESENT: u64 = 1 << 3;
const SWAPPED: u64 = 1 << 4;
const ZERO: u64 = 1 << 5;

/// Finds pages that are neither a file's nor the zero page: those that this process has written. Says how many runs there are, and where
/// the search got to.
pub(super) fn find(pagemap: BorrowedFd<'_>, range: Range, runs: &mut [Run]) -> Result<(usize, u64), CheckpointError> {
    let mut scan = Scan {
        size: size_of::<Scan>() as u64,
        flags: 0,
        start: range.start,
        end: range.end,
        walk_end: 0,
        vec: runs.as_mut_ptr() as u64,
        vec_len: runs.len() as u64,
        max_pages: 0,
        category_inverted: FILE | ZERO,
        category_mask: FILE | ZERO,
        category_anyof_mask: PRESENT | SWAPPED,
        return_mask: PRESENT,
    };
    // SAFETY: the kernel writes `vec_len` runs at most, and into `scan`; both are live and ours alone.
    let found = unsafe { libc::ioctl(pagemap.as_raw_fd(), PAGEMAP_SCAN, &raw mut scan) };
    match usize::try_from(found) {
        Ok(found) => Ok((found, scan.walk_end)),
        Err(_) => Err(call("ioctl PAGEMAP_SCAN")(crate::socket::last_error())),
    }
}

/// Where pages go.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    pub image: BorrowedFd<'a>,
    pub next_offset: u64,
    pub limit: u64,
}

impl<'a> Writer<'a> {
    pub(super) fn new(image: BorrowedFd<'a>, limit: u64) -> Self {
        Self { image, next_offset: PAGES_AT, limit }
    }

    /// Writes pages of this process, and says where in the image they are.
    pub(super) fn write(&mut self, range: Range) -> Result<u64, CheckpointError> {
        let start = self.next_offset;
        if start + range.bytes() > self.limit {
            return Err(CheckpointError::TooLarge { limit: self.limit });
        }
        let mut at = range.start;
        while at < range.end {
            let offset = (start + (at - range.start)).cast_signed();
            let (fd, address) = (self.image.as_raw_fd(), at as *const libc::c_void);
            // SAFETY: the kernel reads, and what can't be read is EFAULT. This is the only thread: nobody writes there meanwhile.
            match unsafe { libc::pwrite(fd, address, (range.end - at) as usize, offset) } {
                written @ 1.. => at += written.cast_unsigned() as u64,
                _ => match crate::socket::last_error() {
                    Errno::INTR => {}
                    errno => return Err(call("pwrite of memory")(errno)),
                },
            }
        }
        self.next_offset = start + range.bytes();
        Ok(start)
    }
}
