//! What a world asks of the switch itself, and what the switch hands over.
//!
//! A request whose destination is [`WorldId::SWITCH`](crate::WorldId::SWITCH) carries an [`Ask`]. The switch answers at once with a reply
//! whose `code` is 0, or says what stands against it ([`Refusal`]), and whose payload is one number. `stream` and `tag` come back as they were
//! in the request: by `stream`, with [`FLAG_MARK`](crate::FLAG_MARK), a client tells what isn't its user's. A *message* for the
//! switch is taken and has no effect: a nudge.
//!
//! Descriptors go one way, from the switch (and the gate) to a world, over the world's lane: a socket that those can't receive from. Each comes
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
    /// A direct link to another world. The answer is its number; then comes [`Told::Offered`].
    Link {
        /// The other world.
        peer: u64,
    },
    /// The slice that was handed over for a link is mapped and sealed.
    LinkMapped {
        /// The link.
        link: u32,
    },
    /// A link is to end.
    Unlink {
        /// The link.
        link: u32,
    },
    /// Nothing more is written to a link by the asker. When both sides have said so it is gone.
    LinkClosed {
        /// The link.
        link: u32,
    },
    /// The other side of a link wrote what can't be true. The link is to end.
    Accuse {
        /// The link.
        link: u32,
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
    /// There is no such world, or policy doesn't let the two be linked: both must name the other.
    #[error("there is no such world, or policy doesn't let the two be linked")]
    LinkRefused = 6,
    /// The asker or the other world has as many links as it may.
    #[error("one of the two has as many links as it may")]
    LinkQuota = 7,
    /// The two are linked already.
    #[error("the two are linked already")]
    Linked = 8,
    /// The asker has no such link.
    #[error("there is no such link")]
    NoSuchLink = 9,
    /// The slice that was said to be sealed isn't.
    #[error("the slice isn't sealed")]
    Unsealed = 10,
}

impl Refusal {
    /// The refusal that an answer's `code` names.
    pub fn from_code(code: u16) -> Option<Self> {
        use Refusal::*;
        let parcels = [Malformed, LaneFull, Exhausted, ParcelQuota, NoSuchParcel];
        let links = [LinkRefused, LinkQuota, Linked, NoSuchLink, Unsealed];
        parcels.into_iter().chain(links).find(|refusal| *refusal as u16 == code)
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
            Self::Link { peer } => pack(4, 0, peer),
            Self::LinkMapped { link } => pack(5, link, 0),
            Self::Unlink { link } => pack(6, link, 0),
            Self::LinkClosed { link } => pack(7, link, 0),
            Self::Accuse { link } => pack(8, link, 0),
        }
    }

    /// Judges the bytes of a world.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match unpack(bytes)? {
            (1, 0, 0) => Some(Self::Probe),
            (2, 0, bytes) => Some(Self::NewParcel { bytes }),
            (3, parcel, uses) => Some(Self::ReleaseParcel { parcel, uses }),
            (4, 0, peer) => Some(Self::Link { peer }),
            (5, link, 0) => Some(Self::LinkMapped { link }),
            (6, link, 0) => Some(Self::Unlink { link }),
            (7, link, 0) => Some(Self::LinkClosed { link }),
            (8, link, 0) => Some(Self::Accuse { link }),
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
    /// The slice of a link that the receiver writes; then the end of a pipe by which it is rung, the end by which it rings the other side, and
    /// that pipe's other end (so that it always has a reader, and writing to it never is an error or a signal).
    LinkOut = 2,
    /// The slice of a link that the other side writes, sealed.
    LinkIn = 3,
    /// A connection to the network, by the gate; its number is that of the control service's answer.
    Connection = 4,
}

/// What the switch tells a world about its links: the payload of a message from it, whose `stream` isn't 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Told {
    /// A link with this world: a slice lies in the lane, to be mapped, sealed and said to be so.
    Offered {
        /// The link.
        link: u32,
        /// The other side.
        peer: u64,
    },
    /// Both sides have done so: the other's slice lies in the lane. What this side sends may go over the link from now on.
    Up {
        /// The link.
        link: u32,
    },
    /// It is to end: nothing more is to be written to it, which is to be said by [`Ask::LinkClosed`].
    Ending {
        /// The link.
        link: u32,
    },
    /// It is gone.
    Down {
        /// The link.
        link: u32,
        /// Why.
        how: Down,
    },
}

/// How a link ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Down {
    /// In order; or it never came up.
    Closed = 0,
    /// The other side is gone.
    Died = 1,
    /// Who is told this didn't say in time that it writes nothing more: what it wrote may not be read.
    Late = 2,
}

impl Told {
    /// As bytes.
    pub fn encode(&self) -> [u8; BYTES] {
        match *self {
            Self::Offered { link, peer } => pack(1, link, peer),
            Self::Up { link } => pack(2, link, 0),
            Self::Ending { link } => pack(3, link, 0),
            Self::Down { link, how } => pack(4, link, how as u64),
        }
    }

    /// Understands what the switch wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match unpack(bytes)? {
            (1, link, peer) => Some(Self::Offered { link, peer }),
            (2, link, 0) => Some(Self::Up { link }),
            (3, link, 0) => Some(Self::Ending { link }),
            (4, link, 0) => Some(Self::Down { link, how: Down::Closed }),
            (4, link, 1) => Some(Self::Down { link, how: Down::Died }),
            (4, link, 2) => Some(Self::Down { link, how: Down::Late }),
            _ => None,
        }
    }
}

impl Note {
    /// As bytes.
    pub fn encode(&self) -> [u8; BYTES] {
        pack(self.what as u32, self.number, self.bytes)
    }

    /// Understands what the switch wrote.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let (what, number, bytes) = unpack(bytes)?;
        let all = [Handed::Parcel, Handed::LinkOut, Handed::LinkIn, Handed::Connection];
        let what = all.into_iter().find(|handed| *handed as u32 == what)?;
        Some(Self { what, number, bytes })
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn any_bytes_are_one_request_or_none(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Some(ask) = Ask::decode(&bytes) {
                prop_assert_eq!(&ask.encode()[..], &bytes[..]);
            }
            if let Some(note) = Note::decode(&bytes) {
                prop_assert_eq!(&note.encode()[..], &bytes[..]);
            }
            if let Some(told) = Told::decode(&bytes) {
                prop_assert_eq!(&told.encode()[..], &bytes[..]);
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
