//! The head of a snapshot's file, by which it is known whether the file is whole.
//!
//! ```text
//! 0   magic                8 bytes
//! 8   format u32 | checksum u32    CRC-32 of the state and then of everything below
//! 16  version u64
//! 24  bytes u64            of the state, which follows the head
//! 32  saved_ms u64         since 1970
//! 40  zero                 to 64
//! ```
//!
//! The checksum is against damage, not against forgery: nobody but the store can write here.

use crc32fast::Hasher;
use rustix::fs::{SeekFrom, fstat, seek};
use rustix::io::{Errno, read, retry_on_intr};
use std::os::fd::OwnedFd;

/// Bytes of the head.
pub(super) const BYTES: usize = 64;

const MAGIC: [u8; 8] = *b"strait\0S";
const FORMAT: u32 = 1;
/// What is read at a time to see whether a file is whole.
const CHUNK_BYTES: usize = 256 * 1024;

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Label {
    pub version: u64,
    pub bytes: u64,
    pub saved_ms: u64,
}

/// Why a file is no whole snapshot.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Damage {
    #[error("it is no snapshot: it starts with something else")]
    Magic,
    #[error("it has format {0}, this strait reads format {FORMAT}")]
    Format(u32),
    #[error("it says that it is version {0}")]
    Version(u64),
    #[error("it has {is} bytes, and should have {should}")]
    Length { is: u64, should: u64 },
    #[error("its checksum is wrong")]
    Checksum,
    #[error("it can't be read: {0}")]
    Read(#[from] Errno),
}

impl Label {
    /// The head, once the state has gone through `hasher`.
    pub(super) fn encode(&self, mut hasher: Hasher) -> [u8; BYTES] {
        let mut head = [0; BYTES];
        head[..8].copy_from_slice(&MAGIC);
        head[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        for (at, word) in [(16, self.version), (24, self.bytes), (32, self.saved_ms)] {
            head[at..at + 8].copy_from_slice(&word.to_le_bytes());
        }
        hasher.update(&head[16..]);
        head[12..16].copy_from_slice(&hasher.finalize().to_le_bytes());
        head
    }

    /// Reads all of a file that should be this version, and says whether it is whole. A head that can be read is given even then.
    pub(super) fn verify(file: &OwnedFd, version: u64) -> (Option<Self>, Result<Self, Damage>) {
        match head(file) {
            Ok((label, checksum, head)) => (Some(label), label.check(file, version, checksum, &head)),
            Err(damage) => (None, Err(damage)),
        }
    }

    fn check(self, file: &OwnedFd, version: u64, checksum: u32, head: &[u8; BYTES]) -> Result<Self, Damage> {
        let is = u64::try_from(fstat(file)?.st_size).unwrap_or(0);
        let should = self.bytes.saturating_add(BYTES as u64);
        if is != should {
            return Err(Damage::Length { is, should });
        }
        let mut hasher = Hasher::new();
        let mut chunk = vec![0; CHUNK_BYTES];
        loop {
            match retry_on_intr(|| read(file, &mut chunk[..]))? {
                0 => break,
                count => hasher.update(&chunk[..count]),
            }
        }
        hasher.update(&head[16..]);
        match (hasher.finalize() == checksum, self.version == version) {
            (true, true) => Ok(self),
            (true, false) => Err(Damage::Version(self.version)),
            (false, _) => Err(Damage::Checksum),
        }
    }
}

/// The head of a file, and its checksum. Leaves the file at the start of the state.
fn head(file: &OwnedFd) -> Result<(Label, u32, [u8; BYTES]), Damage> {
    let mut head = [0; BYTES];
    seek(file, SeekFrom::Start(0))?;
    let count = retry_on_intr(|| read(file, &mut head))?;
    if count < BYTES {
        return Err(Damage::Length { is: count as u64, should: BYTES as u64 });
    }
    if head[..8] != MAGIC {
        return Err(Damage::Magic);
    }
    let half = |at: usize| u32::from_le_bytes(std::array::from_fn(|n| head[at + n]));
    let word = |at: usize| u64::from_le_bytes(std::array::from_fn(|n| head[at + n]));
    match half(8) {
        FORMAT => Ok((Label { version: word(16), bytes: word(24), saved_ms: word(32) }, half(12), head)),
        other => Err(Damage::Format(other)),
    }
}
