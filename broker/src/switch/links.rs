//! Direct links: the switch introduces two worlds to each other, and takes no part in what they then say.
//!
//! It makes one slice for each side and hands it to that side alone, which maps it for writing and seals it. When both have, each is
//! handed the other's: by then the kernel lets nobody else write. Bells are pipes, one for each direction. To end a link, both sides are
//! told; each says when it writes nothing more; who doesn't say so within a time is not waited for.
//!
//! The switch keeps both files, to tell how much moved. It never maps them, and what the cursors say is the worlds' own word.

use super::parcels::Brought;
use super::port::Port;
use super::{Switch, clock};
use crate::link::Event as Report;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_memory::SliceFile;
use strait_protocol::exchange::{self, Down, Handed, Note, Refusal, Told};
use strait_protocol::layout::HEADER_BYTES;
use strait_protocol::{FLAG_MARK, Header, Kind, Reason, SliceMemory, SliceSize, WorldId};
use strait_sys::wake;

/// Links that one world may have.
const MAX_LINKS: u32 = 16;
/// How long a side has to say that it writes nothing more.
const CLOSING: Duration = Duration::from_secs(2);
/// Tells a client that what the switch says is for itself and not for its user.
const FOR_THE_CLIENT: u32 = 1;

#[derive(Debug)]
struct Side {
    id: WorldId,
    /// The slice that it writes.
    file: SliceFile,
    is_mapped: bool,
    is_closed: bool,
}

#[derive(Debug)]
struct Link {
    sides: [Side; 2],
    is_up: bool,
    /// When it is ending: until when the sides are waited for.
    deadline: Option<Instant>,
}

impl Link {
    fn side(&mut self, id: WorldId) -> Option<&mut Side> {
        self.sides.iter_mut().find(|side| side.id == id)
    }

    fn has(&self, id: WorldId) -> bool {
        self.sides.iter().any(|side| side.id == id)
    }

    fn ids(&self) -> [WorldId; 2] {
        self.sides.each_ref().map(|side| side.id)
    }
}

/// All links, by number.
#[derive(Debug, Default)]
pub(super) struct Links {
    all: HashMap<u32, Link>,
    last: u32,
    /// The earliest time at which a side that doesn't close is not waited for any more.
    next_deadline: Option<Instant>,
}

impl Links {
    pub(super) fn next_deadline(&self) -> Option<Instant> {
        self.next_deadline
    }

    fn number(&mut self) -> u32 {
        loop {
            self.last = self.last.wrapping_add(1);
            if self.last != 0 && !self.all.contains_key(&self.last) {
                return self.last;
            }
        }
    }

    /// The two that a link is between.
    pub(super) fn ids(&self, number: u32) -> Option<[WorldId; 2]> {
        self.all.get(&number).map(Link::ids)
    }

    pub(super) fn of(&self, id: WorldId) -> Vec<u32> {
        self.all.iter().filter(|(_, link)| link.has(id)).map(|(number, _)| *number).collect()
    }

    fn between(&self, one: WorldId, other: WorldId) -> Option<u32> {
        self.all.iter().find(|(_, link)| link.has(one) && link.has(other)).map(|(number, _)| *number)
    }

    /// How many links a world has, and how many bytes it says that it has written to them.
    pub(super) fn count(&self, id: WorldId) -> (u32, u64) {
        let of_world = self.all.values().flat_map(|link| &link.sides).filter(|side| side.id == id);
        of_world.fold((0, 0), |(links, bytes), side| (links + 1, bytes + produced(&side.file)))
    }
}

/// The first word of a slice: what its writer says it has published.
fn produced(file: &SliceFile) -> u64 {
    let mut word = [0; 8];
    match rustix::io::pread(file, &mut word, 0) {
        Ok(8) => u64::from_le_bytes(word),
        _ => 0,
    }
}

/// One direction's bell: the end to sleep at, and the end to ring.
struct Bell {
    read: OwnedFd,
    write: OwnedFd,
}

impl Bell {
    fn new() -> Result<Self, Refusal> {
        let (read, write) = wake::bell_pipe().map_err(|_| Refusal::Exhausted)?;
        Ok(Self { read, write })
    }
}

fn side(port: &Port) -> Result<Side, Refusal> {
    let bytes = port.endpoint.theirs().ring_bytes() + HEADER_BYTES;
    let size = SliceSize::new(bytes.into()).map_err(|_| Refusal::Exhausted)?;
    let file = SliceFile::create("strait-link", size).map_err(|_| Refusal::Exhausted)?;
    Ok(Side { id: port.id, file, is_mapped: false, is_closed: false })
}

