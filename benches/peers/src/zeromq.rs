//! ZeroMQ over Unix sockets: directly, and through its own proxy.

use std::path::Path;
use std::time::{Duration, Instant};
use strait_measure::{End, Kind, Message, Outcome, Peer, Seat};
use zmq::{Context, Socket, SocketType, XPUB, XSUB};

/// Messages that may wait in a queue, in bytes and in number; ZeroMQ's default number is the most.
const QUEUE_BYTES: usize = 4 << 20;
const QUEUE_MOST: usize = 1000;

fn queue(bytes: usize) -> i32 {
    (QUEUE_BYTES / bytes).clamp(4, QUEUE_MOST) as i32
}

fn socket(context: &Context, kind: SocketType, seat: &Seat) -> Outcome<Socket> {
    let socket = context.socket(kind)?;
    // What publishes drops what is beyond its queue; credit bounds that instead.
    let most = if seat.load.kind == Kind::FanOut || kind == zmq::PUB { 0 } else { queue(seat.load.bytes) };
    socket.set_sndhwm(most)?;
    socket.set_rcvhwm(most)?;
    socket.set_linger(0)?;
    Ok(socket)
}

fn address(path: &Path) -> String {
    format!("ipc://{}", path.display())
}

/// No process in the middle: PAIR, REQ to REP for connecting, PUB to SUB for a fan-out.
pub struct Direct;

pub struct DirectEnd {
    socket: Socket,
    incoming: zmq::Message,
    _context: Context,
}

impl Peer for Direct {
    const NAME: &str = "zmq-direct";
    const HAS_SERVER: bool = false;
    type End = DirectEnd;

    fn open(seat: &Seat) -> Outcome<DirectEnd> {
        let context = Context::new();
        let kind = match (seat.load.kind, seat.is_sender()) {
            (Kind::Connect, true) => zmq::REQ,
            (Kind::Connect, false) => zmq::REP,
            (Kind::FanOut, true) => XPUB,
            (Kind::FanOut, false) => zmq::SUB,
            _ => zmq::PAIR,
        };
        let socket = socket(&context, kind, seat)?;
        match kind {
            zmq::SUB => socket.set_subscribe(b"")?,
            // Shows every subscription, also one that somebody else has already made.
            XPUB => socket.set_xpub_verbose(true)?,
            _ => (),
        }
        if seat.load.kind == Kind::FanOut {
            meet_at_publisher(&socket, seat)?;
        } else if seat.is_sender() {
            socket.connect(&address(&seat.path("zmq", 1)))?;
        } else {
            socket.bind(&address(&seat.path("zmq", seat.index)))?;
        }
        if kind == XPUB {
            all_subscribed(&socket, seat.load.receivers)?;
        }
        Ok(DirectEnd { socket, incoming: zmq::Message::new(), _context: context })
    }
}

/// Subscriptions reach a publisher only if it is the one that binds. Subscribers are there first, so they try again until it is.
fn meet_at_publisher(socket: &Socket, seat: &Seat) -> Outcome<()> {
    let publisher = address(&seat.path("zmq", 0));
    socket.set_reconnect_ivl(1)?;
    let meet = if seat.is_sender() { Socket::bind } else { Socket::connect };
    Ok(meet(socket, &publisher)?)
}

/// What is published before somebody's subscription has arrived isn't sent there.
fn all_subscribed(socket: &Socket, receivers: usize) -> Outcome<()> {
    for _ in 0..receivers {
        socket.recv_bytes(0)?;
    }
    Ok(())
}

impl End for DirectEnd {
    fn needs_credit(kind: Kind) -> bool {
        kind == Kind::FanOut
    }

    fn send(&mut self, message: Message) -> Outcome<()> {
        let mut out = zmq::Message::with_size(message.bytes);
        message.write(&mut out);
        Ok(self.socket.send(out, 0)?)
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        self.socket.recv(&mut self.incoming, 0)?;
        read(&self.incoming)
    }
}

/// The proxy that comes with the library, as a process between publishers and subscribers.
pub struct Proxy;

pub struct ProxyEnd {
    out: Socket,
    incoming: Socket,
    to: u8,
    message: zmq::Message,
    _context: Context,
}

/// A message begins with whom it is for: one of them, or all receivers.
const ALL: u8 = 255;
/// After how long a party sends itself another hello.
const AGAIN: Duration = Duration::from_micros(200);

fn topic(index: usize) -> u8 {
    (index % usize::from(ALL)) as u8
}

impl Peer for Proxy {
    const NAME: &str = "zmq-proxy";
    const HAS_SERVER: bool = true;
    type End = ProxyEnd;

    fn serve(dir: &Path) -> Outcome<()> {
        let context = Context::new();
        let (front, back) = (context.socket(XSUB)?, context.socket(XPUB)?);
        for socket in [&front, &back] {
            socket.set_sndhwm(0)?;
            socket.set_rcvhwm(0)?;
        }
        back.bind(&address(&dir.join("back")))?;
        front.bind(&address(&dir.join("front")))?;
        // Takes everything and filters here: a subscription needn't reach every publisher before it works.
        front.send(&[1u8][..], 0)?;
        Ok(zmq::proxy(&front, &back)?)
    }

    fn open(seat: &Seat) -> Outcome<ProxyEnd> {
        let context = Context::new();
        let out = socket(&context, zmq::PUB, seat)?;
        let incoming = socket(&context, zmq::SUB, seat)?;
        let mine = topic(seat.index);
        incoming.set_rcvhwm(0)?;
        incoming.set_subscribe(&[mine])?;
        if !seat.is_sender() {
            incoming.set_subscribe(&[ALL])?;
        }
        out.connect(&address(&seat.dir.join("front")))?;
        incoming.connect(&address(&seat.dir.join("back")))?;
        hear_oneself(&out, &incoming, mine)?;
        let to = if seat.load.kind == Kind::FanOut { ALL } else { topic(seat.others()[0]) };
        Ok(ProxyEnd { out, incoming, to, message: zmq::Message::new(), _context: context })
    }
}

/// Subscribing has no answer: what one has sent oneself arrives once it works. What is sent after the first that arrives does too.
fn hear_oneself(out: &Socket, incoming: &Socket, me: u8) -> Outcome<()> {
    let mut said = 0u32;
    let first = loop {
        out.send([&[me][..], &said.to_le_bytes()].concat(), 0)?;
        said += 1;
        if let Some(heard) = heard_within(incoming, AGAIN)? {
            break heard;
        }
    };
    for _ in first + 1..said {
        incoming.recv_bytes(0)?;
    }
    Ok(())
}

/// The number of the hello that arrives, if one does.
fn heard_within(incoming: &Socket, time: Duration) -> Outcome<Option<u32>> {
    let start = Instant::now();
    while start.elapsed() < time {
        match incoming.recv_bytes(zmq::DONTWAIT) {
            Ok(hello) => {
                return Ok(hello.get(1..).and_then(|number| number.first_chunk()).map(|n| u32::from_le_bytes(*n)));
            }
            Err(zmq::Error::EAGAIN) => std::thread::yield_now(),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(None)
}

impl End for ProxyEnd {
    fn needs_credit(_: Kind) -> bool {
        true
    }

    fn send(&mut self, message: Message) -> Outcome<()> {
        let mut out = zmq::Message::with_size(1 + message.bytes);
        out[0] = self.to;
        message.write(&mut out[1..]);
        Ok(self.out.send(out, 0)?)
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        self.incoming.recv(&mut self.message, 0)?;
        read(self.message.get(1..).ok_or("an empty message")?)
    }
}
