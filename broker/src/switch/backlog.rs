//! Receivers without room: who waits for them and in which order, what is held for them, and who pays for it.
//!
//! A record that finds no room stays in its sender's outbox, at no cost, as long as it is in nobody's way. Its sender then waits for that
//! receiver in line: who has waited longest has the next turn, so that a large record isn't overtaken for ever by small ones. When
//! something for somebody else is behind it, it is taken out and *held*, within a window per sender and receiver and a budget per sender. A sender
//! whose window for a receiver is half used is told not to send there until most of it is free again.

use super::Switch;
use super::parcels::bringing;
use super::port::{Held, Port};
use std::collections::VecDeque;
use std::rc::Rc;
use strait_protocol::{Corrupt, FLAG_TOPIC, Kind, RawHeader, Reason, ReserveError, WorldId};

/// Records looked at in one go behind one that can't go on.
const LOOK_AHEAD: u32 = 1024;
/// Turns in which a receiver that takes nothing keeps a record waiting before it is looked at what is behind it: a stream that
/// is quicker than its reader would be looked at twice otherwise.
const TURNS_BEFORE_LOOKING: u32 = 4;

/// What the record at the head of an outbox waits for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Blocked {
    /// The receiver: a world, or a group of which no member is free.
    pub on: WorldId,
    /// In whose window it would be held: the receiver's, or its topic's, or its group's.
    pub window: WorldId,
    /// Bytes of inbox that it needs.
    pub needed: u32,
    /// It waits for room on its sender's account, and keeps nobody from the receiver until there is some.
    pub is_aside: bool,
    /// Bytes of outbox, from the record on, that are known to be for the same receiver.
    pub looked_past: u32,
    /// What the receiver had released when it was last tried, and how often it was since.
    consumed: u64,
    turns: u32,
}

/// Where the payload of a record to be held is.
pub(super) enum Payload {
    /// In its sender's outbox.
    At(u32),
    /// In memory of our own already, for an earlier receiver of the same.
    Held(Rc<[u8]>),
}

impl Payload {
    pub(super) fn take(&mut self, sender: &Port, bytes: u32) -> Rc<[u8]> {
        if let Self::At(at) = self {
            let mut copy = vec![0; bytes as usize];
            sender.copy_out(*at, &mut copy);
            *self = Self::Held(copy.into());
        }
        let Self::Held(held) = self else { unreachable!("just made so") };
        held.clone()
    }
}

impl Switch {
    /// Whether a record that can't go on must make way now: it is a reply, so that no server waits for a client that doesn't read; or
    /// something for another receiver is behind it (`is_followed`: that is known), and there is window and budget left.
    /// Otherwise it waits in line for its receiver.
    ///
    /// Each byte behind it is looked at once, whatever becomes of the records before it, and a bounded number of records at a time.
    pub(super) fn makes_way(
        &mut self,
        slot: usize,
        raw: &RawHeader,
        receiver: WorldId,
        window: WorldId,
        is_followed: bool,
    ) -> Result<bool, Corrupt> {
        if self.port(slot).is_leaving || raw.kind() == Kind::Reply {
            return Ok(true);
        }
        // Before anything else: a cursor that can't be true must be found here, whoever pays.
        self.port(slot).endpoint.hear_produced()?;
        let may_hold = self.port(slot).can_hold(u64::from(raw.stride()), window);
        // A request too, so that its time runs: it isn't open before it was taken. And what waits for a group, whose members take what is next
        // when they are free, and don't look for it in outboxes.
        let is_wanted = raw.kind() == Kind::Request || self.groups.contains(receiver);
        if may_hold && (is_followed || is_wanted) {
            return Ok(true);
        }
        // It couldn't be kept: its sender's own requests are what it waits for.
        let is_aside = !may_hold && raw.asks_to_be_repeated() && self.groups.contains(receiver);
        self.wait_in_line(slot, receiver, window, raw.stride(), is_aside);
        let consumed = self.by_id.get(&receiver).map_or(0, |slot| self.ports[*slot].as_ref().map_or(0, Port::consumed));
        let Some(port) = &mut self.ports[slot] else { return Ok(false) };
        let Some(blocked) = &mut port.blocked else { return Ok(false) };
        if blocked.consumed != consumed {
            (blocked.consumed, blocked.turns) = (consumed, 0);
        }
        blocked.turns = blocked.turns.saturating_add(1);
        if !may_hold || is_followed || blocked.turns < TURNS_BEFORE_LOOKING {
            return Ok(false);
        }
        for _ in 0..LOOK_AHEAD {
            match port.endpoint.peek_past(blocked.looked_past)? {
                None => return Ok(false),
                Some(next) if next.kind() == Kind::Multicast => return Ok(true),
                Some(next) if *self.forwards.get(&next.destination()).unwrap_or(&next.destination()) != window => {
                    return Ok(true);
                }
                Some(next) => blocked.looked_past += next.stride(),
            }
        }
        Ok(false)
    }

