//! The file behind a slice: a memfd with a fixed size, sealed in two steps.

use rustix::fs::{self, MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use strait_protocol::SliceSize;
use strait_protocol::layout::WAITING_AT;
use strait_protocol::wait::Waiting;

/// Why a slice can't be made, sealed or mapped.
#[derive(Debug, thiserror::Error)]
pub enum SliceError {
    /// A system call failed.
    #[error("{call} on a slice: {errno}")]
    Call {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The file has another size than was agreed.
    #[error("the slice has {found} bytes instead of {expected}")]
    Size {
        /// The agreed size.
        expected: u32,
        /// The file's.
        found: u64,
    },
    /// A seal that makes the mapping safe isn't set.
    #[error("the slice isn't sealed as it must be: has {found:?}, needs {needed:?}")]
    Unsealed {
        /// The seals it has.
        found: SealFlags,
        /// The seals it needs.
        needed: SealFlags,
    },
}

pub(crate) fn call(call: &'static str) -> impl FnOnce(Errno) -> SliceError {
    move |errno| SliceError::Call { call, errno }
}

/// Seals without which a mapping could be cut short under its reader.
const FIXED_SIZE: SealFlags = SealFlags::SHRINK.union(SealFlags::GROW);

/// A memfd that holds one slice.
///
/// Made with its size fixed. Its one writer maps it, then it is sealed with [`SliceFile::seal_writes`]: from
/// then on no process, whatever its privilege, can make a writable mapping or write to it by a system call
/// (`memfd_create(2)`, `F_SEAL_FUTURE_WRITE` in `fcntl(2)`).
#[derive(Debug)]
pub struct SliceFile {
    fd: OwnedFd,
    size: SliceSize,
}

impl SliceFile {
    /// A new slice, all zero. The label shows in `/proc/<pid>/maps` and isn't unique.
    pub fn create(label: &str, size: SliceSize) -> Result<Self, SliceError> {
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL;
        let fd = fs::memfd_create(label, flags).map_err(call("memfd_create"))?;
        fs::ftruncate(&fd, u64::from(size.bytes())).map_err(call("ftruncate"))?;
        fs::fcntl_add_seals(&fd, FIXED_SIZE).map_err(call("fcntl(F_ADD_SEALS)"))?;
        Ok(Self { fd, size })
    }

    /// Takes a descriptor that came from the broker, and checks that it is what was agreed.
    pub fn adopt(fd: OwnedFd, size: SliceSize) -> Result<Self, SliceError> {
        let file = Self { fd, size };
        file.check(FIXED_SIZE)?;
        Ok(file)
    }

    /// Its size.
    pub fn size(&self) -> SliceSize {
        self.size
    }

    /// Forbids every further writable mapping, every write by system call, and every further seal. The mapping
    /// that its writer has stays writable.
    pub fn seal_writes(&self) -> Result<(), SliceError> {
        let seals = SealFlags::FUTURE_WRITE | SealFlags::SEAL;
        fs::fcntl_add_seals(&self.fd, seals).map_err(call("fcntl(F_ADD_SEALS)"))
    }

    /// Says in the header page of a slice that its writer sleeps, for a writer that isn't running: whoever reads the slice rings then. By a
    /// system call, so that nothing is mapped; fails once the slice is sealed.
    pub fn put_waiting(&self, word: Waiting) -> Result<(), SliceError> {
        rustix::io::pwrite(&self.fd, &word.0.to_ne_bytes(), WAITING_AT).map(drop).map_err(call("pwrite"))
    }

    /// Checks size and seals.
    fn check(&self, needed: SealFlags) -> Result<(), SliceError> {
        let (expected, found) = (self.size.bytes(), fs::fstat(&self.fd).map_err(call("fstat"))?.st_size as u64);
        if u64::from(expected) != found {
            return Err(SliceError::Size { expected, found });
        }
        let found = fs::fcntl_get_seals(&self.fd).map_err(call("fcntl(F_GET_SEALS)"))?;
        match found.contains(needed) {
            true => Ok(()),
            false => Err(SliceError::Unsealed { found, needed }),
        }
    }

    /// Whether nobody can become a writer any more. Waits for nothing.
    pub fn is_sealed(&self) -> bool {
        self.check_single_writer().is_ok()
    }

    /// Checks that nobody can become a writer any more.
    pub(crate) fn check_single_writer(&self) -> Result<(), SliceError> {
        self.check(FIXED_SIZE | SealFlags::FUTURE_WRITE)
    }
}

impl AsFd for SliceFile {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}
