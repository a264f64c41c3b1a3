//! Parcels: memory that the switch makes, one world fills and seals, and any number may then read.
//!
//! The switch never maps a parcel. Who may have one is who was sent it by a record that policy let through, under a number of its own:
//! numbers mean nothing to anybody else. Each holder is charged the whole, from the moment it is handed the memory until it gives it
//! back as often as it came. One sender can fill no more than half of what the others leave of a receiver's limits.

use super::Switch;
use super::deliver::Outcome;
use super::port::{Held, Port};
use crate::link::Event as Report;
use std::collections::HashMap;
use std::os::fd::AsFd;
use std::rc::Rc;
use strait_memory::{ParcelError, ParcelFile};
use strait_protocol::exchange::{Handed, Note, Refusal};
use strait_protocol::{FLAG_MARK, FLAG_PARCEL, RawHeader, Reason, WorldId};

/// Memory is charged by the page.
const PAGE_BYTES: u64 = 4096;
/// From this size on the supervisor closes a parcel that nobody has any more: to free it takes the better part of a millisecond, and the switch has
/// others to serve. Making one takes its maker several times as long.
const BIG_BYTES: u64 = 4 << 20;

#[derive(Debug)]
pub(super) struct Parcel {
    /// Never given twice.
    serial: u64,
    file: ParcelFile,
}

impl Parcel {
    pub(super) fn charge(&self) -> u64 {
        self.file.bytes().next_multiple_of(PAGE_BYTES)
    }
}

/// One world's hold on one parcel.
#[derive(Debug)]
struct Holding {
    parcel: Rc<Parcel>,
    /// How often it came and was not given back.
    uses: u64,
    /// Records that bring it and wait for a group. Its holder pays for as long as there are any.
    pins: u32,
    /// Who sent it first; its maker for the maker.
    from: WorldId,
    /// It was found sealed, which it then is for good.
    is_sealed: bool,
}

/// The parcels that one world holds.
#[derive(Debug)]
pub(super) struct Holdings {
    by_number: HashMap<u32, Holding>,
    /// Numbers by serial.
    numbers: HashMap<u64, u32>,
    last_number: u32,
    /// From whom what waits with messages by topics, and what is charged for it: it has no number before it is handed over.
    waiting: Vec<(WorldId, u64)>,
    bytes: u64,
    max_count: u32,
    max_bytes: u64,
}

/// Why a parcel isn't handed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NotGiven {
    /// It is the sender's fault.
    Unfit(Reason),
    /// Its receiver holds as much as it may.
    Quota,
    /// Its receiver hasn't taken up what it was handed before.
    LaneFull,
}

impl From<NotGiven> for Reason {
    fn from(why: NotGiven) -> Self {
        match why {
            NotGiven::Unfit(reason) => reason,
            NotGiven::Quota | NotGiven::LaneFull => Self::ParcelQuota,
        }
    }
}

impl Holdings {
    pub(super) fn new(max_count: u32, max_bytes: u64) -> Self {
        let (by_number, numbers) = (HashMap::new(), HashMap::new());
        Self { by_number, numbers, last_number: 0, waiting: Vec::new(), bytes: 0, max_count, max_bytes }
    }

    /// Whether there is room for one more from this sender: who isn't the holder itself gets half of what the others leave.
    fn has_room(&self, from: WorldId, holder: WorldId, charge: u64) -> bool {
        let held = self.by_number.values().map(|holding| (holding.from, holding.parcel.charge()));
        let of_sender = held.chain(self.waiting.iter().copied()).filter(|(other, _)| *other == from);
        let (count, bytes) = of_sender.fold((0, 0), |(n, bytes), (_, charge)| (n + 1, bytes + charge));
        let others = (u64::from(self.count()) - count, self.bytes - bytes);
        let share = if from == holder { 1 } else { 2 };
        let fits = |used: u64, more: u64, others: u64, max: u64| {
            used.saturating_add(more) <= max.saturating_sub(others) / share
        };
        fits(count, 1, others.0, self.max_count.into()) && fits(bytes, charge, others.1, self.max_bytes)
    }

    pub(super) fn count(&self) -> u32 {
        (self.by_number.len() + self.waiting.len()) as u32
    }

