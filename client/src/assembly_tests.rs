//! The assembly against an oracle that keeps everything and never gives anything up.

use super::*;
use proptest::prelude::*;
use std::collections::VecDeque;
use strait_protocol::stream::{MARK, piece};

const SMALL: AssemblyLimits = AssemblyLimits { source_bytes: 8 << 10, total_bytes: 20 << 10, source_streams: 4 };

fn last_header(source: WorldId, kind: Kind, tag: u64) -> Header {
    Header { source, tag, correlation: 5, code: 3, ..Header::new(kind, WorldId(99), 0) }
}

/// What an honest sender makes of a payload.
fn pieces(last: &Header, stream: u32, payload: &[u8], size: usize) -> VecDeque<(Header, Vec<u8>)> {
    let chunks: Vec<&[u8]> = payload.chunks(size).collect();
    let (end, firsts) = chunks.split_last().map_or((&[][..], &[][..]), |(end, firsts)| (*end, firsts));
    let mut made: VecDeque<_> = VecDeque::new();
    for (n, chunk) in firsts.iter().enumerate() {
        let header = piece(last, stream, (n * size) as u64, chunk.len() as u32);
        made.push_back((Header { source: last.source, ..header }, chunk.to_vec()));
    }
    let trailer = Trailer { total: payload.len() as u64, is_broken_off: false };
    let end = [end, &trailer.encode()].concat();
    made.push_back((Header { stream, length: end.len() as u32, ..*last }, end));
    made
}

fn payload(seed: usize, length: usize) -> Vec<u8> {
    (0..length).map(|n| (n * 7 + seed * 31) as u8).collect()
}

impl Assembly {
    /// What is charged is what is held, for each source and over all, and within the bounds.
    fn check(&self) {
        for source in self.sources.values() {
            assert_eq!(source.charged, source.open.values().map(Open::charge).sum::<usize>());
            assert!(!source.open.is_empty() && source.open.len() <= self.limits.source_streams);
            // An allocator may round up what was asked for.
            assert!(source.charged <= self.limits.source_bytes + 64, "{} bytes", source.charged);
        }
        assert_eq!(self.charged, self.sources.values().map(|source| source.charged).sum::<usize>());
        assert!(self.charged <= self.limits.total_bytes + 64);
    }
}

/// One honest payload: its source, length, and piece size.
fn honest() -> impl Strategy<Value = (u64, usize, usize)> {
    (16..20u64, 0..3000usize, 1..700usize)
}

/// Anything a hostile world can write.
fn hostile() -> impl Strategy<Value = (Header, Vec<u8>)> {
    let kind = prop_oneof![8 => Just(Kind::Message), 1 => Just(Kind::Request), 1 => Just(Kind::Reply)];
    let offset = prop_oneof![4 => Just(0), 2 => 0..3000u64, 1 => any::<u64>()];
    let bytes = prop_oneof![8 => 0..400usize, 1 => Just(7000), 1 => Just(30_000)];
    (kind, any::<bool>(), 0..6u32, offset, bytes, prop_oneof![Just(MARK), Just(0)]).prop_map(
        |(kind, more, stream, offset, bytes, mark)| {
            let flags = if more { FLAG_MORE } else { 0 } | FLAG_PACKED;
            let mut payload = vec![0x66; bytes];
            if let Some(end) = payload.last_chunk_mut::<16>() {
                *end = Trailer { total: offset, is_broken_off: mark == 0 }.encode();
            }
            (
                Header { source: WorldId(66), flags, stream, tag: offset | mark, ..Header::new(kind, WorldId(99), 0) },
                payload,
            )
        },
    )
}

