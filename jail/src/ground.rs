//! What is the same in every jail, and is laid before anybody knows what for: a root with the system in it.
//!
//! A first process has two mount namespaces. It is born into a copy of the host's ([`Ground::host`]), where it opens the sources of its order's binds, by
//! name and with the launcher's rights. The jail's is another, in which the root stands and nothing of the host's is left. To detach what was the
//! host's there makes the kernel wait for every processor (`namespace_unlock` in `fs/namespace.c`: a grace period of RCU, 0.05 to 1 ms), and so does
//! the end of the first namespace. The one is done before the order comes, the other once the program runs.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};
use strait_sys::launch::unshare_namespaces;

use crate::error::{At, SpawnError, Step};
use crate::root::{self, Root};
use crate::ruleset::Rules;
use crate::system;

/// A root with the system in it, that waits for what else is granted.
#[derive(Debug)]
pub struct Ground {
    pub root: Root,
    /// What of it may be used how.
    pub rules: Rules,
    /// A `/proc` that is mounted nowhere.
    pub proc: OwnedFd,
    /// The mount namespace with the host's files, which this process is in. It ends when this is closed, which takes the kernel long.
    pub host: OwnedFd,
    /// The one with the root.
    pub jail: OwnedFd,
}

impl Ground {
    /// Lays it in an [empty](root::empty) file system, which this process's user must be able to make files in.
    pub fn lay(empty: OwnedFd, system: bool) -> Result<Ground, SpawnError> {
        let host = open_namespace()?;
        unshare_namespaces(libc::CLONE_NEWNS).at(Step::Root, "unshare of the mount namespace")?;
        let jail = open_namespace()?;
        let system = system::open(system)?;
        let proc = root::unmounted_proc()?;
        rustix::process::umask(Mode::empty());
        let mut root = Root::cover(empty)?;
        let mut grants = system.attach(&mut root)?;
        grants.push(root.proc()?);
        root.enter()?;
        enter(&host, "the host's files")?;
        Ok(Ground { root, rules: Rules::new()?.allow(&grants)?, proc, host, jail })
    }

    /// Moves this process to the root, out of reach of the host's files.
    pub fn enter(&self) -> Result<(), SpawnError> {
        enter(&self.jail, "the root")
    }
}

/// The one this process is in.
fn open_namespace() -> Result<OwnedFd, SpawnError> {
    let path = Path::new("/proc/self/ns/mnt");
    openat(CWD, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).at_path(Step::Root, "openat", path)
}

fn enter(namespace: &OwnedFd, what: &str) -> Result<(), SpawnError> {
    move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))
        .at(Step::Root, format_args!("setns to the mount namespace with {what}"))
}
