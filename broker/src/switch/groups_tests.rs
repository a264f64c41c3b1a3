//! Groups with real clients: who gets what, and what becomes of it.

use super::*;
use crate::link::Command;
use crate::switch::tests::Bench;
use std::collections::HashSet;
use std::time::Duration;
use strait_client::{Client, Header, Kind, Reason};
use strait_protocol::{FLAG_PARCEL, FLAG_REPEATABLE, WorldId};

const SECOND: Option<Duration> = Some(Duration::from_secs(5));
const MINUTE: Duration = Duration::from_secs(60);
const GROUP: WorldId = WorldId(50);

fn bench(outstanding: u32) -> Bench {
    let mut bench = Bench::new();
    let name = "pool".into();
    let passport = GroupPassport { id: GROUP.0, name, outstanding, max_payload: 10_000, budget_bytes: 4096 };
    bench.say(&Command::Group(passport));
    bench
}

fn join(bench: &mut Bench, id: u64) -> Client {
    let member = bench.attach(id, &format!("pool/{id}"), &[]);
    bench.say(&Command::Join { group: GROUP.0, world: id });
    // What the switch is told it does in order: this is behind it.
    bench.count(id);
    member
}

fn receive(client: &mut Client) -> (Header, Vec<u8>) {
    let record = client.receive(SECOND).unwrap().expect("a record within the time");
    (record.header(), record.payload().to_vec())
}

/// What has arrived, and gives it back.
fn take_all(client: &mut Client) -> Vec<Header> {
    let mut all = Vec::new();
    while let Some(record) = client.receive(Some(Duration::from_millis(100))).unwrap() {
        all.push(record.header());
    }
    all
}

#[test]
fn requests_wait_for_the_group_and_go_to_whoever_is_free() {
    let mut bench = bench(1);
    let mut asker = bench.attach(20, "asker", &["pool"]);
    let asked: Vec<u64> = (0..5u8).map(|n| asker.start_request(GROUP, &[n], MINUTE).unwrap()).collect();
    bench.is_wanted();
    let mut one = join(&mut bench, 30);
    let (first, payload) = receive(&mut one);
    assert_eq!((first.source, first.destination, first.kind), (WorldId(20), GROUP, Kind::Request));
    assert_eq!(payload, [0]);
    // It has as many as it may, and there is another one for the next.
    assert_eq!(take_all(&mut one), []);
    bench.is_wanted();
    let mut other = join(&mut bench, 31);
    let (second, payload) = receive(&mut other);
    assert_eq!(payload, [1]);
    // The slow one keeps its request, the quick one takes all the rest.
    other.reply(&second, 0, b"").unwrap();
    for n in 2..5u8 {
        let (request, payload) = receive(&mut other);
        assert_eq!(payload, [n]);
        other.reply(&request, 0, b"").unwrap();
    }
    one.reply(&first, 0, b"").unwrap();
    let answered: Vec<u64> = (0..5).map(|_| receive(&mut asker).0.correlation).collect();
    assert_eq!(answered, [1, 2, 3, 4, 0].map(|n| asked[n]));
}

#[test]
fn a_message_counts_until_its_ring_is_given_back() {
    let mut bench = bench(2);
    let mut sender = bench.attach(20, "sender", &["pool"]);
    let (mut one, mut other) = (join(&mut bench, 30), join(&mut bench, 31));
    for n in 0..8u8 {
        sender.send(GROUP, &[n]).unwrap();
    }
    bench.is_wanted();
    let mut taken = HashSet::new();
    for _ in 0..2 {
        assert!(taken.insert(receive(&mut one).1) && taken.insert(receive(&mut other).1));
    }
    // Coming back for more gives back what was read.
    while taken.len() < 8 {
        assert!(taken.insert(receive(&mut one).1));
    }
    assert!(take_all(&mut other).is_empty());
}

#[test]
fn a_group_is_reached_by_its_own_name_and_answers_nobody() {
    let mut bench = bench(1);
    let mut stranger = bench.attach(20, "stranger", &["pool/*"]);
    let mut member = join(&mut bench, 30);
    stranger.send(GROUP, b"x").unwrap();
    assert_eq!(receive(&mut stranger).0.code, Reason::Refused as u16);
    stranger.send(WorldId(30), b"direct").unwrap();
    assert_eq!(receive(&mut member).1, b"direct");
    let forged = Header { source: GROUP, correlation: 1, ..Header::new(Kind::Request, WorldId(20), 0) };
    member.reply(&forged, 0, b"").unwrap();
    assert_eq!(receive(&mut member).0.code, Reason::NoSuchRequest as u16);
    let mut sender = bench.attach(21, "sender", &["pool"]);
    sender.draft(Kind::Message, GROUP, 10_001).unwrap().send().unwrap();
    assert_eq!(receive(&mut sender).0.code, Reason::TooLarge as u16);
}

