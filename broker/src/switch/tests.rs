//! The switch on a thread of its own, with real slices and real clients: honest ones, and one that writes what it likes.

use super::*;
use crate::link::{Command, Count, Event as Report, Passport};
use crate::policy::Way;
use rustix::fs::SealFlags;
use std::os::fd::BorrowedFd;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};
use strait_client::{Client, Error, Kind};
use strait_memory::{Inbox, SliceFile, Writable};
use strait_protocol::exchange::{Ask, Refusal};
use strait_protocol::handshake::{DESCRIPTORS, Welcome};
use strait_protocol::{Endpoint, Header, RawHeader, SliceMemory, SliceSize, WritableMemory};
use strait_sys::socket;

pub(super) const SECOND: Option<Duration> = Some(Duration::from_secs(5));

/// A passport, and both sides' descriptors.
pub(super) type Channel = (Passport, [OwnedFd; DESCRIPTORS], [OwnedFd; DESCRIPTORS]);

pub(super) struct Bench {
    pub(super) link: Link,
    /// How often groups wanted members and were not asked about it.
    wanted: u32,
    switch: Option<JoinHandle<()>>,
}

impl Bench {
    pub(super) fn new() -> Self {
        let (ours, theirs) = socket::pair().unwrap();
        let switch = thread::spawn(|| Switch::new(Link::new(theirs)).unwrap().run().unwrap());
        Self { link: Link::new(ours), wanted: 0, switch: Some(switch) }
    }

    fn slices(&mut self, id: u64, name: &str, send: &[&str]) -> [OwnedFd; DESCRIPTORS] {
        let (passport, for_switch, for_world) = Self::channel(id, name, send);
        self.link.send(&Command::Attach(passport), &for_switch.each_ref().map(AsFd::as_fd)).unwrap();
        assert!(matches!(self.report(), Report::Attached { .. }));
        rustix::fs::fcntl_add_seals(&for_world[1], SealFlags::FUTURE_WRITE | SealFlags::SEAL).unwrap();
        for_world
    }

    /// What the switch is told of a world, what it gets, and what the world gets.
    pub(super) fn channel(id: u64, name: &str, send: &[&str]) -> Channel {
        let file = || SliceFile::create(name, SliceSize::MIN).unwrap();
        let (outbox, inbox, bell, (read, write)) =
            (file(), file(), wake::eventfd().unwrap(), wake::bell_pipe().unwrap());
        let (giving, taking) = socket::lane(0).unwrap();
        let bytes = SliceSize::MIN.bytes();
        let send: Vec<String> = send.iter().map(ToString::to_string).collect();
        let passport = Passport {
            id,
            name: name.into(),
            outbox_bytes: bytes,
            inbox_bytes: bytes,
            link: send.clone(),
            send,
            budget_bytes: 64 * 1024,
            parcel_count: 4,
            parcel_bytes: 64 * 1024,
            tap_payload: name != "shy",
        };
        let own = |fd: BorrowedFd<'_>| fd.try_clone_to_owned().unwrap();
        let for_switch = [own(outbox.as_fd()), own(inbox.as_fd()), own(bell.as_fd()), write, giving];
        (passport, for_switch, [own(outbox.as_fd()), own(inbox.as_fd()), bell, read, taking])
    }

    pub(super) fn attach(&mut self, id: u64, name: &str, send: &[&str]) -> Client {
        let fds = self.slices(id, name, send);
        Self::client(id, name, &fds)
    }

    pub(super) fn client(id: u64, name: &str, fds: &[OwnedFd; DESCRIPTORS]) -> Client {
        let (ours, theirs) = socket::pair().unwrap();
        let size = SliceSize::MIN;
        let welcome = Welcome { id: WorldId(id), name: name.parse().unwrap(), outbox: size, inbox: size, links: true };
        socket::send(ours.as_fd(), &welcome.encode(), &fds.each_ref().map(AsFd::as_fd)).unwrap();
        let client = Client::adopt(theirs).unwrap();
        // Kept open, so that the client takes the broker for alive.
        std::mem::forget(ours);
        client
    }

