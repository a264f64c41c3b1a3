//! Redis: Debian's server over a Unix socket, publish and subscribe, publications pipelined.

use crate::server;
use redis::{Connection, IntoConnectionInfo, Value};
use std::path::Path;
use strait_measure::{End, Kind, Message, Outcome, Peer, Seat, patiently, run_server};

/// Publications that go out in one write, as long as they are small.
const BATCH: usize = 32;
const BATCH_BYTES: usize = 64 * 1024;

pub struct Redis;

/// A connection that subscribes can't publish, so each party has two.
pub struct RedisEnd {
    out: Connection,
    incoming: Connection,
    to: String,
    payload: Vec<u8>,
    staged: Vec<u8>,
    staged_count: usize,
    unanswered: usize,
}

fn channel(seat: &Seat, index: usize) -> String {
    match seat.load.kind == Kind::FanOut && index > 0 {
        true => "all".into(),
        false => format!("{index}"),
    }
}

fn connection(dir: &Path) -> Outcome<Connection> {
    let address = format!("unix://{}", dir.join("redis.sock").display());
    let info = address.into_connection_info()?;
    let settings = info.redis_settings().clone().set_skip_set_lib_name();
    let client = redis::Client::open(info.set_redis_settings(settings))?;
    Ok(patiently(|| client.get_connection())?)
}

impl Peer for Redis {
    const NAME: &str = "redis";
    const HAS_SERVER: bool = true;
    type End = RedisEnd;

    fn missing() -> Option<String> {
        server::missing("redis-server", "redis-server")
    }

    fn serve(dir: &Path) -> Outcome<()> {
        let mut command = server::command("redis-server");
        command.args(["--port", "0", "--save", "", "--appendonly", "no", "--daemonize", "no"]);
        command.arg("--unixsocket").arg(dir.join("redis.sock")).arg("--dir").arg(dir);
        // A subscriber that is behind isn't cut off: credit bounds how far behind it can be.
        run_server(command.args(["--client-output-buffer-limit", "pubsub 0 0 0", "--logfile", ""]))
    }

    fn open(seat: &Seat) -> Outcome<RedisEnd> {
        let (mut incoming, out) = (connection(&seat.dir)?, connection(&seat.dir)?);
        let subscribe = redis::cmd("SUBSCRIBE").arg(channel(seat, seat.index)).get_packed_command();
        incoming.send_packed_command(&subscribe)?;
        incoming.recv_response()?;
        Ok(RedisEnd {
            out,
            incoming,
            to: channel(seat, seat.others()[0]),
            payload: vec![0; seat.load.bytes],
            staged: Vec::new(),
            staged_count: 0,
            unanswered: 0,
        })
    }
}

impl RedisEnd {
    /// Sends the batch, then takes the answers to the one before: they have come while this one was made.
    fn post(&mut self) -> Outcome<()> {
        self.out.send_packed_command(&self.staged)?;
        for _ in 0..self.unanswered {
            self.out.recv_response()?;
        }
        self.unanswered = std::mem::take(&mut self.staged_count);
        self.staged.clear();
        Ok(())
    }
}

impl End for RedisEnd {
    fn needs_credit(_: Kind) -> bool {
        true
    }

    fn send(&mut self, message: Message) -> Outcome<()> {
        message.write(&mut self.payload);
        let mut command = redis::cmd("PUBLISH");
        command.arg(&self.to).arg(&self.payload);
        command.write_packed_command(&mut self.staged);
        self.staged_count += 1;
        if self.staged_count == BATCH || self.staged.len() >= BATCH_BYTES {
            self.post()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Outcome<()> {
        if self.staged_count > 0 { self.post() } else { Ok(()) }
    }

    fn receive(&mut self, read: impl FnOnce(&[u8]) -> Outcome<()>) -> Outcome<()> {
        // "message", the channel, the payload.
        match self.incoming.recv_response()? {
            Value::Array(parts) => match parts.last() {
                Some(Value::BulkString(payload)) => read(payload),
                _ => Err("a message without a payload".into()),
            },
            other => Err(format!("not a message: {other:?}").into()),
        }
    }
}
