//! Whether the switch looks again before it hands its processor on.
//!
//! After a turn it yields, so that whoever shares its processor can answer. But when all that it moved went to worlds on another processor, nobody
//! here has anything new, and their answer may be there before two changes of process are over. So it looks some more first: as long as that pays,
//! which the last waits tell, and tried anew now and then. Where a world runs is its own word; an untrue one costs a bounded look each time.

/// What is looked at without a yield, each pass and each port in it, at most: about two microseconds, however many ports there are, but for the last
/// pass.
const LOOKS: u32 = 192;
/// Waits between two trials, where looking didn't help.
const WAITS_PER_TRIAL: u32 = 32;

#[derive(Debug, Default)]
pub(super) struct Patience {
    /// Since the last pass that moved something, records were shown to a world on another processor, or on this one.
    went_far: bool,
    went_near: bool,
    /// How much it pays to look at, as far as is known; and how many waits there were.
    worth: u32,
    waits: u32,
    /// How much this wait looks at, at most, and has looked at.
    limit: u32,
    looks: u32,
}

impl Patience {
    /// Records were shown to a world.
    #[inline]
    pub(super) fn note(&mut self, is_far: bool) {
        self.went_far |= is_far;
        self.went_near |= !is_far;
    }

    /// A pass has moved something: a wait is over, and the next one begins.
    #[inline]
    pub(super) fn renew(&mut self) {
        match self.looks {
            0 => {}
            looks if looks < self.limit => self.worth = LOOKS,
            _ => self.worth /= 2,
        }
        (self.limit, self.looks) = (0, 0);
        if self.went_far && !self.went_near {
            self.waits = self.waits.wrapping_add(1);
            self.limit = if self.waits.is_multiple_of(WAITS_PER_TRIAL) { LOOKS } else { self.worth };
        }
        (self.went_far, self.went_near) = (false, false);
    }

    /// A pass over so many ports has moved nothing: whether to look at them again at once.
    #[inline]
    pub(super) fn looks_again(&mut self, ports: usize) -> bool {
        let again = self.looks < self.limit;
        if again {
            self.looks += 1 + u32::try_from(ports).unwrap_or(LOOKS);
        }
        again
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// With so many, a full wait is 64 passes.
    const PORTS: usize = 2;

    /// A wait after something was shown there and there, in which the next record comes after so many idle passes. How many of those were looks.
    fn wait(patience: &mut Patience, shown: &[bool], comes_after: u32) -> u32 {
        shown.iter().for_each(|is_far| patience.note(*is_far));
        patience.renew();
        (0..comes_after).take_while(|_| patience.looks_again(PORTS)).count() as u32
    }

    #[test]
    fn who_is_near_has_the_processor_at_once() {
        let mut patience = Patience::default();
        for shown in [&[false][..], &[true, false], &[]] {
            assert!((0..1000).all(|_| wait(&mut patience, shown, 1) == 0));
        }
    }

    #[test]
    fn it_looks_as_long_as_that_pays() {
        let mut patience = Patience::default();
        let first = (1..).find(|_| wait(&mut patience, &[true], 5) > 0);
        assert_eq!(first, Some(WAITS_PER_TRIAL));
        assert!((0..1000).all(|_| wait(&mut patience, &[true], 5) == 5));
        // The answers become slow: it gives up, but for the trials.
        let looks: Vec<u32> = (0..1000).map(|_| wait(&mut patience, &[true], 1000)).collect();
        assert_eq!(looks[..9], [64, 32, 16, 8, 4, 2, 1, 1, 0]);
        assert_eq!(looks[9..].iter().filter(|looks| **looks > 0).count() as u32, 1000 / WAITS_PER_TRIAL);
    }

    #[test]
    fn a_wait_looks_at_so_many_ports_however_many_there_are() {
        for ports in [0, 1, 10, 100, 10_000] {
            let mut patience = Patience::default();
            for _ in 0..WAITS_PER_TRIAL {
                wait(&mut patience, &[true], 0);
            }
            let passes = (0..1000).take_while(|_| patience.looks_again(ports)).count();
            assert!((1..=LOOKS as usize).contains(&passes) && (passes - 1) * (1 + ports) < LOOKS as usize, "{passes}");
        }
    }
}
