//! A client and its links: making and ending them, and sending, receiving and waiting over them.

use crate::client::{Client, Delivery};
use crate::error::Error;
use crate::intake::{Raw, Wait};
use crate::link::{Bells, Gone, Link, Look, Offered, Way};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_memory::{ReadOnly, SliceFile, Writable};
use strait_protocol::crossing::{CLOSE, OPEN};
use strait_protocol::exchange::{Ask, Down, Handed, Refusal, Told};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{FLAG_MARK, Header, Kind, RawHeader, Reason, ReserveError, SliceMemory, SliceSize, WorldId};
use strait_sys::wake;

/// Yields of a sender that waits for room on a link before it sleeps.
const YIELDS: u32 = 50;
/// How long what the client itself has to say may wait for room.
const PATIENCE: Duration = Duration::from_secs(1);
/// How long a sender that waits for room on a link sleeps before it looks what else there is.
const HEARTBEAT: Duration = Duration::from_millis(100);
/// What a sender that waits for room on a link keeps aside of what arrives meanwhile.
const MAX_ABSORBED_BYTES: usize = 1 << 20;
/// Marks what the client itself says and asks.
const OWN: u32 = 1;
/// The correlation of a mark, by which a notice about it is known.
pub(crate) const MARK: u64 = u64::MAX;

impl Client {
    /// Makes a direct link to another world, if policy lets both have it (`link` on both sides), and waits until it is there. From then on what
    /// the two send each other goes past the switch, in both directions, by the same calls and in the same order. What else
    /// arrives meanwhile is kept for later receives.
    ///
    /// The other world takes part whenever it looks for records; until then this waits, `timeout` at most. Then, or if it is refused,
    /// everything goes on through the switch.
    pub fn link(&mut self, peer: WorldId, timeout: Duration) -> Result<(), Error> {
        let end = Instant::now() + timeout;
        match self.ask_switch(&Ask::Link { peer: peer.0 }, timeout) {
            Ok(_) | Err(Error::Switch(Refusal::Linked)) => {}
            Err(error) => return Err(error),
        }
        while !self.is_linked(peer) {
            let is_offered = self.links.offered.iter().any(|offered| offered.peer == peer);
            if !is_offered || Instant::now() >= end {
                self.unlink(peer)?;
                let reason = if is_offered { Reason::Deadline } else { Reason::Unlinked };
                return Err(Error::Undelivered { to: peer, reason });
            }
            let mut wait = Wait::until(Instant::now() + Duration::from_millis(1));
            if let Some(found) = self.take(Raw::No, &mut wait)? {
                self.put_aside(&found)?;
            }
        }
        Ok(())
    }

    /// Ends the direct link to a world, if there is one. What was sent over it arrives; what is sent from now on goes through the switch.
    /// Requests that went over it and have no answer yet end in a notice with [`Reason::Unlinked`].
    pub fn unlink(&mut self, peer: WorldId) -> Result<(), Error> {
        if let Some(number) =
            self.links.offered.iter().find(|offered| offered.peer == peer).map(|offered| offered.number)
        {
            return self.say_own(&Ask::Unlink { link: number });
        }
        let Some(number) = self.links.to_peer(peer).map(|link| link.number) else { return Ok(()) };
        self.close(number)?;
        self.say_own(&Ask::Unlink { link: number })
    }

    /// Sends messages over a link one by one, and shows them together.
    pub(crate) fn send_each<P: AsRef<[u8]>>(
        &mut self,
        to: WorldId,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        self.links.delivery = Delivery::Later;
        let mut sent = 0;
        let result = payloads.into_iter().try_for_each(|payload| {
            self.put(Header::new(Kind::Message, to, 0), payload.as_ref(), None)?;
            sent += 1;
            Ok(())
        });
        self.links.delivery = Delivery::Now;
        if let Some(link) = self.links.to_peer_mut(to) {
            link.show();
        }
        match result {
            Err(Error::Full) if sent > 0 => Ok(sent),
            other => other.map(|()| sent),
        }
    }

    /// Whether there is a direct link to a world.
    pub fn is_linked(&self, peer: WorldId) -> bool {
        self.links.to_peer(peer).is_some_and(|link| !link.is_closing)
    }

    /// Takes part in no link from here on. Fails if there is one, or was something to be polled for them.
    #[cfg(feature = "tokio")]
    pub(crate) fn refuse_links(&mut self) -> Result<(), Error> {
        self.may_link = false;
        match self.links.is_linked() || self.is_watching() {
            true => Err(Error::HasLinks),
            false => Ok(()),
        }
    }

    // --- sending ---

    /// Before a record for this world goes through the switch: what went over a link comes first.
    #[inline]
    pub(crate) fn settle(&mut self, to: WorldId) -> Result<(), Error> {
        match self.links.is_linked() {
            true => self.settle_linked(to),
            false => Ok(()),
        }
    }