impl Switch {
    /// Begins a link: each side is offered its own slice.
    pub(super) fn make_link(&mut self, slot: usize, peer: WorldId) -> Result<u64, Refusal> {
        let other = self.by_id.get(&peer).copied().filter(|other| *other != slot).ok_or(Refusal::LinkRefused)?;
        // Past the switch, what is sent would go to the old version.
        if self.is_forwarded(peer) {
            return Err(Refusal::LinkRefused);
        }
        let [Some(asker), Some(target)] = [&self.ports[slot], &self.ports[other]] else {
            return Err(Refusal::LinkRefused);
        };
        if !asker.may_link_with(target) {
            return Err(Refusal::LinkRefused);
        }
        if self.links.between(asker.id, peer).is_some() {
            return Err(Refusal::Linked);
        }
        if [asker.id, peer].into_iter().any(|id| self.links.of(id).len() as u32 >= MAX_LINKS) {
            return Err(Refusal::LinkQuota);
        }
        let link = Link { sides: [side(asker)?, side(target)?], is_up: false, deadline: None };
        let (ours, theirs) = (Bell::new()?, Bell::new()?);
        let number = self.links.number();
        self.offer(slot, number, &link.sides[0], &ours, &theirs)?;
        let asker = link.sides[0].id;
        self.tell_of_link(slot, &Told::Offered { link: number, peer: peer.0 }, asker);
        // From here on it is there: if it fails, it ends.
        let offered = self.offer(other, number, &link.sides[1], &theirs, &ours);
        self.links.all.insert(number, link);
        match offered {
            Ok(()) => self.tell_of_link(other, &Told::Offered { link: number, peer: asker.0 }, asker),
            Err(_) => self.drop_link(number, None, asker),
        }
        Ok(number.into())
    }

    fn offer(&mut self, slot: usize, number: u32, side: &Side, own: &Bell, peers: &Bell) -> Result<(), Refusal> {
        let note = Note { what: Handed::LinkOut, number, bytes: side.file.size().bytes().into() };
        let files = [side.file.as_fd(), own.read.as_fd(), peers.write.as_fd(), peers.read.as_fd()];
        self.port(slot).lane.give(&note, &files)
    }

    /// A side says that it has mapped and sealed its slice. With the second one the link is up.
    pub(super) fn link_mapped(&mut self, slot: usize, number: u32) -> Result<u64, Refusal> {
        let id = self.port(slot).id;
        let link = self.links.all.get_mut(&number).ok_or(Refusal::NoSuchLink)?;
        let side = link.side(id).ok_or(Refusal::NoSuchLink)?;
        if !side.file.is_sealed() {
            return Err(Refusal::Unsealed);
        }
        side.is_mapped = true;
        if link.is_up || link.deadline.is_some() || !link.sides.iter().all(|side| side.is_mapped) {
            return Ok(0);
        }
        link.is_up = true;
        let [one, other] = &link.sides;
        let mut given = Ok(());
        for (to, from) in [(one, other), (other, one)] {
            let note = Note { what: Handed::LinkIn, number, bytes: from.file.size().bytes().into() };
            let port = self.by_id.get(&to.id).and_then(|slot| self.ports[*slot].as_ref());
            let port = port.ok_or(Refusal::NoSuchLink)?;
            given = given.and(port.lane.give(&note, &[from.file.as_fd()]));
        }
        let ids = link.ids();
        match given {
            Ok(()) => self.tell_both(ids, &Told::Up { link: number }, id),
            Err(_) => self.drop_link(number, None, id),
        }
        Ok(0)
    }

    /// Ends a link for one side: both are told.
    pub(super) fn unlink(&mut self, slot: usize, number: u32) -> Result<u64, Refusal> {
        let id = self.port(slot).id;
        match self.links.all.get(&number) {
            Some(link) if link.has(id) => self.end_link(number, id),
            _ => return Err(Refusal::NoSuchLink),
        }
        Ok(0)
    }

    /// The supervisor ends whatever link there is between two worlds.
    pub(super) fn unlink_worlds(&mut self, one: WorldId, other: WorldId) {
        if let Some(number) = self.links.between(one, other) {
            self.end_link(number, one);
            self.publish_touched();
        }
    }

    pub(super) fn end_link(&mut self, number: u32, charged: WorldId) {
        let Some(link) = self.links.all.get_mut(&number) else { return };
        if !link.is_up {
            return self.drop_link(number, None, charged);
        }
        if link.deadline.is_none() {
            let deadline = clock::now() + CLOSING;
            link.deadline = Some(deadline);
            let ids = link.ids();
            self.links.next_deadline.get_or_insert(deadline);
            self.tell_both(ids, &Told::Ending { link: number }, charged);
        }
    }