    /// Puts a sender at the end of those who wait for a receiver, unless it waits there already; or beside them.
    fn wait_in_line(&mut self, slot: usize, receiver: WorldId, window: WorldId, needed: u32, is_aside: bool) {
        let head_bytes = self.port(slot).endpoint.head().stride();
        if let Some(blocked) = &mut self.port(slot).blocked
            && (blocked.on, blocked.is_aside) == (receiver, is_aside)
        {
            (blocked.window, blocked.needed) = (window, needed);
            blocked.looked_past = blocked.looked_past.max(head_bytes);
            return;
        }
        self.leave_line(slot);
        let sender = self.port(slot).id;
        if let Some(line) = self.line(receiver) {
            if !is_aside {
                line.push_back(sender);
            }
            let blocked =
                Blocked { on: receiver, window, needed, is_aside, looked_past: head_bytes, consumed: 0, turns: 0 };
            let port = self.port(slot);
            port.blocked = Some(blocked);
            port.tally.waits += 1;
        }
        if !is_aside && self.groups.contains(receiver) {
            self.begin_to_wait(receiver);
        }
    }

    /// Those who wait for a receiver, be it a world or a group.
    fn line(&mut self, receiver: WorldId) -> Option<&mut VecDeque<WorldId>> {
        match self.by_id.get(&receiver).copied() {
            Some(slot) => Some(&mut self.port(slot).waiters),
            None => self.groups.get_mut(receiver).map(|group| &mut group.line),
        }
    }

    /// A sender's turn is over, or no longer wanted: the next in line may go.
    pub(super) fn leave_line(&mut self, slot: usize) {
        let Some(port) = &mut self.ports[slot] else { return };
        let Some(blocked) = port.blocked.take() else { return };
        let id = port.id;
        if let Some(line) = self.line(blocked.on) {
            line.retain(|waiter| *waiter != id);
        }
        match self.by_id.get(&blocked.on).copied() {
            Some(target) => self.call_next(target),
            None if self.groups.contains(blocked.on) => self.call_line(blocked.on),
            None => {}
        }
    }

    /// Lets the first of those who wait for a receiver look whether there is room, and of those who wait for a group that it is a member of.
    pub(super) fn call_next(&mut self, receiver: usize) {
        let first = self.ports[receiver].as_ref().and_then(|port| port.waiters.front());
        if let Some(slot) = first.and_then(|id| self.by_id.get(id)).copied() {
            self.activate(slot);
        }
        for at in 0.. {
            let group = self.ports[receiver].as_ref().and_then(|port| port.groups.get(at)).copied();
            let Some(group) = group else { break };
            self.call_line(group);
        }
    }

    /// Who pays for a record that is held: its sender; of a reply, who asked for it, so that no server can be stopped by
    /// clients that don't read its answers; of what a dead world leaves, who gets it, since there is no other any more.
    pub(super) fn account(&self, slot: usize, raw: &RawHeader, receiver: WorldId) -> usize {
        let is_leaving = self.ports[slot].as_ref().is_none_or(|port| port.is_leaving);
        match raw.kind() {
            _ if raw.kind() == Kind::Reply || is_leaving => self.by_id.get(&receiver).copied().unwrap_or(slot),
            _ => slot,
        }
    }

