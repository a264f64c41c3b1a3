//! Taps: who watches gets copies of headers, in batches, and never slows down those who are watched.
//!
//! Each port has a bit for each tap that sees its world, so that a record between two that nobody watches costs one look at a byte. A batch is
//! bounded, and goes out at most every [`PERIOD`]: of what is more than that, the newest is lost, counted, and told with the next
//! batch. So a tap on a switch that moves millions of records a second costs about what it costs to count them, and what
//! is too many is counted by the turn.
//!
//! A payload is shown only if both its worlds say that theirs may be; it is read where it was delivered, not again where its
//! sender can change it.

use super::port::Port;
use super::{Switch, clock};
use std::time::{Duration, Instant};
use strait_memory::Writable;
use strait_protocol::tap::{Fate, MAX_SHOWN_BYTES, MAX_TAPS, SIGHT_BYTES, append, sight_stride};
use strait_protocol::{Header, Kind, Pattern, RawHeader, Reason, ReserveError, SliceMemory, WorldId};

/// Time from the first sight of a batch until it goes out.
const PERIOD: Duration = Duration::from_millis(20);
/// And until it is tried again, if who taps has no room.
const PATIENCE: Duration = Duration::from_millis(100);
/// The largest batch; at most half of what the inbox of who taps can take at once.
const MAX_BATCH_BYTES: usize = 32 * 1024;

/// What of a payload can be shown.
#[derive(Clone, Copy, Debug)]
pub(super) enum Shown<'a> {
    Nothing,
    /// It was delivered: to this inbox, at this place.
    Delivered(&'a Writable, u32),
    Held(&'a [u8]),
}

impl Shown<'_> {
    /// Copies the beginning of a payload of so many bytes.
    fn copy(self, bytes: usize, to: &mut [u8; MAX_SHOWN_BYTES]) -> &[u8] {
        let bytes = bytes.min(MAX_SHOWN_BYTES);
        match self {
            Self::Nothing => &[],
            Self::Delivered(inbox, at) => {
                inbox.copy_out(at, &mut to[..bytes]);
                &to[..bytes]
            }
            Self::Held(payload) => {
                let shown = &payload[..bytes.min(payload.len())];
                to[..shown.len()].copy_from_slice(shown);
                &to[..shown.len()]
            }
        }
    }
}

/// One tap.
#[derive(Debug)]
struct Tap {
    tapper: WorldId,
    pattern: Pattern,
    wants_payload: bool,
    began: Instant,
    batch: Vec<u8>,
    max_bytes: usize,
    /// Nothing more is put into this batch: what follows is lost.
    is_full: bool,
    /// Records since the last batch that there was no place for.
    lost: u64,
    /// When the batch is to go out. `None` if nothing is in it.
    due: Option<Instant>,
}

impl Tap {
    /// Takes a record down, if there is a place for it.
    fn see(&mut self, raw: &RawHeader, fate: Fate, shown: Shown<'_>) {
        let mut space = [0; MAX_SHOWN_BYTES];
        let shown = if self.wants_payload { shown } else { Shown::Nothing };
        let payload = shown.copy(raw.length() as usize, &mut space);
        self.is_full |= self.batch.len() + sight_stride(payload.len()) > self.max_bytes;
        if self.is_full {
            self.lost += 1;
            return;
        }
        let now = clock::now();
        self.due = self.due.or_else(|| Some(now + PERIOD));
        let at_ns = now.saturating_duration_since(self.began).as_nanos() as u64;
        append(&mut self.batch, raw, at_ns, fate, payload);
    }

    fn header(&self) -> RawHeader {
        let mut header = Header::new(Kind::Message, self.tapper, self.batch.len() as u32);
        header.tag = self.lost;
        RawHeader::from(&header)
    }

    fn begin_batch(&mut self) {
        self.batch.clear();
        (self.is_full, self.lost, self.due) = (false, 0, None);
    }
}

/// All taps, at their bits.
#[derive(Debug, Default)]
pub(super) struct Taps {
    all: [Option<Tap>; MAX_TAPS],
    /// Those whose batch has a place left.
    open: u8,
}

impl Taps {
    /// The bits of the taps that see a world of this name.
    pub(super) fn of(&self, port: &Port) -> u8 {
        let sees = |tap: &Option<Tap>| tap.as_ref().is_some_and(|tap| tap.pattern.covers(&port.name));
        self.all.iter().enumerate().fold(0, |bits, (bit, tap)| bits | u8::from(sees(tap)) << bit)
    }

    /// Whether one of these taps has a place for a record. Otherwise it is enough to [count](Self::miss) what they miss.
    #[inline]
    pub(super) fn has_place(&self, taps: u8) -> bool {
        self.open & taps != 0
    }

