//! The switch under a script: honest worlds, hostile ones, and an oracle that knows what must become of each record.
//!
//! Everything happens on one thread, over real slices, in the order of the script; the clock stands still until the script
//! moves it. The same body runs under proptest (`tests.rs`) and under the fuzzer (`fuzz/`). With the feature `racing`, hostile
//! worlds write *between* any two reads of the switch.
//!
//! What is claimed, whatever the hostile worlds do:
//! - a record between honest worlds is delivered once, in order, as it was sent, or its sender is told, once, for a reason that is so;
//! - a lossless subscriber gets all that is published, in order, another one the newest, and each knows how much it missed;
//! - a request ends exactly once; nothing comes from a world after the notice of its death;
//! - no honest world is called corrupt; no record has a source but its own; policy holds;
//! - nothing reaches an inbox that isn't for it;
//! - what is sent to a group is delivered to one of its members; again only if its sender said so, and only when the one that had it is dead;
//! - the next life of a world gets what the last one hadn't read, and nothing that was for that one alone: no answer, no notice of its requests;
//! - what is sent to an old version goes to the new one, answers to who asked;
//! - what the switch holds is charged, and within the budgets;
//! - each step ends, the switch comes to rest, and nobody sleeps on what has arrived.

mod audit;
mod balance;
mod entries;
mod heirs;
mod honest;
mod hostile;
mod ledger;
mod mark;
mod operation;
mod race;
mod stage;
#[cfg(test)]
mod tests;
mod topics;

pub use operation::{Act, Operation, operations};

use crate::link::Command;
use crate::switch::clock::hands;
use mark::MAX_WORLDS;
use stage::{ALL, GROUP, HONEST, Party, Stage};
use std::time::Duration;
use strait_protocol::wait::{Event, Via};
use strait_protocol::{FLAG_MORE, FLAG_REPEATABLE, FLAG_RETAIN, Header, Kind, SliceSize, WorldId};
use topics::TOPICS;

/// Plays a script and judges it. Panics where the switch breaks a promise.
pub fn play(script: &[Operation]) {
    let mut play = Play { stage: Stage::new(), asked: 0 };
    for operation in script {
        play.step(operation);
    }
    play.end();
}

/// The largest payload that a script can ask for: more than any inbox takes.
const MAX_PAYLOAD: u16 = 20_000;
/// Streams that a world may have under way.
const STREAMS: u8 = 3;
/// What is longer than every timeout of a script.
const ALL_TIMEOUTS: Duration = Duration::from_secs(1000);

struct Play {
    stage: Stage,
    /// Requests that were made: the correlation of the last.
    asked: u64,
}

impl Play {
    fn step(&mut self, operation: &Operation) {
        let honest = |seat: u8| usize::from(seat) % HONEST;
        let hostile = |seat: u8| HONEST + usize::from(seat) % (ALL - HONEST);
        match *operation {
            Operation::Send { from, to, bytes } => {
                self.put(honest(from), Kind::Message, &[self.target(to)], bytes, |_| {});
            }
            Operation::Request { from, to, bytes, seconds } => self.ask(honest(from), self.target(to), bytes, seconds),
            Operation::Reply { from, which, bytes } => self.answer(honest(from), which, Kind::Reply, bytes),
            Operation::Piece { from, which, bytes } => self.answer(honest(from), which, Kind::Message, bytes),
            Operation::Multicast { from, to, bytes } => self.multicast(honest(from), to, bytes),
            Operation::Publish { from, topic, bytes, retain } => {
                let topic = TOPICS[usize::from(topic) % TOPICS.len()];
                let flags = if retain { FLAG_RETAIN } else { 0 };
                self.put(honest(from), Kind::Message, &[topic], bytes, |header| header.flags = flags);
            }
            Operation::Open { who, topic } => self.open(who, topic),
            Operation::Leave { who, topic, withdraws } => self.leave(who, topic, withdraws),
            Operation::Subscribe { who, topic, how } => self.subscribe(who, topic, how),
            Operation::Unsubscribe { who, which } => self.unsubscribe(who, which),
            Operation::Feed { from, stream, bytes, is_last } => self.feed(honest(from), stream, bytes, is_last),
            Operation::Join { who } => self.stage.join(usize::from(who) % ALL),
            Operation::Quit { who } => self.stage.leave(usize::from(who) % ALL),
            Operation::Tap { who, how } => self.tap(honest(who), how),
            Operation::Receive { who, records } => drop(self.receive(honest(who), usize::from(records))),
            Operation::Release { who } => self.release(honest(who)),
            Operation::Sleep { who, how } => self.sleep(honest(who), how),
            Operation::Die { who } => self.stage.detach(usize::from(who) % ALL),
            Operation::Renew { who, gives_back } => self.stage.renew(usize::from(who) % ALL, gives_back),
            Operation::Forward { from, to } => self.stage.forward(usize::from(from) % ALL, usize::from(to) % ALL),
            Operation::Return { who } => self.stage.attach(usize::from(who) % ALL, MAX_WORLDS - HONEST),
            Operation::Act { who, act } => self.stage.act(hostile(who), &act),
            Operation::Race { who, after, act } => self.stage.race(hostile(who), after, act),
            Operation::Pass => drop(self.stage.pass()),
            Operation::Settle => drop(self.stage.settle()),
            Operation::Time { seconds } => {
                hands::advance(Duration::from_secs(seconds.into()));
                self.stage.look_at_clock();
            }
        }
        let ring_bytes = u64::from(SliceSize::MIN.ring_bytes());
        let told = self.asked + self.stage.given_back * ring_bytes / u64::from(Header::BYTES);
        audit::check(&self.stage.switch, told, ring_bytes);
    }

