//! A hostile world: it has a writable mapping of its outbox and no manners. Its inbox is watched for what isn't its to see.

use super::mark::{Mark, unmarked};
use super::operation::Act;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering::SeqCst;
use strait_memory::{Inbox, Writable};
use strait_protocol::{Header, Kind, SliceMemory, WorldId, WritableMemory, stride};
use strait_sys::wake;

pub(super) struct Hostile {
    outbox: Writable,
    inbox: Inbox,
    bell: OwnedFd,
    /// How much of its inbox was looked at.
    seen: u64,
    /// Whom it can name.
    pub(super) targets: Vec<WorldId>,
}

impl Hostile {
    pub(super) fn new(outbox: Writable, inbox: Inbox, bell: OwnedFd) -> Self {
        Self { outbox, inbox, bell, seen: 0, targets: Vec::new() }
    }

    pub(super) fn act(&mut self, act: &Act) {
        match *act {
            Act::Record { to, kind, bytes } => self.record(to, kind, bytes),
            Act::Rewrite { at, to, kind, bytes } => {
                let place = self.place(u64::from(at) * 16);
                self.write_header(place, to, kind, bytes);
            }
            Act::Word { at, word } => {
                let place = self.place(u64::from(at) * 8);
                self.write(place, word);
            }
            Act::Control { which, by } => self.control(which, by),
            Act::Consume => {
                let all = self.inbox.control().produced.load(SeqCst);
                self.outbox.control().consumed.store(all, SeqCst);
            }
            Act::Ring => wake::ring(self.bell.as_fd()),
        }
    }

    /// A place in the ring, counted from where the switch reads.
    fn place(&self, behind: u64) -> u32 {
        let reads_at = self.inbox.control().consumed.load(SeqCst);
        (reads_at.wrapping_add(behind) % u64::from(self.outbox.ring_bytes())) as u32
    }

    fn record(&mut self, to: u8, kind: u8, bytes: u16) {
        let produced = self.outbox.control().produced.load(SeqCst);
        let place = (produced % u64::from(self.outbox.ring_bytes())) as u32 & !15;
        self.write_header(place, to, kind, bytes);
        self.outbox.control().produced.store(produced.wrapping_add(stride(u32::from(bytes))), SeqCst);
        wake::ring(self.bell.as_fd());
    }

    fn write_header(&mut self, place: u32, to: u8, kind: u8, bytes: u16) {
        let target = self.targets.get(usize::from(to)).copied().unwrap_or(WorldId(u64::from(to)));
        let mut header = Header::new(Kind::Message, target, u32::from(bytes));
        // All that it may not say, and a correlation that an honest world may use too.
        (header.source, header.sequence, header.flags) = (self.targets[0], 1, 0xff);
        (header.correlation, header.timeout_ms) = (u64::from(to % 4), 5000);
        let mut words = header.encode();
        words[0] = words[0] & !(0xff << 32) | u64::from(kind) << 32;
        if kind == Kind::Multicast as u8 {
            words[2] = u64::from(to % 8);
            for (n, id) in self.targets.clone().into_iter().enumerate().take(8) {
                self.write(place + 64 + 8 * n as u32, id.0);
            }
        }
        self.outbox.store_header(place, &words);
    }

    fn write(&mut self, place: u32, word: u64) {
        self.outbox.copy_in(place, &unmarked(word).to_le_bytes());
    }

    fn control(&self, which: u8, by: i64) {
        let control = self.outbox.control();
        match which % 4 {
            0 => drop(control.produced.fetch_add(by as u64, SeqCst)),
            1 => drop(control.consumed.fetch_add(by as u64, SeqCst)),
            2 => drop(control.waiting.fetch_add(by as u32, SeqCst)),
            _ => drop(control.bell.fetch_add(by as u32, SeqCst)),
        }
    }

    /// Whether something was published to its inbox since the last look.
    pub(super) fn has_news(&mut self) -> bool {
        let produced = self.inbox.control().produced.load(SeqCst);
        std::mem::replace(&mut self.seen, produced) != produced
    }

    /// What honest worlds wrote that lies in its inbox, or did and wasn't written over.
    pub(super) fn marks(&self) -> impl Iterator<Item = Mark> {
        let word = |bytes: &[u8]| u64::from_le_bytes(bytes.try_into().expect("eight bytes"));
        let words = self.inbox.bytes(0, self.inbox.ring_bytes() as usize).chunks_exact(8).map(word);
        words.filter_map(Mark::of)
    }
}