    /// A world that doesn't use the client: it writes its outbox as it likes.
    pub(super) fn rogue(&mut self, id: u64, send: &[&str]) -> Rogue {
        let [outbox, inbox, bell, ..] = self.slices(id, "rogue", send);
        let outbox = Writable::map(&SliceFile::adopt(outbox, SliceSize::MIN).unwrap()).unwrap();
        let inbox = Inbox::map(&SliceFile::adopt(inbox, SliceSize::MIN).unwrap()).unwrap();
        Rogue { endpoint: Endpoint::new(outbox, inbox), bell }
    }

    /// What the switch says next, beside which groups want members.
    pub(super) fn report(&mut self) -> Report {
        loop {
            match self.link.receive().unwrap().unwrap().0 {
                Report::Wanted { .. } => self.wanted += 1,
                Report::Left { .. } => {}
                other => return other,
            }
        }
    }

    pub(super) fn unlink(&mut self, one: u64, other: u64) {
        self.link.send(&Command::Unlink { one, other }, &[]).unwrap();
    }

    pub(super) fn tap(&mut self, tapper: u64, pattern: &str, payload: bool) {
        self.link.send(&Command::Tap { tapper, pattern: pattern.into(), payload }, &[]).unwrap();
        // Obeyed in order: with this answer, it is on.
        self.count(tapper);
    }

    pub(super) fn untap(&mut self, tapper: u64) {
        self.link.send(&Command::Untap { tapper }, &[]).unwrap();
        self.count(tapper);
    }

    pub(super) fn say(&mut self, command: &Command) {
        self.link.send(command, &[]).unwrap();
    }

    /// Waits until a group has wanted members once more.
    pub(super) fn is_wanted(&mut self) {
        while self.wanted == 0 {
            assert!(matches!(self.link.receive().unwrap().unwrap().0, Report::Wanted { .. }));
            self.wanted += 1;
        }
        self.wanted -= 1;
    }

    pub(super) fn permit(&mut self, grant: u64, world: u64, way: Way, to: &str) {
        self.link.send(&Command::Permit { grant, world, way, to: to.into() }, &[]).unwrap();
        assert!(matches!(self.report(), Report::Permitted { grant: permitted } if permitted == grant));
    }

    /// Whether a link's side was late.
    pub(super) fn revoke(&mut self, grant: u64, world: u64) -> bool {
        self.link.send(&Command::Revoke { grant, world }, &[]).unwrap();
        match self.report() {
            Report::Revoked { grant: revoked, is_late } if revoked == grant => is_late,
            other => panic!("{other:?}"),
        }
    }

    pub(super) fn detach(&mut self, id: u64) {
        self.link.send(&Command::Detach { id }, &[]).unwrap();
        assert!(matches!(self.report(), Report::Detached { .. }));
    }

    pub(super) fn count(&mut self, id: u64) -> Count {
        self.link.send(&Command::Count { ticket: 1, ids: vec![id] }, &[]).unwrap();
        match self.report() {
            Report::Counted { rows, .. } => rows[0],
            other => panic!("{other:?}"),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let (link, _) = socket::pair().unwrap();
        drop(std::mem::replace(&mut self.link, Link::new(link)));
        let ended = self.switch.take().unwrap().join();
        assert!(thread::panicking() || ended.is_ok(), "the switch panicked");
    }
}

pub(super) struct Rogue {
    endpoint: Endpoint<Writable, Inbox>,
    bell: OwnedFd,
}

impl Rogue {
    pub(super) fn write(&mut self, header: &Header) {
        self.write_silently(header);
        wake::ring(self.bell.as_fd());
    }

    /// Writes a record that a sleeping switch doesn't hear of.
    pub(super) fn write_silently(&mut self, header: &Header) {
        let slot = self.endpoint.reserve(header.length as usize).unwrap();
        self.endpoint.commit(&slot, &RawHeader::from(header));
        self.endpoint.publish();
    }

