//! The one call of the mount interface that rustix lacks: `mount_setattr(2)`.

use rustix::io::Errno;
use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Adds attributes (`libc::MOUNT_ATTR_*`) to the mount that `mount` is open on, or to the whole tree of mounts.
///
/// Unlike a remount it can be applied to a tree that isn't attached yet, and reaches every mount of the tree or none.
pub fn add_attributes(mount: impl AsFd, attributes: u64, recursive: bool) -> io::Result<()> {
    change(mount, attributes, 0, recursive)
}

/// Shows every file of a tree of mounts that isn't attached yet as belonging to whom the user namespace maps its owner.
///
/// Fails with `EINVAL` where a file system can't do that, with `EPERM` for one that was mapped already.
pub fn map_ids(tree: impl AsFd, user_namespace: impl AsFd) -> Result<(), Errno> {
    let namespace = user_namespace.as_fd().as_raw_fd().cast_unsigned();
    change(tree, libc::MOUNT_ATTR_IDMAP, u64::from(namespace), true)
        .map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))
}

fn change(mount: impl AsFd, attributes: u64, userns_fd: u64, recursive: bool) -> io::Result<()> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd };
    let fd = mount.as_fd().as_raw_fd();
    let flags = libc::AT_EMPTY_PATH | recursive;
    let size = size_of::<libc::mount_attr>();
    // SAFETY: the path is a C string constant, `change` outlives the call and `size` is its size.
    let result = unsafe { libc::syscall(libc::SYS_mount_setattr, fd, c"".as_ptr(), flags, &raw const change, size) };
    match result {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
