//! Every way the kernel has to become a writer of a memory file, tried on the slices, and on a file that isn't sealed.

use super::Outcome;
use super::rogue::Rogue;
use rustix::fs::{FallocateFlags, MemfdFlags, Mode, OFlags};
use rustix::io::Errno;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap, mprotect, munmap};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::ptr;
use strait_tests::attack::Try;

const PAGE: usize = 4096;

/// Tries everything on the inbox, the outbox, and for comparison on a file of its own.
pub fn try_all(rogue: &Rogue) -> Outcome<Vec<(String, Vec<Try>)>> {
    let control: OwnedFd = rustix::fs::memfd_create("control", MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)?;
    rustix::fs::ftruncate(&control, 65536)?;
    let files = [("inbox", rogue.inbox.as_fd()), ("outbox", rogue.outbox.as_fd()), ("unsealed", control.as_fd())];
    Ok(files.map(|(name, fd)| (name.to_owned(), tries(fd))).into())
}

pub fn tries(fd: BorrowedFd<'_>) -> Vec<Try> {
    [
        ("mmap", map(fd, ProtFlags::READ | ProtFlags::WRITE).map(drop_map)),
        ("mprotect", protect(fd)),
        ("pwrite", rustix::io::pwrite(fd, b"forged", 4096).map(drop)),
        ("fallocate", rustix::fs::fallocate(fd, FallocateFlags::PUNCH_HOLE | FallocateFlags::KEEP_SIZE, 4096, 4096)),
        ("ftruncate", rustix::fs::ftruncate(fd, 4096)),
        ("reopen", reopen(fd)),
        ("unseal", rustix::fs::fcntl_add_seals(fd, rustix::fs::SealFlags::WRITE)),
    ]
    .map(|(call, result)| Try { call: call.into(), error: result.err().map(Errno::raw_os_error) })
    .into()
}

fn map(fd: BorrowedFd<'_>, protection: ProtFlags) -> Result<*mut std::ffi::c_void, Errno> {
    // SAFETY: a new mapping at an address of the kernel's choice; nothing here makes a reference into it.
    unsafe { mmap(ptr::null_mut(), PAGE, protection, MapFlags::SHARED, fd, 0) }
}

fn drop_map(address: *mut std::ffi::c_void) {
    // SAFETY: `map` made exactly this mapping, and nothing refers to it.
    let _ = unsafe { munmap(address, PAGE) };
}

fn protect(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let address = map(fd, ProtFlags::READ)?;
    // SAFETY: `map` made exactly this mapping, and nothing refers to it.
    let changed = unsafe { mprotect(address, PAGE, MprotectFlags::READ | MprotectFlags::WRITE) };
    drop_map(address);
    changed
}

/// By its name in `/proc`, for writing; then it would be truncated or written through the new descriptor.
fn reopen(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let again = rustix::fs::open(format!("/proc/self/fd/{}", fd.as_raw_fd()), OFlags::RDWR, Mode::empty())?;
    rustix::io::pwrite(&again, b"forged", 4096).map(drop)
}
