//! Where in an inbox records start.
//!
//! How far a world has read is its own word, and may lie in the middle of a record: there its sender's payload would be taken for the header of
//! another one, with whatever source that says. So whoever goes through an inbox again begins at a place that is known from here. A bit for each
//! place where a record could start; those of what was overwritten are cleared.

use strait_protocol::layout::RECORD_ALIGN;

#[derive(Debug)]
pub(super) struct Starts {
    bits: Box<[u64]>,
    /// Places in the ring.
    places: u32,
}

impl Starts {
    pub(super) fn new(ring_bytes: u32) -> Self {
        let places = ring_bytes / RECORD_ALIGN;
        Self { bits: vec![0; places.div_ceil(u64::BITS) as usize].into(), places }
    }

    /// A record of so many bytes was written at an offset in the ring.
    #[inline]
    pub(super) fn mark(&mut self, offset: u32, bytes: u32) {
        let first = offset / RECORD_ALIGN;
        let end = first + bytes / RECORD_ALIGN;
        self.clear(first, end.min(self.places));
        self.clear(0, end.saturating_sub(self.places));
        self.bits[(first / u64::BITS) as usize] |= 1 << (first % u64::BITS);
    }

    pub(super) fn contains(&self, offset: u32) -> bool {
        let place = offset / RECORD_ALIGN;
        self.bits[(place / u64::BITS) as usize] >> (place % u64::BITS) & 1 != 0
    }

    #[inline]
    fn clear(&mut self, mut from: u32, end: u32) {
        while from < end {
            let (word, bit) = ((from / u64::BITS) as usize, from % u64::BITS);
            let places = (end - from).min(u64::BITS - bit);
            self.bits[word] &= !(u64::MAX >> (u64::BITS - places) << bit);
            from += places;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_places_are_those_of_the_last_records() {
        // An odd ring, gone round often, with records of all lengths.
        let places = 200u32;
        let (mut starts, mut known, mut at) = (Starts::new(places * RECORD_ALIGN), BTreeSet::new(), 0u32);
        for n in 0..5000u32 {
            let length = 4 + n * 7 % 131;
            known.retain(|place| (place + places - at) % places >= length);
            known.insert(at);
            starts.mark(at * RECORD_ALIGN, length * RECORD_ALIGN);
            at = (at + length) % places;
            let found = (0..places).filter(|place| starts.contains(place * RECORD_ALIGN));
            assert!(found.eq(known.iter().copied()), "after {n}");
        }
    }
}
