//! The switch: moves records between slices, checks policy, stamps identity, and knows nothing else.
//!
//! It runs in a process of its own that has no privilege left, and is the only parser of hostile memory. Each world
//! has a [`Port`]. The loop looks at the *active* ports (those with traffic of late) in turn, a bounded batch each; when
//! nothing has moved for a while it says in each inbox that it sleeps, looks once more, and sleeps in `epoll_wait`. A world whose port is
//! not active rings its bell.
//!
//! A record whose receiver has no room stays where it is, in its sender's outbox, as long as nothing for somebody else is behind
//! it; then it is taken out and held, charged to its sender. A sender over its budget is not read until the receivers have taken what
//! it is charged for.

mod answer;
mod backlog;
mod clock;
mod deliver;
mod exchange;
mod forward;
mod grants;
mod groups;
#[cfg(any(test, feature = "racing"))]
pub mod harness;
mod lane;
mod links;
mod multicast;
mod parcels;
mod patience;
mod port;
mod renew;
mod requests;
mod starts;
mod tap;
mod topics;

use crate::link::{Command, Count, Event as Report, Link};
use grants::Revoking;
use groups::Groups;
use links::Links;
use patience::Patience;
use port::{AttachError, Port};
use requests::Requests;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{Corrupt, Counters, Reason, WorldId};
use strait_sys::wake;
use tap::Taps;
use topics::Topics;

/// Passes without work before the switch sleeps, yielding after each. KERNEL_FACTS: what makes three parties on two cores quick.
const LOOKS: u32 = 50;
/// Passes without work before a single port is no longer looked at, while others are busy.
const PORT_LOOKS: u32 = 200;
/// Passes between two looks at the bells, the link and the clock. To each of them patience adds two microseconds at most, or one
/// pass over all active ports where that is longer.
const PASSES_PER_POLL: u32 = 16;
/// Rings with nothing to show for them that a world has for free, until one of its records is taken; after that its bell isn't listened to for a
/// while, and what it does publish waits for as long.
const EMPTY_RINGS: u32 = 32;
const MUTED_FOR: Duration = Duration::from_millis(20);
/// The token of the link among the bells, whose tokens are slots.
const LINK: u64 = u64::MAX;
/// Commands that are done before records are looked at again.
const MAX_COMMANDS: u32 = 16;

pub(crate) struct Switch {
    link: Link,
    epoll: OwnedFd,
    ports: Vec<Option<Port>>,
    by_id: HashMap<WorldId, usize>,
    active: Vec<usize>,
    /// Ports with something committed or released in this pass.
    touched: Vec<usize>,
    requests: Requests,
    /// Worlds that have a newer version beside them, and that.
    forwards: HashMap<WorldId, WorldId>,
    links: Links,
    taps: Taps,
    topics: Topics,
    groups: Groups,
    /// Grants that are being revoked.
    revoking: Vec<Revoking>,
    /// Parcels ever made: the last one's serial number.
    parcels_made: u64,
    /// Worlds that were found corrupt and not yet forgotten.
    doomed: Vec<(usize, WorldId, Corrupt)>,
    /// Worlds whose bells are not listened to, and until when.
    muted: VecDeque<(Instant, WorldId)>,
    /// A bell or a command was heard that there is something to do for.
    has_news: bool,
    patience: Patience,
    is_over: bool,
}