    pub(super) fn consumed(&self, cursor: u64) {
        self.endpoint.mine().control().consumed.store(cursor, Ordering::SeqCst);
    }

    pub(super) fn produced(&self, cursor: u64) {
        self.endpoint.mine().control().produced.store(cursor, Ordering::SeqCst);
        wake::ring(self.bell.as_fd());
    }
}

pub(super) fn receive(client: &mut Client) -> (Header, Vec<u8>) {
    let record = client.receive(SECOND).unwrap().expect("a record within the time");
    (record.header(), record.payload().to_vec())
}

#[test]
fn a_message_arrives_with_the_switchs_word_on_who_sent_it() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &["b"]);
    let mut b = bench.attach(21, "b", &[]);
    let mut forged = Header::new(Kind::Message, WorldId(21), 0);
    (forged.source, forged.sequence, forged.flags) = (WorldId::CONTROL, 999, 0xcf);
    rogue.write(&forged);
    let (header, _) = receive(&mut b);
    assert_eq!((header.source, header.sequence, header.flags), (WorldId(20), 1, 0xc0));
}

#[test]
fn policy_is_deny_unless_named() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["b"]);
    let mut b = bench.attach(21, "b", &[]);
    for (to, reason) in [(22, Reason::NoSuchWorld), (20, Reason::Refused)] {
        let sequence = a.send(WorldId(to), b"x").unwrap();
        let (header, _) = receive(&mut a);
        assert_eq!(
            (header.kind, header.code, header.sequence, header.source),
            (Kind::Notice, reason as u16, sequence, WorldId(to))
        );
    }
    b.send(WorldId(20), b"x").unwrap();
    assert_eq!(receive(&mut b).0.code, Reason::Refused as u16);
    a.send(WorldId(21), b"allowed").unwrap();
    assert_eq!(receive(&mut b).1, b"allowed");
}

#[test]
fn a_request_ends_once() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &[]);
    let asked = a.start_request(WorldId(21), b"2+2", Duration::from_secs(5)).unwrap();
    let (request, _) = receive(&mut b);
    b.reply(&request, 7, b"4").unwrap();
    let (reply, payload) = receive(&mut a);
    assert_eq!((reply.correlation, reply.code, &payload[..]), (asked, 7, &b"4"[..]));
    b.reply(&request, 0, b"5").unwrap();
    assert_eq!(receive(&mut b).0.code, Reason::NoSuchRequest as u16);
    let late = a.request(WorldId(21), b"", Duration::from_millis(20)).unwrap_err();
    assert!(matches!(late, Error::Undelivered { reason: Reason::Deadline, .. }), "{late}");
    let (request, _) = receive(&mut b);
    b.reply(&request, 0, b"too late").unwrap();
    assert_eq!(receive(&mut b).0.code, Reason::NoSuchRequest as u16);
}

#[test]
fn what_a_dead_world_published_comes_before_the_notice() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &["*"]);
    let asked = a.start_request(WorldId(21), b"?", Duration::from_secs(60)).unwrap();
    let _ = receive(&mut b);
    for n in 0..10u8 {
        b.send(WorldId(20), &[n]).unwrap();
    }
    bench.detach(21);
    for n in 0..10u8 {
        assert_eq!(receive(&mut a).1, [n]);
    }
    let (notice, _) = receive(&mut a);
    assert_eq!((notice.kind, notice.correlation, notice.code), (Kind::Notice, asked, Reason::Died as u16));
}

#[test]
fn a_receiver_that_doesnt_read_holds_up_nobody_else() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut deaf = bench.attach(21, "deaf", &[]);
    let mut c = bench.attach(22, "c", &[]);
    // More than the inbox of the deaf one takes, with something for another world behind it.
    for n in 0..20u32 {
        a.send(WorldId(21), &[n as u8; 1000]).unwrap();
    }
    a.send(WorldId(22), b"through").unwrap();
    assert_eq!(receive(&mut c).1, b"through");
    assert!(bench.count(20).counters.held_bytes > 0);
    for n in 0..20u32 {
        assert_eq!(receive(&mut deaf).1, [n as u8; 1000]);
    }
    a.send(WorldId(21), b"last").unwrap();
    assert_eq!(receive(&mut deaf).1, b"last");
    assert_eq!(bench.count(20).counters.held_bytes, 0);
}

