//! One record for several receivers: copied once to each that has room, held once for all that have none.

use super::Switch;
use super::backlog::Payload;
use super::deliver::Outcome;
use strait_protocol::{Corrupt, Header, MAX_RECEIVERS, RawHeader, WorldId};

impl Switch {
    /// Serves the receivers of the record at the head of an outbox, from where it left off. False if it has to wait for one of
    /// them. Each is judged by itself: one that may not be reached, or is gone, is a notice; the others get the record.
    pub(super) fn multicast(&mut self, slot: usize, raw: &RawHeader, at: u32) -> Result<bool, Corrupt> {
        let (receivers, ids) = raw.receivers()?;
        let list = self.copy_ids(slot, at, receivers);
        let at = at + ids;
        let mut payload = Payload::At(at);
        while let Some(port) = &mut self.ports[slot]
            && let Some(receiver) = list.get(port.served as usize).copied()
            && port.served < u64::from(receivers)
        {
            let one = self.readdressed(slot, &raw.to_one(receiver, ids));
            match self.deliver(slot, &one, at)? {
                Outcome::Taken => {}
                Outcome::Blocked(blocked) => {
                    if !self.makes_way(slot, &one, blocked, one.destination(), true)? {
                        return Ok(false);
                    }
                    let account = self.account(slot, &one, blocked);
                    let _ = self.hold(slot, &one, blocked, account, &mut payload, 0);
                }
                Outcome::Refused(reason) => {
                    let sequence = self.port(slot).sequence + 1;
                    self.refuse(slot, &Header { sequence, ..one.header() }, reason);
                }
            }
            if let Some(port) = &mut self.ports[slot] {
                port.served += 1;
            }
        }
        Ok(self.step(slot, raw.stride()))
    }

    /// The receivers' ids, each read once.
    fn copy_ids(&mut self, slot: usize, at: u32, receivers: u32) -> [WorldId; MAX_RECEIVERS as usize] {
        let mut bytes = [0; MAX_RECEIVERS as usize * 8];
        let used = &mut bytes[..receivers as usize * 8];
        self.port(slot).copy_out(at, used);
        let (words, _) = bytes.as_chunks::<8>();
        std::array::from_fn(|index| WorldId(u64::from_ne_bytes(words[index])))
    }
}
