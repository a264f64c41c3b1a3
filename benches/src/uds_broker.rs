//! A naive broker: one thread, epoll, seqpacket sockets. What somebody writes who needs a broker by tomorrow.
//!
//! A message begins with the set of its destinations and its source; who someone is, it says itself when it connects, and the
//! broker believes it. A receiver that doesn't read holds up everybody.

use crate::uds;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, SocketType, recv, send};
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use strait_measure::{End, Load, Message, Outcome, Peer, Seat};

/// The set of destinations, a bit for each, and the source: eight bytes each.
const HEADER: usize = 16;
/// Who can be a destination.
const ADDRESSES: u64 = 64;
/// Messages taken from one client before the next has its turn.
const TURN: usize = 64;
/// The largest message.
const LARGEST: usize = HEADER + (1 << 20);
const LISTENER: u64 = u64::MAX;

pub struct UdsBroker;

pub struct BrokerEnd {
    socket: OwnedFd,
    out: Vec<u8>,
    incoming: Vec<u8>,
}

fn address(dir: &Path) -> PathBuf {
    dir.join("broker")
}

impl Peer for UdsBroker {
    const NAME: &str = "uds-broker";
    const HAS_SERVER: bool = true;
    type End = BrokerEnd;

    fn serve(dir: &Path) -> Outcome<()> {
        Broker::open(dir)?.run()
    }

    fn open(seat: &Seat) -> Outcome<BrokerEnd> {
        let socket = uds::connection(SocketType::SEQPACKET, &address(&seat.dir), &seat.load)?;
        send(&socket, &(seat.index as u64).to_le_bytes(), SendFlags::NOSIGNAL)?;
        let to = seat.others().into_iter().fold(0, |set: u64, other| set | 1 << other);
        let mut out = vec![0; HEADER + seat.load.bytes];
        out[..8].copy_from_slice(&to.to_le_bytes());
        out[8..HEADER].copy_from_slice(&(seat.index as u64).to_le_bytes());
        Ok(BrokerEnd { socket, out, incoming: vec![0; HEADER + seat.load.bytes] })
    }
}

impl End for BrokerEnd {
    fn send(&mut self, message: Message) -> Outcome<()> {
        message.write(&mut self.out[HEADER..]);
        send(&self.socket, &self.out, SendFlags::NOSIGNAL)?;
        Ok(())
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        let (_, length) = recv(&self.socket, &mut *self.incoming, RecvFlags::TRUNC)?;
        read(self.incoming.get(HEADER..length).ok_or("the broker is gone")?)
    }
}

/// The process in the middle.
struct Broker {
    epoll: OwnedFd,
    listener: OwnedFd,
    clients: HashMap<u64, Client>,
    /// Which client has an address: the last who claimed it.
    addresses: [Option<u64>; ADDRESSES as usize],
    next: u64,
    buffer: Vec<u8>,
}

struct Client {
    socket: OwnedFd,
    has_said_who: bool,
}

impl Broker {
    fn open(dir: &Path) -> Outcome<Self> {
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC)?;
        let listener = uds::listener(SocketType::SEQPACKET, &address(dir))?;
        epoll::add(&epoll, &listener, epoll::EventData::new_u64(LISTENER), epoll::EventFlags::IN)?;
        let addresses = [None; ADDRESSES as usize];
        Ok(Self { epoll, listener, clients: HashMap::new(), addresses, next: 0, buffer: vec![0; LARGEST] })
    }

    fn run(&mut self) -> Outcome<()> {
        let mut events = Vec::with_capacity(64);
        loop {
            events.clear();
            epoll::wait(&self.epoll, rustix::buffer::spare_capacity(&mut events), None)?;
            for event in &events {
                match event.data.u64() {
                    LISTENER => self.accept()?,
                    client => self.turn(client)?,
                }
            }
        }
    }

    fn accept(&mut self) -> Outcome<()> {
        let load = Load::new(strait_measure::Kind::OneWay, LARGEST);
        let socket = uds::next_connection(&self.listener, &load)?;
        epoll::add(&self.epoll, &socket, epoll::EventData::new_u64(self.next), epoll::EventFlags::IN)?;
        self.clients.insert(self.next, Client { socket, has_said_who: false });
        self.next += 1;
        Ok(())
    }

    /// Forwards what a client has sent.
    fn turn(&mut self, who: u64) -> Outcome<()> {
        for _ in 0..TURN {
            let Some(client) = self.clients.get_mut(&who) else { return Ok(()) };
            match recv(&client.socket, &mut *self.buffer, RecvFlags::DONTWAIT) {
                Err(Errno::AGAIN) => return Ok(()),
                Ok((_, 0)) | Err(_) => return self.forget(who),
                Ok((_, length)) if client.has_said_who => self.forward(length),
                Ok(_) => {
                    client.has_said_who = true;
                    let address = self.number_at(0);
                    if address < ADDRESSES {
                        self.addresses[address as usize] = Some(who);
                    }
                }
            }
        }
        Ok(())
    }

    fn number_at(&self, at: usize) -> u64 {
        self.buffer[at..].first_chunk().map_or(0, |bytes| u64::from_le_bytes(*bytes))
    }

    fn forward(&self, length: usize) {
        let to = self.number_at(0);
        let wanted = (0..ADDRESSES).filter(|address| to >> address & 1 == 1);
        for address in wanted {
            let client = self.addresses[address as usize].and_then(|who| self.clients.get(&who));
            if let Some(client) = client {
                // Who has gone meanwhile gets nothing; its own turn will say so.
                let _ = send(&client.socket, &self.buffer[..length], SendFlags::NOSIGNAL);
            }
        }
    }

    fn forget(&mut self, who: u64) -> Outcome<()> {
        if let Some(client) = self.clients.remove(&who) {
            epoll::delete(&self.epoll, &client.socket)?;
        }
        for address in &mut self.addresses {
            if *address == Some(who) {
                *address = None;
            }
        }
        Ok(())
    }
}
