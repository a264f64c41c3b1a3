//! What eats a machine: processes, memory, processor time, descriptors; and a crash.
//!
//! Each bomb stops by itself at a size that a world must not reach and a machine bears: that is what it means to get through.

use crate::call;
use crate::outcome::{Outcome, Tried};
use crate::raw::{Ended, alarm, exit, fork, memory, open, owned, send_control, wait};
use crate::row::{Attempt, Row};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant};

pub const PROCESSES: Row = Row::new(
    51,
    "fork bomb; 10,000 threads",
    &["EAGAIN"],
    &[
        Attempt::new("4,000 processes", |_| fork_bomb(4000)).caged(),
        Attempt::new("10,000 threads", |_| thread_bomb(10_000)).caged(),
    ],
)
.limited(&["--pids", "64"]);

pub const MEMORY: Row = Row::new(
    52,
    "memory bomb: anonymous, tmpfs, pipes, memfd",
    &["SIGKILL", "ENOMEM", "ENOSPC"],
    &[
        Attempt::new("256 MiB anonymous", |_| {
            let bytes = memory(BOMB_BYTES)?;
            bytes.iter_mut().step_by(4096).for_each(|byte| *byte = 1);
            Ok(0)
        })
        .rootless(&["ok"], NO_GROUPS),
        Attempt::new("256 MiB in /tmp", |_| {
            let file = owned(open("/tmp", libc::O_TMPFILE | libc::O_RDWR)?);
            fill(file.as_raw_fd())
        }),
        Attempt::new("256 MiB in pipes", |_| pipes()).held(&["SIGKILL", "ENOMEM", "EMFILE", "EPERM"]),
        Attempt::new("256 MiB in a memory file", |_| {
            let file = owned(call!(libc::SYS_memfd_create, c"bomb", libc::MFD_NOEXEC_SEAL)?);
            fill(file.as_raw_fd())
        })
        .rootless(&["ok"], NO_GROUPS),
    ],
)
.limited(&["--memory", "64M"]);

pub const PROCESSOR: Row = Row::new(
    53,
    "CPU spin, real-time scheduling",
    &["EPERM"],
    &[
        Attempt::new("SCHED_FIFO", |_| call!(libc::SYS_sched_setscheduler, 0, libc::SCHED_FIFO, &[1u64])),
        Attempt::new("SCHED_RR", |_| call!(libc::SYS_sched_setscheduler, 0, libc::SCHED_RR, &[1u64])),
        // struct sched_attr: 48 bytes, policy 6, then runtime, deadline and period of 1, 10 and 10 ms.
        Attempt::new("SCHED_DEADLINE", |_| {
            call!(libc::SYS_sched_setattr, 0, &[48 | 6 << 32, 0, 0, 1_000_000, 10_000_000, 10_000_000], 0)
        }),
        Attempt::new("nice -5", |_| call!(libc::SYS_setpriority, libc::PRIO_PROCESS, 0, -5)).held(&["EACCES", "EPERM"]),
        Attempt::new("more than its tenth of a processor", |_| spin())
            .held(&["throttled"])
            .rootless(&["ok"], NO_GROUPS),
    ],
)
.limited(&["--cpu", "0.1"]);

pub const DESCRIPTORS: Row = Row::new(
    54,
    "exhaust fds, fds in flight",
    &["EMFILE", "ETOOMANYREFS"],
    &[
        Attempt::new("10,000 descriptors", |_| {
            raise(libc::RLIMIT_NOFILE)?;
            (0..10_000).try_fold(0, |_, _| call!(libc::SYS_fcntl, 0, libc::F_DUPFD, 0))
        }),
        Attempt::new("10,000 in flight", |_| {
            raise(libc::RLIMIT_NOFILE)?;
            in_flight(10_000)
        }),
    ],
);

pub const CRASH: Row = Row::new(
    58,
    "crash for a core dump",
    &["no-core"],
    &[
        Attempt::new("core file", |ground| {
            let Some(pid) = fork()? else {
                let _ = raise(libc::RLIMIT_CORE);
                let _ = call!(libc::SYS_prctl, libc::PR_SET_DUMPABLE, 1);
                let _ = call!(libc::SYS_chdir, &crate::raw::text(&ground.rw));
                let _ = call!(libc::SYS_kill, call!(libc::SYS_getpid)?, libc::SIGABRT);
                exit(1)
            };
            match wait(pid)? {
                Ended::Signal(_, true) => Ok(0),
                _ => Err(Outcome::Word("no-core")),
            }
        }),
        // A limit of 1 byte, and no other, keeps the kernel from starting a helper for a crash (`core(5)`, and `do_coredump`): a world must
        // have it and not be able to change it.
        Attempt::new("core helper", |_| match limit(libc::RLIMIT_CORE)? {
            [1, 1] => call!(libc::SYS_prlimit64, 0, libc::RLIMIT_CORE, &[0u64, 0], 0),
            _ => Ok(0),
        })
        .held(&["EPERM"]),
    ],
);