#[test]
fn a_full_outbox_for_one_that_doesnt_read_leaves_a_way_to_others() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut deaf = bench.attach(21, "deaf", &[]);
    let mut c = bench.attach(22, "c", &[]);
    // Until neither its inbox nor our outbox takes any more, with nothing for anybody else among it.
    let mut sent = 0;
    while a.try_send(WorldId(21), &[1; 1000]).is_ok() || {
        thread::sleep(Duration::from_millis(20));
        a.try_send(WorldId(21), &[1; 1000]).is_ok()
    } {
        sent += 1;
    }
    for _ in 0..100 {
        a.send(WorldId(22), &[2; 3000]).unwrap();
        assert_eq!(receive(&mut c).1, [2; 3000]);
        // It is told by now that this one takes no more, and doesn't fill its outbox with what would be in the way.
        sent += u32::from(a.try_send(WorldId(21), &[1; 1000]).is_ok());
    }
    assert!(a.try_send(WorldId(21), &[1; 1000]).is_err());
    for _ in 0..sent {
        assert_eq!(receive(&mut deaf).1.len(), 1000);
    }
    a.send_before(Instant::now() + Duration::from_secs(5), WorldId(21), b"again").unwrap();
    assert_eq!(receive(&mut deaf).1, b"again");
}

#[test]
fn a_large_record_is_not_overtaken_for_ever() {
    let mut bench = Bench::new();
    let mut large = bench.attach(20, "large", &["*"]);
    let mut small = bench.attach(21, "small", &["*"]);
    let mut slow = bench.attach(22, "slow", &[]);
    let flood = thread::spawn(move || {
        while small.send_before(Instant::now() + Duration::from_millis(200), WorldId(22), &[1; 100]).is_ok() {}
    });
    thread::sleep(Duration::from_millis(20));
    large.send(WorldId(22), &[2; 10_000]).unwrap();
    let before = (0..1000).take_while(|_| receive(&mut slow).0.source != WorldId(20)).count();
    assert!(before < 1000, "overtaken by {before}");
    drop(slow);
    bench.detach(22);
    flood.join().unwrap();
}

#[test]
fn a_multicast_record_reaches_each_once() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["b", "c", "d"]);
    let mut others: Vec<Client> =
        ["b", "c", "d"].iter().zip(21..).map(|(name, id)| bench.attach(id, name, &[])).collect();
    let mut secret = bench.attach(30, "secret", &[]);
    let to = [21, 22, 30, 23, 99].map(WorldId);
    // More than an inbox takes: each is held for those who don't read yet, without holding up who does.
    for n in 0..100u32 {
        let sequence = a.multicast(&to, &[n as u8; 300]).unwrap();
        for reason in [Reason::Refused, Reason::NoSuchWorld] {
            let (notice, _) = receive(&mut a);
            assert_eq!((notice.kind, notice.code, notice.sequence), (Kind::Notice, reason as u16, sequence));
        }
        let (head, payload) = receive(&mut others[1]);
        assert_eq!((head.kind, head.source, head.destination), (Kind::Message, WorldId(20), WorldId(22)));
        assert_eq!((head.sequence, payload), (sequence, vec![n as u8; 300]));
        if n >= 20 {
            for reader in [0, 2] {
                assert_eq!(receive(&mut others[reader]).1, [(n - 20) as u8; 300]);
            }
        }
    }
    assert!(secret.try_receive().unwrap().is_none());
    for n in 80..100u8 {
        assert_eq!(receive(&mut others[0]).1, [n; 300]);
        assert_eq!(receive(&mut others[2]).1, [n; 300]);
    }
}

