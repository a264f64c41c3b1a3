//! New versions of worlds, in two ways.
//!
//! One after the other: the old one is told that it is to save its state and end; what comes meanwhile waits in order, as for any world that
//! sleeps; the new one has the same name and id, and gets what the old one hadn't taken.
//!
//! One beside the other: the new one starts while the old one goes on, with an id of its own. Once it is ready it has the name, the switch gives it what is
//! sent to the old one's id (`switch/forward.rs`), and the old one finishes what it has.
//!
//! To begin a world anew (`strait restart`) is the first way, with the configuration that it has.

use super::Supervisor;
use super::entry::{Entry, Order, State};
use super::rest::Rest;
use crate::config::World;
use crate::link::Command;
use crate::policy::Policy;
use rustix::event::epoll;
use std::rc::Rc;
use std::time::{Duration, Instant};
use strait_protocol::control::{Answer, Wanted};
use strait_protocol::{Header, WorldId};

/// How long a version may take to be ready that is to take over from one beside it.
const READY: Duration = Duration::from_secs(10);

/// A version that is to take over.
#[derive(Debug)]
pub(super) struct Heir {
    pub world: World,
    pub template: Option<String>,
    /// Who is answered when its program runs.
    pub asked_by: Option<Header>,
    /// What the running one is told: to make way for another version, or only to end.
    pub notice: Wanted,
}

/// What an old version is told.
#[derive(Debug)]
pub(super) struct Farewell {
    pub deadline: Duration,
    pub reason: String,
}

/// Of a version that runs beside the old one until it is ready.
#[derive(Debug)]
pub(super) struct Beside {
    pub old: WorldId,
    pub ready_by: Instant,
    farewell: Farewell,
    pub asked_by: Option<Header>,
}

impl Entry {
    /// Whether this version can take over now, or why not.
    fn check_heir(&self, heir: &World) -> Result<Policy, String> {
        if self.state >= State::Stopping {
            return Err(format!("`{}` is ending: try again when it has", self.name));
        }
        // What waits in the one inbox must fit the other.
        let bytes = u64::from(self.channel.inbox.size().bytes());
        if heir.slice < bytes {
            return Err(format!(
                "`slice` can't be {}: that of `{}` is {bytes}, and what waits there must fit",
                heir.slice, self.name
            ));
        }
        heir.check().and_then(|()| Policy::of_world(heir)).map_err(|error| error.to_string())
    }
}

impl Supervisor {
    /// Tells a world to make way for a new version. Whoever asks is answered when that runs, or why it doesn't.
    pub(super) fn begin_upgrade(&mut self, id: WorldId, heir: Heir, farewell: &Farewell) -> Result<(), String> {
        let entry = self.worlds.get(&id).ok_or("it is gone")?;
        // Its next life would be one that nothing is sent to any more, without the name.
        self.check_not_replaced(entry)?;
        let policy = entry.check_heir(&heir.world)?;
        if policy.role != entry.policy.role {
            self.check_role(&policy)?;
        }
        if heir.world.snapshots > 0 {
            self.ensure_store()?;
        }
        let Some(entry) = self.worlds.get_mut(&id) else { return Err("it is gone".into()) };
        entry.heir = Some(Box::new(heir));
        match entry.state == State::Asleep {
            true => self.succeed(id),
            false => self.begin_stop(id, None, farewell.deadline, &farewell.reason),
        }
        Ok(())
    }

    /// Has a world that runs begin anew, with the configuration that it has.
    pub(super) fn begin_anew(
        &mut self,
        id: WorldId,
        asked_by: Option<Header>,
        farewell: &Farewell,
    ) -> Result<(), String> {
        let entry = self.worlds.get(&id).ok_or("it is gone")?;
        let world = entry.world.as_deref().cloned();
        let world =
            world.ok_or_else(|| format!("`{}` is no world in a jail: who started it restarts it", entry.name))?;
        let heir = Heir { world, template: entry.template.clone(), asked_by, notice: Wanted::Shutdown };
        self.begin_upgrade(id, heir, farewell)
    }

    /// Whether no version is about to take over from a world.
    pub(super) fn check_not_replaced(&self, old: &Entry) -> Result<(), String> {
        match old.heir.is_some() || self.comes_up_beside(old.id).is_some() {
            true => Err(format!("`{}` is being replaced: try again when it has been", old.name)),
            false => Ok(()),
        }
    }

    /// The version that is to take over from a world beside which it comes up.
    pub(super) fn comes_up_beside(&self, old: WorldId) -> Option<WorldId> {
        let is_of_old = |new: &&Entry| !new.was_killed && new.beside.as_ref().is_some_and(|beside| beside.old == old);
        self.worlds.values().find(is_of_old).map(|new| new.id)
    }

