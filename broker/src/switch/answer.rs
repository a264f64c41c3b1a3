//! What worlds are told: that a request ended, that a record went nowhere.

use super::port::Held;
use super::requests::{Key, Open};
use super::{Switch, clock};
use std::rc::Rc;
use std::time::Duration;
use strait_protocol::{Header, Kind, RawHeader, Reason, ReserveError, WorldId};

impl Switch {
    /// A request is on its way to who may answer it, by way of a group or not.
    pub(super) fn open_request(&mut self, stamped: &Header, to: WorldId, group: Option<WorldId>) {
        let timeout = Duration::from_millis(u64::from(stamped.timeout_ms.max(1)));
        let key = (stamped.source, stamped.correlation);
        let open = Open { to, group, deadline: clock::now() + timeout, sequence: stamped.sequence, tag: stamped.tag };
        // An asker that uses a correlation id twice gets one answer for both: its own confusion.
        if self.requests.insert(key, open) {
            let slot = self.by_id[&stamped.source];
            self.port(slot).open_requests += 1;
            if let Some(group) = group {
                self.begin_job(group, key, to);
            }
        }
    }

    pub(super) fn close_request(&mut self, stamped: &Header) {
        let key = (stamped.destination, stamped.correlation);
        if let Some(open) = self.requests.answer(key, stamped.source) {
            self.is_ended(key, &open);
        }
    }

    fn is_ended(&mut self, key: Key, open: &Open) {
        if let Some(slot) = self.by_id.get(&key.0).copied() {
            self.port(slot).open_requests -= 1;
        }
        if let Some(group) = open.group {
            self.end_job(group, key);
        }
    }

    /// Ends what a world that is gone asked or was asked.
    pub(super) fn end_requests_of(&mut self, gone: WorldId) {
        let ended = self.requests.forget(gone);
        self.end_requests(gone, ended);
    }

    /// The same of these alone.
    pub(super) fn end_requests(&mut self, gone: WorldId, ended: Vec<(Key, Open)>) {
        let mut repeated = Vec::new();
        for (key, open) in ended {
            match open.group {
                Some(group) if key.0 == gone => self.end_job(group, key),
                Some(group) => match self.repeat(group, key, open) {
                    Ok(()) => repeated.push(group),
                    Err(reason) => self.end_request(key, &open, reason),
                },
                None if key.0 == gone => {}
                None => self.end_request(key, &open, Reason::Died),
            }
        }
        repeated.into_iter().for_each(|group| self.look_at_group(group));
    }

    /// Ends an open request without an answer.
    pub(super) fn end_request(&mut self, key: Key, open: &Open, reason: Reason) {
        self.is_ended(key, open);
        if let Some(slot) = self.by_id.get(&key.0).copied() {
            let mut request = Header::new(Kind::Request, open.group.unwrap_or(open.to), 0);
            (request.correlation, request.sequence, request.tag) = (key.1, open.sequence, open.tag);
            self.see_ended(&Header { source: key.0, ..request }, reason);
            self.notify(slot, &request, reason);
        }
    }

    /// Tells a sender what became of the record that was just taken from it.
    pub(super) fn tell(&mut self, slot: usize, header: &Header, reason: Reason) {
        if let Some(port) = &self.ports[slot] {
            let failed = Header { sequence: port.sequence, ..*header };
            self.refuse(slot, &failed, reason);
        }
    }

    /// The same of one that has its number already.
    pub(super) fn refuse(&mut self, slot: usize, numbered: &Header, reason: Reason) {
        let port = self.port(slot);
        port.tally.refuse(reason);
        let stamped = Header { source: port.id, ..*numbered };
        self.see_ended(&stamped, reason);
        self.notify(slot, &stamped, reason);
    }

    /// Tells the sender of a message that was held that its receiver died. (Of a request it is told as its asker.)
    pub(super) fn tell_lost(&mut self, header: &Header) {
        if header.kind == Kind::Message
            && let Some(slot) = self.by_id.get(&header.source).copied()
        {
            self.notify(slot, header, Reason::Died);
        }
    }

    /// Puts a notice into an inbox, or holds it on its receiver's own account: who doesn't read what became of its records is
    /// not read either, once over budget.
    pub(super) fn notify(&mut self, slot: usize, about: &Header, reason: Reason) {
        let port = self.port(slot);
        let mut notice = Header::new(Kind::Notice, port.id, 0);
        notice.source = about.destination;
        notice.code = reason as u16;
        notice.flags = about.kind as u8;
        (notice.correlation, notice.sequence, notice.tag) = (about.correlation, about.sequence, about.tag);
        notice.stream = about.stream;
        let raw = RawHeader::from(&notice);
        let put = if port.held.is_empty() { port.put(&raw, &[]) } else { Err(ReserveError::Full) };
        match put {
            Ok(()) => {}
            Err(ReserveError::Corrupt(corrupt)) => return self.quarantine(slot, &corrupt),
            Err(_) => {
                let held = Held { raw, payload: Rc::default(), charged: port.id, parcel: None };
                port.held_bytes += held.bytes();
                port.held.push_back(held);
            }
        }
        self.activate(slot);
        self.touch(slot);
    }
}