    /// Takes a record out of its sender's outbox and keeps it until its receiver has room. A reply, or what a dead world leaves, is lost beyond
    /// the receiver's budget: who asked is told, and of a dead sender nobody is left to be told. Nor is who publishes told of a subscriber that may
    /// not hold what a message brings: false says that it misses that.
    pub(super) fn hold(
        &mut self,
        slot: usize,
        raw: &RawHeader,
        receiver: WorldId,
        account: usize,
        payload: &mut Payload,
        flags: u8,
    ) -> bool {
        let Some(receiver) = self.by_id.get(&receiver).copied() else {
            self.queue(slot, raw, payload);
            return true;
        };
        let sender = self.port(slot);
        let mut stamped = raw.stamped(sender.id, sender.sequence + 1).with_flags(flags);
        let bytes = Held::bytes_of(&stamped);
        if account == receiver && !self.port(account).can_charge(bytes) {
            if stamped.kind() == Kind::Reply {
                // The notice is about the request, not about the reply.
                let header = stamped.header();
                let key = (header.destination, header.correlation);
                if let Some(open) = self.requests.answer(key, header.source) {
                    self.end_request(key, &open, Reason::Quota);
                }
            }
            return true;
        }
        let mut parcel = None;
        if flags & FLAG_TOPIC != 0 {
            let Ok(later) = self.bring_later(slot, receiver, raw, 0) else { return false };
            parcel = later;
        } else {
            match self.bring(slot, receiver, raw) {
                Ok(brought) => stamped = bringing(stamped, brought),
                Err(reason) => {
                    self.refuse(slot, &stamped.header(), reason);
                    return true;
                }
            }
        }
        let payload = payload.take(self.port(slot), stamped.length());
        let held = Held { raw: stamped, payload, charged: self.port(account).id, parcel };
        let window = held.window(self.port(receiver).id);
        if self.port(account).charge(bytes, window) {
            self.stop(account, window);
        }
        self.see_held(slot, receiver, &stamped, &held.payload);
        self.port(receiver).held.push_back(held);
        self.note(receiver, &stamped);
        if window != self.port(receiver).id {
            self.is_given(stamped.source(), &stamped, receiver);
        }
        true
    }

    /// Moves what was held for a port into its inbox, as far as there is room.
    pub(super) fn flush_held(&mut self, slot: usize) -> bool {
        let mut moved = false;
        while let Some(port) = &mut self.ports[slot] {
            let id = port.id;
            let Some(mut first) = port.held.pop_front() else { break };
            if first.parcel.is_some() && !self.bring_now(slot, &mut first) {
                self.lose(slot, &first);
                moved = true;
                continue;
            }
            let port = self.port(slot);
            // A cursor that can't be true is found below.
            if first.parcel.is_some() && port.endpoint.room().is_ok() {
                port.held.push_front(first);
                break;
            }
            match port.put(&first.raw, &first.payload) {
                Ok(()) => {
                    moved = true;
                    port.unseated += 1;
                    self.uncharge(first.charged, first.window(id), first.bytes());
                }
                Err(error) => {
                    // Also if its world is at fault: what is held is uncharged and told when that is forgotten.
                    port.held.push_front(first);
                    if let ReserveError::Corrupt(corrupt) = error {
                        self.quarantine(slot, &corrupt);
                        return true;
                    }
                    break;
                }
            }
        }
        if moved {
            self.touch(slot);
            self.call_next(slot);
        }
        moved
    }

    /// What was the first to be held isn't to be delivered after all: the subscription that it was for is told by its next.
    fn lose(&mut self, slot: usize, held: &Held) {
        let port = self.port(slot);
        port.unseated += 1;
        let id = port.id;
        self.uncharge(held.charged, held.window(id), held.bytes());
        self.miss(slot, &held.raw);
    }