#[test]
fn bells_without_records_are_muted_and_heard_again() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &["b"]);
    let mut b = bench.attach(21, "b", &[]);
    for round in 0..5 {
        for _ in 0..10_000 {
            wake::ring(rogue.bell.as_fd());
        }
        rogue.write(&Header { tag: round, ..Header::new(Kind::Message, WorldId(21), 8) });
        assert_eq!(receive(&mut b).0.tag, round);
    }
}

#[test]
fn a_multicast_stream_loses_nothing() {
    const COUNT: u64 = 20_000;
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let to: Vec<WorldId> = (21..29).map(WorldId).collect();
    let readers: Vec<Client> = to.iter().map(|id| bench.attach(id.0, "reader", &[])).collect();
    let sender = thread::spawn(move || {
        a.set_patience(SECOND);
        for n in 0..COUNT {
            a.multicast(&to, &n.to_le_bytes()).unwrap();
        }
        a
    });
    let read = |mut reader: Client| {
        thread::spawn(move || {
            for n in 0..COUNT {
                assert_eq!(receive(&mut reader).1, n.to_le_bytes());
            }
        })
    };
    for reader in readers.into_iter().map(read).collect::<Vec<_>>() {
        reader.join().unwrap();
    }
    sender.join().unwrap();
}

#[test]
fn a_multicast_record_with_wrong_receivers_is_corrupt() {
    let mut bench = Bench::new();
    for (id, receivers, length) in [(20, 0, 64), (21, 65, 1024), (22, u64::MAX, 64), (23, 8, 63)] {
        let mut rogue = bench.rogue(id, &["*"]);
        rogue.write(&Header::new(Kind::Multicast, WorldId(receivers), length));
        assert!(matches!(bench.report(), Report::Quarantined { .. }));
    }
}

#[test]
fn what_is_held_is_bounded_and_its_sender_waits() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut deaf = bench.attach(21, "deaf", &[]);
    let mut c = bench.attach(22, "c", &[]);
    let mut sent = 0;
    let soon = || Instant::now() + Duration::from_millis(50);
    while a.send_before(soon(), WorldId(21), &[1; 1000]).is_ok() {
        let _ = a.send_before(soon(), WorldId(22), b"between");
        sent += 1;
        while c.try_receive().unwrap().is_some() {}
    }
    let held = bench.count(20).counters.held_bytes;
    assert!(held <= 64 * 1024, "{held} bytes are held");
    for _ in 0..sent {
        assert_eq!(receive(&mut deaf).1.len(), 1000);
    }
    assert_eq!(bench.count(20).counters.held_bytes, 0);
}

#[test]
fn a_stream_keeps_its_order_and_loses_nothing() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut b = bench.attach(21, "b", &[]);
    let sender = thread::spawn(move || {
        for n in 0..200_000u64 {
            a.send(WorldId(21), &n.to_ne_bytes()[..]).unwrap();
        }
        a
    });
    for n in 0..200_000u64 {
        let (header, payload) = receive(&mut b);
        assert_eq!((payload, header.sequence), (n.to_ne_bytes().to_vec(), n + 1));
    }
    drop(sender.join());
}

