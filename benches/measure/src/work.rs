//! What each party does with its end: written once, for every peer.

use crate::credit::{Account, Grants};
use crate::{End, Figures, Kind, Message, Outcome, Peer, Seat, check, clock, round_trips};
use serde::{Deserialize, Serialize};
use std::time::{Duration, Instant};

/// What a party has to say at its end.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Report {
    /// Processor time from the starting shot on.
    pub cpu_us: f64,
    /// When the first and the last message were received, by the clock that all processes share.
    pub span_ns: Option<(u64, u64)>,
    pub figures: Figures,
}

/// Opens the seat's end, says through `ready` that it is there, and does the party's part once that returns.
pub fn perform<P: Peer>(seat: &Seat, ready: impl FnOnce() -> Outcome<()>) -> Outcome<Report> {
    match (seat.load.kind, seat.is_sender()) {
        (Kind::Connect, true) => connect::<P>(seat, ready),
        (Kind::Idle, _) => idle::<P>(seat, ready),
        _ => talk::<P>(seat, ready),
    }
}

fn talk<P: Peer>(seat: &Seat, ready: impl FnOnce() -> Outcome<()>) -> Outcome<Report> {
    let mut end = P::open(seat)?;
    let needs_credit = seat.load.kind.is_stream() && <P::End as End>::needs_credit(seat.load.kind);
    let (mut account, mut grants) = (None, None);
    if needs_credit && seat.is_sender() {
        account = Some(Account::open(&seat.dir, seat.load.bytes, seat.load.receivers)?);
    } else if needs_credit {
        grants = Some(Grants::open(&seat.dir, seat.load.bytes, seat.index - 1)?);
    }
    ready()?;
    let before_ns = clock::spent_ns();
    let mut report = match (seat.load.kind, seat.is_sender()) {
        (Kind::RoundTrip, true) => ping(&mut end, seat)?,
        (Kind::RoundTrip | Kind::Connect, _) => echo(&mut end, seat)?,
        (_, true) => send(&mut end, seat, account)?,
        (_, false) => take(&mut end, seat, grants.as_ref())?,
    };
    report.cpu_us = spent_us(before_ns);
    // Some libraries take what isn't delivered yet with them when they close: everyone stays until it is told to go.
    std::mem::forget(end);
    Ok(report)
}

fn spent_us(since_ns: u64) -> f64 {
    (clock::spent_ns() - since_ns) as f64 / 1000.0
}

fn message(seat: &Seat, number: u64) -> Message {
    Message { number, bytes: seat.load.bytes }
}

fn there_and_back(end: &mut impl End, message: Message) -> Outcome<()> {
    end.send(message)?;
    end.flush()?;
    end.receive(|payload| check(payload, message))
}

fn ping(end: &mut impl End, seat: &Seat) -> Outcome<Report> {
    let warm_up = seat.load.warm_up();
    for number in 0..warm_up {
        there_and_back(end, message(seat, number))?;
    }
    let mut times: Vec<Duration> = Vec::with_capacity(seat.load.count as usize);
    for number in warm_up..warm_up + seat.load.count {
        let start = Instant::now();
        there_and_back(end, message(seat, number))?;
        times.push(start.elapsed());
    }
    Ok(Report { figures: round_trips(times), ..Report::default() })
}

/// Answers every message with a new one of the same number.
fn echo(end: &mut impl End, seat: &Seat) -> Outcome<Report> {
    let rounds = seat.load.count + seat.load.warm_up();
    for number in 0..rounds {
        let expected = message(seat, number);
        end.receive(|payload| check(payload, expected))?;
        end.send(expected)?;
        end.flush()?;
    }
    Ok(Report::default())
}

fn send(end: &mut impl End, seat: &Seat, mut account: Option<Account>) -> Outcome<Report> {
    for number in 0..seat.load.count {
        if let Some(account) = account.as_mut().filter(|account| account.is_spent(number)) {
            end.flush()?;
            account.wait(number)?;
        }
        end.send(message(seat, number))?;
    }
    end.flush()?;
    Ok(Report::default())
}

fn take(end: &mut impl End, seat: &Seat, grants: Option<&Grants>) -> Outcome<Report> {
    let mut first_ns = 0;
    for number in 0..seat.load.count {
        end.receive(|payload| check(payload, message(seat, number)))?;
        if number == 0 {
            first_ns = clock::now_ns();
        }
        if let Some(grants) = grants {
            grants.took(number + 1);
        }
    }
    Ok(Report { span_ns: Some((first_ns, clock::now_ns())), ..Report::default() })
}

/// Opens again and again: each time from nothing to the first answer. Closing isn't timed.
fn connect<P: Peer>(seat: &Seat, ready: impl FnOnce() -> Outcome<()>) -> Outcome<Report> {
    ready()?;
    let before_ns = clock::spent_ns();
    let warm_up = seat.load.warm_up();
    let mut times = Vec::new();
    for number in 0..seat.load.count + warm_up {
        let start = Instant::now();
        let mut end = P::open(seat)?;
        there_and_back(&mut end, message(seat, number))?;
        times.push(start.elapsed());
    }
    let mut figures = round_trips(times.split_off(warm_up as usize));
    figures.retain(|(name, _)| name == "mean_us" || name == "p50_us");
    Ok(Report { cpu_us: spent_us(before_ns), figures, ..Report::default() })
}

/// Opens one end before the shot, so that what the middle keeps once is there already, and the idle ones after it.
fn idle<P: Peer>(seat: &Seat, ready: impl FnOnce() -> Outcome<()>) -> Outcome<Report> {
    let at = |index| Seat { index, ..seat.clone() };
    let first = P::open(&at(0))?;
    ready()?;
    let mut ends = Vec::new();
    for index in 1..=seat.load.count as usize {
        ends.push(P::open(&at(index))?);
    }
    std::mem::forget((first, ends));
    Ok(Report::default())
}
