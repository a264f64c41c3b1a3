//! What the rogue does with a direct link: it takes part as it should until it is up, and then writes what it likes.

use super::Outcome;
use super::rogue::Rogue;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use strait_memory::{ReadOnly, SliceFile, Writable};
use strait_protocol::crossing::{CLOSE, OPEN};
use strait_protocol::exchange::{Ask, Handed, Note, Told};
use strait_protocol::{Endpoint, FLAG_MARK, Header, Kind, RawHeader, SliceMemory, SliceSize, WorldId, WritableMemory};
use strait_sys::wake;
use strait_tests::attack::Lie;

struct Linked {
    endpoint: Endpoint<Writable, ReadOnly>,
    /// Rings the other side.
    bell: OwnedFd,
}

/// Waits for the link that the host makes, and lies.
pub fn lie(rogue: &mut Rogue, host: WorldId, lie: &Lie) -> Outcome<()> {
    let link = told(rogue, |told| matches!(told, Told::Offered { .. }))?;
    let (size, [file, _own, bell, _anchor]) = hand_over(rogue, Handed::LinkOut)?;
    let file = SliceFile::adopt(file, size)?;
    let mine = Writable::map(&file)?;
    if *lie == Lie::Unsealed {
        rogue.tell_switch(&Ask::LinkMapped { link });
        return Ok(());
    }
    file.seal_writes()?;
    rogue.tell_switch(&Ask::LinkMapped { link });
    told(rogue, |told| matches!(told, Told::Up { .. }))?;
    let (size, [file]) = hand_over(rogue, Handed::LinkIn)?;
    let endpoint = Endpoint::new(mine, ReadOnly::map(&SliceFile::adopt(file, size)?)?);
    let mark = |code, place| {
        let header = Header::new(Kind::Message, host, 0);
        Header { flags: FLAG_MARK, stream: link, code, tag: place, ..header }
    };
    rogue.send(mark(OPEN, 0), b"");
    let mut linked = Linked { endpoint, bell };
    if let Lie::Close { place } = lie {
        rogue.send(mark(CLOSE, *place), b"");
    } else {
        linked.lie(host, lie);
    }
    // Unmapped, it would be gone: it stays as it is.
    std::mem::forget(linked);
    Ok(())
}

/// Waits until the switch tells something of a link, and returns the link's number.
fn told(rogue: &mut Rogue, what: impl Fn(&Told) -> bool) -> Outcome<u32> {
    loop {
        let (header, payload) = rogue.receive()?;
        if header.source == WorldId::SWITCH
            && let Some(told) = Told::decode(&payload)
            && what(&told)
        {
            let (Told::Offered { link, .. } | Told::Up { link } | Told::Ending { link } | Told::Down { link, .. }) =
                told;
            return Ok(link);
        }
    }
}

fn hand_over<const N: usize>(rogue: &Rogue, what: Handed) -> Outcome<(SliceSize, [OwnedFd; N])> {
    let (bytes, descriptors) = rogue.take_lane()?;
    let note = Note::decode(&bytes).filter(|note| note.what == what).ok_or("something else in the lane")?;
    Ok((SliceSize::new(note.bytes)?, descriptors.try_into().map_err(|_| "another number of descriptors")?))
}

impl Linked {
    fn write(&mut self, header: &Header, payload: &[u8]) -> u32 {
        let slot = self.endpoint.reserve(payload.len()).expect("room");
        self.endpoint.mine_mut().copy_in(slot.payload_offset(), payload);
        self.endpoint.commit(&slot, &RawHeader::from(&Header { length: payload.len() as u32, ..*header }));
        self.publish();
        slot.payload_offset() - Header::BYTES
    }

    /// A record whose header says something else than what it is published as.
    fn write_words(&mut self, honest: &Header, words: &[u64; 8]) {
        let slot = self.endpoint.reserve(0).expect("room");
        self.endpoint.commit(&slot, &RawHeader::from(honest));
        self.endpoint.mine_mut().store_header(slot.payload_offset() - Header::BYTES, words);
        self.publish();
    }

    fn publish(&mut self) {
        self.endpoint.publish();
        wake::futex_wake(&self.endpoint.mine().control().bell);
        wake::ring_pipe(self.bell.as_fd());
    }

    fn lie(&mut self, host: WorldId, lie: &Lie) {
        let honest = Header::new(Kind::Message, host, 0);
        match *lie {
            Lie::Forge => {
                let forged = Header { source: WorldId::CONTROL, destination: WorldId(99), sequence: 4711, ..honest };
                self.write(&Header { flags: 0xfb, stream: 7, ..forged }, b"forged");
            }
            Lie::Kind { kind } => {
                let mut words = honest.encode();
                words[0] = words[0] & !0xff_0000_0000 | u64::from(kind) << 32;
                self.write_words(&honest, &words);
            }
            Lie::Length { length } => {
                let mut words = honest.encode();
                words[0] |= u64::from(length);
                self.write_words(&honest, &words);
            }
            Lie::Produced { cursor } => {
                self.endpoint.mine().control().produced.store(cursor, Ordering::SeqCst);
                self.publish();
            }
            Lie::Consumed { cursor } => {
                self.endpoint.mine().control().consumed.store(cursor, Ordering::SeqCst);
                self.publish();
            }
            Lie::Rewrite { records } => self.rewrite(host, records),
            Lie::Close { .. } | Lie::Unsealed => {}
        }
    }

    fn rewrite(&mut self, host: WorldId, records: u32) {
        let honest = Header { length: 512, ..Header::new(Kind::Message, host, 512) };
        let forged = Header { source: WorldId::CONTROL, destination: WorldId::CONTROL, ..honest };
        for n in 0..records {
            while self.endpoint.reserve(512).is_err() {
                std::thread::yield_now();
            }
            let place = self.write(&honest, &[n as u8; 512]);
            for _ in 0..20 {
                self.endpoint.mine_mut().store_header(place, &forged.encode());
                self.endpoint.mine_mut().store_header(place, &honest.encode());
            }
        }
    }
}
