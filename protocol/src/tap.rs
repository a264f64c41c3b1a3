//! What a tap shows: batches of copied headers, as messages of the switch to who taps.
//!
//! The payload of a batch is one *sight* after the other, and its `tag` says how many sights there was no place for since the batch before. A
//! sight is the header of a record as the switch stamped it, 16 bytes about it, and the beginning of its payload where policy
//! lets that be shown:
//!
//! ```text
//! word 0..8  the header
//! word 8     nanoseconds since the tap began
//! word 9     fate u16 | bytes of payload that follow u16 | 0 u32
//! ```
//!
//! Each sight is padded to 8 bytes.

use crate::{Header, Kind, RawHeader, Reason, WorldId};

/// Taps that one broker has at most: each is a bit in the ports that it sees.
pub const MAX_TAPS: usize = 8;
/// Bytes of a payload that are shown at most.
pub const MAX_SHOWN_BYTES: usize = 256;
/// Bytes of a sight, beside payload.
pub const SIGHT_BYTES: usize = Header::BYTES as usize + 16;

/// What the switch did with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is in its receiver's inbox.
    Delivered,
    /// It is held until its receiver has room.
    Held,
    /// It went nowhere; of a request also: it ended without a reply.
    Ended(Reason),
}

impl Fate {
    const HELD: u16 = 1;
    /// Reasons are above this.
    const ENDED: u16 = 0x100;

    fn encode(self) -> u16 {
        match self {
            Self::Delivered => 0,
            Self::Held => Self::HELD,
            Self::Ended(reason) => Self::ENDED | reason as u16,
        }
    }

    fn decode(word: u16) -> Option<Self> {
        match word {
            0 => Some(Self::Delivered),
            Self::HELD => Some(Self::Held),
            _ => Reason::from_code(word & !Self::ENDED).filter(|_| word & Self::ENDED != 0).map(Self::Ended),
        }
    }
}

/// One record, as a tap saw it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sight<'a> {
    /// Its header, as the switch stamped it.
    pub header: Header,
    /// When, in nanoseconds since the tap began.
    pub at_ns: u64,
    /// What became of it.
    pub fate: Fate,
    /// The beginning of its payload, as far as it is shown.
    pub payload: &'a [u8],
}

/// Bytes that a sight takes in a batch, with so much payload.
pub const fn sight_stride(shown_bytes: usize) -> usize {
    SIGHT_BYTES + shown_bytes.next_multiple_of(8)
}

/// Puts a sight behind others. Of `payload` no more than [`MAX_SHOWN_BYTES`] are taken.
pub fn append(batch: &mut Vec<u8>, raw: &RawHeader, at_ns: u64, fate: Fate, payload: &[u8]) {
    let shown = &payload[..payload.len().min(MAX_SHOWN_BYTES)];
    let last = u64::from(fate.encode()) | (shown.len() as u64) << 16;
    let words = raw.words().iter().chain([&at_ns, &last]);
    words.for_each(|word| batch.extend_from_slice(&word.to_le_bytes()));
    batch.extend_from_slice(shown);
    batch.resize(batch.len().next_multiple_of(8), 0);
}

/// The sights of a batch: what is behind one that isn't whole is left out.
#[derive(Clone, Debug)]
pub struct Sights<'a> {
    rest: &'a [u8],
}

impl<'a> Sights<'a> {
    /// Reads a record that was received, if it is a batch: what nobody but the switch can send.
    pub fn of(header: &Header, payload: &'a [u8]) -> Option<Self> {
        let is_batch = (header.kind, header.source) == (Kind::Message, WorldId::SWITCH);
        is_batch.then_some(Self { rest: payload })
    }
}

impl<'a> Iterator for Sights<'a> {
    type Item = Sight<'a>;

    fn next(&mut self) -> Option<Sight<'a>> {
        let (words, rest) = std::mem::take(&mut self.rest).split_at_checked(SIGHT_BYTES)?;
        let word = |at: usize| Some(u64::from_le_bytes(words[at * 8..][..8].try_into().ok()?));
        let mut header = [0; 8];
        for (at, place) in header.iter_mut().enumerate() {
            *place = word(at)?;
        }
        let (at_ns, last) = (word(8)?, word(9)?);
        let shown = usize::from((last >> 16) as u16);
        let payload = rest.get(..shown)?;
        // Judged as if all of the ring were there: the payload isn't.
        let header = RawHeader::judge(header, u32::MAX).ok()?.header();
        let sight = Sight { header, at_ns, fate: Fate::decode(last as u16)?, payload };
        self.rest = rest.get(shown.next_multiple_of(8)..)?;
        Some(sight)
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn fates() -> impl Strategy<Value = Fate> {
        let reason = (0..100u16).prop_filter_map("no reason", Reason::from_code);
        prop_oneof![Just(Fate::Delivered), Just(Fate::Held), reason.prop_map(Fate::Ended)]
    }

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn what_is_put_in_comes_out(seen in prop::collection::vec((any::<u32>(), fates(), prop::collection::vec(any::<u8>(), 0..400)), 0..9)) {
            let mut batch = Vec::new();
            for (n, (length, fate, payload)) in seen.iter().enumerate() {
                let header = Header { sequence: n as u64, ..Header::new(Kind::Request, WorldId(7), length % 4096) };
                let before = batch.len();
                append(&mut batch, &RawHeader::from(&header), n as u64, *fate, payload);
                prop_assert_eq!(batch.len() - before, sight_stride(payload.len().min(MAX_SHOWN_BYTES)));
            }
            let found: Vec<Sight<'_>> = Sights { rest: &batch }.collect();
            prop_assert_eq!(found.len(), seen.len());
            for (n, (sight, (length, fate, payload))) in found.iter().zip(&seen).enumerate() {
                prop_assert_eq!((sight.header.length, sight.header.sequence), (length % 4096, n as u64));
                prop_assert_eq!((sight.at_ns, sight.fate), (n as u64, *fate));
                prop_assert_eq!(sight.payload, &payload[..payload.len().min(MAX_SHOWN_BYTES)]);
            }
        }

        #[test]
        fn any_bytes_are_sights_within_bounds(bytes in prop::collection::vec(any::<u8>(), 0..1000)) {
            let most = bytes.len() / SIGHT_BYTES;
            let found = Sights { rest: &bytes }.count();
            prop_assert!(found <= most);
        }
    }

    #[test]
    fn only_the_switch_sends_batches() {
        let mut header = Header::new(Kind::Message, WorldId(20), 0);
        assert!(Sights::of(&header, &[]).is_some());
        header.source = WorldId(20);
        assert!(Sights::of(&header, &[]).is_none());
    }
}
