//! How a slice pair reaches a process: one exchange on a `SOCK_SEQPACKET` connection (`unix(7)`).
//!
//! The kernel vouches for the process on the other end (`SO_PEERCRED`, `SO_PEERPIDFD`) before the
//! supervisor sends anything. A jailed world's connection was made for it and says nothing first;
//! a host program says [`Hello`] and is judged by its uid.
//!
//! ```text
//! host program -> supervisor   Hello    who I want to be
//! supervisor   -> either       Welcome  who you are, with five descriptors: outbox (rw), inbox (ro),
//!                                       bell (eventfd, to ring the switch), wakeup (pipe, rung by the switch),
//!                                       lane (socket, by which the switch hands descriptors over)
//!                              or Refusal, with the reason as text
//! either       -> supervisor   Mapped   the outbox is mapped, and sealed against any other writer
//! ```
//!
//! Before the welcome the first world of a template may be asked for an image of itself ([`image_wanted`]), of which others are made. It
//! answers with [`Checkpoint`], and is welcomed after that. So nothing that anybody sent to it is in an image.
//!
//! The connection then stays open: its end is the end of the attachment.

use crate::{Name, SliceSize, WorldId};

/// Version of everything in this crate that is shared. A peer with another version is refused.
pub const VERSION: u16 = 1;
/// The longest message of the handshake, in bytes.
pub const MAX_BYTES: usize = 512;
/// Descriptors that come with [`Welcome`].
pub const DESCRIPTORS: usize = 5;
/// The descriptor number under which a jailed world finds its connection.
pub const WORLD_FD: i32 = 3;

const MAGIC: &[u8; 4] = b"strt";
const HELLO: u8 = 1;
const WELCOME: u8 = 2;
const REFUSAL: u8 = 3;
const MAPPED: u8 = 4;
const IMAGE_WANTED: u8 = 5;
const IMAGE: u8 = 6;
const NO_IMAGE: u8 = 7;

/// Why a message of the handshake can't be understood.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandshakeError {
    /// Too short, too long, or not ours.
    #[error("not a handshake message of strait")]
    Malformed,
    /// The other side is of another version.
    #[error("the other side speaks version {0} of the protocol, this is version {VERSION}")]
    Version(u16),
    /// The other side said no, and why.
    #[error("refused: {0}")]
    Refused(String),
}

/// A host program's wish.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hello {
    /// The name it wants to have.
    pub name: Name,
}

/// What the supervisor grants.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Welcome {
    /// The world's id.
    pub id: WorldId,
    /// The world's name.
    pub name: Name,
    /// Size of the outbox.
    pub outbox: SliceSize,
    /// Size of the inbox.
    pub inbox: SliceSize,
    /// Whether policy lets it have direct links.
    pub links: bool,
}

fn frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = MAGIC.to_vec();
    bytes.extend(VERSION.to_le_bytes());
    bytes.push(kind);
    bytes.extend(body);
    bytes
}

fn unframe(bytes: &[u8]) -> Result<(u8, &[u8]), HandshakeError> {
    let rest = bytes.strip_prefix(MAGIC).ok_or(HandshakeError::Malformed)?;
    let (version, rest) = rest.split_first_chunk().ok_or(HandshakeError::Malformed)?;
    match u16::from_le_bytes(*version) {
        VERSION => rest.split_first().map(|(kind, body)| (*kind, body)).ok_or(HandshakeError::Malformed),
        other => Err(HandshakeError::Version(other)),
    }
}

fn name(bytes: &[u8]) -> Result<Name, HandshakeError> {
    let text = std::str::from_utf8(bytes).map_err(|_| HandshakeError::Malformed)?;
    text.parse().map_err(|_| HandshakeError::Malformed)
}

impl Hello {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        frame(HELLO, self.name.as_str().as_bytes())
    }

    /// Judges the bytes of a stranger.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        match unframe(bytes)? {
            (HELLO, body) => Ok(Self { name: name(body)? }),
            _ => Err(HandshakeError::Malformed),
        }
    }
}

