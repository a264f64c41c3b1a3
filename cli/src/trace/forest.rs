//! Who caused what: records under the records that were being handled when they were sent.

use crate::feed::Seen;
use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, Instant};
use strait_broker::{Fate, Kind};

/// Records of one tree. One that goes on beyond is shown, and what follows begins another.
const MAX_RECORDS_PER_TREE: usize = 256;
/// Records of all trees that are still growing. Beyond that the oldest tree is shown as it is.
const MAX_RECORDS: usize = 16 * 1024;

/// One record and what it caused.
#[derive(Debug)]
pub struct Node {
    pub seen: Seen,
    pub children: Vec<usize>,
}

/// A record that nothing seen has caused, with all that came of it, in the order in which it was seen. The first is the root.
#[derive(Debug)]
pub struct Tree {
    pub nodes: Vec<Node>,
    last: Instant,
}

impl Tree {
    /// Each node with how deep it is, parents first.
    pub fn walk(&self) -> Vec<(usize, &Node)> {
        let mut found = Vec::with_capacity(self.nodes.len());
        let mut open = vec![(0, 0)];
        while let Some((depth, at)) = open.pop() {
            let node = &self.nodes[at];
            found.push((depth, node));
            open.extend(node.children.iter().rev().map(|child| (depth + 1, *child)));
        }
        found
    }
}

/// The trees that are still growing.
#[derive(Debug, Default)]
pub struct Forest {
    /// By the order in which they were begun.
    trees: BTreeMap<u64, Tree>,
    planted: u64,
    /// Where the records are that have the same word as a cause: several, if one was sent to several.
    places: HashMap<u64, Vec<(u64, usize)>>,
    records: usize,
}

impl Forest {
    /// Puts a record under its cause. Gives back a tree that has become too large, or had to make room.
    pub fn add(&mut self, seen: Seen, now: Instant) -> Option<Tree> {
        if let Some(node) = self.ended(&seen) {
            node.seen.fate = seen.fate;
            return None;
        }
        let (word, parent) = (seen.header.as_cause(), self.parent(&seen));
        let (number, parent) = parent.unwrap_or_else(|| {
            self.planted += 1;
            (self.planted, usize::MAX)
        });
        let tree = self.trees.entry(number).or_insert_with(|| Tree { nodes: Vec::new(), last: now });
        let at = tree.nodes.len();
        tree.nodes.push(Node { seen, children: Vec::new() });
        tree.last = now;
        if let Some(parent) = tree.nodes.get_mut(parent) {
            parent.children.push(at);
        }
        let is_full = tree.nodes.len() >= MAX_RECORDS_PER_TREE;
        self.places.entry(word).or_default().push((number, at));
        self.records += 1;
        let oldest = || self.trees.keys().next().copied().filter(|_| self.records > MAX_RECORDS);
        let gone = if is_full { Some(number) } else { oldest() };
        gone.and_then(|number| self.fell(number))
    }

    /// The request that this says has ended without a reply.
    fn ended(&mut self, seen: &Seen) -> Option<&mut Node> {
        if seen.header.kind != Kind::Request || !matches!(seen.fate, Fate::Ended(_)) {
            return None;
        }
        let (number, at) = self.places.get(&seen.header.as_cause())?.first()?;
        self.trees.get_mut(number)?.nodes.get_mut(*at)
    }

    /// Where its cause is: of one that was sent to several, the one that its own source got.
    fn parent(&self, seen: &Seen) -> Option<(u64, usize)> {
        let places = self.places.get(&seen.header.cause).filter(|_| seen.header.cause != 0)?;
        let got = |(number, at): &&(u64, usize)| {
            let node = self.trees.get(number).and_then(|tree| tree.nodes.get(*at));
            node.is_some_and(|node| node.seen.header.destination == seen.header.source)
        };
        places.iter().find(got).or(places.first()).copied()
    }

    /// The trees that nothing was added to for a while, the oldest first.
    pub fn settled(&mut self, settle: Duration, now: Instant) -> Vec<Tree> {
        let is_quiet = |tree: &Tree| now.saturating_duration_since(tree.last) >= settle;
        let quiet: Vec<u64> = self.trees.iter().filter(|(_, tree)| is_quiet(tree)).map(|(number, _)| *number).collect();
        quiet.into_iter().filter_map(|number| self.fell(number)).collect()
    }

