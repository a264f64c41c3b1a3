//! What waits for a group, in the order in which it came, and where in it the pieces of each stream are.

use super::{Ticket, Waiting, is_piece};
use std::collections::{BTreeMap, BTreeSet, btree_map};
use strait_protocol::WorldId;

/// A stream, by its source and number.
pub(super) type Stream = (WorldId, u32);

#[derive(Debug, Default)]
pub(super) struct Queue {
    waiting: BTreeMap<Ticket, Waiting>,
    pieces: BTreeSet<(Stream, Ticket)>,
}

impl Waiting {
    fn stream(&self) -> Option<Stream> {
        let raw = &self.held.raw;
        is_piece(raw).then(|| (raw.source(), raw.stream()))
    }
}

impl Queue {
    pub(super) fn insert(&mut self, ticket: Ticket, waiting: Waiting) {
        self.pieces.extend(waiting.stream().map(|stream| (stream, ticket)));
        self.waiting.insert(ticket, waiting);
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Waiting> {
        let waiting = self.waiting.remove(&ticket)?;
        if let Some(stream) = waiting.stream() {
            self.pieces.remove(&(stream, ticket));
        }
        Some(waiting)
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Waiting> {
        self.waiting.get(&ticket)
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Waiting> {
        self.waiting.get_mut(&ticket)
    }

    pub(super) fn iter(&self) -> btree_map::Iter<'_, Ticket, Waiting> {
        self.waiting.iter()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Where those are that fit a description, the oldest first.
    pub(super) fn tickets(&self, fits: impl Fn(&Waiting) -> bool) -> Vec<Ticket> {
        self.iter().filter(|(_, waiting)| fits(waiting)).map(|(ticket, _)| *ticket).collect()
    }

    /// Where the pieces of a stream are, the oldest first.
    pub(super) fn pieces(&self, stream: Stream) -> Vec<Ticket> {
        self.pieces.range((stream, 0)..=(stream, Ticket::MAX)).map(|(_, ticket)| *ticket).collect()
    }
}
