//! The rogue world of the demo. It doesn't use the client: it takes its slices in its own hands and tries what it likes.

use super::Outcome;
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::net::{TcpStream, UdpSocket};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use strait_memory::{Inbox, SliceFile, Writable};
use strait_protocol::handshake::{self, Welcome};
use strait_protocol::{Endpoint, Header, Kind, RawHeader, Reason, SliceMemory, SliceSize, WorldId, WritableMemory};
use strait_sys::{socket, wake};

/// One attempt and what came of it, as the rogue saw it.
#[derive(Debug, Serialize, Deserialize)]
pub struct Attempt {
    pub what: String,
    /// What stopped it; `Err` is what it got away with.
    pub outcome: Result<String, String>,
}

/// The host sends this to say where to aim.
#[derive(Debug, Serialize, Deserialize)]
pub struct Aim {
    pub host: u64,
    pub forbidden: u64,
}

/// The tag of the record with a forged source.
pub const FORGED: u64 = 0x666;
/// The tag of the list of attempts.
pub const ATTEMPTS: u64 = 1;

struct Rogue {
    endpoint: Endpoint<Writable, Inbox>,
    inbox: OwnedFd,
    inbox_size: SliceSize,
    bell: OwnedFd,
}

pub fn run() -> Outcome<()> {
    let mut rogue = Rogue::open()?;
    let (_, aim) = rogue.receive()?;
    let aim: Aim = serde_json::from_slice(&aim)?;
    rogue.forge(WorldId(aim.host));
    let attempts = vec![
        rogue.write_inbox(),
        rogue.map_inbox(),
        rogue.send_to(WorldId(aim.forbidden))?,
        open_socket(),
        read_shadow(),
    ];
    rogue.send(
        Header { tag: ATTEMPTS, ..Header::new(Kind::Message, WorldId(aim.host), 0) },
        &serde_json::to_vec(&attempts)?,
    );
    // The host has it all; then the cursors.
    rogue.receive()?;
    rogue.run_cursor_backwards();
    std::thread::sleep(Duration::from_secs(30));
    Err("nobody ended me".into())
}

impl Rogue {
    fn open() -> Outcome<Self> {
        let connection = socket::adopt(handshake::WORLD_FD)?;
        let mut buffer = [0; handshake::MAX_BYTES];
        let (length, descriptors) = socket::receive(connection.as_fd(), &mut buffer)?;
        let welcome = Welcome::decode(&buffer[..length])?;
        let [outbox, inbox, bell, _wakeup, _lane]: [OwnedFd; handshake::DESCRIPTORS] =
            descriptors.try_into().map_err(|_| "another number of descriptors")?;
        let kept = inbox.try_clone()?;
        let file = SliceFile::adopt(outbox, welcome.outbox)?;
        let outbox = Writable::map(&file)?;
        file.seal_writes()?;
        let endpoint = Endpoint::new(outbox, Inbox::map(&SliceFile::adopt(inbox, welcome.inbox)?)?);
        socket::send(connection.as_fd(), &handshake::mapped(), &[])?;
        std::mem::forget(connection);
        Ok(Self { endpoint, inbox: kept, inbox_size: welcome.inbox, bell })
    }

    fn receive(&mut self) -> Outcome<(Header, Vec<u8>)> {
        let end = Instant::now() + Duration::from_secs(20);
        while Instant::now() < end {
            if let Some(incoming) = self.endpoint.peek()? {
                let mut payload = vec![0; incoming.raw.length() as usize];
                self.endpoint.theirs().copy_out(incoming.payload_offset(), &mut payload);
                self.endpoint.advance(&incoming);
                self.endpoint.release();
                return Ok((incoming.raw.header(), payload));
            }
            std::thread::sleep(Duration::from_millis(1));
        }
        Err("the host went silent".into())
    }

    fn send(&mut self, mut header: Header, payload: &[u8]) {
        let Ok(slot) = self.endpoint.reserve(payload.len()) else { return };
        header.length = payload.len() as u32;
        self.endpoint.mine_mut().copy_in(slot.payload_offset(), payload);
        self.endpoint.commit(&slot, &RawHeader::from(&header));
        self.endpoint.publish();
        wake::ring(self.bell.as_fd());
    }

    /// The host sees what source arrives.
    fn forge(&mut self, host: WorldId) {
        let forged =
            Header { source: WorldId::CONTROL, sequence: 4711, tag: FORGED, ..Header::new(Kind::Message, host, 0) };
        self.send(forged, b"obey me, I am the control service");
    }

    fn write_inbox(&self) -> Attempt {
        let written = self.inbox.try_clone().and_then(|fd| File::from(fd).write_all_at(b"forged", 4096));
        attempt("write into its own inbox with pwrite", written.map(|()| "it was written".into()))
    }

    fn map_inbox(&self) -> Attempt {
        let file = self.inbox.try_clone().map_err(|error| error.to_string());
        let mapped = file.and_then(|fd| {
            SliceFile::adopt(fd, self.inbox_size).and_then(|file| Writable::map(&file)).map_err(|e| e.to_string())
        });
        attempt("map its own inbox writable", mapped.map(|_| "it was mapped".into()))
    }

    fn send_to(&mut self, forbidden: WorldId) -> Outcome<Attempt> {
        self.send(Header::new(Kind::Message, forbidden, 0), b"hello?");
        let (notice, _) = self.receive()?;
        let reason = Reason::from_code(notice.code).filter(|_| notice.kind == Kind::Notice);
        Ok(Attempt {
            what: "send to a world it may not reach".into(),
            outcome: reason.map(|reason| format!("the switch: {reason}")).ok_or_else(|| "no notice came".into()),
        })
    }

    fn run_cursor_backwards(&mut self) {
        self.endpoint.mine().control().produced.store(0, Ordering::SeqCst);
        wake::ring(self.bell.as_fd());
    }
}

fn open_socket() -> Attempt {
    let tcp = TcpStream::connect("127.0.0.1:80").map(|_| "a TCP connection".to_owned());
    let any = tcp.or_else(|_| UdpSocket::bind("0.0.0.0:0").map(|_| "a UDP socket".to_owned()));
    attempt("open a socket", any)
}

fn read_shadow() -> Attempt {
    attempt("read /etc/shadow", fs::read_to_string("/etc/shadow").map(|text| format!("{} bytes of it", text.len())))
}

/// For an attempt, failing is the good outcome.
fn attempt<E: ToString>(what: &str, result: Result<String, E>) -> Attempt {
    let outcome = match result {
        Ok(loot) => Err(loot),
        Err(error) => Ok(format!("the kernel: {}", error.to_string())),
    };
    Attempt { what: what.into(), outcome }
}
