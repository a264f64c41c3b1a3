//! How a party says that it sleeps, so that the other rings only then, and once.
//!
//! The writer of a slice keeps one word in its header: a counter of its sleeps, what would wake it, and
//! how it is to be woken. The other party can't clear that word (it isn't its memory), so it remembers
//! the value it last rang for: a new sleep has a new value.
//!
//! ```text
//! bit 0     sleeps until there is data
//! bit 1     sleeps until there is room
//! bit 2     sleeps in poll(2): ring its fd, not the futex
//! bits 3..  counts sleeps, wrapping
//! ```
//!
//! The order that makes a lost wake impossible is Dekker's: the sleeper stores the word, fences, looks
//! once more; the ringer stores its cursor, fences, loads the word. One of them sees the other.

/// What happened, or what a sleeper waits for: a set of [`Event::DATA`] and [`Event::ROOM`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event(u32);

impl Event {
    /// Records were published.
    pub const DATA: Self = Self(0b001);
    /// A good deal of ring was released.
    pub const ROOM: Self = Self(0b010);
    /// Either.
    pub const ANY: Self = Self(0b011);
    /// Nothing.
    pub const NONE: Self = Self(0);

    /// Both sets together.
    pub const fn or(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets have something in common.
    #[inline]
    pub const fn meets(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }
}

/// By what a sleeper is to be woken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Via {
    /// It waits on the futex word in the ringer's slice (`futex(2)`, shared).
    Futex,
    /// It waits in `poll(2)` on the descriptor it was given.
    Fd,
}

const BY_FD: u32 = 0b100;
const ONE_SLEEP: u32 = 0b1000;

/// The word itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
pub struct Waiting(pub u32);

impl Waiting {
    /// The word of a world that isn't running: whoever keeps its slices for it is rung when something comes. No client of the world's next
    /// life says the same within its first half a billion sleeps, so none of them is taken for this one.
    pub const DORMANT: Self = Self(!(ONE_SLEEP - 1) | Event::DATA.0 | BY_FD);

    /// The next sleep's word.
    #[inline]
    pub fn asleep(self, until: Event, via: Via) -> Self {
        let count = (self.0 & !(ONE_SLEEP - 1)).wrapping_add(ONE_SLEEP);
        let how = if via == Via::Fd { BY_FD } else { 0 };
        Self(count | until.0 | how)
    }

    /// The same count, awake.
    #[inline]
    pub fn awake(self) -> Self {
        Self(self.0 & !(ONE_SLEEP - 1))
    }

    /// How to wake the sleeper if `happened` is something it waits for. A hostile word has a meaning too:
    /// at worst its writer is rung for nothing.
    #[inline]
    pub fn rings_for(self, happened: Event) -> Option<Via> {
        let waits = Event(self.0 & Event::ANY.0);
        waits.meets(happened).then_some(if self.0 & BY_FD != 0 { Via::Fd } else { Via::Futex })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_sleep_has_a_word_of_its_own() {
        let mut word = Waiting::default();
        assert_eq!(word.rings_for(Event::ANY), None);
        let first = word.asleep(Event::DATA, Via::Futex);
        word = first.awake();
        let second = word.asleep(Event::ROOM, Via::Fd);
        assert_ne!(first, second);
        assert_eq!(first.rings_for(Event::DATA), Some(Via::Futex));
        assert_eq!(first.rings_for(Event::ROOM), None);
        assert_eq!(second.rings_for(Event::ANY), Some(Via::Fd));
        assert_eq!(Waiting::DORMANT.rings_for(Event::DATA), Some(Via::Fd));
        assert_eq!(Waiting::DORMANT.rings_for(Event::ROOM), None);
        assert_eq!(Waiting(u32::MAX).asleep(Event::DATA, Via::Futex).0 >> 3, 0);
    }
}
