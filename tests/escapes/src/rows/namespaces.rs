//! New namespaces, others' namespaces, mounts, roots, cgroups and devices.

use crate::call;
use crate::ground::Ground;
use crate::outcome::{Outcome, Tried};
use crate::raw::{exit, open, text, wait};
use crate::row::{Attempt, Row};

const REFUSED: &[&str] = &["EPERM"];

pub const NEW: Row = Row::new(
    11,
    "clone(NEWUSER), unshare of anything",
    REFUSED,
    &[
        Attempt::new("clone NEWUSER", |_| {
            match call!(libc::SYS_clone, i64::from(libc::CLONE_NEWUSER | libc::SIGCHLD), 0, 0, 0, 0)? {
                0 => exit(0),
                pid => wait(pid as i32).map(|_| pid),
            }
        }),
        Attempt::new("unshare user", |_| unshare(libc::CLONE_NEWUSER)),
        Attempt::new("unshare mount", |_| unshare(libc::CLONE_NEWNS)),
        Attempt::new("unshare pid", |_| unshare(libc::CLONE_NEWPID)),
        Attempt::new("unshare net", |_| unshare(libc::CLONE_NEWNET)),
        Attempt::new("unshare ipc", |_| unshare(libc::CLONE_NEWIPC)),
        Attempt::new("unshare uts", |_| unshare(libc::CLONE_NEWUTS)),
        Attempt::new("unshare cgroup", |_| unshare(libc::CLONE_NEWCGROUP)),
        Attempt::new("unshare time", |_| unshare(CLONE_NEWTIME)),
        Attempt::new("unshare files", |_| unshare(libc::CLONE_FS)),
    ],
);

pub const ENTER: Row = Row::new(
    12,
    "setns by /proc/*/ns and by pidfd",
    REFUSED,
    &[
        Attempt::new("its own, by /proc", |_| enter("/proc/self/ns/uts")),
        Attempt::new("pid 1's, by /proc", |_| enter("/proc/1/ns/uts")).held(&["EPERM", "ENOENT"]).caged(),
        Attempt::new("the victim's, by /proc", |ground| enter(&ground.of_victim("ns/uts"))).held(&["EPERM", "ENOENT"]),
        Attempt::new("its parent's, by pidfd", |_| {
            let pidfd = call!(libc::SYS_pidfd_open, call!(libc::SYS_getppid)?, 0)?;
            call!(libc::SYS_setns, pidfd, libc::CLONE_NEWUTS)
        }),
    ],
);

pub const MOUNT: Row = Row::new(
    13,
    "mount, fsopen, open_tree, move_mount, mount_setattr",
    &["EPERM", "ENOSYS"],
    &[
        Attempt::new("mount", |ground| mount(&ground.rw, c"tmpfs", c"")),
        Attempt::new("bind mount", |ground| {
            call!(libc::SYS_mount, &text(&ground.ro), &text(&ground.rw), c"", libc::MS_BIND, 0)
        }),
        Attempt::new("remount for writing", |ground| {
            call!(libc::SYS_mount, c"", &text(&ground.ro), c"", libc::MS_REMOUNT | libc::MS_BIND, 0)
        }),
        Attempt::new("fsopen", |_| call!(libc::SYS_fsopen, c"tmpfs", 1)),
        Attempt::new("open_tree", |ground| open_tree(&ground.ro)),
        Attempt::new("move_mount", |ground| {
            let tree = open_tree(&ground.ro).unwrap_or(usize::MAX) as i32;
            call!(libc::SYS_move_mount, tree, c"", libc::AT_FDCWD, &text(&ground.rw), 4)
        }),
        // struct mount_attr: MOUNT_ATTR_NOEXEC is set, which anybody could wish for.
        Attempt::new("mount_setattr", |ground| {
            call!(libc::SYS_mount_setattr, libc::AT_FDCWD, &text(&ground.ro), 0, &[8u64, 0, 0, 0], 32)
        }),
        Attempt::new("listmount", |_| call!(SYS_LISTMOUNT, &[24u64, u64::MAX, 0], &mut [0; 64][..], 8, 0)),
    ],
);

