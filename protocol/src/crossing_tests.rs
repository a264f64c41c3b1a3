//! Every interleaving of a sender that changes ways, a switch that is as slow as it likes, and a receiver that looks where it likes.

use super::*;
use std::collections::HashSet;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Record {
    Data(u8),
    Open,
    Close(u64),
    End,
}

/// What the sender appends where, in this order. Places are counted in records.
#[derive(Clone, Copy, Debug)]
enum Step {
    Switch(Record),
    Link(Record),
}

/// The steps of a sender whose records go by the link where `script` says so, and which ends the link, with END or without.
fn steps(script: u32, records: u8, ends_with_end: bool) -> Vec<Step> {
    let (mut steps, mut is_direct, mut place) = (Vec::new(), false, 0);
    for n in 0..records {
        let by_link = script >> n & 1 == 1;
        if by_link && !is_direct {
            steps.push(Step::Switch(Record::Open));
        }
        if !by_link && is_direct {
            place += 1;
            steps.extend([Step::Link(Record::End), Step::Switch(Record::Close(place))]);
        }
        is_direct = by_link;
        place += u64::from(by_link);
        steps.push(if by_link { Step::Link(Record::Data(n)) } else { Step::Switch(Record::Data(n)) });
    }
    if is_direct {
        place += u64::from(ends_with_end);
        steps.extend(ends_with_end.then_some(Step::Link(Record::End)));
        steps.push(Step::Switch(Record::Close(place)));
    }
    steps
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct State {
    /// Steps the sender has done.
    sent: usize,
    /// Records that the switch has moved, and that the receiver has read.
    moved: usize,
    read_inbox: usize,
    read_link: usize,
    got: u8,
    crossing: Crossing,
}

struct World {
    steps: Vec<Step>,
    records: u8,
}

impl World {
    fn by_switch(&self, sent: usize) -> Vec<Record> {
        self.steps[..sent]
            .iter()
            .filter_map(|step| if let Step::Switch(record) = step { Some(*record) } else { None })
            .collect()
    }

    fn by_link(&self, sent: usize) -> Vec<Record> {
        self.steps[..sent]
            .iter()
            .filter_map(|step| if let Step::Link(record) = step { Some(*record) } else { None })
            .collect()
    }

    fn take(&self, state: &mut State, record: Record, published: u64) {
        match record {
            Record::Data(n) => {
                assert_eq!(n, state.got, "out of order: {:?}", self.steps);
                state.got += 1;
            }
            Record::Open => state.crossing.open(),
            Record::Close(place) => state.crossing.close(place, state.read_link as u64, published).unwrap(),
            Record::End => state.crossing.end(),
        }
    }

    /// Every state that can come next.
    fn next(&self, state: State) -> Vec<State> {
        let (inbox, link) = (self.by_switch(state.sent), self.by_link(state.sent));
        let mut next = Vec::new();
        if state.sent < self.steps.len() {
            next.push(State { sent: state.sent + 1, ..state });
        }
        if state.moved < inbox.len() {
            next.push(State { moved: state.moved + 1, ..state });
        }
        if state.crossing.may_read() && state.read_link < link.len() {
            let mut after = State { read_link: state.read_link + 1, ..state };
            after.crossing.read(after.read_link as u64);
            self.take(&mut after, link[state.read_link], link.len() as u64);
            next.push(after);
        }
        if !state.crossing.must_read() && state.read_inbox < state.moved {
            let mut after = State { read_inbox: state.read_inbox + 1, ..state };
            self.take(&mut after, inbox[state.read_inbox], link.len() as u64);
            next.push(after);
        }
        next
    }

    fn explore(&self) -> usize {
        let (mut seen, mut todo) = (HashSet::new(), vec![State::default()]);
        while let Some(state) = todo.pop() {
            if !seen.insert(state) {
                continue;
            }
            let next = self.next(state);
            if next.is_empty() {
                assert_eq!(state.got, self.records, "something is left: {state:?} {:?}", self.steps);
            }
            todo.extend(next);
        }
        seen.len()
    }
}

#[test]
#[cfg_attr(miri, ignore = "too many for Miri")]
fn every_interleaving_keeps_the_order_and_loses_nothing() {
    let mut states = 0;
    for records in 1..=7 {
        for script in 0..1 << records {
            for ends_with_end in [false, true] {
                states += World { steps: steps(script, records, ends_with_end), records }.explore();
            }
        }
    }
    assert!(states > 10_000, "{states}");
}

/// The positive control: a sender without END on the link is found out.
#[test]
#[should_panic]
fn without_end_the_order_is_lost() {
    let mut steps = steps(0b101, 3, false);
    for step in &mut steps {
        if let Step::Switch(Record::Close(place)) = step {
            *place = 1.min(*place);
        }
    }
    steps.retain(|step| !matches!(step, Step::Link(Record::End)));
    World { steps, records: 3 }.explore();
}

#[test]
fn places_that_cant_be_true_are_refused() {
    let mut crossing = Crossing::Open;
    assert_eq!(crossing.close(16, 32, 64), Err(FalsePlace));
    assert_eq!(crossing.close(80, 32, 64), Err(FalsePlace));
    assert_eq!(crossing.close(64, 32, 64), Ok(()));
    assert!(crossing.must_read());
    crossing.read(64);
    assert!(!crossing.may_read());
}