    /// Shows a record to these taps.
    #[inline(never)]
    pub(super) fn see(&mut self, taps: u8, raw: &RawHeader, fate: Fate, shown: Shown<'_>) {
        for (bit, tap) in self.all.iter_mut().enumerate().filter(|(bit, _)| taps >> bit & 1 != 0) {
            let Some(tap) = tap else { continue };
            tap.see(raw, fate, shown);
            self.open &= !(u8::from(tap.is_full) << bit);
        }
    }

    /// So many records went by that none of these taps had a place for.
    pub(super) fn miss(&mut self, taps: u8, records: u64) {
        let missing = self.all.iter_mut().enumerate().filter(|(bit, _)| taps >> bit & 1 != 0);
        missing.filter_map(|(_, tap)| tap.as_mut()).for_each(|tap| tap.lost += records);
    }

    pub(super) fn next_due(&self) -> Option<Instant> {
        self.all.iter().flatten().filter_map(|tap| tap.due).min()
    }

    fn remove(&mut self, tapper: WorldId) -> bool {
        let bit = self.all.iter().position(|tap| tap.as_ref().is_some_and(|tap| tap.tapper == tapper));
        bit.is_some_and(|bit| {
            self.open &= !(1 << bit);
            self.all[bit].take().is_some()
        })
    }
}

impl Switch {
    /// A world taps others from now on, and no more those that it tapped before. Beyond [`MAX_TAPS`], which the supervisor knows of too, it doesn't.
    pub(super) fn tap(&mut self, tapper: WorldId, pattern: Pattern, wants_payload: bool) {
        self.taps.remove(tapper);
        let port = self.by_id.get(&tapper).and_then(|slot| self.ports[*slot].as_ref());
        if let (Some(port), Some(bit)) = (port, self.taps.all.iter().position(Option::is_none)) {
            let max_bytes = (port.endpoint.max_payload() as usize / 2).clamp(SIGHT_BYTES, MAX_BATCH_BYTES);
            self.taps.open |= 1 << bit;
            self.taps.all[bit] = Some(Tap {
                tapper,
                pattern,
                wants_payload,
                began: clock::now(),
                batch: Vec::with_capacity(max_bytes),
                max_bytes,
                is_full: false,
                lost: 0,
                due: None,
            });
        }
        self.mark_tapped();
    }

    pub(super) fn untap(&mut self, tapper: WorldId) {
        if self.taps.remove(tapper) {
            self.mark_tapped();
        }
    }

    fn mark_tapped(&mut self) {
        for port in self.ports.iter_mut().flatten() {
            port.taps = self.taps.of(port);
        }
    }

    /// Shows a record that is held for its receiver.
    pub(super) fn see_held(&mut self, sender: usize, receiver: usize, stamped: &RawHeader, payload: &[u8]) {
        let Ok([Some(sender), Some(receiver)]) = self.ports.get_disjoint_mut([sender, receiver]) else { return };
        let taps = sender.taps | receiver.taps;
        if taps != 0 {
            let is_shown = sender.shows_payload && receiver.shows_payload;
            let shown = if is_shown { Shown::Held(payload) } else { Shown::Nothing };
            self.taps.see(taps, stamped, Fate::Held, shown);
        }
    }

    /// Shows a record that went nowhere, or a request that ended without a reply.
    pub(super) fn see_ended(&mut self, record: &Header, reason: Reason) {
        let taps = |id: &WorldId| self.by_id.get(id).and_then(|slot| self.ports[*slot].as_ref()).map_or(0, |p| p.taps);
        let taps = taps(&record.source) | taps(&record.destination);
        if taps != 0 {
            self.taps.see(taps, &RawHeader::from(record), Fate::Ended(reason), Shown::Nothing);
        }
    }

    /// Puts the batches that are due into the inboxes of those who tap. Who has no room gets it later, with what was lost meanwhile.
    pub(super) fn flush_taps(&mut self, now: Instant) {
        for bit in 0..MAX_TAPS {
            let Some(tap) = self.taps.all[bit].as_mut().filter(|tap| tap.due.is_some_and(|due| due <= now)) else {
                continue;
            };
            let Some(slot) = self.by_id.get(&tap.tapper).copied() else { continue };
            let Some(port) = &mut self.ports[slot] else { continue };
            let put = if port.held.is_empty() { port.put(&tap.header(), &tap.batch) } else { Err(ReserveError::Full) };
            match put {
                Ok(()) => {
                    tap.begin_batch();
                    self.taps.open |= 1 << bit;
                    self.activate(slot);
                    self.touch(slot);
                }
                Err(error) => {
                    tap.due = Some(now + PATIENCE);
                    if let ReserveError::Corrupt(corrupt) = error {
                        self.quarantine(slot, &corrupt);
                    }
                }
            }
        }
    }
}
