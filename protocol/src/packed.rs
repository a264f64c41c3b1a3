//! Several messages in the payload of one record, for a sender with many small ones for the same receiver.
//!
//! ```text
//! item   length u32 | code u16 | reserved u16 | tag u64 | payload, padded to 16 bytes
//! ```
//!
//! An agreement between clients, for records of kind Message: the switch moves the record as one and doesn't look inside. Its messages share
//! source, sequence, cause and flags, and what becomes of it becomes of all of them. Whoever unpacks it takes nothing on trust: the record may
//! come from a hostile world. What is well-formed before a fault is handed out; for the rest there is a notice with
//! [`Reason::Incomplete`](crate::Reason::Incomplete). Padding inside of a record travels: who packs must write it, or it carries what lay there before.

use crate::layout::RECORD_ALIGN;

/// Bytes in front of each item's payload.
pub const ITEM_BYTES: usize = 16;

/// What an item says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Item {
    /// Where its payload starts.
    pub at: usize,
    /// Bytes of payload.
    pub length: usize,
    /// The application's code.
    pub code: u16,
    /// The application's word.
    pub tag: u64,
}

/// Bytes that an item with so much payload takes.
#[inline]
pub const fn item_stride(payload_bytes: usize) -> usize {
    ITEM_BYTES + payload_bytes.next_multiple_of(RECORD_ALIGN as usize)
}

impl Item {
    /// The item that starts at `at`, if a whole one does.
    #[inline]
    pub fn read(packed: &[u8], at: usize) -> Option<Self> {
        let (head, rest) = packed.get(at..)?.split_first_chunk::<ITEM_BYTES>()?;
        let word = |from: usize| u64::from_le_bytes(std::array::from_fn(|n| head[from + n]));
        let (first, tag) = (word(0), word(8));
        let length = first as u32 as usize;
        (length <= rest.len()).then_some(Self { at: at + ITEM_BYTES, length, code: (first >> 32) as u16, tag })
    }

    /// Where the next item would start.
    #[inline]
    pub fn end(&self) -> usize {
        self.at + self.length.next_multiple_of(RECORD_ALIGN as usize)
    }
}

/// Appends an item. False, and nothing is written, if it doesn't fit.
#[inline]
pub fn append(packed: &mut [u8], at: usize, code: u16, tag: u64, payload: &[u8]) -> bool {
    let Some(space) = packed.get_mut(at..).filter(|space| ITEM_BYTES + payload.len() <= space.len()) else {
        return false;
    };
    let first = payload.len() as u64 | u64::from(code) << 32;
    space[..8].copy_from_slice(&first.to_le_bytes());
    space[8..16].copy_from_slice(&tag.to_le_bytes());
    space[ITEM_BYTES..][..payload.len()].copy_from_slice(payload);
    true
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..50), 0..20)) {
            let mut packed = vec![0; 4096];
            let mut end = 0;
            for (n, payload) in payloads.iter().enumerate() {
                prop_assert!(append(&mut packed, end, n as u16, n as u64, payload));
                end += item_stride(payload.len());
            }
            let mut at = 0;
            for (n, payload) in payloads.iter().enumerate() {
                let item = Item::read(&packed[..end], at).unwrap();
                prop_assert_eq!((item.code, item.tag), (n as u16, n as u64));
                prop_assert_eq!(&packed[item.at..][..item.length], &payload[..]);
                at = item.end();
            }
            prop_assert_eq!(at, end);
            prop_assert_eq!(Item::read(&packed[..end], at), None);
        }

        #[test]
        fn any_bytes_are_items_within_bounds_or_none(packed in prop::collection::vec(any::<u8>(), 0..200), at in 0..300usize) {
            if let Some(item) = Item::read(&packed, at) {
                prop_assert!(item.at + item.length <= packed.len() && item.end() > at);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_not_packed() {
        let mut packed = [0; 32];
        assert!(!append(&mut packed, 0, 0, 0, &[1; 17]));
        assert!(!append(&mut packed, 33, 0, 0, &[]));
        assert_eq!(packed, [0; 32]);
        assert!(append(&mut packed, 16, 0, 0, &[1; 0]));
    }
}
