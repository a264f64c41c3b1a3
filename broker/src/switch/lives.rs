//! Worlds that come and go, or are cut off.

use super::Switch;
use super::port::{AttachError, Port};
use super::waiting::listen;
use crate::link::Event as Report;
use rustix::event::epoll;
use std::collections::VecDeque;
use strait_protocol::{Corrupt, WorldId};

impl Switch {
    pub(super) fn attach(&mut self, mut port: Port) -> Result<(), AttachError> {
        if self.by_id.contains_key(&port.id) {
            return Err(AttachError::Twice(port.id));
        }
        let slot = self.ports.iter().position(Option::is_none).unwrap_or(self.ports.len());
        listen(&self.epoll, &port, slot).map_err(AttachError::Epoll)?;
        self.by_id.insert(port.id, slot);
        port.taps = self.taps.of(&port);
        if slot == self.ports.len() {
            self.ports.push(None);
        }
        self.ports[slot] = Some(port);
        // The slot's last world may have left its entry.
        self.active.retain(|other| *other != slot);
        self.activate(slot);
        Ok(())
    }

    /// Forgets a world: who waits for its answer is told, and who waited for its room goes on.
    pub(super) fn remove(&mut self, slot: usize) {
        self.leave_line(slot);
        let Some(mut port) = self.ports[slot].take() else { return };
        // The world may hold the same eventfd: closing ours would not take it out of the set.
        let _ = epoll::delete(&self.epoll, &port.bell);
        self.by_id.remove(&port.id);
        self.untap(port.id);
        self.drop_links(port.id);
        self.leave_topics(&port);
        port.holdings.drain().for_each(|parcel| self.let_go(parcel));
        for held in std::mem::take(&mut port.held) {
            self.uncharge(held.charged, held.window(port.id), held.bytes());
            if held.raw.topic().is_none() {
                self.tell_lost(&held.raw.header());
            }
            held.parcel.into_iter().for_each(|parcel| self.let_go(parcel));
        }
        self.forget_forwards(port.id);
        port.groups.iter().for_each(|group| self.leave(*group, port.id));
        self.inherit(port.id);
        self.leave_to_groups(port.id);
        self.forgive_unread(&mut port);
        self.end_requests_of(port.id);
        self.publish_touched();
        self.let_go_on(&port.waiters);
    }

    /// Those who waited in a line that is no more look for themselves what becomes of what they wait with.
    pub(super) fn let_go_on(&mut self, waiters: &VecDeque<WorldId>) {
        for waiter in waiters {
            if let Some(slot) = self.by_id.get(waiter).copied() {
                self.port(slot).blocked = None;
                self.activate(slot);
            }
        }
    }

    /// A world wrote what can't be true: nothing more is taken from it. It is forgotten at the next [`bury`](Self::bury), and not here:
    /// telling those who wait for it can bring to light that they are corrupt too, and so on.
    pub(super) fn quarantine(&mut self, slot: usize, corrupt: &Corrupt) {
        if let Some(port) = &mut self.ports[slot]
            && !port.is_doomed
        {
            port.is_doomed = true;
            self.doomed.push((slot, port.id, *corrupt));
        }
    }

    /// Cuts off the worlds that were found corrupt: the others don't notice, and the supervisor ends them.
    pub(super) fn bury(&mut self) {
        while let Some((slot, id, corrupt)) = self.doomed.pop() {
            // If the supervisor is gone, the link says so at the next look.
            let _ = self.link.send(&Report::Quarantined { id: id.0, why: corrupt.to_string() }, &[]);
            if self.by_id.get(&id) == Some(&slot) {
                self.remove(slot);
            }
        }
    }
}
