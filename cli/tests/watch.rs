//! The commands that watch a broker.

mod common;

use common::{Dir, Foreground, Said, ask, strait};
use opentelemetry_proto::tonic::common::v1::any_value;
use opentelemetry_proto::tonic::trace::v1::status::StatusCode;
use opentelemetry_proto::tonic::trace::v1::{Span, TracesData};
use serde_json::Value;
use std::collections::HashSet;
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, SystemTime};
use strait_broker::{Client, SubscribeOptions};

const WORLDS: &str = "\
[worlds.open]
command = [\"sleep\", \"60\"]
tap_payload = true
[worlds.closed]
command = [\"sleep\", \"60\"]
";

fn up(dir: &Dir) -> (Foreground, PathBuf) {
    let (file, socket) = (dir.file("w.toml", WORLDS), dir.path("s"));
    let mut up = Foreground::up(&file, &socket);
    up.expect("started closed (#");
    (up, socket)
}

/// What a command says that ends by itself once it has seen enough, while messages are sent to a world again and again.
fn said_while_sending<const N: usize>(socket: &Path, args: [&'static str; N], world: &str, payload: &str) -> Said {
    let place = socket.to_owned();
    let watcher = thread::spawn(move || ask(&place, args));
    while !watcher.is_finished() {
        assert_eq!(ask(socket, ["send", world, payload]).code, Some(0));
    }
    watcher.join().expect("it ends")
}

fn json(said: &Said) -> Vec<Value> {
    said.out.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line} {}", said.err))).collect()
}

#[test]
fn a_tap_shows_headers_and_payloads_only_of_those_whose_configuration_says_so() {
    let dir = Dir::new("tap");
    let (_up, socket) = up(&dir);
    for (world, payload) in [("open", Some("a\u{1b}[2Jb")), ("closed", None)] {
        let args = ["tap", world, "--json", "--payload", "--count", "1"];
        let seen = &json(&said_while_sending(&socket, args, world, "a\u{1b}[2Jb"))[0];
        assert_eq!(
            (seen["to"].as_str(), seen["kind"].as_str(), seen["bytes"].as_u64()),
            (Some(world), Some("message"), Some(6))
        );
        // Its name is known although it is gone: the log remembers.
        assert!(seen["from"].as_str().is_some_and(|from| from.starts_with("cli/")), "{seen}");
        assert_eq!((seen["fate"].as_str(), seen["payload"].as_str()), (Some("delivered"), payload), "{seen}");
    }
}

#[test]
fn a_taps_lines_command_no_terminal() {
    let dir = Dir::new("tap-text");
    let (_up, socket) = up(&dir);
    let said = said_while_sending(&socket, ["tap", "o*", "--payload", "--count", "1"], "open", "a\u{1b}[2J\nb");
    assert!(said.out.ends_with("7 bytes  delivered  a\\u{1b}[2J\\nb\n"), "{}", said.out);
    assert!(said.out.contains(" -> open  message 2  7 bytes"), "{}", said.out);
    // Nothing is said meanwhile, but by the tap itself: its time passes.
    for pattern in ["nobody", "*"] {
        let said = ask(&socket, ["tap", pattern, "--time", "300ms"]);
        assert_eq!((said.code, &*said.out), (Some(0), ""), "{}", said.err);
    }
    let said = ask(&socket, ["tap", "a*b"]);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("`a*b`: a pattern can have one `*`, at its end\nhint: a pattern is"), "{}", said.err);
}

#[test]
fn top_samples_and_says_what_happened_per_second() {
    let dir = Dir::new("top");
    let (_up, socket) = up(&dir);
    let args = ["top", "--json", "--count", "1", "--interval", "500ms", "--sort", "name"];
    let sample = &json(&said_while_sending(&socket, args, "open", "x"))[0];
    let world = |name: &str| sample["worlds"].as_array().unwrap().iter().find(|world| world["name"] == name).cloned();
    let (open, closed) = (world("open").expect("it"), world("closed").expect("it"));
    assert!(open["per_second"]["received"].as_f64() > Some(0.0), "{open}");
    assert_eq!(closed["per_second"]["received"].as_f64(), Some(0.0), "{closed}");
    // It reads nothing.
    assert_eq!(open["unread_bytes"], open["received_bytes"], "{open}");

    let said = ask(&socket, ["top", "--count", "2", "--interval", "50ms"]);
    assert_eq!(said.out.matches("NAME ").count(), 2, "{}", said.out);
    assert!(said.out.contains("worlds, ") && !said.out.contains('\u{1b}'), "{}", said.out);
}

#[test]
fn who_watches_a_broker_that_isnt_there_is_told_what_to_do() {
    let dir = Dir::new("no-broker");
    for args in [["top", "--count", "1"], ["tap", "--count", "1"]] {
        let mut command = strait(args);
        command.env("STRAIT_SOCKET", dir.path("none"));
        let said = common::run(command);
        assert_eq!(said.code, Some(1));
        assert!(said.err.contains("hint: start a broker with `strait up FILE`"), "{}", said.err);
    }
}

#[test]
fn a_trace_puts_what_was_sent_under_what_was_being_handled() {
    const LONG: Duration = Duration::from_secs(20);
    let dir = Dir::new("trace");
    let (_up, socket) = up(&dir);
    let attach = |name| Client::attach(&socket, name).unwrap();
    let (mut asker, mut server, mut store) = (attach("cli/asker"), attach("cli/server"), attach("cli/store"));
    let place = socket.clone();
    let args = ["trace", "cli/store", "--least", "3", "--count", "1", "--settle", "100ms"];
    let watcher = thread::spawn(move || ask(&place, args));
    while !watcher.is_finished() {
        asker.start_request(server.id(), b"?", LONG).unwrap();
        let request = server.receive(Some(LONG)).unwrap().unwrap().header();
        server.send(store.id(), b"note").unwrap();
        server.reply(&request, 0, b"!").unwrap();
        store.receive(Some(LONG)).unwrap().unwrap();
        asker.receive(Some(LONG)).unwrap().unwrap();
        // Whoever finds nothing to handle has begun something new.
        assert!(asker.receive(Some(Duration::from_millis(20))).unwrap().is_none());
    }
    let said = watcher.join().expect("it ends");
    let lines: Vec<&str> = said.out.lines().map(|line| line.split_once("  ").expect(line).1).collect();
    let [root, note, reply] = lines[..] else { panic!("{}{}", said.out, said.err) };
    assert!(root.starts_with("cli/asker -> cli/server  request "), "{}", said.out);
    assert!(note.contains("  cli/server -> cli/store  message ") && note.ends_with("  4 bytes"), "{}", said.out);
    assert!(reply.contains("  cli/server -> cli/asker  reply ") && reply.ends_with("  1 bytes"), "{}", said.out);
}

/// Of a span: whose it is, its name, how many replies it got, whether it failed, and whether it ends behind its start.
type Shape<'a> = (&'a str, &'a str, usize, bool, bool);

fn shape<'a>(world: &'a str, span: &'a Span) -> Shape<'a> {
    let has_failed = span.status.as_ref().is_some_and(|status| status.code == StatusCode::Error as i32);
    let lasts = span.end_time_unix_nano > span.start_time_unix_nano;
    (world, &span.name, span.events.len(), has_failed, lasts)
}

#[test]
fn spans_are_those_that_a_collector_reads() {
    const LONG: Duration = Duration::from_secs(20);
    let dir = Dir::new("otlp");
    let (_up, socket) = up(&dir);
    let attach = |name| Client::attach(&socket, name).unwrap();
    let (mut asker, mut server, mut store) = (attach("cli/asker"), attach("cli/server"), attach("cli/store"));
    let (place, began) = (socket.clone(), SystemTime::now());
    let args = ["trace", "cli/store", "--least", "4", "--count", "1", "--settle", "100ms", "--otlp"];
    let watcher = thread::spawn(move || ask(&place, args));
    while !watcher.is_finished() {
        asker.start_request(server.id(), b"?", LONG).unwrap();
        let request = server.receive(Some(LONG)).unwrap().unwrap().header();
        // Both of one record.
        server.multicast(&[store.id(), asker.id()], b"note").unwrap();
        server.reply(&request, 3, b"!").unwrap();
        store.receive(Some(LONG)).unwrap().unwrap();
        asker.receive(Some(LONG)).unwrap().unwrap();
        asker.receive(Some(LONG)).unwrap().unwrap();
        asker.send(store.id(), b"heard").unwrap();
        store.receive(Some(LONG)).unwrap().unwrap();
        assert!(asker.receive(Some(Duration::from_millis(20))).unwrap().is_none());
    }
    let said = watcher.join().expect("it ends");
    let data: TracesData =
        serde_json::from_str(&said.out).unwrap_or_else(|why| panic!("{why}: {}{}", said.out, said.err));
    let mut spans: Vec<(String, Span)> = Vec::new();
    for of_world in data.resource_spans {
        let attributes = of_world.resource.unwrap().attributes;
        let [name] = &attributes[..] else { panic!("{attributes:?}") };
        let Some(any_value::Value::StringValue(world)) = name.value.clone().unwrap().value else { panic!("{name:?}") };
        assert_eq!(name.key, "service.name");
        let [of_strait] = &of_world.scope_spans[..] else { panic!("{said}", said = said.out) };
        spans.extend(of_strait.spans.iter().map(|span| (world.clone(), span.clone())));
    }
    spans.sort_by_key(|(_, span)| span.start_time_unix_nano);
    let shapes: Vec<_> = spans.iter().map(|(world, span)| shape(world, span)).collect();
    assert_eq!(shapes[0], ("cli/server", "request from cli/asker", 1, true, true));
    let mut notes = shapes[1..3].to_vec();
    notes.sort_unstable();
    assert_eq!(notes[0], ("cli/asker", "message from cli/server", 0, false, false));
    assert_eq!(notes[1], ("cli/store", "message from cli/server", 0, false, false));
    // What the reply has caused is below what it answers.
    assert_eq!(shapes[3..], [("cli/store", "message from cli/asker", 0, false, false)]);
    let root = &spans[0].1;
    assert!(root.parent_span_id.is_empty() && root.trace_id.len() == 16 && root.trace_id.iter().any(|byte| *byte != 0));
    let ids: HashSet<_> = spans.iter().map(|(_, span)| span.span_id.clone()).collect();
    assert_eq!(ids.len(), 4, "{spans:?}");
    let since = began.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_nanos();
    for (world, span) in &spans {
        assert!(span.span_id.len() == 8 && span.trace_id == root.trace_id, "{span:?}");
        assert!(span.span_id == root.span_id || span.parent_span_id == root.span_id, "{world}: {span:?}");
        assert!(u128::from(span.start_time_unix_nano) > since && span.end_time_unix_nano >= span.start_time_unix_nano);
    }
}

#[test]
fn the_log_says_who_came_and_how_they_ended() {
    let dir = Dir::new("log");
    let (mut up, socket) = up(&dir);
    let mut follow = strait(["log", "open", "--follow"]);
    let mut follow = follow.env("STRAIT_SOCKET", &socket).spawn().expect("it starts");
    assert_eq!(ask(&socket, ["stop", "open", "--reason", "a\u{1b}[2J\nb", "--deadline", "10s"]).code, Some(0));
    let said = ask(&socket, ["log", "open"]);
    let lines: Vec<&str> = said.out.lines().collect();
    assert!(lines[0].ends_with(") starts") && lines[0].contains(" open (#"), "{}{}", said.out, said.err);
    assert!(lines[1].ends_with(" is to end within 10s: a\\u{1b}[2J\\nb"), "{}", said.out);
    assert!(lines.last().unwrap().ends_with(" ended: signal 15"), "{}", said.out);
    assert!(!said.out.contains("closed"), "{}", said.out);
    let all = json(&ask(&socket, ["log", "--json"]));
    assert!(all.iter().any(|line| line["world"] == "closed" && line["text"] == "starts"), "{all:?}");
    let numbers: Vec<u64> = all.iter().filter_map(|line| line["number"].as_u64()).collect();
    assert!(numbers.len() == all.len() && numbers.is_sorted());

    // Who follows has heard of it soon, and ends with the broker.
    thread::sleep(Duration::from_secs(1));
    up.interrupt();
    up.expect("stopped");
    let mut heard = String::new();
    follow.stdout.take().expect("piped").read_to_string(&mut heard).expect("UTF-8");
    assert_eq!(follow.wait().expect("it ends").code(), Some(1));
    assert!(heard.contains(") starts\n") && heard.contains(" is to end within "), "{heard}");
}

#[test]
fn metrics_are_printed_and_served() {
    let dir = Dir::new("metrics");
    let (_up, socket) = up(&dir);
    assert_eq!(ask(&socket, ["send", "open", "x"]).code, Some(0));
    let page = ask(&socket, ["metrics"]).out;
    assert!(page.contains("strait_received_records_total{world=\"open\",id=\"17\"} 1\n"), "{page}");

    let place = dir.path("metrics.sock");
    // A socket that nobody listens on any more is in nobody's way.
    drop(UnixListener::bind(&place).unwrap());
    let mut serve = strait(["metrics", "--listen"]);
    serve.arg(&place).env("STRAIT_SOCKET", &socket);
    let mut serve = Foreground::start(serve);
    serve.expect("metrics are at ");
    for _ in 0..2 {
        let mut connection = UnixStream::connect(&place).unwrap();
        connection.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut answer = String::new();
        connection.read_to_string(&mut answer).unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.contains("strait_received_records_total{"),
            "{answer}"
        );
    }
    // But one that somebody listens on is left alone.
    let mut second = strait(["metrics", "--listen"]);
    second.arg(&place).env("STRAIT_SOCKET", &socket);
    let said = common::run(second);
    assert_eq!(said.code, Some(1));
    assert!(said.err.contains("something listens there already\nhint: --listen names a new"), "{}", said.err);
}