#[test]
fn who_dies_with_a_request_loses_none_that_may_be_repeated() {
    let mut bench = bench(8);
    let mut asker = bench.attach(20, "asker", &["pool"]);
    let mut first = join(&mut bench, 30);
    let once = asker.start_request(GROUP, b"once", MINUTE).unwrap();
    let repeated = asker.start_repeatable(GROUP, b"repeatable", MINUTE).unwrap();
    let (header, _) = receive(&mut first);
    assert_eq!((header.correlation, header.flags), (once, 0));
    let (header, _) = receive(&mut first);
    assert_eq!((header.correlation, header.flags), (repeated, 0));
    assert!(bench.count(20).counters.held_bytes > 0, "kept on the asker's account");
    bench.detach(30);
    let (notice, _) = receive(&mut asker);
    assert_eq!((notice.source, notice.correlation, notice.code), (GROUP, once, Reason::Died as u16));
    // It has been with somebody before, and says so.
    let mut second = join(&mut bench, 31);
    let (header, payload) = receive(&mut second);
    assert_eq!((header.correlation, header.flags, &payload[..]), (repeated, FLAG_REPEATABLE, &b"repeatable"[..]));
    second.reply(&header, 0, b"done").unwrap();
    assert_eq!(receive(&mut asker), (asker_reply(&header), b"done".to_vec()));
    assert_eq!(bench.count(20).counters.held_bytes, 0);
}

fn asker_reply(request: &Header) -> Header {
    let Header { correlation, tag, .. } = *request;
    let header =
        Header { source: WorldId(31), correlation, tag, sequence: 1, ..Header::new(Kind::Reply, request.source, 4) };
    Header { cause: request.as_cause(), ..header }
}

#[test]
fn a_member_that_leaves_ends_what_it_has() {
    let mut bench = bench(1);
    let mut asker = bench.attach(20, "asker", &["pool"]);
    let mut leaver = join(&mut bench, 30);
    asker.start_request(GROUP, b"1", MINUTE).unwrap();
    let (request, _) = receive(&mut leaver);
    bench.say(&Command::Leave { group: GROUP.0, world: 30 });
    bench.count(30);
    asker.start_request(GROUP, b"2", MINUTE).unwrap();
    bench.is_wanted();
    leaver.reply(&request, 0, b"1").unwrap();
    assert_eq!(receive(&mut asker).1, b"1");
    assert_eq!(take_all(&mut leaver), []);
    assert_eq!(receive(&mut join(&mut bench, 31)).1, b"2");
}

#[test]
fn the_time_of_what_waits_runs_and_makes_room() {
    let mut bench = bench(1);
    let mut asker = bench.attach(20, "asker", &["pool"]);
    asker.start_request(GROUP, b"late", Duration::from_millis(50)).unwrap();
    let (notice, _) = receive(&mut asker);
    assert_eq!((notice.source, notice.code), (GROUP, Reason::Deadline as u16));
    assert_eq!(bench.count(20).counters.held_bytes, 0);
    let mut member = join(&mut bench, 30);
    assert_eq!(take_all(&mut member), []);
}

#[test]
fn the_pieces_of_a_stream_stay_together() {
    let mut bench = bench(1);
    let mut sender = bench.attach(20, "sender", &["pool"]);
    let (mut one, mut other) = (join(&mut bench, 30), join(&mut bench, 31));
    let whole: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let expected = whole.clone();
    let sending = std::thread::spawn(move || {
        sender.send(GROUP, &whole).unwrap();
        sender.send(GROUP, b"small").unwrap();
        sender
    });
    let (header, payload) = receive(&mut one);
    assert_eq!((header.source, payload == expected), (WorldId(20), true));
    assert_eq!(receive(&mut other).1, b"small");
    sending.join().unwrap();
}

