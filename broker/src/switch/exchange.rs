//! Requests to the switch itself: judged, carried out in bounded work, answered at once.

use super::Switch;
use super::port::Held;
use strait_protocol::exchange::{self, Ask, Refusal};
use strait_protocol::{FLAG_MARK, Header, Kind, RawHeader, ReserveError, WorldId};

impl Switch {
    /// Takes a record for the switch. A request is answered; anything else is a nudge, and has done its work by now.
    pub(super) fn take_own(&mut self, slot: usize, raw: &RawHeader, at: u32) {
        let header = raw.header();
        if header.kind != Kind::Request {
            return;
        }
        let mut bytes = [0; exchange::BYTES];
        let asked = match header.length as usize == bytes.len() {
            true => {
                self.port(slot).copy_out(at, &mut bytes);
                Ask::decode(&bytes)
            }
            false => None,
        };
        let answer = asked.ok_or(Refusal::Malformed).and_then(|ask| self.carry_out(slot, &ask));
        self.answer(slot, &header, answer);
    }

    fn carry_out(&mut self, slot: usize, ask: &Ask) -> Result<u64, Refusal> {
        match *ask {
            Ask::Probe => Ok(0),
            Ask::NewParcel { bytes } => self.make_parcel(slot, bytes),
            Ask::Link { peer } => self.make_link(slot, WorldId(peer)),
            Ask::LinkMapped { link } => self.link_mapped(slot, link),
            Ask::Unlink { link } => self.unlink(slot, link),
            Ask::LinkClosed { link } => self.link_closed(slot, link),
            Ask::Accuse { link } => self.accuse(slot, link),
            Ask::ReleaseParcel { parcel, uses } => self.release_parcel(slot, parcel, uses),
        }
    }

    fn answer(&mut self, slot: usize, request: &Header, answer: Result<u64, Refusal>) {
        let mut reply = Header::new(Kind::Reply, self.port(slot).id, exchange::BYTES as u32);
        (reply.correlation, reply.tag, reply.stream) = (request.correlation, request.tag, request.stream);
        reply.flags = if request.stream == 0 { 0 } else { FLAG_MARK };
        let value = answer.unwrap_or_else(|refusal| {
            reply.code = refusal as u16;
            0
        });
        let charged = self.port(slot).id;
        self.say(slot, &reply, &exchange::answer(value), charged);
    }

    /// Puts a word of the switch's own into an inbox, behind whatever waits for it, or holds it on somebody's account: who causes
    /// more of them than are read is not read either, once over budget.
    pub(super) fn say(&mut self, slot: usize, header: &Header, payload: &[u8], charged: WorldId) {
        let raw = RawHeader::from(&Header { source: WorldId::SWITCH, ..*header });
        let port = self.port(slot);
        let put = if port.held.is_empty() { port.put(&raw, payload) } else { Err(ReserveError::Full) };
        match put {
            Ok(()) => {}
            Err(ReserveError::Corrupt(corrupt)) => return self.quarantine(slot, &corrupt),
            Err(_) => {
                let held = Held { raw, payload: payload.into(), charged, parcel: None };
                let (bytes, id) = (held.bytes(), port.id);
                port.held.push_back(held);
                if let Some(account) = self.by_id.get(&charged).copied() {
                    self.port(account).charge(bytes, id);
                }
            }
        }
        self.activate(slot);
        self.touch(slot);
    }
}
