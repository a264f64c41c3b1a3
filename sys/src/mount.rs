//! The one call of the mount interface that rustix lacks: `mount_setattr(2)`.

use std::io;
use std::os::fd::{AsFd, AsRawFd};

/// Adds attributes (`libc::MOUNT_ATTR_*`) to the mount that `mount` is open on, or to the whole tree of mounts.
///
/// Unlike a remount it can be applied to a tree that isn't attached yet, and reaches every mount of the tree or none.
pub fn add_attributes(mount: impl AsFd, attributes: u64, recursive: bool) -> io::Result<()> {
    let recursive = if recursive { libc::AT_RECURSIVE } else { 0 };
    let change = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
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
