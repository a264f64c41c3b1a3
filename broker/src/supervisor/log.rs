//! Lines to the operator, about the rare things that nobody asked for.

use super::journal::note_broker;
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::os::fd::OwnedFd;
use std::sync::OnceLock;

/// Standard error as a description of our own that never waits, where it can be had: worlds may share the other one, and with it its flags.
static OWN: OnceLock<Option<OwnedFd>> = OnceLock::new();

/// Writes one line, and notes it. Worlds may share the pipe, terminal or socket that it goes to, and fill it: a line that would have to wait is
/// lost rather than the supervisor.
pub(super) fn log(line: &str) {
    note_broker(line);
    let bytes = format!("strait: {line}\n").into_bytes();
    let stderr = rustix::stdio::stderr();
    let _ = match OWN.get_or_init(open_anew) {
        Some(own) => rustix::io::write(own, &bytes),
        // A socket can't be opened anew, and a file has its place in the one description.
        None => match send(stderr, &bytes, SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::NOTSOCK) => rustix::io::write(stderr, &bytes),
            other => other,
        },
    };
}

/// For what can make a writer wait.
fn open_anew() -> Option<OwnedFd> {
    let kind = FileType::from_raw_mode(fstat(rustix::stdio::stderr()).ok()?.st_mode);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match kind {
        FileType::Fifo | FileType::CharacterDevice => open("/proc/self/fd/2", flags, Mode::empty()).ok(),
        _ => None,
    }
}