/// Why an ordinary user's world has no bound on what is shared by its processes.
const NO_GROUPS: &str = "control groups belong to the host's root, unless it has delegated some; without, a world is bounded by rlimits alone";

const BOMB_BYTES: usize = 256 << 20;

fn fork_bomb(count: usize) -> Tried {
    let bomb = call!(libc::SYS_getpid)?;
    for _ in 0..count {
        if fork()?.is_none() {
            // With the bomb goes what came of it, also what hadn't begun to run by then.
            let _ = call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, libc::SIGKILL);
            if call!(libc::SYS_getppid) != Ok(bomb) {
                exit(0)
            }
            alarm(30);
            std::thread::sleep(Duration::from_secs(60));
            exit(0)
        }
    }
    Ok(count)
}

fn thread_bomb(count: usize) -> Tried {
    for _ in 0..count {
        let thread = std::thread::Builder::new().stack_size(16 << 10);
        thread.spawn(|| std::thread::sleep(Duration::from_secs(60))).map_err(|error| Outcome::of(&error))?;
    }
    Ok(count)
}

fn fill(file: i32) -> Tried {
    let piece = vec![1u8; 1 << 20];
    for _ in 0..BOMB_BYTES >> 20 {
        call!(libc::SYS_write, file, &piece[..], piece.len())?;
    }
    Ok(BOMB_BYTES)
}

/// As large as pipes get: a megabyte each, filled.
fn pipes() -> Tried {
    let piece = vec![1u8; 1 << 20];
    for _ in 0..BOMB_BYTES >> 20 {
        let mut ends = [0; 8];
        call!(libc::SYS_pipe2, &mut ends[..], libc::O_NONBLOCK)?;
        let writer = i32::from_ne_bytes([ends[4], ends[5], ends[6], ends[7]]);
        call!(libc::SYS_fcntl, writer, libc::F_SETPIPE_SZ, piece.len())?;
        call!(libc::SYS_write, writer, &piece[..], piece.len())?;
    }
    Ok(BOMB_BYTES)
}

/// Whether half a second of wall-clock time holds more than a sixth of processor time, for once in ten times: others on the machine take
/// some too. The world's quota is a tenth.
fn spin() -> Tried {
    for _ in 0..10 {
        let (began, before) = (Instant::now(), processor_time()?);
        while began.elapsed() < Duration::from_millis(500) {
            std::hint::spin_loop();
        }
        if processor_time()? - before > Duration::from_millis(83) {
            return Ok(0);
        }
    }
    Err(Outcome::Word("throttled"))
}

fn processor_time() -> Result<Duration, Outcome> {
    let mut time = [0; 16];
    call!(libc::SYS_clock_gettime, libc::CLOCK_PROCESS_CPUTIME_ID, &mut time[..])?;
    let word = |at: usize| u64::from_ne_bytes(time[at..at + 8].try_into().unwrap_or_default());
    Ok(Duration::from_secs(word(0)) + Duration::from_nanos(word(8)))
}

fn limit(resource: u32) -> Result<[u64; 2], Outcome> {
    let mut both = [0; 16];
    call!(libc::SYS_prlimit64, 0, resource, 0, &mut both[..])?;
    let word = |at: usize| u64::from_ne_bytes(both[at..at + 8].try_into().unwrap_or_default());
    Ok([word(0), word(8)])
}

/// As high as the hard limit is.
fn raise(resource: u32) -> Tried {
    let highest = limit(resource)?[1];
    call!(libc::SYS_prlimit64, 0, resource, &[highest, highest], 0)
}

/// Sends descriptors to a socket that nobody reads, 250 with each message.
fn in_flight(count: usize) -> Tried {
    let mut ends = [0; 8];
    call!(libc::SYS_socketpair, libc::AF_UNIX, libc::SOCK_STREAM, 0, &mut ends[..])?;
    let sender = i32::from_ne_bytes([ends[0], ends[1], ends[2], ends[3]]);
    let descriptors = [0u8; 250 * 4];
    (0..count / 250).try_fold(0, |_, _| send_control(sender, libc::SCM_RIGHTS, &descriptors))
}
