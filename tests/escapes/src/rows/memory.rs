//! Memory: to execute what was written, and the slices that a world shares with its broker.

use crate::call;
use crate::outcome::{Outcome, Tried};
use crate::raw::owned;
use crate::row::{Attempt, Row};
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::process::Command;

pub const EXECUTE: Row = Row::new(
    36,
    "memfd_create and fexecve",
    &["EACCES"],
    &[
        // A clone has another program in `/proc/self/exe`, which is executed there, and ends: that counts as well.
        Attempt::new("without flags", |_| execute_memory(0)).rootless(&["ok", "not-run"], MEMFD_NOEXEC),
        Attempt::new("MFD_EXEC", |_| execute_memory(libc::MFD_EXEC)).rootless(&["ok", "not-run"], MEMFD_NOEXEC),
        Attempt::new("chmod of a sealed one", |_| {
            let file = owned(call!(libc::SYS_memfd_create, c"program", libc::MFD_NOEXEC_SEAL)?);
            call!(libc::SYS_fchmod, file.as_raw_fd(), 0o755)
        })
        .held(&["EPERM"])
        .impossible("the seal is asked for, and binds everybody"),
    ],
);

const MEMFD_NOEXEC: &str = "vm.memfd_noexec belongs to each pid namespace, but only the host's root may write it; the profile `strict` refuses \
                            executable memory files without it";

