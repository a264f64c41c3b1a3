//! The control service, `strait.control`: a world like any other to the switch, with the supervisor behind it.

use super::entry::{Entry, Nature, Order, State};
use super::{Supervisor, log};
use crate::config::{Permission, World};
use crate::link::{Command, Count};
use std::time::Duration;
use strait_protocol::control::{Answer, MAX_REQUEST_BYTES, MAX_WORLDS_PER_ANSWER, Request, WorldRow};
use strait_protocol::{Header, Kind, Name, WorldId};

/// Records that are answered before the supervisor looks at what else there is.
const MAX_IN_ONE_GO: u32 = 64;
/// Lists that may wait for the switch's counters: so few that questions and answers always fit into the link, and neither side of it
/// waits for the other.
const MAX_COUNTS: usize = 16;

impl Supervisor {
    /// Answers what has arrived, up to a bound: worlds that ask without end must not keep the supervisor from its other work.
    pub(super) fn serve(&mut self) {
        self.is_behind = true;
        for _ in 0..MAX_IN_ONE_GO {
            // Nothing is gathered here: what comes in pieces is no request, and each of them counts.
            let (header, payload) = match self.control.try_receive_piece() {
                Ok(Some(record)) if record.payload().len() > MAX_REQUEST_BYTES => (record.header(), None),
                Ok(Some(record)) => (record.header(), Some(record.payload().to_vec())),
                Ok(None) => {
                    self.is_behind = false;
                    return;
                }
                Err(error) => {
                    log(&format!("the control service is cut off: {error}"));
                    self.is_over = true;
                    return;
                }
            };
            match header.kind {
                Kind::Request => self.serve_one(&header, payload.as_deref()),
                Kind::Reply => self.take_acknowledgement(&header),
                Kind::Message | Kind::Notice | Kind::Multicast => {}
            }
        }
    }

    fn serve_one(&mut self, asker: &Header, payload: Option<&[u8]>) {
        let request = match payload.map(Request::decode) {
            Some(Ok(request)) => request,
            Some(Err(error)) => return self.answer(asker, &Answer::Refused(error.to_string())),
            None => {
                return self
                    .answer(asker, &Answer::Refused(format!("a request has at most {MAX_REQUEST_BYTES} bytes")));
            }
        };
        if let Err(why) = self.judge(asker, request) {
            self.answer(asker, &Answer::Refused(why));
        }
    }

    /// Does what is asked if the asker may. An `Ok` is answered here or later, an `Err` by the caller.
    fn judge(&mut self, asker: &Header, request: Request) -> Result<(), String> {
        let Some(who) = self.worlds.get(&asker.source) else { return Err("you are no world".into()) };
        match request {
            Request::Resolve { name } => self.resolve(asker, &name),
            Request::List { from, limit } => {
                allow(who.may(|p| *p == Permission::List), "list")?;
                self.list(asker, from, limit)
            }
            Request::Start { template, name } => {
                allow(who.may(|p| *p == Permission::Start(template.clone())), &format!("start {template}"))?;
                self.start(asker, &template, name.as_deref())
            }
            Request::Spawn { specification } => {
                allow(who.may(|_| false), "admin")?;
                let (name, world): (String, World) =
                    serde_json::from_str(&specification).map_err(|error| error.to_string())?;
                let name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
                self.begin(Order { name, world, template: None, asked_by: Some(*asker) }).map(drop)
            }
            Request::Stop { name, deadline_ms, reason } => {
                let target = self.find(&name)?;
                allow(
                    who.may(|p| matches!(p, Permission::Stop(names) if names.covers(&target.name))),
                    &format!("stop {name}"),
                )?;
                if target.nature == Nature::Service {
                    return Err(format!("`{name}` is part of the system"));
                }
                let id = target.id;
                self.begin_stop(id, Some(*asker), Duration::from_millis(deadline_ms.into()), &reason);
                Ok(())
            }
            Request::Unlink { one, other } => {
                allow(who.may(|_| false), "admin")?;
                self.link
                    .send(&Command::Unlink { one, other }, &[])
                    .map_err(|errno| format!("the switch can't be told: {errno}"))?;
                self.answer(asker, &Answer::Done);
                Ok(())
            }
            Request::Wait { id } => self.wait(asker, WorldId(id)),
            Request::Inspect { name } => {
                let target = self.find(&name)?;
                allow(
                    who.may(|p| matches!(p, Permission::Inspect(names) if names.covers(&target.name))),
                    &format!("inspect {name}"),
                )?;
                let report = inspect(target)?;
                self.answer(asker, &Answer::Report(report));
                Ok(())
            }
        }
    }

    fn find(&self, name: &str) -> Result<&Entry, String> {
        let parsed: Name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
        let id = self.names.get(&parsed).ok_or_else(|| format!("there is no world named `{name}`"))?;
        Ok(&self.worlds[id])
    }

