//! The two cursors of a ring, and the one door through which a peer's cursor comes in.
//!
//! Both count bytes since the beginning and never wrap (2^64 bytes at 100 GB/s last six years), so
//! "empty", "full" and "impossible" are three different differences. A party keeps its own cursor in
//! memory of its own; what it reads from the peer is checked against that:
//!
//! ```text
//! consumed (mine, or as last validated)  <=  produced  <=  consumed + ring
//! ```

use crate::layout::RECORD_ALIGN;

/// What a peer wrote can't be true. The peer is at fault, and only the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Corrupt {
    /// The producer's cursor is behind where it has been, or more than a ring ahead, or unaligned.
    #[error("producer cursor {claimed} is outside {lowest}..={highest} or not a multiple of 16")]
    Produced {
        /// What the peer wrote.
        claimed: u64,
        /// Where it was last.
        lowest: u64,
        /// One ring past what we consumed.
        highest: u64,
    },
    /// The consumer's cursor is behind where it has been, or ahead of what was published, or unaligned.
    #[error("consumer cursor {claimed} is outside {lowest}..={highest} or not a multiple of 16")]
    Consumed {
        /// What the peer wrote.
        claimed: u64,
        /// Where it was last.
        lowest: u64,
        /// What we published.
        highest: u64,
    },
    /// A record claims more bytes than its producer has published.
    #[error("record of {payload_bytes} bytes needs {needed} bytes of ring but {published} are published")]
    Truncated {
        /// The length in the record's header.
        payload_bytes: u32,
        /// Header, payload and padding.
        needed: u64,
        /// What there is.
        published: u32,
    },
    /// A record of no known kind.
    #[error("record of kind {0}, which doesn't exist")]
    Kind(u8),
    /// A world sent a record of a kind that only the switch makes.
    #[error("a world can't send notices")]
    Forged,
    /// A multicast record with no receivers, too many, or not all of their ids.
    #[error("a multicast record of {payload_bytes} bytes for {receivers} receivers")]
    Receivers {
        /// What it says how many they are.
        receivers: u64,
        /// The length of its payload, ids included.
        payload_bytes: u32,
    },
}

/// A place in an endless stream of bytes and where that is in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Position {
    at: u64,
    offset: u32,
}

impl Position {
    fn new(at: u64, ring_bytes: u32) -> Self {
        let offset = (at % u64::from(ring_bytes)) as u32;
        Self { at, offset }
    }

    /// `by` is at most a ring, so that one subtraction wraps the offset.
    #[inline]
    fn advance(&mut self, by: u32, ring_bytes: u32) {
        debug_assert!(by <= ring_bytes);
        self.at += u64::from(by);
        self.offset += by;
        if self.offset >= ring_bytes {
            self.offset -= ring_bytes;
        }
    }
}

fn aligned(cursor: u64) -> bool {
    cursor.is_multiple_of(u64::from(RECORD_ALIGN))
}

/// The writing side of one ring.
#[derive(Clone, Debug)]
pub struct Producer {
    ring_bytes: u32,
    head: Position,
    published: u64,
    consumed: u64,
}

impl Producer {
    /// A producer at the start of an unused ring.
    pub fn new(ring_bytes: u32) -> Self {
        Self { ring_bytes, head: Position::new(0, ring_bytes), published: 0, consumed: 0 }
    }

    /// Bytes that can be written, as far as the consumer has been heard of.
    #[inline]
    pub fn free(&self) -> u32 {
        self.ring_bytes - (self.head.at - self.consumed) as u32
    }

    /// Bytes ever written, published or not.
    #[inline]
    pub fn written(&self) -> u64 {
        self.head.at
    }

    /// Bytes ever released by the consumer, as far as it has been heard of.
    #[inline]
    pub fn consumed(&self) -> u64 {
        self.consumed
    }

