//! Parcels between jailed worlds: they arrive without a copy, nobody writes to them again, and who keeps them harms itself alone.

use std::time::{Duration, Instant};
use strait_broker::{Kind, Reason, WorldId};
use strait_client::{Parcel, Refusal};
use strait_tests::attack::{Attack, Try};
use strait_tests::{Holdings, LONG, Stage, kill_payload};

fn parcel(stage: &mut Stage, bytes: usize, fill: u8) -> Parcel {
    let mut parcel = stage.client().new_parcel(bytes).expect("a parcel");
    parcel.fill(fill);
    parcel.seal().expect("no other writer")
}

fn attack(stage: &mut Stage, rogue: WorldId, attack: &Attack) -> Vec<u8> {
    stage.ask(rogue, &serde_json::to_vec(attack).unwrap())
}

#[test]
fn parcels_pass_through_jailed_worlds() {
    let mut stage = Stage::new();
    stage.add("reader", &["parcel-reader"], &[]);
    let relay = stage.add("relay", &["parcel-relay", "reader"], &["reader"]);
    for (round, bytes) in [1, 4096, 100_000, 8 << 20, 30 << 20].into_iter().enumerate() {
        let parcel = parcel(&mut stage, bytes, round as u8 + 1);
        stage.client().send_parcel(relay, &parcel, b"").unwrap();
        drop(parcel);
        let expected = format!("{bytes} {}", bytes * (round + 1));
        assert_eq!(String::from_utf8(stage.receive().1).unwrap(), expected);
    }
    // One parcel, sent again and again.
    let parcel = parcel(&mut stage, 4096, 1);
    for _ in 0..1000 {
        stage.client().send_parcel(relay, &parcel, b"").unwrap();
    }
    for _ in 0..1000 {
        assert_eq!(stage.receive().1, b"4096 4096");
    }
}

#[test]
fn nobody_writes_to_a_parcel_that_was_sent() {
    let mut stage = Stage::new();
    let rogue = stage.add("rogue", &["rogue"], &[]);
    let parcel = parcel(&mut stage, 65536, 7);
    stage.client().send_parcel(rogue, &parcel, b"").unwrap();
    let report: Vec<(String, Vec<Try>)> = serde_json::from_slice(&attack(&mut stage, rogue, &Attack::Parcels)).unwrap();
    for (file, tries) in report {
        for Try { call, error } in tries {
            println!("{file:<10} {call:<10} {error:?}");
            match (file.as_str(), call.as_str()) {
                // The size is fixed from the start.
                (_, "ftruncate") => assert_eq!(error, Some(1)),
                // The positive control: before it is sealed, its maker can do everything else.
                ("own", _) => assert_eq!(error, None, "{call}"),
                // VM_MAYWRITE was taken from the mapping.
                (_, "mprotect") => assert_eq!(error, Some(13)),
                _ => assert_eq!(error, Some(1), "{call}"),
            }
        }
    }
    assert_eq!(parcel.bytes(), [7; 65536]);
}

#[test]
fn the_switch_takes_no_descriptor() {
    let mut stage = Stage::new();
    let rogue = stage.add("rogue", &["rogue"], &[]);
    // Once before it counts: then everything about its start is over.
    assert_eq!(attack(&mut stage, rogue, &Attack::SendOverLane), b"32", "EPIPE");
    let before = Holdings::of(&stage);
    for _ in 0..100 {
        assert_eq!(attack(&mut stage, rogue, &Attack::SendOverLane), b"32", "EPIPE");
    }
    // A jail that is begun ahead of time may have come meanwhile.
    let now = Holdings::of(&stage);
    assert_eq!(Holdings { processes: before.processes, ..now }, before);
}

#[test]
fn who_leaves_its_lane_full_harms_itself_alone() {
    let mut stage = Stage::new();
    let rogue = stage.add("rogue", &["rogue"], &[]);
    let answers: Vec<u16> =
        serde_json::from_slice(&attack(&mut stage, rogue, &Attack::LeaveLane { times: 1000 })).unwrap();
    let full = answers.iter().position(|code| *code != 0).expect("a bound");
    assert!((2..100).contains(&full), "{full} parcels were handed over");
    assert!(answers[full..].iter().all(|code| *code == Refusal::LaneFull as u16));
    // Who sends it a parcel is told, and goes on; others get theirs.
    let parcel = parcel(&mut stage, 4096, 2);
    stage.client().send_parcel(rogue, &parcel, b"").unwrap();
    let (notice, _) = stage.receive();
    assert_eq!((notice.kind, notice.code), (Kind::Notice, Reason::ParcelQuota as u16));
    let reader = stage.add("reader", &["parcel-reader"], &[]);
    stage.client().send_parcel(reader, &parcel, b"").unwrap();
    assert_eq!(stage.receive().1, b"4096 8192");
}

#[test]
fn who_keeps_what_it_gets_is_sent_no_more_and_leaves_nothing_behind() {
    let mut stage = Stage::new();
    let keeper = stage.add("keeper", &["parcel-keeper"], &[]);
    let reader = stage.add("reader", &["parcel-reader"], &[]);
    let before = Holdings::of(&stage);
    let mut sent = 0;
    let reason = loop {
        let parcel = parcel(&mut stage, 8 << 20, 1);
        stage.client().send_parcel(keeper, &parcel, b"").unwrap();
        drop(parcel);
        if let Some(record) = stage.client().receive(Some(Duration::from_millis(20))).unwrap() {
            break record.notice();
        }
        sent += 1;
    };
    // Half of its 64 MiB, since all is from one sender.
    assert_eq!((reason, sent), (Some(Reason::ParcelQuota), 4));
    assert_eq!(stage.ask(keeper, b"?"), b"4");
    let parcel = parcel(&mut stage, 4096, 1);
    stage.client().send_parcel(reader, &parcel, b"").unwrap();
    assert_eq!(stage.receive().1, b"4096 4096");
    drop(parcel);
    let pid = stage.pid(keeper);
    kill_payload(pid);
    stage.client().wait(keeper, Some(LONG)).unwrap();
    // What the dead one held is let go of: the switch has no file more than before, and those of the dead one less.
    let end = Instant::now() + Duration::from_secs(5);
    while Holdings::of(&stage).switch_fds.zip(before.switch_fds).is_some_and(|(now, then)| now >= then) {
        assert!(Instant::now() < end, "{:?} {before:?}", Holdings::of(&stage));
        let _ = stage.client().receive(Some(Duration::from_millis(20))).unwrap();
    }
}
