//! States: who may have them saved and see which there are; and what the store must know.

use super::super::Supervisor;
use super::super::entry::{Entry, Nature, State};
use super::names::parse;
use crate::policy::Permission;
use std::time::Duration;
use strait_protocol::control::{Answer, Keeping};
use strait_protocol::store::Operation;
use strait_protocol::{Header, Pattern, WorldId};

impl Supervisor {
    pub(super) fn snapshot(
        &mut self,
        asker: &Header,
        name: &str,
        deadline_ms: u32,
        reason: &str,
    ) -> Result<(), String> {
        let target = self.find(asker, name, Permission::Snapshot)?;
        if target.nature != Nature::Jailed || target.snapshots == 0 {
            return Err(format!("nothing is kept of `{name}`: its configuration needs `snapshots = 1` or more"));
        }
        if target.state != State::Ready {
            return Err(format!("`{name}` is {}: it can't be told to save its state", target.state_text()));
        }
        self.ask_for_snapshot(target.id, asker, Duration::from_millis(deadline_ms.into()), reason)
    }

    /// Those of a world that doesn't run are listed too.
    pub(super) fn snapshots(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        let name = parse(name)?;
        self.allow(asker, &Permission::Snapshot(Pattern::Exactly(name.clone())))?;
        self.ask_store_for(asker, Operation::List, name.as_str())
    }

    /// What is gone doesn't come back: for who may everything.
    pub(super) fn clear_states(&mut self, asker: &Header, name: &str) -> Result<(), String> {
        self.allow_admin(asker)?;
        self.ask_store_for(asker, Operation::Clear, parse(name)?.as_str())
    }

    /// For the store, which asks about each world that asks it for something.
    pub(super) fn keeping(&mut self, asker: &Header, id: WorldId) -> Result<(), String> {
        if asker.source != WorldId::STORE {
            return Err("that is for `strait.store` alone".into());
        }
        let entry = self.worlds.get(&id).ok_or_else(|| format!("there is no world {id}"))?;
        let (name, versions, bytes) = (entry.name.to_string(), entry.snapshots, entry.snapshot_bytes);
        if versions == 0 {
            return Err(format!("nothing is kept of `{name}`: its configuration needs `snapshots = 1` or more"));
        }
        let share_bytes = entry.world.as_ref().map_or(0, |world| world.share_of_states());
        let refusal = self.refusal_to_save(entry).map(Into::into);
        self.answer(asker, &Answer::Keeping(Keeping { name, versions, bytes, share_bytes, refusal }));
        Ok(())
    }

    /// Of two versions side by side one saves: that which has the name.
    fn refusal_to_save(&self, entry: &Entry) -> Option<&'static str> {
        match entry.beside {
            Some(_) => Some("the version before is in force still: save when you get what is sent to it"),
            None if self.names.get(&entry.name) != Some(&entry.id) => {
                Some("a newer version is in force: what you save would take the place of its state")
            }
            None => None,
        }
    }
}
