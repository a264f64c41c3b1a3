//! Asking for what policy doesn't give, and deciding what others ask for.

use crate::client::Client;
use crate::control::PROMPT;
use crate::error::Error;
use crate::record::Record;
use std::time::Duration;
use strait_protocol::control::{ASKED, Answer, Asked, Decision, Granted, Request};
use strait_protocol::{Header, Kind, WorldId};

impl Client {
    /// Asks to be granted something, as `ask` in the configuration has it (`send db/*`, `memory 2 GiB`), and waits until it is decided. What
    /// nobody decides by the deadline is denied: [`Error::Denied`]. The reason is for who decides to read. A path of the host is there from the
    /// next start on ([`Granted::from_next_start`]): a world that has saved its state may end, and be woken or restarted.
    pub fn ask_for(&mut self, resource: &str, reason: &str, deadline: Duration) -> Result<Granted, Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Ask { resource: resource.into(), reason: reason.into(), deadline_ms };
        granted(self.ask(&request, deadline.saturating_add(PROMPT))?)
    }

    /// What worlds ask for and nobody has decided, in the order of the numbers.
    pub fn requests(&mut self) -> Result<Vec<Asked>, Error> {
        let mut all: Vec<Asked> = Vec::new();
        loop {
            let from = all.last().map_or(0, |last| last.number + 1);
            let Answer::Requests { asked, more } = self.ask(&Request::Requests { from }, PROMPT)? else {
                return Err(Error::Unexpected);
            };
            all.extend(asked);
            if !more {
                return Ok(all);
            }
        }
    }

    /// What is granted, in the order of the numbers.
    pub fn grants(&mut self) -> Result<Vec<Granted>, Error> {
        let mut all: Vec<Granted> = Vec::new();
        loop {
            let from = all.last().map_or(0, |last| last.number + 1);
            let Answer::Grants { granted, more } = self.ask(&Request::Grants { from }, PROMPT)? else {
                return Err(Error::Unexpected);
            };
            all.extend(granted);
            if !more {
                return Ok(all);
            }
        }
    }

    /// Grants what is asked for under this number, for a time or until it is revoked. Returns when it is in force.
    pub fn grant(&mut self, number: u64, time: Option<Duration>) -> Result<Granted, Error> {
        let for_ms = time.map(|time| u32::try_from(time.as_millis()).unwrap_or(u32::MAX));
        granted(self.ask(&Request::Decide { number, decision: Decision::Grant { for_ms } }, PROMPT)?)
    }

    /// Denies what is asked for under this number.
    pub fn deny(&mut self, number: u64, why: &str) -> Result<(), Error> {
        self.done(&Request::Decide { number, decision: Decision::Deny { why: why.into() } })
    }

    /// Takes a grant back. When this returns, nothing goes through under it any more. A life that has a path by it is ended for that, after a notice,
    /// and its world begins anew without.
    pub fn revoke(&mut self, number: u64) -> Result<(), Error> {
        self.done(&Request::Revoke { number })
    }

    /// For the world with the role `control`: decides what a record [asked](Record::asked). Keep its header.
    pub fn decide(&mut self, question: &Header, decision: &Decision) -> Result<(), Error> {
        self.reply(question, 0, &decision.encode()).map(drop)
    }
}

impl Record<'_> {
    /// What a world asks for, if this is such a question: it comes to the world with the role `control` alone, and nobody but the control
    /// service can send it. [Decide](Client::decide), before the record's time is over.
    pub fn asked(&self) -> Option<Asked> {
        let header = self.header();
        let is_question = (header.kind, header.source, header.code) == (Kind::Request, WorldId::CONTROL, ASKED);
        is_question.then(|| Asked::decode(self.payload).ok()).flatten()
    }
}

fn granted(answer: Answer) -> Result<Granted, Error> {
    match answer {
        Answer::Granted(granted) => Ok(granted),
        Answer::Denied { why } => Err(Error::Denied(why)),
        _ => Err(Error::Unexpected),
    }
}
