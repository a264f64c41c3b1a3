//! Clocks that two processes read alike, and the processor time of this one.

use rustix::time::{ClockId, clock_gettime};

fn nanoseconds(clock: ClockId) -> u64 {
    let time = clock_gettime(clock);
    (time.tv_sec as u64) * 1_000_000_000 + time.tv_nsec as u64
}

/// The same in every process: differences between two processes' readings mean something.
pub fn now_ns() -> u64 {
    nanoseconds(ClockId::Monotonic)
}

/// Processor time of this process so far, of all its threads, the ended ones included.
pub fn spent_ns() -> u64 {
    nanoseconds(ClockId::ProcessCPUTime)
}
