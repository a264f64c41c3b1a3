//! The functions as C calls them, with a stand-in for the switch.

#[path = "../tests/switch/mod.rs"]
mod switch;

use crate::client::{StraitClient, with_client};
use crate::draft::*;
use crate::error::{StraitError, strait_last_error};
use crate::grants::*;
use crate::receive::*;
use crate::record::*;
use crate::send::*;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::mem::MaybeUninit;
use std::slice;
use std::thread;
use strait_client::{Asked, Client, Decision};
use strait_protocol::control::ASKED;
use strait_protocol::{Header, Kind, Reason, SliceSize, WorldId};
use switch::{PEER, Switch, request, shutdown_notice};

fn connected() -> (Switch, StraitClient) {
    let (switch, connection) = Switch::new(SliceSize::MIN);
    let client = StraitClient::new(Client::adopt(connection).unwrap());
    switch.finish_handshake();
    (switch, client)
}

fn send(client: &mut StraitClient, payload: &[u8], timeout_ms: i32) -> c_int {
    // SAFETY: a slice has as many bytes as it says.
    unsafe { strait_send(Some(client), PEER.0, payload.as_ptr().cast(), payload.len(), timeout_ms, None) }
}

fn reply(client: &mut StraitClient, to: &StraitRecord, payload: *const u8, length: usize) -> c_int {
    // SAFETY: callers pass what a live record or slice says of itself.
    unsafe { strait_reply(Some(client), Some(to), 3, payload.cast(), length) }
}

fn receive(client: &mut StraitClient, timeout_ms: i32) -> Option<StraitRecord> {
    let mut record = MaybeUninit::uninit();
    match strait_receive(Some(client), timeout_ms, Some(&mut record)) {
        0 => None,
        // SAFETY: written, as the result says.
        1 => Some(unsafe { record.assume_init() }),
        error => panic!("{error}: {}", last_error()),
    }
}

fn begin(client: &mut StraitClient, length: usize) -> StraitDraft {
    let mut draft = MaybeUninit::uninit();
    assert_eq!(strait_draft_begin(Some(client), PEER.0, length, Some(&mut draft)), 0);
    // SAFETY: written, as the result says.
    unsafe { draft.assume_init() }
}

fn payload(record: &StraitRecord) -> &[u8] {
    // SAFETY: callers look before the next receive.
    unsafe { slice::from_raw_parts(record.payload, record.length) }
}

fn last_error() -> String {
    // SAFETY: never null, ends in NUL, and no call of this thread fails meanwhile.
    unsafe { CStr::from_ptr(strait_last_error()) }.to_str().unwrap().into()
}

#[test]
fn a_payload_in_the_inbox_can_be_the_reply() {
    let (mut switch, mut client) = connected();
    switch.deliver(request(PEER, 1), b"in place");
    let asked = receive(&mut client, -1).unwrap();
    assert_eq!(payload(&asked), b"in place");
    assert!(!strait_shutdown_notice(Some(&asked)));
    assert_eq!(reply(&mut client, &asked, asked.payload, asked.length), 0);
    assert_eq!(payload(&asked), b"in place");
    let (header, answer) = switch.take();
    assert_eq!((header.kind, header.destination, header.code), (Kind::Reply, PEER, 3));
    assert_eq!((header.correlation, header.tag, answer.as_slice()), (1, 9, &b"in place"[..]));
    assert_eq!(strait_release(Some(&mut client)), 0);
    assert!(receive(&mut client, 0).is_none());
    assert!(receive(&mut client, 1).is_none());
}

#[test]
fn the_notice_of_shutdown_is_told_from_requests() {
    let (mut switch, mut client) = connected();
    switch.deliver(shutdown_notice(), b"why");
    let told = receive(&mut client, -1).unwrap();
    assert!(strait_shutdown_notice(Some(&told)));
    assert_eq!((told.timeout_ms, payload(&told)), (3000, &b"why"[..]));
    switch.deliver(Header { source: PEER, ..shutdown_notice() }, b"forged");
    assert!(!strait_shutdown_notice(receive(&mut client, -1).as_ref()));
}