    /// Some of what was held for a port is not any more: what is behind it may have room, in the inbox or in line.
    pub(super) fn close_ranks(&mut self, slot: usize) {
        self.activate(slot);
        self.call_next(slot);
    }

    pub(super) fn uncharge(&mut self, account: WorldId, window: WorldId, bytes: u64) {
        let Some(slot) = self.by_id.get(&account).copied() else { return };
        let port = self.port(slot);
        let waits = port.held_bytes > port.budget_bytes || port.blocked.is_some();
        if port.uncharge(bytes, window) {
            self.go_on(slot, window);
        }
        if waits {
            self.activate(slot);
        }
    }

    /// Whether a port that is about to be left alone has something to do after all.
    pub(super) fn has_work(&mut self, slot: usize) -> bool {
        let Some(port) = &mut self.ports[slot] else { return false };
        if port.keeps_waiting() {
            return self.has_unseen(slot) || self.can_dispatch_for(slot);
        }
        !self.port(slot).held.is_empty() || self.has_unseen(slot) || self.can_dispatch_for(slot)
    }

    /// Whether the outbox has a record that can be taken, or that was not looked at.
    fn has_unseen(&mut self, slot: usize) -> bool {
        let Some(port) = &mut self.ports[slot] else { return false };
        if port.held_bytes > port.budget_bytes {
            return false;
        }
        // A cursor that can't be true is work: the next pass finds it again and acts on it.
        let Ok(data) = port.endpoint.hear_produced() else { return true };
        let Some(blocked) = port.blocked else { return data };
        let unlooked = !matches!(port.endpoint.peek_past(blocked.looked_past), Ok(None));
        let (kind, is_topic, brings) = match port.endpoint.fetch() {
            Ok(true) => {
                let head = port.endpoint.head();
                (head.kind(), head.destination().is_topic(), head.parcel() != 0)
            }
            // What was blocked was held, and nothing is behind it.
            Ok(false) => return false,
            Err(_) => return true,
        };
        let waits_for_group = self.groups.contains(blocked.on);
        let is_followed = unlooked || is_topic || waits_for_group || matches!(kind, Kind::Multicast | Kind::Request);
        if kind == Kind::Reply || is_followed && port.can_hold(u64::from(blocked.needed), blocked.window) {
            return true;
        }
        let id = port.id;
        match self.by_id.get(&blocked.on).copied() {
            None if waits_for_group => self.can_go_to_group(slot, &blocked),
            None => true,
            Some(receiver) => {
                let target = self.port(receiver);
                target.held.is_empty()
                    && target.waiters.front().is_none_or(|first| *first == id)
                    && target.endpoint.room().is_ok_and(|room| room >= blocked.needed)
                    && !(brings && is_topic && target.is_lane_full())
            }
        }
    }

    /// What was held for others before its sender died is charged to who gets it. Beyond that one's budget it is lost, and nobody is left to be
    /// told but a subscription, by its next.
    pub(super) fn inherit(&mut self, gone: WorldId) {
        for slot in 0..self.ports.len() {
            let Some(port) = &mut self.ports[slot] else { continue };
            let (id, mut inherited, mut lost) = (port.id, 0, Vec::new());
            let room = port.budget_bytes.saturating_sub(port.held_bytes);
            port.held.retain_mut(|held| {
                if held.charged != gone {
                    return true;
                }
                held.charged = id;
                inherited += held.bytes();
                let fits = inherited <= room;
                if !fits {
                    inherited -= held.bytes();
                    lost.push((held.raw, held.parcel.take()));
                }
                fits
            });
            port.held_bytes += inherited;
            if !lost.is_empty() {
                self.close_ranks(slot);
            }
            for (raw, parcel) in lost {
                self.miss(slot, &raw);
                parcel.into_iter().for_each(|parcel| self.bring_never(slot, gone, parcel));
            }
        }
    }
}
