//! Making processes: `clone3`, `execve`, and who holds which descriptor in between.
//!
//! Everything here is meant for a process with one thread. [`clone_process`] checks that itself, because it is what makes
//! it sound: a child made while another thread holds a lock (the allocator's, say) would wait for that lock for ever.
//!
//! Descriptors are the other thing to watch. A cloned process holds a copy of every descriptor of its parent, and copies of
//! the values (`OwnedFd`) that own them. [`retain_only`] closes them by number, behind the back of those values, so the
//! process must go on to `execve` or [`exit_now`] and never return into the code that owned them.

use std::ffi::{CStr, CString};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use rustix::process::Pid;

/// The side of [`clone_process`] that the caller is on.
#[derive(Debug)]
pub enum Cloned {
    /// In the new process.
    Child,
    /// In the old one.
    Parent {
        /// The new process, as seen from here.
        pid: Pid,
        /// Names the new process for ever, not whoever gets its pid next. Close-on-exec.
        pidfd: OwnedFd,
    },
}

/// `linux/sched.h`. The C library's binding has it in a type that is too small for it.
const CLONE_INTO_CGROUP: u64 = 0x2_0000_0000;

/// Fails with `EINVAL` unless the calling process has exactly one thread and shares its memory with nobody.
///
/// `unshare(CLONE_THREAD)` does nothing but this check (`unshare(2)`), and needs no /proc.
pub fn check_single_threaded() -> io::Result<()> {
    // SAFETY: for the three sharing flags of threads, unshare only checks; it changes nothing.
    match unsafe { libc::unshare(libc::CLONE_THREAD) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Makes a copy of this process with `clone3(2)`, in new namespaces according to `namespaces` (`CLONE_NEW*`).
///
/// With `sibling` the parent of the new process is the parent of this one (`CLONE_PARENT`). No signal announces its end
/// (exit signal 0), so only a wait with `__WALL` or `__WCLONE` finds it: a host program that waits for "any child" doesn't
/// take it by accident.
///
/// Fails with `EINVAL` if the process has a second thread. `clone3` goes past the C library, so the library's idea of the thread id
/// is the parent's in the child: `raise` and `abort` there aim at the wrong thread; nothing else here depends on it.
pub fn clone_process(namespaces: i32, sibling: bool) -> io::Result<Cloned> {
    clone_process_into(namespaces, sibling, None)
}

/// The same, and the new process is born in the control group whose directory (`O_PATH` will do) is given: version 2 only.
pub fn clone_process_into(namespaces: i32, sibling: bool, group: Option<BorrowedFd<'_>>) -> io::Result<Cloned> {
    check_single_threaded()?;
    let mut pidfd: RawFd = -1;
    let parent = if sibling { libc::CLONE_PARENT } else { 0 };
    let flags = namespaces | parent | libc::CLONE_PIDFD;
    // SAFETY: `clone_args` is plain integers; all zero is a valid value.
    let mut arguments: libc::clone_args = unsafe { std::mem::zeroed() };
    arguments.flags = u64::from(flags.cast_unsigned());
    if let Some(group) = group {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = group.as_raw_fd() as u64;
    }
    arguments.pidfd = (&raw mut pidfd) as u64;
    let size = size_of::<libc::clone_args>();
    // SAFETY: no CLONE_VM and no stack: the child runs on its own copy of this memory, as after fork. One thread (checked
    // above), so no lock is held by somebody who doesn't exist in the copy. `pidfd` outlives the call.
    let pid = unsafe { libc::syscall(libc::SYS_clone3, &raw mut arguments, size) };
    match pid {
        0 => Ok(Cloned::Child),
        1.. => Ok(Cloned::Parent {
            pid: Pid::from_raw(pid as i32).expect("positive"),
            // SAFETY: CLONE_PIDFD succeeded, so the kernel has just opened this number for us and nobody else knows it.
            pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) },
        }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Moves the calling process into new namespaces (`CLONE_NEW*`). Fails with `EINVAL` if it has a second thread.
pub fn unshare_namespaces(namespaces: i32) -> io::Result<()> {
    check_single_threaded()?;
    // The flags that stop sharing memory, descriptors or signal handlers aren't namespaces, and have no business here.
    let allowed = libc::CLONE_NEWUSER
        | libc::CLONE_NEWNS
        | libc::CLONE_NEWNET
        | libc::CLONE_NEWIPC
        | libc::CLONE_NEWUTS
        | libc::CLONE_NEWCGROUP;
    if namespaces & !allowed != 0 {
        return Err(io::Error::from_raw_os_error(libc::EINVAL));
    }
    // SAFETY: only namespace flags (checked above): no memory and no descriptor table is touched.
    match unsafe { libc::unshare(namespaces) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Closes every descriptor of this process that isn't listed, whoever owns it.
///
/// For a process that was just cloned, or is about to `execve`: see the head of this file.
pub fn retain_only(kept: &[BorrowedFd<'_>]) -> io::Result<()> {
    let mut numbers: Vec<u32> = kept.iter().map(|fd| fd.as_raw_fd() as u32).collect();
    numbers.sort_unstable();
    let mut next = 0;
    for number in numbers {
        if number > next {
            close_range(next, number - 1, 0)?;
        }
        next = number + 1;
    }
    close_range(next, u32::MAX, 0)
}

/// Puts the descriptors at 0, 1, 2, ... in this order, open across `execve`, and marks every other one close-on-exec.
///
/// What was at those numbers before is closed, whoever owned it: see the head of this file. On an error the table is in
/// disorder and the process should end.
pub fn place(descriptors: &[BorrowedFd<'_>]) -> io::Result<()> {
    let count = descriptors.len() as i32;
    // First out of the way of the final numbers, so that no target is also a source that is still needed.
    let mut moved = Vec::new();
    for descriptor in descriptors {
        let duplicate = rustix::io::fcntl_dupfd_cloexec(descriptor, count.max(3))?;
        moved.push(duplicate);
    }
    for (number, descriptor) in (0..count).zip(&moved) {
        // SAFETY: dup2 touches no memory; the source is above every target, so it isn't one of them.
        if unsafe { libc::dup2(descriptor.as_raw_fd(), number) } < 0 {
            return Err(io::Error::last_os_error());
        }
    }
    close_range(count as u32, u32::MAX, libc::CLOSE_RANGE_CLOEXEC)
}

fn close_range(first: u32, last: u32, flags: u32) -> io::Result<()> {
    // SAFETY: close_range touches no memory. Who may still own one of the numbers is the subject of the head of this file.
    match unsafe { libc::syscall(libc::SYS_close_range, first, last, flags) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Gives every signal its default action and blocks none. Ignored and blocked signals would otherwise outlive `execve`.
pub fn default_signals() -> io::Result<()> {
    // SAFETY: all zero is SIG_DFL with no flags and an empty mask.
    let action: libc::sigaction = unsafe { std::mem::zeroed() };
    for signal in 1..=64 {
        // SAFETY: the default action runs no code of ours. Numbers that can't be changed (SIGKILL, SIGSTOP, the two the C
        // library keeps for itself) fail, and had their default action anyway or have no meaning after execve.
        unsafe { libc::sigaction(signal, &raw const action, std::ptr::null_mut()) };
    }
    // SAFETY: all zero is the empty set in Linux's and every C library's layout.
    let none: libc::sigset_t = unsafe { std::mem::zeroed() };
    // SAFETY: `none` outlives the call, and the old mask isn't asked for.
    match unsafe { libc::sigprocmask(libc::SIG_SETMASK, &raw const none, std::ptr::null_mut()) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}

/// Replaces the program of this process (`execve(2)`). Comes back only with the reason why not.
pub fn execute(program: &CStr, arguments: &[CString], environment: &[CString]) -> io::Error {
    let arguments = null_terminated(arguments);
    let environment = null_terminated(environment);
    // SAFETY: both arrays end in a null pointer (`null_terminated`) and point at C strings that outlive the call.
    unsafe { libc::execve(program.as_ptr(), arguments.as_ptr(), environment.as_ptr()) };
    io::Error::last_os_error()
}

/// The same with the program behind a descriptor (`execveat(2)` with `AT_EMPTY_PATH`). One that isn't a script may be close-on-exec.
pub fn execute_file(program: impl std::os::fd::AsFd, arguments: &[CString], environment: &[CString]) -> io::Error {
    let arguments = null_terminated(arguments);
    let environment = null_terminated(environment);
    let (fd, path) = (program.as_fd().as_raw_fd(), c"".as_ptr());
    // SAFETY: both arrays end in a null pointer (`null_terminated`) and point at C strings that outlive the call, as the empty path does.
    unsafe {
        libc::syscall(libc::SYS_execveat, fd, path, arguments.as_ptr(), environment.as_ptr(), libc::AT_EMPTY_PATH)
    };
    io::Error::last_os_error()
}

fn null_terminated(strings: &[CString]) -> Vec<*const libc::c_char> {
    let pointers = strings.iter().map(|string| string.as_ptr());
    pointers.chain([std::ptr::null()]).collect()
}

/// Ends this process at once: no destructors, no exit handlers, no flushing of what was copied from the parent.
pub fn exit_now(code: i32) -> ! {
    // SAFETY: _exit runs none of this process's code.
    unsafe { libc::_exit(code) }
}

/// Closes the number of a descriptor whose value lives on in a function that never returns.
pub fn close_number(descriptor: impl std::os::fd::AsFd) {
    // SAFETY: close touches no memory. Who may still own the number is the subject of the head of this file.
    unsafe { libc::close(descriptor.as_fd().as_raw_fd()) };
}
