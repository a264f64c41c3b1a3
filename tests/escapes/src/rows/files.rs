//! Files: those of the host, those of the kernel, those that were granted, and descriptors that were left open.

use crate::call;
use crate::ground::Ground;
use crate::outcome::{Outcome, Tried};
use crate::raw::{open, text};
use crate::row::{Attempt, Row};
use libc::{AT_FDCWD, O_CREAT, O_DIRECTORY, O_EXCL, O_PATH, O_RDONLY, O_WRONLY};

const ABSENT: &[&str] = &["ENOENT", "EACCES"];

pub const CORE_PATTERN: Row = Row::new(
    1,
    "open /proc/sys/kernel/core_pattern for writing",
    ABSENT,
    &[
        Attempt::new("core_pattern", |_| open("/proc/sys/kernel/core_pattern", O_WRONLY)),
        Attempt::new("modprobe", |_| open("/proc/sys/kernel/modprobe", O_WRONLY))
            .unless("ENOENT", "modules (CONFIG_MODULES)"),
    ],
);

pub const ABOVE: Row = Row::new(
    15,
    "`..` from every inherited directory fd",
    &["none"],
    &[Attempt::new("a file beside it", |ground| {
        let above = |fd: &i32| call!(libc::SYS_openat, *fd, c"../secret", O_RDONLY);
        ground.inherited.iter().find_map(|fd| above(fd).ok()).ok_or(Outcome::Word("none"))
    })],
);

pub const DESCRIPTORS: Row = Row::new(
    16,
    "/proc/self/fd lists more than was granted",
    &["exact"],
    &[Attempt::new("the descriptors", |ground| {
        let granted = |fd: &&i32| **fd <= 2 || (**fd == 3 && ground.has_broker);
        match ground.inherited.iter().all(|fd| granted(&fd)) {
            true => Err(Outcome::Word("exact")),
            false => Ok(0),
        }
    })],
);

pub const FIRST_PROCESS: Row = Row::new(
    17,
    "/proc/1/{root,cwd,environ,mem}",
    ABSENT,
    &[
        Attempt::new("root", |_| open("/proc/1/root/", O_RDONLY)).caged(),
        Attempt::new("cwd", |_| open("/proc/1/cwd/", O_RDONLY)).caged(),
        Attempt::new("environ", |_| open("/proc/1/environ", O_RDONLY)).caged(),
        Attempt::new("mem", |_| open("/proc/1/mem", O_RDONLY)).caged(),
        Attempt::new("the victim's root", |ground| open(&ground.of_victim("root/"), O_RDONLY)),
    ],
);

pub const PROGRAMS: Row = Row::new(
    18,
    "overwrite /proc/self/exe and the launcher",
    &["ETXTBSY", "EROFS", "EACCES"],
    &[
        Attempt::new("its own program", |_| open("/proc/self/exe", O_WRONLY))
            .impossible("the kernel lets nobody write to a program that runs: ETXTBSY"),
        Attempt::new("a program that doesn't run", |ground| open(&ground.in_ro("idle"), O_WRONLY)),
        Attempt::new("pid 1's program", |_| open("/proc/1/exe", O_RDONLY)).held(ABSENT).caged(),
        Attempt::new("the victim's program", |ground| open(&ground.of_victim("exe"), O_RDONLY)).held(ABSENT),
    ],
);

pub const HOST_PATHS: Row = Row::new(
    19,
    "mountinfo shows host paths",
    &["no-match"],
    &[
        Attempt::new("mountinfo", |ground| find(ground, "/proc/self/mountinfo")),
        Attempt::new("mounts", |ground| find(ground, "/proc/self/mounts")),
        Attempt::new("maps", |ground| find(ground, "/proc/self/maps")),
        Attempt::new("exe", |ground| {
            let path = std::fs::read_link("/proc/self/exe").map_err(|error| Outcome::of(&error))?;
            shows(ground, &path.to_string_lossy())
        }),
    ],
);

pub const KERNEL_FILES: Row = Row::new(
    20,
    "kallsyms, kcore, sysrq-trigger",
    &["ENOENT"],
    &[
        Attempt::new("kallsyms", |_| open("/proc/kallsyms", O_RDONLY)).unless("ENOENT", "CONFIG_KALLSYMS"),
        Attempt::new("kcore", |_| open("/proc/kcore", O_RDONLY)).unless("ENOENT", "CONFIG_PROC_KCORE"),
        Attempt::new("sysrq-trigger", |_| open("/proc/sysrq-trigger", O_WRONLY)).unless("ENOENT", "CONFIG_MAGIC_SYSRQ"),
        Attempt::new("kmsg", |_| open("/proc/kmsg", O_RDONLY)),
        Attempt::new("/sys", |_| open("/sys/kernel", O_RDONLY | O_DIRECTORY)),
        Attempt::new("/dev/kmsg", |_| open("/dev/kmsg", O_WRONLY)),
    ],
);

