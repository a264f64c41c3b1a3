//! The soak, for as long as one likes: `cargo xtask soak`.

use clap::Parser;
use std::io::{IsTerminal, Write};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant, SystemTime};
use strait_tests::bombs;
use strait_tests::mix::{self, Measured};
use strait_tests::soak::{Outcome, Plan, Progress, run};

#[derive(Parser)]
#[command(name = "cargo xtask soak", about = "Many worlds that send, pause, die, while everything is accounted for")]
struct Args {
    /// How long
    #[arg(long, default_value_t = 10.0, value_name = "N")]
    minutes: f64,
    /// How many worlds at a time
    #[arg(long, default_value_t = 50, value_name = "N")]
    worlds: usize,
    /// The choices of an earlier run again; who comes first is up to the scheduler
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Instead: two honest worlds among misbehaving ones, and what they feel of it
    #[arg(long)]
    mix: bool,
    /// Instead: an honest pair beside worlds that take all they can, and what it feels of it; of these kinds (all of them)
    #[arg(long, conflicts_with = "mix", value_name = "KIND", num_args = 0.., value_parser = bombs::KINDS)]
    bombs: Option<Vec<String>>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let result = match &args {
        Args { mix: true, .. } => mixed(&args),
        Args { bombs: Some(kinds), .. } => bombed(&args, kinds),
        _ => soak(&args),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("soak: {error}");
            ExitCode::from(2)
        }
    }
}

fn soak(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let is_over = Arc::new(AtomicBool::new(false));
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, is_over.clone())?;
    }
    let seed = seed(args);
    let plan = Plan { time: time(args)?, worlds: args.worlds.max(2), seed };
    println!("{} worlds for {:.0} s, seed {seed}", plan.worlds, plan.time.as_secs_f64());
    let mut screen = Screen::new();
    let outcome = run(&plan, |progress| {
        screen.show(progress);
        !is_over.load(Ordering::Relaxed)
    });
    screen.clear();
    let outcome = outcome?;
    print(&outcome);
    Ok(outcome.complaints().is_empty())
}

fn seed(args: &Args) -> u64 {
    let clock = || SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |time| time.as_secs());
    args.seed.unwrap_or_else(clock)
}

fn time(args: &Args) -> Result<Duration, Box<dyn std::error::Error>> {
    Ok(Duration::try_from_secs_f64(args.minutes * 60.0)?)
}

/// The time is for four measurements.
fn mixed(args: &Args) -> Result<bool, Box<dyn std::error::Error>> {
    let (seed, time) = (seed(args), time(args)? / 4);
    println!(
        "an honest pair, {} bytes there and back, for {:.0} s each, seed {seed}",
        mix::TRIP_BYTES,
        time.as_secs_f64()
    );
    let outcome = mix::run(time, seed)?;
    head();
    row("alone", &outcome.alone);
    row("beside as many worlds that only burn time", &outcome.burdened);
    row("among a flooder, a bell ringer and a deaf", &outcome.pestered);
    row("and with scribblers, one after the other", &outcome.disturbed);
    let shares: Vec<String> = outcome.shares.iter().map(|(name, share)| format!("{name} {share:.2}")).collect();
    println!("processors, among the misbehaving: {}", shares.join(", "));
    let (start, most) = (outcome.switch.start.own_kib, outcome.switch.most.own_kib);
    println!("memory of the switch in KiB: own {start} at the start, {most} at most");
    println!(
        "{} of {} scribblers quarantined; the flooder's sink got {} messages; every round trip was right",
        outcome.quarantined, outcome.scribblers, outcome.flooded
    );
    Ok(true)
}

fn head() {
    println!("{:<44} {:>9} {:>9} {:>9} {:>10}", "", "trips", "p50 us", "p99 us", "longest us");
}

fn row(name: &str, measured: &Measured) {
    let Measured { trips, p50_us, p99_us, longest_us } = measured;
    println!("{name:<44} {trips:>9} {p50_us:>9.1} {p99_us:>9.1} {longest_us:>10.1}");
}

