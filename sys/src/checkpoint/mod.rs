//! Writing this process down, so that others can go on where it stopped.
//!
//! [`checkpoint`] returns once in the process that calls it, and once in each clone that the restorer (`restorer/main.rs`) makes of the image.
//! A clone isn't a fork: it is a process of its own, in whatever jail it was started in, whose memory was filled from the image. So nobody
//! needs a privilege for it, and nothing of the original is left in it but what it had in memory:
//!
//! - **The same:** addresses and contents of memory, and with them what was drawn from randomness: the layout, stack canaries, hash seeds,
//!   generators. Who needs fresh randomness draws it after the checkpoint. Signal actions and mask, name, umask, working directory, files
//!   open for reading (opened anew, at the same place).
//! - **Its own:** pid namespace, uid, limits, descriptors 0 to 3, everything that the kernel keeps outside of memory.
//!
//! What can't be written down is an error before anything happens: a second thread, other descriptors, shared memory, timers, children.

mod capture;
mod dump;
mod error;
mod obstacles;
mod pages;
mod saved;
mod scratch;

pub use error::CheckpointError;

use rustix::fs::{MemfdFlags, Mode, OFlags, SealFlags};
use std::os::fd::{AsFd, IntoRawFd, OwnedFd};
use strait_image::Fault;

/// Which of the processes that come back from [`checkpoint`] this is.
#[derive(Debug)]
pub enum Resumed {
    /// The one that called. The image is sealed: nobody can change it any more.
    Original(OwnedFd),
    /// One that was made of the image.
    Clone,
}

/// Makes an image of this process. Returns in it, and in every clone.
///
/// `kept` is the number of a descriptor, beside 0, 1 and 2, that a clone will have too; it may be open. At most `limit_bytes` of image.
/// On an error nothing has changed.
pub fn checkpoint(kept: i32, limit_bytes: u64) -> Result<Resumed, CheckpointError> {
    if !cfg!(target_arch = "x86_64") {
        return Err(CheckpointError::Architecture(std::env::consts::ARCH));
    }
    let reopened = obstacles::check(kept)?;
    let saved = saved::Saved::now(reopened)?;
    let image = rustix::fs::memfd_create(
        "strait-image",
        MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL,
    )
    .map_err(error::call("memfd_create"))?;
    let (smaps, pagemap) = (open("/proc/self/smaps")?, open("/proc/self/pagemap")?);
    let mut dump = dump::Dump::new([image.as_fd(), smaps.as_fd(), pagemap.as_fd()], saved.pid(), limit_bytes)?;
    let is_clone = capture::capture(&mut dump)?;
    if is_clone {
        // The numbers aren't open here, and the scratch memory isn't there.
        dump.forget();
        let _ = [image, smaps, pagemap].map(IntoRawFd::into_raw_fd);
        if saved.restore().is_err() {
            crate::launch::exit_now(Fault::Reviving.code());
        }
        return Ok(Resumed::Clone);
    }
    drop(dump);
    let seals = SealFlags::SHRINK | SealFlags::GROW | SealFlags::WRITE | SealFlags::SEAL;
    rustix::fs::fcntl_add_seals(&image, seals).map_err(error::call("fcntl F_ADD_SEALS"))?;
    Ok(Resumed::Original(image))
}

fn open(path: &'static str) -> Result<OwnedFd, CheckpointError> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).map_err(error::call(path))
}
