//! Payloads that are used piece by piece, and sending them with a bound on the time: what the client promises, over a real broker.

use std::io::{ErrorKind, Read, Write};
use std::time::{Duration, Instant};
use strait_broker::{Kind, Reason, WorldId};
use strait_client::{AssemblyLimits, Error};
use strait_tests::{LONG, Stage, kill_payload, pattern};

const MIB: usize = 1 << 20;

fn order(stage: &mut Stage, courier: WorldId, order: &str) -> u64 {
    stage.client().start_request(courier, order.as_bytes(), LONG).unwrap()
}

fn courier(stage: &mut Stage) -> WorldId {
    stage.add("courier", &["courier", "host"], &[])
}

#[test]
fn pieces_lie_in_the_inbox_and_add_up() {
    let mut stage = Stage::new();
    let courier = courier(&mut stage);
    order(&mut stage, courier, &format!("send {MIB}"));
    let (mut whole, mut streams) = (Vec::new(), Vec::new());
    loop {
        let record = stage.client().receive_piece(Some(LONG)).unwrap().unwrap();
        let piece = record.piece().unwrap();
        assert_eq!((record.header().source, record.header().kind), (courier, Kind::Message));
        assert_eq!((piece.offset, piece.is_broken_off), (whole.len() as u64, false));
        assert_eq!(record.header().length as usize, record.payload().len());
        whole.extend_from_slice(record.payload());
        streams.push(piece.stream);
        if piece.is_last {
            break;
        }
    }
    assert!(whole == pattern(MIB));
    assert!(streams.len() > 50 && streams[0] != 0 && streams.iter().all(|stream| *stream == streams[0]));
    let reply = stage.client().receive_piece(Some(LONG)).unwrap().unwrap();
    assert_eq!((reply.header().kind, reply.piece()), (Kind::Reply, None));
}

#[test]
fn a_payload_is_read_as_it_arrives_and_the_rest_kept() {
    let mut stage = Stage::new();
    let (one, two) = (courier(&mut stage), stage.add("two", &["courier", "host"], &[]));
    let asked = [order(&mut stage, one, &format!("send {}", 8 * MIB)), order(&mut stage, two, &format!("send {MIB}"))];
    let (mut read, mut replies) = (Vec::new(), Vec::new());
    while read.len() + replies.len() < 4 {
        let mut reader = stage.client().receive_reader(Some(LONG)).unwrap().unwrap();
        let mut payload = Vec::new();
        reader.read_to_end(&mut payload).unwrap();
        assert!(reader.is_complete());
        let header = *reader.header();
        assert_eq!((header.length as usize, header.stream), (payload.len(), 0));
        match header.kind {
            Kind::Message => {
                assert!(payload == pattern(if header.source == one { 8 * MIB } else { MIB }));
                read.push(header.source);
            }
            _ => replies.push(header.correlation),
        }
    }
    read.sort();
    replies.sort();
    assert_eq!((read, replies), (vec![one, two], asked.into()));
}

#[test]
fn a_reader_of_what_was_broken_off_or_stopped_says_so() {
    let mut stage = Stage::new();
    let courier = courier(&mut stage);
    order(&mut stage, courier, "drop 100000");
    let mut reader = stage.client().receive_reader(Some(LONG)).unwrap().unwrap();
    let error = reader.read_to_end(&mut Vec::new()).unwrap_err();
    assert_eq!((error.kind(), reader.is_complete()), (ErrorKind::UnexpectedEof, false));
    assert_eq!(stage.receive().0.kind, Kind::Reply);

    order(&mut stage, courier, "half 100000");
    let mut reader = stage.client().receive_reader(Some(Duration::from_millis(300))).unwrap().unwrap();
    let mut payload = Vec::new();
    let error = reader.read_to_end(&mut payload).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    assert!(payload == pattern(100_000)[..50_000]);
    assert_eq!(stage.receive().0.kind, Kind::Reply);
}