/// The time is for two tables, each with one measurement alone, and two beside each bomb.
fn bombed(args: &Args, kinds: &[String]) -> Result<bool, Box<dyn std::error::Error>> {
    let all = bombs::KINDS.map(String::from);
    let kinds = if kinds.is_empty() { &all } else { kinds };
    let time = time(args)? / (2 * (1 + 2 * kinds.len() as u32));
    println!("{} bytes there and back, for {:.1} s each", mix::TRIP_BYTES, time.as_secs_f64());
    println!("\nan honest pair of worlds");
    beside_bombs(bombs::Pair::new(), kinds, time)?;
    println!("\ntwo processes of one world over a seqpacket socket: what the machine itself allows");
    beside_bombs(bombs::Pair::with_sockets(), kinds, time)?;
    Ok(true)
}

fn beside_bombs(mut pair: bombs::Pair, kinds: &[String], time: Duration) -> Result<(), Box<dyn std::error::Error>> {
    head();
    let alone = pair.alone(time)?;
    row("alone", &alone);
    let mut worst: f64 = 0.0;
    for kind in kinds {
        let felt = pair.beside(kind, time)?;
        row(&format!("beside a bomb: {kind}, from its start on"), &felt.first);
        row("  and then", &felt.then);
        let times = |measured: &Measured| measured.p99_us / alone.p99_us;
        println!("  p99 {:.2} times what it was alone, and then {:.2} times", times(&felt.first), times(&felt.then));
        worst = worst.max(times(&felt.then));
    }
    println!(
        "p99 at most {worst:.2} times what it was alone ({:.1} us), once a bomb has run for a while",
        alone.p99_us
    );
    Ok(())
}

/// A line that is written over, on a terminal; else one every minute.
struct Screen {
    is_terminal: bool,
    next: Instant,
}

impl Screen {
    fn new() -> Self {
        Self { is_terminal: std::io::stderr().is_terminal(), next: Instant::now() }
    }

    fn show(&mut self, progress: &Progress) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_millis(if self.is_terminal { 500 } else { 60_000 });
        let line = line(progress);
        let mut err = std::io::stderr();
        // Nobody to show it to is no reason to stop.
        let _ = if self.is_terminal { write!(err, "\r{line}\x1b[K") } else { writeln!(err, "{line}") };
        let _ = err.flush();
    }

    fn clear(&self) {
        if self.is_terminal {
            eprint!("\r\x1b[K");
        }
    }
}

fn line(progress: &Progress) -> String {
    let Progress { elapsed, worlds, deaths, tally, switch, wrong } = progress;
    let seconds = elapsed.as_secs_f64();
    format!(
        "{seconds:.0} s: {worlds} worlds, {deaths} deaths, {} received ({:.0}/s), {:.1} GB, switch {:.1} MiB, {} wrong",
        tally.received,
        tally.received as f64 / seconds.max(1.0),
        tally.received_bytes as f64 / 1e9,
        switch.end.own_kib as f64 / 1024.0,
        wrong.len()
    )
}

fn print(outcome: &Outcome) {
    let Progress { tally, switch, .. } = &outcome.progress;
    println!("{}", line(&outcome.progress));
    println!(
        "sent {} ({:.1} GB), received {} ({:.1} GB), given up for want of room {}",
        tally.sent,
        tally.sent_bytes as f64 / 1e9,
        tally.received,
        tally.received_bytes as f64 / 1e9,
        tally.given_up
    );
    println!(
        "requests {}: {} answered, {} past their deadline, {} otherwise; messages returned by the dead {}",
        tally.requests, tally.replied, tally.overdue, tally.unanswered, tally.returned
    );
    println!(
        "memory of the switch in KiB: own {} at the start, {} at most ({} allowed), {} at the end; shared {} at most",
        switch.start.own_kib,
        switch.most.own_kib,
        switch.start.own_kib + outcome.bound_kib,
        switch.end.own_kib,
        switch.most.shared_kib
    );
    let complaints = outcome.complaints();
    complaints.iter().for_each(|what| println!("wrong: {what}"));
    println!("{}", if complaints.is_empty() { "all accounted for" } else { "NOT all accounted for" });
}
