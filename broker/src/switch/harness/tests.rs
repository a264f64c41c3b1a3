//! Scripts made up by proptest.

use super::*;
use proptest::prelude::*;

/// Payload sizes: most are small, some fill a ring.
fn bytes() -> impl Strategy<Value = u16> {
    prop_oneof![4 => 0..200u16, 2 => 0..3000u16, 1 => 0..MAX_PAYLOAD]
}

fn act() -> impl Strategy<Value = Act> {
    let kind = || prop_oneof![8 => 1..=3u8, 2 => 4..=5u8, 1 => any::<u8>()];
    let step = prop_oneof![4 => (-8..64i64).prop_map(|n| n * 16), 1 => any::<i64>()];
    prop_oneof![
        6 => (0..8u8, kind(), bytes()).prop_map(|(to, kind, bytes)| Act::Record { to, kind, bytes }),
        3 => (0..40u8, 0..8u8, kind(), bytes()).prop_map(|(at, to, kind, bytes)| Act::Rewrite { at, to, kind, bytes }),
        1 => (0..256u16, any::<u64>()).prop_map(|(at, word)| Act::Word { at, word }),
        1 => (any::<u8>(), step).prop_map(|(which, by)| Act::Control { which, by }),
        2 => Just(Act::Consume),
        1 => Just(Act::Ring),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    let (from, to) =
        (0..HONEST as u8, prop_oneof![6 => 0..=ALL as u8, 2 => Just(ALL as u8 + 1), 1 => Just(ALL as u8 + 2)]);
    prop_oneof![
        8 => (from.clone(), to.clone(), bytes()).prop_map(|(from, to, bytes)| Operation::Send { from, to, bytes }),
        3 => (from.clone(), to, bytes(), 0..60u8)
            .prop_map(|(from, to, bytes, seconds)| Operation::Request { from, to, bytes, seconds }),
        3 => (from.clone(), any::<u8>(), bytes()).prop_map(|(from, which, bytes)| Operation::Reply { from, which, bytes }),
        2 => (from.clone(), any::<u8>(), bytes()).prop_map(|(from, which, bytes)| Operation::Piece { from, which, bytes }),
        2 => (from.clone(), any::<u8>(), bytes()).prop_map(|(from, to, bytes)| Operation::Multicast { from, to, bytes }),
        6 => (from.clone(), any::<u8>(), bytes(), any::<bool>())
            .prop_map(|(from, topic, bytes, retain)| Operation::Publish { from, topic, bytes, retain }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(who, topic)| Operation::Open { who, topic }),
        1 => (any::<u8>(), any::<u8>(), any::<bool>())
            .prop_map(|(who, topic, withdraws)| Operation::Leave { who, topic, withdraws }),
        2 => (any::<u8>(), any::<u8>()).prop_map(|(who, how)| Operation::Tap { who, how }),
        3 => (any::<u8>(), any::<u8>(), any::<u8>()).prop_map(|(who, topic, how)| Operation::Subscribe { who, topic, how }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(who, which)| Operation::Unsubscribe { who, which }),
        2 => (from.clone(), any::<u8>(), bytes(), any::<bool>())
            .prop_map(|(from, stream, bytes, is_last)| Operation::Feed { from, stream, bytes, is_last }),
        2 => any::<u8>().prop_map(|who| Operation::Join { who }),
        1 => any::<u8>().prop_map(|who| Operation::Quit { who }),
        5 => (from.clone(), 0..20u8).prop_map(|(who, records)| Operation::Receive { who, records }),
        3 => from.clone().prop_map(|who| Operation::Release { who }),
        2 => (from, any::<u8>()).prop_map(|(who, how)| Operation::Sleep { who, how }),
        1 => any::<u8>().prop_map(|who| Operation::Die { who }),
        2 => (any::<u8>(), 0..4u8).prop_map(|(who, how)| Operation::Renew { who, gives_back: how == 0 }),
        1 => (any::<u8>(), any::<u8>()).prop_map(|(from, to)| Operation::Forward { from, to }),
        2 => any::<u8>().prop_map(|who| Operation::Return { who }),
        6 => (any::<u8>(), act()).prop_map(|(who, act)| Operation::Act { who, act }),
        6 => (any::<u8>(), 0..60u8, act()).prop_map(|(who, after, act)| Operation::Race { who, after, act }),
        8 => Just(Operation::Pass),
        3 => Just(Operation::Settle),
        1 => (0..40u8).prop_map(|seconds| Operation::Time { seconds }),
    ]
}

/// Many of the same, until rings and budgets are full.
fn burst() -> impl Strategy<Value = Vec<Operation>> {
    let send = (
        0..HONEST as u8,
        prop_oneof![2 => 0..ALL as u8, 1 => Just(ALL as u8 + 1)],
        prop_oneof![100..400u16, 1000..12_000u16],
        1..25usize,
    );
    send.prop_map(|(from, to, bytes, times)| {
        let mut burst = [Operation::Send { from, to, bytes }, Operation::Pass].repeat(times);
        // And something for somebody else behind it.
        burst.push(Operation::Send { from, to: to + 1, bytes: 16 });
        burst
    })
}

/// Much that is published, beside something for somebody else.
fn flood() -> impl Strategy<Value = Vec<Operation>> {
    let publish = (0..HONEST as u8, 0..2u8, prop_oneof![0..400u16, 1000..12_000u16], 1..40usize, any::<[u8; 4]>());
    publish.prop_map(|(from, topic, bytes, times, hows)| {
        let mut flood = vec![Operation::Open { who: from, topic }];
        let subscribers =
            (0..4).map(|n| Operation::Subscribe { who: from + 1 + n / 2, topic, how: hows[usize::from(n)] });
        flood.extend(subscribers);
        flood.extend([Operation::Publish { from, topic, bytes, retain: false }, Operation::Pass].repeat(times));
        flood.push(Operation::Send { from, to: from + 1, bytes: 16 });
        flood
    })
}

/// A record that is good when it is judged and another one some reads later.
fn switched() -> impl Strategy<Value = Vec<Operation>> {
    let record = (0..2u8, 0..5u8, 1..=3u8, bytes());
    let later = (0..12u8, 0..6u8, prop_oneof![1..=3u8, any::<u8>()], bytes());
    (record, later).prop_map(|((who, to, kind, bytes), (after, to_later, kind_later, bytes_later))| {
        let rewrite = Act::Rewrite { at: 0, to: to_later, kind: kind_later, bytes: bytes_later };
        vec![
            Operation::Pass,
            Operation::Act { who, act: Act::Record { to, kind, bytes } },
            Operation::Race { who, after, act: rewrite },
            Operation::Pass,
        ]
    })
}

fn script() -> impl Strategy<Value = Vec<Operation>> {
    let some = prop_oneof![12 => operation().prop_map(|one| vec![one]), 1 => burst(), 1 => flood(), 2 => switched()];
    prop::collection::vec(some, 1..120).prop_map(|parts| parts.concat())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn promises_to_honest_worlds_hold_beside_hostile_ones(script in script()) {
        play(&script);
    }

    #[test]
    fn any_bytes_are_a_script(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        play(&operations(&bytes));
    }
}

/// What was known of the records behind a blocked one must not outlive those that are moved past it. Here the asker can't pay for a reply,
/// is told so, and a message that follows still finds room; then the next one is blocked on the same receiver.
#[test]
fn a_look_ahead_doesnt_outlive_what_it_saw() {
    let send = |from, to, bytes| Operation::Send { from, to, bytes };
    let (asker, server, other, deaf) = (0, 1, 2, 3);
    let mut script = vec![
        Operation::Request { from: asker, to: server, bytes: 0, seconds: 50 },
        Operation::Pass,
        Operation::Receive { who: server, records: 1 },
        Operation::Release { who: server },
    ];
    // All that the asker has is held for one that doesn't read.
    for _ in 0..3 {
        script.extend([send(asker, deaf, 12_000), send(asker, other, 0), Operation::Pass]);
    }
    // The asker's inbox is nearly full.
    script.extend([send(server, asker, 8000), Operation::Pass, send(server, asker, 3000), Operation::Pass]);
    // Held, and over the server's budget; all behind it is looked past.
    script.extend([send(server, asker, 9000), Operation::Reply { from: server, which: 0, bytes: 1000 }]);
    script.extend([
        send(server, asker, 16),
        send(server, asker, 1500),
        send(server, other, 0),
        send(server, other, 16),
    ]);
    script.push(Operation::Pass);
    // Room for what was held, the notice and the short message, and nothing more.
    script.extend([Operation::Receive { who: asker, records: 1 }, Operation::Release { who: asker }]);
    script.extend([Operation::Pass; 3]);
    play(&script);
}

/// Who has nothing more to send, or only to others, must not stand in a line that others stand in behind it.
#[test]
fn nobody_keeps_a_place_in_line_for_nothing() {
    let send = |from, to, bytes| Operation::Send { from, to, bytes };
    let (one, other, full, deaf) = (0, 1, 2, 3);
    let mut script = vec![send(other, full, 11_500), send(other, deaf, 11_500), Operation::Pass];
    script.extend([send(one, full, 1000), Operation::Pass]);
    // Held, since something for somebody else is behind it; that is a request, and held at once.
    script.push(Operation::Request { from: one, to: deaf, bytes: 1000, seconds: 50 });
    script.extend([Operation::Pass; 6]);
    script.extend([send(other, full, 1000), Operation::Pass]);
    play(&script);
}
