//! System calls by number, and processes to make them in. The only module with unsafe code: nobody's library may have an opinion on what
//! the probe attempts.
#![expect(
    unsafe_code,
    reason = "a hostile program makes the calls that no safe interface offers; that is what it is for"
)]

use crate::outcome::{Outcome, Tried};
use std::ffi::CString;
use std::io::{Read, Write};
use std::os::fd::{FromRawFd, OwnedFd};

/// One argument of a system call. Addresses are only those of memory that lives as long as the call.
#[derive(Debug)]
pub enum Arg<'a> {
    /// A number: a descriptor, a flag, a length. Never an address.
    Number(i64),
    /// Bytes that the kernel reads: a text with its zero, or a structure.
    In(&'a [u8]),
    /// Bytes that the kernel may write.
    Out(&'a mut [u8]),
}

/// Numbers and texts as arguments, in one list.
#[macro_export]
macro_rules! call {
    ($number:expr $(, $argument:expr)* $(,)?) => {
        $crate::raw::call($number, &mut [$($crate::raw::Arg::from($argument)),*])
    };
}

impl From<i32> for Arg<'_> {
    fn from(number: i32) -> Self {
        Arg::Number(number.into())
    }
}
impl From<i64> for Arg<'_> {
    fn from(number: i64) -> Self {
        Arg::Number(number)
    }
}
impl From<u32> for Arg<'_> {
    fn from(number: u32) -> Self {
        Arg::Number(number.into())
    }
}
impl From<u64> for Arg<'_> {
    fn from(number: u64) -> Self {
        Arg::Number(number.cast_signed())
    }
}
impl From<usize> for Arg<'_> {
    fn from(number: usize) -> Self {
        Arg::Number(number as i64)
    }
}
impl<'a> From<&'a CString> for Arg<'a> {
    fn from(text: &'a CString) -> Self {
        Arg::In(text.as_bytes_with_nul())
    }
}
impl<'a> From<&'a std::ffi::CStr> for Arg<'a> {
    fn from(text: &'a std::ffi::CStr) -> Self {
        Arg::In(text.to_bytes_with_nul())
    }
}
impl<'a, const N: usize> From<&'a [u64; N]> for Arg<'a> {
    fn from(words: &'a [u64; N]) -> Self {
        // SAFETY: initialised words are initialised bytes, eight for each, with no stricter alignment.
        Arg::In(unsafe { std::slice::from_raw_parts(words.as_ptr().cast(), N * 8) })
    }
}
impl<'a> From<&'a [u8]> for Arg<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Arg::In(bytes)
    }
}
impl<'a> From<&'a mut [u8]> for Arg<'a> {
    fn from(bytes: &'a mut [u8]) -> Self {
        Arg::Out(bytes)
    }
}

/// Makes a system call: what it returned, or its error. Up to six arguments; those not given are 0.
pub fn call(number: i64, arguments: &mut [Arg<'_>]) -> Tried {
    let mut words = [0i64; 6];
    for (word, argument) in words.iter_mut().zip(arguments) {
        *word = match argument {
            Arg::Number(number) => *number,
            Arg::In(bytes) => bytes.as_ptr() as i64,
            Arg::Out(bytes) => bytes.as_mut_ptr() as i64,
        };
    }
    let [a, b, c, d, e, f] = words;
    // SAFETY: the addresses are those of live memory (`Arg`), and the rows give structures of the sizes that the calls have. No row
    // unmaps or moves memory that it didn't map itself.
    match unsafe { libc::syscall(number, a, b, c, d, e, f) } {
        -1 => Err(Outcome::last()),
        value => Ok(value as usize),
    }
}

/// A text as the kernel wants it.
pub fn text(text: &str) -> CString {
    CString::new(text).unwrap_or_default()
}

/// `open(2)`, without a mode.
pub fn open(path: &str, flags: i32) -> Tried {
    call!(libc::SYS_openat, libc::AT_FDCWD, &text(path), flags | libc::O_CLOEXEC, 0o600)
}

/// Owns a descriptor that a call has just made.
pub fn owned(number: usize) -> OwnedFd {
    // SAFETY: the kernel has just returned it, and the caller gives it away.
    unsafe { OwnedFd::from_raw_fd(number as i32) }
}

/// A call of the 32-bit table (`int 0x80`), with arguments that lie below 4 GiB.
#[cfg(target_arch = "x86_64")]
pub fn call_32(number: u32, arguments: [u32; 2]) -> Tried {
    let value: i64;
    // SAFETY: the two calls made here (getpid, socketcall) write no memory. rbx is LLVM's own, so it is swapped in and out; the old
    // entry clobbers r8 to r11.
    unsafe {
        std::arch::asm!(
            "xchg {first}, rbx", "int 0x80", "xchg {first}, rbx",
            first = inout(reg) u64::from(arguments[0]) => _,
            inout("rax") i64::from(number) => value,
            in("rcx") u64::from(arguments[1]),
            out("r8") _, out("r9") _, out("r10") _, out("r11") _,
        );
    }
    let value = value as i32;
    if value < 0 { Err(Outcome::Errno(-value)) } else { Ok(value as usize) }
}

/// Memory below 4 GiB that holds these words, for ever.
#[cfg(target_arch = "x86_64")]
pub fn low_memory(words: [u32; 3]) -> Result<u32, Outcome> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_32BIT;
    let address = call!(libc::SYS_mmap, 0, 4096, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)?;
    // SAFETY: a fresh page of our own, aligned, and larger than three words.
    unsafe { (address as *mut [u32; 3]).write(words) };
    Ok(address as u32)
}

