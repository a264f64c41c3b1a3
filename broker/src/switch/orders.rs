//! What the supervisor says, done and answered.

use super::Switch;
use super::port::Port;
use crate::link::{Command, Count, Event as Report};
use rustix::io::Errno;
use std::os::fd::OwnedFd;
use strait_protocol::{Counters, WorldId};

/// Commands that are done before records are looked at again.
const MAX_COMMANDS: u32 = 16;

impl Switch {
    /// Does what the supervisor says: some of it, so that who asks the supervisor for much that takes the switch long doesn't keep others' records.
    pub(super) fn obey(&mut self) -> Result<(), Errno> {
        for _ in 0..MAX_COMMANDS {
            match self.link.try_receive() {
                Err(Errno::AGAIN) => return Ok(()),
                Err(other) => return Err(other),
                Ok(None) => {
                    self.is_over = true;
                    return Ok(());
                }
                Ok(Some((command, descriptors))) => match self.obey_one(command, descriptors) {
                    Err(Errno::PIPE | Errno::CONNRESET) => self.is_over = true,
                    other => other?,
                },
            }
        }
        Ok(())
    }

    fn obey_one(&mut self, command: Command, descriptors: Vec<OwnedFd>) -> Result<(), Errno> {
        match command {
            Command::Attach(passport) => {
                let report = match Port::new(&passport, descriptors).and_then(|port| self.attach(port)) {
                    Ok(()) => Report::Attached { id: passport.id },
                    Err(error) => Report::NotAttached { id: passport.id, why: error.to_string() },
                };
                self.link.send(&report, &[])
            }
            Command::Detach { id } => {
                if let Some(slot) = self.by_id.get(&WorldId(id)).copied() {
                    self.drain(slot);
                    self.remove(slot);
                    self.bury();
                }
                self.link.send(&Report::Detached { id }, &[])
            }
            Command::Renew { passport, gives_back } => {
                let report = match self.renew(&passport, descriptors, gives_back) {
                    Ok(renewed) => renewed,
                    Err(error) => Report::NotAttached { id: passport.id, why: error.to_string() },
                };
                self.link.send(&report, &[])
            }
            Command::Forward { from, to } => match self.forward(WorldId(from), WorldId(to)) {
                true => self.link.send(&Report::Forwarded { to }, &[]),
                // It was quarantined, which the supervisor was told of.
                false => Ok(()),
            },
            Command::OpenTopic { topic, publisher } => {
                self.open_topic(WorldId::topic(topic), WorldId(publisher));
                Ok(())
            }
            Command::Withdraw { topic, publisher } => {
                self.withdraw(WorldId::topic(topic), WorldId(publisher));
                Ok(())
            }
            Command::LeaveTopic { topic, publisher } => {
                self.leave_topic(WorldId::topic(topic), WorldId(publisher));
                Ok(())
            }
            Command::CloseTopic { topic } => {
                self.close_topic(WorldId::topic(topic));
                Ok(())
            }
            Command::Subscribe { subscriptions, topics } => {
                self.subscribe(&subscriptions, &topics);
                Ok(())
            }
            Command::Unsubscribe { world, number } => {
                self.unsubscribe(WorldId(world), number);
                Ok(())
            }
            Command::Announce { topic, subscribers, payload } => {
                self.announce(WorldId::topic(topic), &subscribers, &payload);
                Ok(())
            }
            Command::Fence { ticket } => self.link.send(&Report::Passed { ticket }, &[]),
            Command::Unlink { one, other } => {
                self.unlink_worlds(WorldId(one), WorldId(other));
                Ok(())
            }
            Command::Tap { tapper, pattern, payload } => {
                // Written by the supervisor from a pattern that it has read.
                if let Ok(pattern) = pattern.parse() {
                    self.tap(WorldId(tapper), pattern, payload);
                }
                Ok(())
            }
            Command::Untap { tapper } => {
                self.untap(WorldId(tapper));
                Ok(())
            }
            Command::Permit { grant, world, way, to } => {
                let to = to.parse().map_err(|_| Errno::PROTO)?;
                self.permit(grant, WorldId(world), way, to);
                Ok(())
            }
            Command::Revoke { grant, world } => {
                self.revoke(grant, WorldId(world));
                self.bury();
                Ok(())
            }
            Command::Count { ticket, ids } => {
                let rows = ids.iter().filter_map(|id| self.count(WorldId(*id))).collect();
                self.link.send(&Report::Counted { ticket, rows }, &[])
            }
            Command::Group(passport) => self.make_group(&passport).map_err(|_| Errno::PROTO),
            Command::Join { group, world } => {
                self.join(WorldId(group), WorldId(world));
                Ok(())
            }
            Command::Leave { group, world } => {
                self.leave(WorldId(group), WorldId(world));
                self.link.send(&Report::Left { world }, &[])
            }
            Command::GiveUp { group } => {
                self.give_up(WorldId(group));
                Ok(())
            }
            Command::CountGroup { ticket, id } => {
                let count = self.count_group(WorldId(id)).unwrap_or_default();
                self.link.send(&Report::GroupCounted { ticket, count }, &[])
            }
        }
    }

    pub(super) fn count(&mut self, id: WorldId) -> Option<Count> {
        let slot = *self.by_id.get(&id)?;
        let of_port = self.ports[slot].as_mut()?.count();
        let (links, bytes) = self.links.count(id);
        let counters = Counters {
            owed_replies: self.requests.owed_by(id),
            links: links.into(),
            linked_bytes: of_port.linked_bytes.saturating_add(bytes),
            ..of_port
        };
        Some(Count { id: id.0, counters })
    }
}
