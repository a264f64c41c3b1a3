//! What a clone can't have, looked for before anything happens.

use super::error::{CheckpointError, call};
use rustix::fs::{FileType, OFlags};
use rustix::process::{WaitId, WaitIdOptions};
use std::fs;
use std::os::fd::BorrowedFd;
use std::path::PathBuf;

/// A file that is open for reading. A clone opens it anew.
#[derive(Debug)]
pub(super) struct OpenFile {
    pub number: i32,
    pub path: PathBuf,
    pub flags: OFlags,
    pub position: u64,
    pub closes_on_exec: bool,
}

/// Fails with the first obstacle, or says which files a clone has to open.
pub(super) fn check(kept: i32) -> Result<Vec<OpenFile>, CheckpointError> {
    let threads = fs::read_dir("/proc/self/task").map_err(io("/proc/self/task"))?.count() as u64;
    if threads != 1 {
        return Err(CheckpointError::Threads(threads));
    }
    let children = WaitIdOptions::EXITED
        | WaitIdOptions::NOHANG
        | WaitIdOptions::NOWAIT
        | WaitIdOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    if !matches!(rustix::process::waitid(WaitId::All, children), Err(rustix::io::Errno::CHILD)) {
        return Err(CheckpointError::Child);
    }
    check_timers()?;
    check_descriptors(kept)
}

fn check_timers() -> Result<(), CheckpointError> {
    for which in [libc::ITIMER_REAL, libc::ITIMER_VIRTUAL, libc::ITIMER_PROF] {
        // SAFETY: plain integers; all zero is a valid value.
        let mut timer: libc::itimerval = unsafe { std::mem::zeroed() };
        // SAFETY: `timer` is a live local. On a failure it stays zero.
        unsafe { libc::syscall(libc::SYS_getitimer, which, &raw mut timer) };
        if (timer.it_value.tv_sec, timer.it_value.tv_usec) != (0, 0) {
            return Err(CheckpointError::Timer);
        }
    }
    // A kernel without this file has no way to tell; such timers are rare in one thread.
    match fs::read("/proc/self/timers") {
        Ok(text) if !text.is_empty() => Err(CheckpointError::Timer),
        _ => Ok(()),
    }
}

fn check_descriptors(kept: i32) -> Result<Vec<OpenFile>, CheckpointError> {
    let directory = fs::read_dir("/proc/self/fd").map_err(io("/proc/self/fd"))?;
    let names: Vec<String> = directory.flatten().filter_map(|entry| entry.file_name().into_string().ok()).collect();
    let (mut files, mut others) = (Vec::new(), Vec::new());
    for number in names.iter().filter_map(|name| name.parse::<i32>().ok()).filter(|n| *n > 2 && *n != kept) {
        // The descriptor of the listing itself is among them, and closed by now.
        let Ok(path) = fs::read_link(format!("/proc/self/fd/{number}")) else { continue };
        match open_file(number, path.clone()) {
            Some(file) => files.push(file),
            None => others.push(format!("{number} ({})", path.display())),
        }
    }
    match others.is_empty() {
        true => Ok(files),
        false => Err(CheckpointError::Descriptors(others)),
    }
}

/// A regular file, open for nothing but reading, that still has its name.
fn open_file(number: i32, path: PathBuf) -> Option<OpenFile> {
    // SAFETY: it is open, as /proc has just said; this is the only thread, and closes nothing here.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let here = rustix::fs::fstat(fd).ok()?;
    let named = rustix::fs::stat(&path).ok()?;
    let flags = rustix::fs::fcntl_getfl(fd).ok()?;
    let is_same = (here.st_dev, here.st_ino) == (named.st_dev, named.st_ino);
    let is_read_only = flags & OFlags::RWMODE == OFlags::RDONLY && !flags.contains(OFlags::PATH);
    let is_regular = FileType::from_raw_mode(here.st_mode) == FileType::RegularFile;
    if !(is_same && is_read_only && is_regular) {
        return None;
    }
    let closes_on_exec = rustix::io::fcntl_getfd(fd).ok()?.contains(rustix::io::FdFlags::CLOEXEC);
    Some(OpenFile { number, path, flags, position: rustix::fs::tell(fd).ok()?, closes_on_exec })
}

fn io(what: &'static str) -> impl FnOnce(std::io::Error) -> CheckpointError {
    move |error| call(what)(rustix::io::Errno::from_io_error(&error).unwrap_or(rustix::io::Errno::IO))
}
