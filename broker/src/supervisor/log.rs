//! Lines to the operator: about the rare things that nobody asked for, and what worlds print.

use super::journal::note_broker;
use crate::text::{cut, one_line};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{FileType, Mode, OFlags, fstat, open};
use rustix::io::Errno;
use rustix::net::{SendFlags, send};
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd};
use std::sync::{Mutex, PoisonError};

/// Where this process' own lines go.
static OWN: Mutex<Option<Outlet>> = Mutex::new(None);

/// Writes one line, and notes it. What is quoted in it can be of a world's making, such as a path that it asks for: as any such text it is escaped
/// where it is shown. Worlds may share the pipe, terminal or socket that it goes to, and fill it: a line that would have to wait is lost rather than
/// the supervisor.
pub(super) fn log(line: &str) {
    note_broker(line);
    let mut own = OWN.lock().unwrap_or_else(PoisonError::into_inner);
    own.get_or_insert_with(|| Outlet::new(rustix::stdio::stderr())).show(&own_line(line));
}

fn own_line(line: &str) -> String {
    format!("strait: {}\n", cut(&one_line(line), MAX_OWN_BYTES))
}

/// Bytes of a line of our own as it is shown: what finds room in a pipe at once.
const MAX_OWN_BYTES: usize = 4000;

/// Somewhere that lines are shown, where nobody ever waits.
#[derive(Debug, Default)]
pub(super) struct Outlet {
    /// A description of our own where it can be had: worlds may share the other one, and with it its flags.
    to: Option<OwnedFd>,
    /// Lines that had no room since the last that had.
    lost: u64,
}

impl Outlet {
    pub(super) fn new(stream: BorrowedFd<'_>) -> Self {
        Self { to: open_anew(stream).or_else(|| stream.try_clone_to_owned().ok()), lost: 0 }
    }

    /// Shows lines, and before them how many weren't. They are written whole or not at all if they have up to 4,096 bytes, but to a terminal.
    pub(super) fn show(&mut self, lines: &str) {
        if self.lost > 0
            && self.write(&format!("strait: {} lines had no room here: `strait log` has the last\n", self.lost))
        {
            self.lost = 0;
        }
        if self.lost > 0 || !self.write(lines) {
            self.lost += lines.lines().count() as u64;
        }
    }

    fn write(&self, text: &str) -> bool {
        let Some(to) = &self.to else { return true };
        // A socket can't be opened anew, and a file has its place in the one description.
        let written = match send(to, text.as_bytes(), SendFlags::DONTWAIT | SendFlags::NOSIGNAL) {
            Err(Errno::NOTSOCK) if !has_room(to) => Err(Errno::AGAIN),
            Err(Errno::NOTSOCK) => rustix::io::write(to, text.as_bytes()),
            other => other,
        };
        written.is_ok()
    }
}

/// Whether a short write would not wait, where the description isn't our own: that of a pipe or terminal that only another user may open.
fn has_room(to: &OwnedFd) -> bool {
    let mut ready = [PollFd::new(to, PollFlags::OUT)];
    poll(&mut ready, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
}

/// For what can make a writer wait.
fn open_anew(stream: BorrowedFd<'_>) -> Option<OwnedFd> {
    let kind = FileType::from_raw_mode(fstat(stream).ok()?.st_mode);
    let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    match kind {
        FileType::Fifo | FileType::CharacterDevice => {
            open(format!("/proc/self/fd/{}", stream.as_raw_fd()), flags, Mode::empty()).ok()
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;
    use std::os::fd::AsFd;

    #[test]
    fn what_a_world_has_quoted_forges_no_line_and_commands_no_terminal() {
        let line = own_line("world a asks for `read /srv/\u{1b}[2J\nstrait: world b`");
        assert_eq!(line, "strait: world a asks for `read /srv/\\u{1b}[2J\\nstrait: world b`\n");
    }

    #[test]
    fn a_full_pipe_that_cant_be_opened_anew_keeps_nobody_waiting_either() {
        let (_reader, writer) = std::io::pipe().unwrap();
        let mut outlet = Outlet { to: Some(writer.into()), lost: 0 };
        let line = format!("{}\n", "x".repeat(3999));
        (0..100).for_each(|_| outlet.show(&line));
        assert!(outlet.lost > 80, "{} of 100 lost: a pipe has 64 KiB", outlet.lost);
    }

    #[test]
    fn a_full_pipe_keeps_nobody_waiting_and_says_what_it_missed() {
        let (mut reader, writer) = std::io::pipe().unwrap();
        let mut outlet = Outlet::new(writer.as_fd());
        let line = format!("{}\n", "x".repeat(999));
        (0..100).for_each(|_| outlet.show(&line));
        assert!((30..=40).contains(&outlet.lost), "{} of 100 lost: a pipe has 64 KiB", outlet.lost);
        let mut room = [0; 32 * 1024];
        reader.read_exact(&mut room).unwrap();
        outlet.show("after\n");
        drop((outlet, writer));
        let mut rest = String::new();
        reader.read_to_string(&mut rest).unwrap();
        assert!(
            rest.contains("lines had no room here") && rest.ends_with("\nafter\n"),
            "{}",
            &rest[rest.len() - 200..]
        );
    }
}
