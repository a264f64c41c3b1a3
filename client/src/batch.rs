//! Sending many small messages at once: several in one record; see [`strait_protocol::packed`].

use crate::client::{Client, Delivery};
use crate::error::Error;
use strait_protocol::packed::{append, item_stride};
use strait_protocol::{FLAG_PACKED, Header, Kind, Slot, WorldId};

/// Payload of a packed record, in bytes. Large enough that what a record costs is shared by many messages, small enough that many are on
/// their way at once in the smallest ring; measured in docs/performance.md.
const PACKED_BYTES: usize = 4096 - Header::BYTES as usize;

/// Packs messages for one receiver in place in the outbox.
struct Packer<'a> {
    client: &'a mut Client,
    to: WorldId,
    /// The record that is being filled, and how far.
    slot: Option<Slot>,
    filled: usize,
}

impl Client {
    /// Sends messages to one receiver, in order, many of them in one record: for many small ones quicker by far than
    /// one by one. Each arrives as a message of its own; those of one record have the same sequence number, and a notice about it is about all of them.
    ///
    /// Returns how many were sent: all, unless waiting for room took longer than [`set_patience`](Self::set_patience) allows. Like
    /// `write(2)`, it is [`Error::Full`] only if none was.
    pub fn send_batch<P: AsRef<[u8]>>(
        &mut self,
        to: WorldId,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        let mut packer = Packer { client: self, to, slot: None, filled: 0 };
        let mut sent = 0;
        for payload in payloads {
            match packer.push(payload.as_ref()) {
                // No record is being filled when there is no room for another: all before this one are on their way.
                Err(Error::Full) if sent > 0 => return Ok(sent),
                other => other?,
            }
            sent += 1;
        }
        packer.send()?;
        Ok(sent)
    }
}

impl Packer<'_> {
    fn push(&mut self, payload: &[u8]) -> Result<(), Error> {
        let bytes = item_stride(payload.len());
        if bytes > PACKED_BYTES - self.filled {
            self.send()?;
        }
        if bytes > PACKED_BYTES {
            return self.client.put(Header::new(Kind::Message, self.to, 0), payload, None).map(drop);
        }
        // Over a direct link there is nobody to be spared work.
        if self.slot.is_none() && self.client.is_linked(self.to) {
            return self.client.put(Header::new(Kind::Message, self.to, 0), payload, None).map(drop);
        }
        let slot = match self.slot.take() {
            Some(slot) => slot,
            None => self.client.reserve(self.to, PACKED_BYTES, None)?,
        };
        let end = self.filled + bytes;
        let packed = &mut self.client.payload_mut(&slot)[..end];
        // The padding too: what lies there was for somebody else.
        packed[end - 16..].fill(0);
        let fits = append(packed, self.filled, 0, 0, payload);
        debug_assert!(fits, "an item takes what `item_stride` says");
        (self.slot, self.filled) = (Some(slot), end);
        Ok(())
    }

    /// Sends what was packed so far.
    fn send(&mut self) -> Result<(), Error> {
        let Some(slot) = self.slot.take() else { return Ok(()) };
        let length = std::mem::take(&mut self.filled) as u32;
        let header = Header { flags: FLAG_PACKED, ..Header::new(Kind::Message, self.to, length) };
        self.client.commit(&slot, &header, Delivery::Now).map(drop)
    }
}
