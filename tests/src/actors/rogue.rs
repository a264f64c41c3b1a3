//! The actor that keeps no rule: it holds its slices itself, and does to them what the host orders.

use super::{Outcome, link, writers};
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use strait_memory::{Inbox, SliceFile, Writable};
use strait_protocol::exchange::Ask;
use strait_protocol::handshake::{self, Welcome};
use strait_protocol::stream;
use strait_protocol::{Endpoint, FLAG_PACKED, Header, Kind, RawHeader, SliceMemory, WorldId, WritableMemory};
use strait_sys::{socket, wake};
use strait_tests::attack::{Attack, Try};
use strait_tests::soak::Chance;

pub struct Rogue {
    endpoint: Endpoint<Writable, Inbox>,
    pub outbox: OwnedFd,
    pub inbox: OwnedFd,
    bell: OwnedFd,
    lane: OwnedFd,
}

/// Says that its outbox is sealed, which it isn't, and waits.
pub fn leave_unsealed() -> Outcome<()> {
    let _rogue = Rogue::open(false)?;
    std::thread::sleep(Duration::from_secs(3600));
    Ok(())
}

/// Does what requests order, one after the other, and replies with what came of it where something can.
pub fn run() -> Outcome<()> {
    let mut rogue = Rogue::open(true)?;
    loop {
        let (head, order) = rogue.receive()?;
        if head.kind != Kind::Request {
            continue;
        }
        let attack: Attack = serde_json::from_slice(&order)?;
        let Some(report) = rogue.attack(head.source, &attack)? else {
            // What was written must stay as it is: the next honest step would repair it.
            std::thread::sleep(Duration::from_secs(3600));
            continue;
        };
        let mut reply = Header::new(Kind::Reply, head.source, 0);
        reply.correlation = head.correlation;
        rogue.send(reply, &report);
    }
}

impl Rogue {
    fn open(seals: bool) -> Outcome<Self> {
        let connection = socket::adopt(handshake::WORLD_FD)?;
        let mut buffer = [0; handshake::MAX_BYTES];
        let (length, descriptors) = socket::receive(connection.as_fd(), &mut buffer)?;
        let welcome = Welcome::decode(&buffer[..length])?;
        let [outbox, inbox, bell, _wakeup, lane]: [OwnedFd; handshake::DESCRIPTORS] =
            descriptors.try_into().map_err(|_| "another number of descriptors")?;
        let file = SliceFile::adopt(outbox.try_clone()?, welcome.outbox)?;
        let mapped = Writable::map(&file)?;
        if seals {
            file.seal_writes()?;
        }
        let endpoint = Endpoint::new(mapped, Inbox::map(&SliceFile::adopt(inbox.try_clone()?, welcome.inbox)?)?);
        socket::send(connection.as_fd(), &handshake::mapped(), &[])?;
        std::mem::forget(connection);
        Ok(Self { endpoint, outbox, inbox, bell, lane })
    }

    fn attack(&mut self, host: WorldId, attack: &Attack) -> Outcome<Option<Vec<u8>>> {
        match attack {
            Attack::Slices => return Ok(Some(serde_json::to_vec(&writers::try_all(self)?)?)),
            Attack::Forge { to } => {
                let forged = Header { source: WorldId::CONTROL, sequence: 4711, flags: 0xcf, ..message(*to) };
                self.send(forged, b"forged");
            }
            Attack::Parcels => return Ok(Some(serde_json::to_vec(&self.try_parcels()?)?)),
            Attack::LeaveLane { times } => {
                let answers: Result<Vec<u16>, _> = (0..*times)
                    .map(|_| self.ask_switch(&Ask::NewParcel { bytes: 1 }).map(|answer| answer.code))
                    .collect();
                return Ok(Some(serde_json::to_vec(&answers?)?));
            }
            Attack::OverLink { lie } => link::lie(self, host, lie)?,
            Attack::SendOverLane => {
                let sent = socket::try_send(self.lane.as_fd(), b"mine", &[self.outbox.as_fd()]);
                return Ok(Some(serde_json::to_vec(&sent.err().map(rustix::io::Errno::raw_os_error))?));
            }
            Attack::Rewrite { to, records } => self.rewrite(*to, *records),
            Attack::Search { needle } => return Ok(Some(search(needle)?.to_string().into_bytes())),
            Attack::Control { bytes } => return self.ask_control(bytes).map(Some),
            Attack::Streams { to, streams, bytes } => {
                for stream in 1..=*streams {
                    let piece = stream::piece(&message(*to), stream, 0, *bytes);
                    self.send(piece, &vec![stream as u8; *bytes as usize]);
                }
            }
            Attack::Bell { rings } => (0..*rings).for_each(|_| wake::ring(self.bell.as_fd())),
            Attack::Press { to, receivers, records, bytes, asks } => {
                self.press(*to, *receivers, *records, *bytes, *asks);
                return Ok(None);
            }
            Attack::Scribble { seed } => self.scribble(Chance::new(*seed)),
            Attack::Packed { to, bytes } => self.send(Header { flags: FLAG_PACKED, ..message(*to) }, bytes),
            Attack::ForgeNotice { to } => {
                self.send(Header { kind: Kind::Notice, ..message(*to) }, b"");
                return Ok(None);
            }
            Attack::Length { to, length } => {
                self.lie_about_length(*to, *length);
                return Ok(None);
            }
            Attack::Produced { cursor } => {
                self.set_produced(*cursor);
                return Ok(None);
            }
            Attack::Consumed { cursor } => {
                self.set_consumed(*cursor);
                return Ok(None);
            }
        }
        Ok(Some(b"done".to_vec()))
    }

