//! Doors of the kernel: other call tables, other ways to make calls, and facilities with a long record of escapes.

use crate::call;
use crate::outcome::{Outcome, Tried};
use crate::raw::{exit, open, text, wait};
use crate::row::{Attempt, Row};

const REFUSED: &[&str] = &["EPERM"];
const MISSING: &[&str] = &["ENOSYS"];

#[cfg(target_arch = "x86_64")]
pub const OLD_CALLS: Row = Row::new(
    2,
    "int 0x80 getpid; 32-bit socketcall",
    &["SIGSYS"],
    &[
        Attempt::new("getpid", |_| crate::raw::call_32(20, [0, 0]))
            .unless("SIGSEGV", "32-bit calls (CONFIG_IA32_EMULATION)"),
        Attempt::new("socketcall", |_| {
            // socket(AF_INET, SOCK_STREAM, 0), as `socketcall(2)` wants it.
            let words = crate::raw::low_memory([libc::AF_INET as u32, libc::SOCK_STREAM as u32, 0])?;
            crate::raw::call_32(102, [1, words])
        })
        .unless("SIGSEGV", "32-bit calls (CONFIG_IA32_EMULATION)"),
    ],
);
#[cfg(not(target_arch = "x86_64"))]
pub const OLD_CALLS: Row = Row::new(
    2,
    "int 0x80 getpid; 32-bit socketcall",
    &["not-here"],
    &[Attempt::new("getpid", |_| Err(Outcome::Word("not-here"))).impossible("this processor has no such call table")],
);

pub const X32: Row = Row::new(
    3,
    "x32 getpid",
    &["ENOSYS", "SIGSYS"],
    &[Attempt::new("getpid", |_| call!(0x4000_0000 + libc::SYS_getpid))
        .unless("ENOSYS", "x32 calls (CONFIG_X86_X32_ABI)")],
);

pub const IO_URING: Row = Row::new(
    9,
    "io_uring_setup",
    MISSING,
    &[Attempt::new("io_uring_setup", |_| call!(libc::SYS_io_uring_setup, 1, &mut [0; 120][..]))],
);

pub const CLONE3: Row = Row::new(
    10,
    "clone3 with any flags",
    MISSING,
    &[
        Attempt::new("no flags", |_| clone3(0)),
        Attempt::new("CLONE_NEWUSER", |_| clone3(libc::CLONE_NEWUSER as u64)),
        Attempt::new("CLONE_INTO_CGROUP", |_| clone3(0x2_0000_0000))
            .impossible("there is no cgroup descriptor to name: EBADF"),
        Attempt::new("libc without it", |_| {
            let thread = std::thread::Builder::new().spawn(|| 7).map_err(|error| Outcome::of(&error))?;
            thread.join().map_or(Ok(0), |_| Err(Outcome::Word("falls-back")))
        })
        .held(&["falls-back"])
        .impossible("it shows that programs go on: nothing to get through"),
    ],
);

pub const TERMINAL: Row = Row::new(
    31,
    "ioctl TIOCSTI, TIOCLINUX, TIOCSCTTY, also with high bits set",
    REFUSED,
    &[
        Attempt::new("TIOCSTI", |_| call!(libc::SYS_ioctl, 0, libc::TIOCSTI, &b"x"[..])),
        Attempt::new("TIOCSTI with a high bit", |_| call!(libc::SYS_ioctl, 0, libc::TIOCSTI | 1 << 32, &b"x"[..])),
        Attempt::new("TIOCLINUX", |_| {
            // Asks for the state of the shift keys: harmless, but through the same door as pasting.
            let console = open("/dev/tty0", libc::O_RDWR | libc::O_NOCTTY).unwrap_or(0);
            call!(libc::SYS_ioctl, console, libc::TIOCLINUX, &mut [6u8][..])
        })
        .unless("ENOTTY", "a console (CONFIG_VT)"),
        Attempt::new("TIOCSCTTY", |_| take_terminal(libc::TIOCSCTTY)),
        Attempt::new("TIOCSCTTY with a high bit", |_| take_terminal(libc::TIOCSCTTY | 1 << 32)),
    ],
);

pub const KEYS: Row = Row::new(
    32,
    "keyctl, add_key, request_key",
    REFUSED,
    &[
        Attempt::new("keyctl", |_| call!(libc::SYS_keyctl, 0, SESSION_KEYRING, 1))
            .unless("ENOSYS", "keys (CONFIG_KEYS)"),
        Attempt::new("add_key", |_| add_key()).unless("ENOSYS", "keys (CONFIG_KEYS)"),
        Attempt::new("request_key", |_| {
            let _ = add_key();
            call!(libc::SYS_request_key, c"user", c"strait-escape", 0, PROCESS_KEYRING)
        })
        .unless("ENOSYS", "keys (CONFIG_KEYS)"),
    ],
);

