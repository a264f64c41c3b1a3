//! Whether the host still looks as it did when the jails that wait were begun.
//!
//! A root that was made ahead of time shows the files of the host that were there then: what has been put in a file's place since (an
//! upgrade's `/etc/ld.so.cache`, another time zone), or was mounted since, isn't in it. What changes inside a directory or a file is.

use std::fs::File;

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::system;

/// What was seen when it was last asked.
#[derive(Debug)]
pub struct Outlook {
    /// Says once that something was mounted or unmounted (`proc_pid_mountinfo(5)`).
    mounts: Option<File>,
    files: Vec<Option<Identity>>,
}

/// Device and inode.
type Identity = (u64, u64);

impl Outlook {
    pub fn new() -> Outlook {
        Outlook { mounts: File::open("/proc/self/mountinfo").ok(), files: identities() }
    }

    /// Since it was last asked, or made: what is mounted, and with `with_files` which files the system has. Always where the kernel doesn't say.
    pub fn has_changed(&mut self, with_files: bool) -> bool {
        let is_same = !with_files || self.have_files_stayed();
        !is_same | self.mounts.as_ref().is_none_or(says_so)
    }

    fn have_files_stayed(&mut self) -> bool {
        let before = std::mem::replace(&mut self.files, identities());
        before == self.files
    }
}

fn says_so(mounts: &File) -> bool {
    let mut event = [PollFd::new(mounts, PollFlags::PRI)];
    let polled = poll(&mut event, Some(&Timespec { tv_sec: 0, tv_nsec: 0 }));
    polled.is_err() || event[0].revents().contains(PollFlags::PRI)
}

fn identities() -> Vec<Option<Identity>> {
    let identity = |path| rustix::fs::stat(path).ok().map(|stat| (stat.st_dev, stat.st_ino));
    system::names().map(identity).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_is_the_same_and_what_was_replaced_isnt() {
        let mut outlook = Outlook::new();
        // Others may mount something at any time, but not all the time.
        let rests = |outlook: &mut Outlook| (0..100).any(|_| !outlook.has_changed(true));
        assert!(rests(&mut outlook));
        outlook.files[0] = None;
        assert!((0..100).any(|_| !outlook.has_changed(false)), "only files have changed");
        assert!(outlook.has_changed(true));
        assert!(rests(&mut outlook), "it has looked since");
        assert!(Outlook { mounts: None, ..outlook }.has_changed(true));
    }
}
