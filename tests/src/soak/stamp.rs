//! What every payload says of itself, so that its receiver can tell whether it is whole and whose turn it was.
//!
//! ```text
//! word 0   checksum of all that follows
//! word 1   sender
//! word 2   of a reply: the how-manieth to this receiver, from 1 on; 0 otherwise
//! word 3   receivers, n
//! then     n times: receiver, number
//! then     the body, anything
//! ```
//!
//! A message or request has the next number of its pair; a reply takes none, and says which comes next. What is too short for a stamp
//! has its number in the header's tag, and a body that follows from it.

use super::chance::Chance;

/// Bytes of a stamp for so many receivers.
pub const fn stamp_bytes(receivers: usize) -> usize {
    (4 + 2 * receivers) * 8
}

/// See the module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stamp {
    pub sender: u64,
    pub reply: u64,
    pub numbers: Vec<(u64, u64)>,
}

impl Stamp {
    /// A payload of so many bytes, or as few as the stamp needs.
    pub fn payload(&self, bytes: usize, chance: &mut Chance) -> Vec<u8> {
        let head = stamp_bytes(self.numbers.len());
        let mut payload = vec![0; bytes.max(head)];
        let pairs = self.numbers.iter().flat_map(|(receiver, number)| [*receiver, *number]);
        let words = [self.sender, self.reply, self.numbers.len() as u64].into_iter().chain(pairs);
        for (place, word) in payload[8..].chunks_exact_mut(8).zip(words) {
            place.copy_from_slice(&word.to_le_bytes());
        }
        chance.fill(&mut payload[head..]);
        let sum = checksum(&payload[8..]);
        payload[..8].copy_from_slice(&sum.to_le_bytes());
        payload
    }

    /// The stamp of a payload that is as it was made, or what is wrong with it.
    pub fn read(payload: &[u8]) -> Result<Self, String> {
        let (words, _) = payload.as_chunks::<8>();
        let word = |at: usize| words.get(at).copied().map(u64::from_le_bytes);
        let count = word(3).filter(|count| *count < 1000).unwrap_or(u64::from(u16::MAX)) as usize;
        if payload.len() < stamp_bytes(count) {
            return Err(format!("{} bytes have no stamp", payload.len()));
        }
        if word(0) != Some(checksum(&payload[8..])) {
            return Err(format!("{} bytes have another checksum", payload.len()));
        }
        let at = |n| word(n).unwrap_or_default();
        let numbers = (0..count).map(|n| (at(4 + 2 * n), at(5 + 2 * n))).collect();
        Ok(Self { sender: at(1), reply: at(2), numbers })
    }

    pub fn number_for(&self, receiver: u64) -> Option<u64> {
        self.numbers.iter().find(|(of, _)| *of == receiver).map(|(_, number)| *number)
    }
}

/// A payload that is too short for a stamp.
pub fn small_payload(sender: u64, receiver: u64, number: u64, bytes: usize) -> Vec<u8> {
    let mut payload = vec![0; bytes];
    Chance::of(sender << 32 | receiver, number).fill(&mut payload);
    payload
}

fn checksum(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<8>();
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x9fb2_1c65_1e98_df25).rotate_left(29);
    let sum = words.iter().fold(bytes.len() as u64, |sum, word| mix(sum, u64::from_le_bytes(*word)));
    rest.iter().fold(sum, |sum, byte| mix(sum, u64::from(*byte)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_read_back_and_every_change_is_found() {
        let stamp = Stamp { sender: 16, reply: 0, numbers: vec![(17, 3), (18, 0)] };
        for bytes in [0, 64, 65, 100, 5000] {
            let payload = stamp.payload(bytes, &mut Chance::new(1));
            assert_eq!(payload.len(), bytes.max(64));
            assert_eq!(Stamp::read(&payload), Ok(stamp.clone()));
            for at in (0..payload.len()).step_by(7) {
                let mut changed = payload.clone();
                changed[at] ^= 4;
                assert!(Stamp::read(&changed).is_err(), "byte {at}");
            }
            assert!(Stamp::read(&payload[..payload.len() - 1]).is_err());
        }
        assert_eq!((stamp.number_for(18), stamp.number_for(19)), (Some(0), None));
    }
}
