//! New versions of worlds. The old one is told that it is to save its state and end; what comes meanwhile waits in order, as for any world that
//! sleeps; the new one has the same name and id, and gets what the old one hadn't taken.

use super::Supervisor;
use super::entry::{Entry, State};
use super::rest::Rest;
use crate::config::World;
use crate::policy::Policy;
use rustix::event::epoll;
use std::time::Duration;
use strait_protocol::{Header, WorldId};

/// A version that is to take over.
#[derive(Debug)]
pub(super) struct Heir {
    pub world: World,
    pub template: Option<String>,
    /// Who is answered when its program runs.
    pub asked_by: Header,
}

impl Entry {
    /// Whether this version can take over now, or why not.
    fn check_heir(&self, heir: &World) -> Result<Policy, String> {
        if self.state >= State::Stopping || self.heir.is_some() {
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
    pub(super) fn begin_upgrade(
        &mut self,
        id: WorldId,
        heir: Heir,
        deadline: Duration,
        reason: &str,
    ) -> Result<(), String> {
        let entry = self.worlds.get(&id).ok_or("it is gone")?;
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
            false => self.begin_stop(id, None, deadline, reason),
        }
        Ok(())
    }

    /// The old version is gone: the switch takes fresh slices; then comes [`begin_succession`](Self::begin_succession).
    pub(super) fn succeed(&mut self, id: WorldId) {
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        let Some(heir) = entry.heir.take() else { return };
        let _ = epoll::delete(&self.epoll, entry.channel.wakeup());
        // Judged good before.
        let _ = entry.adopt(&heir.world);
        entry.template = heir.template;
        entry.rest = Some(Rest::of_heir(heir.world, heir.asked_by));
        self.renew(id, false);
    }

    /// Everything that the old version said is delivered, and what it has left waits: the new one starts.
    pub(super) fn begin_succession(&mut self, id: WorldId, asker: Header) {
        if self.worlds.get(&id).is_some_and(|entry| entry.exit.is_some()) {
            self.conclude(id, true);
        }
        let Some(entry) = self.worlds.get_mut(&id) else { return };
        entry.forget_life();
        entry.asked_by = Some(asker);
        self.stand_in(id);
        self.rouse(id);
    }
}