    #[cold]
    fn settle_linked(&mut self, to: WorldId) -> Result<(), Error> {
        match self.links.to_peer(to).map(|link| (link.number, link.is_direct)) {
            Some((number, true)) => self.cross(number),
            _ => Ok(()),
        }
    }

    /// What we send to the other side of this link goes through the switch from here on.
    fn cross(&mut self, number: u32) -> Result<(), Error> {
        let Some(at) = self.links.at(number) else { return Ok(()) };
        let link = &mut self.links.all[at];
        if !link.is_direct {
            return Ok(());
        }
        let (peer, place) = (link.peer, link.end());
        self.put_mark(peer, number, CLOSE, place)
    }

    fn put_mark(&mut self, peer: WorldId, link: u32, code: u16, place: u64) -> Result<(), Error> {
        let mut mark =
            Header { flags: FLAG_MARK, stream: link, code, tag: place, ..Header::new(Kind::Message, peer, 0) };
        mark.correlation = MARK;
        self.put_in_outbox(mark, &[], None).map(drop)
    }

    /// Nothing more goes over a link.
    fn close(&mut self, number: u32) -> Result<(), Error> {
        self.cross(number)?;
        if let Some(at) = self.links.at(number) {
            self.links.all[at].is_closing = true;
        }
        Ok(())
    }

    /// What the client itself asks of the switch. Its answer is not shown to anybody.
    fn say_own(&mut self, ask: &Ask) -> Result<(), Error> {
        let mut header = Header::new(Kind::Request, WorldId::SWITCH, 0);
        header.stream = OWN;
        match self.put_in_outbox(header, &ask.encode(), Some(Instant::now() + PATIENCE)) {
            // The switch ends what isn't answered by itself, in time.
            Err(Error::Full) => Ok(()),
            other => other.map(drop),
        }
    }

