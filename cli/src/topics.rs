//! `strait pub` and `strait sub`.

use crate::Outcome;
use crate::args::{Pub, Sub};
use crate::failure::Failure;
use crate::signals::Signals;
use crate::talk::{self, MAX_BYTES, TAKEN};
use crate::{socket, text};
use serde_json::{Value, json};
use std::io::{self, BufRead, Read};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strait_broker::{Client, Published, SubscribeOptions};

/// How long to wait at a time where nobody says for how long.
const A_DAY: Duration = Duration::from_secs(86_400);

pub fn publish(args: &Pub) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    if args.lines {
        return publish_lines(&mut client, &args.topic);
    }
    let payload = talk::payload(args.data.as_deref(), if args.retain { client.max_payload() } else { MAX_BYTES })?;
    // From here on, so that who ends us at once ends what is kept in order.
    let mut signals = args.retain.then(Signals::catch).transpose()?;
    match args.retain {
        true => client.publish_retained(&args.topic, &payload)?,
        false => client.publish(&args.topic, &payload)?,
    };
    taken(&mut client)?;
    match &mut signals {
        Some(signals) => stay(&mut client, signals, args.time),
        None => Ok(ExitCode::SUCCESS),
    }
}

fn taken(client: &mut Client) -> Result<(), Failure> {
    match client.drain(TAKEN)? {
        true => Ok(()),
        false => Err(Failure::new(format!("the broker hasn't taken the message within {} s", TAKEN.as_secs()))
            .hint("a subscriber that wants every message may be slow: `strait top` shows who waits for whom")),
    }
}

/// Each line as soon as it is there, without its end. One may be as long as a message.
fn publish_lines(client: &mut Client, topic: &str) -> Outcome {
    let mut input = io::stdin().lock();
    loop {
        let mut line = Vec::new();
        let read = input.by_ref().take(u64::from(MAX_BYTES) + 1).read_until(b'\n', &mut line);
        if read.map_err(|error| Failure::new(format!("standard input: {error}")))? == 0 {
            return taken(client).map(|()| ExitCode::SUCCESS);
        }
        line.pop_if(|last| *last == b'\n');
        if line.len() > MAX_BYTES as usize {
            return Err(Failure::new(format!("standard input: a line has more than {MAX_BYTES} bytes"))
                .hint("without --lines all of it is one message, and has the same bound"));
        }
        client.publish(topic, &line)?;
    }
}

/// Keeps what is kept, until Ctrl-C or for so long.
fn stay(client: &mut Client, signals: &mut Signals, time: Option<Duration>) -> Outcome {
    let end = time.map(|time| Instant::now() + time);
    // Who polls says so before it looks.
    client.poll_fd();
    loop {
        while let Some(record) = client.try_receive()? {
            if let Some(reason) = record.notice() {
                return Err(Failure::from(reason)
                    .hint("what is kept for one publisher is at most a quarter of what the broker holds for it"));
            }
        }
        let left = end.map(|end| end.saturating_duration_since(Instant::now()));
        if signals.take() || left == Some(Duration::ZERO) {
            return Ok(ExitCode::SUCCESS);
        }
        signals.wait_or(client.poll_fd(), left)?;
    }
}

pub fn subscribe(args: &Sub) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let options = SubscribeOptions { newest: args.newest, retained: args.retained, ..SubscribeOptions::default() };
    client.subscribe(&args.pattern, &options)?;
    let end = args.time.map(|time| Instant::now() + time);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let time = end.map_or(A_DAY, |end| end.saturating_duration_since(Instant::now()));
        match next(&mut client, time)? {
            None if end.is_some_and(|end| end <= Instant::now()) => break,
            None => {}
            Some(heard) => {
                left -= 1;
                let line = if args.json { heard.object().to_string() } else { heard.line() };
                if !text::print_on(format!("{line}\n").as_bytes())? {
                    break;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// A message that came by a topic.
struct Heard {
    topic: String,
    from: u64,
    tag: u64,
    how: Published,
    payload: Vec<u8>,
}

fn next(client: &mut Client, time: Duration) -> Result<Option<Heard>, Failure> {
    let Some(record) = client.receive(Some(time))? else { return Ok(None) };
    let (header, how, payload) = (record.header(), record.published(), record.payload().to_vec());
    let Some(how) = how else { return Ok(None) };
    // One that was closed long ago has no name any more.
    let topic = client.topic_name(how.topic).map_or_else(|_| how.topic.to_string(), |name| name.to_string());
    Ok(Some(Heard { topic, from: header.source.0, tag: header.tag, how, payload }))
}

impl Heard {
    fn line(&self) -> String {
        let missed = match self.how.missed {
            0 => String::new(),
            missed => format!("... {missed} messages of {} were missed\n", self.topic),
        };
        format!("{missed}{}  {}", self.topic, text::one_line(&String::from_utf8_lossy(&self.payload)))
    }

    fn object(&self) -> Value {
        let Published { subscription, missed, is_retained, .. } = self.how;
        let (key, payload) = text::as_json(&self.payload);
        let mut object = json!({
            "topic": self.topic, "from_id": self.from, "tag": self.tag, "subscription": subscription, "missed": missed,
            "retained": is_retained,
        });
        object[key] = Value::String(payload);
        object
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use strait_broker::WorldId;

    #[test]
    fn what_was_missed_is_said_and_nothing_commands_a_terminal() {
        let how = Published { topic: WorldId::topic(3), subscription: 1, missed: 2, is_retained: false };
        let heard = Heard { topic: "a.b".into(), from: 17, tag: 0, how, payload: b"x\x1b[2J\n".to_vec() };
        assert_eq!(heard.line(), "... 2 messages of a.b were missed\na.b  x\\u{1b}[2J\\n");
        assert_eq!((heard.object()["missed"].as_u64(), heard.object()["topic"].as_str()), (Some(2), Some("a.b")));
    }
}
