//! What a process takes: memory, now and at its most, and processor time.

use std::fs;
use std::time::Duration;

/// Kibibytes that it holds for itself, and shared memory that it has touched (`RssAnon` and `RssShmem`, `proc_pid_status(5)`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    pub own_kib: u64,
    pub shared_kib: u64,
}

impl Memory {
    /// Zero if it is gone.
    pub fn of(pid: u32) -> Self {
        let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let line = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name))?;
            line.split_whitespace().next()?.parse().ok()
        };
        Self { own_kib: line("RssAnon:").unwrap_or(0), shared_kib: line("RssShmem:").unwrap_or(0) }
    }
}

/// Processor time that it has had (`proc_pid_schedstat(5)`, the first number).
pub fn processor_time(pid: u32) -> Duration {
    let text = fs::read_to_string(format!("/proc/{pid}/schedstat")).unwrap_or_default();
    text.split_whitespace().next().and_then(|word| word.parse().ok()).map_or(Duration::ZERO, Duration::from_nanos)
}

/// Watches the memory of one.
#[derive(Clone, Debug)]
pub struct Gauge {
    pid: u32,
    pub start: Memory,
    pub most: Memory,
    pub end: Memory,
}

impl Gauge {
    pub fn new(pid: u32) -> Self {
        let start = Memory::of(pid);
        Self { pid, start, most: start, end: start }
    }

    pub fn look(&mut self) {
        let now = Memory::of(self.pid);
        self.end = now;
        self.most.own_kib = self.most.own_kib.max(now.own_kib);
        self.most.shared_kib = self.most.shared_kib.max(now.shared_kib);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_grows_is_seen() {
        let mut gauge = Gauge::new(std::process::id());
        let ballast = vec![1u8; 32 << 20];
        gauge.look();
        assert!(gauge.most.own_kib >= gauge.start.own_kib + 30_000, "{gauge:?}");
        assert!(ballast.iter().all(|byte| *byte == 1));
        assert_eq!(Memory::of(u32::MAX), Memory::default());
    }
}
