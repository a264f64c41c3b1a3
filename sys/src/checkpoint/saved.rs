//! What a process has that isn't memory, and how a clone gets it back.

use super::error::{CheckpointError, call};
use super::obstacles::OpenFile;
use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use std::os::fd::AsRawFd;
use std::path::PathBuf;

/// Signals of Linux: 1 to 64.
const SIGNALS: usize = 64;
/// Bytes of the kernel's signal set.
const MASK_BYTES: usize = 8;

/// `struct kernel_sigaction` of x86-64.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Action {
    handler: u64,
    flags: u64,
    restorer: u64,
    mask: u64,
}

/// `struct prctl_mm_map` (`PR_SET_MM` in `prctl(2)`): what the kernel remembers of a program's parts. Needed for `brk`, and for what `ps` shows.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
struct Parts {
    code: [u64; 2],
    data: [u64; 2],
    start_brk: u64,
    brk: u64,
    start_stack: u64,
    arguments: [u64; 2],
    environment: [u64; 2],
    auxv: u64,
    auxv_bytes: u32,
    program_fd: u32,
}

/// The kernel's share of this process, as far as a program relies on it.
#[derive(Debug)]
pub(super) struct Saved {
    pid: u64,
    actions: [Action; SIGNALS],
    mask: u64,
    alternate_stack: libc::stack_t,
    thread_exit_word: u64,
    robust_list: (u64, u64),
    restartable: Option<(u64, u32)>,
    gs: u64,
    parts: Parts,
    name: [u8; 16],
    umask: Mode,
    directory: PathBuf,
    files: Vec<OpenFile>,
}

impl Saved {
    pub(super) fn now(files: Vec<OpenFile>) -> Result<Self, CheckpointError> {
        // rustix has no way to ask without changing; one thread.
        let umask = rustix::process::umask(Mode::empty());
        rustix::process::umask(umask);
        let directory = std::env::current_dir().map_err(|_| call("getcwd")(Errno::NOENT))?;
        // SAFETY: plain integers and a pointer that is never followed.
        let alternate_stack = unsafe { std::mem::zeroed() };
        let mut saved = Self {
            pid: rustix::process::getpid().as_raw_nonzero().get() as u64,
            actions: [Action::default(); SIGNALS],
            mask: 0,
            alternate_stack,
            thread_exit_word: 0,
            robust_list: (0, 0),
            restartable: restartable(),
            gs: 0,
            parts: parts()?,
            name: [0; 16],
            umask,
            directory,
            files,
        };
        saved.ask()?;
        Ok(saved)
    }

    pub(super) fn pid(&self) -> u64 {
        self.pid
    }

    /// Asks the kernel for what only it knows. All of it is written into this value.
    fn ask(&mut self) -> Result<(), CheckpointError> {
        for (number, action) in (1u64..).zip(&mut self.actions) {
            kernel(libc::SYS_rt_sigaction, [number, 0, address(action), MASK_BYTES as u64])
                .map_err(call("rt_sigaction"))?;
        }
        kernel(libc::SYS_rt_sigprocmask, [0, 0, address(&mut self.mask), MASK_BYTES as u64])
            .map_err(call("rt_sigprocmask"))?;
        kernel(libc::SYS_sigaltstack, [0, address(&mut self.alternate_stack), 0, 0]).map_err(call("sigaltstack"))?;
        let [head, bytes] = [&mut self.robust_list.0, &mut self.robust_list.1].map(address);
        kernel(libc::SYS_get_robust_list, [0, head, bytes, 0]).map_err(call("get_robust_list"))?;
        prctl(libc::PR_GET_NAME, address(&mut self.name)).map_err(call("prctl PR_GET_NAME"))?;
        // Optional: a kernel that can't tell leaves 0, which no C library misses before the last thread ends.
        let _ = prctl(PR_GET_TID_ADDRESS, address(&mut self.thread_exit_word));
        #[cfg(target_arch = "x86_64")]
        kernel(libc::SYS_arch_prctl, [ARCH_GET_GS, address(&mut self.gs), 0, 0]).map_err(call("arch_prctl"))?;
        Ok(())
    }

