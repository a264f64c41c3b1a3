//! Trees as OpenTelemetry has them: spans of traces, in the JSON of its protocol, one line of `TracesData` per tree.
//!
//! This is the format of files that a collector reads (`otlpjsonfile`):
//! <https://opentelemetry.io/docs/specs/otel/protocol/file-exporter/>. A tree is a trace. A message or request is a span of the world that got
//! it, below the span of the record that its sender was handling. A request's span ends with its reply, which is an event in it; what the
//! reply has caused is below it, too. Other spans end with the last thing that they have caused. A span's id is the record's word as a
//! cause, as far as that is one record's alone, so that the spans of `strait_client::Record::span` can be joined with these.

use super::forest::{Node, Tree};
use crate::feed::{Feed, topic_of};
use crate::{tap, units};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashSet};
use std::time::Duration;
use strait_broker::{Fate, Kind};

/// `SpanKind`: who answers, and who takes what wants no answer.
const SERVER: u8 = 2;
const CONSUMER: u8 = 5;
/// `StatusCode`.
const ERROR: u8 = 2;

/// What belongs to a record's span, by the places of nodes in their tree.
struct Span {
    id: u64,
    parent: Option<usize>,
    end: Duration,
    replies: Vec<usize>,
}

/// One line.
pub fn line(feed: &Feed, tree: &Tree) -> String {
    let spans = spans(tree);
    let trace = trace_id(feed, tree);
    let mut worlds: BTreeMap<String, Vec<Value>> = BTreeMap::new();
    for (at, span) in spans.iter().enumerate().filter(|(at, _)| !is_reply(&tree.nodes[*at])) {
        let mut object = object(feed, tree, at, span);
        object["traceId"] = json!(trace);
        if let Some(parent) = span.parent {
            object["parentSpanId"] = json!(hex(spans[parent].id));
        }
        let world = feed.name(tree.nodes[at].seen.header.destination);
        worlds.entry(world).or_default().push(object);
    }
    let resource = |(world, spans): (String, Vec<Value>)| {
        json!({
            "resource": { "attributes": [text("service.name", &world)] },
            "scopeSpans": [{ "scope": { "name": "strait", "version": env!("CARGO_PKG_VERSION") }, "spans": spans }],
        })
    };
    let resources: Vec<Value> = worlds.into_iter().map(resource).collect();
    format!("{}\n", json!({ "resourceSpans": resources }))
}

fn is_reply(node: &Node) -> bool {
    node.seen.header.kind == Kind::Reply
}

/// One for each node. Those of replies lend their ids to nobody: they are in the span of what they answer.
fn spans(tree: &Tree) -> Vec<Span> {
    let mut taken = HashSet::from([0]);
    let own = |node: &Node| {
        let mut id = node.seen.header.as_cause();
        // Of what went to several each has the same word.
        while !taken.insert(id) {
            id = id.wrapping_add(1 << 63 | 1);
        }
        Span { id, parent: None, end: node.seen.at, replies: Vec::new() }
    };
    let mut spans: Vec<Span> = tree.nodes.iter().map(own).collect();
    // A record stands behind what caused it.
    for (at, node) in tree.nodes.iter().enumerate() {
        let parent = if is_reply(node) { spans[at].parent } else { Some(at) };
        for child in &node.children {
            spans[*child].parent = parent;
        }
    }
    for (at, node) in tree.nodes.iter().enumerate() {
        let Some(parent) = spans[at].parent else { continue };
        let (own, open) = (&node.seen.header, &tree.nodes[parent].seen.header);
        let answers = is_reply(node) && (open.kind, open.correlation) == (Kind::Request, own.correlation);
        if answers {
            spans[parent].replies.push(at);
        }
        if answers || spans[parent].replies.is_empty() {
            spans[parent].end = spans[parent].end.max(node.seen.at);
        }
    }
    spans
}

/// When the root was seen, and its word: no other tree has both.
fn trace_id(feed: &Feed, tree: &Tree) -> String {
    let root = &tree.nodes[0].seen;
    format!("{:016x}{:016x}", units::nanoseconds(feed.time(root.at)), root.header.as_cause())
}

fn object(feed: &Feed, tree: &Tree, at: usize, span: &Span) -> Value {
    let seen = &tree.nodes[at].seen;
    let (header, nanoseconds) = (&seen.header, |at: Duration| units::nanoseconds(feed.time(at)).to_string());
    let is_request = header.kind == Kind::Request;
    let mut attributes = vec![
        text("messaging.system", "strait"),
        text("messaging.operation.type", "process"),
        text("strait.kind", tap::kind(header.kind)),
        text("strait.from", &feed.name(header.source)),
        number("strait.from_id", header.source.0),
        number("strait.sequence", header.sequence),
        number("messaging.message.body.size", header.length.into()),
        text("strait.fate", &tap::fate(seen.fate)),
    ];
    attributes.extend(topic_of(seen).map(|topic| text("messaging.destination.name", &feed.name(topic))));
    let event = |reply: &usize| {
        let reply = &tree.nodes[*reply].seen;
        let size = number("messaging.message.body.size", reply.header.length.into());
        let code = number("strait.code", reply.header.code.into());
        json!({ "timeUnixNano": nanoseconds(reply.at), "name": "reply", "attributes": [code, size] })
    };
    let mut object = json!({
        "spanId": hex(span.id),
        "name": format!("{} from {}", tap::what(feed, seen), feed.name(header.source)),
        "kind": if is_request { SERVER } else { CONSUMER },
        "startTimeUnixNano": nanoseconds(seen.at),
        "endTimeUnixNano": nanoseconds(span.end),
        "attributes": attributes,
        "events": span.replies.iter().map(event).collect::<Vec<_>>(),
    });
    if let Some(why) = failure(tree, at, span) {
        object["status"] = json!({ "code": ERROR, "message": why });
    }
    object
}

/// Why it came to nothing, or what its answer says.
fn failure(tree: &Tree, at: usize, span: &Span) -> Option<String> {
    if let Fate::Ended(reason) = tree.nodes[at].seen.fate {
        return Some(reason.to_string());
    }
    let code = tree.nodes[*span.replies.last()?].seen.header.code;
    (code != 0).then(|| format!("replied with code {code}"))
}

fn hex(id: u64) -> String {
    format!("{id:016x}")
}

fn text(key: &str, value: &str) -> Value {
    json!({ "key": key, "value": { "stringValue": value } })
}

/// 64-bit numbers are text in the JSON of protocol buffers.
fn number(key: &str, value: u64) -> Value {
    json!({ "key": key, "value": { "intValue": value.to_string() } })
}