    /// Bytes that its world is charged for them.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The next number that nothing has.
    fn next_number(&self) -> u32 {
        let mut number = self.last_number;
        loop {
            number = number.wrapping_add(1);
            if number != 0 && !self.by_number.contains_key(&number) {
                return number;
            }
        }
    }

    fn insert(&mut self, number: u32, parcel: Rc<Parcel>, from: WorldId, is_sealed: bool) {
        self.last_number = number;
        self.bytes += parcel.charge();
        self.numbers.insert(parcel.serial, number);
        self.by_number.insert(number, Holding { parcel, uses: 1, pins: 0, from, is_sealed });
    }

    fn remove(&mut self, number: u32) -> Option<Rc<Parcel>> {
        let holding = self.by_number.remove(&number)?;
        self.bytes -= holding.parcel.charge();
        self.numbers.remove(&holding.parcel.serial);
        Some(holding.parcel)
    }

    /// Counts what waits with a message by a topic until that has room.
    pub(super) fn begin_to_wait(&mut self, from: WorldId, parcel: &Parcel) {
        self.waiting.push((from, parcel.charge()));
        self.bytes += parcel.charge();
    }

    /// It waits no longer. What isn't counted has waited for a life that is over.
    pub(super) fn end_wait(&mut self, from: WorldId, parcel: &Parcel) {
        let wait = (from, parcel.charge());
        if let Some(at) = self.waiting.iter().position(|other| *other == wait) {
            self.waiting.swap_remove(at);
            self.bytes -= wait.1;
        }
    }

    pub(super) fn drain(&mut self) -> impl Iterator<Item = Rc<Parcel>> {
        self.bytes = 0;
        self.waiting.clear();
        self.numbers.clear();
        std::mem::take(&mut self.by_number).into_values().map(|holding| holding.parcel)
    }

    /// The parcel with this number, if it can be sent.
    pub(super) fn sendable(&mut self, number: u32) -> Result<Rc<Parcel>, Reason> {
        let holding = self.by_number.get_mut(&number).filter(|holding| holding.uses > 0);
        let holding = holding.ok_or(Reason::NoSuchParcel)?;
        holding.is_sealed = holding.is_sealed || holding.parcel.file.is_sealed();
        match holding.is_sealed {
            true => Ok(holding.parcel.clone()),
            false => Err(Reason::Unsealed),
        }
    }
}

impl Switch {
    pub(super) fn make_parcel(&mut self, slot: usize, bytes: u64) -> Result<u64, Refusal> {
        let serial = self.parcels_made + 1;
        let port = self.port(slot);
        if !port.holdings.has_room(port.id, port.id, bytes.checked_next_multiple_of(PAGE_BYTES).unwrap_or(u64::MAX)) {
            return Err(Refusal::ParcelQuota);
        }
        let file = ParcelFile::create(bytes).map_err(|error| match error {
            ParcelError::Bytes(_) => Refusal::Malformed,
            _ => Refusal::Exhausted,
        })?;
        let number = port.holdings.next_number();
        port.lane.give(&Note { what: Handed::Parcel, number, bytes }, &[file.as_fd()])?;
        port.holdings.insert(number, Rc::new(Parcel { serial, file }), port.id, false);
        self.parcels_made = serial;
        Ok(number.into())
    }

    pub(super) fn release_parcel(&mut self, slot: usize, number: u32, uses: u64) -> Result<u64, Refusal> {
        let port = self.port(slot);
        let holding = port.holdings.by_number.get_mut(&number).filter(|holding| holding.uses > 0);
        let holding = holding.ok_or(Refusal::NoSuchParcel)?;
        holding.uses = holding.uses.checked_sub(uses).ok_or(Refusal::NoSuchParcel)?;
        let left = holding.uses;
        if (left, holding.pins) == (0, 0)
            && let Some(parcel) = port.holdings.remove(number)
        {
            self.let_go(parcel);
        }
        Ok(left)
    }