    /// In a clone: gives it all back to the kernel.
    pub(super) fn restore(&self) -> Result<(), Errno> {
        self.restore_thread()?;
        self.restore_signals()?;
        // Optional: without it `brk` fails, and C libraries go on with `mmap`.
        let parts_bytes = size_of::<Parts>() as u64;
        let _ = kernel5(libc::SYS_prctl, [PR_SET_MM, PR_SET_MM_MAP, &raw const self.parts as u64, parts_bytes, 0]);
        prctl(libc::PR_SET_NAME, &raw const self.name as u64)?;
        rustix::process::umask(self.umask);
        rustix::process::chdir(&self.directory)?;
        self.files.iter().try_for_each(reopen)?;
        // Last, so that a signal that waits finds everything in place.
        match self.mask {
            0 => Ok(()),
            _ => kernel(libc::SYS_rt_sigprocmask, [SIG_SETMASK, &raw const self.mask as u64, 0, MASK_BYTES as u64]),
        }
    }

    fn restore_thread(&self) -> Result<(), Errno> {
        if let Some((area, bytes)) = self.restartable {
            // Anew, so that the kernel goes on writing the processor's number there.
            kernel(libc::SYS_rseq, [area, bytes.into(), 0, RSEQ_SIGNATURE])?;
        }
        let (head, bytes) = self.robust_list;
        if head != 0 {
            kernel(libc::SYS_set_robust_list, [head, bytes, 0, 0])?;
        }
        if self.thread_exit_word != 0 {
            // Returns the thread's id: the one that the C library remembers, as the restorer made sure.
            let _ = kernel(libc::SYS_set_tid_address, [self.thread_exit_word, 0, 0, 0]);
        }
        #[cfg(target_arch = "x86_64")]
        if self.gs != 0 {
            kernel(libc::SYS_arch_prctl, [ARCH_SET_GS, self.gs, 0, 0])?;
        }
        Ok(())
    }

    fn restore_signals(&self) -> Result<(), Errno> {
        // A new program has the default for every signal (`execve(2)`; the launcher has undone what is ignored).
        for (number, action) in (1u64..).zip(&self.actions).filter(|(_, action)| action.handler != 0) {
            kernel(libc::SYS_rt_sigaction, [number, &raw const *action as u64, 0, MASK_BYTES as u64])?;
        }
        match self.alternate_stack.ss_flags & libc::SS_DISABLE {
            0 => kernel(libc::SYS_sigaltstack, [&raw const self.alternate_stack as u64, 0, 0, 0]),
            _ => Ok(()),
        }
    }
}

const PR_GET_TID_ADDRESS: i32 = 40;
const PR_SET_MM: u64 = 35;
const PR_SET_MM_MAP: u64 = 14;
#[cfg(target_arch = "x86_64")]
const ARCH_SET_GS: u64 = 0x1001;
#[cfg(target_arch = "x86_64")]
const ARCH_GET_GS: u64 = 0x1004;
const SIG_SETMASK: u64 = 2;
/// `RSEQ_SIG` of x86, which C libraries register with.
const RSEQ_SIGNATURE: u64 = 0x5305_3053;

fn address<T>(value: &mut T) -> u64 {
    std::ptr::from_mut(value) as u64
}

fn prctl(option: i32, value: u64) -> Result<(), Errno> {
    kernel(libc::SYS_prctl, [option as u64, value, 0, 0])
}

fn kernel(number: libc::c_long, [a, b, c, d]: [u64; 4]) -> Result<(), Errno> {
    kernel5(number, [a, b, c, d, 0])
}

/// A call for its effect alone. Addresses in it are those of values in [`Saved`], of the type that the call has there.
fn kernel5(number: libc::c_long, [a, b, c, d, e]: [u64; 5]) -> Result<(), Errno> {
    // SAFETY: all callers are above: each address is of a live value of ours, or one that the C library had registered before and that
    // is back where it was.
    match unsafe { libc::syscall(number, a, b, c, d, e) } {
        -1 => Err(crate::socket::last_error()),
        _ => Ok(()),
    }
}