/// Maps memory of our own, anonymous and private, for ever.
pub fn memory(bytes: usize) -> Result<&'static mut [u8], Outcome> {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_NORESERVE;
    let address = call!(libc::SYS_mmap, 0, bytes, libc::PROT_READ | libc::PROT_WRITE, flags, -1, 0)?;
    // SAFETY: a fresh mapping of exactly these bytes, zero at first, which nobody else knows and nobody unmaps.
    Ok(unsafe { std::slice::from_raw_parts_mut(address as *mut u8, bytes) })
}

/// Forks: `None` in the child.
pub fn fork() -> Result<Option<i32>, Outcome> {
    // SAFETY: the probe has one thread, so that the copy is whole.
    match unsafe { libc::fork() } {
        -1 => Err(Outcome::last()),
        0 => Ok(None),
        pid => Ok(Some(pid)),
    }
}

/// A child with a pid of our choice (`set_tid` of `clone3(2)`), which ends at once.
pub fn clone_as(pid: i32) -> Tried {
    let chosen = [pid];
    // Flags, four words, the signal for the parent; then where the pids are, and how many.
    let arguments = [0, 0, 0, 0, libc::SIGCHLD as u64, 0, 0, 0, chosen.as_ptr() as u64, 1, 0];
    match call!(libc::SYS_clone3, &arguments, 88)? {
        0 => exit(0),
        child => wait(child as i32).map(|_| child),
    }
}

/// Ends this process at once.
pub fn exit(code: i32) -> ! {
    // SAFETY: runs none of this process's code.
    unsafe { libc::_exit(code) }
}

/// How a child ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this code.
    Code(i32),
    /// By this signal, with a core dump or without.
    Signal(i32, bool),
}

/// Waits for a child.
pub fn wait(pid: i32) -> Result<Ended, Outcome> {
    let mut status = 0;
    loop {
        // SAFETY: `status` outlives the call.
        match unsafe { libc::waitpid(pid, &raw mut status, 0) } {
            -1 if Outcome::last() == Outcome::Errno(libc::EINTR) => {}
            -1 => return Err(Outcome::last()),
            _ if libc::WIFSIGNALED(status) => {
                return Ok(Ended::Signal(libc::WTERMSIG(status), libc::WCOREDUMP(status)));
            }
            _ => return Ok(Ended::Code(libc::WEXITSTATUS(status))),
        }
    }
}

/// A child that does nothing until it is killed, or for a minute.
pub fn sleeper() -> Result<i32, Outcome> {
    match fork()? {
        Some(pid) => Ok(pid),
        None => {
            std::thread::sleep(std::time::Duration::from_secs(60));
            exit(0)
        }
    }
}

/// Makes an attempt in a process of its own and brings back the word for what came of it, also if the process is killed for it.
pub fn in_child(attempt: impl FnOnce() -> Tried) -> String {
    let Ok((mut reader, mut writer)) = std::io::pipe() else { return Outcome::last().to_string() };
    let pid = match fork() {
        Ok(Some(pid)) => pid,
        Ok(None) => {
            drop(reader);
            alarm(PATIENCE_SECONDS);
            let word = Outcome::from(attempt()).to_string();
            exit(i32::from(writer.write_all(word.as_bytes()).is_err()))
        }
        Err(outcome) => return outcome.to_string(),
    };
    drop(writer);
    // One read: what the attempt has started may hold the other end for longer.
    let mut word = [0; 64];
    let length = reader.read(&mut word).unwrap_or(0);
    match wait(pid) {
        Ok(Ended::Signal(signal, _)) => Outcome::Signal(signal).to_string(),
        Ok(Ended::Code(_)) if length > 0 => String::from_utf8_lossy(&word[..length]).into_owned(),
        Ok(Ended::Code(_)) => "lost".into(),
        Err(outcome) => outcome.to_string(),
    }
}

/// An attempt that hangs is killed after this.
const PATIENCE_SECONDS: u32 = 20;

/// Has the kernel kill this process after a while.
pub fn alarm(seconds: u32) {
    // SAFETY: sets a timer of this process, nothing else.
    unsafe { libc::alarm(seconds) };
}

/// Sends one byte on a socket with a control message (`cmsg(3)`) of the level `SOL_SOCKET`, and doesn't wait for room.
pub fn send_control(socket: i32, kind: i32, data: &[u8]) -> Tried {
    let mut byte = [0u8];
    let mut part = libc::iovec { iov_base: byte.as_mut_ptr().cast(), iov_len: 1 };
    // struct cmsghdr: its length with the data, then level and type.
    let length = 16 + data.len();
    let mut control = [&length.to_ne_bytes()[..], &libc::SOL_SOCKET.to_ne_bytes(), &kind.to_ne_bytes(), data].concat();
    control.resize(length.next_multiple_of(8), 0);
    // SAFETY: all zero is a valid message.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    (message.msg_iov, message.msg_iovlen) = (&raw mut part, 1);
    (message.msg_control, message.msg_controllen) = (control.as_mut_ptr().cast(), control.len() as _);
    // SAFETY: everything that the message points at lives until the end of this function.
    match unsafe { libc::sendmsg(socket, &raw const message, libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL) } {
        -1 => Err(Outcome::last()),
        sent => Ok(sent as usize),
    }
}

/// Reads a byte of memory that is mapped for reading. The process may be killed for it (`SIGBUS`): that is what is to be seen.
pub fn read_at(address: usize) -> u8 {
    // SAFETY: the caller has mapped the page; if the file no longer has it, the kernel kills this process.
    unsafe { (address as *const u8).read_volatile() }
}

/// Ignores signals.
pub fn ignore(signals: &[i32]) {
    for signal in signals {
        // SAFETY: to ignore a signal runs no code of ours.
        unsafe { libc::signal(*signal, libc::SIG_IGN) };
    }
}