    /// What a record brings, made known to its receiver. Only once the record itself has
    /// room: so that what is counted comes. What comes by a topic waits for a receiver that hasn't taken up what it was handed before.
    #[inline]
    pub(super) fn brought_by(
        &mut self,
        slot: usize,
        receiver: usize,
        raw: &RawHeader,
        is_by_topic: bool,
    ) -> Result<Brought, Outcome> {
        const NOTHING: Brought = (0, 0);
        if raw.stream() == 0 || raw.flags() & (FLAG_PARCEL | FLAG_MARK) == 0 {
            return Ok(NOTHING);
        }
        if raw.parcel() == 0 {
            return self.mark(slot, receiver, raw.mark()).map_err(Outcome::Refused);
        }
        let sender = self.port(slot).id;
        let target = self.port(receiver);
        if raw.length() > target.endpoint.max_payload() {
            return Err(Outcome::Refused(Reason::TooLarge));
        }
        // A cursor that can't be true is found again when the record itself is delivered.
        if !target.has_turn(sender) || target.endpoint.room().is_ok_and(|room| room < raw.stride()) {
            return Err(Outcome::Blocked(target.id));
        }
        match self.hand_on(slot, receiver, raw.parcel()) {
            Ok(number) => Ok((FLAG_PARCEL, number)),
            Err(NotGiven::LaneFull) if is_by_topic => {
                let target = self.port(receiver);
                target.note_full_lane();
                Err(Outcome::Blocked(target.id))
            }
            Err(why) => Err(Outcome::Refused(why.into())),
        }
    }

    /// The same for a record that will have room, or is held until it has.
    pub(super) fn bring(&mut self, slot: usize, receiver: usize, raw: &RawHeader) -> Result<Brought, Reason> {
        match raw.parcel() {
            0 => self.mark(slot, receiver, raw.mark()),
            number => Ok((FLAG_PARCEL, self.hand_on(slot, receiver, number)?)),
        }
    }

    /// The parcel that a message by a topic brings which has to wait: its receiver is charged for it from now on. There is room for it in any
    /// case if it comes in the place of one that was charged as much, `freed` bytes.
    pub(super) fn bring_later(
        &mut self,
        slot: usize,
        receiver: usize,
        raw: &RawHeader,
        freed: u64,
    ) -> Result<Option<Rc<Parcel>>, Reason> {
        if raw.parcel() == 0 {
            return Ok(None);
        }
        let sender = self.port(slot);
        let (from, parcel) = (sender.id, sender.holdings.sendable(raw.parcel())?);
        let target = self.port(receiver);
        if parcel.charge() > freed && !target.holdings.has_room(from, target.id, parcel.charge()) {
            return Err(Reason::ParcelQuota);
        }
        target.holdings.begin_to_wait(from, &parcel);
        Ok(Some(parcel))
    }

    /// Hands over what waited with a message by a topic, if that has room now and its receiver takes up what it is handed. False if it
    /// is lost: the kernel hands over no more descriptors.
    pub(super) fn bring_now(&mut self, slot: usize, held: &mut Held) -> bool {
        let port = self.port(slot);
        let has_room = port.endpoint.room().is_ok_and(|room| room >= held.raw.stride());
        if held.parcel.is_none() || !has_room || port.is_lane_full() {
            return true;
        }
        let Some(parcel) = held.parcel.take() else { return true };
        let from = held.raw.source();
        port.holdings.end_wait(from, &parcel);
        // It was counted while it waited: so there is room, whatever others have brought meanwhile.
        match self.hand_parcel(from, &parcel, slot) {
            Ok(number) => held.raw = held.raw.with_number(FLAG_PARCEL, number),
            Err(NotGiven::LaneFull) => {
                let port = self.port(slot);
                port.note_full_lane();
                port.holdings.begin_to_wait(from, &parcel);
                held.parcel = Some(parcel);
            }
            Err(NotGiven::Unfit(_) | NotGiven::Quota) => {
                self.let_go(parcel);
                return false;
            }
        }
        true
    }

    /// What waited to be brought by a topic isn't.
    pub(super) fn bring_never(&mut self, slot: usize, from: WorldId, parcel: Rc<Parcel>) {
        self.port(slot).holdings.end_wait(from, &parcel);
        self.let_go(parcel);
    }

    /// Makes a parcel of one world known to another; its memory is handed over unless the receiver has it already.
    fn hand_on(&mut self, slot: usize, receiver: usize, number: u32) -> Result<u32, NotGiven> {
        let sender = self.port(slot);
        let (from, parcel) = (sender.id, sender.holdings.sendable(number).map_err(NotGiven::Unfit)?);
        self.give_parcel(from, &parcel, receiver)
    }