    /// Starts a new version beside a world that runs. Whoever asked is answered when it is ready and gets what comes, or why it isn't: then
    /// the old one goes on as if nothing had been.
    pub(super) fn begin_beside(&mut self, old: WorldId, heir: Heir, farewell: Farewell) -> Result<(), String> {
        let entry = self.worlds.get(&old).ok_or("it is gone")?;
        self.check_not_replaced(entry)?;
        if entry.state >= State::Stopping {
            return Err(format!("`{}` is ending: try again when it has", entry.name));
        }
        let Heir { world, template, asked_by, .. } = heir;
        let (name, account) = (entry.name.clone(), entry.account.clone());
        let order = Order { name, world, template, asked_by: None, account };
        let id = self.enter_beside(order)?;
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.beside = Some(Beside { old, ready_by: Instant::now() + READY, farewell, asked_by });
        }
        self.start_life(id).inspect_err(|_| {
            if let Some(entry) = self.worlds.get_mut(&id) {
                entry.beside = None;
            }
            self.judge_origin(id);
            self.detach(id);
        })
    }

    /// A version that runs beside the old one is ready: the switch is to give it what is sent to either; then comes
    /// [`take_forwarded`](Self::take_forwarded).
    pub(super) fn take_over(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get(&id) else { return };
        let Some(beside) = &entry.beside else { return };
        if self.names.get(&entry.name).is_some_and(|holder| *holder != beside.old) {
            return self.kill(id, "its name is another world's by now");
        }
        let command = Command::Forward { from: beside.old.0, to: id.0 };
        self.is_over |= self.link.tell(&command, &[]).is_err();
    }

    /// Nothing more comes for the old version: it is told to end, behind everything that it was sent before.
    pub(super) fn take_forwarded(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        // It is ending meanwhile: then the old one goes on, has what is sent to either again, and who asked is told with that end.
        if let Some(beside) = entry.beside.as_ref().filter(|_| entry.was_killed || entry.state >= State::Stopping) {
            let command = Command::Forward { from: id.0, to: beside.old.0 };
            self.is_over |= self.link.tell(&command, &[]).is_err();
            return;
        }
        let Some(Beside { old, farewell, asked_by, .. }) = entry.beside.take() else { return };
        let name = entry.name.clone();
        self.names.insert(name.clone(), id);
        self.tell_store_of_end(old);
        self.pass_paths_on(old, id);
        self.end_for_good(old, &farewell);
        asked_by.iter().for_each(|asker| self.answer(asker, &Answer::World { id: id.0, name: name.to_string() }));
    }

    /// Whatever an old version would do after this life, it ends.
    fn end_for_good(&mut self, old: WorldId, farewell: &Farewell) {
        let Some(entry) = self.worlds.get_mut(&old) else { return };
        match entry.state == State::Asleep {
            true => self.forget_sleeper(old, "slept, and a newer version took over"),
            false => {
                entry.rest = None;
                self.begin_stop(old, None, farewell.deadline, &farewell.reason);
            }
        }
    }

    /// The old version is gone: the switch takes fresh slices; then comes [`begin_succession`](Self::begin_succession).
    pub(super) fn succeed(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Some(heir) = entry.heir.take() else { return };
        let _ = epoll::delete(&self.epoll, entry.channel.wakeup());
        // What the old version still asks is judged as its own, until the new one is told of.
        let former = entry.policy.clone();
        // Judged good before.
        let _ = entry.adopt(&heir.world);
        entry.template = heir.template;
        entry.rest = Some(Rest::of_heir(&heir.world, heir.asked_by));
        entry.world = Some(Rc::new(heir.world));
        self.end_grants_beyond_policy(id);
        self.renew(id, false);
        if let Some(entry) = self.worlds.get_mut(&id) {
            entry.policy = former;
        }
    }

    /// Everything that the old version said is delivered, and what it has left waits: the new one starts.
    pub(super) fn begin_succession(&mut self, id: WorldId, asker: Option<Header>) {
        let has_lived = self.worlds.get(&id).is_some_and(|entry| entry.exit.is_some());
        let before = if has_lived { self.conclude(id, true) } else { None };
        if !has_lived {
            // One that didn't come to life may have been to have a path that was revoked meanwhile.
            self.forget_grants(id, true);
        }
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        entry.forget_life();
        entry.before = before;
        entry.asked_by = asker;
        self.stand_in(id);
        self.rouse(id, true);
    }
}
