//! The gate's place: the network, and what it takes to resolve a name.

use crate::Setup;
use crate::service::MAX_DIALS;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::path::Path;
use strait_jail::{Bind, Enclosure, Limits, RUNTIME_CALLS, enclose};

/// Descriptors: a dial has its lane, a socket, and while it resolves two more. But the same limit is for those in flight (`ETOOMANYREFS`, `unix(7)`), and in
/// the lane of each of some four thousand worlds may lie twenty that it doesn't take.
const FILES: u64 = 96 * 1024;
const _: () = assert!(FILES > 4 * MAX_DIALS as u64 + 20 * 4096);
/// Where it says how names are resolved: files, and what `/etc/resolv.conf` may be a link into.
const DIRECTORIES: [&str; 6] =
    ["/etc", "/run/systemd/resolve", "/run/resolvconf", "/run/NetworkManager", "/run/connman", "/run/netconfig"];

/// Gives up everything else.
pub(crate) fn enter(setup: Setup) -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| format!("prctl(PR_SET_PDEATHSIG): {errno}"))?;
    let there = DIRECTORIES.iter().filter(|path| Path::new(path).is_dir());
    let binds = there.map(|path| Bind::read_only(path, path)).collect();
    let enclosure = Enclosure {
        name: "strait-gate".into(),
        uid: setup.uid,
        syscalls: [CALLS, RUNTIME_CALLS].concat(),
        binds,
        network: true,
        limits: Limits { open_files: Some(FILES), ..Limits::default() },
    };
    enclose(&enclosure).map_err(|error| error.to_string())
}

/// Every system call that the gate makes: sockets, threads, and reading the files by which names are resolved.
const CALLS: &[i64] = &[
    // Sockets.
    libc::SYS_socket,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_shutdown,
    libc::SYS_getsockname,
    libc::SYS_getpeername,
    libc::SYS_getsockopt,
    libc::SYS_setsockopt,
    libc::SYS_ioctl,
    libc::SYS_fcntl,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_sendto,
    libc::SYS_recvfrom,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvmsg,
    libc::SYS_close,
    // Files.
    libc::SYS_openat,
    libc::SYS_read,
    libc::SYS_pread64,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_lseek,
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_getdents64,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_access,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_stat,
    libc::SYS_faccessat,
    libc::SYS_readlinkat,
    libc::SYS_uname,
    // Threads, memory, time.
    libc::SYS_clone,
    libc::SYS_clone3,
    libc::SYS_set_robust_list,
    libc::SYS_rseq,
    libc::SYS_prctl,
    libc::SYS_futex,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_gettid,
    libc::SYS_getpid,
    libc::SYS_tgkill,
    libc::SYS_getuid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getegid,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_nanosleep,
    libc::SYS_mmap,
    libc::SYS_munmap,
];