    pub(super) fn give_parcel(&mut self, from: WorldId, parcel: &Rc<Parcel>, receiver: usize) -> Result<u32, NotGiven> {
        let Port { id, holdings, .. } = self.port(receiver);
        match holdings.numbers.contains_key(&parcel.serial) || holdings.has_room(from, *id, parcel.charge()) {
            true => self.hand_parcel(from, parcel, receiver),
            false => Err(NotGiven::Quota),
        }
    }

    /// The same for a receiver that has room for it, or has it.
    fn hand_parcel(&mut self, from: WorldId, parcel: &Rc<Parcel>, receiver: usize) -> Result<u32, NotGiven> {
        let target = self.port(receiver);
        let holdings = &mut target.holdings;
        if let Some(number) = holdings.numbers.get(&parcel.serial).copied()
            && let Some(holding) = holdings.by_number.get_mut(&number)
        {
            holding.uses += 1;
            return Ok(number);
        }
        let number = holdings.next_number();
        let note = Note { what: Handed::Parcel, number, bytes: parcel.file.bytes() };
        target.lane.give(&note, &[parcel.file.as_fd()]).map_err(|why| match why {
            Refusal::LaneFull => NotGiven::LaneFull,
            _ => NotGiven::Quota,
        })?;
        holdings.insert(number, parcel.clone(), from, true);
        Ok(number)
    }

    /// The parcel that a record brings which has to wait for a group, if it brings one: its sender's hold on it lasts until it is
    /// [let go](Self::unpin).
    pub(super) fn pin(&mut self, slot: usize, raw: &RawHeader) -> Result<Option<Rc<Parcel>>, Reason> {
        let number = raw.parcel();
        if number == 0 {
            return Ok(None);
        }
        let holdings = &mut self.port(slot).holdings;
        let parcel = holdings.sendable(number)?;
        if let Some(holding) = holdings.by_number.get_mut(&number) {
            holding.pins += 1;
        }
        Ok(Some(parcel))
    }

    pub(super) fn unpin(&mut self, holder: WorldId, parcel: Rc<Parcel>) {
        if let Some(slot) = self.by_id.get(&holder).copied() {
            let holdings = &mut self.port(slot).holdings;
            let number = holdings.numbers.get(&parcel.serial).copied().unwrap_or(0);
            if let Some(holding) = holdings.by_number.get_mut(&number) {
                holding.pins -= 1;
                if (holding.uses, holding.pins) == (0, 0)
                    && let Some(held) = holdings.remove(number)
                {
                    self.let_go(held);
                }
            }
        }
        self.let_go(parcel);
    }

    /// Makes the parcel that came with a record to one life of a world known to the next: `former` is what the last one held.
    pub(super) fn bring_again(
        &mut self,
        slot: usize,
        former: &mut Holdings,
        raw: &RawHeader,
    ) -> Result<RawHeader, Reason> {
        if raw.parcel() == 0 {
            return Ok(*raw);
        }
        let holding = former.by_number.get(&raw.parcel()).ok_or(Reason::NoSuchParcel)?;
        let number = self.give_parcel(holding.from, &holding.parcel, slot)?;
        Ok(raw.with_number(FLAG_PARCEL, number))
    }

    /// Forgets one hold on a parcel. With the last one the switch closes the file; an honest world still has it then, and it is that
    /// world which frees the memory when it unmaps it.
    pub(super) fn let_go(&mut self, parcel: Rc<Parcel>) {
        if let Some(last) = Rc::into_inner(parcel)
            && last.file.bytes() >= BIG_BYTES
        {
            // If the link is full, it is closed here after all.
            let _ = self.link.try_send(&Report::Discarded, &[last.file.as_fd()]);
        }
    }
}

/// What comes with a record beside its payload: a flag of the switch and the number that belongs to it, or 0 and 0.
pub(super) type Brought = (u8, u32);

/// A record as its receiver gets it.
#[inline]
pub(super) fn bringing(stamped: RawHeader, (flag, number): Brought) -> RawHeader {
    if flag == 0 { stamped } else { stamped.with_number(flag, number) }
}

#[cfg(test)]
#[path = "parcels_tests.rs"]
mod tests;