#[test]
fn what_is_released_gives_its_room_back_at_once() {
    let (mut switch, mut client) = connected();
    let large = [1; 12_000];
    switch.deliver(request(PEER, 1), &large);
    assert_eq!(payload(&receive(&mut client, -1).unwrap()), large);
    assert!(!switch.try_deliver(request(PEER, 2), &large));
    assert_eq!(strait_release(Some(&mut client)), 0);
    assert!(switch.try_deliver(request(PEER, 2), &large));
    assert_eq!(strait_release(Some(&mut client)), 0);
    assert_eq!(receive(&mut client, -1).unwrap().correlation, 2);
}

#[test]
fn a_batch_is_judged_before_any_of_it_is_sent() {
    let (mut switch, mut client) = connected();
    let good = StraitBytes { start: c"abc".as_ptr().cast(), length: 3 };
    let list = [good, StraitBytes { start: std::ptr::null(), length: 1 }];
    let mut batch = |list: *const StraitBytes, count| {
        let mut sent = MaybeUninit::new(0);
        // SAFETY: the tests that call this pass what is there, or null.
        let result = unsafe { strait_send_batch(Some(&mut client), PEER.0, list, count, Some(&mut sent)) };
        // SAFETY: begun with a value.
        (result, unsafe { sent.assume_init() })
    };
    assert_eq!(batch(list.as_ptr(), 2), (StraitError::Null as c_int, 0));
    assert_eq!(batch(std::ptr::null(), 1), (StraitError::Null as c_int, 0));
    assert_eq!(batch(list.as_ptr(), usize::MAX), (StraitError::TooLarge as c_int, 0));
    assert!(switch.try_take().is_none());
    assert_eq!(batch(list.as_ptr(), 1), (0, 1));
    assert_eq!(switch.take().0.length, 32);
    assert_eq!(batch(std::ptr::null(), 0), (0, 0));
}

#[test]
fn an_empty_payload_has_an_address() {
    let (mut switch, mut client) = connected();
    switch.deliver(request(PEER, 1), b"");
    let record = receive(&mut client, -1).unwrap();
    assert!(!record.payload.is_null() && record.length == 0);
}

#[test]
fn a_full_outbox_is_an_error_when_nobody_waits() {
    let (mut switch, mut client) = connected();
    let record = [1; 4000];
    let sent = (0..).take_while(|_| send(&mut client, &record, 0) == 0).count();
    // A third would leave less than is kept for other receivers.
    assert_eq!(sent, 2);
    assert_eq!(send(&mut client, &record, 5), StraitError::Full as c_int);
    assert_eq!(send(&mut client, &[0; 20_000], 0), StraitError::TooLarge as c_int);
    assert!(last_error().contains("20000"), "{}", last_error());
    switch.take();
    assert_eq!(send(&mut client, &record, 0), 0);
    assert_eq!(strait_drain(Some(&mut client), 1), 0);
    while switch.try_take().is_some() {}
    assert_eq!(strait_drain(Some(&mut client), -1), 1);
}

#[test]
fn a_length_beyond_memory_is_refused() {
    let (_switch, mut client) = connected();
    let start: *const c_void = c"".as_ptr().cast();
    // SAFETY: not true of the length, which is refused before anything is read: what is tested here.
    let result = unsafe { strait_send(Some(&mut client), PEER.0, start, usize::MAX, 0, None) };
    assert_eq!(result, StraitError::TooLarge as c_int);
    // SAFETY: null is refused.
    let result = unsafe { strait_send(Some(&mut client), PEER.0, std::ptr::null(), 1, 0, None) };
    assert_eq!(result, StraitError::Null as c_int);
}

#[test]
fn a_draft_is_sent_from_where_it_was_built() {
    let (mut switch, mut client) = connected();
    for round in 0..100 {
        let mut draft = begin(&mut client, 500);
        // SAFETY: 500 bytes were reserved there, and nothing else is written to the outbox meanwhile.
        unsafe { draft.payload.write_bytes(round, 500) };
        assert_eq!(send(&mut client, b"past it", 0), StraitError::Draft as c_int);
        (draft.length, draft.tag, draft.flags) = (300 + round as usize, 7, 0x10);
        let mut sequence = MaybeUninit::new(0);
        assert_eq!(strait_draft_send(Some(&mut client), Some(&draft), Some(&mut sequence)), 0);
        assert_eq!(strait_draft_send(Some(&mut client), Some(&draft), None), StraitError::Draft as c_int);
        // SAFETY: begun with a value.
        assert_eq!(unsafe { sequence.assume_init() }, u64::from(round) + 1);
        let (header, sent) = switch.take();
        assert_eq!((header.kind, header.destination, header.tag, header.flags), (Kind::Message, PEER, 7, 0x10));
        assert_eq!(sent, vec![round; 300 + round as usize]);
    }
}