    /// Sends a record where there are links.
    #[inline]
    pub(crate) fn put_somewhere(
        &mut self,
        header: Header,
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Result<u64, Error> {
        match self.links.way(&header, payload.len()) {
            Way::Plain => self.put_in_outbox(header, payload, deadline),
            Way::Link(at) => self.put_linked(at, header, payload, deadline),
            Way::Switch(at) => {
                self.cross(self.links.all[at].number)?;
                self.put_in_outbox(header, payload, deadline)
            }
            Way::TooLarge(max) => Err(Error::TooLarge { payload_bytes: payload.len(), max_bytes: max as u32 }),
            Way::Nowhere => {
                self.links.notify(&header, Reason::NoSuchRequest);
                Ok(header.sequence)
            }
        }
    }

    #[inline]
    fn put_linked(
        &mut self,
        at: usize,
        mut header: Header,
        payload: &[u8],
        deadline: Option<Instant>,
    ) -> Result<u64, Error> {
        let link = &mut self.links.all[at];
        let number = link.number;
        if !link.is_direct {
            let peer = link.peer;
            self.put_mark(peer, number, OPEN, 0)?;
            self.links.all[at].is_direct = true;
        }
        header.cause = self.cause;
        let mut sent = self.links.all[at].put(&header, payload, self.links.delivery);
        let mut at = at;
        while let Err(error) = sent {
            self.links.all[at].show();
            match error {
                ReserveError::Full => {}
                // Not to be true: the link ends, and the record goes through the switch.
                _ => self.accuse(number)?,
            }
            match self.wait_for_link(number, payload.len(), deadline)? {
                None => return self.put(header, payload, deadline),
                Some(there) => at = there,
            }
            sent = self.links.all[at].put(&header, payload, self.links.delivery);
        }
        let Ok(sequence) = sent else { return Err(Error::Full) };
        if header.kind == Kind::Request {
            let timeout = Duration::from_millis(header.timeout_ms.into());
            self.links.ask(at, &header, sequence, Instant::now() + timeout);
        }
        Ok(sequence)
    }

    /// Waits until a link has room; `None` if it is gone or closing by then. Meanwhile what arrives is kept aside: the end of the link
    /// may be among it, and two that send each other much without reading must not wait for each other.
    #[cold]
    fn wait_for_link(
        &mut self,
        number: u32,
        payload_bytes: usize,
        deadline: Option<Instant>,
    ) -> Result<Option<usize>, Error> {
        let deadline = deadline.or_else(|| self.patience().map(|time| Instant::now() + time));
        let needed = payload_bytes + Header::BYTES as usize;
        let mut looks = 0;
        loop {
            let Some(at) = self.links.at(number).filter(|at| !self.links.all[*at].is_closing) else { return Ok(None) };
            match self.links.all[at].endpoint.reserve(needed) {
                Ok(_) => return Ok(Some(at)),
                Err(ReserveError::Full) => {}
                Err(_) => {
                    self.accuse(number)?;
                    continue;
                }
            }
            looks += 1;
            if looks < YIELDS {
                wake::yield_now();
                continue;
            }
            let left = deadline.map(|end| end.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Err(Error::Full);
            }
            while self.aside_bytes < MAX_ABSORBED_BYTES
                && let Some(found) = self.take(Raw::No, &mut Wait::Not)?
            {
                self.put_aside(&found)?;
            }
            let Some(at) = self.links.at(number) else { continue };
            let at_most = left.unwrap_or(HEARTBEAT).min(HEARTBEAT);
            let is_armed = self.is_armed();
            self.links.all[at].sleep_for_room(needed, at_most, is_armed);
        }
    }

    // --- receiving ---

    /// The next record of the inbox or a link, in turn. A link's is in `handed`.
    pub(crate) fn next_of_all(&mut self) -> Result<bool, Error> {
        self.links.end_overdue(false);
        match self.links.is_urgent() {
            true => self.next_urgent(),
            false => self.next_in_turn(),
        }
    }

    /// What comes before anything else: what became of something, and what was sent before a change of ways.
    #[cold]
    fn next_urgent(&mut self) -> Result<bool, Error> {
        self.bury_links();
        if let Some(notice) = self.links.notices.pop_front() {
            self.handed = RawHeader::from(&Header { destination: self.id(), ..notice });
            self.handed_payload.clear();
            self.is_handed = true;
            return Ok(true);
        }
        match self.links.must_read() {
            Some(at) => Ok(self.next_of_link(at)? || self.next_of_all()?),
            None => self.next_in_turn(),
        }
    }

    #[inline]
    fn next_in_turn(&mut self) -> Result<bool, Error> {
        let mut misses = 0;
        while misses <= self.links.all.len() {
            let turn = self.links.turn();
            let found = match turn {
                0 => self.next_of_inbox()?,
                // One that ended has left its place to another, or to nobody.
                _ if turn > self.links.all.len() => false,
                _ => self.next_of_link(turn - 1)?,
            };
            self.links.count_turn(found);
            if found {
                return Ok(true);
            }
            if self.links.is_urgent() {
                return self.next_of_all();
            }
            misses += 1;
        }
        Ok(false)
    }

    #[inline]
    fn next_of_link(&mut self, at: usize) -> Result<bool, Error> {
        match self.links.take(at, self.own_id, &mut self.handed, &mut self.handed_payload) {
            Look::Nothing => {
                if self.links.all[at].crossing.must_read() {
                    // What was to be read up to there isn't there.
                    let number = self.links.all[at].number;
                    self.accuse(number)?;
                }
                Ok(false)
            }
            Look::Record => {
                self.is_handed = true;
                Ok(true)
            }
            Look::Corrupt(_) => {
                let number = self.links.all[at].number;
                self.accuse(number)?;
                Ok(false)
            }
        }
    }

    /// Forgets links that are gone and were read to their end.
    #[inline]
    fn bury_links(&mut self) {
        while let Some((at, gone)) = self
            .links
            .all
            .iter()
            .enumerate()
            .find_map(|(at, link)| link.gone.filter(|_| !link.crossing.must_read()).map(|gone| (at, gone)))
        {
            self.links.finish(at, gone);
        }
    }

    /// The other side wrote what can't be true: the link is over at once, the switch is told, and everything goes on through it.
    #[cold]
    fn accuse(&mut self, number: u32) -> Result<(), Error> {
        self.close(number)?;
        self.say_own(&Ask::Accuse { link: number })?;
        if let Some(at) = self.links.at(number) {
            self.forget_bell(at);
            self.links.finish(at, Gone { reason: Reason::Unlinked, is_unread_lost: false });
        }
        Ok(())
    }

    /// A mark of the other side of a link, which came through the switch.
    pub(crate) fn take_mark(&mut self, mark: &Header) -> Result<(), Error> {
        let Some(at) = self.links.at(mark.stream).filter(|at| self.links.all[*at].peer == mark.source) else {
            return Ok(());
        };
        let link = &mut self.links.all[at];
        let is_true = match mark.code {
            OPEN => {
                link.crossing.open();
                true
            }
            CLOSE => match link.published() {
                Ok(published) => link.crossing.close(mark.tag, link.endpoint.read_to(), published).is_ok(),
                Err(_) => false,
            },
            _ => false,
        };
        if is_true { Ok(()) } else { self.accuse(mark.stream) }
    }

    /// What the switch tells of links.
    pub(crate) fn take_told(&mut self, told: &Told) -> Result<(), Error> {
        match *told {
            Told::Offered { link, peer } => match self.take_offer(link, WorldId(peer)) {
                Ok(()) => self.say_own(&Ask::LinkMapped { link }),
                Err(_) => self.say_own(&Ask::Unlink { link }),
            },
            Told::Up { link } => match self.take_up(link) {
                Ok(()) => Ok(()),
                Err(_) => self.say_own(&Ask::Unlink { link }),
            },
            Told::Ending { link } => {
                self.close(link)?;
                self.say_own(&Ask::LinkClosed { link })
            }
            Told::Down { link, how } => {
                self.take_down(link, how);
                Ok(())
            }
        }
    }

    fn take_offer(&mut self, number: u32, peer: WorldId) -> Result<(), Error> {
        if !self.may_link {
            return Err(Error::HasLinks);
        }
        let (note, descriptors) = self.lane.take(Handed::LinkOut, number)?;
        let [file, own, peers, anchor]: [OwnedFd; 4] = descriptors.try_into().map_err(|_| Error::Unexpected)?;
        let file = SliceFile::adopt(file, SliceSize::new(note.bytes).map_err(|_| Error::Unexpected)?)?;
        let mine = Writable::map(&file)?;
        file.seal_writes()?;
        let bells = Bells { own, peers, _anchor: anchor };
        self.links.offered.push(Offered { number, peer, mine, bells });
        Ok(())
    }

    fn take_up(&mut self, number: u32) -> Result<(), Error> {
        let at = self.links.offered.iter().position(|offered| offered.number == number).ok_or(Error::Unexpected)?;
        let offered = self.links.offered.swap_remove(at);
        let (note, descriptors) = self.lane.take(Handed::LinkIn, number)?;
        let [file]: [OwnedFd; 1] = descriptors.try_into().map_err(|_| Error::Unexpected)?;
        let file = SliceFile::adopt(file, SliceSize::new(note.bytes).map_err(|_| Error::Unexpected)?)?;
        let link = Link::new(offered, ReadOnly::map_sealed(&file)?);
        self.watch_bell(&link)?;
        self.links.all.push(link);
        Ok(())
    }

    fn take_down(&mut self, number: u32, how: Down) {
        self.links.offered.retain(|offered| offered.number != number);
        self.lane.discard(number);
        let Some(at) = self.links.at(number) else { return };
        self.forget_bell(at);
        let link = &mut self.links.all[at];
        let reason = if how == Down::Died { Reason::Died } else { Reason::Unlinked };
        link.gone = Some(Gone { reason, is_unread_lost: how != Down::Closed });
        (link.is_direct, link.is_closing) = (false, true);
        // What is published by now is read; more is not waited for.
        if link.crossing.may_read()
            && let Ok(published) = link.published()
        {
            let _ = link.crossing.close(published, link.endpoint.read_to(), published);
        }
        self.bury_links();
    }

    // --- waiting ---

    /// Sleeps until there may be something in the inbox or on a link, or the time is over.
    pub(crate) fn sleep_for_all(&mut self, at_most: Option<Duration>) -> Result<(), Error> {
        let due = self.links.next_deadline().map(|end| end.saturating_duration_since(Instant::now()));
        let at_most = at_most.into_iter().chain(due).min();
        self.links.all.iter_mut().for_each(|link| link.give_back(true));
        let bell = self.endpoint.arm(Event::DATA, Via::Futex);
        let bells: Vec<u32> =
            self.links.all.iter_mut().map(|link| link.endpoint.arm(Event::DATA, Via::Futex)).collect();
        if !self.endpoint.hear_produced()? && !self.links.all.iter_mut().any(Link::has_data) {
            let words = self.links.all.iter().map(|link| &link.endpoint.theirs().control().bell).zip(bells);
            let words: Vec<_> = std::iter::once((&self.endpoint.theirs().control().bell, bell)).chain(words).collect();
            wake::futex_wait_any(&words, at_most);
        }
        self.endpoint.disarm();
        self.links.all.iter_mut().for_each(|link| link.endpoint.disarm());
        self.links.end_overdue(true);
        Ok(())
    }

    /// Says on every link that we sleep until its bell rings. Look once more after this.
    pub(crate) fn arm_links(&mut self) {
        for link in &mut self.links.all {
            link.give_back(true);
            link.endpoint.arm(Event::DATA, Via::Fd);
        }
    }

    /// Says that we are awake, and takes the rings out of the bells.
    pub(crate) fn disarm_links(&mut self) {
        for link in &mut self.links.all {
            link.endpoint.disarm();
            wake::drain_pipe(link.bells.own.as_fd());
        }
        self.links.end_overdue(true);
    }

    fn watch_bell(&self, link: &Link) -> Result<(), Error> {
        self.watch(link.bells.own.as_fd())
    }

    fn forget_bell(&self, at: usize) {
        self.unwatch(self.links.all[at].bells.own.as_fd());
    }
}