    /// Names are told only to those who may use them: to anybody else a world that exists looks like one that doesn't.
    fn resolve(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let who = &self.worlds[&asker.source];
        let parsed: Name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
        allow(
            who.may(|_| false) || who.send.iter().chain(&who.link).any(|pattern| pattern.covers(&parsed)),
            &format!("send to {name}"),
        )?;
        let id = self.find(name)?.id;
        self.answer(asker, &Answer::World { id: id.0, name: name.into() });
        Ok(())
    }

    fn start(&mut self, asker: &Header, template: &str, name: Option<&str>) -> Result<(), String> {
        let known = || self.config.templates.keys().map(String::as_str).collect::<Vec<_>>().join(", ");
        let world = self.config.templates.get(template).cloned();
        let world = world.ok_or_else(|| format!("there is no template `{template}` (there are: {})", known()))?;
        let is_admin = self.worlds[&asker.source].may(|_| false);
        let name = match name {
            // Others may not take a name that somebody else is trusted under.
            Some(name) if is_admin || name == template || name.starts_with(&format!("{template}/")) => name.to_owned(),
            Some(name) => {
                return Err(format!("a world from `{template}` is named `{template}` or `{template}/…`, not `{name}`"));
            }
            None => format!("{template}/{}", self.number()),
        };
        let name = name.parse().map_err(|error| format!("`{name}`: {error}"))?;
        let template = Some(template.to_owned());
        self.begin(Order { name, world, template, asked_by: Some(*asker) }).map(drop)
    }

    /// Who may stop a world, or started it, may wait for its end; so may whoever may send to it.
    fn wait(&mut self, asker: &Header, id: WorldId) -> Result<(), String> {
        if let Some(ended) = self.history.iter().find(|ended| ended.id == id.0).cloned() {
            let admin = self.worlds[&asker.source].may(|_| false);
            allow(admin, "admin")?;
            self.answer(asker, &Answer::Ended(ended));
            return Ok(());
        }
        let who = &self.worlds[&asker.source];
        let target = self.worlds.get(&id).ok_or_else(|| format!("there is no world {id}"))?;
        let reaches = who.send.iter().any(|pattern| pattern.covers(&target.name));
        allow(
            reaches || who.may(|p| matches!(p, Permission::Stop(names) if names.covers(&target.name))),
            &format!("stop {}", target.name),
        )?;
        if let Some(target) = self.worlds.get_mut(&id) {
            target.add_waiter(*asker);
        }
        Ok(())
    }

    fn list(&mut self, asker: &Header, from: u64, limit: u32) -> Result<(), String> {
        if self.counts.len() >= MAX_COUNTS {
            return Err("too many lists are being made: try again".into());
        }
        let limit = limit.clamp(1, MAX_WORLDS_PER_ANSWER) as usize;
        let rows: Vec<WorldRow> =
            self.worlds.range(WorldId(from)..).take(limit + 1).map(|(_, entry)| row(entry)).collect();
        let (more, rows) = (rows.len() > limit, rows.into_iter().take(limit).collect::<Vec<_>>());
        let ticket = self.number();
        let ids = rows.iter().map(|row| row.id).collect();
        self.link
            .send(&Command::Count { ticket, ids }, &[])
            .map_err(|errno| format!("the switch can't be asked: {errno}"))?;
        self.counts.insert(ticket, (*asker, rows, more));
        Ok(())
    }

    pub(super) fn answer_counted(&mut self, ticket: u64, counts: &[Count]) {
        let Some((asker, mut worlds, more)) = self.counts.remove(&ticket) else { return };
        for row in &mut worlds {
            if let Some(count) = counts.iter().find(|count| count.id == row.id) {
                (row.sent, row.received, row.held_bytes) = (count.sent, count.received, count.held_bytes);
                (row.links, row.linked_bytes) = (count.links, count.linked_bytes);
            }
        }
        self.answer(&asker, &Answer::Worlds { worlds, more });
    }

    pub(super) fn answer(&mut self, asker: &Header, answer: &Answer) {
        if let Err(error) = self.control.reply(asker, 0, &answer.encode()) {
            log(&format!("an answer to {} is lost: {error}", asker.source));
        }
    }
}

fn allow(is_allowed: bool, what: &str) -> Result<(), String> {
    match is_allowed {
        true => Ok(()),
        false => Err(format!("policy doesn't let you: it takes `{what}`")),
    }
}

fn inspect(target: &Entry) -> Result<String, String> {
    let process = target.process.as_ref().filter(|_| target.state > State::Starting);
    let process = process.ok_or_else(|| format!("`{}` has no jail to look into", target.name))?;
    let report = process.report().map_err(|error| error.to_string())?;
    serde_json::to_string(&report).map_err(|error| error.to_string())
}

fn row(entry: &Entry) -> WorldRow {
    WorldRow {
        id: entry.id.0,
        name: entry.name.to_string(),
        state: entry.state_text().into(),
        pid: entry.pid,
        uid: entry.uid,
        age_ms: entry.started.elapsed().as_millis() as u64,
        sent: 0,
        received: 0,
        held_bytes: 0,
        links: 0,
        linked_bytes: 0,
    }
}