    /// Whether all that was published has been released, as far as the consumer has been heard of.
    #[inline]
    pub fn is_drained(&self) -> bool {
        self.consumed == self.published
    }

    /// Bytes written so far, ever.
    #[inline]
    pub fn written_to(&self) -> u64 {
        self.head.at
    }

    /// From where to where what is published is unread, as far as the consumer has been heard of.
    pub fn unread(&self) -> (u64, u64) {
        (self.consumed, self.published)
    }

    /// Takes in the peer's consumer cursor: never backwards, never past what was published.
    #[inline]
    pub fn learn(&mut self, claimed: u64) -> Result<(), Corrupt> {
        if claimed < self.consumed || claimed > self.published || !aligned(claimed) {
            return Err(Corrupt::Consumed { claimed, lowest: self.consumed, highest: self.published });
        }
        self.consumed = claimed;
        Ok(())
    }

    /// Where in the ring the next record goes, if `bytes` of it are free.
    #[inline]
    pub fn reserve(&self, bytes: u32) -> Option<u32> {
        (bytes <= self.free()).then_some(self.head.offset)
    }

    /// Counts `bytes` as written. They must have been reserved.
    #[inline]
    pub fn commit(&mut self, bytes: u32) {
        assert!(bytes <= self.free() && bytes.is_multiple_of(RECORD_ALIGN), "commit without a reservation");
        self.head.advance(bytes, self.ring_bytes);
    }

    /// Whether something is committed that was not published.
    #[inline]
    pub fn is_staged(&self) -> bool {
        self.published != self.head.at
    }

    /// Bytes committed and not published.
    #[inline]
    pub fn staged(&self) -> u32 {
        (self.head.at - self.published) as u32
    }

    /// Publishes what was committed: the value to store in the header.
    #[inline]
    pub fn publish(&mut self) -> u64 {
        self.published = self.head.at;
        self.published
    }
}

/// The reading side of one ring.
#[derive(Clone, Debug)]
pub struct Consumer {
    ring_bytes: u32,
    tail: Position,
    released: u64,
    produced: u64,
}

impl Consumer {
    /// A consumer at the start of an unused ring.
    pub fn new(ring_bytes: u32) -> Self {
        Self { ring_bytes, tail: Position::new(0, ring_bytes), released: 0, produced: 0 }
    }

    /// Bytes published and not yet read, as far as the producer has been heard of.
    #[inline]
    pub fn available(&self) -> u32 {
        (self.produced - self.tail.at) as u32
    }

    /// Bytes read so far, ever.
    #[inline]
    pub fn read_to(&self) -> u64 {
        self.tail.at
    }

    /// Bytes known to be published so far, ever.
    pub fn heard_to(&self) -> u64 {
        self.produced
    }

    /// Takes in the peer's producer cursor: never backwards, never more than a ring past what was released.
    #[inline]
    pub fn learn(&mut self, claimed: u64) -> Result<(), Corrupt> {
        let highest = self.released.saturating_add(u64::from(self.ring_bytes));
        if claimed < self.produced || claimed > highest || !aligned(claimed) {
            return Err(Corrupt::Produced { claimed, lowest: self.produced, highest });
        }
        self.produced = claimed;
        Ok(())
    }

    /// Where in the ring the next unread byte is.
    #[inline]
    pub fn offset(&self) -> u32 {
        self.tail.offset
    }

    /// Counts `bytes` as read. They must be available.
    #[inline]
    pub fn advance(&mut self, bytes: u32) {
        assert!(bytes <= self.available() && bytes.is_multiple_of(RECORD_ALIGN), "read past what was published");
        self.tail.advance(bytes, self.ring_bytes);
    }

    /// Bytes read that were not yet given back to the producer.
    #[inline]
    pub fn unreleased(&self) -> u32 {
        (self.tail.at - self.released) as u32
    }