    /// A side says that it writes nothing more. What it wrote before is with the other by now, or on its way.
    pub(super) fn link_closed(&mut self, slot: usize, number: u32) -> Result<u64, Refusal> {
        let id = self.port(slot).id;
        let link = self.links.all.get_mut(&number).ok_or(Refusal::NoSuchLink)?;
        link.side(id).ok_or(Refusal::NoSuchLink)?.is_closed = true;
        if link.deadline.is_some() && link.sides.iter().all(|side| side.is_closed) {
            self.drop_link(number, None, id);
        }
        Ok(0)
    }

    /// A side says that the other wrote what can't be true. That is its word against the other's: the operator is told, the link ends, and
    /// nothing else happens to anybody.
    pub(super) fn accuse(&mut self, slot: usize, number: u32) -> Result<u64, Refusal> {
        let by = self.port(slot).id;
        let link = self.links.all.get_mut(&number).filter(|link| link.has(by)).ok_or(Refusal::NoSuchLink)?;
        let of = link.ids().into_iter().find(|id| *id != by).unwrap_or(by);
        // Lost rather than waited for: the link has room for what matters, and an accuser can repeat itself.
        let _ = self.link.try_send(&Report::Accused { by: by.0, of: of.0 }, &[]);
        self.end_link(number, by);
        self.link_closed(slot, number)
    }

    /// A link is gone, with the reason that one of its sides is.
    fn drop_link(&mut self, number: u32, gone: Option<WorldId>, charged: WorldId) {
        let how = |side: &Side, link: &Link| match gone {
            Some(_) => Down::Died,
            None if link.is_up && !side.is_closed => Down::Late,
            None => Down::Closed,
        };
        let Some(link) = self.links.all.remove(&number) else { return };
        let is_late = link.sides.iter().any(|side| how(side, &link) == Down::Late);
        for side in link.sides.iter().filter(|side| Some(side.id) != gone) {
            if let Some(slot) = self.by_id.get(&side.id).copied() {
                self.port(slot).linked_bytes += produced(&side.file);
                self.tell_of_link(slot, &Told::Down { link: number, how: how(side, &link) }, charged);
            }
        }
        self.link_is_gone(number, is_late);
    }

    /// Ends the links of a world that is gone.
    pub(super) fn drop_links(&mut self, gone: WorldId) {
        for number in self.links.of(gone) {
            let other = self.links.all[&number].ids().into_iter().find(|id| *id != gone);
            self.drop_link(number, Some(gone), other.unwrap_or(gone));
        }
    }

    /// Ends the links whose sides were waited for long enough.
    pub(super) fn end_late_links(&mut self) {
        let Some(next) = self.links.next_deadline else { return };
        let now = clock::now();
        if now < next {
            return;
        }
        let is_late = |link: &Link| link.deadline.is_some_and(|deadline| deadline <= now);
        let late = self.links.all.iter().filter(|(_, link)| is_late(link));
        for (number, charged) in late.map(|(number, link)| (*number, link.sides[0].id)).collect::<Vec<_>>() {
            self.drop_link(number, None, charged);
        }
        self.links.next_deadline = self.links.all.values().filter_map(|link| link.deadline).min();
        self.publish_touched();
    }

    /// Whether a world may say something to another about the link with this number.
    pub(super) fn mark(&mut self, slot: usize, receiver: usize, number: u32) -> Result<Brought, Reason> {
        if number == 0 {
            return Ok((0, 0));
        }
        let (from, to) = (self.port(slot).id, self.port(receiver).id);
        match self.links.all.get(&number) {
            Some(link) if link.is_up && link.has(from) && link.has(to) => Ok((FLAG_MARK, number)),
            _ => Err(Reason::Unlinked),
        }
    }

    fn tell_both(&mut self, ids: [WorldId; 2], told: &Told, charged: WorldId) {
        for id in ids {
            if let Some(slot) = self.by_id.get(&id).copied() {
                self.tell_of_link(slot, told, charged);
            }
        }
    }

    fn tell_of_link(&mut self, slot: usize, told: &Told, charged: WorldId) {
        let mut header = Header::new(Kind::Message, self.port(slot).id, exchange::BYTES as u32);
        (header.flags, header.stream) = (FLAG_MARK, FOR_THE_CLIENT);
        self.say(slot, &header, &told.encode(), charged);
    }
}
