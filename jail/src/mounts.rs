//! What is mounted in a jail, as pid 1 reads it before it leaves its mount namespace behind.

use std::io;
use std::os::fd::AsFd;

use rustix::fs::{Mode, OFlags, openat};
use serde::{Deserialize, Serialize};

/// One line of `/proc/<pid>/mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mount {
    /// Where, seen from inside.
    pub target: String,
    /// Which file system.
    pub kind: String,
    /// Of this mount: `ro,nosuid,nodev`.
    pub options: String,
}

/// Of this process, as far as it can reach them, by a `/proc` that needn't be mounted anywhere.
///
/// Each line: id, parent, device, root, target, options, optional fields, "-", type, source, options (`proc_pid_mountinfo(5)`).
pub fn read(proc: impl AsFd) -> io::Result<Vec<Mount>> {
    let file = openat(proc, "self/mountinfo", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
    let (mut bytes, mut part) = (Vec::new(), [0; 4096]);
    while let length @ 1.. = rustix::io::read(&file, &mut part)? {
        bytes.extend_from_slice(&part[..length]);
    }
    let text = String::from_utf8_lossy(&bytes);
    let mount = |line: &str| {
        let (front, back) = line.split_once(" - ")?;
        let mut front = front.split(' ').skip(4);
        let kind = back.split(' ').next()?.to_owned();
        Some(Mount { target: front.next()?.to_owned(), kind, options: front.next()?.to_owned() })
    };
    let malformed = || io::Error::from(io::ErrorKind::InvalidData);
    text.lines().map(|line| mount(line).ok_or_else(malformed)).collect()
}
