//! What is said to the control service (`strait.control`) and by it.
//!
//! Requests and answers are rkyv archives, validated with bytecheck before anyone looks at them. What every world
//! must understand, the notices that tell it to end or to save its state, need no archive: see [`Wanted`].
//!
//! They are of the version that both sides agreed on when they met ([`crate::handshake::VERSION`]); a request that isn't known is refused.

#![expect(missing_docs, reason = "rkyv derives the archived twins of these types without docs")]

use rkyv::{Archive, Deserialize, Serialize, rancor};

macro_rules! archived {
    ($type:ty) => {
        impl $type {
            /// The archive of this.
            pub fn encode(&self) -> Vec<u8> {
                rkyv::to_bytes::<rancor::Error>(self)
                    .expect("an archive of owned text and numbers can be written")
                    .into_vec()
            }

            /// Validates an archive and takes it out. Nothing is allocated before all of it is found valid,
            /// and then no more than the archive's own size.
            pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
                rkyv::from_bytes::<Self, rancor::Failure>(bytes).map_err(|_| Malformed)
            }
        }
    };
}

mod grants;
mod rows;

pub use grants::{ASKED, Asked, Decision, Granted, MAX_GRANTS_PER_ANSWER, MAX_REASON_BYTES};
pub use rows::{Ended, GroupRow, Keeping, LogLine, MemberRow, Saved, SnapshotRow, Stream, WorldRow};

/// The longest payload of a request to the control service, in bytes.
pub const MAX_REQUEST_BYTES: usize = 16 * 1024;

/// The most worlds in one [`Answer::Worlds`].
pub const MAX_WORLDS_PER_ANSWER: u32 = 64;

/// What the control service wants of a world: the `code` of a request from it. The request's `timeout_ms` is what the world has left for that,
/// its payload the reason as UTF-8. To reply is to acknowledge.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u16)]
pub enum Wanted {
    /// That it ends. It may save its state before. At the deadline it is ended by force.
    Shutdown = 1,
    /// That it saves its state now and goes on. To acknowledge is to say that it has.
    Snapshot = 2,
    /// That it saves its state and ends, because a new version takes its place.
    Upgrade = 3,
}

impl Wanted {
    /// What a `code` says.
    pub fn from_code(code: u16) -> Option<Self> {
        [Self::Shutdown, Self::Snapshot, Self::Upgrade].into_iter().find(|wanted| *wanted as u16 == code)
    }
}

/// The most lines in one [`Answer::Log`].
pub const MAX_LINES_PER_ANSWER: u32 = 32;