#[test]
fn what_is_beyond_the_limits_is_told_of_in_its_place() {
    let mut stage = Stage::new();
    let courier = courier(&mut stage);
    stage.client().set_assembly_limits(AssemblyLimits { source_bytes: MIB, ..AssemblyLimits::default() });
    order(&mut stage, courier, &format!("send {}", 3 * MIB));
    let record = stage.client().receive(Some(LONG)).unwrap().unwrap();
    assert_eq!(
        (record.notice(), record.header().source, record.payload().len()),
        (Some(Reason::Incomplete), courier, 0)
    );
    assert_eq!(stage.receive().0.kind, Kind::Reply);
    // The positive control: within the limits, and the larger one read as it arrives.
    order(&mut stage, courier, "send 1000000");
    assert!(stage.receive().1 == pattern(1_000_000));
    assert_eq!(stage.receive().0.kind, Kind::Reply);
    order(&mut stage, courier, &format!("send {}", 3 * MIB));
    let mut reader = stage.client().receive_reader(Some(LONG)).unwrap().unwrap();
    let mut payload = Vec::new();
    assert_eq!(reader.read_to_end(&mut payload).unwrap(), 3 * MIB);
}

#[test]
fn a_request_ends_although_its_answer_is_too_large() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    stage.client().set_assembly_limits(AssemblyLimits { source_bytes: MIB, ..AssemblyLimits::default() });
    let error = stage.client().request(echo, &pattern(3 * MIB), LONG).unwrap_err();
    assert!(matches!(error, Error::Undelivered { reason: Reason::Incomplete, .. }), "{error}");
    assert_eq!(stage.ask(echo, &pattern(500_000)), pattern(500_000));
}

#[test]
fn sending_without_time_or_room_sends_nothing() {
    let mut stage = Stage::new();
    let deaf = stage.add("deaf", &["deaf"], &[]);
    let error = stage.client().try_send(deaf, &pattern(MIB)).unwrap_err();
    assert!(matches!(error, Error::TooLarge { payload_bytes: MIB, .. }), "{error}");
    let error =
        stage.client().send_before(Instant::now() + Duration::from_millis(200), deaf, &pattern(MIB)).unwrap_err();
    assert!(matches!(error, Error::Full), "{error}");
    // There is room for others, and what was broken off left nothing behind.
    let echo = stage.add("echo", &["echo"], &[]);
    assert_eq!(stage.ask(echo, &pattern(MIB)), pattern(MIB));
    let error =
        stage.client().send_before(Instant::now() + Duration::from_millis(200), deaf, &pattern(MIB)).unwrap_err();
    assert!(matches!(error, Error::Full), "{error}");
}

#[test]
fn a_large_payload_for_a_dead_world_comes_back_as_one_notice() {
    let mut stage = Stage::new();
    let deaf = stage.add("deaf", &["deaf"], &[]);
    let pid = stage.pid(deaf);
    kill_payload(pid);
    stage.client().wait(deaf, Some(LONG)).unwrap();
    let sequence = stage.client().send(deaf, &pattern(MIB)).unwrap();
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.code, notice.sequence), (Kind::Notice, Reason::NoSuchWorld as u16, sequence));
    assert!(stage.client().receive(Some(Duration::from_millis(100))).unwrap().is_none());
}

#[test]
fn a_writer_of_little_sends_one_plain_record() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    for length in [0, 1, 5000, 12_160, 12_161, 30_000] {
        let mut writer = stage.client().writer(echo);
        writer.header_mut().tag = 7;
        pattern(length).chunks(777).for_each(|chunk| writer.write_all(chunk).unwrap());
        writer.finish().unwrap();
        let (header, payload) = stage.receive();
        assert_eq!((header.kind, header.length as usize), (Kind::Message, length));
        assert!(payload == pattern(length));
    }
    drop(stage.client().writer(echo));
    assert!(stage.client().receive(Some(Duration::from_millis(50))).unwrap().is_none());
}