#[test]
fn corruption_costs_only_its_author() {
    type Case = (&'static str, fn(&mut Rogue));
    let cases: [Case; 9] = [
        ("length 2^32-1", |r| r.write_length(u32::MAX)),
        ("length past what is published", |r| r.write_length(100)),
        ("kind 0", |r| r.produced(64)),
        ("cursor ahead", |r| r.produced(1 << 40)),
        ("cursor unaligned", |r| r.produced(7)),
        ("cursor at the end of time", |r| r.produced(u64::MAX)),
        ("cursor backwards", |r| {
            r.write(&Header::new(Kind::Message, WorldId(21), 0));
            thread::sleep(Duration::from_millis(20));
            r.produced(0);
        }),
        ("notice", |r| r.write(&Header::new(Kind::Notice, WorldId(21), 0))),
        ("consumer ahead", |r| {
            r.endpoint.mine().control().consumed.store(1 << 20, Ordering::SeqCst);
            // The switch looks at that cursor when the notices have filled the inbox: 192 of them do.
            for _ in 0..200 {
                while r.endpoint.reserve(0).is_err() {
                    thread::yield_now();
                }
                r.write(&Header::new(Kind::Message, WorldId(99), 0));
            }
        }),
    ];
    let mut bench = Bench::new();
    let mut a = bench.attach(30, "a", &["b"]);
    let mut b = bench.attach(21, "b", &[]);
    for (n, (what, attack)) in cases.into_iter().enumerate() {
        let id = 100 + n as u64;
        let mut rogue = bench.rogue(id, &["b"]);
        attack(&mut rogue);
        match bench.report() {
            Report::Quarantined { id: who, .. } if who == id => {}
            other => panic!("{what}: {other:?}"),
        }
        a.send(WorldId(21), b"undisturbed").unwrap();
        while receive(&mut b).1 != b"undisturbed" {}
    }
}

impl Rogue {
    fn write_length(&mut self, length: u32) {
        let mut words = Header::new(Kind::Message, WorldId(21), 0).encode();
        words[0] = words[0] & !0xffff_ffff | u64::from(length);
        self.endpoint.mine_mut().store_header(0, &words);
        self.produced(64);
    }
}

/// A record is rewritten while the switch copies it: what arrives is of one valid length and one sender.
#[test]
fn a_record_that_changes_arrives_valid() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &["b"]);
    let mut b = bench.attach(21, "b", &[]);
    let mut arrived = 0u32;
    for round in 0..20_000u32 {
        let length = 16 + (round % 7) * 100;
        let Ok(slot) = rogue.endpoint.reserve(length as usize) else {
            arrived += take_valid(&mut b, Duration::ZERO);
            continue;
        };
        let mut header = Header::new(Kind::Message, WorldId(21), length);
        rogue.endpoint.commit(&slot, &RawHeader::from(&header));
        rogue.endpoint.publish();
        wake::ring(rogue.bell.as_fd());
        // Shorter, and from somebody else, at whatever moment this hits.
        (header.length, header.source) = (length / 2, WorldId::CONTROL);
        let offset = slot.payload_offset() - Header::BYTES;
        rogue.endpoint.mine_mut().store_header(offset, &header.encode());
        arrived += take_valid(&mut b, Duration::ZERO);
        if let Ok(Some((Report::Quarantined { .. }, _))) = bench.link.try_receive() {
            // The change hit between two records: the stride no longer fits. Its own loss.
            bench.detach(20);
            rogue = bench.rogue(20, &["b"]);
        }
    }
    arrived += take_valid(&mut b, Duration::from_millis(500));
    assert!(arrived > 0);
}

/// Takes what has arrived: each record of the one sender, and as long as it says.
fn take_valid(client: &mut Client, patience: Duration) -> u32 {
    let mut taken = 0;
    while let Some(record) = client.receive(Some(patience)).unwrap() {
        assert_eq!(record.header().source, WorldId(20));
        assert_eq!(record.payload().len(), record.header().length as usize);
        taken += 1;
    }
    taken
}

#[test]
fn budget_that_comes_back_is_noticed() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let _deaf = bench.attach(21, "deaf", &[]);
    let mut slow: Vec<Client> = (30..45).map(|id| bench.attach(id, "slow", &[])).collect();
    let mut c = bench.attach(23, "c", &[]);
    let soon = || Instant::now() + Duration::from_millis(20);
    for _ in 0..11 {
        a.send(WorldId(21), &[1; 1000]).unwrap();
    }
    let mut to_slow = [0; 15];
    while bench.count(20).counters.held_bytes < 62 * 1024 {
        for (n, sent) in to_slow.iter_mut().enumerate() {
            *sent += u32::from(a.send_before(soon(), WorldId(30 + n as u64), &[2; 2000]).is_ok());
            let _ = a.send_before(soon(), WorldId(23), b"");
            while c.try_receive().unwrap().is_some() {}
        }
    }
    // Nothing more can be charged, so what is at the head is stuck there, and all behind it.
    thread::sleep(Duration::from_millis(50));
    for (client, sent) in slow.iter_mut().zip(to_slow) {
        for _ in 0..sent {
            assert_eq!(receive(client).1.len(), 2000);
        }
    }
    a.send(WorldId(23), b"for c").unwrap();
    while receive(&mut c).1 != b"for c" {}
}

