//! What honest worlds write: each word of payload says who wrote it for whom, so that it is known wherever it turns up.

/// The lower half of every marked word: its first bytes in memory, so that a word whose beginning was written over is none.
const MAGIC: u64 = 0x5747_a17b;
const LOWER: u64 = 0xffff_ffff;
/// What a payload ends with that isn't a multiple of eight bytes long.
const TAIL: u8 = 0x5a;
/// Bits of the sequence number, of the receivers, and of the source.
const SEQUENCE: u32 = 12;
const RECEIVERS: u32 = 16;

/// The most worlds that a script can bring up.
pub(super) const MAX_WORLDS: usize = RECEIVERS as usize;
/// The most records that a world can send.
pub(super) const MAX_RECORDS: usize = (1 << SEQUENCE) - 1;

/// A marked word.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark(u64);

impl Mark {
    /// For the record with this sequence number; `receivers` is a bit for each world.
    pub(super) fn new(source: usize, receivers: u16, sequence: u64) -> Self {
        let who = (source as u64) << (SEQUENCE + RECEIVERS) | u64::from(receivers) << SEQUENCE | sequence;
        Self(who << 32 | MAGIC)
    }

    /// The mark that a word is.
    pub(super) fn of(word: u64) -> Option<Self> {
        (word & LOWER == MAGIC).then_some(Self(word))
    }

    pub(super) fn word(self) -> u64 {
        self.0
    }

    fn who(self) -> u32 {
        (self.0 >> 32) as u32
    }

    pub(super) fn is_for(self, world: usize) -> bool {
        self.who() >> SEQUENCE >> world & 1 == 1
    }

    /// Whose record it is, and its sequence number.
    pub(super) fn record(self) -> (usize, usize) {
        let who = self.who() as usize;
        (who >> (SEQUENCE + RECEIVERS), who & MAX_RECORDS)
    }

    /// A payload of nothing else.
    pub(super) fn payload(self, bytes: usize) -> Vec<u8> {
        let mut payload = self.0.to_le_bytes().repeat(bytes / 8);
        payload.resize(bytes, TAIL);
        payload
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ((source, sequence), receivers) = (self.record(), (self.who() >> SEQUENCE) as u16);
        write!(f, "record {sequence} of world {source} for worlds {receivers:b}")
    }
}

/// The same word if it isn't a mark: hostile worlds can't make any.
pub(super) fn unmarked(word: u64) -> u64 {
    if Mark::of(word).is_some() { !word } else { word }
}