pub const FACILITIES: Row = Row::new(
    33,
    "bpf, perf_event_open, userfaultfd",
    REFUSED,
    &[
        // BPF_MAP_CREATE of an array with one element of eight bytes, keyed by four.
        Attempt::new("bpf", |_| call!(libc::SYS_bpf, 0, &[2 | 4 << 32, 8 | 1 << 32, 0, 0, 0, 0, 0, 0, 0], 72)),
        // A software clock (type 1, config 0) of this process; the structure's size is 64, the first version.
        Attempt::new("perf_event_open", |_| {
            call!(libc::SYS_perf_event_open, &[1 | 64 << 32, 0, 0, 0, 0, 0, 0, 0], 0, -1, -1, 0)
        }),
        Attempt::new("userfaultfd", |_| call!(libc::SYS_userfaultfd, libc::O_CLOEXEC)),
    ],
);

pub const HANDLES: Row = Row::new(
    34,
    "open_by_handle_at, fanotify_init",
    REFUSED,
    &[
        Attempt::new("name_to_handle_at", |ground| handle(&ground.in_ro("file")).map(|_| 0)),
        Attempt::new("open_by_handle_at", |ground| {
            // Where no handle can be had, one is made up.
            let mut handle = handle(&ground.in_ro("file")).unwrap_or(made_up());
            let directory = open(&ground.ro, libc::O_RDONLY | libc::O_DIRECTORY)?;
            call!(libc::SYS_open_by_handle_at, directory, &mut handle[..], libc::O_RDONLY)
        }),
        Attempt::new("fanotify_init", |_| call!(libc::SYS_fanotify_init, 0, libc::O_RDONLY)),
    ],
);

pub const INOTIFY: Row = Row::new(
    35,
    "inotify on a shared read-only bind",
    REFUSED,
    &[
        Attempt::new("inotify_init1", |ground| {
            let watch = call!(libc::SYS_inotify_init1, libc::IN_CLOEXEC)?;
            call!(libc::SYS_inotify_add_watch, watch, &text(&ground.ro), libc::IN_OPEN | libc::IN_ACCESS)
        }),
        #[cfg(target_arch = "x86_64")]
        Attempt::new("inotify_init", |_| call!(libc::SYS_inotify_init)),
    ],
);

pub const PERSONALITY: Row = Row::new(
    59,
    "personality READ_IMPLIES_EXEC, ADDR_NO_RANDOMIZE",
    REFUSED,
    &[
        Attempt::new("READ_IMPLIES_EXEC", |_| call!(libc::SYS_personality, libc::READ_IMPLIES_EXEC)),
        Attempt::new("ADDR_NO_RANDOMIZE", |_| call!(libc::SYS_personality, libc::ADDR_NO_RANDOMIZE)),
    ],
);

const PROCESS_KEYRING: i32 = -2;
const SESSION_KEYRING: i32 = -3;

/// `struct clone_args` of 64 bytes: flags first, the signal at the parent in the fifth word.
fn clone3(flags: u64) -> Tried {
    // CLONE_INTO_CGROUP reads a descriptor from the eleventh word.
    let arguments = [flags, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, 0, 0, u64::MAX >> 33];
    match call!(libc::SYS_clone3, &arguments, 88)? {
        0 => exit(0),
        pid => wait(pid as i32).map(|_| pid),
    }
}

/// As the leader of a session of its own, steals the terminal that was handed in.
fn take_terminal(request: u64) -> Tried {
    call!(libc::SYS_setsid)?;
    call!(libc::SYS_ioctl, 0, request, 1)
}

fn add_key() -> Tried {
    call!(libc::SYS_add_key, c"user", c"strait-escape", &b"x"[..], 1, PROCESS_KEYRING)
}

/// `struct file_handle`: how many bytes, of which type, and the bytes, of which there is room for 32.
fn handle(path: &str) -> Result<[u8; 40], Outcome> {
    let (mut handle, mut mount) = ([0; 40], [0; 4]);
    handle[0] = 32;
    call!(libc::SYS_name_to_handle_at, libc::AT_FDCWD, &text(path), &mut handle[..], &mut mount[..], 0)?;
    Ok(handle)
}

/// A handle of eight bytes, of type 1 (inode and generation): that of inode 2, the root of most file systems.
fn made_up() -> [u8; 40] {
    let mut handle = [0; 40];
    (handle[0], handle[4], handle[8]) = (8, 1, 2);
    handle
}