/// Opens a file at its old number and place.
fn reopen(file: &OpenFile) -> Result<(), Errno> {
    let flags = file.flags.difference(OFlags::CREATE | OFlags::EXCL | OFlags::TRUNC) | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&file.path, flags, Mode::empty())?;
    rustix::fs::seek(&opened, rustix::fs::SeekFrom::Start(file.position))?;
    let flags = if file.closes_on_exec { libc::O_CLOEXEC } else { 0 };
    if opened.as_raw_fd() == file.number {
        let flags = if file.closes_on_exec { rustix::io::FdFlags::CLOEXEC } else { rustix::io::FdFlags::empty() };
        rustix::io::fcntl_setfd(&opened, flags)?;
        let _ = std::os::fd::IntoRawFd::into_raw_fd(opened);
        return Ok(());
    }
    // SAFETY: dup3 touches no memory. The number belonged to whoever had this file open in the original, and does again.
    match unsafe { libc::dup3(opened.as_raw_fd(), file.number, flags) } {
        -1 => Err(crate::socket::last_error()),
        _ => Ok(()),
    }
}

/// Where the C library had its area for restartable sequences registered (`rseq(2)`), if it has one: glibc says so in two symbols, which
/// other libraries don't have.
#[cfg(target_arch = "x86_64")]
fn restartable() -> Option<(u64, u32)> {
    let (offset, size, thread): (*const i64, *const u32, u64);
    // SAFETY: reads two addresses from the table of the linker, null where nobody has the symbol, and the thread pointer, which the
    // ABI keeps in the first word of the thread's storage.
    unsafe {
        std::arch::asm!(
            ".weak __rseq_offset",
            ".weak __rseq_size",
            "mov {offset}, qword ptr [rip + __rseq_offset@GOTPCREL]",
            "mov {size}, qword ptr [rip + __rseq_size@GOTPCREL]",
            "mov {thread}, qword ptr fs:[0]",
            offset = out(reg) offset, size = out(reg) size, thread = out(reg) thread,
            options(nostack, preserves_flags, readonly)
        );
    }
    if offset.is_null() || size.is_null() {
        return None;
    }
    // SAFETY: glibc's constant, read-only after its start.
    let offset = unsafe { offset.read() };
    // SAFETY: the same.
    let size = unsafe { size.read() };
    // glibc says how many bytes are in use, but registers 32 at least.
    (size != 0).then(|| (thread.wrapping_add_signed(offset), size.max(32)))
}

#[cfg(not(target_arch = "x86_64"))]
fn restartable() -> Option<(u64, u32)> {
    None
}

/// Reads the parts from `/proc/self/stat` (`proc_pid_stat(5)`): fields 26 to 28 and 45 to 51.
fn parts() -> Result<Parts, CheckpointError> {
    let unreadable = CheckpointError::Unreadable("/proc/self/stat");
    let text = std::fs::read_to_string("/proc/self/stat").map_err(|_| unreadable.clone())?;
    // The name of the program, the second field, may contain anything.
    let rest = text.rsplit_once(')').ok_or_else(|| unreadable.clone())?.1;
    let fields: Vec<u64> = rest.split_whitespace().skip(1).map(|field| field.parse().unwrap_or(0)).collect();
    let field = |number: usize| fields.get(number - 4).copied().ok_or_else(|| unreadable.clone());
    // SAFETY: asks for nothing (`brk(2)`), so it only says where the end is.
    let brk = unsafe { libc::syscall(libc::SYS_brk, 0) }.cast_unsigned();
    Ok(Parts {
        code: [field(26)?, field(27)?],
        data: [field(45)?, field(46)?],
        start_brk: field(47)?,
        brk,
        start_stack: field(28)?,
        arguments: [field(48)?, field(49)?],
        environment: [field(50)?, field(51)?],
        auxv: 0,
        auxv_bytes: 0,
        program_fd: u32::MAX,
    })
}