pub const READ_ONLY: Row = Row::new(
    38,
    "write, truncate, chmod, link in a read-only bind",
    &["EROFS", "EACCES"],
    &[
        Attempt::new("write", |ground| open(&ground.in_ro("file"), O_WRONLY)),
        Attempt::new("create", |ground| {
            open(&ground.in_ro("new"), O_WRONLY | O_CREAT | O_EXCL)?;
            remove(&ground.in_ro("new"))
        }),
        Attempt::new("truncate", |ground| call!(libc::SYS_truncate, &text(&ground.in_ro("file")), 4)),
        Attempt::new("chmod", |ground| call!(libc::SYS_fchmodat, AT_FDCWD, &text(&ground.in_ro("file")), 0o644)),
        Attempt::new("chown", |ground| call!(libc::SYS_fchownat, AT_FDCWD, &text(&ground.in_ro("file")), -1, -1, 0)),
        Attempt::new("utimes", |ground| call!(libc::SYS_utimensat, AT_FDCWD, &text(&ground.in_ro("file")), 0, 0)),
        Attempt::new("xattr", |ground| {
            call!(libc::SYS_setxattr, &text(&ground.in_ro("file")), c"user.escape", &b"x"[..], 1, 0)
        }),
        Attempt::new("link", |ground| {
            let (from, to) = (text(&ground.in_ro("file")), text(&ground.in_ro("link")));
            call!(libc::SYS_linkat, AT_FDCWD, &from, AT_FDCWD, &to, 0)?;
            remove(&ground.in_ro("link"))
        }),
        Attempt::new("through a descriptor", |ground| {
            let path = open(&ground.in_ro("file"), O_PATH)?;
            open(&format!("/proc/self/fd/{path}"), O_WRONLY)
        }),
    ],
);

pub const OUT_OF_GRANTS: Row = Row::new(
    39,
    "rename or symlink out of a granted directory",
    &["EXDEV", "EACCES"],
    &[
        Attempt::new("rename out", |ground| move_out(ground, &format!("{}/moved", ground.outside))).held(&["ENOENT"]),
        Attempt::new("rename to above", |ground| move_out(ground, &ground.in_rw("../moved")))
            .held(&["EXDEV", "EROFS", "EACCES"]),
        Attempt::new("rename to /tmp", |ground| move_out(ground, "/tmp/moved"))
            .impossible("/tmp is a file system of its own in the control too: EXDEV"),
        Attempt::new("link in what is read-only", |ground| {
            let (from, to) = (text(&ground.in_ro("file")), text(&ground.in_rw("link")));
            call!(libc::SYS_linkat, AT_FDCWD, &from, AT_FDCWD, &to, 0)?;
            remove(&ground.in_rw("link"))
        })
        .impossible("nobody links from one mount to another: EXDEV"),
        Attempt::new("through a symlink", |ground| {
            let link = ground.in_rw("symlink");
            call!(libc::SYS_symlinkat, &text(&format!("{}/secret", ground.outside)), AT_FDCWD, &text(&link))?;
            let opened = open(&link, O_RDONLY);
            remove(&link)?;
            opened
        })
        .held(&["ENOENT"]),
        Attempt::new("through `..`", |ground| open(&ground.in_rw("../secret"), O_RDONLY)).held(&["ENOENT"]),
        Attempt::new("write to the secret", |ground| open(&format!("{}/secret", ground.outside), O_WRONLY))
            .held(&["ENOENT"]),
    ],
);

fn remove(path: &str) -> Tried {
    call!(libc::SYS_unlinkat, AT_FDCWD, &text(path), 0)
}

/// Moves the granted file there, and back if that works.
fn move_out(ground: &Ground, to: &str) -> Tried {
    let (from, to) = (text(&ground.in_rw("file")), text(to));
    call!(libc::SYS_renameat2, AT_FDCWD, &from, AT_FDCWD, &to, 0)?;
    call!(libc::SYS_renameat2, AT_FDCWD, &to, AT_FDCWD, &from, 0)
}

fn find(ground: &Ground, file: &str) -> Tried {
    shows(ground, &std::fs::read_to_string(file).map_err(|error| Outcome::of(&error))?)
}

/// Whether a text names the directory that the grants come from.
fn shows(ground: &Ground, text: &str) -> Tried {
    match text.contains(&ground.outside) {
        true => Ok(0),
        false => Err(Outcome::Word("no-match")),
    }
}