#[test]
fn every_command_has_a_manual_page() {
    let dir = Dir::new("man");
    let place = dir.path("pages");
    let mut man = strait(["man"]);
    man.arg(&place);
    assert_eq!(common::run(man).code, Some(0));
    let page = |name: &str| std::fs::read_to_string(place.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    assert!(page("strait.1").contains(".TH strait 1"));
    let help = common::run(strait(["--help"])).out;
    let commands = help.lines().skip_while(|line| *line != "Commands:").skip(1).take_while(|line| !line.is_empty());
    let names: Vec<&str> = commands
        .filter_map(|line| line.strip_prefix("  ")?.split(' ').next().filter(|name| !name.is_empty()))
        .collect();
    assert!(names.contains(&"top") && names.contains(&"up"), "{names:?}");
    for name in names.into_iter().filter(|name| *name != "help") {
        assert!(page(&format!("strait-{name}.1")).contains("strait"), "{name}");
    }
}

#[test]
fn what_is_published_is_shown_with_its_topic() {
    const LONG: Duration = Duration::from_secs(20);
    let dir = Dir::new("tap-topic");
    let (_up, socket) = up(&dir);
    let attach = |name| Client::attach(&socket, name).unwrap();
    let (mut publisher, mut subscriber) = (attach("cli/publisher"), attach("cli/subscriber"));
    subscriber.subscribe("sensors.*", &SubscribeOptions::default()).unwrap();
    let place = socket.clone();
    let watcher = thread::spawn(move || ask(&place, ["tap", "cli/subscriber", "--count", "1"]));
    while !watcher.is_finished() {
        publisher.publish("sensors.door", b"open").unwrap();
        subscriber.receive(Some(LONG)).unwrap().unwrap();
        thread::sleep(Duration::from_millis(20));
    }
    let said = watcher.join().expect("it ends");
    assert!(said.out.contains(" cli/publisher -> cli/subscriber  on sensors.door "), "{}{}", said.out, said.err);
}
