//! Asking the control service.

use crate::client::Client;
use crate::error::Error;
use std::time::Duration;
use strait_protocol::control::{
    Answer, Ended, GroupRow, LogLine, MAX_WORLDS_PER_ANSWER, Request, Saved, SnapshotRow, WorldRow,
};
use strait_protocol::{Name, WorldId};

/// How long the control service may take over what it does at once.
pub(crate) const PROMPT: Duration = Duration::from_secs(10);
/// The longest wait for the end of a world: what one request can wait.
const AGES: Duration = Duration::from_millis(u32::MAX as u64);

impl Client {
    /// The id of the running world with this name. Remembered until a notice says that it is gone.
    pub fn resolve(&mut self, name: &str) -> Result<WorldId, Error> {
        let name: Name = name.parse()?;
        if let Some(known) = self.names.get(&name) {
            return Ok(*known);
        }
        let request = Request::Resolve { name: name.as_str().into() };
        let (id, _) = self.world(&request)?;
        self.names.insert(name, id);
        Ok(id)
    }

    /// Starts a world from a template of the configuration. Returns its id and name.
    pub fn start(&mut self, template: &str, name: Option<&str>) -> Result<(WorldId, Name), Error> {
        self.world(&Request::Start { template: template.into(), name: name.map(Into::into) })
    }

    /// Starts a world from a specification in JSON, as `strait-broker` writes it. For the host alone.
    pub fn spawn(&mut self, specification: &str) -> Result<(WorldId, Name), Error> {
        self.world(&Request::Spawn { specification: specification.into() })
    }

    /// Makes a world known from a specification in JSON, which sleeps until the first message to it. For the host alone.
    pub fn define(&mut self, specification: &str) -> Result<(WorldId, Name), Error> {
        self.world(&Request::Define { specification: specification.into() })
    }

    /// Starts a world that sleeps, whatever came of it before, and waits until its program runs. Nothing happens to one that runs.
    pub fn wake(&mut self, name: &str) -> Result<(WorldId, Name), Error> {
        self.world(&Request::Wake { name: name.into() })
    }