proptest! {
    /// Streams of several sources, their pieces interleaved in any way: each comes out as it went in, once, at its last piece.
    #[test]
    fn what_is_sent_in_pieces_arrives_whole(streams in prop::collection::vec(honest(), 1..12), order in prop::collection::vec(any::<prop::sample::Index>(), 400)) {
        let mut assembly = Assembly::default();
        let mut senders: Vec<_> = streams.iter().enumerate().map(|(n, (source, length, size))| {
            let last = last_header(WorldId(*source), Kind::Request, n as u64);
            (n, pieces(&last, n as u32 + 1, &payload(n, *length), *size))
        }).collect();
        let mut order = order.into_iter().cycle();
        while !senders.is_empty() {
            let at = order.next().unwrap().index(senders.len());
            let (n, queue) = &mut senders[at];
            let (n, (header, bytes), is_last) = (*n, queue.pop_front().unwrap(), queue.is_empty());
            let outcome = assembly.push(&header, &bytes);
            assembly.check();
            match is_last {
                false => prop_assert_eq!(outcome, Outcome::Gathered),
                true => {
                    let whole = payload(n, streams[n].1);
                    let header = Header { length: whole.len() as u32, ..last_header(WorldId(streams[n].0), Kind::Request, n as u64) };
                    prop_assert_eq!(outcome, Outcome::Whole(header, whole));
                    senders.remove(at);
                }
            }
        }
        prop_assert_eq!((assembly.charged, assembly.sources.len()), (0, 0));
    }

    /// A hostile source writes anything between the pieces of honest ones, which stay below their share: the bounds hold, and
    /// the honest lose nothing.
    #[test]
    fn a_hostile_source_uses_up_its_own_share(
        lengths in prop::collection::vec(0..3000usize, 2),
        attacks in prop::collection::vec(prop::collection::vec(hostile(), 0..6), 30),
    ) {
        let mut assembly = Assembly::default();
        assembly.set_limits(SMALL);
        let mut queues: Vec<_> = lengths.iter().enumerate().map(|(n, length)| {
            pieces(&last_header(WorldId(16 + n as u64), Kind::Message, 0), 1, &payload(n, *length), 100)
        }).collect();
        let mut attacks = attacks.into_iter().cycle();
        while queues.iter().any(|queue| !queue.is_empty()) {
            for (n, queue) in queues.iter_mut().enumerate() {
                for (header, bytes) in attacks.next().unwrap() {
                    match assembly.push(&header, &bytes) {
                        Outcome::Whole(header, bytes) => prop_assert_eq!((header.source, header.length as usize), (WorldId(66), bytes.len())),
                        Outcome::Gathered | Outcome::Lost => {}
                    }
                    assembly.check();
                }
                let Some((header, bytes)) = queue.pop_front() else { continue };
                let outcome = assembly.push(&header, &bytes);
                assembly.check();
                if queue.is_empty() {
                    prop_assert!(matches!(outcome, Outcome::Whole(_, whole) if whole == payload(n, lengths[n])));
                }
            }
        }
        assembly.forget(WorldId(66));
        prop_assert_eq!((assembly.charged, assembly.sources.len()), (0, 0));
    }

    /// Pieces that are lost on the way: no payload comes out that has a gap.
    #[test]
    fn a_gap_is_noticed(length in 200..3000usize, lost in any::<prop::sample::Index>()) {
        let mut assembly = Assembly::default();
        let mut made = pieces(&last_header(WorldId(16), Kind::Reply, 0), 1, &payload(0, length), 100);
        made.remove(lost.index(made.len() - 1));
        let outcomes: Vec<_> = made.iter().map(|(header, bytes)| assembly.push(header, bytes)).collect();
        prop_assert_eq!(outcomes.last(), Some(&Outcome::Lost));
        prop_assert!(outcomes[..outcomes.len() - 1].iter().all(|outcome| *outcome == Outcome::Gathered));
        prop_assert_eq!(assembly.charged, 0);
    }
}

