//! D-Bus: a private bus with either of the two daemons, every message a signal: to one name, or broadcast for a fan-out.
//!
//! The crate `rustbus` marshals; reading and writing is done here, because it reads 512 bytes at a time, and this is to measure
//! the bus.

use crate::server;
use rustbus::message_builder::{MarshalledMessage, MessageBuilder};
use rustbus::{standard_messages as standard, wire::marshal::marshal};
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::marker::PhantomData;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use strait_measure::{End, Kind, Message, Outcome, Peer, Seat, patiently, run_server};

/// A daemon that carries a bus.
pub trait Carrier {
    const NAME: &str;
    fn missing() -> Option<String>;
    /// Becomes the daemon, on a socket at [`address`].
    fn serve(dir: &Path) -> Outcome<()>;
}

pub fn address(dir: &Path) -> PathBuf {
    dir.join("bus")
}

/// The reference implementation.
pub struct Daemon;

const CONFIG: &str = r#"<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>session</type>
  <listen>unix:path=ADDRESS</listen>
  <auth>EXTERNAL</auth>
  <policy context="default">
    <allow send_destination="*" eavesdrop="true"/><allow eavesdrop="true"/><allow own="*"/>
  </policy>
  <limit name="max_incoming_bytes">1000000000</limit>
  <limit name="max_outgoing_bytes">1000000000</limit>
  <limit name="max_message_size">1000000000</limit>
  <limit name="max_completed_connections">10000</limit>
  <limit name="max_connections_per_user">10000</limit>
</busconfig>
"#;

impl Carrier for Daemon {
    const NAME: &str = "dbus-daemon";

    fn missing() -> Option<String> {
        server::missing("dbus-daemon", "dbus-daemon")
    }

    fn serve(dir: &Path) -> Outcome<()> {
        let config = dir.join("bus.conf");
        fs::write(&config, CONFIG.replace("ADDRESS", &address(dir).display().to_string()))?;
        run_server(server::command("dbus-daemon").args(["--nofork", "--nopidfile"]).arg("--config-file").arg(config))
    }
}

pub struct Bus<C>(PhantomData<C>);

pub struct BusEnd {
    stream: UnixStream,
    /// A whole message, marshalled; the payload is at its end and written anew for each.
    out: Vec<u8>,
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    payload_bytes: usize,
}

const INTERFACE: &str = "bench.Bench";
const MEMBER: &str = "Message";
/// What is before the variable part of a header, and where the lengths are in it.
const FIXED: usize = 16;
const BODY_BYTES: usize = 4;
const FIELD_BYTES: usize = 12;
const READ_AHEAD: usize = 64 * 1024;

fn name(index: usize) -> String {
    format!("bench.p{index}")
}

impl<C: Carrier> Peer for Bus<C> {
    const NAME: &str = C::NAME;
    const HAS_SERVER: bool = true;
    type End = BusEnd;

    fn missing() -> Option<String> {
        C::missing()
    }

    fn serve(dir: &Path) -> Outcome<()> {
        C::serve(dir)
    }

    fn open(seat: &Seat) -> Outcome<BusEnd> {
        let bytes = seat.load.bytes;
        let to = (seat.load.kind != Kind::FanOut).then(|| name(seat.others()[0]));
        let stream = patiently(|| UnixStream::connect(address(&seat.dir)))?;
        let buffer = vec![0; READ_AHEAD.max(bytes + 1024)];
        let mut end = BusEnd { stream, out: template(to, bytes)?, buffer, start: 0, end: 0, payload_bytes: bytes };
        end.introduce()?;
        end.call(&standard::hello())?;
        let replace = standard::DBUS_NAME_FLAG_ALLOW_REPLACEMENT | standard::DBUS_NAME_FLAG_REPLACE_EXISTING;
        end.call(&standard::request_name(&name(seat.index), replace))?;
        if seat.load.kind == Kind::FanOut && !seat.is_sender() {
            end.call(&standard::add_match(&format!("interface='{INTERFACE}'")))?;
        }
        Ok(end)
    }
}

fn template(to: Option<String>, bytes: usize) -> Outcome<Vec<u8>> {
    let signal = MessageBuilder::new().signal(INTERFACE, MEMBER, "/bench");
    let mut message = match to {
        Some(to) => signal.to(to).build(),
        None => signal.build(),
    };
    message.body.push_param(vec![0u8; bytes])?;
    marshalled(&message)
}

fn marshalled(message: &MarshalledMessage) -> Outcome<Vec<u8>> {
    let mut bytes = Vec::new();
    marshal(message, 1, &mut bytes)?;
    bytes.extend_from_slice(message.get_buf());
    Ok(bytes)
}

impl BusEnd {
    /// Says by which uid it is: the daemon asks the kernel whether that is so.
    fn introduce(&mut self) -> Outcome<()> {
        let uid: String =
            rustix::process::getuid().as_raw().to_string().bytes().map(|byte| format!("{byte:02x}")).collect();
        self.stream.write_all(format!("\0AUTH EXTERNAL {uid}\r\n").as_bytes())?;
        let mut answer = String::new();
        BufReader::with_capacity(1, &self.stream).read_line(&mut answer)?;
        if !answer.starts_with("OK") {
            return Err(format!("the bus says {}", answer.trim()).into());
        }
        Ok(self.stream.write_all(b"BEGIN\r\n")?)
    }

    /// Asks the bus itself, and waits for its answer: a return, type 2, or an error, type 3.
    fn call(&mut self, message: &MarshalledMessage) -> Outcome<()> {
        self.stream.write_all(&marshalled(message)?)?;
        loop {
            let answer = self.next_message()?;
            match self.buffer[answer.start + 1] {
                2 => return Ok(()),
                3 => return Err(String::from_utf8_lossy(&self.buffer[answer]).into()),
                _ => (),
            }
        }
    }

    /// The next message, whole.
    fn next_message(&mut self) -> Outcome<std::ops::Range<usize>> {
        loop {
            if let Some(length) = self.length().filter(|length| *length <= self.end - self.start) {
                let start = self.start;
                self.start += length;
                return Ok(start..self.start);
            }
            self.buffer.copy_within(self.start..self.end, 0);
            self.end -= self.start;
            self.start = 0;
            match self.stream.read(&mut self.buffer[self.end..])? {
                0 => return Err("the bus is gone".into()),
                length => self.end += length,
            }
        }
    }

    fn length(&self) -> Option<usize> {
        let there = &self.buffer[self.start..self.end];
        let number = |at: usize| Some(u32::from_le_bytes(*there.get(at..)?.first_chunk()?) as usize);
        Some(FIXED + number(FIELD_BYTES)?.next_multiple_of(8) + number(BODY_BYTES)?)
    }
}

impl End for BusEnd {
    fn needs_credit(_: Kind) -> bool {
        true
    }

    fn send(&mut self, message: Message) -> Outcome<()> {
        let payload = self.out.len() - message.bytes;
        message.write(&mut self.out[payload..]);
        Ok(self.stream.write_all(&self.out)?)
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        loop {
            let message = self.next_message()?;
            // The bus says a few things by itself, which are shorter or carry text: names that one has got.
            let whole = &self.buffer[message];
            if memchr(whole, INTERFACE.as_bytes()) {
                return read(&whole[whole.len() - self.payload_bytes..]);
            }
        }
    }
}

/// Whether the header names our interface; it does so within its first bytes.
fn memchr(message: &[u8], interface: &[u8]) -> bool {
    let header = &message[..message.len().min(256)];
    header.windows(interface.len()).any(|window| window == interface)
}