#[test]
fn what_was_held_for_a_corrupt_world_is_told_and_uncharged() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &["*"]);
    let mut c = bench.attach(23, "c", &[]);
    for id in 100..106 {
        let rogue = bench.rogue(id, &["*"]);
        let lost = [a.send(WorldId(id), &[1; 11000]).unwrap(), a.send(WorldId(id), &[1; 11000]).unwrap()][1];
        a.send(WorldId(23), b"").unwrap();
        let _ = receive(&mut c);
        rogue.endpoint.mine().control().consumed.store(7, Ordering::SeqCst);
        wake::ring(rogue.bell.as_fd());
        assert!(matches!(bench.report(), Report::Quarantined { .. }));
        let (notice, _) = receive(&mut a);
        assert_eq!((notice.kind, notice.code, notice.sequence), (Kind::Notice, Reason::Died as u16, lost));
        assert_eq!(bench.count(20).counters.held_bytes, 0);
    }
}

#[test]
fn an_asker_that_reads_no_answers_stops_no_server() {
    let mut bench = Bench::new();
    let mut server = bench.attach(20, "server", &["*"]);
    let mut deaf = bench.attach(21, "deaf", &["*"]);
    let mut honest = bench.attach(22, "honest", &["*"]);
    for _ in 0..200 {
        deaf.start_request(WorldId(20), b"?", Duration::from_secs(600)).unwrap();
    }
    server.set_patience(SECOND);
    for _ in 0..200 {
        let (head, _) = receive(&mut server);
        server.reply(&head, 0, &[0; 1000]).unwrap();
    }
    let asked = honest.start_request(WorldId(20), b"?", Duration::from_secs(30)).unwrap();
    let (head, _) = receive(&mut server);
    server.reply(&head, 0, b"!").unwrap();
    assert_eq!(receive(&mut honest).0.correlation, asked);
    let held = bench.count(21).counters.held_bytes;
    assert!(held <= 64 * 1024 + 200 * 128, "{held} bytes are held for one that doesn't read");
    // And each of its requests has one end: the answer, or the notice that there was no room for it.
    for _ in 0..200 {
        assert!(matches!(receive(&mut deaf).0.kind, Kind::Reply | Kind::Notice));
    }
}

#[test]
fn what_became_of_a_reply_ends_no_request() {
    let mut bench = Bench::new();
    let mut server = bench.attach(20, "server", &["*"]);
    let mut other = bench.attach(21, "other", &["*"]);
    let mut rogue = bench.rogue(22, &["*"]);
    // The rogue chooses the correlation id that the server will choose for its own first request.
    let mut ask = Header::new(Kind::Request, WorldId(20), 0);
    (ask.correlation, ask.timeout_ms) = (1, 1);
    rogue.write(&ask);
    thread::sleep(Duration::from_millis(50));
    let (head, _) = receive(&mut server);
    server.reply(&head, 0, b"late").unwrap();
    let answering = thread::spawn(move || {
        let (head, _) = receive(&mut other);
        other.reply(&head, 0, b"the answer").unwrap();
        other
    });
    let answer = server.request(WorldId(21), b"?", Duration::from_secs(5)).unwrap();
    assert_eq!(answer.payload, b"the answer");
    drop(answering.join());
}

