//! Two endpoints over heap memory: a property test against a queue, and loom models of the wakes.

use super::*;
use crate::primitive::{AtomicU64, Ordering::Relaxed};
use crate::{Kind, RawHeader, WorldId};
use std::sync::Arc;

/// A slice on the heap; every word is atomic, so that two threads may hold it.
#[derive(Clone)]
struct Heap(Arc<(Control, Vec<AtomicU64>)>);

impl Heap {
    fn new(ring_bytes: u32) -> Self {
        let words = (0..ring_bytes / 8).map(|_| AtomicU64::new(0)).collect();
        Self(Arc::new((Control::new(), words)))
    }

    fn word(&self, offset: u32, index: usize) -> &AtomicU64 {
        let words = &self.0.1;
        &words[(offset as usize / 8 + index) % words.len()]
    }
}

impl SliceMemory for Heap {
    fn control(&self) -> &Control {
        &self.0.0
    }
    fn ring_bytes(&self) -> u32 {
        self.0.1.len() as u32 * 8
    }
    fn load_header(&self, offset: u32) -> [u64; 8] {
        std::array::from_fn(|i| self.word(offset, i).load(Relaxed))
    }
    fn copy_out(&self, offset: u32, to: &mut [u8]) {
        for (i, chunk) in to.chunks_mut(8).enumerate() {
            chunk.copy_from_slice(&self.word(offset, i).load(Relaxed).to_ne_bytes()[..chunk.len()]);
        }
    }
}

impl WritableMemory for Heap {
    fn store_header(&mut self, offset: u32, words: &[u64; 8]) {
        for (i, word) in words.iter().enumerate() {
            self.word(offset, i).store(*word, Relaxed);
        }
    }
    fn copy_in(&mut self, offset: u32, from: &[u8]) {
        for (i, chunk) in from.chunks(8).enumerate() {
            let mut word = [0; 8];
            word[..chunk.len()].copy_from_slice(chunk);
            self.word(offset, i).store(u64::from_ne_bytes(word), Relaxed);
        }
    }
}

type Side = Endpoint<Heap, Heap>;

fn pair(ring_bytes: u32) -> (Side, Side) {
    let (a, b) = (Heap::new(ring_bytes), Heap::new(ring_bytes));
    (Endpoint::new(a.clone(), b.clone()), Endpoint::new(b, a))
}

fn send(side: &mut Side, payload: &[u8]) -> Result<(), ReserveError> {
    let slot = side.reserve(payload.len())?;
    side.mine_mut().copy_in(slot.payload_offset(), payload);
    side.commit(&slot, &RawHeader::from(&Header::new(Kind::Message, WorldId(20), payload.len() as u32)));
    side.publish();
    Ok(())
}

fn take(side: &mut Side) -> Option<Vec<u8>> {
    let incoming = side.peek().unwrap()?;
    let mut payload = vec![0; incoming.raw.length() as usize];
    side.theirs().copy_out(incoming.payload_offset(), &mut payload);
    side.advance(&incoming);
    Some(payload)
}

#[cfg(not(loom))]
mod oracle {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    #[cfg(not(miri))]
    proptest! {
        #[test]
        fn what_goes_in_comes_out_in_order(steps in prop::collection::vec((any::<bool>(), 0..300usize), 1..300)) {
            let (mut a, mut b) = pair(1024);
            let (mut queue, mut stamp) = (VecDeque::new(), 0u8);
            for (sends, length) in steps {
                if sends {
                    stamp = stamp.wrapping_add(1);
                    match send(&mut a, &vec![stamp; length]) {
                        Ok(()) => queue.push_back(vec![stamp; length]),
                        Err(error) => prop_assert_eq!(error, ReserveError::Full),
                    }
                } else {
                    prop_assert_eq!(take(&mut b), queue.pop_front());
                    b.release();
                }
            }
        }

        /// Bytes flipped anywhere in the peer's slice between any two steps: refused or read, never a panic.
        #[test]
        fn a_scribbled_slice_is_refused_or_read(steps in prop::collection::vec((0..4u8, any::<u64>(), 0..128usize), 1..200)) {
            let (mut a, mut b) = pair(1024);
            for (what, value, place) in steps {
                match what {
                    0 => { let _ = send(&mut a, &value.to_ne_bytes()); }
                    1 => a.mine().word(0, place).store(value, Relaxed),
                    2 if value % 2 == 0 => a.mine().control().produced.store(value % 4096, Relaxed),
                    2 => a.mine().control().consumed.store(value % 4096, Relaxed),
                    _ => if let Ok(Some(incoming)) = b.peek() {
                        let mut payload = vec![0; incoming.raw.length() as usize];
                        b.theirs().copy_out(incoming.payload_offset(), &mut payload);
                        b.advance(&incoming);
                        b.release();
                        let _ = b.reserve(16);
                    }
                }
            }
        }
    }

