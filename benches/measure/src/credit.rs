//! Credit, for peers that would rather drop or hoard messages than hold their sender back.
//!
//! "Nothing lost" is part of every load. Where a peer has no flow control of its own, each receiver tells the sender how far it
//! is, four times per window, over a Unix datagram socket beside the peer. That costs about a hundredth of a microsecond per small
//! message, and is counted.

use crate::Outcome;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Bytes on their way to each receiver, at most.
const WINDOW_BYTES: usize = 2 << 20;
const LONG: Duration = Duration::from_secs(60);

fn window(bytes: usize) -> u64 {
    (WINDOW_BYTES / bytes.max(1)).clamp(4, 4096) as u64
}

fn address(dir: &Path) -> PathBuf {
    dir.join("credit")
}

/// The sender's side: how far each receiver is.
pub struct Account {
    socket: UnixDatagram,
    taken: Vec<u64>,
    window: u64,
}

impl Account {
    pub fn open(dir: &Path, bytes: usize, receivers: usize) -> Outcome<Self> {
        let socket = UnixDatagram::bind(address(dir))?;
        socket.set_read_timeout(Some(LONG))?;
        Ok(Self { socket, taken: vec![0; receivers], window: window(bytes) })
    }

    /// Whether message `number` would have to wait: then whatever is staged must go out first.
    #[inline]
    pub fn is_spent(&self, number: u64) -> bool {
        let slowest = self.taken.iter().min().copied().unwrap_or(u64::MAX);
        number >= slowest.saturating_add(self.window)
    }

    /// Waits until message `number` may be sent.
    pub fn wait(&mut self, number: u64) -> Outcome<()> {
        while self.is_spent(number) {
            let mut grant = [0; 16];
            self.socket.recv(&mut grant).map_err(|error| format!("no credit: {error}"))?;
            let [who, taken] = [0, 8].map(|at| u64::from_le_bytes(*grant[at..].first_chunk().unwrap_or(&[0; 8])));
            if let Some(entry) = self.taken.get_mut(who as usize) {
                *entry = taken;
            }
        }
        Ok(())
    }
}

/// A receiver's side.
pub struct Grants {
    socket: UnixDatagram,
    address: PathBuf,
    who: u64,
    step: u64,
}

impl Grants {
    /// For receiver number `who`, from 0.
    pub fn open(dir: &Path, bytes: usize, who: usize) -> Outcome<Self> {
        let step = (window(bytes) / 4).max(1);
        Ok(Self { socket: UnixDatagram::unbound()?, address: address(dir), who: who as u64, step })
    }

    /// Says that `taken` messages were read, now and then. A sender that has ended no longer needs to know.
    #[inline]
    pub fn took(&self, taken: u64) {
        if taken.is_multiple_of(self.step) {
            let mut grant = [0; 16];
            grant[..8].copy_from_slice(&self.who.to_le_bytes());
            grant[8..].copy_from_slice(&taken.to_le_bytes());
            let _ = self.socket.send_to(&grant, &self.address);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_slowest_receiver_holds_the_sender_back() {
        let dir = std::env::temp_dir().join(format!("strait-credit-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let mut account = Account::open(&dir, 1 << 20, 2).unwrap();
        assert!(!account.is_spent(3) && account.is_spent(4));
        let grants = [0, 1].map(|who| Grants::open(&dir, 1 << 20, who).unwrap());
        grants[0].took(3);
        grants[1].took(1);
        account.wait(4).unwrap();
        assert!(account.is_spent(5));
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
