//! What a world says to `strait.store`, which keeps its state, and hears from it.
//!
//! Requests to [`WorldId::STORE`](crate::WorldId::STORE) whose `code` is an [`Operation`]. Whose state it is says the record's source, which is
//! the switch's word.
//!
//! ```text
//! Offer   bytes u64                 -> nothing: go on                      asks whether that much would be kept
//! Save    the state                 -> version u64, once it is durable     in one record, in pieces, or as a parcel
//! Load    nothing                   -> Loaded                              the newest that is whole is opened for Read
//! Read    offset u64 | bytes u64    -> so many bytes from there, or fewer  of what was opened
//! List    a name                    -> an archived control::Answer         the control service alone
//! Clear   a name                    -> an archived control::Answer         the control service alone
//! ```
//!
//! A reply with `code` 0 is as above; with [`REFUSED`] it is the reason as text. One world does one thing at a time: what it asks
//! for beside that is refused. A state in pieces is written as it arrives, and never held in memory.

/// The code of a reply that says no; the payload says why.
pub const REFUSED: u16 = 1;
/// The longest answer to a [`Operation::Read`], in bytes: it fits every inbox.
pub const MAX_READ_BYTES: u64 = crate::stream::MAX_PIECE_BYTES as u64;

/// The `code` of a request to the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    /// May a state of so many bytes be saved?
    Offer = 1,
    /// This is it.
    Save = 2,
    /// Opens the newest state that is whole.
    Load = 3,
    /// A part of what was opened.
    Read = 4,
    /// Which states of a world are there?
    List = 5,
    /// Remove all states of a world.
    Clear = 6,
}

impl Operation {
    /// What a `code` says.
    pub fn from_code(code: u16) -> Option<Self> {
        use Operation::*;
        [Offer, Save, Load, Read, List, Clear].into_iter().find(|operation| *operation as u16 == code)
    }
}

/// What was opened. Versions count from 1; 0 stands for none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Loaded {
    /// The newest version that is whole.
    pub version: u64,
    /// How long the state is.
    pub bytes: u64,
    /// The newest version that was found damaged on the way there.
    pub damaged: u64,
}

impl Loaded {
    /// As it is in the reply.
    pub fn encode(&self) -> Vec<u8> {
        words([self.version, self.bytes, self.damaged])
    }

    /// What a reply says.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let [version, bytes, damaged] = from_words(bytes)?;
        Some(Self { version, bytes, damaged })
    }
}

/// What the store tells the control service, as a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// A state is durable.
    Saved {
        /// Whose it is: a world's id.
        world: u64,
        /// Which it is.
        version: u64,
        /// How long it is.
        bytes: u64,
    },
    /// A state that was to be loaded isn't whole.
    Damaged {
        /// Who wanted to load it.
        world: u64,
        /// Which it is.
        version: u64,
    },
}

impl Report {
    const SAVED: u64 = 1;
    const DAMAGED: u64 = 2;

    /// As it is in the message.
    pub fn encode(&self) -> Vec<u8> {
        match *self {
            Self::Saved { world, version, bytes } => words([Self::SAVED, world, version, bytes]),
            Self::Damaged { world, version } => words([Self::DAMAGED, world, version, 0]),
        }
    }

    /// What a message says.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match from_words(bytes)? {
            [Self::SAVED, world, version, bytes] => Some(Self::Saved { world, version, bytes }),
            [Self::DAMAGED, world, version, 0] => Some(Self::Damaged { world, version }),
            _ => None,
        }
    }
}

/// Numbers in a row, little-endian.
pub fn words<const N: usize>(words: [u64; N]) -> Vec<u8> {
    words.into_iter().flat_map(u64::to_le_bytes).collect()
}

/// Exactly so many numbers, if that is what the bytes are.
pub fn from_words<const N: usize>(bytes: &[u8]) -> Option<[u64; N]> {
    let (words, []) = bytes.as_chunks::<8>() else { return None };
    let words: &[[u8; 8]; N] = words.try_into().ok()?;
    Some(words.map(u64::from_le_bytes))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let loaded = Loaded { version: 7, bytes: u64::MAX, damaged: 8 };
        assert_eq!(Loaded::decode(&loaded.encode()), Some(loaded));
        for report in [Report::Saved { world: 16, version: 7, bytes: 9 }, Report::Damaged { world: 16, version: 7 }] {
            assert_eq!(Report::decode(&report.encode()), Some(report));
        }
        assert_eq!(Operation::from_code(Operation::Read as u16), Some(Operation::Read));
    }

    #[test]
    fn anything_else_is_not() {
        for length in [0, 1, 7, 8, 16, 25, 31, 33] {
            assert_eq!(Loaded::decode(&vec![1; length]), None);
            assert_eq!(Report::decode(&vec![1; length]), None);
        }
        assert_eq!(Report::decode(&words([3, 0, 0, 0])), None);
        assert_eq!((Operation::from_code(0), Operation::from_code(7)), (None, None));
    }
}