    fn target(&self, to: u8) -> WorldId {
        self.stage.id(usize::from(to) % (ALL + 3))
    }

    /// The honest world at a seat, if it is there and up.
    fn awake(&mut self, seat: usize) -> Option<&mut honest::Honest> {
        match &mut self.stage.parties[seat] {
            Party::Honest(party) => party.is_up().then_some(party),
            _ => None,
        }
    }

    // --- what honest worlds do ---

    fn put(&mut self, seat: usize, kind: Kind, to: &[WorldId], bytes: u16, finish: impl FnOnce(&mut Header)) {
        let (from, bytes) = (self.stage.worlds[seat], u32::from(bytes % MAX_PAYLOAD));
        let Some((mut header, payload)) = self.stage.ledger.next(from, kind, to, bytes) else { return };
        finish(&mut header);
        if self.awake(seat).is_some_and(|party| party.put(&header, &payload)) {
            self.stage.ledger.write_down(from, header, to, bytes, hands::now());
        }
    }

    fn ask(&mut self, seat: usize, to: WorldId, bytes: u16, seconds: u8) {
        self.asked += 1;
        let correlation = self.asked;
        self.put(seat, Kind::Request, &[to], bytes, |header| {
            (header.correlation, header.timeout_ms) = (correlation, u32::from(seconds) * 1000);
            header.flags = if seconds % 2 == 1 { FLAG_REPEATABLE } else { 0 };
        });
    }

    /// One piece of a stream to the group.
    fn feed(&mut self, seat: usize, stream: u8, bytes: u16, is_last: bool) {
        self.put(seat, Kind::Message, &[GROUP], bytes, |header| {
            header.stream = u32::from(stream % STREAMS) + 1;
            header.flags = if is_last { 0 } else { FLAG_MORE };
        });
    }

    /// Answers a request that was read, whether or not it is still open: with a reply, or with a message that is a piece of one.
    fn answer(&mut self, seat: usize, which: u8, kind: Kind, bytes: u16) {
        let asked = &self.stage.ledger.worlds[self.stage.worlds[seat]].asked;
        if let Some(request) = asked.get(usize::from(which) % asked.len().max(1)).copied() {
            self.put(seat, kind, &[request.source], bytes, |header| {
                header.correlation = request.correlation;
                header.flags = if kind == Kind::Reply { 0 } else { FLAG_MORE };
            });
        }
    }

    fn multicast(&mut self, seat: usize, to: u8, bytes: u16) {
        let mut seats: Vec<usize> = (0..ALL).filter(|seat| to >> seat & 1 == 1).collect();
        seats.extend((to >> 7 == 1).then_some(ALL + 1));
        let to: Vec<WorldId> = seats.into_iter().map(|seat| self.stage.id(seat)).collect();
        if MULTICAST {
            self.put(seat, Kind::Multicast, &to, bytes, |_| {});
        }
    }

    // --- what the control service says of topics ---

    /// Who sits at a seat, and a topic that it may have to do with.
    fn concerned(&self, who: u8, topic: u8) -> (usize, WorldId) {
        let seat = usize::from(who) % ALL;
        let topics = if seat < HONEST { &TOPICS[..] } else { &TOPICS[..1] };
        (self.stage.worlds[seat], topics[usize::from(topic) % topics.len()])
    }

