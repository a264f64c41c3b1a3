//! `strait send` and `strait request`.

use crate::Outcome;
use crate::args::{Request, Send};
use crate::failure::{FAILED, Failure};
use crate::{socket, text};
use serde_json::{Value, json};
use std::io::{self, IsTerminal, Read};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strait_broker::{Client, Reason, WorldId};

/// How long the switch may take to read a message; it does so at any load.
pub const TAKEN: Duration = Duration::from_secs(5);
/// The longest message; what is longer than one record goes in pieces.
pub const MAX_BYTES: u32 = 16 << 20;
/// How long to listen whether the message comes back.
const NOTICE: Duration = Duration::from_millis(100);

pub fn send(args: &Send) -> Outcome {
    let (mut client, world, payload) = prepare(&args.socket, &args.world, args.data.as_deref())?;
    client.send(world, &payload)?;
    if !client.drain(TAKEN)? {
        return Err(Failure::new(format!("the broker hasn't taken the message within {} s", TAKEN.as_secs())));
    }
    match returned(&mut client, world)? {
        None => Ok(ExitCode::SUCCESS),
        Some(reason) => Err(Failure::from(reason).about(&args.world)),
    }
}

/// Why the message came back, if it did.
fn returned(client: &mut Client, world: WorldId) -> Result<Option<Reason>, Failure> {
    let end = Instant::now() + NOTICE;
    while let Some(record) = client.receive(Some(end.saturating_duration_since(Instant::now())))? {
        if record.header().source == world && record.notice().is_some() {
            return Ok(record.notice());
        }
    }
    Ok(None)
}

pub fn request(args: &Request) -> Outcome {
    let (mut client, world, payload) = prepare(&args.socket, &args.world, args.data.as_deref())?;
    let reply = client.request(world, &payload, args.timeout);
    let reply = reply.map_err(|error| Failure::from(error).about(&args.world))?;
    let (code, is_shown) = (reply.header.code, io::stdout().is_terminal());
    match (args.json, is_shown) {
        (true, _) => text::print(json_text(&args.world, code, reply.header.tag, &reply.payload).as_bytes())?,
        (false, false) => text::print(&reply.payload)?,
        (false, true) => text::print(on_terminal(&reply.payload).as_bytes())?,
    };
    match code {
        0 => Ok(ExitCode::SUCCESS),
        code => Err(Failure::new(format!("{} replied with code {code}", args.world)).code(FAILED)),
    }
}

/// A world's bytes where they could command a terminal.
fn on_terminal(payload: &[u8]) -> String {
    let mut shown = text::harmless(&String::from_utf8_lossy(payload));
    if !shown.is_empty() && !shown.ends_with('\n') {
        shown.push('\n');
    }
    shown
}

fn json_text(world: &str, code: u16, tag: u64, payload: &[u8]) -> String {
    let (key, value) = text::as_json(payload);
    let mut object = json!({ "from": world, "code": code, "tag": tag });
    object[key] = Value::String(value);
    format!("{object:#}\n")
}

fn prepare(
    socket: &crate::args::Socket,
    world: &str,
    data: Option<&str>,
) -> Result<(Client, WorldId, Vec<u8>), Failure> {
    let mut client = socket::attach(socket)?;
    let known = client.resolve(world)?;
    let payload = payload(data, MAX_BYTES)?;
    Ok((client, known, payload))
}

/// From the argument, or from standard input, of which no more is read than can be sent.
pub fn payload(data: Option<&str>, max_bytes: u32) -> Result<Vec<u8>, Failure> {
    match data {
        Some(text) if text != "-" => Ok(text.into()),
        _ => {
            let mut bytes = Vec::new();
            let read = io::stdin().take(u64::from(max_bytes) + 1).read_to_end(&mut bytes);
            read.map_err(|error| Failure::new(format!("standard input: {error}")))?;
            match bytes.len() as u64 > u64::from(max_bytes) {
                true => Err(Failure::new(format!("standard input has more than {max_bytes} bytes"))
                    .hint("send it in parts, or grant the world the file with `read`")),
                false => Ok(bytes),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replies_have_a_text_or_a_hex_form() {
        let told: Value = serde_json::from_str(&json_text("a", 3, 7, b"hi")).unwrap();
        assert_eq!(told, json!({ "from": "a", "code": 3, "tag": 7, "payload": "hi" }));
        let told: Value = serde_json::from_str(&json_text("a", 0, 0, b"\xff\x00")).unwrap();
        assert_eq!(told["payload_hex"], "ff00");
    }

    #[test]
    fn a_terminal_isnt_commanded() {
        assert_eq!(on_terminal(b"a\x1b[2J"), "a\\u{1b}[2J\n");
        assert_eq!(on_terminal(b""), "");
    }
}
