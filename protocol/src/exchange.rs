//! What a world asks of the switch itself, and what the switch hands over.
//!
//! A request whose destination is [`WorldId::SWITCH`](crate::WorldId::SWITCH) carries an [`Ask`]. The switch answers at once with a reply
//! whose `code` is 0, or says what stands against it ([`Refusal`]), and whose payload is one number. `stream` and `tag` come back as they were
//! in the request: by `stream` a client tells answers that aren't its user's. A *message* for the
//! switch is taken and has no effect: a nudge.
//!
//! Descriptors go one way, from the switch to a world, over the world's lane: a socket that the switch can't receive from. Each comes
//! with a [`Note`] and is sent before the record that speaks of it is published. **Nothing of a world's choosing ever enters
//! the switch as a descriptor:** closing one can block, and it may be anything.
//!
//! Everything here is fixed little-endian structs of 16 bytes: what a hostile world sends is judged by four comparisons.

/// Bytes of an [`Ask`], of an answer and of a [`Note`].
pub const BYTES: usize = 16;

/// What a world asks of the switch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ask {
    /// Nothing but an answer: has the switch taken what I sent before this?
    Probe,
    /// A new parcel: its memory comes over the lane, its number in the answer.
    NewParcel {
        /// Its size.
        bytes: u64,
    },
    /// A parcel that came so many times more is not needed any more. The answer says how many times it has come beside those; when none
    /// is left, the number means nothing any more, and its memory may be unmapped.
    ReleaseParcel {
        /// The asker's number for it.
        parcel: u32,
        /// How many of its comings are over.
        uses: u64,
    },
}

/// Why the switch doesn't do what it was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[repr(u16)]
pub enum Refusal {
    /// The bytes are no [`Ask`].
    #[error("the switch doesn't understand this request")]
    Malformed = 1,
    /// What it handed over before lies unread in the asker's lane.
    #[error("the lane is full: take what was handed over before")]
    LaneFull = 2,
    /// The machine has none left: descriptors, memory.
    #[error("the switch is out of descriptors or memory")]
    Exhausted = 3,
    /// More parcels, or more bytes of them, than this world may hold.
    #[error("that is more than this world may hold in parcels")]
    ParcelQuota = 4,
    /// The asker has no such parcel, or not so often.
    #[error("there is no such parcel")]
    NoSuchParcel = 5,
}

impl Refusal {
    /// The refusal that an answer's `code` names.
    pub fn from_code(code: u16) -> Option<Self> {
        use Refusal::*;
        [Malformed, LaneFull, Exhausted, ParcelQuota, NoSuchParcel].into_iter().find(|refusal| *refusal as u16 == code)
    }
}

/// A number to tell what, a number to tell which, and a value.
fn pack(what: u32, which: u32, value: u64) -> [u8; BYTES] {
    let mut bytes = [0; BYTES];
    bytes[..4].copy_from_slice(&what.to_le_bytes());
    bytes[4..8].copy_from_slice(&which.to_le_bytes());
    bytes[8..].copy_from_slice(&value.to_le_bytes());
    bytes
}

fn unpack(bytes: &[u8]) -> Option<(u32, u32, u64)> {
    let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
    let word = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| bytes[at + n]));
    Some((word(0), word(4), u64::from(word(8)) | u64::from(word(12)) << 32))
}

impl Ask {
    /// As bytes.
    pub fn encode(&self) -> [u8; BYTES] {
        match *self {
            Self::Probe => pack(1, 0, 0),
            Self::NewParcel { bytes } => pack(2, 0, bytes),
            Self::ReleaseParcel { parcel, uses } => pack(3, parcel, uses),
        }
    }

    /// Judges the bytes of a world.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match unpack(bytes)? {
            (1, 0, 0) => Some(Self::Probe),
            (2, 0, bytes) => Some(Self::NewParcel { bytes }),
            (3, parcel, uses) => Some(Self::ReleaseParcel { parcel, uses }),
            _ => None,
        }
    }
}

/// The payload of an answer.
pub fn answer(value: u64) -> [u8; BYTES] {
    pack(0, 0, value)
}

/// The number in an answer.
pub fn answered(payload: &[u8]) -> Option<u64> {
    unpack(payload).map(|(_, _, value)| value)
}

/// What comes with descriptors over a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Note {
    /// What was handed over.
    pub what: Handed,
    /// Its number, under which records speak of it.
    pub number: u32,
    /// Its size in bytes.
    pub bytes: u64,
}

/// What was handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Handed {
    /// A parcel's memory.
    Parcel = 1,
}

impl Note {
    /// As bytes.
    pub fn encode(&self) -> [u8; BYTES] {
        pack(self.what as u32, self.number, self.bytes)
    }

    /// Understands what the switch wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (what, number, bytes) = unpack(bytes)?;
        let what = [Handed::Parcel].into_iter().find(|handed| *handed as u32 == what)?;
        Some(Self { what, number, bytes })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn any_bytes_are_one_request_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(ask) = Ask::decode(&bytes) {
                prop_assert_eq!(&ask.encode()[..], &bytes[..]);
            }
            if let Some(note) = Note::decode(&bytes) {
                prop_assert_eq!(&note.encode()[..], &bytes[..]);
            }
        }

        /// Small numbers, so that requests that exist come up.
        #[test]
        fn what_is_decoded_is_what_was_encoded(what in 0..12u32, which in 0..3u32, value in prop_oneof![0..3u64, any::<u64>()]) {
            let bytes = pack(what, which, value);
            prop_assert_eq!(unpack(&bytes), Some((what, which, value)));
            if let Some(ask) = Ask::decode(&bytes) {
                prop_assert_eq!(ask.encode(), bytes);
            }
        }

        #[test]
        fn answers_survive_the_wire(value: u64) {
            prop_assert_eq!(answered(&answer(value)), Some(value));
        }
    }

    #[test]
    fn codes_name_their_refusals() {
        assert_eq!(Refusal::from_code(0), None);
        for code in 1..100 {
            assert!(Refusal::from_code(code).is_none_or(|refusal| refusal as u16 == code));
        }
    }
}
