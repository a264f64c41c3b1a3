//! Paths of the host that a world is granted: there from its next start on, and gone with the end of a life.
//!
//! A jail that stands is not added to, and what a process has open can't be taken back from outside. So a grant waits for the next life of its
//! world, and the life that has the path ends when the grant does. A version that comes up beside its holder has the path, too, and holds the
//! grant from when it takes over.

use super::super::Supervisor;
use super::super::heirs::Farewell;
use super::{Grant, State};
use crate::config::Wake;
use crate::policy::Resource;
use std::time::Duration;
use strait_jail::{Access, Bind};
use strait_protocol::WorldId;
use strait_protocol::control::Answer;

/// The longest that a life whose grant is over has to end. Its own grace may be shorter.
const LONGEST_GRACE: Duration = Duration::from_secs(3);

impl Grant {
    /// The next life of its world has it.
    pub(super) fn waits_for_start(&self) -> bool {
        matches!(self.resource, Resource::Path(_)) && !self.lives.contains(&self.world)
    }

    /// Whether a world holds this, or has the path of it.
    pub(super) fn concerns(&self, world: WorldId) -> bool {
        self.world == world || self.lives.contains(&world)
    }

    /// Whether who has it has this. A path below is another one: something else may be attached there.
    pub(super) fn gives(&self, asked: &Resource) -> bool {
        let is_same_place = match (&self.resource, asked) {
            (Resource::Path(own), Resource::Path(asked)) => own.target == asked.target,
            _ => true,
        };
        is_same_place && self.resource.covers(asked)
    }

    /// It outlasts the life that it was granted to.
    pub(super) fn outlasts_life(&self) -> bool {
        matches!((&self.resource, &self.state), (Resource::Path(_), State::InForce))
    }
}

impl Supervisor {
    /// A life begins: the paths that it is granted, in the order in which they were. A version that comes up beside its predecessor has
    /// what that one is granted, as far as it may ask for it.
    pub(in super::super) fn begin_granted_paths(&mut self, world: WorldId) -> Vec<Bind> {
        let Some(entry) = self.worlds.get_mut(&world) else { return Vec::new() };
        let holder = entry.beside.as_ref().map_or(world, |beside| beside.old);
        let mut binds = Vec::new();
        let granted = self.grants.granted.iter_mut();
        for (number, grant) in granted.filter(|(_, grant)| grant.world == holder && grant.outlasts_life()) {
            let Resource::Path(path) = &grant.resource else { continue };
            if holder != world && entry.policy.ask(&grant.resource).is_err() {
                continue;
            }
            let access = if path.is_writable { Access::ReadWrite } else { Access::ReadOnly };
            let (source, target) = (path.source.clone(), path.target.clone());
            // A world chose it, and whoever granted it saw no more than its text.
            binds.push(Bind { source, target, access, follows_links: false });
            grant.lives.push(world);
            entry.policy.grant(*number, &grant.resource);
        }
        binds
    }

    /// A version takes over, or is all that is left: it holds the paths that its predecessor was granted, as far as it may ask for them.
    pub(in super::super) fn pass_paths_on(&mut self, old: WorldId, new: WorldId) {
        let Some(entry) = self.worlds.get(&new) else { return };
        let of_old = self.grants.granted.values_mut().filter(|grant| grant.world == old && grant.outlasts_life());
        of_old.filter(|grant| entry.policy.ask(&grant.resource).is_ok()).for_each(|grant| grant.world = new);
    }

    /// A grant of a path is over: at once if no life has it yet, else when the lives that have it have ended.
    pub(super) fn close_path(&mut self, number: u64) {
        let Some(grant) = self.grants.granted.get(&number) else { return };
        let (world, lives) = (grant.world, grant.lives.clone());
        let reason = format!("its grant of `{}` is over", grant.resource);
        if lives.is_empty() {
            return self.drop_grant(number, &Answer::Done);
        }
        // A version that comes up has taken nothing over yet, and the one before begins anew instead.
        if let Some(new) = self.comes_up_beside(world).filter(|_| lives.contains(&world)) {
            self.kill(new, &reason);
        }
        for life in lives {
            self.end_life_with_path(life, life == world, &reason);
        }
    }

    fn end_life_with_path(&mut self, world: WorldId, is_holder: bool, reason: &str) {
        let Some(entry) = self.worlds.get(&world).filter(|entry| !entry.was_killed) else { return };
        if entry.beside.is_some() {
            return self.kill(world, reason);
        }
        let deadline = Duration::from_millis(entry.grace_ms.into()).min(LONGEST_GRACE);
        // One that sleeps otherwise is woken by what comes; any other goes on without the path, with its id and what waits for it.
        let farewell = Farewell { deadline, reason: reason.into() };
        // Not by what it rests on: one that begins anew has that, too, until it is launched.
        let sleeps = entry.world.as_ref().is_some_and(|world| world.wake == Wake::Message);
        if !is_holder || sleeps || self.begin_anew(world, None, &farewell).is_err() {
            // Or it is ending already, perhaps with more time than this.
            self.begin_stop(world, None, deadline, &farewell.reason);
        }
    }

    /// A life is over, and with it what it had of paths.
    pub(super) fn end_paths_of(&mut self, world: WorldId) {
        self.grants.granted.values_mut().for_each(|grant| grant.lives.retain(|life| *life != world));
    }

    /// A world's next life has another configuration: what that doesn't let it ask for isn't granted to it any more.
    pub(in super::super) fn end_grants_beyond_policy(&mut self, world: WorldId) {
        self.end_paths_of(world);
        let Some(entry) = self.worlds.get(&world) else { return };
        let is_beyond = |grant: &Grant| grant.world == world && entry.policy.ask(&grant.resource).is_err();
        let beyond = self.grants.granted.iter().filter(|(_, grant)| is_beyond(grant) && grant.outlasts_life());
        for number in beyond.map(|(number, _)| *number).collect::<Vec<_>>() {
            self.drop_or_close_grant(number);
        }
    }

    /// What the jail report says of them.
    pub(in super::super) fn granted_paths(&self, world: WorldId) -> Vec<String> {
        let of_world = self.grants.granted.iter().filter(|(_, grant)| grant.concerns(world) && grant.outlasts_life());
        let when = |grant: &Grant| if grant.lives.contains(&world) { "" } else { ", from its next start on" };
        of_world.map(|(number, grant)| format!("{} (grant {number}{})", grant.resource, when(grant))).collect()
    }
}