    fn open(&mut self, who: u8, topic: u8) {
        let (world, topic) = self.concerned(who, topic);
        let publisher = self.stage.ledger.worlds[world].id.0;
        if self.stage.ledger.worlds[world].is_alive {
            self.stage.ledger.opens(world, topic);
            self.stage.command(&Command::OpenTopic { topic: topic.0 as u32, publisher });
        }
    }

    fn leave(&mut self, who: u8, topic: u8, withdraws: bool) {
        let (world, topic) = self.concerned(who, topic);
        let (number, publisher) = (topic.0 as u32, self.stage.ledger.worlds[world].id.0);
        self.stage.ledger.leaves(world, topic);
        self.stage.command(&Command::LeaveTopic { topic: number, publisher });
        if withdraws {
            self.stage.ledger.withdraws(world, topic);
            self.stage.command(&Command::Withdraw { topic: number, publisher });
        }
    }

    fn subscribe(&mut self, who: u8, topic: u8, how: u8) {
        let (world, topic) = self.concerned(who, topic);
        // The control service matches subscriptions with topics that are open.
        if self.stage.ledger.worlds[world].is_alive && self.stage.ledger.is_open(topic) {
            let subscriptions = vec![self.stage.ledger.subscribes(world, topic, how)];
            self.stage.command(&Command::Subscribe { subscriptions, topics: vec![topic.0 as u32] });
        }
    }

    fn unsubscribe(&mut self, who: u8, which: u8) {
        let (world, _) = self.concerned(who, 0);
        if let Some(number) = self.stage.ledger.unsubscribes(world, which) {
            let world = self.stage.ledger.worlds[world].id.0;
            self.stage.command(&Command::Unsubscribe { world, number });
        }
    }

    fn tap(&mut self, seat: usize, how: u8) {
        let world = &self.stage.ledger.worlds[self.stage.worlds[seat]];
        if world.is_alive {
            let tapper = world.id.0;
            self.stage.command(&match how & 2 {
                0 => Command::Tap { tapper, pattern: "*".into(), payload: how & 1 == 1 },
                _ => Command::Untap { tapper },
            });
        }
    }

    /// Reads up to so many records. Says how many there were.
    fn receive(&mut self, seat: usize, at_most: usize) -> usize {
        let me = self.stage.worlds[seat];
        for read in 0..at_most {
            let Some((header, payload)) = self.awake(seat).and_then(honest::Honest::read) else { return read };
            self.stage.ledger.judge(me, &header, &payload, hands::now());
        }
        at_most
    }

    fn release(&mut self, seat: usize) {
        if let Some(party) = self.awake(seat) {
            party.release();
        }
    }

    fn sleep(&mut self, seat: usize, how: u8) {
        let until = [Event::DATA, Event::DATA, Event::ROOM, Event::ANY][usize::from(how % 4)];
        let via = if how & 4 == 0 { Via::Futex } else { Via::Fd };
        if let Some(party) = self.awake(seat) {
            party.sleep(until, via);
        }
    }

    // --- the end ---

    /// Everything comes to its end: first beside the hostile worlds, then without them, then past every deadline.
    fn end(mut self) {
        self.stage.races.forget();
        self.finish();
        // So that what waits for the group comes to an end, whoever sent it.
        for seat in 0..HONEST {
            self.stage.attach(seat, MAX_WORLDS);
            self.stage.join(seat);
        }
        (HONEST..ALL).for_each(|seat| self.stage.detach(seat));
        self.finish();
        // What was repeatable and has ended makes room for what waited in outboxes, whose time begins with that.
        let mut open = usize::MAX;
        while std::mem::replace(&mut open, self.stage.ledger.open_requests()) > open {
            hands::advance(ALL_TIMEOUTS);
            self.stage.look_at_clock();
            self.finish();
        }
        self.stage.ledger.is_balanced();
        self.stage.is_empty();
    }

    /// Until nothing moves any more: the switch works until it would sleep, the honest worlds read all they have.
    fn finish(&mut self) {
        loop {
            self.stage.come_to_rest();
            let mut read = 0;
            for seat in 0..HONEST {
                if let Party::Honest(party) = &mut self.stage.parties[seat] {
                    assert!(!party.has_overslept(), "the world at seat {seat} was not rung");
                    party.wake();
                    read += self.receive(seat, usize::MAX);
                    self.release(seat);
                }
            }
            if read == 0 {
                return;
            }
        }
    }
}

/// Whether the switch takes multicast records.
const MULTICAST: bool = true;