#[test]
fn a_parcel_waits_with_its_record_and_is_paid_for_meanwhile() {
    let mut bench = bench(1);
    let mut sender = bench.attach(20, "sender", &["pool"]);
    let mut parcel = sender.new_parcel(10_000).unwrap();
    parcel.fill(7);
    let parcel = parcel.seal().unwrap();
    sender.send_parcel(GROUP, &parcel, b"with").unwrap();
    drop(parcel);
    assert!(take_all(&mut sender).is_empty());
    assert_eq!(bench.count(20).counters.parcels, 1, "its maker has given it back, and pays until somebody takes it");
    let mut member = join(&mut bench, 30);
    let record = member.receive(SECOND).unwrap().unwrap();
    assert_eq!(record.parcel().unwrap().bytes(), [7; 10_000]);
    assert_eq!(bench.count(20).counters.parcels, 0);
}

#[test]
fn what_a_dead_world_left_for_a_group_is_done_within_its_budget() {
    let mut bench = bench(1);
    let mut sender = bench.attach(20, "sender", &["pool"]);
    for n in 0..6u8 {
        sender.send(GROUP, &[n; 1000]).unwrap();
    }
    drop(sender);
    bench.detach(20);
    let mut member = join(&mut bench, 30);
    let done: Vec<Vec<u8>> = (0..3u8).map(|_| receive(&mut member).1).collect();
    assert_eq!(done, [0u8, 1, 2].map(|n| vec![n; 1000]));
    assert_eq!(take_all(&mut member), []);
}

#[test]
fn what_waits_for_a_group_under_a_revoked_grant_goes_back() {
    let mut bench = bench(1);
    let mut asker = bench.attach(20, "asker", &[]);
    let mut member = join(&mut bench, 30);
    bench.permit(7, 20, crate::policy::Way::Send, "pool");
    // The first is with the member and would be repeated, the others are in the queue.
    let mut draft = asker.draft(Kind::Request, GROUP, 0).unwrap();
    (draft.header_mut().flags, draft.header_mut().timeout_ms) = (FLAG_REPEATABLE, 60_000);
    draft.send().unwrap();
    receive(&mut member);
    asker.start_request(GROUP, b"second", MINUTE).unwrap();
    asker.send(GROUP, b"third").unwrap();
    bench.is_wanted();
    while bench.count(20).counters.held_bytes < 3 * 128 {
        std::thread::yield_now();
    }
    bench.revoke(7, 20);
    assert_eq!(bench.count(20).counters.held_bytes, 0);
    for _ in 0..2 {
        let record = asker.receive(SECOND).unwrap().expect("a notice");
        assert_eq!(record.notice(), Some(Reason::Refused));
    }
    drop(member);
    bench.detach(30);
    assert_eq!(asker.receive(SECOND).unwrap().expect("a notice").notice(), Some(Reason::Died), "it isn't repeated");
    assert_eq!(take_all(&mut join(&mut bench, 31)), []);
}

#[test]
fn what_waits_for_members_that_dont_come_up_goes_back() {
    let mut bench = bench(1);
    let mut sender = bench.attach(20, "sender", &["pool"]);
    let asked = sender.start_request(GROUP, b"1", MINUTE).unwrap();
    sender.send(GROUP, b"2").unwrap();
    bench.is_wanted();
    bench.say(&Command::GiveUp { group: GROUP.0 });
    let (first, second) = (receive(&mut sender).0, receive(&mut sender).0);
    assert_eq!((first.code, first.correlation), (Reason::CantStart as u16, asked));
    assert_eq!((second.code, second.sequence), (Reason::CantStart as u16, 2));
    assert_eq!(bench.count(20).counters.held_bytes, 0);
    // The next that waits is told of anew.
    sender.send(GROUP, b"3").unwrap();
    bench.is_wanted();
    assert_eq!(receive(&mut join(&mut bench, 30)).1, b"3");
}

#[test]
fn what_a_member_sends_its_own_group_lets_others_pass() {
    let mut bench = bench(1);
    let mut member = bench.attach(30, "pool/30", &["pool"]);
    bench.say(&Command::Join { group: GROUP.0, world: 30 });
    member.send(GROUP, b"its own").unwrap();
    member.send(GROUP, b"its own, too").unwrap();
    bench.is_wanted();
    let mut sender = bench.attach(20, "sender", &["pool"]);
    sender.send(GROUP, b"another's").unwrap();
    assert_eq!(receive(&mut member).1, b"another's");
    let mut other = join(&mut bench, 31);
    assert_eq!((receive(&mut other).1, receive(&mut other).1), (b"its own".to_vec(), b"its own, too".to_vec()));
}

