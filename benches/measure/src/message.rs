//! What is in a message: written afresh by its sender, read to the last byte by its receiver.

use crate::Outcome;

/// A message that isn't written yet: where it is written is the peer's affair, so that one which lends its memory out gains by it.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    pub number: u64,
    pub bytes: usize,
}

impl Message {
    /// Writes it: its number, then bytes that differ from the last message's. About the cheapest that touches every byte.
    #[inline]
    pub fn write(&self, payload: &mut [u8]) {
        match payload.split_first_chunk_mut::<8>() {
            Some((number, rest)) => {
                *number = self.number.to_le_bytes();
                rest.fill(self.number as u8);
            }
            None => payload.fill(self.number as u8),
        }
    }
}

/// Reads every byte, as a receiver that uses it would, and makes sure that this is message `number`, whole: nothing was lost.
#[inline]
pub fn check(payload: &[u8], expected: Message) -> Outcome<()> {
    std::hint::black_box(sum(payload));
    if payload.len() != expected.bytes {
        return Err(format!("{} bytes arrived instead of {}", payload.len(), expected.bytes).into());
    }
    match payload.first_chunk::<8>() {
        Some(number) if *number != expected.number.to_le_bytes() => {
            let got = u64::from_le_bytes(*number);
            Err(format!("message {got} arrived instead of {}", expected.number).into())
        }
        _ => Ok(()),
    }
}

/// Reads every byte.
#[inline]
pub fn sum(payload: &[u8]) -> u64 {
    let (words, rest) = payload.as_chunks::<8>();
    let tail = rest.iter().fold(0, |sum: u64, byte| sum.wrapping_add(u64::from(*byte)));
    words.iter().fold(tail, |sum, word| sum.wrapping_add(u64::from_ne_bytes(*word)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_written_is_what_is_expected() {
        for bytes in [1, 7, 8, 9, 64, 1000] {
            let mut payload = vec![0; bytes];
            let message = Message { number: 300, bytes };
            message.write(&mut payload);
            check(&payload, message).unwrap();
        }
    }

    #[test]
    fn a_lost_or_torn_message_is_noticed() {
        let mut payload = [0; 64];
        Message { number: 5, bytes: 64 }.write(&mut payload);
        assert!(check(&payload, Message { number: 4, bytes: 64 }).is_err());
        assert!(check(&payload[..63], Message { number: 5, bytes: 64 }).is_err());
    }

    #[test]
    fn each_message_differs_from_the_one_before_in_its_last_byte() {
        let (mut one, mut two) = ([0; 64], [0; 64]);
        Message { number: 1, bytes: 64 }.write(&mut one);
        Message { number: 2, bytes: 64 }.write(&mut two);
        assert_ne!(one[63], two[63]);
    }
}