    fn fell(&mut self, number: u64) -> Option<Tree> {
        let tree = self.trees.remove(&number)?;
        for node in &tree.nodes {
            let word = node.seen.header.as_cause();
            if let Some(places) = self.places.get_mut(&word) {
                places.retain(|(of, _)| *of != number);
                if places.is_empty() {
                    self.places.remove(&word);
                }
            }
        }
        self.records -= tree.nodes.len();
        Some(tree)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_broker::{Header, Reason, WorldId};

    const SETTLE: Duration = Duration::from_millis(100);

    fn record(kind: Kind, from: u64, to: u64, sequence: u64, cause: u64) -> Seen {
        let header = Header { source: WorldId(from), sequence, cause, ..Header::new(kind, WorldId(to), 0) };
        Seen { header, at: Duration::ZERO, fate: Fate::Delivered, payload: Vec::new() }
    }

    fn shape(tree: &Tree) -> Vec<(usize, u64, u64)> {
        let line = |(depth, node): (usize, &Node)| (depth, node.seen.header.source.0, node.seen.header.sequence);
        tree.walk().into_iter().map(line).collect()
    }

    fn settled(forest: &mut Forest) -> Vec<Tree> {
        forest.settled(SETTLE, Instant::now() + SETTLE)
    }

    #[test]
    fn what_was_sent_while_a_record_was_handled_is_under_it() {
        let mut forest = Forest::default();
        let first = record(Kind::Request, 16, 17, 1, 0);
        let second = record(Kind::Request, 17, 18, 1, first.header.as_cause());
        let other = record(Kind::Message, 20, 21, 5, 0);
        let third = record(Kind::Reply, 18, 17, 1, second.header.as_cause());
        let fourth = record(Kind::Reply, 17, 16, 2, first.header.as_cause());
        for seen in [first, second, other, third, fourth] {
            assert!(forest.add(seen, Instant::now()).is_none());
        }
        let trees = settled(&mut forest);
        let shapes: Vec<_> = trees.iter().map(shape).collect();
        assert_eq!(shapes, [vec![(0, 16, 1), (1, 17, 1), (2, 18, 1), (1, 17, 2)], vec![(0, 20, 5)]]);
        assert!(forest.places.is_empty() && forest.records == 0);
    }

    #[test]
    fn a_tree_grows_until_it_is_quiet() {
        let mut forest = Forest::default();
        let now = Instant::now();
        let first = record(Kind::Message, 16, 17, 1, 0);
        let cause = first.header.as_cause();
        forest.add(first, now);
        forest.add(record(Kind::Message, 17, 18, 1, cause), now + SETTLE / 2);
        assert_eq!(forest.settled(SETTLE, now + SETTLE).len(), 0);
        assert_eq!(forest.settled(SETTLE, now + SETTLE * 2).len(), 1);
        // Whose cause is not known any more begins a tree.
        forest.add(record(Kind::Message, 17, 18, 2, cause), now);
        assert_eq!(shape(&settled(&mut forest)[0]), [(0, 17, 2)]);
    }

    #[test]
    fn of_one_sent_to_several_the_receiver_is_the_cause() {
        let mut forest = Forest::default();
        let (one, two) = (record(Kind::Message, 16, 17, 1, 0), record(Kind::Message, 16, 18, 1, 0));
        let cause = one.header.as_cause();
        let now = Instant::now();
        [one, two].into_iter().for_each(|seen| drop(forest.add(seen, now)));
        forest.add(record(Kind::Message, 18, 19, 7, cause), now);
        let shapes: Vec<_> = settled(&mut forest).iter().map(shape).collect();
        assert_eq!(shapes, [vec![(0, 16, 1)], vec![(0, 16, 1), (1, 18, 7)]]);
    }

    #[test]
    fn a_request_that_ends_is_told_of_where_it_is() {
        let mut forest = Forest::default();
        forest.add(record(Kind::Request, 16, 17, 1, 0), Instant::now());
        let fate = Fate::Ended(Reason::Died);
        forest.add(Seen { fate, ..record(Kind::Request, 16, 17, 1, 0) }, Instant::now());
        let trees = settled(&mut forest);
        assert_eq!((trees.len(), trees[0].nodes.len(), trees[0].nodes[0].seen.fate), (1, 1, fate));
    }

    #[test]
    fn what_goes_on_for_ever_is_shown_in_parts_and_everything_is_bounded() {
        let mut forest = Forest::default();
        let (mut cause, mut shown) = (0, 0);
        for sequence in 1..=1000 {
            let seen = record(Kind::Message, 16, 16, sequence, cause);
            cause = seen.header.as_cause();
            shown += forest.add(seen, Instant::now()).map_or(0, |tree| tree.nodes.len());
        }
        assert_eq!((shown, forest.records), (768, 232));
        for sequence in 0..2 * MAX_RECORDS as u64 {
            forest.add(record(Kind::Message, 17, 18, sequence, 0), Instant::now());
            assert!(forest.records <= MAX_RECORDS && forest.places.len() <= MAX_RECORDS);
        }
    }
}