#[test]
fn a_parcel_that_waited_begins_no_stream() {
    let mut bench = bench(1);
    let mut sender = bench.attach(20, "sender", &["pool"]);
    let mut parcel = sender.new_parcel(4096).unwrap();
    parcel.fill(7);
    let parcel = parcel.seal().unwrap();
    let mut draft = sender.draft(Kind::Message, GROUP, 0).unwrap();
    (draft.header_mut().flags, draft.header_mut().stream) = (FLAG_PARCEL | FLAG_MORE, 1);
    draft.send().unwrap();
    bench.is_wanted();
    let _busy = join(&mut bench, 30);
    let _free = join(&mut bench, 31);
    assert_eq!(bench.count(30).counters.received, 1, "the parcel has this number");
    let mut draft = sender.draft(Kind::Message, GROUP, 0).unwrap();
    (draft.header_mut().flags, draft.header_mut().stream) = (FLAG_MORE, 1);
    draft.send().unwrap();
    assert!(sender.drain(SECOND.unwrap()).unwrap());
    assert_eq!((bench.count(30).counters.received, bench.count(31).counters.received), (1, 1));
    drop(parcel);
}

/// Dies with what it has read.
fn die(bench: &mut Bench, member: Client, id: u64) {
    drop(member);
    bench.detach(id);
}

#[test]
fn what_kills_each_member_is_given_to_three_and_no_more() {
    let mut bench = bench(2);
    let mut asker = bench.attach(20, "asker", &["pool"]);
    let poison = asker.start_repeatable(GROUP, b"poison", MINUTE).unwrap();
    let other = asker.start_repeatable(GROUP, b"beside it", MINUTE).unwrap();
    for id in 30..30 + u64::from(MAX_DELIVERIES) {
        let mut member = join(&mut bench, id);
        assert_eq!(receive(&mut member).0.correlation, poison);
        // The other request is in its inbox by now, and not read.
        while bench.count(id).counters.received < 2 {
            std::thread::yield_now();
        }
        die(&mut bench, member, id);
    }
    let (notice, _) = receive(&mut asker);
    assert_eq!((notice.source, notice.correlation), (GROUP, poison));
    assert_eq!(notice.code, Reason::DeliveryLimit as u16);
    // What lay beside it isn't to blame.
    let mut member = join(&mut bench, 40);
    let (header, _) = receive(&mut member);
    assert_eq!(header.correlation, other);
    member.reply(&header, 0, b"done").unwrap();
    assert_eq!(receive(&mut asker).1, b"done");
    assert_eq!(bench.count(20).counters.held_bytes, 0);
}

#[test]
fn who_can_have_no_more_kept_keeps_nobody_from_the_group() {
    let mut bench = bench(1);
    let (mut greedy, mut other) = (bench.rogue(20, &["pool"]), bench.rogue(21, &["pool"]));
    let mut members: Vec<Client> = (30..35).map(|id| join(&mut bench, id)).collect();
    // Two of each fill its window; what follows waits in the outbox, and needs to be kept, or needn't.
    let ask = |correlation, flags| Header {
        correlation,
        flags,
        timeout_ms: 60_000,
        ..Header::new(Kind::Request, GROUP, 6000)
    };
    for correlation in [1, 2] {
        greedy.write(&ask(correlation, FLAG_REPEATABLE));
        other.write(&ask(correlation, FLAG_REPEATABLE));
    }
    has_sent(&mut bench, 20, 2);
    has_sent(&mut bench, 21, 2);
    greedy.write(&ask(3, FLAG_REPEATABLE));
    while bench.count(20).counters.waits == 0 {
        std::thread::yield_now();
    }
    other.write(&ask(3, 0));
    // A member is free.
    has_sent(&mut bench, 21, 3);
    assert_eq!(bench.count(20).counters.sent, 2);
    // What waits aside goes on when something of its sender's has ended.
    for member in &mut members {
        let (request, _) = receive(member);
        member.reply(&request, 0, b"done").unwrap();
    }
    has_sent(&mut bench, 20, 3);
}

fn has_sent(bench: &mut Bench, id: u64, records: u64) {
    let end = std::time::Instant::now() + SECOND.unwrap();
    while bench.count(id).counters.sent < records {
        assert!(std::time::Instant::now() < end, "{id} waits with its record {records}");
        std::thread::yield_now();
    }
}
