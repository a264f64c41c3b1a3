//! The broker's own processes. Each is this same program again, started under a name that says what it is to be, with
//! its one connection as standard input: no memory, descriptor or secret of the program that embeds the broker comes along.

use crate::link::Link;
use crate::store;
use crate::supervisor;
use crate::switch::Switch;
use crate::turns;
use rustix::process::{Signal, set_parent_process_death_signal};
use std::ffi::OsStr;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, ExitCode};
use std::sync::atomic::{AtomicBool, Ordering};
use strait_jail::{Enclosure, Limits, RUNTIME_CALLS, enclose};
use strait_sys::wake;

pub(crate) const SUPERVISOR: &str = "strait-supervisor";
pub(crate) const SWITCH: &str = "strait-switch";
pub(crate) const STORE: &str = "strait-store";
pub(crate) const GATE: &str = "strait-gate";

/// The uid of the switch when the broker runs as root: `nobody`, which owns no file.
const SWITCH_UID: u32 = 65534;

/// Descriptors of the switch: three for each world, and some while one attaches.
const SWITCH_FILES: u64 = 16 * 1024;

/// Whether this program has called [`init`], so that it can be started as one of its own roles.
static IS_READY: AtomicBool = AtomicBool::new(false);

pub(crate) fn is_ready() -> bool {
    IS_READY.load(Ordering::Relaxed)
}

/// Lets this program be the broker's processes too. Call it first thing in `main` of a program that embeds the broker.
///
/// [`Host::start`](crate::Host::start) starts the program again to be its supervisor and switch; in those processes this
/// function does that work and exits. In any other process it returns at once.
pub fn init() {
    IS_READY.store(true, Ordering::Relaxed);
    let role = std::env::args_os().next();
    let code = match role.as_deref().and_then(OsStr::to_str) {
        Some(SUPERVISOR) => supervisor::main(),
        Some(SWITCH) => switch(),
        Some(STORE) => store::main(),
        Some(GATE) => strait_gate::main(),
        _ => return,
    };
    // The role has said what there was to say; only its success is left to tell.
    std::process::exit(i32::from(code != ExitCode::SUCCESS));
}

/// Starts a role with its connection as standard input.
pub(crate) fn start(role: &str, program: &Path, connection: OwnedFd) -> io::Result<Child> {
    let mut command = Command::new(program);
    // Of its own process group, so that Ctrl-C reaches the host alone, which ends the rest in order.
    command.arg0(role).env_clear().stdin(connection).process_group(0);
    if let Some(dir) = std::env::var_os("XDG_RUNTIME_DIR") {
        command.env("XDG_RUNTIME_DIR", dir);
    }
    command.spawn()
}

fn switch() -> ExitCode {
    match switch_loop() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("strait: the switch: {why}");
            ExitCode::FAILURE
        }
    }
}

fn switch_loop() -> Result<(), String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| format!("prctl(PR_SET_PDEATHSIG): {errno}"))?;
    // A world may close its end of a bell at any time.
    wake::ignore_broken_pipes();
    let link = rustix::stdio::stdin().try_clone_to_owned().map_err(|error| error.to_string())?;
    turns::weigh_double();
    // Finds its way into the kernel's page of code, which takes a system call more than the switch has afterwards.
    let _ = wake::processor();
    let mut switch = Switch::new(Link::new(link)).map_err(|errno| format!("epoll_create: {errno}"))?;
    let enclosure = Enclosure {
        name: SWITCH.into(),
        uid: rustix::process::geteuid().is_root().then_some(SWITCH_UID),
        syscalls: [SWITCH_CALLS, RUNTIME_CALLS].concat(),
        binds: Vec::new(),
        network: false,
        limits: Limits { open_files: Some(SWITCH_FILES), processes: Some(1), ..Limits::default() },
    };
    enclose(&enclosure).map_err(|error| error.to_string())?;
    switch.run().map_err(|errno| format!("epoll_wait: {errno}"))
}

/// Every system call that the switch makes, and no other: what moves messages and maps slices.
const SWITCH_CALLS: &[i64] = &[
    // The link, the bells, and sleeping.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_epoll_ctl,
    libc::SYS_epoll_wait,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    // Slices: size and seals are checked, then they are mapped.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    // Parcels and links.
    libc::SYS_memfd_create,
    libc::SYS_pipe2,
    libc::SYS_pread64,
    libc::SYS_ftruncate,
];
