//! Sleeping and waking: futex words in shared memory, and descriptors for those who poll.

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::thread::futex;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::atomic::AtomicU32;
use std::time::{Duration, Instant};

/// Sleeps while `word` is `expected`, until it is woken or the time is over. May return for no reason.
pub fn futex_wait(word: &AtomicU32, expected: u32, at_most: Option<Duration>) {
    let timeout = at_most.map(timespec);
    // EAGAIN, EINTR and ETIMEDOUT all mean the same to callers: look again. `futex(2)` has no other error for a mapped word.
    let _ = futex::wait(word, futex::Flags::empty(), expected, timeout.as_ref());
}

/// Wakes whoever sleeps on `word`, in any process that has it mapped.
pub fn futex_wake(word: &AtomicU32) {
    let _ = futex::wake(word, futex::Flags::empty(), 1);
}

/// A counter to ring somebody who polls (`eventfd(2)`), nonblocking.
pub fn eventfd() -> Result<OwnedFd, Errno> {
    use rustix::event::EventfdFlags;
    rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)
}

/// Rings an eventfd. One that is at its maximum has rung.
pub fn ring(eventfd: BorrowedFd<'_>) {
    let _ = rustix::io::write(eventfd, &1u64.to_ne_bytes());
}

/// A pipe to ring somebody who may be hostile, read end first. Unlike the two holders of an eventfd, the two ends have file
/// flags of their own: whatever the reader does to its end, a write to the other doesn't block.
pub fn bell_pipe() -> Result<(OwnedFd, OwnedFd), Errno> {
    use rustix::pipe::{PipeFlags, pipe_with};
    pipe_with(PipeFlags::CLOEXEC | PipeFlags::NONBLOCK)
}

/// Lets this process outlive a write to a pipe that is closed at its other end (`SIGPIPE`, `pipe(7)`). Rust's runtime does the same before
/// `main`, but not for a program whose `main` isn't Rust's, and a program may undo it.
pub fn ignore_broken_pipes() {
    // SAFETY: ignoring a signal runs no code of ours; `SIGPIPE` is a signal that can be ignored, so the call can't fail.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_IGN) };
}

/// Rings through a pipe. A full pipe has rung; a closed one has nobody left to be rung: see [`ignore_broken_pipes`].
pub fn ring_pipe(write_end: BorrowedFd<'_>) {
    let _ = rustix::io::write(write_end, &[1]);
}

/// Takes the rings out of a pipe. False once the other end is closed.
pub fn drain_pipe(read_end: BorrowedFd<'_>) -> bool {
    !matches!(rustix::io::read(read_end, &mut [0u8; 64]), Ok(0))
}

/// Waits until `fd` is readable or closed by the other end, or the time is over. True if it is.
pub fn wait_readable(fd: BorrowedFd<'_>, at_most: Option<Duration>) -> Result<bool, Errno> {
    let end = at_most.map(|time| Instant::now() + time);
    loop {
        let left = end.map(|end| timespec(end.saturating_duration_since(Instant::now())));
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], left.as_ref()) {
            Err(Errno::INTR) => {}
            other => return other.map(|ready| ready > 0),
        }
    }
}

/// Whether the other end of a connection or pipe is closed.
pub fn is_hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut polled = [PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::RDHUP)];
    let zero = timespec(Duration::ZERO);
    matches!(poll(&mut polled, Some(&zero)), Ok(n) if n > 0)
}

/// The processor that this runs on: some nanoseconds, no system call.
#[inline]
pub fn processor() -> u32 {
    rustix::thread::sched_getcpu() as u32
}

/// Gives the processor to whoever else is ready to run.
pub fn yield_now() {
    rustix::thread::sched_yield();
}

fn timespec(time: Duration) -> Timespec {
    Timespec { tv_sec: i64::try_from(time.as_secs()).unwrap_or(i64::MAX), tv_nsec: i64::from(time.subsec_nanos()) }
}

/// Sleeps until one of several words is woken or isn't what is expected of it, or the time is over. May return for no reason. At most
/// 128 words (`futex_waitv(2)`, Linux 5.16); where the call isn't there, it comes back after a millisecond.
pub fn futex_wait_any(words: &[(&AtomicU32, u32)], at_most: Option<Duration>) {
    use futex::{Wait, WaitFlags, WaitPtr, WaitvFlags};
    use rustix::time::{ClockId, clock_gettime};
    let wait = |(word, expected): &(&AtomicU32, u32)| {
        let mut wait = Wait::new();
        wait.val = u64::from(*expected);
        wait.uaddr = WaitPtr::new(word.as_ptr().cast());
        wait.flags = WaitFlags::SIZE_U32;
        wait
    };
    let waits: Vec<Wait> = words.iter().take(128).map(wait).collect();
    // The end is a time of day, not a length.
    let end = at_most.and_then(|time| {
        let now = clock_gettime(ClockId::Monotonic);
        let now = Duration::new(now.tv_sec.cast_unsigned(), now.tv_nsec as u32);
        now.checked_add(time).map(timespec)
    });
    if let Err(Errno::NOSYS | Errno::PERM) = futex::waitv(&waits, WaitvFlags::empty(), end.as_ref(), ClockId::Monotonic)
    {
        std::thread::sleep(Duration::from_millis(1).min(at_most.unwrap_or(Duration::MAX)));
    }
}
