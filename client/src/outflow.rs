//! How much of the outbox one receiver may fill.
//!
//! Records for a receiver that has no room stay in the outbox. When nothing else is in it, they may fill it but for a small part, which is kept
//! for other receivers: whatever is for one of these and lies behind makes the switch take out what is in its way (it looks no further than
//! it must). So a receiver that doesn't read never keeps its sender from others.

use strait_protocol::{SliceSize, WorldId};

/// To whom the latest records in the outbox are, and since which place.
#[derive(Debug)]
pub(crate) struct Outflow {
    to: WorldId,
    since: u64,
}

impl Outflow {
    pub(crate) fn new() -> Self {
        Self { to: WorldId::SWITCH, since: 0 }
    }

    /// Bytes of the outbox that are kept from a single receiver.
    pub(crate) const fn kept(ring_bytes: u32) -> u32 {
        if ring_bytes < SliceSize::DEFAULT.ring_bytes() { 1024 } else { 4096 }
    }

    /// How much has to stay free beside the next record for `to`, if all that lies in the outbox from `consumed` on is for it too.
    #[inline]
    pub(crate) fn beside(&self, to: WorldId, consumed: u64, ring_bytes: u32) -> u32 {
        if self.to == to && self.since <= consumed { Self::kept(ring_bytes) } else { 0 }
    }

    /// Whether all that lies in the outbox is for one receiver other than `to`.
    pub(crate) fn is_all_for_another(&self, to: WorldId, consumed: u64) -> bool {
        self.to != to && self.since <= consumed
    }

    /// Takes note of a record for `to` that was written at a place.
    #[inline]
    pub(crate) fn note(&mut self, to: WorldId, at: u64) {
        if self.to != to {
            *self = Self { to, since: at };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_kept_from_who_has_all_the_rest() {
        let (a, b, ring) = (WorldId(20), WorldId(21), 61440);
        let mut outflow = Outflow::new();
        outflow.note(a, 0);
        outflow.note(a, 1000);
        assert_eq!((outflow.beside(a, 0, ring), outflow.beside(b, 0, ring)), (4096, 0));
        assert!(outflow.is_all_for_another(b, 0) && !outflow.is_all_for_another(a, 0));
        outflow.note(b, 2000);
        assert_eq!((outflow.beside(b, 1999, ring), outflow.beside(b, 2000, ring)), (0, 4096));
        assert!(!outflow.is_all_for_another(a, 1999) && outflow.is_all_for_another(a, 2000));
    }
}
