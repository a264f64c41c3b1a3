//! Grants in force: how each takes effect, and how that ends.

use super::super::entry::Entry;
use super::super::{Supervisor, log};
use super::{Grant, MAX_CHANGING, MAX_WAITERS, State};
use crate::link::Command;
use crate::policy::Resource;
use crate::quantity;
use std::time::Instant;
use strait_jail::DEFAULT_MEMORY_BYTES;
use strait_protocol::control::{Answer, MAX_GRANTS_PER_ANSWER};
use strait_protocol::{Header, WorldId};

impl Grant {
    pub(super) fn new(
        world: WorldId,
        resource: Resource,
        until: Option<Instant>,
        by: String,
        answered: Vec<Header>,
    ) -> Self {
        Self { world, resource, until, by, state: State::Opening(answered), lives: Vec::new() }
    }

    pub(super) fn is_in_force(&self) -> bool {
        matches!(self.state, State::InForce)
    }
}

impl Supervisor {
    /// So that neither side of the link waits for the other.
    pub(super) fn check_room_for_change(&self) -> Result<(), String> {
        match self.grants.changing() < MAX_CHANGING {
            true => Ok(()),
            false => Err(format!("{MAX_CHANGING} grants are being changed at this moment: try again")),
        }
    }

    /// Has a grant take effect: at once, or when the switch says so.
    pub(super) fn open_grant(&mut self, number: u64, grant: Grant) {
        let (world, resource) = (grant.world, grant.resource.clone());
        self.grants.granted.insert(number, grant);
        let done = match &resource {
            Resource::Reach(way, to) => {
                let permit = Command::Permit { grant: number, world: world.0, way: *way, to: to.to_string() };
                return self.tell_or_end(permit);
            }
            Resource::Memory(_) | Resource::Cpu(_) => self.set_limit(world, &resource),
            Resource::Command(_)
            | Resource::Network(_)
            | Resource::Path(_)
            | Resource::Publish(_)
            | Resource::Subscribe(_) => Ok(()),
        };
        match done {
            Ok(()) => self.take_permitted(number),
            Err(why) => self.drop_grant(number, &Answer::Denied { why }),
        }
    }

    /// A grant is in force: those who wait for that are answered.
    pub(in super::super) fn take_permitted(&mut self, number: u64) {
        let Some(grant) = self.grants.granted.get_mut(&number) else { return };
        // Otherwise it was revoked before it began.
        let State::Opening(answered) = &mut grant.state else { return };
        let answered = std::mem::take(answered);
        grant.state = State::InForce;
        let Some(entry) = self.worlds.get_mut(&grant.world) else { return };
        if !grant.waits_for_start() {
            entry.policy.grant(number, &grant.resource);
        }
        let answer = Answer::Granted(grant.row(number, &entry.name));
        for header in &answered {
            self.answer(header, &answer);
        }
    }

    /// Takes a grant back. Who asked for that is answered when nothing goes on under it any more.
    pub(in super::super) fn revoke(&mut self, asker: &Header, number: u64) -> Result<(), String> {
        let Some(grant) = self.grants.granted.get_mut(&number) else {
            return Err(format!("there is no grant {number}: `strait grants` lists those there are"));
        };
        if let State::Closing(waiters) = &mut grant.state {
            if waiters.len() >= MAX_WAITERS {
                return Err(format!("{MAX_WAITERS} wait for the end of grant {number} already"));
            }
            waiters.push(*asker);
            return Ok(());
        }
        if grant.is_in_force() {
            self.check_room_for_change()?;
        }
        self.close_grant(number, Some(*asker));
        Ok(())
    }

    fn close_grant(&mut self, number: u64, asker: Option<Header>) {
        let Some(grant) = self.grants.granted.get_mut(&number) else { return };
        let closing = State::Closing(asker.into_iter().collect());
        let before = std::mem::replace(&mut grant.state, closing);
        let (world, resource) = (grant.world, grant.resource.clone());
        for id in grant.lives.iter().chain([&world]) {
            self.worlds.entry(*id).and_modify(|entry| entry.policy.revoke(number));
        }
        if let State::Opening(waiting) = before {
            let revoked = Answer::Denied { why: "it was revoked before it began".into() };
            waiting.iter().for_each(|header| self.answer(header, &revoked));
        }
        match resource {
            Resource::Reach(..) => return self.tell_or_end(Command::Revoke { grant: number, world: world.0 }),
            Resource::Path(_) => return self.close_path(number),
            Resource::Network(_) => return self.close_network(world),
            Resource::Publish(_) | Resource::Subscribe(_) => return self.close_feed(number),
            _ => {}
        }
        if let Err(why) = self.set_limit(world, &resource) {
            self.kill(world, &format!("its grant of `{resource}` is over, and it can't be taken back: {why}"));
        }
        self.drop_grant(number, &Answer::Done);
    }

    /// The switch says that nothing goes on under a grant any more, but for a link that one side didn't end in time: then its world ends, and
    /// whoever revoked it is answered after that.
    pub(in super::super) fn take_revoked(&mut self, number: u64, is_late: bool) {
        let Some(grant) = self.grants.granted.get(&number) else { return };
        match is_late {
            true => self.kill(grant.world, "it was told to end a link, whose grant was revoked, and didn't"),
            false => self.drop_grant(number, &Answer::Done),
        }
    }

    pub(super) fn drop_grant(&mut self, number: u64, answer: &Answer) {
        let Some(grant) = self.grants.granted.remove(&number) else { return };
        if let State::Opening(waiters) | State::Closing(waiters) = grant.state {
            waiters.iter().for_each(|header| self.answer(header, answer));
        }
    }