#[test]
fn a_stream_without_end_is_given_up_and_costs_nothing_more() {
    let mut assembly = Assembly::default();
    assembly.set_limits(SMALL);
    let header = last_header(WorldId(16), Kind::Message, 0);
    let made = pieces(&header, 1, &payload(0, 100_000), 1000);
    for (header, bytes) in made.range(..made.len() - 1) {
        assert_eq!(assembly.push(header, bytes), Outcome::Gathered);
        assembly.check();
    }
    assert_eq!((assembly.charged, assembly.sources.len()), (0, 0));
    // Its end says once that it is lost; the next stream of that source is gathered.
    let (last, bytes) = made.back().unwrap();
    assert_eq!(assembly.push(last, bytes), Outcome::Lost);
    let next = pieces(&header, 2, &payload(1, 3000), 1000);
    let outcomes: Vec<_> = next.iter().map(|(header, bytes)| assembly.push(header, bytes)).collect();
    assert!(matches!(outcomes.last(), Some(Outcome::Whole(_, whole)) if *whole == payload(1, 3000)));
}

#[test]
fn of_ten_thousand_open_streams_the_last_few_are_kept() {
    let mut assembly = Assembly::default();
    for stream in 1..=10_000 {
        let first = piece(&last_header(WorldId(16), Kind::Message, 0), stream, 0, 100);
        assembly.push(&Header { source: WorldId(16), ..first }, &[1; 100]);
        assembly.check();
    }
    assert_eq!(assembly.sources[&WorldId(16)].open.len(), 64);
    assert!(assembly.is_open(WorldId(16), 10_000) && !assembly.is_open(WorldId(16), 9936));
}

#[test]
fn who_sends_what_comes_to_nothing_is_told_of_now_and_then() {
    let header = last_header(WorldId(16), Kind::Message, 0);
    let attacks: [fn(u32) -> (u32, u64); 3] = [|_| (1, 1000), |_| (1, 0), |n| (n + 1, 0)];
    for attack in attacks {
        let mut assembly = Assembly::default();
        let outcomes = (0..10_000).map(|n| {
            let (stream, before) = attack(n);
            assembly.push(&Header { source: WorldId(16), ..piece(&header, stream, before, 100) }, &[1; 100])
        });
        let told = outcomes.filter(|outcome| *outcome == Outcome::Lost).count();
        assert!((38..=39).contains(&told), "{told} times");
    }
}

#[test]
fn a_number_that_is_used_again_begins_anew() {
    let mut assembly = Assembly::default();
    let header = last_header(WorldId(16), Kind::Message, 0);
    let (first, bytes) = pieces(&header, 1, &payload(0, 300), 100).pop_front().unwrap();
    assembly.push(&first, &bytes);
    let outcomes: Vec<_> = pieces(&header, 1, &payload(1, 250), 100).iter().map(|(h, b)| assembly.push(h, b)).collect();
    assert!(matches!(outcomes.last(), Some(Outcome::Whole(_, whole)) if *whole == payload(1, 250)));
}

#[test]
fn requests_and_replies_that_claim_to_be_pieces_are_lost_at_once() {
    let mut assembly = Assembly::default();
    for kind in [Kind::Request, Kind::Reply] {
        let claim = Header { flags: FLAG_MORE, stream: 1, ..last_header(WorldId(16), kind, MARK) };
        assert_eq!(assembly.push(&claim, b"x"), Outcome::Lost);
    }
    assert_eq!(assembly.charged, 0);
}

#[test]
fn lower_limits_let_go_what_is_beyond_them() {
    let mut assembly = Assembly::default();
    for source in 16..20 {
        let first = piece(&last_header(WorldId(source), Kind::Message, 0), 1, 0, 4000);
        assembly.push(&Header { source: WorldId(source), ..first }, &[1; 4000]);
    }
    assembly.set_limits(AssemblyLimits { total_bytes: 10_000, ..SMALL });
    assembly.check();
    assert_eq!(assembly.sources.len(), 2);
    assembly.set_limits(AssemblyLimits { source_bytes: 0, ..SMALL });
    assert_eq!((assembly.charged, assembly.sources.len()), (0, 0));
}
