//! What the switch counts for one world, from the moment it attached.

use crate::WorldId;

/// Numbers of one world. Those that say "now" are a moment's look, the others only grow. Sizes are those of the ring: headers and padding count.
#[derive(
    Clone,
    Copy,
    Debug,
    Default,
    PartialEq,
    Eq,
    rkyv::Archive,
    rkyv::Serialize,
    rkyv::Deserialize,
    serde::Serialize,
    serde::Deserialize,
)]
#[serde(default)]
pub struct Counters {
    /// Records that the switch took from it.
    pub sent: u64,
    /// Bytes of these.
    pub sent_bytes: u64,
    /// Records that were put into its inbox.
    pub received: u64,
    /// Bytes of these.
    pub received_bytes: u64,
    /// Bytes in its inbox now that it hasn't given back.
    pub unread_bytes: u64,
    /// Bytes that it has published now and the switch hasn't taken.
    pub untaken_bytes: u64,
    /// Records held for it now, outside its full inbox.
    pub held_records: u64,
    /// Bytes held for others on its account now.
    pub held_bytes: u64,
    /// How many of these there may be.
    pub budget_bytes: u64,
    /// Its requests that wait for an answer now.
    pub open_requests: u64,
    /// Requests of others that it hasn't answered now.
    pub owed_replies: u64,
    /// Records that policy refused it.
    pub denied: u64,
    /// Records of it that went nowhere for another reason.
    pub returned: u64,
    /// Times that it had to wait for the room of a receiver.
    pub waits: u64,
    /// The world for whose room its next record waits now, or 0.
    pub waits_for: u64,
    /// Worlds whose next record waits for its room now.
    pub waiters: u64,
    /// Receivers that it is told not to send to now.
    pub stops: u64,
    /// Times that the switch woke it.
    pub wakeups: u64,
    /// Times that it woke the switch.
    pub rings: u64,
    /// Parcels that it holds now.
    pub parcels: u64,
    /// Bytes of these.
    pub parcel_bytes: u64,
    /// Direct links that it has now.
    pub links: u64,
    /// Bytes that it says it has written to direct links: the worlds' own word, nobody else sees them.
    pub linked_bytes: u64,
}

impl Counters {
    /// For whose room its next record waits now.
    pub fn waits_for(&self) -> Option<WorldId> {
        (self.waits_for != 0).then_some(WorldId(self.waits_for))
    }
}