#[test]
fn a_draft_can_be_dropped_staged_and_not_forged() {
    let (mut switch, mut client) = connected();
    let dropped = begin(&mut client, 100);
    assert_eq!(strait_draft_drop(Some(&mut client)), 0);
    let draft = begin(&mut client, 50);
    assert_eq!(draft.payload, dropped.payload);
    let wrong = [
        (StraitDraft { length: 51, ..draft }, StraitError::TooLarge),
        (StraitDraft { destination: 1, ..draft }, StraitError::Draft),
        (StraitDraft { kind: StraitKind::Notice as u8, ..draft }, StraitError::Draft),
        (StraitDraft { payload: draft.payload.wrapping_add(16), ..draft }, StraitError::Draft),
    ];
    for (wrong, code) in wrong {
        assert_eq!(strait_draft_send(Some(&mut client), Some(&wrong), None), code as c_int);
    }
    assert_eq!(strait_draft_stage(Some(&mut client), Some(&draft), None), 0);
    assert!(switch.try_take().is_none());
    assert_eq!(strait_flush(Some(&mut client)), 0);
    assert_eq!(switch.take().0.length, 50);
}

#[test]
fn a_reply_can_be_built_in_place() {
    let (mut switch, mut client) = connected();
    switch.deliver(request(PEER, 4), b"question");
    let asked = receive(&mut client, -1).unwrap();
    let mut draft = MaybeUninit::uninit();
    assert_eq!(strait_draft_begin_reply(Some(&mut client), Some(&asked), 8, Some(&mut draft)), 0);
    // SAFETY: written, as the result says.
    let mut draft = unsafe { draft.assume_init() };
    // SAFETY: 8 bytes of outbox were reserved, and the question's 8 bytes of inbox weren't released.
    unsafe { draft.payload.copy_from_nonoverlapping(asked.payload, 8) };
    draft.code = 2;
    assert_eq!(strait_draft_send(Some(&mut client), Some(&draft), None), 0);
    let (header, answer) = switch.take();
    assert_eq!((header.kind, header.correlation, header.tag, header.code), (Kind::Reply, 4, 9, 2));
    assert_eq!(answer, b"question");
}

fn ask(client: &mut StraitClient) -> (c_int, StraitRecord) {
    let mut answer = MaybeUninit::uninit();
    // SAFETY: three bytes, as it says.
    let result = unsafe { strait_request(Some(client), PEER.0, c"why".as_ptr().cast(), 3, 5000, Some(&mut answer)) };
    // SAFETY: the tests that call this expect a reply or a notice, and both are written.
    (result, unsafe { answer.assume_init() })
}

#[test]
fn a_reply_outlives_what_comes_after_it() {
    let (mut switch, mut client) = connected();
    let switching = thread::spawn(move || {
        let (asked, _) = switch.take();
        switch.deliver(request(PEER, 8), b"between");
        let answer =
            Header { source: PEER, correlation: asked.correlation, ..Header::new(Kind::Reply, asked.source, 0) };
        switch.deliver(answer, b"because");
        switch
    });
    let (result, answer) = ask(&mut client);
    assert_eq!((result, answer.kind), (0, StraitKind::Reply as u8));
    let _switch = switching.join().unwrap();
    let between = receive(&mut client, 0).unwrap();
    assert_eq!((payload(&between), payload(&answer)), (&b"between"[..], &b"because"[..]));
}

#[test]
fn a_request_without_a_reply_says_why() {
    let (mut switch, mut client) = connected();
    let switching = thread::spawn(move || {
        let (Header { correlation, .. }, _) = switch.take();
        let code = Reason::Died as u16;
        switch.deliver(
            Header {
                source: PEER,
                correlation,
                code,
                flags: Kind::Request as u8,
                ..Header::new(Kind::Notice, PEER, 0)
            },
            b"",
        );
    });
    let (result, notice) = ask(&mut client);
    switching.join().unwrap();
    assert_eq!(result, StraitError::Undelivered as c_int);
    assert_eq!((notice.kind, notice.code, notice.source), (StraitKind::Notice as u8, Reason::Died as u16, PEER.0));
    assert_eq!(last_error(), "#16: it died before it answered");
}