/// Each asked the one before it and has a full inbox and an impossible cursor: the end of the first brings all to light.
#[test]
fn a_chain_of_corrupt_worlds_ends_without_recursion() {
    let mut bench = Bench::new();
    let mut chain: Vec<Rogue> = Vec::new();
    for id in 1000..1300u64 {
        let mut rogue = bench.rogue(id, &["*"]);
        if !chain.is_empty() {
            let mut ask = Header::new(Kind::Request, WorldId(id - 1), 0);
            (ask.correlation, ask.timeout_ms) = (5, u32::MAX);
            rogue.write(&ask);
        }
        for _ in 0..if id == 1299 { 192 } else { 191 } {
            while rogue.endpoint.reserve(0).is_err() {
                thread::yield_now();
            }
            rogue.write(&Header::new(Kind::Message, WorldId(9), 0));
        }
        chain.push(rogue);
    }
    thread::sleep(Duration::from_millis(100));
    for rogue in &chain {
        rogue.endpoint.mine().control().consumed.store(7, Ordering::SeqCst);
    }
    bench.link.send(&Command::Detach { id: 1000 }, &[]).unwrap();
    let mut quarantined = 0;
    while let Report::Quarantined { .. } = bench.report() {
        quarantined += 1;
    }
    assert_eq!(quarantined, 299);
}

#[test]
fn the_switch_answers_for_itself() {
    let mut bench = Bench::new();
    let mut a = bench.attach(20, "a", &[]);
    let probe = Ask::Probe.encode();
    let reply = a.request(WorldId::SWITCH, &probe, Duration::from_secs(5)).unwrap();
    assert_eq!((reply.header.source, reply.header.code), (WorldId::SWITCH, 0));
    for odd in [&probe[..15], &[0xff; 16], &[0xff; 4000], &[]] {
        let reply = a.request(WorldId::SWITCH, odd, Duration::from_secs(5)).unwrap();
        assert_eq!(Refusal::from_code(reply.header.code), Some(Refusal::Malformed));
    }
    // A message is a nudge: taken, and nothing comes of it.
    a.send(WorldId::SWITCH, b"nudge").unwrap();
    let reply = a.request(WorldId::SWITCH, &probe, Duration::from_secs(5)).unwrap();
    assert_eq!(reply.header.correlation, 6);
    assert!(a.try_receive().unwrap().is_none());
}

#[test]
fn who_asks_the_switch_and_reads_no_answer_is_not_read() {
    let mut bench = Bench::new();
    let mut rogue = bench.rogue(20, &[]);
    let mut request = Header::new(Kind::Request, WorldId::SWITCH, 16);
    for n in 0..100_000 {
        request.correlation = n;
        let end = Instant::now() + Duration::from_millis(100);
        while rogue.endpoint.room().unwrap() < 80 && Instant::now() < end {
            thread::yield_now();
        }
        if rogue.endpoint.room().unwrap() < 80 {
            break;
        }
        rogue.write(&request);
    }
    let held = bench.count(20).counters.held_bytes;
    assert!((64 * 1024..66 * 1024).contains(&held), "{held}");
}

/// Each of these commands takes the switch longer than the supervisor to say it, so there is always one more.
#[test]
fn records_pass_however_much_the_supervisor_has_to_say() {
    let mut bench = Bench::new();
    let (mut a, mut b) = (bench.attach(16, "a", &["b"]), bench.attach(17, "b", &[]));
    for topic in 1..=1024 {
        bench.link.send(&Command::OpenTopic { topic, publisher: 17 }, &[]).unwrap();
    }
    let supervisor = Link::new(bench.link.as_fd().try_clone_to_owned().unwrap());
    let (enough, is_over) = std::sync::mpsc::channel::<()>();
    let talker = thread::spawn(move || {
        while is_over.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            supervisor.send(&Command::Unsubscribe { world: 17, number: 1 }, &[]).unwrap();
        }
    });
    thread::sleep(Duration::from_millis(100));
    a.send(WorldId(17), b"through").unwrap();
    let arrived = b.receive(SECOND).unwrap().map(|record| record.payload().to_vec());
    drop(enough);
    talker.join().unwrap();
    assert_eq!(arrived.as_deref(), Some(&b"through"[..]));
}