impl Welcome {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        let mut body = self.id.0.to_le_bytes().to_vec();
        body.extend(self.outbox.bytes().to_le_bytes());
        body.extend(self.inbox.bytes().to_le_bytes());
        body.push(self.links.into());
        body.extend(self.name.as_str().as_bytes());
        frame(WELCOME, &body)
    }

    /// Understands the supervisor's answer: a welcome, or a refusal as an error.
    pub fn decode(bytes: &[u8]) -> Result<Self, HandshakeError> {
        match unframe(bytes)? {
            (WELCOME, body) => Self::decode_body(body).ok_or(HandshakeError::Malformed)?,
            (REFUSAL, text) => Err(HandshakeError::Refused(String::from_utf8_lossy(text).into_owned())),
            _ => Err(HandshakeError::Malformed),
        }
    }

    fn decode_body(body: &[u8]) -> Option<Result<Self, HandshakeError>> {
        let (id, rest) = body.split_first_chunk()?;
        let (outbox, rest) = rest.split_first_chunk()?;
        let (inbox, rest) = rest.split_first_chunk()?;
        let (links, rest) = rest.split_first().filter(|(links, _)| **links <= 1)?;
        let size = |bytes: &[u8; 4]| SliceSize::new(u64::from(u32::from_le_bytes(*bytes))).ok();
        let (outbox, inbox) = (size(outbox)?, size(inbox)?);
        Some(name(rest).map(|name| Self {
            id: WorldId(u64::from_le_bytes(*id)),
            name,
            outbox,
            inbox,
            links: *links == 1,
        }))
    }
}

/// The bytes of a refusal.
pub fn refusal(why: &str) -> Vec<u8> {
    frame(REFUSAL, shortened(why))
}

/// As much of a text as a message takes.
fn shortened(text: &str) -> &[u8] {
    let mut end = text.len().min(MAX_BYTES - 16);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text.as_bytes()[..end]
}

/// The bytes by which the supervisor asks a world for an image of itself, of at most so many bytes.
pub fn image_wanted(limit_bytes: u64) -> Vec<u8> {
    frame(IMAGE_WANTED, &limit_bytes.to_le_bytes())
}

/// The limit, if these are the bytes of [`image_wanted`].
pub fn wanted_image(bytes: &[u8]) -> Option<u64> {
    match unframe(bytes) {
        Ok((IMAGE_WANTED, body)) => body.try_into().ok().map(u64::from_le_bytes),
        _ => None,
    }
}

/// What a world answers that was asked for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Checkpoint {
    /// Here it is: one descriptor comes with this.
    Made,
    /// There is none, and why.
    Failed(String),
}

impl Checkpoint {
    /// The message as bytes.
    pub fn encode(&self) -> Vec<u8> {
        match self {
            Self::Made => frame(IMAGE, &[]),
            Self::Failed(why) => frame(NO_IMAGE, shortened(why)),
        }
    }

    /// Judges the bytes of a world.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        match unframe(bytes).ok()? {
            (IMAGE, []) => Some(Self::Made),
            (NO_IMAGE, why) => Some(Self::Failed(String::from_utf8_lossy(why).into_owned())),
            _ => None,
        }
    }
}

/// The bytes by which a world says that its outbox is mapped and sealed.
pub fn mapped() -> Vec<u8> {
    frame(MAPPED, &[])
}

/// Whether these are the bytes of [`mapped`].
pub fn is_mapped(bytes: &[u8]) -> bool {
    unframe(bytes) == Ok((MAPPED, &[]))
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn random_bytes_are_refused(bytes in prop::collection::vec(any::<u8>(), 0..MAX_BYTES)) {
            prop_assert!(Hello::decode(&bytes).is_err());
            prop_assert!(Welcome::decode(&bytes).is_err());
            prop_assert!(Checkpoint::decode(&bytes).is_none() && wanted_image(&bytes).is_none());
        }
    }

    #[test]
    fn messages_survive_the_wire() {
        let name: Name = "compressor/1".parse().unwrap();
        let welcome = Welcome {
            id: WorldId(77),
            name: name.clone(),
            outbox: SliceSize::DEFAULT,
            inbox: SliceSize::MAX,
            links: true,
        };
        assert_eq!(Welcome::decode(&welcome.encode()), Ok(welcome));
        assert_eq!(Hello::decode(&Hello { name: name.clone() }.encode()), Ok(Hello { name }));
        assert_eq!(Welcome::decode(&refusal("no")), Err(HandshakeError::Refused("no".into())));
        assert!(refusal(&"\u{fc}".repeat(4000)).len() <= MAX_BYTES);
        assert!(is_mapped(&mapped()));
        assert_eq!(wanted_image(&image_wanted(1 << 40)), Some(1 << 40));
        assert_eq!(Checkpoint::decode(&mapped()), None);
        for answer in [Checkpoint::Made, Checkpoint::Failed("a thread".into())] {
            assert_eq!(Checkpoint::decode(&answer.encode()), Some(answer));
        }
        assert_eq!(Hello::decode(b"strt\x09\x00\x01x"), Err(HandshakeError::Version(9)));
    }
}