#[test]
fn a_request_that_may_be_repeated_says_so_and_is_one_record() {
    let (mut switch, mut client) = connected();
    let (mut number, payload) = (MaybeUninit::uninit(), b"again");
    // SAFETY: a slice has as many bytes as it says.
    let mut start = |bytes: &[u8], number| unsafe {
        strait_start_repeatable(Some(&mut client), PEER.0, bytes.as_ptr().cast(), bytes.len(), 5000, number)
    };
    assert_eq!(start(payload, Some(&mut number)), 0);
    assert_eq!(start(payload, None), StraitError::Null as c_int);
    let large = vec![0; SliceSize::MIN.ring_bytes() as usize];
    assert_eq!(start(&large, Some(&mut MaybeUninit::uninit())), StraitError::TooLarge as c_int);
    let (header, asked) = switch.take();
    // SAFETY: written, as the result says.
    assert_eq!(header.correlation, unsafe { number.assume_init() });
    assert_eq!((header.kind, header.flags, &asked[..]), (Kind::Request, STRAIT_FLAG_REPEATABLE, &payload[..]));
}

#[test]
fn the_descriptor_tells_of_a_record() {
    use std::os::fd::BorrowedFd;
    let (mut switch, mut client) = connected();
    let number = strait_poll_fd(Some(&mut client));
    // SAFETY: the client's, which lives longer than this.
    let fd = unsafe { BorrowedFd::borrow_raw(number) };
    let is_readable = || strait_sys::wake::wait_readable(fd, Some(std::time::Duration::ZERO)).unwrap();
    assert!(receive(&mut client, 0).is_none());
    assert!(!is_readable());
    switch.deliver(request(PEER, 1), b"here");
    assert!(is_readable());
    assert_eq!(payload(&receive(&mut client, 0).unwrap()), b"here");
    assert!(receive(&mut client, 0).is_none());
    assert!(!is_readable());
}

#[test]
fn a_panic_stays_inside_and_breaks_the_client() {
    let (_switch, mut client) = connected();
    assert_eq!(with_client(Some(&mut client), |_| panic!("number {}", 5)), StraitError::Bug as c_int);
    assert_eq!(last_error(), "bug in strait: number 5");
    assert_eq!(send(&mut client, b"", 0), StraitError::Bug as c_int);
    crate::client::strait_close(Some(Box::new(client)));
}

#[test]
fn a_question_is_read_and_decided() {
    let (mut switch, mut client) = connected();
    let asked = Asked {
        number: 7,
        id: PEER.0,
        name: "loader".into(),
        resource: "send db".into(),
        reason: "a\0b".repeat(400),
        left_ms: 500,
    };
    switch.deliver(Header { code: ASKED, ..request(WorldId::CONTROL, 3) }, &asked.encode());
    let record = receive(&mut client, -1).unwrap();
    let mut question = MaybeUninit::uninit();
    // SAFETY: the record was received last.
    assert_eq!(unsafe { strait_asked(Some(&record), Some(&mut question)) }, 1);
    // SAFETY: written, as the result says.
    let question = unsafe { question.assume_init() };
    // SAFETY: each ends in NUL.
    let text = |of: &[c_char]| unsafe { CStr::from_ptr(of.as_ptr()) }.to_str().unwrap().to_owned();
    assert_eq!(
        (question.number, text(&question.name), text(&question.resource)),
        (7, "loader".into(), "send db".into())
    );
    assert_eq!(text(&question.reason), "ab".repeat(256));
    // SAFETY: a text that ends in NUL.
    assert_eq!(unsafe { strait_decide(Some(&mut client), Some(&record), 1, -1, c"no".as_ptr()) }, 0);
    let (reply, payload) = switch.take();
    assert_eq!((reply.kind, reply.destination, reply.correlation), (Kind::Reply, WorldId::CONTROL, 3));
    assert_eq!(Decision::decode(&payload), Ok(Decision::Deny { why: "no".into() }));
    switch.deliver(request(PEER, 4), b"something else");
    let other = receive(&mut client, -1).unwrap();
    // SAFETY: the record was received last.
    assert_eq!(unsafe { strait_asked(Some(&other), Some(&mut MaybeUninit::uninit())) }, 0);
}
