//! What the switch does when nothing moves: it says that it sleeps, sleeps, and is woken by bells, the link or the clock.

use super::port::Port;
use super::{Switch, clock};
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::mem::MaybeUninit;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use strait_protocol::wait::{Event, Via};

/// Rings with nothing to show for them that a world has for free, until one of its records is taken; after that its bell isn't listened to for a
/// while, and what it does publish waits for as long.
const EMPTY_RINGS: u32 = 32;
const MUTED_FOR: Duration = Duration::from_millis(20);
/// The token of the link among the bells, whose tokens are slots.
pub(super) const LINK: u64 = u64::MAX;

impl Switch {
    /// Says in every active inbox that the switch sleeps; if nothing came meanwhile, sleeps until a bell, the link or a deadline.
    pub(super) fn sleep(&mut self) -> Result<(), Errno> {
        self.end_overdue();
        if !self.settle() {
            self.has_news = true;
            return Ok(());
        }
        let left = self.next_deadline().map(|end| end.saturating_duration_since(clock::now()));
        let timeout =
            left.map(|left| Timespec { tv_sec: left.as_secs() as i64, tv_nsec: i64::from(left.subsec_nanos()) });
        self.poll(timeout)
    }

    /// Takes every port out of the active ones. False if there is work for one after all.
    pub(super) fn settle(&mut self) -> bool {
        let mut at = 0;
        while at < self.active.len() {
            match self.arm(self.active[at]) {
                true => drop(self.active.swap_remove(at)),
                false => at += 1,
            }
        }
        self.active.is_empty()
    }

    pub(super) fn next_deadline(&self) -> Option<Instant> {
        let unmuted = self.muted.front().map(|(until, _)| *until);
        let others = [self.links.next_deadline(), self.taps.next_due(), unmuted];
        others.into_iter().chain([self.requests.next_deadline()]).flatten().min()
    }

    /// Takes a port out of the active ones, unless there is work for it after all. The caller removes it from the list.
    pub(super) fn arm(&mut self, slot: usize) -> bool {
        let blocked_on = match &mut self.ports[slot] {
            None => return true,
            Some(port) => {
                let wants_room = !port.held.is_empty() || port.is_awaited || self.groups.keep_waiting(&port.groups);
                port.endpoint.arm(if wants_room { Event::ANY } else { Event::DATA }, Via::Fd);
                port.blocked.map(|blocked| blocked.on)
            }
        };
        if let Some(id) = blocked_on {
            match self.by_id.get(&id).copied() {
                Some(receiver) => self.wait_for_room(receiver),
                None => self.groups.members(id).into_iter().for_each(|member| self.wait_for_room(member)),
            }
        }
        let works = self.has_work(slot);
        let port = self.ports[slot].as_mut().expect("looked at above");
        if works {
            port.endpoint.disarm();
        }
        port.is_active = works;
        !works
    }

    /// Asks a receiver whose inbox is full to ring when it has made room. At once, even if the receiver is active and will be armed
    /// again: the look at its room that follows must come after this.
    fn wait_for_room(&mut self, slot: usize) {
        if let Some(port) = &mut self.ports[slot] {
            port.is_awaited = true;
            port.endpoint.arm(Event::ANY, Via::Fd);
        }
    }

    /// Waits for bells and commands.
    pub(super) fn poll(&mut self, timeout: Option<Timespec>) -> Result<(), Errno> {
        let mut events = [MaybeUninit::<epoll::Event>::uninit(); 64];
        let (ready, _) = match epoll::wait(&self.epoll, &mut events, timeout.as_ref()) {
            Err(Errno::INTR) => return Ok(()),
            other => other?,
        };
        let tokens: Vec<u64> = ready.iter().map(|event| event.data.u64()).collect();
        for token in tokens {
            match token {
                LINK => {
                    self.has_news = true;
                    self.obey()?;
                }
                slot => self.wake(slot as usize),
            }
        }
        Ok(())
    }

    /// A world rang: who waits for its room may look, and it is looked at in each pass from now on, if there is something to be seen.
    pub(super) fn wake(&mut self, slot: usize) {
        let Some(port) = self.ports.get_mut(slot).and_then(Option::as_mut) else { return };
        port.tally.rings += 1;
        if std::mem::take(&mut port.is_awaited) {
            self.has_news = true;
            self.call_next(slot);
        }
        if self.ports[slot].as_ref().is_none_or(|port| port.is_active) {
            return;
        }
        // Armed anew, since the ring may have been for this sleep.
        match self.arm(slot) {
            true => self.count_empty_ring(slot),
            false => {
                self.has_news = true;
                self.port(slot).is_active = false;
                self.activate(slot);
            }
        }
    }

    fn count_empty_ring(&mut self, slot: usize) {
        let Some(port) = &mut self.ports[slot] else { return };
        port.empty_rings += 1;
        if port.empty_rings >= EMPTY_RINGS && epoll::delete(&self.epoll, &port.bell).is_ok() {
            port.empty_rings = 0;
            self.muted.push_back((clock::now() + MUTED_FOR, port.id));
        }
    }

    /// Listens again to the bells whose time is over. One that was rung meanwhile is heard at once.
    pub(super) fn unmute(&mut self, now: Instant) {
        while self.muted.front().is_some_and(|(until, _)| *until <= now) {
            let Some((_, id)) = self.muted.pop_front() else { return };
            if let Some(slot) = self.by_id.get(&id).copied()
                && let Some(port) = &self.ports[slot]
            {
                // It was in the set before: only memory could run out, and then this world is not heard.
                let _ = listen(&self.epoll, port, slot);
            }
        }
    }

    #[inline]
    pub(super) fn activate(&mut self, slot: usize) {
        if let Some(port) = &mut self.ports[slot] {
            port.idle_passes = 0;
            if !port.is_active {
                port.is_active = true;
                port.endpoint.disarm();
                self.active.push(slot);
                // Disarmed, it doesn't ring for room: who waits for that looks by itself from now on.
                if std::mem::take(&mut port.is_awaited) {
                    self.call_next(slot);
                }
            }
        }
    }
}

/// Edge-triggered: a ring is an event, and the eventfd never has to be read, so that its holder can't make us block on it.
pub(super) fn listen(epoll: &OwnedFd, port: &Port, slot: usize) -> Result<(), Errno> {
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(epoll, &port.bell, epoll::EventData::new_u64(slot as u64), flags)
}
