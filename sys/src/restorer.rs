//! The program that makes a clone of an image: see `restorer/main.rs`. It is part of this one, as bytes.

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
pub use strait_image::Fault;

/// A static program for this architecture; empty where there is none.
pub const PROGRAM: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/restorer"));

/// A file in memory with the program in it that nobody can change, to be executed by its descriptor. `EOPNOTSUPP` on an architecture without
/// a restorer; `EACCES` where `vm.memfd_noexec` is 2.
pub fn file() -> Result<OwnedFd, Errno> {
    if PROGRAM.is_empty() {
        return Err(Errno::OPNOTSUPP);
    }
    let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::EXEC;
    let file = rustix::fs::memfd_create("strait-restorer", flags)?;
    let mut rest = PROGRAM;
    while !rest.is_empty() {
        rest = &rest[rustix::io::write(&file, rest)?..];
    }
    rustix::fs::fchmod(&file, rustix::fs::Mode::from_raw_mode(0o555))?;
    rustix::fs::fcntl_add_seals(&file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?;
    Ok(file)
}