/// What a world or an operator asks of the control service. Policy says who may ask what.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Request {
    /// Which id has the world of this name?
    Resolve {
        /// The name.
        name: String,
    },
    /// Which worlds are there, from this id on?
    List {
        /// The smallest id of interest.
        from: u64,
        /// At most so many; see [`MAX_WORLDS_PER_ANSWER`].
        limit: u32,
    },
    /// Start a world from a template. With a name, the world gets that name; without, `template/N`.
    Start {
        /// The template, as the configuration names it.
        template: String,
        /// The name of the new world.
        name: Option<String>,
    },
    /// Start a world from a specification. For the host alone.
    Spawn {
        /// The specification, as the broker's configuration writes it (JSON).
        specification: String,
    },
    /// Tell a world to end, and end it when it hasn't by the deadline. Answered when it is gone.
    Stop {
        /// The world's name.
        name: String,
        /// How long it has, in milliseconds.
        deadline_ms: u32,
        /// Why, for the world to read.
        reason: String,
    },
    /// End a world at once, without telling it. Answered when it is gone.
    Kill {
        /// The world's name.
        name: String,
        /// Why, for those who wait for its end to read.
        reason: String,
    },
    /// Make a world unknown that would otherwise sleep when it ends: the running life is ended as by `Stop`, what waits goes back to its senders. What
    /// is kept of it stays, under its name. Answered when it is gone. For who may `kill` it.
    Remove {
        /// The world's name.
        name: String,
        /// How long the running life has, in milliseconds.
        deadline_ms: u32,
        /// Why, for the world to read.
        reason: String,
    },
    /// Remove all states that are kept for this name. The world needn't be there.
    Clear {
        /// The world's name.
        name: String,
    },
    /// Start another world from the template that this one was started from.
    Clone {
        /// The world's name.
        name: String,
    },
    /// Make a world known that sleeps until the first message to it. For the host alone.
    Define {
        /// Its specification, as for `Spawn`.
        specification: String,
    },
    /// Start a world that sleeps, whatever came of it before. Answered when its program runs.
    Wake {
        /// The world's name.
        name: String,
    },
    /// Have a new version of a world take over its name, its id and what waits for it: the running one is told (`Wanted::Upgrade`), and ended when
    /// it hasn't by the deadline. Answered when the new one runs.
    Upgrade {
        /// The world's name.
        name: String,
        /// The template of the new version; without one, the specification counts.
        template: Option<String>,
        /// Its specification, as for `Spawn`.
        specification: String,
        /// The new one starts first, under an id of its own. When it is ready it gets what is sent to either, and the running one ends when it has
        /// finished what it has.
        beside: bool,
        /// How long the running one has, in milliseconds.
        deadline_ms: u32,
        /// Why, for the world to read.
        reason: String,
    },
    /// Have a world begin anew: the running life is told and ended as for `Upgrade`, and the next one is of the same configuration, with the same
    /// id, what waits for it, and the paths that it was granted meanwhile. Answered when its program runs. For who may `stop` it.
    Restart {
        /// The world's name.
        name: String,
        /// How long the running life has, in milliseconds.
        deadline_ms: u32,
        /// Why, for the world to read.
        reason: String,
    },
    /// Start and wake nothing from now on: the broker is about to end. Worlds that end are gone then.
    Close,
    /// Answer when the world is gone, with its end.
    Wait {
        /// The world's id.
        id: u64,
    },
    /// End whatever direct link there is between two worlds.
    Unlink {
        /// One's id.
        one: u64,
        /// The other's.
        other: u64,
    },
    /// Grant me this. What may be asked for is the asker's `ask`; who decides: see [`ASKED`]. Answered when it is decided: [`Answer::Granted`] or
    /// [`Answer::Denied`].
    Ask {
        /// What, as `ask` in a configuration has it: `send db/*`, `memory 2 GiB`.
        resource: String,
        /// What for, for who decides to read: [`MAX_REASON_BYTES`] at most.
        reason: String,
        /// By when it must be decided, in milliseconds: else it is denied. No longer than this request waits.
        deadline_ms: u32,
    },
    /// Connect me to a place in the network. Answered by [`Answer::Dialed`].
    Dial {
        /// The host by its name or address, and the port: `example.com:443`, `[fd00::5]:5432`.
        place: String,
        /// How long it may take, in milliseconds: no longer than this request waits.
        timeout_ms: u32,
    },
    /// What is asked for and not decided, from this number on? For who may `grant`.
    Requests {
        /// The smallest number of interest.
        from: u64,
    },
    /// What is granted, from this number on? For who may `grant`.
    Grants {
        /// The smallest number of interest.
        from: u64,
    },
    /// Decide what is asked for. For who may `grant`.
    Decide {
        /// The question's number.
        number: u64,
        /// What becomes of it.
        decision: Decision,
    },
    /// Take back what was granted. Answered when nothing goes on under it any more. For who may `grant`, and for who has it.
    Revoke {
        /// The grant's number.
        number: u64,
    },
    /// May this world do that, and by which line of its policy? For who may `policy`.
    Judge {
        /// The world's name, or that of one that could be started from a template.
        from: String,
        /// A world's name, which asks whether the one may send to the other, or words as `may` and `ask` have them.
        what: String,
    },
    /// Which lines has the policy of this world? For who may `policy`.
    Policy {
        /// The world's name, or that of one that could be started from a template.
        name: String,
    },
    /// Publish on a topic of this name from now on. Answered by [`Answer::Topic`], to whose id messages are sent.
    OpenTopic {
        /// The name.
        name: String,
    },
    /// Publish there no longer.
    CloseTopic {
        /// The topic's id.
        id: u64,
    },
    /// Subscribe to topics, those that are there and those to come. Answered by [`Answer::Subscribed`].
    Subscribe {
        /// Names with `*` for one token and `>` for the rest.
        pattern: String,
        /// Where there is no room, the newest value takes the place of the one before it, instead of the publisher waiting.
        newest: bool,
        /// The last values that publishers had kept are wanted, too.
        retained: bool,
        /// Which bits of the tag matter, and what they must be: 0 and 0 for all messages.
        tag_mask: u64,
        /// See `tag_mask`.
        tag: u64,
    },
    /// End a subscription. What is on its way still arrives.
    Unsubscribe {
        /// The number of the subscription.
        number: u32,
    },
    /// Which name has this topic?
    NameTopic {
        /// The topic's id.
        id: u64,
    },
    /// What does the kernel say is in force for this world?
    Inspect {
        /// The world's name.
        name: String,
    },
    /// From now on, show the asker what the worlds of a pattern send and are sent, in batches; see [`crate::tap`]. In place of what it
    /// was shown before.
    Tap {
        /// The names of the worlds.
        pattern: String,
        /// Payloads too, as far as the worlds' configuration lets them be shown.
        payload: bool,
    },
    /// Show the asker nothing of others any more.
    Untap,
    /// Tell a world to save its state now. Answered when it is durable.
    Snapshot {
        /// The world's name.
        name: String,
        /// How long it has, in milliseconds.
        deadline_ms: u32,
        /// Why, for the world to read.
        reason: String,
    },
    /// Which states are kept for this name? The world needn't be running.
    Snapshots {
        /// The world's name.
        name: String,
    },
    /// What is kept of this world? For `strait.store` alone.
    Keeping {
        /// The world's id.
        id: u64,
    },
    /// What happened, from the line of this number on? Who may list may ask. The last lines are kept, in memory.
    Log {
        /// The first line of interest.
        from: u64,
    },
    /// Which groups are there, and what have they to do?
    Groups,
}

