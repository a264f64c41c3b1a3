//! How long the switch goes on before it hands its processor on, where it always finds work.
//!
//! One that is never idle never yields. Somebody who floods it from another processor would so keep those who share the switch's own: they have been
//! shown something, and wait for the scheduler's tick, 4 ms, to answer it. So it yields after some 20 us of work, if it has shown something to anybody
//! here since the last time. Where nobody here waits, nothing changes.
//!
//! Where a world runs is its own word; an untrue one costs a yield for each stint. And one that burns the processor and hides it may have it for a whole tick then:
//! so who comes back late does more at a time, a sixteenth of the time that it was away.

use std::time::{Duration, Instant};

/// Records that are moved in a stint, or a batch more than that.
const RECORDS: u32 = 128;
/// What is copied of a large one in the time that a record takes besides.
const BYTES_PER_RECORD: u32 = 1024;
/// It works at least this part of the time that it was away: nothing where others give their turns back.
const WORKED_OF_AWAY: u32 = 16;

#[derive(Debug, Default)]
pub(super) struct Stint {
    /// Since it began: what was moved, and whether any of it was shown to a world on this processor.
    moved: u32,
    is_awaited: bool,
    not_before: Option<Instant>,
}

impl Stint {
    /// So many records were moved, of so many bytes together.
    #[inline]
    pub(super) fn work(&mut self, records: u32, bytes: u32) {
        self.moved = self.moved.saturating_add(records + bytes / BYTES_PER_RECORD);
    }

    /// Records were shown to a world.
    #[inline]
    pub(super) fn note(&mut self, is_far: bool) {
        self.is_awaited |= !is_far;
    }

    /// Whether it is somebody else's turn.
    #[inline]
    pub(super) fn is_long(&mut self, now: impl FnOnce() -> Instant) -> bool {
        if !self.is_awaited || self.moved < RECORDS {
            return false;
        }
        let is_early = self.not_before.is_some_and(|end| now() < end);
        if is_early {
            // The clock is asked again after as much.
            self.moved = 0;
        }
        !is_early
    }

    /// The processor was handed on, with nothing left to do.
    #[inline]
    pub(super) fn end(&mut self) {
        *self = Self::default();
    }

    /// The next one begins, after it was away so long.
    pub(super) fn resume(&mut self, now: Instant, away: Duration) {
        *self = Self { not_before: Some(now + away / WORKED_OF_AWAY), ..Self::default() };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_long(stint: &mut Stint, now: Instant) -> bool {
        stint.is_long(|| now)
    }

    #[test]
    fn it_hands_on_when_somebody_here_waits_and_enough_is_done() {
        let (mut stint, now) = (Stint::default(), Instant::now());
        stint.work(10 * RECORDS, 0);
        assert!(!is_long(&mut stint, now), "nobody was shown anything");
        stint.note(true);
        assert!(!is_long(&mut stint, now), "one far away was");
        stint.note(false);
        assert!(is_long(&mut stint, now));
        stint.end();
        stint.note(false);
        stint.work(RECORDS - 1, BYTES_PER_RECORD - 1);
        assert!(!is_long(&mut stint, now));
        stint.work(0, BYTES_PER_RECORD);
        assert!(is_long(&mut stint, now));
    }

    #[test]
    fn who_comes_back_late_goes_on_for_longer() {
        let (mut stint, now) = (Stint::default(), Instant::now());
        stint.resume(now, Duration::from_millis(4));
        let mut at = |micros| {
            stint.note(false);
            stint.work(RECORDS, 0);
            is_long(&mut stint, now + Duration::from_micros(micros))
        };
        assert_eq!([at(10), at(249), at(250)], [false, false, true]);
    }
}