    /// Gives back what was read: the value to store in the header.
    #[inline]
    pub fn release(&mut self) -> u64 {
        self.released = self.tail.at;
        self.released
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[derive(Clone, Copy, Debug)]
    enum Operation {
        Commit(u32),
        Publish,
        Learn,
        Read,
        Release,
        Hear,
    }

    fn operation() -> impl Strategy<Value = Operation> {
        prop_oneof![
            (1..40u32).prop_map(|n| Operation::Commit(n * 16)),
            Just(Operation::Publish),
            Just(Operation::Learn),
            Just(Operation::Read),
            Just(Operation::Release),
            Just(Operation::Hear),
        ]
    }

    #[cfg(not(miri))]
    proptest! {
        /// Two honest parties against a queue of (offset, length): nothing is lost, reordered or overwritten.
        #[test]
        fn honest_parties_agree_with_a_queue(ring in (4..64u32).prop_map(|n| n * 16), steps in prop::collection::vec(operation(), 1..400)) {
            let (mut producer, mut consumer) = (Producer::new(ring), Consumer::new(ring));
            let (mut written, mut published, mut read) = (VecDeque::new(), VecDeque::new(), 0u32);
            let (mut shared_produced, mut shared_consumed) = (0, 0);
            for step in steps {
                match step {
                    Operation::Commit(bytes) => if let Some(offset) = producer.reserve(bytes) {
                        written.push_back((offset, bytes));
                        producer.commit(bytes);
                    },
                    Operation::Publish => { shared_produced = producer.publish(); published.append(&mut written); }
                    Operation::Hear => consumer.learn(shared_produced).unwrap(),
                    Operation::Read => if consumer.available() > 0 {
                        let (offset, bytes) = published.pop_front().unwrap();
                        prop_assert_eq!(consumer.offset(), offset);
                        prop_assert!(consumer.available() >= bytes);
                        consumer.advance(bytes);
                        read += bytes;
                    },
                    Operation::Release => { shared_consumed = consumer.release(); read = 0; }
                    Operation::Learn => producer.learn(shared_consumed).unwrap(),
                }
                prop_assert_eq!(consumer.unreleased(), read);
                prop_assert!(producer.free() <= ring);
            }
        }

        /// A hostile cursor is either taken within bounds or refused; no index leaves the ring either way.
        #[test]
        fn hostile_cursors_stay_in_bounds(ring in (4..64u32).prop_map(|n| n * 16), claims in prop::collection::vec(prop_oneof![any::<u64>(), 0..4096u64], 1..50)) {
            let (mut producer, mut consumer) = (Producer::new(ring), Consumer::new(ring));
            for claim in claims {
                if consumer.learn(claim).is_ok() && consumer.available() >= 16 {
                    consumer.advance(16);
                    consumer.release();
                }
                if producer.reserve(16).is_some() {
                    producer.commit(16);
                    producer.publish();
                }
                let _ = producer.learn(claim);
                prop_assert!(consumer.available() <= ring && consumer.offset() < ring);
                prop_assert!(producer.free() <= ring && producer.head.offset < ring);
            }
        }
    }

    #[test]
    fn cursors_that_run_backwards_or_ahead_are_refused() {
        let mut consumer = Consumer::new(256);
        consumer.learn(128).unwrap();
        consumer.advance(64);
        consumer.release();
        assert!(matches!(consumer.learn(112), Err(Corrupt::Produced { claimed: 112, lowest: 128, highest: 320 })));
        assert!(consumer.learn(336).is_err());
        assert!(consumer.learn(u64::MAX).is_err());
        assert!(consumer.learn(129).is_err());
        consumer.learn(320).unwrap();

        let mut producer = Producer::new(256);
        producer.commit(64);
        assert!(producer.learn(16).is_err(), "committed is not published");
        producer.publish();
        producer.learn(64).unwrap();
        assert!(matches!(producer.learn(48), Err(Corrupt::Consumed { claimed: 48, lowest: 64, highest: 64 })));
    }
}
