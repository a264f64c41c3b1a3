//! Receiving from the inbox, and waiting for it together with other things.

use crate::client::Client;
use crate::error::{Error, call};
use crate::intake::{Raw, Wait};
use crate::record::Record;
use crate::waiting::LOOKS;
use rustix::event::epoll;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_protocol::SliceMemory;
use strait_protocol::wait::{Event, Via};
use strait_sys::wake;

impl Client {
    /// The next record, or `None` when the time is over. Without a time, waits as long as it takes. What came in pieces is
    /// handed out whole, what came packed one by one. What is sent until the next receive names this record as its cause.
    #[inline]
    pub fn receive(&mut self, timeout: Option<Duration>) -> Result<Option<Record<'_>>, Error> {
        if self.is_at_inbox() {
            let mut end = None;
            if !self.wait_for_data(timeout, &mut end)? {
                // What is sent from now on is no answer to anything.
                self.cause = 0;
                return Ok(None);
            }
            if self.is_plain() {
                return Ok(Some(self.record()));
            }
            return self.receive_head(Wait::For { time: timeout, end });
        }
        if self.aside.is_empty() && self.unpack() {
            return Ok(Some(self.item()));
        }
        self.receive_as(Raw::No, Wait::new(timeout))
    }

    /// The next record if one is there. Of a payload in pieces, what is there is gathered.
    #[inline]
    pub fn try_receive(&mut self) -> Result<Option<Record<'_>>, Error> {
        if self.is_at_inbox() {
            if !self.try_next()? {
                self.cause = 0;
                return Ok(None);
            }
            if self.is_plain() {
                return Ok(Some(self.record()));
            }
            return self.receive_head(Wait::Not);
        }
        if self.aside.is_empty() && self.unpack() {
            return Ok(Some(self.item()));
        }
        self.receive_as(Raw::No, Wait::Not)
    }

    /// Whether the record that comes next is taken as it is.
    #[inline]
    pub(crate) fn is_plain(&self) -> bool {
        if self.is_handed { self.handed.is_plain() } else { self.endpoint.head().is_plain() }
    }

    /// Whether what comes next is the next record of the inbox.
    #[inline]
    pub(crate) fn is_at_inbox(&self) -> bool {
        self.aside.is_empty() && !self.unpacking.is_under_way()
    }

    #[inline]
    pub(crate) fn try_next(&mut self) -> Result<bool, Error> {
        self.wake_from_poll()?;
        let mut found = self.next()?;
        if !found {
            self.give_back_parcels(true)?;
        }
        if !found && self.polls {
            self.arm(Event::DATA);
            self.arm_links();
            found = self.next()?;
        }
        Ok(found)
    }

    pub(crate) fn arm(&mut self, until: Event) {
        #[cfg(feature = "tokio")]
        let until = if self.awaits_room { until.or(Event::ROOM) } else { until };
        self.endpoint.arm(until, Via::Fd);
        self.armed = true;
    }

    /// Makes ready for a poll that isn't for data.
    #[cfg(feature = "tokio")]
    pub(crate) fn arm_without_data(&mut self) -> Result<(), Error> {
        self.wake_from_poll()?;
        self.arm(Event::NONE);
        Ok(())
    }

    /// Correlation of the last request.
    #[cfg(feature = "tokio")]
    pub(crate) fn asked(&self) -> u64 {
        self.asked
    }

    /// Gives the record that was received last back to the switch now, not only at the next receive: for a world that is going to
    /// be busy with something else.
    pub fn release(&mut self) {
        self.handed_payload = Vec::new();
        if !self.unpacking.is_under_way() {
            self.pass_current();
        }
        if self.endpoint.unreleased() > 0 {
            let event = self.endpoint.release();
            self.ring(event);
        }
    }

    /// A descriptor that becomes readable when a record arrives, for `poll(2)`, `epoll(7)` and the like. Poll it
    /// only after [`try_receive`](Self::try_receive) has said `None`; when it is readable, call that again until it does.
    pub fn poll_fd(&mut self) -> BorrowedFd<'_> {
        self.polls = true;
        if self.may_link && self.epoll.is_none() {
            self.epoll = self.watch_all();
        }
        self.epoll.as_ref().unwrap_or(&self.wakeup).as_fd()
    }

    /// One descriptor for the wakeup of the switch and the bells of all links. Without it, these go unheard until something else rings.
    pub(crate) fn watch_all(&self) -> Option<OwnedFd> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).ok()?;
        for bell in std::iter::once(self.wakeup.as_fd()).chain(self.links.all.iter().map(|link| link.bells.own.as_fd()))
        {
            epoll::add(&epoll, bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN).ok()?;
        }
        Some(epoll)
    }

    #[cfg(feature = "tokio")]
    pub(crate) fn is_watching(&self) -> bool {
        self.epoll.is_some()
    }

    pub(crate) fn watch(&self, bell: BorrowedFd<'_>) -> Result<(), Error> {
        let added = self.epoll.as_ref().map(|epoll| {
            epoll::add(epoll, bell, epoll::EventData::new_u64(0), epoll::EventFlags::IN).map_err(call("epoll_ctl"))
        });
        added.unwrap_or(Ok(()))
    }

    pub(crate) fn unwatch(&self, bell: BorrowedFd<'_>) {
        if let Some(epoll) = &self.epoll {
            // The other side may have the pipe still: closing our end would not take it out of the set.
            let _ = epoll::delete(epoll, bell);
        }
    }

    pub(crate) fn wake_from_poll(&mut self) -> Result<(), Error> {
        if self.armed {
            self.armed = false;
            self.endpoint.disarm();
            self.disarm_links();
            if !wake::drain_pipe(self.wakeup.as_fd()) {
                return Err(Error::BrokerGone);
            }
        }
        Ok(())
    }

    /// The record at the head of the inbox. What is sent from now on is caused by it.
    #[inline]
    pub(crate) fn record(&mut self) -> Record<'_> {
        if std::mem::take(&mut self.is_handed) {
            self.cause = self.handed.as_cause();
            return Record { raw: &self.handed, payload: &self.handed_payload, trailer: None, parcel: None };
        }
        let head = self.endpoint.head();
        self.cause = head.as_cause();
        let payload = self.endpoint.theirs().bytes(self.endpoint.head_payload(), head.length() as usize);
        Record { raw: head, payload, trailer: None, parcel: None }
    }

    #[inline]
    pub(crate) fn wait_for_data(
        &mut self,
        timeout: Option<Duration>,
        deadline: &mut Option<Instant>,
    ) -> Result<bool, Error> {
        self.wake_from_poll()?;
        let (mut looks, spins) = (0, self.links.spins());
        loop {
            if self.next()? {
                self.links.found(looks, spins);
                return Ok(true);
            }
            if looks < spins {
                looks += 1;
                std::hint::spin_loop();
                continue;
            }
            if looks < spins + LOOKS {
                looks += 1;
                wake::yield_now();
                continue;
            }
            // The clock is asked only here: what is quick needs no clock.
            *deadline = deadline.or_else(|| timeout.map(|time| Instant::now() + time));
            self.give_back_parcels(true)?;
            if !self.sleep(Event::DATA, *deadline, None)? {
                return Ok(false);
            }
        }
    }

    /// Steps past the record that was handed out last and looks at the one behind it.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<bool, Error> {
        match self.links.is_quiet() {
            true => Ok(self.next_of_inbox()? || !self.links.is_quiet() && self.next_of_all()?),
            false => self.next_of_all(),
        }
    }

    /// The same of the inbox alone.
    #[inline]
    pub(crate) fn next_of_inbox(&mut self) -> Result<bool, Error> {
        loop {
            self.pass_current();
            let found = self.endpoint.fetch()?;
            self.give_back(!found);
            self.current = if found { self.endpoint.head().stride() } else { 0 };
            self.endpoint.note_taken(self.current);
            if !found || self.endpoint.head().stream() == 0 || !self.take_in()? {
                return Ok(found);
            }
            // What was taken in may say that something else comes first.
            if self.links.is_urgent() {
                self.pass_current();
                return Ok(false);
            }
        }
    }

    #[inline]
    pub(crate) fn pass_current(&mut self) {
        self.endpoint.pass(std::mem::take(&mut self.current));
    }

    /// Gives the switch its ring back: all of it when there is nothing left to read, else a good deal at a time.
    #[inline]
    pub(crate) fn give_back(&mut self, caught_up: bool) {
        let unreleased = self.endpoint.unreleased();
        if unreleased > 0 && (caught_up || unreleased >= self.endpoint.theirs().ring_bytes() / 8) {
            self.endpoint.announce(wake::processor());
            let event = self.endpoint.release();
            self.ring(event);
        }
    }
}
