//! Ctrl-C and its kin, as something to poll.

use crate::failure::Failure;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::low_level::pipe;
use std::io::{self, Read};
use std::os::fd::BorrowedFd;
use std::os::unix::net::UnixStream;
use std::time::Duration;

/// Requests to end that nobody has looked at yet: one byte each in a socket.
#[derive(Debug)]
pub struct Signals {
    arrived: UnixStream,
    pending: usize,
}

impl Signals {
    /// From here on Ctrl-C, SIGTERM and SIGHUP end nothing by themselves.
    pub fn catch() -> Result<Self, Failure> {
        Self::register().map_err(|error| Failure::new(format!("signals can't be caught: {error}")))
    }

    fn register() -> io::Result<Self> {
        let (arrived, theirs) = UnixStream::pair()?;
        arrived.set_nonblocking(true)?;
        for signal in [SIGINT, SIGTERM, SIGHUP] {
            pipe::register(signal, theirs.try_clone()?)?;
        }
        Ok(Self { arrived, pending: 0 })
    }

    /// Takes one.
    pub fn take(&mut self) -> bool {
        self.pending += self.arrived.read(&mut [0; 16]).unwrap_or(0);
        let is_there = self.pending > 0;
        self.pending -= usize::from(is_there);
        is_there
    }

    /// Sleeps until there is one, or something to read, or the time is over.
    pub fn wait_or(&self, readable: BorrowedFd<'_>, time: Option<Duration>) -> Result<(), Failure> {
        let mut fds = [PollFd::new(&self.arrived, PollFlags::IN), PollFd::from_borrowed_fd(readable, PollFlags::IN)];
        let time = time.and_then(|time| Timespec::try_from(time).ok());
        match poll(&mut fds, time.as_ref()) {
            Ok(_) | Err(Errno::INTR) => Ok(()),
            Err(errno) => Err(Failure::new(format!("poll: {errno}"))),
        }
    }
}
