//! A world's own state, for programs that run on tokio: see that of [`Client`](crate::Client).

use super::AsyncClient;
use crate::error::Error;
use crate::store::{self, State, TIME};
use strait_protocol::store::{Loaded, MAX_READ_BYTES, Operation, words};
use strait_protocol::stream::MAX_PIECE_BYTES;
use strait_protocol::{Header, WorldId};

impl AsyncClient {
    /// Saves this world's state, and returns its version when it is durable: see [`Client::save`](crate::Client::save). One after the other, if
    /// several tasks save or load. Dropped before it is done, it has saved all of it or nothing; then the next one is refused for as long as the store is still at it.
    pub async fn save(&self, state: &[u8]) -> Result<u64, Error> {
        let _storing = self.0.storing.lock().await;
        self.ask_store(Operation::Offer, &words([state.len() as u64])).await?;
        store::version(&self.ask_store(Operation::Save, state).await?)
    }

    /// The newest state that was saved under this world's name and is whole, if any was ever saved: see [`Client::load`](crate::Client::load).
    pub async fn load(&self) -> Result<Option<State>, Error> {
        let _storing = self.0.storing.lock().await;
        let loaded = Loaded::decode(&self.ask_store(Operation::Load, &[]).await?).ok_or(Error::Unexpected)?;
        if loaded.version == 0 {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        while (bytes.len() as u64) < loaded.bytes {
            let part = self.ask_store(Operation::Read, &words([bytes.len() as u64, MAX_READ_BYTES])).await?;
            store::append(&mut bytes, &part)?;
        }
        Ok(Some(State::new(&loaded, bytes)))
    }

    async fn ask_store(&self, operation: Operation, payload: &[u8]) -> Result<Vec<u8>, Error> {
        let with = |header| Header { code: operation as u16, ..header };
        store::heard(self.ask_as(with, WorldId::STORE, (payload, MAX_PIECE_BYTES as usize), TIME).await)
    }
}
