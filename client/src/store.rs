//! A world's own state: saved with `strait.store`, and loaded again when the world starts anew.
//!
//! ```no_run
//! # fn main() -> Result<(), strait_client::Error> {
//! use strait_client::Client;
//!
//! let mut client = Client::open()?;
//! let mut count: u64 = match client.load()? {
//!     Some(state) => u64::from_le_bytes(state.bytes.try_into().unwrap_or_default()),
//!     None => 0,
//! };
//! while let Some(record) = client.receive(None)? {
//!     let (head, notice) = (record.header(), record.control_notice());
//!     count += 1;
//!     if let Some(notice) = notice {
//!         client.save(&count.to_le_bytes())?;
//!         client.reply(&head, 0, b"")?;
//!         if notice.ends() {
//!             break;
//!         }
//!     }
//! }
//! # Ok(())
//! # }
//! ```

use crate::client::Client;
use crate::error::Error;
use crate::parcel::Parcel;
use crate::record::Reply;
use std::time::{Duration, Instant};
use strait_protocol::store::{Loaded, MAX_READ_BYTES, Operation, from_words, words};
use strait_protocol::stream::MAX_PIECE_BYTES;
use strait_protocol::{FLAG_PARCEL, Header, Reason, WorldId};

/// How long the store may take: it has a disk to wait for, and others that are served before.
pub(crate) const TIME: Duration = Duration::from_secs(60);

/// A state as it was saved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct State {
    /// Which version it is. They count from 1.
    pub version: u64,
    /// What was saved.
    pub bytes: Vec<u8>,
    /// A newer version is there, but damaged: the newest such.
    pub damaged: Option<u64>,
}

impl State {
    pub(crate) fn new(loaded: &Loaded, bytes: Vec<u8>) -> Self {
        Self { version: loaded.version, bytes, damaged: (loaded.damaged != 0).then_some(loaded.damaged) }
    }
}

impl Client {
    /// Saves this world's state. Returns its version when it is durable: from then on [`load`](Self::load) gives it, or a newer one, after whatever
    /// stops the world, the broker or the machine. On an error what was saved before is still there.
    ///
    /// Takes `snapshots` in the world's configuration, which says how many versions are kept; `snapshot_bytes` says how long each
    /// may be. What else arrives meanwhile is kept for later receives.
    pub fn save(&mut self, state: &[u8]) -> Result<u64, Error> {
        self.offer(state.len())?;
        let header = self.store_header(Operation::Save);
        let deadline = Instant::now().checked_add(TIME);
        match state.len() > MAX_PIECE_BYTES as usize {
            true => self.put_pieces(header, state, deadline)?,
            false => self.put(header, state, deadline)?,
        };
        self.saved(&header)
    }

    /// The same with a state that is a parcel: it isn't copied on the way to the disk.
    pub fn save_parcel(&mut self, state: &Parcel) -> Result<u64, Error> {
        self.offer(state.bytes().len())?;
        let mut header = self.store_header(Operation::Save);
        (header.flags, header.stream) = (FLAG_PARCEL, state.number());
        self.put(header, &[], Instant::now().checked_add(TIME))?;
        self.saved(&header)
    }

    /// The newest state that was saved under this world's name and is whole, if any was ever saved. An error if all are damaged.
    pub fn load(&mut self) -> Result<Option<State>, Error> {
        let loaded = Loaded::decode(&self.ask_store(Operation::Load, &[])?).ok_or(Error::Unexpected)?;
        if loaded.version == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < loaded.bytes {
            let part = self.ask_store(Operation::Read, &words([bytes.len() as u64, MAX_READ_BYTES]))?;
            append(&mut bytes, &part)?;
        }
        Ok(Some(State::new(&loaded, bytes)))
    }

    fn offer(&mut self, bytes: usize) -> Result<(), Error> {
        self.ask_store(Operation::Offer, &words([bytes as u64])).map(drop)
    }

    fn saved(&mut self, header: &Header) -> Result<u64, Error> {
        version(&self.answered(header)?)
    }

    fn ask_store(&mut self, operation: Operation, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let header = self.store_header(operation);
        self.put(header, payload, Instant::now().checked_add(TIME))?;
        self.answered(&header)
    }

    fn store_header(&mut self, operation: Operation) -> Header {
        Header { code: operation as u16, ..self.request_header(WorldId::STORE, TIME) }
    }

    fn answered(&mut self, header: &Header) -> Result<Vec<u8>, Error> {
        heard(self.wait_for_reply(WorldId::STORE, header.correlation, TIME))
    }
}

/// What the store answers.
pub(crate) fn heard(reply: Result<Reply, Error>) -> Result<Vec<u8>, Error> {
    match reply {
        Ok(reply) if reply.header.code == 0 => Ok(reply.payload),
        Ok(reply) => Err(Error::Refused(String::from_utf8_lossy(&reply.payload).into_owned())),
        Err(Error::Undelivered { reason: Reason::Refused | Reason::NoSuchWorld, .. }) => Err(Error::Refused(
            "nothing is kept of this world (its configuration needs `snapshots = 1` or more), or the store is being started".into(),
        )),
        Err(error) => Err(error),
    }
}

/// Which version it became, of the answer to [`Operation::Save`].
pub(crate) fn version(answer: &[u8]) -> Result<u64, Error> {
    from_words(answer).map(|[version]| version).ok_or(Error::Unexpected)
}

/// Puts what was read behind what was read before. The store never answers with nothing.
pub(crate) fn append(bytes: &mut Vec<u8>, part: &[u8]) -> Result<(), Error> {
    if part.is_empty() {
        return Err(Error::Unexpected);
    }
    bytes.extend_from_slice(part);
    Ok(())
}
