//! Other processes: to trace them, to look into them, to signal them, to have them wait.

use crate::call;
use crate::outcome::Tried;
use crate::raw::sleeper;
use crate::row::{Attempt, Row};

const REFUSED: &[&str] = &["EPERM"];
const OTHERS: &[&str] = &["ESRCH", "EPERM"];

pub const TRACE: Row = Row::new(
    27,
    "ptrace a sibling, the broker, its own pid 1",
    REFUSED,
    &[
        Attempt::new("a sibling", |_| with_sibling(seize)),
        Attempt::new("the victim", |ground| seize(ground.victim)),
        Attempt::new("pid 1", |_| seize(1)).caged(),
        Attempt::new("itself, by its parent", |_| call!(libc::SYS_ptrace, libc::PTRACE_TRACEME, 0, 0, 0)),
    ],
);

pub const INSIDES: Row = Row::new(
    28,
    "process_vm_readv, pidfd_getfd, kcmp",
    REFUSED,
    &[
        Attempt::new("process_vm_readv", |_| with_sibling(read_memory)),
        Attempt::new("process_vm_readv of the victim", |ground| read_memory(ground.victim))
            .impossible("it isn't known where anything lies in it: EFAULT"),
        Attempt::new("pidfd_getfd", |_| with_sibling(take_descriptor)),
        Attempt::new("pidfd_getfd of the victim", |ground| take_descriptor(ground.victim)).held(OTHERS),
        Attempt::new("kcmp", |_| with_sibling(compare)).unless("ENOSYS", "kcmp (CONFIG_KCMP)"),
        Attempt::new("/proc/pid/mem of the victim", |ground| crate::raw::open(&ground.of_victim("mem"), libc::O_RDWR))
            .held(&["ENOENT"]),
    ],
);

pub const SIGNALS: Row = Row::new(
    29,
    "kill and tgkill host pid numbers, kill(-1)",
    &["ESRCH"],
    &[
        Attempt::new("kill", |ground| call!(libc::SYS_kill, ground.victim, libc::SIGWINCH)),
        Attempt::new("tgkill", |ground| call!(libc::SYS_tgkill, ground.victim, ground.victim, libc::SIGWINCH)),
        Attempt::new("tkill", |ground| call!(libc::SYS_tkill, ground.victim, libc::SIGWINCH)),
        Attempt::new("its process group", |ground| call!(libc::SYS_kill, -ground.victim, libc::SIGWINCH)),
        Attempt::new("rt_sigqueueinfo", |ground| {
            // struct siginfo: si_code SI_QUEUE (-1) in the third 32-bit word.
            let mut info = [0u64; 16];
            info[1] = u64::from(u32::MAX);
            call!(libc::SYS_rt_sigqueueinfo, ground.victim, libc::SIGWINCH, &info)
        }),
        Attempt::new("a pidfd", |ground| {
            let pidfd = call!(libc::SYS_pidfd_open, ground.victim, 0)?;
            call!(libc::SYS_pidfd_send_signal, pidfd, libc::SIGWINCH, 0, 0)
        }),
        // Signal 0 reaches whoever could be killed: in the jail, this program and what it has started.
        Attempt::new("kill(-1) reaches the victim", |ground| {
            call!(libc::SYS_kill, -1, 0)?;
            call!(libc::SYS_kill, ground.victim, 0)
        }),
    ],
);

pub const SCHEDULING: Row = Row::new(
    30,
    "prlimit, setpriority, sched_* on others",
    OTHERS,
    &[
        // Files: the limit is read and set to nothing that matters to a process that sleeps.
        Attempt::new("prlimit", |ground| call!(libc::SYS_prlimit64, ground.victim, libc::RLIMIT_CORE, &[0u64, 0], 0)),
        Attempt::new("prlimit, to read", |ground| {
            call!(libc::SYS_prlimit64, ground.victim, libc::RLIMIT_NOFILE, 0, &mut [0; 16][..])
        }),
        Attempt::new("setpriority", |ground| call!(libc::SYS_setpriority, libc::PRIO_PROCESS, ground.victim, 5)),
        Attempt::new("sched_setaffinity", |ground| call!(libc::SYS_sched_setaffinity, ground.victim, 8, &[1u64])),
        Attempt::new("sched_setscheduler", |ground| {
            call!(libc::SYS_sched_setscheduler, ground.victim, libc::SCHED_BATCH, &[0u64])
        }),
        Attempt::new("ioprio_set", |ground| call!(libc::SYS_ioprio_set, 1, ground.victim, 3 << 13)),
        Attempt::new("pid 1's limits", |_| call!(libc::SYS_prlimit64, 1, libc::RLIMIT_NOFILE, &[64u64, 64], 0)).caged(),
    ],
);

fn with_sibling(attempt: fn(i32) -> Tried) -> Tried {
    let sibling = sleeper()?;
    let tried = attempt(sibling);
    let _ = call!(libc::SYS_kill, sibling, libc::SIGKILL);
    tried
}

fn seize(pid: i32) -> Tried {
    call!(libc::SYS_ptrace, libc::PTRACE_SEIZE, pid, 0, 0)
}

/// Eight bytes at an address that is mapped in a copy of this process.
fn read_memory(pid: i32) -> Tried {
    static THERE: u64 = 42;
    let (mut here, there) = ([0u8; 8], &raw const THERE as u64);
    let local = [here.as_mut_ptr() as u64, 8];
    call!(libc::SYS_process_vm_readv, pid, &local, 1, &[there, 8], 1, 0)
}

fn take_descriptor(pid: i32) -> Tried {
    let pidfd = call!(libc::SYS_pidfd_open, pid, 0)?;
    call!(libc::SYS_pidfd_getfd, pidfd, 0, 0)
}

/// Whether two processes share a table of descriptors.
fn compare(pid: i32) -> Tried {
    const KCMP_FILES: i32 = 2;
    call!(libc::SYS_kcmp, call!(libc::SYS_getpid)?, pid, KCMP_FILES, 0, 0)
}
