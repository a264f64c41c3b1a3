//! What the host and the worlds of a soak say to each other about it.

use super::ranges::Ranges;
use serde::{Deserialize, Serialize};

/// From the host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Order {
    /// These worlds are there now. Who was in the last such order and isn't in this one is gone, and everybody who sends there must be told.
    Peers(Vec<u64>),
    /// Send nothing more of your own; go on reading and answering.
    Quiet,
    /// A request: say everything.
    Report,
}

/// From a world, by itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum News {
    Tally(Tally),
    /// Something arrived that can't have.
    Wrong(String),
}

/// How much a world has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tally {
    pub sent: u64,
    pub sent_bytes: u64,
    pub received: u64,
    pub received_bytes: u64,
    pub requests: u64,
    pub replied: u64,
    /// Requests that ended without a reply: at their deadline, or otherwise.
    pub overdue: u64,
    pub unanswered: u64,
    /// Messages to those who were gone, and notices that said so.
    pub returned: u64,
    /// Sends for which there was no room in time.
    pub given_up: u64,
}

impl Tally {
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.sent_bytes += other.sent_bytes;
        self.received += other.received;
        self.received_bytes += other.received_bytes;
        self.requests += other.requests;
        self.replied += other.replied;
        self.overdue += other.overdue;
        self.unanswered += other.unanswered;
        self.returned += other.returned;
        self.given_up += other.given_up;
    }
}

/// What a world sent to one peer and received from it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Row {
    pub peer: u64,
    /// The numbers below this were sent.
    pub sent: u64,
    /// Of those, requests that ended without a reply: the peer may not have received them.
    pub told: Ranges,
    /// Notices that a message went nowhere because the peer is gone.
    pub returned: u64,
    /// Sends that were given up, of which the peer may have a beginning.
    pub given_up: u64,
    /// The numbers below this were received, but for the holes.
    pub received: u64,
    pub holes: Ranges,
    /// What the peer didn't send whole.
    pub incomplete: u64,
}

/// Everything.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    pub tally: Tally,
    /// Requests that have not ended, and messages to worlds that were gone before of which nothing was heard.
    pub open: u64,
    pub unreturned: u64,
    pub rows: Vec<Row>,
}