impl Switch {
    pub(crate) fn new(link: Link) -> Result<Self, Errno> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        epoll::add(&epoll, link.as_fd(), epoll::EventData::new_u64(LINK), epoll::EventFlags::IN)?;
        Ok(Self {
            link,
            epoll,
            ports: Vec::new(),
            by_id: HashMap::new(),
            active: Vec::new(),
            touched: Vec::new(),
            requests: Requests::default(),
            forwards: HashMap::new(),
            links: Links::default(),
            taps: Taps::default(),
            topics: Topics::default(),
            groups: Groups::default(),
            revoking: Vec::new(),
            parcels_made: 0,
            doomed: Vec::new(),
            muted: VecDeque::new(),
            has_news: false,
            patience: Patience::default(),
            is_over: false,
        })
    }

    /// Moves records until the supervisor is gone.
    pub(crate) fn run(&mut self) -> Result<(), Errno> {
        let (mut idle, mut passes) = (0, 0u32);
        while !self.is_over {
            let moved = self.pass();
            if moved {
                self.patience.renew();
            } else if self.patience.looks_again(self.active.len()) {
                continue;
            }
            passes = passes.wrapping_add(1);
            idle = if moved { 0 } else { idle + 1 };
            if idle > LOOKS {
                self.has_news = false;
                self.sleep()?;
                // Woken for nothing, it sleeps again at once.
                idle = if self.has_news { 0 } else { LOOKS };
            } else if idle > 0 {
                wake::yield_now();
            }
            if passes.is_multiple_of(PASSES_PER_POLL) {
                self.end_overdue();
                self.poll(Some(Timespec::default()))?;
            }
        }
        Ok(())
    }

    /// Looks at every active port once. Says whether anything moved.
    fn pass(&mut self) -> bool {
        let (mut moved, mut at) = (false, 0);
        while at < self.active.len() {
            let slot = self.active[at];
            let worked = self.serve(slot);
            self.bury();
            moved |= worked;
            match self.ports[slot].as_mut() {
                None => drop(self.active.swap_remove(at)),
                Some(port) => {
                    port.idle_passes = if worked { 0 } else { port.idle_passes + 1 };
                    let leaves = port.idle_passes > PORT_LOOKS && self.arm(slot);
                    if leaves {
                        self.active.swap_remove(at);
                    } else {
                        at += 1;
                    }
                }
            }
        }
        moved
    }

    fn end_overdue(&mut self) {
        self.end_late_links();
        // The clock is only asked when there is something to be late for.
        if self.next_deadline().is_none() {
            return;
        }
        let now = clock::now();
        self.unmute(now);
        self.flush_taps(now);
        while let Some((key, open)) = self.requests.overdue(now) {
            self.end_request(key, &open, Reason::Deadline);
        }
        self.publish_touched();
        self.bury();
    }

    /// Says in every active inbox that the switch sleeps; if nothing came meanwhile, sleeps until a bell, the link or a deadline.
    fn sleep(&mut self) -> Result<(), Errno> {
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
    fn settle(&mut self) -> bool {
        let mut at = 0;
        while at < self.active.len() {
            match self.arm(self.active[at]) {
                true => drop(self.active.swap_remove(at)),
                false => at += 1,
            }
        }
        self.active.is_empty()
    }

    fn next_deadline(&self) -> Option<Instant> {
        let unmuted = self.muted.front().map(|(until, _)| *until);
        let others = [self.links.next_deadline(), self.taps.next_due(), unmuted];
        others.into_iter().chain([self.requests.next_deadline()]).flatten().min()
    }

    /// Takes a port out of the active ones, unless there is work for it after all. The caller removes it from the list.
    fn arm(&mut self, slot: usize) -> bool {
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
    fn poll(&mut self, timeout: Option<Timespec>) -> Result<(), Errno> {
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
    fn wake(&mut self, slot: usize) {
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
    fn unmute(&mut self, now: Instant) {
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
    fn activate(&mut self, slot: usize) {
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

    /// Does what the supervisor says: some of it, so that who asks the supervisor for much that takes the switch long doesn't keep others' records.
    fn obey(&mut self) -> Result<(), Errno> {
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

    fn count(&mut self, id: WorldId) -> Option<Count> {
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

    fn attach(&mut self, mut port: Port) -> Result<(), AttachError> {
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
    fn remove(&mut self, slot: usize) {
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
    fn let_go_on(&mut self, waiters: &VecDeque<WorldId>) {
        for waiter in waiters {
            if let Some(slot) = self.by_id.get(waiter).copied() {
                self.port(slot).blocked = None;
                self.activate(slot);
            }
        }
    }

    /// A world wrote what can't be true: nothing more is taken from it. It is forgotten at the next [`bury`](Self::bury), and not here:
    /// telling those who wait for it can bring to light that they are corrupt too, and so on.
    fn quarantine(&mut self, slot: usize, corrupt: &Corrupt) {
        if let Some(port) = &mut self.ports[slot]
            && !port.is_doomed
        {
            port.is_doomed = true;
            self.doomed.push((slot, port.id, *corrupt));
        }
    }

    /// Cuts off the worlds that were found corrupt: the others don't notice, and the supervisor ends them.
    fn bury(&mut self) {
        while let Some((slot, id, corrupt)) = self.doomed.pop() {
            // If the supervisor is gone, the link says so at the next look.
            let _ = self.link.send(&Report::Quarantined { id: id.0, why: corrupt.to_string() }, &[]);
            if self.by_id.get(&id) == Some(&slot) {
                self.remove(slot);
            }
        }
    }

    fn touch(&mut self, slot: usize) {
        let port = self.port(slot);
        if !port.is_touched {
            port.is_touched = true;
            self.touched.push(slot);
        }
    }

    /// Gives a world its ring back.
    fn release(&mut self, slot: usize) {
        if let Some(port) = &mut self.ports[slot]
            && port.endpoint.unreleased() > 0
        {
            port.endpoint.announce(wake::processor());
            let event = port.endpoint.release();
            port.ring(event);
        }
    }

    /// Shows receivers what was committed to their inboxes, and wakes those who sleep for it.
    fn publish_touched(&mut self) {
        let processor = wake::processor();
        while let Some(slot) = self.touched.pop() {
            if let Some(port) = &mut self.ports[slot]
                && port.is_touched
            {
                port.is_touched = false;
                port.is_far = port.endpoint.is_far_from(processor);
                if port.endpoint.publish() {
                    port.ring(Event::DATA);
                    self.patience.note(port.is_far);
                }
            }
        }
    }
}

/// Edge-triggered: a ring is an event, and the eventfd never has to be read, so that its holder can't make us block on it.
fn listen(epoll: &OwnedFd, port: &Port, slot: usize) -> Result<(), Errno> {
    let flags = epoll::EventFlags::IN | epoll::EventFlags::ET;
    epoll::add(epoll, &port.bell, epoll::EventData::new_u64(slot as u64), flags)
}

#[cfg(test)]
mod links_tests;
#[cfg(test)]
mod renew_tests;
#[cfg(test)]
mod tap_tests;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod topics_tests;
