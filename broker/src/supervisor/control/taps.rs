//! Who may see what passes between worlds.

use super::super::Supervisor;
use crate::link::Command;
use crate::policy::Permission;
use strait_protocol::control::Answer;
use strait_protocol::tap::MAX_TAPS;
use strait_protocol::{Header, Pattern};

impl Supervisor {
    /// Shows the asker what the worlds of a pattern send and are sent, from now on. Payloads only of worlds whose configuration says so.
    pub(super) fn tap(&mut self, asker: &Header, pattern: &str, payload: bool) -> Result<(), String> {
        let wanted: Pattern = pattern.parse().map_err(|error| format!("`{pattern}`: {error}"))?;
        self.allow(asker, &Permission::Tap(wanted.clone()))?;
        if self.tappers.len() >= MAX_TAPS && !self.tappers.contains(&asker.source) {
            return Err(format!("there are {MAX_TAPS} taps already, which is the most: end one of them"));
        }
        let command = Command::Tap { tapper: asker.source.0, pattern: wanted.to_string(), payload };
        self.link.tell(&command, &[]).map_err(|errno| format!("the switch can't be told: {errno}"))?;
        self.tappers.insert(asker.source);
        self.answer_when_done(asker, Answer::Done)
    }

    /// Ends the asker's tap, if it has one.
    pub(super) fn untap(&mut self, asker: &Header) -> Result<(), String> {
        if self.tappers.remove(&asker.source) {
            let command = Command::Untap { tapper: asker.source.0 };
            self.link.tell(&command, &[]).map_err(|errno| format!("the switch can't be told: {errno}"))?;
        }
        self.answer_when_done(asker, Answer::Done)
    }
}
