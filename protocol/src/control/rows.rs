//! What answers are made of: worlds, their ends, their states, groups, and lines of what happened.

use crate::Counters;
use rkyv::{Archive, Deserialize, Serialize};

/// A state that was made durable.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub struct Saved {
    /// Which it is; versions of one name count from 1.
    pub version: u64,
    /// How long it is.
    pub bytes: u64,
}

/// One state in a list.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct SnapshotRow {
    /// Which it is.
    pub version: u64,
    /// How long it is, as far as that can be said.
    pub bytes: u64,
    /// When it was saved, in milliseconds since 1970; 0 if that can't be said.
    pub saved_ms: u64,
    /// What is wrong with it; empty if it is whole.
    pub damage: String,
}

/// What policy lets be kept of a world.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Keeping {
    /// The name that it is kept under.
    pub name: String,
    /// How many versions.
    pub versions: u32,
    /// How long each may be.
    pub bytes: u64,
    /// How much of the disk may take what is kept of it and of all whose names begin alike: `worker`, `worker/1`, `worker/2`.
    pub share_bytes: u64,
    /// Why nothing may be saved now, though what is kept may be loaded.
    pub refusal: Option<String>,
}

/// How a world ended.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct Ended {
    /// Its id.
    pub id: u64,
    /// Its program's exit code, if it exited by itself.
    pub code: Option<i32>,
    /// The signal that ended it otherwise.
    pub signal: Option<i32>,
    /// Whether it acknowledged the notice of its shutdown.
    pub acknowledged: bool,
    /// What it saved after it was told to end.
    pub saved: Option<Saved>,
    /// Whether the deadline passed, or the broker had another reason to kill it.
    pub killed: bool,
    /// What the broker has to say about it, such as why a world was quarantined.
    pub note: String,
    /// From the request to the end, in milliseconds; 0 when nobody asked.
    pub took_ms: u32,
    /// It is the end of one life: the world sleeps, and the next message to it wakes it.
    pub sleeps: bool,
}

/// Where a line of the log comes from.
#[derive(Archive, Serialize, Deserialize, Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// From the broker: it happened.
    Event,
    /// From the world's standard output.
    Output,
    /// From its standard error.
    Error,
    /// From the broker: what became of a dial of this world.
    Dial,
}

/// One line of what happened, or of what a world printed.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// The how-manieth it is since the broker started.
    pub number: u64,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// The world that it is about, or 0.
    pub id: u64,
    /// That one's name, or nothing.
    pub world: String,
    /// Where it comes from.
    pub stream: Stream,
    /// The how-manieth event it is, or line that this world printed: where one is left out in between, the one before isn't kept any more.
    pub nth: u64,
    /// What happened, or was printed. It may be, or quote, what a world wrote: any characters but line ends.
    pub text: String,
}

/// One group in a list.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct GroupRow {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// The template of the members that it starts.
    pub template: String,
    /// How many of these there are at least and at most.
    pub min: u32,
    /// See `min`.
    pub max: u32,
    /// Requests and messages that one member has at once.
    pub outstanding: u32,
    /// Records that wait for a member.
    pub waiting: u64,
    /// Worlds that are on their way to be members.
    pub starting: u32,
    /// Starts that failed since the last that didn't.
    pub failures: u32,
    /// Who takes records now.
    pub members: Vec<MemberRow>,
}

/// One member of a group.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq, Eq)]
pub struct MemberRow {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// Requests and messages that it has.
    pub load: u32,
    /// Records that it was ever given.
    pub taken: u64,
}

/// One world in a list.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub struct WorldRow {
    /// Its id.
    pub id: u64,
    /// Its name.
    pub name: String,
    /// `starting`, `ready`, `stopping`, or `service`, `attached`.
    pub state: String,
    /// Its pid in the supervisor's pid namespace, 0 for the control service.
    pub pid: i32,
    /// Its kernel uid.
    pub uid: u32,
    /// Its age in milliseconds.
    pub age_ms: u64,
    /// The template whose image it was made of. Empty: its own program was started.
    pub clone_of: String,
    /// What the switch counted for it.
    pub counters: Counters,
}