pub const EXECUTABLE_SLICE: Row = Row::new(
    37,
    "PROT_EXEC on a slice",
    &["EACCES", "EPERM"],
    &[
        Attempt::new("map the outbox", |ground| map(&ground.slices()?.outbox, libc::PROT_READ | libc::PROT_EXEC)),
        Attempt::new("map the inbox", |ground| map(&ground.slices()?.inbox, libc::PROT_READ | libc::PROT_EXEC)),
        Attempt::new("mprotect", |ground| {
            let address = map(&ground.slices()?.inbox, libc::PROT_READ)?;
            call!(libc::SYS_mprotect, address, 4096, libc::PROT_READ | libc::PROT_EXEC)
        }),
        Attempt::new("memory both writable and executable", |_| {
            let (protection, flags) =
                (libc::PROT_READ | libc::PROT_WRITE | libc::PROT_EXEC, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            call!(libc::SYS_mmap, 0, 4096, protection, flags, -1, 0)
        }),
        Attempt::new("memory first writable, then executable", |_| {
            let (protection, flags) = (libc::PROT_READ | libc::PROT_WRITE, libc::MAP_PRIVATE | libc::MAP_ANONYMOUS);
            let address = call!(libc::SYS_mmap, 0, 4096, protection, flags, -1, 0)?;
            call!(libc::SYS_mprotect, address, 4096, libc::PROT_READ | libc::PROT_EXEC)
        }),
    ],
)
.on_slices();

pub const RESIZE: Row = Row::new(
    43,
    "ftruncate a slice, add seals",
    &["EPERM", "EINVAL"],
    &[
        Attempt::new("shrink the outbox", |ground| {
            call!(libc::SYS_ftruncate, ground.slices()?.outbox.as_raw_fd(), 4096)
        }),
        Attempt::new("grow the outbox", |ground| {
            call!(libc::SYS_ftruncate, ground.slices()?.outbox.as_raw_fd(), 1 << 20)
        }),
        Attempt::new("shrink the inbox", |ground| call!(libc::SYS_ftruncate, ground.slices()?.inbox.as_raw_fd(), 4096))
            .impossible("its descriptor is for reading, sealed or not: EINVAL"),
        Attempt::new("punch a hole", |ground| {
            let flags = libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE;
            call!(libc::SYS_fallocate, ground.slices()?.outbox.as_raw_fd(), flags, 0, 4096)
        }),
        Attempt::new("write to it", |ground| {
            call!(libc::SYS_pwrite64, ground.slices()?.outbox.as_raw_fd(), &b"x"[..], 1, 0)
        }),
        Attempt::new("a second writable mapping", |ground| {
            map(&ground.slices()?.outbox, libc::PROT_READ | libc::PROT_WRITE)
        }),
        Attempt::new("seal the outbox", |ground| seal(&ground.slices()?.outbox)),
        Attempt::new("seal the inbox", |ground| seal(&ground.slices()?.inbox))
            .impossible("its descriptor is for reading, sealed or not: EPERM"),
    ],
)
.of_broker()
.on_slices();

pub const REOPEN: Row = Row::new(
    45,
    "reopen a read-only slice read-write",
    &["EACCES", "EPERM"],
    &[
        Attempt::new("reopen the inbox", |ground| {
            let inbox = owned(reopen(&ground.slices()?.inbox)?);
            map(&inbox, libc::PROT_READ | libc::PROT_WRITE)
        }),
        Attempt::new("write to the inbox", |ground| {
            let inbox = owned(reopen(&ground.slices()?.inbox)?);
            call!(libc::SYS_pwrite64, inbox.as_raw_fd(), &b"x"[..], 1, 0)
        }),
        Attempt::new("mprotect the inbox", |ground| {
            let address = map(&ground.slices()?.inbox, libc::PROT_READ)?;
            call!(libc::SYS_mprotect, address, 4096, libc::PROT_READ | libc::PROT_WRITE)
        })
        .impossible("what is mapped from a descriptor for reading stays so: EACCES"),
        Attempt::new("chmod the inbox and write", |ground| {
            // Rootless the file belongs to the world's own user, who may change its mode: what must hold is the seal.
            call!(libc::SYS_fchmod, ground.slices()?.inbox.as_raw_fd(), 0o666)?;
            let inbox = owned(reopen(&ground.slices()?.inbox)?);
            call!(libc::SYS_pwrite64, inbox.as_raw_fd(), &b"x"[..], 1, 0)
        }),
    ],
)
.of_broker()
.on_slices();

pub const NEIGHBOUR: Row = Row::new(
    46,
    "map a neighbour's slice",
    &["ENOENT"],
    &[
        Attempt::new("by its descriptor", |ground| crate::raw::open(&ground.of_victim("fd/0"), libc::O_RDWR)),
        Attempt::new("by its mapping", |ground| {
            crate::raw::open(&ground.of_victim("map_files"), libc::O_RDONLY | libc::O_DIRECTORY)
        }),
        Attempt::new("by its pidfd", |ground| {
            let pidfd = call!(libc::SYS_pidfd_open, ground.victim, 0)?;
            call!(libc::SYS_pidfd_getfd, pidfd, 0, 0)
        })
        .held(&["ESRCH", "EPERM", "EINVAL"]),
    ],
);

fn map(file: &OwnedFd, protection: i32) -> Tried {
    call!(libc::SYS_mmap, 0, 4096, protection, libc::MAP_SHARED, file.as_raw_fd(), 0)
}

fn seal(file: &OwnedFd) -> Tried {
    call!(libc::SYS_fcntl, file.as_raw_fd(), libc::F_ADD_SEALS, libc::F_SEAL_WRITE)
}

fn reopen(file: &OwnedFd) -> Tried {
    crate::raw::open(&format!("/proc/self/fd/{}", file.as_raw_fd()), libc::O_RDWR)
}

/// Copies this program into a memory file and executes that.
fn execute_memory(flags: u32) -> Tried {
    let file = owned(call!(libc::SYS_memfd_create, c"program", flags)?);
    let wrong = |error: std::io::Error| Outcome::of(&error);
    let mut file = std::fs::File::from(file);
    file.write_all(&std::fs::read("/proc/self/exe").map_err(wrong)?).map_err(wrong)?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    match Command::new(path).arg("identity").output().map_err(wrong)?.status.success() {
        true => Ok(0),
        false => Err(Outcome::Word("not-run")),
    }
}
