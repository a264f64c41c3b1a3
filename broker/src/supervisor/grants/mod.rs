//! What worlds ask for beyond their policy, what they were granted, and the end of that.
//!
//! ```text
//! Request::Ask --> Question --> the world with the role `control`, or a person --> Decision
//!                     | nobody in time: denied
//!                     v
//!                   Grant: Opening --> InForce --> Closing --> gone
//!                          the switch is told      revoked, expired
//! ```
//!
//! A question belongs to its asker and a grant to its holder: both go with the world. A grant has its question's number. One of a path waits for
//! the next life of its holder (`paths.rs`).

mod effect;
mod paths;
mod questions;

use crate::policy::Resource;
use std::collections::BTreeMap;
use std::time::Instant;
use strait_protocol::control::{Asked, Granted};
use strait_protocol::{Header, Name, WorldId};

/// Questions of one world that may wait, and of all: if all are granted at once, the switch is told of so many.
const MAX_QUESTIONS_PER_WORLD: usize = 8;
const MAX_QUESTIONS: usize = 128;
/// Grants that one world may hold, and all.
const MAX_GRANTS_PER_WORLD: usize = 64;
const MAX_GRANTS: usize = 4096;
/// Grants that the switch may be told of before it has answered: so few that neither side of the link ever waits for the other.
const MAX_CHANGING: usize = 32;
/// Who wait for the end of one grant.
const MAX_WAITERS: usize = 16;

/// Everything that is asked for and granted.
#[derive(Debug, Default)]
pub(super) struct Grants {
    last: u64,
    questions: BTreeMap<u64, Question>,
    granted: BTreeMap<u64, Grant>,
    /// When the operator was last told that there are questions.
    told: Option<Instant>,
}

#[derive(Debug)]
struct Question {
    asker: Header,
    resource: Resource,
    reason: String,
    until: Instant,
    /// The correlation of the request to the world that is to decide. `None`: a person is.
    put: Option<u64>,
}

#[derive(Debug)]
struct Grant {
    world: WorldId,
    resource: Resource,
    until: Option<Instant>,
    by: String,
    state: State,
    /// Of a path: the worlds whose lives have it. More than one while a new version comes up, or an old one finishes, beside its holder.
    lives: Vec<WorldId>,
}

#[derive(Debug)]
enum State {
    /// The switch was told. Who asked, and who decided, are answered when it is in force.
    Opening(Vec<Header>),
    InForce,
    /// The switch was told that it is over. Who revoked it is answered when nothing goes on under it.
    Closing(Vec<Header>),
}

impl Grants {
    fn number(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    fn changing(&self) -> usize {
        let of_switch = |grant: &&Grant| matches!(grant.resource, Resource::Reach(..));
        self.granted.values().filter(of_switch).filter(|grant| !matches!(grant.state, State::InForce)).count()
    }

    /// Whether a world may come to hold one more.
    fn has_room_for(&self, world: WorldId) -> bool {
        let held = self.granted.values().filter(|grant| grant.concerns(world)).count();
        self.granted.len() < MAX_GRANTS && held < MAX_GRANTS_PER_WORLD
    }

    /// When there is something to be done because of the time.
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let questions = self.questions.values().map(|question| question.until);
        let in_force = self.granted.values().filter(|grant| matches!(grant.state, State::InForce));
        // What can't be begun now is looked for again at the switch's next answer.
        let may_begin = self.changing() < MAX_CHANGING;
        questions.chain(in_force.filter_map(|grant| grant.until).filter(|_| may_begin)).min()
    }
}

/// What is left until then, in milliseconds.
fn left_ms(until: Instant) -> u32 {
    u32::try_from(until.saturating_duration_since(Instant::now()).as_millis()).unwrap_or(u32::MAX)
}

impl Question {
    fn row(&self, number: u64, name: &Name) -> Asked {
        Asked {
            number,
            id: self.asker.source.0,
            name: name.to_string(),
            resource: self.resource.to_string(),
            reason: self.reason.clone(),
            left_ms: left_ms(self.until),
        }
    }
}

impl Grant {
    fn row(&self, number: u64, name: &Name) -> Granted {
        Granted {
            number,
            id: self.world.0,
            name: name.to_string(),
            resource: self.resource.to_string(),
            left_ms: self.until.map(left_ms),
            by: self.by.clone(),
            from_next_start: self.waits_for_start(),
        }
    }
}