    #[test]
    fn a_record_larger_than_the_ring_is_refused_with_numbers() {
        let (mut a, _b) = pair(1024);
        let error = a.reserve(961).unwrap_err();
        assert_eq!(error.to_string(), "record of 961 bytes is larger than the ring takes (960)");
        assert!(a.reserve(960).is_ok());
        assert!(a.reserve(usize::MAX).is_err());
    }

    #[test]
    fn a_sleeper_is_rung_once_per_sleep() {
        let (mut a, mut b) = pair(1024);
        assert_eq!(a.ring_for(Event::ANY), None);
        b.arm(Event::DATA, Via::Fd);
        assert_eq!(a.ring_for(Event::ROOM), None);
        assert_eq!(a.ring_for(Event::DATA), Some(Via::Fd));
        assert_eq!(a.ring_for(Event::DATA), None);
        b.disarm();
        b.arm(Event::ANY, Via::Futex);
        assert_eq!(a.ring_for(Event::ROOM), Some(Via::Futex));
    }

    #[test]
    fn a_producer_is_woken_at_half_a_ring() {
        let (mut a, mut b) = pair(1024);
        while send(&mut a, &[0; 64]).is_ok() {}
        let mut freed = Vec::new();
        while take(&mut b).is_some() {
            freed.push(b.release());
        }
        assert_eq!(
            freed,
            [Event::NONE, Event::NONE, Event::NONE, Event::ROOM, Event::ROOM, Event::ROOM, Event::ROOM, Event::ROOM]
        );
    }
}

#[cfg(loom)]
mod models {
    use super::*;
    use loom::sync::{Condvar, Mutex};
    use loom::thread;

    /// What the kernel does: sleeps only while the word has the expected value, and wakes whoever sleeps.
    #[derive(Default)]
    struct Futex(Mutex<()>, Condvar);

    impl Futex {
        fn wait(&self, word: &crate::primitive::AtomicU32, expected: u32) {
            let mut guard = self.0.lock().unwrap();
            while word.load(Ordering::SeqCst) == expected {
                guard = self.1.wait(guard).unwrap();
            }
        }
        fn wake(&self) {
            drop(self.0.lock().unwrap());
            self.1.notify_all();
        }
    }

    fn receive(side: &mut Side, futex: &Futex) -> Vec<u8> {
        loop {
            if let Some(payload) = take(side) {
                return payload;
            }
            let bell = side.arm(Event::DATA, Via::Futex);
            if !side.hear_produced().unwrap() {
                futex.wait(&side.theirs().control().bell, bell);
            }
            side.disarm();
        }
    }

    /// A receiver that goes to sleep while two records come: no wake is lost (loom reports the deadlock) and no byte is torn.
    #[test]
    fn no_wake_is_lost() {
        loom::model(|| {
            let (mut a, mut b) = pair(256);
            let futex = Arc::new(Futex::default());
            let bell = futex.clone();
            let sender = thread::spawn(move || {
                for byte in [1, 2] {
                    send(&mut a, &[byte; 8]).unwrap();
                    ring(&mut a, Event::DATA, &bell);
                }
            });
            assert_eq!(receive(&mut b, &futex), [1; 8]);
            assert_eq!(receive(&mut b, &futex), [2; 8]);
            sender.join().unwrap();
        });
    }

