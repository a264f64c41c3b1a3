//! Sets of numbers with few gaps.

use serde::{Deserialize, Serialize};

/// Ranges, ascending, none touching the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ranges(Vec<(u64, u64)>);

impl Ranges {
    /// Adds the numbers from `from` to below `to`, none of which is there yet.
    pub fn add(&mut self, from: u64, to: u64) {
        if from >= to {
            return;
        }
        let at = self.0.partition_point(|range| range.1 < from);
        match self.0.get_mut(at) {
            Some(range) if range.1 == from => range.1 = to,
            Some(range) if range.0 == to => range.0 = from,
            _ => self.0.insert(at, (from, to)),
        }
        if let Some([one, next]) = self.0.get(at..).and_then(|rest| rest.first_chunk().copied())
            && one.1 == next.0
        {
            self.0[at].1 = next.1;
            self.0.remove(at + 1);
        }
    }

    pub fn contains(&self, number: u64) -> bool {
        let at = self.0.partition_point(|range| range.1 <= number);
        self.0.get(at).is_some_and(|range| range.0 <= number)
    }

    pub fn iter(&self) -> impl Iterator<Item = u64> + '_ {
        self.0.iter().flat_map(|range| range.0..range.1)
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_grow_together() {
        let mut ranges = Ranges::default();
        for (from, to) in [(5, 6), (9, 12), (7, 7), (6, 7), (2, 3), (8, 9), (7, 8)] {
            ranges.add(from, to);
        }
        assert_eq!(ranges.0, [(2, 3), (5, 12)]);
        assert!(ranges.contains(2) && ranges.contains(11) && !ranges.contains(3) && !ranges.contains(12));
        assert_eq!(ranges.iter().count(), 8);
    }
}
