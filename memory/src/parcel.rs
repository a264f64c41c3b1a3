//! A parcel: memory that one process fills, and that the kernel then keeps from ever changing again.
//!
//! A memfd whose size is fixed when it is made. Its maker maps it for writing, fills it, unmaps it and sets `F_SEAL_WRITE`
//! (`fcntl(2)`): from then on there is no writable mapping anywhere, and nobody can make one or write by a system call. So whoever checks the
//! seals may hold a `&[u8]` into it, whoever else has it.
//!
//! **The maker seals, not the switch.** The kernel waits for pages that somebody holds on to (a world can, by `vmsplice(2)`): 165 ms before it
//! says `EBUSY`, measured. Whoever waits must be the one who can cause it. To check a seal takes no lock.

use rustix::fs::{self, MemfdFlags, SealFlags};
use rustix::io::Errno;
use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap, munmap};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::{self, NonNull};
use std::slice;

/// The largest parcel, in bytes: 4 GiB.
pub const MAX_PARCEL_BYTES: u64 = 1 << 32;

/// From this size on huge pages are asked for, which the kernel gives where `shmem_enabled` (in `/sys/kernel/mm/transparent_hugepage`) says
/// `advise`: to fill 4 MiB takes 0.1 ms with them and 2.4 ms without.
const HUGE_BYTES: usize = 2 << 20;

/// Why a parcel can't be made, sealed or mapped.
#[derive(Debug, thiserror::Error)]
pub enum ParcelError {
    /// A system call failed.
    #[error("{call} on a parcel: {errno}")]
    Call {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// A size that no parcel can have.
    #[error("a parcel has 1 to {MAX_PARCEL_BYTES} bytes, not {0}")]
    Bytes(u64),
    /// The file has another size than was said.
    #[error("the parcel has {found} bytes instead of {expected}")]
    Size {
        /// What was said.
        expected: u64,
        /// The file's.
        found: u64,
    },
    /// A seal that makes it a parcel isn't set.
    #[error("the parcel isn't sealed as it must be: has {found:?}, needs {needed:?}")]
    Unsealed {
        /// The seals it has.
        found: SealFlags,
        /// The seals it needs.
        needed: SealFlags,
    },
    /// It can't be sealed: somebody in the maker's process can still write to it, or the kernel itself reads or writes it (a pipe that
    /// its pages were spliced into).
    #[error("the parcel can't be sealed: it is mapped for writing, or its pages are in use")]
    Busy,
}

fn call(call: &'static str) -> impl FnOnce(Errno) -> ParcelError {
    move |errno| ParcelError::Call { call, errno }
}

const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);
const IMMUTABLE: SealFlags = FIXED_SIZE.union(SealFlags::WRITE);

/// The file behind a parcel.
#[derive(Debug)]
pub struct ParcelFile {
    fd: OwnedFd,
    bytes: usize,
}

impl ParcelFile {
    /// A new one, all zero, that takes memory only where it is written or read.
    pub fn create(bytes: u64) -> Result<Self, ParcelError> {
        let length = check_bytes(bytes)?;
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let fd = fs::memfd_create("strait-parcel", flags).map_err(call("memfd_create"))?;
        fs::ftruncate(&fd, bytes).map_err(call("ftruncate"))?;
        fs::fcntl_add_seals(&fd, FIXED_SIZE).map_err(call("fcntl(F_ADD_SEALS)"))?;
        Ok(Self { fd, bytes: length })
    }

    /// Takes a descriptor that came from the broker, and checks that it has the size that was said, for good.
    pub fn adopt(fd: OwnedFd, bytes: u64) -> Result<Self, ParcelError> {
        let file = Self { fd, bytes: check_bytes(bytes)? };
        let found = fs::fstat(&file.fd).map_err(call("fstat"))?.st_size as u64;
        if found != bytes {
            return Err(ParcelError::Size { expected: bytes, found });
        }
        file.check(FIXED_SIZE)?;
        Ok(file)
    }

    /// Its size.
    pub fn bytes(&self) -> u64 {
        self.bytes as u64
    }

    /// Forbids every change, for ever. [`ParcelError::Busy`] while somebody can write to it. May take a while: the kernel waits for
    /// pages that are in use.
    pub fn seal(&self) -> Result<(), ParcelError> {
        match fs::fcntl_add_seals(&self.fd, SealFlags::WRITE | SealFlags::SEAL) {
            Err(Errno::BUSY) => Err(ParcelError::Busy),
            other => other.map_err(call("fcntl(F_ADD_SEALS)")),
        }
    }

    /// Whether nobody can change it any more. Waits for nothing.
    pub fn is_sealed(&self) -> bool {
        self.check(IMMUTABLE).is_ok()
    }

    fn check(&self, needed: SealFlags) -> Result<(), ParcelError> {
        let found = fs::fcntl_get_seals(&self.fd).map_err(call("fcntl(F_GET_SEALS)"))?;
        match found.contains(needed) {
            true => Ok(()),
            false => Err(ParcelError::Unsealed { found, needed }),
        }
    }
}

fn check_bytes(bytes: u64) -> Result<usize, ParcelError> {
    match usize::try_from(bytes) {
        Ok(length) if length > 0 && bytes <= MAX_PARCEL_BYTES => Ok(length),
        _ => Err(ParcelError::Bytes(bytes)),
    }
}

impl AsFd for ParcelFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// A mapping, unmapped when dropped.
#[derive(Debug)]
struct Map {
    base: NonNull<u8>,
    bytes: usize,
}