    /// Sends a record, sleeping until there is room for it.
    fn send_patiently(side: &mut Side, futex: &Futex, payload: &[u8]) {
        while send(side, payload) == Err(ReserveError::Full) {
            let bell = side.arm(Event::ROOM, Via::Futex);
            if side.room().unwrap() < 80 {
                futex.wait(&side.theirs().control().bell, bell);
            }
            side.disarm();
        }
    }

    fn ring(side: &mut Side, event: Event, other: &Futex) {
        if side.ring_for(event).is_some() {
            other.wake();
        }
    }

    /// One sleeps for room while the other gives room back and goes to sleep for data, in a ring of one record: neither sleeps forever.
    #[test]
    fn who_gives_room_and_sleeps_is_woken_by_what_comes_of_it() {
        loom::model(|| {
            let (mut a, mut b) = pair(80);
            let (of_a, of_b) = (Arc::new(Futex::default()), Arc::new(Futex::default()));
            let (wakes_a, sleeps_b) = (of_a.clone(), of_b.clone());
            let receiver = thread::spawn(move || {
                for byte in [1, 2] {
                    assert_eq!(receive(&mut b, &sleeps_b), [byte; 8]);
                    let event = b.release();
                    ring(&mut b, event, &wakes_a);
                }
            });
            for byte in [1, 2] {
                send_patiently(&mut a, &of_a, &[byte; 8]);
                ring(&mut a, Event::DATA, &of_b);
            }
            receiver.join().unwrap();
        });
    }

    /// Question and answer: each sleeps for the other's record, one after the other.
    #[test]
    fn both_sides_sleep_in_turn() {
        loom::model(|| {
            let (mut a, mut b) = pair(256);
            let (of_a, of_b) = (Arc::new(Futex::default()), Arc::new(Futex::default()));
            let (wakes_a, sleeps_b) = (of_a.clone(), of_b.clone());
            let answerer = thread::spawn(move || {
                assert_eq!(receive(&mut b, &sleeps_b), [1; 8]);
                send(&mut b, &[2; 8]).unwrap();
                ring(&mut b, Event::DATA, &wakes_a);
            });
            send(&mut a, &[1; 8]).unwrap();
            ring(&mut a, Event::DATA, &of_b);
            assert_eq!(receive(&mut a, &of_a), [2; 8]);
            answerer.join().unwrap();
        });
    }

    /// Who sleeps for either, as the switch does, is rung once per sleep and still learns of both.
    #[test]
    fn who_sleeps_for_either_learns_of_both() {
        loom::model(|| {
            let (mut a, mut b) = pair(80);
            let futex = Arc::new(Futex::default());
            let bell = futex.clone();
            send(&mut a, &[1; 8]).unwrap();
            let other = thread::spawn(move || {
                assert_eq!(take(&mut b), Some(vec![1; 8]));
                let event = b.release();
                ring(&mut b, event, &bell);
                send(&mut b, &[2; 8]).unwrap();
                ring(&mut b, Event::DATA, &bell);
            });
            let (mut data, mut room) = (false, false);
            while !(data && room) {
                let bell = a.arm(Event::ANY, Via::Futex);
                let news = (take(&mut a).is_some(), !room && a.room().unwrap() == 80);
                if news == (false, false) {
                    futex.wait(&a.theirs().control().bell, bell);
                }
                a.disarm();
                (data, room) = (data | news.0, room | news.1);
            }
            other.join().unwrap();
        });
    }

    /// A producer that sleeps for room is woken by the release, and overwrites nothing unread.
    #[test]
    fn room_wakes_the_producer() {
        loom::model(|| {
            let (mut a, mut b) = pair(80);
            let futex = Arc::new(Futex::default());
            let bell = futex.clone();
            send(&mut a, &[1; 8]).unwrap();
            let receiver = thread::spawn(move || {
                assert_eq!(take(&mut b), Some(vec![1; 8]));
                let event = b.release();
                ring(&mut b, event, &bell);
                b
            });
            send_patiently(&mut a, &futex, &[2; 8]);
            let mut b = receiver.join().unwrap();
            assert_eq!(take(&mut b), Some(vec![2; 8]));
        });
    }
}
