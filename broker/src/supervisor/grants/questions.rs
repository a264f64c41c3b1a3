//! Questions: who may ask what, who decides, and until when.

use super::super::entry::{Nature, State as Life};
use super::super::{Supervisor, log};
use super::{Grant, MAX_QUESTIONS, MAX_QUESTIONS_PER_WORLD, Question};
use crate::policy::{Policy, Resource, Role};
use std::time::{Duration, Instant};
use strait_client::Error;
use strait_protocol::control::{ASKED, Answer, Asked, Decision, Granted, MAX_GRANTS_PER_ANSWER, MAX_REASON_BYTES};
use strait_protocol::{Header, Kind, WorldId};

/// Between two lines to the operator that there are questions.
const TELLING: Duration = Duration::from_secs(1);

impl Supervisor {
    /// Takes a question. It is answered when it is decided.
    pub(in super::super) fn ask(
        &mut self,
        asker: &Header,
        resource: &str,
        reason: String,
        deadline_ms: u32,
    ) -> Result<(), String> {
        if reason.len() > MAX_REASON_BYTES {
            return Err(format!("a reason has at most {MAX_REASON_BYTES} bytes, not {}", reason.len()));
        }
        let resource: Resource = resource.parse().map_err(|error: crate::ConfigError| error.to_string())?;
        let entry = &self.worlds[&asker.source];
        entry.policy.ask(&resource).map_err(|missing| missing.to_string())?;
        if let Some(by) = self.has_already(asker.source, &resource) {
            self.answer(asker, &by);
            return Ok(());
        }
        self.can_be_had(asker.source, &resource)?;
        let of_world = self.grants.questions.values().filter(|question| question.asker.source == asker.source);
        if of_world.count() >= MAX_QUESTIONS_PER_WORLD {
            return Err(format!("{MAX_QUESTIONS_PER_WORLD} of your questions wait already: wait for their answers"));
        }
        if self.grants.questions.len() >= MAX_QUESTIONS || !self.grants.has_room_for(asker.source) {
            return Err("there are too many questions or grants: try again later".into());
        }
        let until = Instant::now() + Duration::from_millis(deadline_ms.min(asker.timeout_ms).into());
        let number = self.grants.number();
        self.grants.questions.insert(number, Question { asker: *asker, resource, reason, until, put: None });
        self.put(number);
        Ok(())
    }

    /// The answer to who has already what it asks for: by its policy, or by a grant.
    fn has_already(&self, id: WorldId, resource: &Resource) -> Option<Answer> {
        let entry = self.worlds.get(&id)?;
        let held = self
            .grants
            .granted
            .iter()
            .find(|(_, grant)| grant.world == id && grant.is_in_force() && grant.gives(resource));
        if let Some((number, grant)) = held {
            return Some(Answer::Granted(grant.row(*number, &entry.name)));
        }
        let by = entry.policy.has(resource).map(|line| line.to_string()).or_else(|| entry.has_limit(resource))?;
        let (name, resource) = (entry.name.to_string(), resource.to_string());
        let (number, left_ms, from_next_start) = (0, None, false);
        Some(Answer::Granted(Granted { number, id: id.0, name, resource, left_ms, by, from_next_start }))
    }

    /// Whether there is any sense in asking somebody.
    fn can_be_had(&self, id: WorldId, resource: &Resource) -> Result<(), String> {
        let is_jailed = self.worlds[&id].nature == Nature::Jailed;
        match resource {
            Resource::Network(_) if !is_jailed => Err("you run in no jail, and have the network that you have".into()),
            Resource::Path(_) if !is_jailed => Err("you run in no jail, and see the paths that you see".into()),
            Resource::Memory(_) | Resource::Cpu(_) if !is_jailed => Err("only jailed worlds have limits".into()),
            _ => Ok(()),
        }
    }

    /// One world at a time decides.
    pub(in super::super) fn check_role(&self, policy: &Policy) -> Result<(), String> {
        match self.role_holder().filter(|_| policy.role.is_some()) {
            Some(id) => Err(format!("`{}` has the role `control` already: stop it first", self.worlds[&id].name)),
            None => Ok(()),
        }
    }

    /// The world that decides, if there is one.
    fn role_holder(&self) -> Option<WorldId> {
        let holds = |id: &&WorldId| {
            let entry = &self.worlds[*id];
            entry.policy.role == Some(Role::Control) && entry.state < Life::Stopping
        };
        self.worlds.keys().find(holds).copied()
    }

    /// Puts a question to the world that decides, or leaves it to a person.
    fn put(&mut self, number: u64) {
        let Some(question) = self.grants.questions.get(&number) else { return };
        let (asker, row) = (question.asker.source, question.row(number, &self.worlds[&question.asker.source].name));
        let judge = self.role_holder().filter(|id| *id != asker && self.worlds[id].is_switched);
        let put = judge.and_then(|judge| self.put_to(judge, &row).ok());
        if let Some(question) = self.grants.questions.get_mut(&number) {
            question.put = put;
        }
        if put.is_none() {
            self.tell_operator(&row);
        }
    }

