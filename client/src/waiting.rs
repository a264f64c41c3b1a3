//! Sleeping until the switch rings, and ringing it.

use crate::client::Client;
use crate::error::{Error, call};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{SliceMemory, WorldId};
use strait_sys::wake;

/// How often a party yields and looks again before it sleeps. A wake across cores costs tens of
/// microseconds, a yield well under one; measured in docs/performance.md.
pub(crate) const LOOKS: u32 = 50;
/// How often a host program that waits makes sure that the broker is alive. (A jailed world needn't: it dies with it.)
const HEARTBEAT: Duration = Duration::from_secs(1);

impl Client {
    pub(crate) fn ring(&mut self, event: Event) {
        if self.endpoint.ring_for(event).is_some() {
            wake::ring(self.bell.as_fd());
        }
    }

    /// Sleeps until something of `what` may have happened. False when the deadline has passed.
    pub(crate) fn sleep(
        &mut self,
        what: Event,
        deadline: Option<Instant>,
        room: Option<(WorldId, usize)>,
    ) -> Result<bool, Error> {
        let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            return Ok(false);
        }
        let at_most = match self.outlives_broker {
            true => Some(left.unwrap_or(HEARTBEAT).min(HEARTBEAT)),
            false => left,
        };
        if self.armed {
            self.sleep_polled(what, room, at_most)?;
        } else if what.meets(Event::DATA) && !self.links.is_quiet() {
            self.sleep_for_all(at_most)?;
        } else {
            let bell = self.endpoint.arm(what, Via::Futex);
            if !self.has_happened(what, room)? {
                wake::futex_wait(&self.endpoint.theirs().control().bell, bell, at_most);
            }
            self.endpoint.disarm();
        }
        match self.outlives_broker && !self.has_happened(what, room)? && wake::is_hung_up(self.socket.as_fd()) {
            true => Err(Error::BrokerGone),
            false => Ok(true),
        }
    }

    /// The same for a sender whose user polls for data meanwhile: it waits at the same descriptor, and what rings is left there for
    /// the user, who must not miss it.
    pub(crate) fn sleep_polled(
        &mut self,
        what: Event,
        room: Option<(WorldId, usize)>,
        at_most: Option<Duration>,
    ) -> Result<(), Error> {
        self.endpoint.arm(Event::DATA.or(what), Via::Fd);
        if !self.has_happened(what, room)? {
            let already = wake::wait_readable(self.wakeup.as_fd(), Some(Duration::ZERO)).map_err(call("poll"))?;
            match already {
                // Rung before, and left there: it can't say more, so this looks again soon.
                true => std::thread::sleep(Duration::from_millis(1)),
                false => drop(wake::wait_readable(self.wakeup.as_fd(), at_most).map_err(call("poll"))?),
            }
        }
        Ok(())
    }

    pub(crate) fn has_happened(&mut self, what: Event, room: Option<(WorldId, usize)>) -> Result<bool, Error> {
        let data = what.meets(Event::DATA) && self.endpoint.hear_produced()?;
        Ok(data || room.is_some_and(|(to, payload_bytes)| self.try_reserve(to, payload_bytes).is_ok()))
    }

    /// Waits until the switch has taken everything that was sent: for a program that ends right after. What went over a direct link needs no
    /// waiting: the other side reads it all the same.
    pub fn drain(&mut self, timeout: Duration) -> Result<bool, Error> {
        self.flush();
        let end = Instant::now() + timeout;
        while !self.endpoint.is_drained()? {
            if Instant::now() >= end {
                return Ok(false);
            }
            if self.outlives_broker && wake::is_hung_up(self.socket.as_fd()) {
                return Err(Error::BrokerGone);
            }
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(true)
    }
}
