//! Many messages in one record, over a real broker.

use std::time::Duration;
use strait_broker::{Kind, Reason, WorldId};
use strait_protocol::packed::{append, item_stride};
use strait_tests::attack::Attack;
use strait_tests::{LONG, Stage, pattern};

fn courier(stage: &mut Stage, count: u64) -> WorldId {
    let courier = stage.add("courier", &["courier", "host"], &[]);
    stage.client().start_request(courier, format!("batch {count}").as_bytes(), LONG).unwrap();
    courier
}

#[test]
fn a_batch_arrives_as_messages_in_order_and_in_few_records() {
    let mut stage = Stage::new();
    let courier = courier(&mut stage, 100_000);
    let mut next = 0u64;
    let last = loop {
        let record = stage.client().receive(Some(LONG)).unwrap().unwrap();
        let header = record.header();
        if header.kind == Kind::Reply {
            break header.sequence;
        }
        assert_eq!((header.source, header.length, header.flags, header.stream), (courier, 8, 0, 0));
        assert_eq!(record.payload(), next.to_ne_bytes());
        assert!(record.payload().as_ptr().addr().is_multiple_of(16));
        next += 1;
    };
    assert_eq!(next, 100_000);
    assert!(last < 100_000 / 100, "{last} records");
}

#[test]
fn every_length_is_packed_or_sent_as_it_must_be() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    let lengths: Vec<usize> = (0..100).chain([4000, 4016, 4017, 5000, 3, 300_000, 0, 16]).collect();
    let sent = stage.client().send_batch(echo, lengths.iter().map(|length| pattern(*length))).unwrap();
    assert_eq!(sent, lengths.len());
    for length in lengths {
        assert!(stage.receive().1 == pattern(length), "{length} bytes");
    }
    assert_eq!(stage.client().send_batch(echo, [[0u8; 0]; 0]).unwrap(), 0);
}

#[test]
fn what_is_done_between_two_messages_of_a_record_loses_none() {
    let mut stage = Stage::new();
    let echo = stage.add("echo", &["echo"], &[]);
    courier(&mut stage, 600);
    for number in 0..600u64 {
        // Gives back nothing that is still needed.
        if number % 3 == 0 {
            stage.client().release();
        }
        // Puts the rest of the record aside.
        if number % 100 == 50 {
            assert_eq!(stage.ask(echo, b"between"), b"between");
        }
        let record = stage.client().try_receive().unwrap();
        let payload = record.map(|record| record.payload().to_vec());
        let payload = payload.unwrap_or_else(|| stage.receive().1);
        assert_eq!(payload, number.to_ne_bytes());
    }
    assert_eq!(stage.receive().0.kind, Kind::Reply);
}

#[test]
fn patience_ends_a_batch_early_and_says_how_far_it_came() {
    let mut stage = Stage::new();
    let deaf = stage.add("deaf", &["deaf"], &[]);
    stage.client().set_patience(Some(Duration::from_millis(100)));
    let sent = stage.client().send_batch(deaf, std::iter::repeat_n([7; 100], 100_000)).unwrap();
    assert!((500..2000).contains(&sent), "{sent} messages");
}

#[test]
fn a_record_that_is_not_well_packed_gives_what_is_before_the_fault() {
    let mut stage = Stage::new();
    let rogue = stage.add("rogue", &["rogue"], &[]);
    let me = stage.client().id().0;
    let mut packed = vec![0; item_stride(5) * 3];
    (0..3).for_each(|n| assert!(append(&mut packed, n * item_stride(5), n as u16, 40 + n as u64, b"hello")));
    let mut expect = |bytes: &[u8], messages: u16, is_incomplete: bool| {
        let order = serde_json::to_vec(&Attack::Packed { to: me, bytes: bytes.to_vec() }).unwrap();
        stage.client().start_request(rogue, &order, LONG).unwrap();
        for n in 0..messages {
            let (header, payload) = stage.receive();
            assert_eq!((header.kind, header.code, header.tag), (Kind::Message, n, 40 + u64::from(n)));
            assert_eq!((header.source, payload), (rogue, b"hello".to_vec()));
        }
        if is_incomplete {
            let (notice, _) = stage.receive();
            assert_eq!((notice.kind, notice.code, notice.source), (Kind::Notice, Reason::Incomplete as u16, rogue));
        }
        assert_eq!(stage.receive().0.kind, Kind::Reply);
    };
    // The positive control: nothing wrong with it.
    expect(&packed, 3, false);
    expect(&packed[..packed.len() - 11], 3, false);
    expect(&packed[..packed.len() - 12], 2, true);
    expect(&packed[..40], 1, true);
    expect(&packed[..7], 0, true);
    expect(&[], 0, true);
    for length in [49u32, u32::MAX, u32::MAX - 15, 1 << 31] {
        let mut lying = packed.clone();
        lying[item_stride(5)..][..4].copy_from_slice(&length.to_le_bytes());
        expect(&lying, 1, true);
    }
}