pub const ROOT: Row = Row::new(
    14,
    "pivot_root, chroot, umount2",
    REFUSED,
    &[
        Attempt::new("pivot_root", |ground| {
            // In a mount namespace of its own and on a mount of its own, where these can be had.
            let _ = unshare(libc::CLONE_NEWNS).and_then(|_| mount(&ground.rw, c"tmpfs", c""));
            call!(libc::SYS_chdir, &text(&ground.rw))?;
            call!(libc::SYS_pivot_root, c".", c".")
        }),
        Attempt::new("chroot", |ground| call!(libc::SYS_chroot, &text(&ground.rw))),
        Attempt::new("umount2", |_| {
            let _ = unshare(libc::CLONE_NEWNS);
            call!(libc::SYS_umount2, c"/proc", libc::MNT_DETACH)
        }),
    ],
);

pub const CGROUP_PATHS: Row = Row::new(
    21,
    "any cgroupfs path",
    &["ENOENT"],
    &[
        Attempt::new("/sys/fs/cgroup", |_| open("/sys/fs/cgroup", libc::O_PATH)),
        Attempt::new("a mount of it", |_| match mounts()?.lines().any(|line| line.contains(" - cgroup")) {
            true => Ok(0),
            false => Err(Outcome::Errno(libc::ENOENT)),
        }),
        Attempt::new("where it is", |_| {
            // The path below the root of its cgroup namespace: "/" says nothing.
            let text = std::fs::read_to_string("/proc/self/cgroup").map_err(|error| Outcome::of(&error))?;
            match text.lines().any(|line| !line.ends_with(":/")) {
                true => Ok(0),
                false => Err(Outcome::Word("no-path")),
            }
        })
        .held(&["no-path"]),
    ],
);

pub const RELEASE_AGENT: Row = Row::new(
    22,
    "mount a v1 cgroup, write release_agent",
    REFUSED,
    &[Attempt::new("mount", |ground| {
        let _ = unshare(libc::CLONE_NEWNS);
        mount(&ground.rw, c"cgroup", c"freezer")?;
        // Only opened: writing to it would be the escape.
        open(&ground.in_rw("release_agent"), libc::O_WRONLY)
    })
    .unless("EBUSY", "a version 1 hierarchy with the freezer in it")],
);

pub const DEVICES: Row = Row::new(
    23,
    "mknod of a device",
    REFUSED,
    &[
        Attempt::new("a character device", |ground| device(ground, libc::S_IFCHR, 0x103)),
        Attempt::new("a block device", |ground| device(ground, libc::S_IFBLK, 0x700)),
        Attempt::new("in /tmp", |_| {
            let path = c"/tmp/strait-escape-device";
            let made = call!(libc::SYS_mknodat, libc::AT_FDCWD, path, libc::S_IFCHR | 0o600, 0x103);
            let _ = call!(libc::SYS_unlinkat, libc::AT_FDCWD, path, 0);
            made
        }),
    ],
);

const CLONE_NEWTIME: i32 = 0x80;
const SYS_LISTMOUNT: i64 = 458;

fn unshare(flag: i32) -> Tried {
    call!(libc::SYS_unshare, flag)
}

fn enter(path: &str) -> Tried {
    let namespace = open(path, libc::O_RDONLY)?;
    call!(libc::SYS_setns, namespace, 0)
}

fn mount(at: &str, kind: &std::ffi::CStr, options: &std::ffi::CStr) -> Tried {
    call!(libc::SYS_mount, c"none", &text(at), kind, 0, options)
}

/// Flags: OPEN_TREE_CLONE and OPEN_TREE_CLOEXEC.
fn open_tree(path: &str) -> Tried {
    call!(libc::SYS_open_tree, libc::AT_FDCWD, &text(path), 1 | libc::O_CLOEXEC)
}

fn mounts() -> Result<String, Outcome> {
    std::fs::read_to_string("/proc/self/mountinfo").map_err(|error| Outcome::of(&error))
}

fn device(ground: &Ground, kind: u32, number: i32) -> Tried {
    let path = text(&ground.in_rw("device"));
    let made = call!(libc::SYS_mknodat, libc::AT_FDCWD, &path, kind | 0o600, number);
    let _ = call!(libc::SYS_unlinkat, libc::AT_FDCWD, &path, 0);
    made
}