    /// Tells a world to end, and waits until it has ended, by itself or by force at the deadline.
    pub fn stop(&mut self, name: &str, deadline: Duration, reason: &str) -> Result<Ended, Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        self.ended(&Request::Stop { name: name.into(), deadline_ms, reason: reason.into() }, deadline + PROMPT)
    }

    /// Ends a world at once, without telling it, and waits until it is gone.
    pub fn kill(&mut self, name: &str, reason: &str) -> Result<Ended, Error> {
        self.ended(&Request::Kill { name: name.into(), reason: reason.into() }, PROMPT)
    }

    /// Makes a world unknown that would sleep otherwise, and waits until it is gone: what runs of it is ended as by [`stop`](Self::stop), and what waits
    /// for it goes back to its senders. The states that are kept of it stay.
    pub fn remove(&mut self, name: &str, deadline: Duration, reason: &str) -> Result<Ended, Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        self.ended(&Request::Remove { name: name.into(), deadline_ms, reason: reason.into() }, deadline + PROMPT)
    }

    /// Removes all states that are kept under a name, for good. Returns how many versions there were.
    pub fn clear_states(&mut self, name: &str) -> Result<u64, Error> {
        match self.ask(&Request::Clear { name: name.into() }, 3 * PROMPT)? {
            Answer::Cleared { versions } => Ok(versions),
            _ => Err(Error::Unexpected),
        }
    }

    /// Starts another world of the template that this one is of. Returns its id and name.
    pub fn clone_world(&mut self, name: &str) -> Result<(WorldId, Name), Error> {
        self.world(&Request::Clone { name: name.into() })
    }

    /// Has a new version of a world take over its name, its id and what waits for it: one from a template, or from a specification in JSON. The
    /// running one has until the deadline to save its state and end. Returns when the new one's program runs.
    pub fn upgrade(
        &mut self,
        name: &str,
        template: Option<&str>,
        specification: &str,
        deadline: Duration,
        reason: &str,
    ) -> Result<(WorldId, Name), Error> {
        self.replace(name, (template, specification), false, deadline, reason)
    }

    /// The same, but the new version starts first, beside the running one, with an id of its own. When it is ready it gets what is sent to
    /// either, and the old one has until the deadline to finish what it has. Returns when the new one is ready; if it never is, the old one goes on.
    pub fn upgrade_beside(
        &mut self,
        name: &str,
        template: Option<&str>,
        specification: &str,
        deadline: Duration,
        reason: &str,
    ) -> Result<(WorldId, Name), Error> {
        self.replace(name, (template, specification), true, deadline, reason)
    }

    /// Has a world begin anew, with the configuration that it has, its id and what waits for it. The running life has until the deadline to save
    /// its state and end. Returns when the next one's program runs.
    pub fn restart(&mut self, name: &str, deadline: Duration, reason: &str) -> Result<(WorldId, Name), Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Restart { name: name.into(), deadline_ms, reason: reason.into() };
        match self.ask(&request, deadline + PROMPT)? {
            Answer::World { id, name } | Answer::Replaced { id, name, .. } => Ok((WorldId(id), name.parse()?)),
            _ => Err(Error::Unexpected),
        }
    }

    fn replace(
        &mut self,
        name: &str,
        (template, specification): (Option<&str>, &str),
        beside: bool,
        deadline: Duration,
        reason: &str,
    ) -> Result<(WorldId, Name), Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let (template, specification) = (template.map(Into::into), specification.into());
        let (name, reason) = (name.into(), reason.into());
        let request = Request::Upgrade { name, template, specification, beside, deadline_ms, reason };
        match self.ask(&request, deadline + PROMPT)? {
            Answer::World { id, name } | Answer::Replaced { id, name, .. } => Ok((WorldId(id), name.parse()?)),
            _ => Err(Error::Unexpected),
        }
    }

    /// Tells a world to save its state and go on. Returns what was saved when it is durable.
    pub fn snapshot(&mut self, name: &str, deadline: Duration, reason: &str) -> Result<Saved, Error> {
        let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
        let request = Request::Snapshot { name: name.into(), deadline_ms, reason: reason.into() };
        match self.ask(&request, deadline + PROMPT)? {
            Answer::Saved(saved) => Ok(saved),
            _ => Err(Error::Unexpected),
        }
    }

    /// Which states are kept of a world, oldest first. It needn't run.
    pub fn snapshots(&mut self, name: &str) -> Result<Vec<SnapshotRow>, Error> {
        // All of each is read, to see whether it is whole.
        match self.ask(&Request::Snapshots { name: name.into() }, 4 * PROMPT)? {
            Answer::Snapshots(rows) => Ok(rows),
            _ => Err(Error::Unexpected),
        }
    }

    /// Waits until a world is gone, or the time is over.
    pub fn wait(&mut self, world: WorldId, timeout: Option<Duration>) -> Result<Ended, Error> {
        self.ended(&Request::Wait { id: world.0 }, timeout.unwrap_or(AGES))
    }

    /// All worlds that there are, in the order of their ids.
    pub fn list(&mut self) -> Result<Vec<WorldRow>, Error> {
        let mut all: Vec<WorldRow> = Vec::new();
        loop {
            let from = all.last().map_or(0, |last| last.id + 1);
            match self.ask(&Request::List { from, limit: MAX_WORLDS_PER_ANSWER }, PROMPT)? {
                Answer::Worlds { worlds, more } => {
                    all.extend(worlds);
                    if !more {
                        return Ok(all);
                    }
                }
                _ => return Err(Error::Unexpected),
            }
        }
    }

    /// All groups that there are, with their members.
    pub fn groups(&mut self) -> Result<Vec<GroupRow>, Error> {
        match self.ask(&Request::Groups, PROMPT)? {
            Answer::Groups(groups) => Ok(groups),
            _ => Err(Error::Unexpected),
        }
    }

    /// What the kernel says is in force for a world, as JSON.
    pub fn inspect(&mut self, name: &str) -> Result<String, Error> {
        match self.ask(&Request::Inspect { name: name.into() }, PROMPT)? {
            Answer::Report(json) => Ok(json),
            _ => Err(Error::Unexpected),
        }
    }

    /// Whether policy lets a world do something, and the line that says so; see [`Request::Judge`].
    pub fn judge(&mut self, from: &str, what: &str) -> Result<(bool, String), Error> {
        match self.ask(&Request::Judge { from: from.into(), what: what.into() }, PROMPT)? {
            Answer::Judged { is_allowed, why } => Ok((is_allowed, why)),
            _ => Err(Error::Unexpected),
        }
    }

    /// The lines of a world's policy, as a configuration has them, and what it was granted.
    pub fn policy(&mut self, name: &str) -> Result<Vec<String>, Error> {
        match self.ask(&Request::Policy { name: name.into() }, PROMPT)? {
            Answer::Policy(lines) => Ok(lines),
            _ => Err(Error::Unexpected),
        }
    }

    /// Sees from now on what the worlds of a pattern send and are sent: receive, and read [`Record::sights`](crate::Record::sights). Payloads are
    /// shown as far as the worlds' configuration lets them be. One tap at a time: this is in place of what was tapped before.
    pub fn tap(&mut self, pattern: &str, payload: bool) -> Result<(), Error> {
        self.done(&Request::Tap { pattern: pattern.into(), payload })
    }

    /// Sees nothing of others any more.
    pub fn untap(&mut self) -> Result<(), Error> {
        self.done(&Request::Untap)
    }

    /// What happened in the broker, and what those worlds printed that this one may inspect, from the line of this number on, as many lines as one
    /// answer takes. Nothing, if nothing has since.
    pub fn log(&mut self, from: u64) -> Result<Vec<LogLine>, Error> {
        match self.ask(&Request::Log { from }, PROMPT)? {
            Answer::Log(lines) => Ok(lines),
            _ => Err(Error::Unexpected),
        }
    }

    pub(crate) fn done(&mut self, request: &Request) -> Result<(), Error> {
        match self.ask(request, PROMPT)? {
            Answer::Done => Ok(()),
            _ => Err(Error::Unexpected),
        }
    }

    fn world(&mut self, request: &Request) -> Result<(WorldId, Name), Error> {
        match self.ask(request, PROMPT)? {
            Answer::World { id, name } => Ok((WorldId(id), name.parse()?)),
            _ => Err(Error::Unexpected),
        }
    }

    fn ended(&mut self, request: &Request, timeout: Duration) -> Result<Ended, Error> {
        match self.ask(request, timeout)? {
            Answer::Ended(ended) => Ok(ended),
            _ => Err(Error::Unexpected),
        }
    }

    /// Asks the control service anything and waits for its answer.
    pub fn ask(&mut self, request: &Request, timeout: Duration) -> Result<Answer, Error> {
        let reply = self.request(WorldId::CONTROL, &request.encode(), timeout)?;
        match Answer::decode(&reply.payload)? {
            Answer::Refused(why) => Err(Error::Refused(why)),
            answer => Ok(answer),
        }
    }
}