/// What the control service answers.
#[derive(Archive, Serialize, Deserialize, Clone, Debug, PartialEq)]
pub enum Answer {
    /// The world that was resolved or started.
    World {
        /// Its id.
        id: u64,
        /// Its name.
        name: String,
    },
    /// A world began a new life in the place of one that ran: [`Request::Upgrade`], [`Request::Restart`].
    Replaced {
        /// Its id.
        id: u64,
        /// Its name.
        name: String,
        /// How the life before ended.
        before: Ended,
    },
    /// Worlds in the order of their ids.
    Worlds {
        /// The worlds.
        worlds: Vec<WorldRow>,
        /// Whether there are more behind the last one.
        more: bool,
    },
    /// A world is gone.
    Ended(Ended),
    /// What happened, the oldest first; nothing, if nothing has since.
    Log(Vec<LogLine>),
    /// The jail report, as JSON.
    Report(String),
    /// It is granted, and in force.
    Granted(Granted),
    /// The connection lies in the asker's lane.
    Dialed {
        /// Under this number.
        number: u32,
        /// The address that the place led to, and the port.
        peer: String,
    },
    /// It is not granted.
    Denied {
        /// Why.
        why: String,
    },
    /// What is asked for, in the order of the numbers.
    Requests {
        /// The questions.
        asked: Vec<Asked>,
        /// Whether there are more behind the last one.
        more: bool,
    },
    /// What is granted, in the order of the numbers.
    Grants {
        /// The grants.
        granted: Vec<Granted>,
        /// Whether there are more behind the last one.
        more: bool,
    },
    /// Whether policy allows what was asked about.
    Judged {
        /// It does.
        is_allowed: bool,
        /// The line that allows it, or that would.
        why: String,
    },
    /// The lines of a policy, as a configuration has them.
    Policy(Vec<String>),
    /// All groups, in the order of their ids.
    Groups(Vec<GroupRow>),
    /// A topic.
    Topic {
        /// Its id.
        id: u64,
        /// Its name.
        name: String,
    },
    /// There is a subscription.
    Subscribed {
        /// Its number, which messages by it bear.
        number: u32,
        /// How many topics it meets now.
        topics: u32,
    },
    /// A state is durable.
    Saved(Saved),
    /// The states that are kept, oldest first.
    Snapshots(Vec<SnapshotRow>),
    /// The states of a world are removed.
    Cleared {
        /// How many versions that were.
        versions: u64,
    },
    /// What is kept of a world.
    Keeping(Keeping),
    /// It is done, or under way.
    Done,
    /// No, and why.
    Refused(String),
}

archived!(Request);
archived!(Answer);

/// Bytes that are no archive of what was expected. It says no more on purpose: rkyv's own words name addresses of whoever
/// judged the bytes, and this text goes back to their author.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("malformed control message")]
pub struct Malformed;

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn random_bytes_are_refused_or_harmless(bytes in prop::collection::vec(any::<u8>(), 0..2048)) {
            let _ = Request::decode(&bytes);
            let _ = Answer::decode(&bytes);
        }

        #[test]
        fn flipped_archives_are_refused_or_harmless(place in any::<prop::sample::Index>(), bit in 0..8u8) {
            let mut bytes = Request::Stop { name: "compressor/1".into(), deadline_ms: 5, reason: "a longer reason than fits".into() }.encode();
            let place = place.index(bytes.len());
            bytes[place] ^= 1 << bit;
            let _ = Request::decode(&bytes);
        }
    }

    #[test]
    fn requests_survive_the_wire() {
        for request in [
            Request::Resolve { name: "a".into() },
            Request::Start { template: "compressor".into(), name: None },
            Request::List { from: 0, limit: 64 },
        ] {
            assert_eq!(Request::decode(&request.encode()), Ok(request));
        }
        assert!(Request::decode(&[]).is_err());
    }
}
