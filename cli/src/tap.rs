//! `strait tap`: copies of the headers of what worlds send each other.

use crate::args::Tap;
use crate::failure::Failure;
use crate::feed::{Batch, Feed, Seen, topic_of};
use crate::{Outcome, socket, text, units};
use serde::Serialize;
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strait_broker::{Fate, Header, Kind};

/// How long to wait at a time where nobody says for how long.
const A_DAY: Duration = Duration::from_secs(86_400);

pub fn tap(args: &Tap) -> Outcome {
    let mut feed = open(&args.socket, &args.pattern, args.payload)?;
    let end = args.time.map(|time| Instant::now() + time);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let time = end.map_or(A_DAY, |end| end.saturating_duration_since(Instant::now()));
        match feed.next(time)? {
            None if end.is_some() => break,
            None => {}
            Some(batch) => {
                let shown = batch.seen.len().min(usize::try_from(left).unwrap_or(usize::MAX));
                left -= shown as u64;
                if !text::print_on(written(&feed, &batch, shown, args.json).as_bytes())? {
                    break;
                }
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Begins to tap, or says what helps.
pub fn open(socket: &crate::args::Socket, pattern: &str, payload: bool) -> Result<Feed, Failure> {
    let feed = Feed::new(socket::attach(socket)?, pattern, payload);
    feed.map_err(|failure| failure.or_hint("a pattern is a name, or the beginning of names with a `*` at its end"))
}

fn written(feed: &Feed, batch: &Batch, shown: usize, is_json: bool) -> String {
    let line = |seen: &Seen| match is_json {
        true => as_line(&object(feed, seen)),
        false => plain(feed, seen),
    };
    let mut lines: String = batch.seen[..shown].iter().map(line).collect();
    if batch.missed > 0 && shown == batch.seen.len() {
        lines += &match is_json {
            true => format!("{}\n", json!({ "missed": batch.missed })),
            false => format!("... {} records more went by than a tap takes\n", batch.missed),
        };
    }
    lines
}

fn as_line(object: &Object) -> String {
    serde_json::to_string(object).expect("numbers and texts can be written as JSON") + "\n"
}

fn plain(feed: &Feed, seen: &Seen) -> String {
    let Header { source, destination, sequence, length, .. } = seen.header;
    let (time, what) = (units::time_of_day(feed.time(seen.at)), what(feed, seen));
    let (from, to) = (text::one_line(&feed.name(source)), text::one_line(&feed.name(destination)));
    let mut line = format!("{time} {from} -> {to}  {what} {sequence}  {length} bytes  {}", fate(seen.fate));
    if !seen.payload.is_empty() {
        line += &format!("  {}", text::one_line(&String::from_utf8_lossy(&seen.payload)));
    }
    line + "\n"
}

/// A record as JSON has it. A struct and no [`serde_json::Value`]: there are some twenty thousand a second.
#[derive(Debug, Serialize)]
pub struct Object {
    at: String,
    from: String,
    from_id: u64,
    to: String,
    to_id: u64,
    kind: &'static str,
    sequence: u64,
    cause: u64,
    as_cause: u64,
    correlation: u64,
    code: u16,
    flags: u8,
    tag: u64,
    timeout_ms: u32,
    stream: u32,
    bytes: u32,
    fate: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    topic: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    payload_hex: Option<String>,
}

pub fn object(feed: &Feed, seen: &Seen) -> Object {
    let header = &seen.header;
    let payload = (!seen.payload.is_empty()).then(|| text::as_json(&seen.payload));
    let (payload, payload_hex) = match payload {
        Some(("payload", text)) => (Some(text), None),
        other => (None, other.map(|(_, digits)| digits)),
    };
    Object {
        at: units::timestamp(feed.time(seen.at)),
        from: feed.name(header.source),
        from_id: header.source.0,
        to: feed.name(header.destination),
        to_id: header.destination.0,
        kind: kind(header.kind),
        sequence: header.sequence,
        cause: header.cause,
        as_cause: header.as_cause(),
        correlation: header.correlation,
        code: header.code,
        flags: header.flags,
        tag: header.tag,
        timeout_ms: header.timeout_ms,
        stream: header.stream,
        bytes: header.length,
        fate: fate(seen.fate),
        topic: topic_of(seen).map(|topic| feed.name(topic)),
        payload,
        payload_hex,
    }
}

pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Message => "message",
        Kind::Request => "request",
        Kind::Reply => "reply",
        Kind::Notice => "notice",
        Kind::Multicast => "multicast",
    }
}

/// What it is, with a reply's code where that says something, and the topic of what was published.
pub fn what(feed: &Feed, seen: &Seen) -> String {
    match (seen.header.kind, seen.header.code, topic_of(seen)) {
        (_, _, Some(topic)) => format!("on {}", text::one_line(&feed.name(topic))),
        (Kind::Reply, code, _) if code != 0 => format!("reply (code {code})"),
        (other, ..) => kind(other).into(),
    }
}

pub fn fate(fate: Fate) -> String {
    match fate {
        Fate::Delivered => "delivered".into(),
        Fate::Held => "held".into(),
        Fate::Ended(reason) => reason.to_string(),
    }
}
