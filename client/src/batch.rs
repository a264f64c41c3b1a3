//! Sending many small messages at once: several in one record; see [`strait_protocol::packed`].

use crate::client::Client;
use crate::error::Error;
use strait_protocol::packed::{append, item_stride};
use strait_protocol::{FLAG_PACKED, Header, Kind, WorldId};

/// Payload of a packed record, in bytes. Large enough that what a record costs is shared by many messages, small enough that many are on
/// their way at once in the smallest ring; measured in docs/performance.md.
const PACKED_BYTES: usize = 4096 - Header::BYTES as usize;

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
        // Over a direct link there is nobody to be spared work.
        if self.is_linked(to) {
            return self.send_each(to, payloads);
        }
        self.pack(payloads, |client, flags, payload| {
            let header = Header { flags, ..Header::new(Kind::Message, to, 0) };
            client.put(header, payload, None).map(drop)
        })
    }

    /// The same to several receivers; see [`multicast`](Self::multicast).
    pub fn multicast_batch<P: AsRef<[u8]>>(
        &mut self,
        to: &[WorldId],
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        self.pack(payloads, |client, flags, payload| client.multicast_as(to, flags, payload).map(drop))
    }

    fn send_each<P: AsRef<[u8]>>(
        &mut self,
        to: WorldId,
        payloads: impl IntoIterator<Item = P>,
    ) -> Result<usize, Error> {
        let mut sent = 0;
        for payload in payloads {
            match self.put(Header::new(Kind::Message, to, 0), payload.as_ref(), None) {
                Err(Error::Full) if sent > 0 => return Ok(sent),
                other => other?,
            };
            sent += 1;
        }
        Ok(sent)
    }

    /// Gathers messages in a buffer, which stays in the nearest cache, and sends it each time it is full.
    fn pack<P: AsRef<[u8]>>(
        &mut self,
        payloads: impl IntoIterator<Item = P>,
        mut send: impl FnMut(&mut Self, u8, &[u8]) -> Result<(), Error>,
    ) -> Result<usize, Error> {
        let mut buffer = std::mem::take(&mut self.packing);
        buffer.resize(PACKED_BYTES, 0);
        let (mut filled, mut packed, mut sent) = (0, 0, 0);
        let mut result = Ok(());
        for payload in payloads {
            let payload = payload.as_ref();
            let bytes = item_stride(payload.len());
            if bytes > PACKED_BYTES - filled && filled > 0 {
                result = send(self, FLAG_PACKED, &buffer[..filled]);
                if result.is_err() {
                    break;
                }
                (filled, sent, packed) = (0, sent + packed, 0);
            }
            if bytes > PACKED_BYTES {
                result = send(self, 0, payload);
                if result.is_err() {
                    break;
                }
                sent += 1;
                continue;
            }
            // The padding too: what lies there was another message.
            buffer[filled + bytes - 16..filled + bytes].fill(0);
            let fits = append(&mut buffer, filled, 0, 0, payload);
            debug_assert!(fits, "an item takes what `item_stride` says");
            (filled, packed) = (filled + bytes, packed + 1);
        }
        if result.is_ok() && filled > 0 {
            result = send(self, FLAG_PACKED, &buffer[..filled]);
            sent += if result.is_ok() { packed } else { 0 };
        }
        self.packing = buffer;
        match result {
            Err(Error::Full) if sent > 0 => Ok(sent),
            Err(error) => Err(error),
            Ok(()) => Ok(sent),
        }
    }
}
