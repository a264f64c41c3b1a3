//! An outbox of arbitrary bytes, and of other bytes at the next read.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::atomic::Ordering::SeqCst;
use strait_memory::{ReadOnly, SliceFile, Writable, racing};
use strait_protocol::wait::{Event, Via};
use strait_protocol::{Corrupt, Endpoint, RawHeader, SliceMemory, SliceSize, WritableMemory};

/// Bytes of one change: where, and what.
const CHANGE: usize = 10;

/// The first half of the bytes is the outbox: its header's words, then the ring, repeated. The second is what is written before each
/// read: a place, and a word.
pub fn record_stream(data: &[u8]) {
    let (outbox, changes) = data.split_at(data.len() / 2);
    let (mine, theirs) = (file(), file());
    let mut hostile = Hostile { outbox: Writable::map(&theirs).expect("mmap"), changes: changes.to_vec(), next: 0 };
    hostile.fill(outbox);
    let endpoint = Endpoint::new(Writable::map(&mine).expect("mmap"), ReadOnly::map(&theirs).expect("mmap"));
    let hostile = Rc::new(RefCell::new(hostile));
    racing::during(move || hostile.borrow_mut().change(), || read_all(endpoint));
}

fn file() -> SliceFile {
    SliceFile::create("fuzz", SliceSize::MIN).expect("a slice")
}

struct Hostile {
    outbox: Writable,
    changes: Vec<u8>,
    next: usize,
}

impl Hostile {
    fn fill(&mut self, bytes: &[u8]) {
        let (head, ring) = bytes.split_at(bytes.len().min(24));
        for (at, word) in head.chunks_exact(8).enumerate() {
            self.control(at as u16, u64::from_le_bytes(word.try_into().expect("eight bytes")));
        }
        if !ring.is_empty() {
            let whole: Vec<u8> = ring.iter().copied().cycle().take(self.outbox.ring_bytes() as usize).collect();
            self.outbox.copy_in(0, &whole);
        }
    }

    fn change(&mut self) {
        let Some(change) = self.changes.get(self.next..self.next + CHANGE) else { return };
        self.next += CHANGE;
        let (at, word) = change.split_at(2);
        let at = u16::from_le_bytes([at[0], at[1]]);
        let word = u64::from_le_bytes(word.try_into().expect("eight bytes"));
        match at.checked_sub(0xff00) {
            Some(control) => self.control(control, word),
            None => self.outbox.copy_in(u32::from(at) * 8 % self.outbox.ring_bytes(), &word.to_le_bytes()),
        }
    }

    fn control(&self, which: u16, word: u64) {
        let control = self.outbox.control();
        match which % 4 {
            // Often near the truth: what is far from it is refused at once.
            0 if word >> 63 == 0 => control.produced.store(word % 0x10_0000, SeqCst),
            0 => control.produced.store(word, SeqCst),
            1 => control.consumed.store(word % 0x1000, SeqCst),
            2 => control.waiting.store(word as u32, SeqCst),
            _ => control.bell.store(word as u32, SeqCst),
        }
    }
}

type Side = Endpoint<Writable, ReadOnly>;

/// Reads, answers and sleeps as the switch does, until the peer is refused or has no more to say.
fn read_all(mut endpoint: Side) {
    let mut taken = 0;
    // More than any script can publish: each turn takes a record or ends.
    for turn in 0..100_000u32 {
        match read_one(&mut endpoint) {
            Ok(true) => taken += 1,
            Ok(false) | Err(_) => return,
        }
        if turn % 3 == 0 {
            endpoint.release();
        }
        let _ = endpoint.ring_for(Event::ANY);
    }
    panic!("{taken} records in an outbox that isn't written any more");
}

/// By the way of the switch, which copies the header to where it stays.
fn read_one(endpoint: &mut Side) -> Result<bool, Corrupt> {
    if !endpoint.fetch()? {
        endpoint.arm(Event::ANY, Via::Fd);
        let came = endpoint.hear_produced()?;
        endpoint.disarm();
        return Ok(came && endpoint.release() == Event::ROOM && endpoint.fetch()?);
    }
    let (raw, at) = (*endpoint.head(), endpoint.head_payload());
    look_ahead(endpoint, raw.stride())?;
    let payload = take(endpoint, &raw, at);
    endpoint.pass(raw.stride());
    if let Ok(slot) = endpoint.reserve(payload.len()) {
        endpoint.mine_mut().copy_in(slot.payload_offset(), &payload);
        endpoint.commit(&slot, &raw);
        endpoint.publish();
    }
    let room = endpoint.room()?;
    assert!(room <= endpoint.mine().ring_bytes());
    let _ = endpoint.is_stopped(raw.destination());
    Ok(true)
}

/// The judged header decides how much is copied; it all lies within the doubled ring.
fn take(endpoint: &Side, raw: &RawHeader, at: u32) -> Vec<u8> {
    let ring = endpoint.theirs().ring_bytes();
    assert!(raw.stride() <= ring && at - 64 < ring);
    let mut payload = vec![0; raw.length() as usize];
    endpoint.theirs().copy_out(at, &mut payload);
    if let Ok((receivers, ids)) = raw.receivers() {
        assert!(receivers > 0 && receivers * 8 <= ids && ids <= raw.length());
    }
    payload
}

fn look_ahead(endpoint: &Side, mut past: u32) -> Result<(), Corrupt> {
    for _ in 0..4 {
        match endpoint.peek_past(past)? {
            None => return Ok(()),
            Some(next) => past += next.stride(),
        }
    }
    Ok(())
}