    fn put_to(&mut self, judge: WorldId, asked: &Asked) -> Result<u64, Error> {
        let (correlation, archive) = (self.number(), asked.encode());
        let mut draft = self.control.draft(Kind::Request, judge, archive.len())?;
        draft.payload_mut().copy_from_slice(&archive);
        let header = draft.header_mut();
        (header.code, header.correlation, header.timeout_ms) = (ASKED, correlation, asked.left_ms.max(1));
        draft.send().map(|_| correlation)
    }

    /// Who is to decide is there now: it gets what waits for a person.
    pub(in super::super) fn put_all(&mut self) {
        let waiting = self.grants.questions.iter().filter(|(_, question)| question.put.is_none());
        for number in waiting.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.put(number);
        }
    }

    fn tell_operator(&mut self, row: &Asked) {
        let now = Instant::now();
        if self.grants.told.is_none_or(|told| now - told >= TELLING) {
            self.grants.told = Some(now);
            let Asked { number, name, resource, .. } = row;
            log(&format!("world {name} asks for `{resource}`: `strait grant {number}` or `strait deny {number}`"));
        }
    }

    /// What the world with the role says. True if it was that.
    pub(in super::super) fn take_decision(&mut self, header: &Header, payload: Option<&[u8]>) -> bool {
        let Some(number) = self.question_put(header) else { return false };
        let by = self.worlds.get(&header.source).map_or_else(String::new, |judge| judge.name.to_string());
        match payload.map(Decision::decode) {
            Some(Ok(Decision::Grant { for_ms })) => self.grant(number, for_ms, by, None),
            Some(Ok(Decision::Deny { why })) => self.deny(number, &why),
            Some(Ok(Decision::Leave)) | Some(Err(_)) | None => self.leave(number),
        }
        true
    }

    /// The question that a reply, or a notice of what became of a request, is about.
    fn question_put(&self, header: &Header) -> Option<u64> {
        let put = |(_, question): &(&u64, &Question)| question.put == Some(header.correlation);
        self.grants.questions.iter().find(put).map(|(number, _)| *number)
    }

    /// The world with the role didn't answer: it died, or has no room.
    pub(in super::super) fn take_undecided(&mut self, header: &Header) {
        if let Some(number) = self.question_put(header) {
            self.leave(number);
        }
    }

    /// A person is to decide.
    fn leave(&mut self, number: u64) {
        let Some(question) = self.grants.questions.get_mut(&number) else { return };
        question.put = None;
        let asker = question.asker.source;
        if let Some(entry) = self.worlds.get(&asker) {
            let row = self.grants.questions[&number].row(number, &entry.name);
            self.tell_operator(&row);
        }
    }

    fn deny(&mut self, number: u64, why: &str) {
        if let Some(question) = self.grants.questions.remove(&number) {
            let why: String = why.chars().take(MAX_REASON_BYTES / 4).collect();
            self.answer(&question.asker, &Answer::Denied { why });
        }
    }

    fn grant(&mut self, number: u64, for_ms: Option<u32>, by: String, decider: Option<Header>) {
        let Some(Question { asker, resource, .. }) = self.grants.questions.remove(&number) else { return };
        // Its grants are about to be forgotten, and the switch may have forgotten those that it had.
        if self.worlds.get(&asker.source).is_none_or(|entry| matches!(entry.state, Life::Ending | Life::Asleep)) {
            decider
                .iter()
                .for_each(|header| self.answer(header, &Answer::Denied { why: "its world has ended".into() }));
            return;
        }
        let until = for_ms.map(|ms| Instant::now() + Duration::from_millis(ms.into()));
        let answered = [Some(asker), decider].into_iter().flatten().collect();
        self.open_grant(number, Grant::new(asker.source, resource, until, by, answered));
    }

    /// Somebody who may decides.
    pub(in super::super) fn decide(&mut self, decider: &Header, number: u64, decision: Decision) -> Result<(), String> {
        if !self.grants.questions.contains_key(&number) {
            return Err(format!("no request {number} waits: `strait requests` lists those that do"));
        }
        match decision {
            Decision::Grant { for_ms } => {
                self.check_room_for_change()?;
                let by = self.worlds[&decider.source].name.to_string();
                self.grant(number, for_ms, by, Some(*decider));
                return Ok(());
            }
            Decision::Deny { why } => self.deny(number, &why),
            Decision::Leave => self.leave(number),
        }
        self.answer(decider, &Answer::Done);
        Ok(())
    }

    pub(in super::super) fn list_questions(&mut self, asker: &Header, from: u64) {
        let row = |(number, question): (&u64, &Question)| {
            self.worlds.get(&question.asker.source).map(|entry| question.row(*number, &entry.name))
        };
        let mut rows = self.grants.questions.range(from..).filter_map(row);
        let asked = rows.by_ref().take(MAX_GRANTS_PER_ANSWER).collect();
        let more = rows.next().is_some();
        self.answer(asker, &Answer::Requests { asked, more });
    }

    /// Nobody decided in time.
    pub(in super::super) fn end_late_questions(&mut self, now: Instant) {
        let late = self.grants.questions.iter().filter(|(_, question)| question.until <= now);
        for number in late.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.deny(number, "nobody decided by the deadline");
        }
    }
}