    pub fn receive(&mut self) -> Outcome<(Header, Vec<u8>)> {
        loop {
            if let Some(incoming) = self.endpoint.peek()? {
                let mut payload = vec![0; incoming.raw.length() as usize];
                self.endpoint.theirs().copy_out(incoming.payload_offset(), &mut payload);
                self.endpoint.advance(&incoming);
                self.endpoint.release();
                return Ok((incoming.raw.header(), payload));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    pub fn send(&mut self, header: Header, payload: &[u8]) {
        while !self.try_send(header, payload) {
            std::thread::yield_now();
        }
    }

    fn try_send(&mut self, mut header: Header, payload: &[u8]) -> bool {
        let Ok(slot) = self.endpoint.reserve(payload.len()) else { return false };
        header.length = payload.len() as u32;
        self.endpoint.mine_mut().copy_in(slot.payload_offset(), payload);
        self.endpoint.commit(&slot, &RawHeader::from(&header));
        self.endpoint.publish();
        wake::ring(self.bell.as_fd());
        true
    }

    fn lie_about_length(&mut self, to: u64, length: u32) {
        let Ok(slot) = self.endpoint.reserve(0) else { return };
        let mut words = message(to).encode();
        words[0] = words[0] & !0xffff_ffff | u64::from(length);
        self.endpoint.commit(&slot, &RawHeader::from(&message(to)));
        self.endpoint.mine_mut().store_header(slot.payload_offset() - Header::BYTES, &words);
        self.endpoint.publish();
        wake::ring(self.bell.as_fd());
    }

    fn set_produced(&self, cursor: u64) {
        self.endpoint.mine().control().produced.store(cursor, Ordering::SeqCst);
        wake::ring(self.bell.as_fd());
    }

    /// The switch looks at this cursor when the inbox seems full: messages to nobody fill it with notices.
    fn set_consumed(&mut self, cursor: u64) {
        self.endpoint.mine().control().consumed.store(cursor, Ordering::SeqCst);
        let notices = self.endpoint.theirs().ring_bytes() / Header::BYTES + 8;
        let end = Instant::now() + Duration::from_secs(5);
        for _ in 0..notices {
            while !self.try_send(message(u64::MAX), b"") && Instant::now() < end {
                std::thread::yield_now();
            }
        }
    }

    fn rewrite(&mut self, to: u64, records: u32) {
        for n in 0..records {
            let Ok(slot) = self.endpoint.reserve(512) else {
                std::thread::yield_now();
                continue;
            };
            self.endpoint.mine_mut().bytes_mut(slot.payload_offset(), 512).fill(n as u8);
            let honest = Header { length: 512, ..message(to) };
            self.endpoint.commit(&slot, &RawHeader::from(&honest));
            self.endpoint.publish();
            wake::ring(self.bell.as_fd());
            let place = slot.payload_offset() - Header::BYTES;
            let forged = Header { source: WorldId::CONTROL, destination: WorldId::CONTROL, ..honest };
            for _ in 0..20 {
                self.endpoint.mine_mut().store_header(place, &forged.encode());
                self.endpoint.mine_mut().store_header(place, &honest.encode());
            }
        }
    }

    /// Every way to write, tried on a parcel that the host has sent (its descriptor is the first in the lane) and then on one of its own
    /// that isn't sealed.
    fn try_parcels(&mut self) -> Outcome<Vec<(String, Vec<Try>)>> {
        let sent = self.take_descriptor()?;
        self.ask_switch(&Ask::NewParcel { bytes: 65536 })?;
        let own = self.take_descriptor()?;
        Ok([("sent", sent), ("own", own)].map(|(name, fd)| (name.to_owned(), writers::tries(fd.as_fd()))).into())
    }

    /// The next message in the lane, with its descriptors.
    pub fn take_lane(&self) -> Outcome<(Vec<u8>, Vec<OwnedFd>)> {
        let mut buffer = [0; 64];
        let (length, descriptors) = socket::receive(self.lane.as_fd(), &mut buffer)?;
        Ok((buffer[..length].to_vec(), descriptors))
    }

    fn take_descriptor(&self) -> Outcome<OwnedFd> {
        Ok(self.take_lane()?.1.into_iter().next().ok_or("no descriptor in the lane")?)
    }

    /// Asks the switch and doesn't wait for the answer: what it tells may come before it.
    pub fn tell_switch(&mut self, ask: &Ask) {
        self.send(Header::new(Kind::Request, WorldId::SWITCH, 0), &ask.encode());
    }

    pub fn ask_switch(&mut self, ask: &Ask) -> Outcome<Header> {
        let mut request = Header::new(Kind::Request, WorldId::SWITCH, 0);
        request.correlation = 77;
        self.send(request, &ask.encode());
        loop {
            let (head, _) = self.receive()?;
            if (head.source, head.correlation) == (WorldId::SWITCH, 77) {
                return Ok(head);
            }
        }
    }

    fn press(&mut self, to: u64, receivers: u64, records: u64, bytes: u32, asks: bool) {
        let payload = vec![7; bytes as usize];
        for number in 0..records {
            let mut header = message(to + number % receivers);
            if asks {
                header.kind = Kind::Request;
                (header.correlation, header.timeout_ms) = (1_000_000 + number, u32::MAX);
            }
            while !self.try_send(header, &payload) {
                std::thread::sleep(Duration::from_millis(1));
            }
        }
    }

    /// What could be true at first, so that the switch has something to look at; then anything.
    fn scribble(&mut self, mut chance: Chance) -> ! {
        let ring_bytes = self.endpoint.mine().ring_bytes();
        for round in 0u64.. {
            let mut words: [u64; 8] = std::array::from_fn(|_| chance.word());
            words[0] = words[0] & 0xffff_0003_0000_03ff | 1 << 32;
            (words[1], words[2]) = (chance.below(40) as u64, chance.below(40) as u64);
            let offset = chance.below(ring_bytes as usize / 64) as u32 * 64;
            self.endpoint.mine_mut().store_header(offset, &words);
            let (control, is_wild) = (self.endpoint.mine().control(), round > 200 && chance.happens(20));
            let step = if is_wild { chance.word() } else { chance.below(8) as u64 * 16 };
            match chance.below(4) {
                0 => drop(control.produced.fetch_add(step, Ordering::SeqCst)),
                1 if is_wild => drop(control.consumed.fetch_add(step, Ordering::SeqCst)),
                2 => control.waiting.store(chance.word() as u32, Ordering::SeqCst),
                _ => control.bell.store(chance.word() as u32, Ordering::SeqCst),
            }
            wake::ring(self.bell.as_fd());
        }
        unreachable!("it is ended long before")
    }

    fn ask_control(&mut self, bytes: &[u8]) -> Outcome<Vec<u8>> {
        let mut request = Header::new(Kind::Request, WorldId::CONTROL, 0);
        (request.correlation, request.timeout_ms) = (99, 5000);
        self.send(request, bytes);
        loop {
            let (head, payload) = self.receive()?;
            if head.correlation == 99 {
                return Ok(payload);
            }
        }
    }
}

fn message(to: u64) -> Header {
    Header::new(Kind::Message, WorldId(to), 0)
}

/// How often these bytes lie in the slices that this process has mapped.
fn search(needle: &[u8]) -> Outcome<usize> {
    let maps = fs::read_to_string("/proc/self/maps")?;
    let memory = fs::File::open("/proc/self/mem")?;
    let mut found = 0;
    for line in maps.lines().filter(|line| line.contains("memfd:strait")) {
        let (range, _) = line.split_once(' ').ok_or("a line of maps")?;
        let (from, to) = range.split_once('-').ok_or("a range of maps")?;
        let (from, to) = (u64::from_str_radix(from, 16)?, u64::from_str_radix(to, 16)?);
        let mut bytes = vec![0; (to - from) as usize];
        let length = std::os::unix::fs::FileExt::read_at(&memory, &mut bytes, from)?;
        found += bytes[..length].windows(needle.len()).filter(|window| *window == needle).count();
    }
    Ok(found)
}