    /// Those grants of a world that were revoked are over.
    pub(in super::super) fn drop_closing(&mut self, world: WorldId, which: impl Fn(&Resource) -> bool) {
        let is_closing = |grant: &Grant| grant.world == world && matches!(grant.state, State::Closing(_));
        let over = self.grants.granted.iter().filter(|(_, grant)| is_closing(grant) && which(&grant.resource));
        for number in over.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.drop_grant(number, &Answer::Done);
        }
    }

    /// Topics that it doesn't let its world publish on, or hear, any more are told to the switch; then who revoked it is answered.
    fn close_feed(&mut self, number: u64) {
        let Some(Grant { world, state: State::Closing(waiters), .. }) = self.grants.granted.remove(&number) else {
            return;
        };
        self.is_over |= self.end_feeds_without_leave(world).is_err();
        for waiter in &waiters {
            self.is_over |= self.answer_when_done(waiter, Answer::Done).is_err();
        }
    }

    /// A life is over, and with it what it asked for and was granted; what is granted to its world's next one stays, if there is one.
    pub(in super::super) fn forget_grants(&mut self, world: WorldId, goes_on: bool) {
        self.grants.questions.retain(|_, question| question.asker.source != world);
        self.forget_dials(world);
        self.end_paths_of(world);
        if let Some(new) = self.comes_up_beside(world).filter(|_| !goes_on) {
            self.pass_paths_on(world, new);
        }
        let is_over = |grant: &Grant| match (&grant.resource, &grant.state) {
            // Revoked: when the last life that has it has ended.
            (Resource::Path(_), State::Closing(_)) => grant.lives.is_empty(),
            _ => grant.world == world && !(goes_on && grant.outlasts_life()),
        };
        let held = self.grants.granted.iter().filter(|(_, grant)| is_over(grant));
        for number in held.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.drop_or_close_grant(number);
        }
    }

    /// Nobody holds a grant any more: it is gone at once, or when the lives that have its path beside the one that is over have ended, too.
    pub(super) fn drop_or_close_grant(&mut self, number: u64) {
        match self.grants.granted.get(&number).is_some_and(|grant| grant.lives.is_empty()) {
            true => self.drop_grant(number, &Answer::Done),
            false => self.close_grant(number, None),
        }
    }

    /// Ends the grants whose time is over: as many as the switch can be told of now.
    pub(in super::super) fn end_expired_grants(&mut self, now: Instant) {
        let room = MAX_CHANGING.saturating_sub(self.grants.changing());
        let is_over = |grant: &Grant| grant.is_in_force() && grant.until.is_some_and(|until| until <= now);
        let expired = self.grants.granted.iter().filter(|(_, grant)| is_over(grant)).take(room);
        for number in expired.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.close_grant(number, None);
        }
    }

    pub(in super::super) fn list_grants(&mut self, asker: &Header, from: u64) {
        let in_force = self.grants.granted.range(from..).filter(|(_, grant)| grant.is_in_force());
        let mut rows = in_force
            .filter_map(|(number, grant)| self.worlds.get(&grant.world).map(|entry| grant.row(*number, &entry.name)));
        let granted = rows.by_ref().take(MAX_GRANTS_PER_ANSWER).collect();
        let more = rows.next().is_some();
        self.answer(asker, &Answer::Grants { granted, more });
    }

    /// Whether somebody holds this grant.
    pub(in super::super) fn holds_grant(&self, world: WorldId, number: u64) -> bool {
        self.grants.granted.get(&number).is_some_and(|grant| grant.world == world)
    }

    /// Sets a limit to the largest of what a world has by its configuration and by its grants.
    fn set_limit(&self, world: WorldId, resource: &Resource) -> Result<(), String> {
        let Some(entry) = self.worlds.get(&world) else { return Ok(()) };
        let granted = self
            .grants
            .granted
            .values()
            .filter(|grant| grant.world == world && !matches!(grant.state, State::Closing(_)));
        let granted = granted.map(|grant| &grant.resource);
        let process = entry.process.as_ref().ok_or("it doesn't run");
        let set = match resource {
            Resource::Memory(_) => {
                let most =
                    granted.filter_map(|grant| if let Resource::Memory(bytes) = grant { Some(*bytes) } else { None });
                process?.set_memory(most.fold(entry.memory_bytes(), u64::max))
            }
            Resource::Cpu(_) => {
                let most = granted
                    .filter_map(|grant| if let Resource::Cpu(permille) = grant { Some(*permille) } else { None });
                process?.set_cpu(most.fold(entry.limits.cpu.unwrap_or(0), u32::max))
            }
            _ => return Ok(()),
        };
        set.map_err(|error| error.to_string())
    }

    /// Without a switch there is nothing to grant.
    fn tell_or_end(&mut self, command: Command) {
        if let Err(why) = self.tell_switch(&[command]) {
            log(&format!("{why}; every world ends"));
            self.is_over = true;
        }
    }
}

impl Entry {
    fn memory_bytes(&self) -> u64 {
        self.limits.memory.unwrap_or(DEFAULT_MEMORY_BYTES)
    }

    /// By which limit a world has this much already, without a grant.
    pub(super) fn has_limit(&self, resource: &Resource) -> Option<String> {
        match resource {
            Resource::Memory(bytes) if *bytes <= self.memory_bytes() => {
                Some(format!("limits.memory = \"{}\"", quantity::bytes_text(self.memory_bytes())))
            }
            Resource::Cpu(permille) => match self.limits.cpu {
                None => Some("no limit on its processor time".into()),
                Some(has) if *permille <= has => Some(format!("limits.cpu = {}", f64::from(has) / 1000.0)),
                Some(_) => None,
            },
            _ => None,
        }
    }
}
