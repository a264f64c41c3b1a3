//! Numbers that look random and come again with the same seed (SplitMix64).

use std::time::Duration;

/// A source of choices.
#[derive(Clone, Debug)]
pub struct Chance(u64);

impl Chance {
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A source of its own for each of many.
    pub fn of(seed: u64, index: u64) -> Self {
        let mut own = Self(seed ^ index.wrapping_mul(0x2545_f491_4f6c_dd1d));
        own.word();
        own
    }

    pub fn word(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let word = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let word = (word ^ word >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        word ^ word >> 31
    }

    /// Less than this.
    pub fn below(&mut self, bound: usize) -> usize {
        ((u128::from(self.word()) * bound as u128) >> 64) as usize
    }

    /// True so many times in a thousand.
    pub fn happens(&mut self, per_mille: usize) -> bool {
        self.below(1000) < per_mille
    }

    pub fn one<'a, T>(&mut self, of: &'a [T]) -> &'a T {
        &of[self.below(of.len())]
    }

    pub fn up_to(&mut self, longest: Duration) -> Duration {
        longest.mul_f64(self.below(1 << 20) as f64 / (1u64 << 20) as f64)
    }

    pub fn fill(&mut self, bytes: &mut [u8]) {
        let (words, rest) = bytes.as_chunks_mut::<8>();
        words.iter_mut().for_each(|word| *word = self.word().to_le_bytes());
        rest.copy_from_slice(&self.word().to_le_bytes()[..rest.len()]);
    }

    /// Bytes of a payload: mostly few, up to 4 MiB.
    pub fn size(&mut self) -> usize {
        let most = match self.below(1000) {
            0..600 => 256,
            600..880 => 4 << 10,
            880..975 => 64 << 10,
            975..995 => 512 << 10,
            _ => 4 << 20,
        };
        self.below(most + 1)
    }
}