// SAFETY: a mapping belongs to the process and not to the thread that made it. It is read through `&` and written through
// `&mut` of the types around it, as any memory.
unsafe impl Send for Map {}
// SAFETY: as above; nothing in it changes behind a shared reference.
unsafe impl Sync for Map {}

impl Map {
    fn new(file: &ParcelFile, protection: ProtFlags, flags: MapFlags) -> Result<Self, ParcelError> {
        // SAFETY: at an address of the kernel's choice a mapping touches nothing that exists.
        let base = unsafe { mmap(ptr::null_mut(), file.bytes, protection, flags, &file.fd, 0) };
        let base =
            NonNull::new(base.map_err(call("mmap"))?.cast::<u8>()).expect("mmap never answers null without MAP_FIXED");
        let map = Self { base, bytes: file.bytes };
        if map.bytes >= HUGE_BYTES {
            map.advise(Advice::LinuxHugepage);
        }
        Ok(map)
    }

    /// Tells the kernel what it may like to know.
    fn advise(&self, advice: Advice) {
        // SAFETY: exactly our mapping; neither of the two pieces of advice that are given here changes what is in it. A kernel that
        // doesn't take it goes on as before.
        let _ = unsafe { madvise(self.base.as_ptr().cast(), self.bytes, advice) };
    }
}

impl Drop for Map {
    fn drop(&mut self) {
        // SAFETY: exactly what `new` mapped; every borrow of the memory borrows `self`, so none is left.
        let unmapped = unsafe { munmap(self.base.as_ptr().cast(), self.bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A parcel that is being filled by its maker.
#[derive(Debug)]
pub struct ParcelWriter(Map);

impl ParcelWriter {
    /// Maps it for writing, with its memory at once: a fault for each page would cost several times as much. Fails once it is sealed.
    pub fn map(file: &ParcelFile) -> Result<Self, ParcelError> {
        let map = Map::new(file, ProtFlags::READ | ProtFlags::WRITE, MapFlags::SHARED)?;
        map.advise(Advice::LinuxPopulateWrite);
        Ok(Self(map))
    }

    /// What was written so far.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for its whole length, which can't change (sealed, and checked). Only the switch has the file beside
        // us, and never maps it; our own process writes through `&mut` of this.
        unsafe { slice::from_raw_parts(self.0.base.as_ptr(), self.0.bytes) }
    }

    /// To be filled.
    pub fn bytes_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `bytes`; the borrow is unique.
        unsafe { slice::from_raw_parts_mut(self.0.base.as_ptr(), self.0.bytes) }
    }
}

/// A sealed parcel, mapped for reading.
#[derive(Debug)]
pub struct ParcelReader(Map);

impl ParcelReader {
    /// Maps it, after checking that nobody can change it any more.
    pub fn map(file: &ParcelFile) -> Result<Self, ParcelError> {
        file.check(IMMUTABLE)?;
        // Private: a shared mapping of a file that was opened for writing counts as a writable one before Linux 6.7.
        Map::new(file, ProtFlags::READ, MapFlags::PRIVATE).map(Self)
    }

    /// What is in it.
    pub fn bytes(&self) -> &[u8] {
        // SAFETY: mapped for its whole length, which can't change; nor can its bytes: `F_SEAL_WRITE` was checked, and the kernel
        // sets it only when no writable mapping and no other use of the pages is left.
        unsafe { slice::from_raw_parts(self.0.base.as_ptr(), self.0.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_parcel_has_no_writer_and_gets_none() {
        let file = ParcelFile::create(10_000).unwrap();
        let mut writer = ParcelWriter::map(&file).unwrap();
        writer.bytes_mut().fill(7);
        assert!(matches!(ParcelReader::map(&file), Err(ParcelError::Unsealed { .. })));
        assert!(matches!(file.seal(), Err(ParcelError::Busy)), "it is mapped for writing");
        // The positive control: before it is sealed, it can be written in every way.
        rustix::io::pwrite(&file.fd, b"x", 0).unwrap();
        drop(writer);
        file.seal().unwrap();
        assert!(file.is_sealed());
        assert_eq!(rustix::io::pwrite(&file.fd, b"x", 0), Err(Errno::PERM));
        assert_eq!(fs::ftruncate(&file.fd, 1), Err(Errno::PERM));
        assert!(matches!(ParcelWriter::map(&file), Err(ParcelError::Call { errno: Errno::PERM, .. })));
        let reader = ParcelReader::map(&file).unwrap();
        assert_eq!((reader.bytes()[0], reader.bytes()[9_999], reader.bytes().len()), (b'x', 7, 10_000));
    }

    #[test]
    fn odd_sizes_are_refused() {
        for bytes in [0, MAX_PARCEL_BYTES + 1, u64::MAX] {
            assert!(matches!(ParcelFile::create(bytes), Err(ParcelError::Bytes(_))));
        }
        let fd = ParcelFile::create(4096).unwrap().fd;
        let error = ParcelFile::adopt(fd, 8192).unwrap_err();
        assert_eq!(error.to_string(), "the parcel has 4096 bytes instead of 8192");
        let growing = fs::memfd_create("x", MemfdFlags::ALLOW_SEALING).unwrap();
        fs::ftruncate(&growing, 4096).unwrap();
        assert!(matches!(ParcelFile::adopt(growing, 4096), Err(ParcelError::Unsealed { .. })));
    }
}
