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
mod lives;
mod multicast;
mod orders;
mod parcels;
mod patience;
mod port;
mod renew;
mod requests;
mod starts;
mod stint;
mod tap;
mod topics;
mod waiting;

use crate::link::Link;
use grants::Revoking;
use groups::Groups;
use links::Links;
use patience::Patience;
use port::Port;
use requests::Requests;
use rustix::event::{Timespec, epoll};
use rustix::io::Errno;
use std::collections::{HashMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::Instant;
use stint::Stint;
use strait_protocol::wait::Event;
use strait_protocol::{Corrupt, Reason, WorldId};
use strait_sys::wake;
use tap::Taps;
use topics::Topics;
use waiting::LINK;

/// Passes without work before the switch sleeps, yielding after each. KERNEL_FACTS: what makes three parties on two cores quick.
const LOOKS: u32 = 50;
/// Passes without work before a single port is no longer looked at, while others are busy.
const PORT_LOOKS: u32 = 200;
/// Passes between two looks at the bells, the link and the clock. To each of them patience adds two microseconds at most, or one
/// pass over all active ports where that is longer.
const PASSES_PER_POLL: u32 = 16;

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
    /// Those of the addresses forwarded whose worlds are gone, in the order in which they went.
    formers: Vec<WorldId>,
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
    stint: Stint,
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
            formers: Vec::new(),
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
            stint: Stint::default(),
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
                self.stint.end();
            } else if self.stint.is_long(clock::now) {
                self.let_others_run();
            }
            if passes.is_multiple_of(PASSES_PER_POLL) {
                self.end_overdue();
                self.poll(Some(Timespec::default()))?;
            }
        }
        Ok(())
    }

    /// Gives those who share the processor a turn, though there is work left.
    fn let_others_run(&mut self) {
        let since = clock::now();
        wake::yield_now();
        let now = clock::now();
        self.stint.resume(now, now - since);
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
                    self.stint.note(port.is_far);
                }
            }
        }
    }
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
