//! strait beside what a user would pick instead: separate processes, payload written by the sender and read by the
//! receiver, peers interleaved in one run, medians and ratios.
//!
//! `cargo xtask bench [--quick] [--json FILE]`. Figures are of this machine and this run; the ratios carry further.
#![forbid(unsafe_code)]

use clap::Parser;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use strait_bench::{Contest, Heavy, Outcome, Program, Results, Selection, Table, plot, remove_all, role, this_starter};

/// Measures strait beside what a user would pick instead, all in one run
///
/// Separate processes; every message is written afresh by its sender and read to the last byte by its receiver; nothing is lost. Prints
/// medians, and their ratios to a Unix seqpacket socket.
#[derive(Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench", max_term_width = 120, after_help = AFTER)]
struct Options {
    /// Shorter runs, three repetitions, and only the peers that need nothing heavy built or installed
    #[arg(long)]
    quick: bool,
    /// Also write every figure of every repetition, as JSON lines
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Also draw the figures, as SVG files in this folder
    #[arg(long, value_name = "DIR")]
    plot: Option<PathBuf>,
    /// Repetitions; the table shows medians over them [default: 5, or 3 with --quick]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    reps: Option<u32>,
    /// About how long each run takes, in seconds [default: 1, or 0.25 with --quick]
    #[arg(long, value_name = "S")]
    seconds: Option<f64>,
    /// Only these workloads: rtt, oneway, fanout, connect, idle, spawn, spawn-paused-10, topics-10, topics-10000, watched, watched-1000000
    #[arg(long, value_name = "W", value_delimiter = ',')]
    workload: Vec<String>,
    /// Only these placements: free, same, cross
    #[arg(long, value_name = "P", value_delimiter = ',')]
    placement: Vec<String>,
    /// Only these peers (a wrong name lists them all)
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    peer: Vec<String>,
    /// Only these message sizes
    #[arg(long, value_name = "BYTES", value_delimiter = ',')]
    size: Vec<usize>,
    /// Also the loads that curves are drawn from: by size, by receivers, by idle worlds
    #[arg(long)]
    curves: bool,
    /// The program that plays the heavy peers; `cargo xtask bench` builds it
    #[arg(long, hide = true, value_name = "FILE")]
    heavy: Option<PathBuf>,
    /// The static program that is started again and again; `cargo xtask bench` builds it [default: this one, which isn't static]
    #[arg(long, hide = true, value_name = "FILE")]
    starter: Option<PathBuf>,
    /// Why there is no such program
    #[arg(long, hide = true, value_name = "WHY")]
    no_heavy: Option<String>,
    /// What a child of the benchmark is to do
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    role: Vec<String>,
}

const AFTER: &str = "\
Workloads:
  rtt      there and back, one at a time        64 B
  oneway   one way, as fast as it goes          64 B, 16 KiB, 1 MiB
  fanout   one publisher to 8 receivers         64 B, figures are per delivery
  connect  open, send, be answered              64 B
  idle     memory that an idle client costs the process in the middle
  spawn    from the order to start a program to its first message, one after the other;
           spawn-paused-10 with 10 ms between them
  topics   one way by a topic to one subscriber, 64 B, beside 10 or 10,000 subscriptions with wildcards
  watched  one way, 64 B, in turns without and with `strait tap` and `strait top`; as fast as it
           goes, or a million a second

Placements:
  free     the scheduler decides
  same     everything on processor 0
  cross    sender on processor 0, receivers on 1

benches/README.md says who the peers are and how each is used.";

/// How this program is told to be a child of the benchmark.
const PREFIX: &[&str] = &["--role"];

fn main() {
    strait_broker::init();
    let options = Options::parse();
    let result = if options.role.is_empty() { run(&options) } else { role(&options.role) };
    if let Err(error) = result {
        eprintln!("strait-bench: {error}");
        std::process::exit(1);
    }
}

fn run(options: &Options) -> Outcome<()> {
    end_cleanly_on_signals()?;
    let mut results = Results::default();
    let contest = contest(options, &mut results)?;
    let measured = contest.hold(|text| eprintln!("{text}"));
    results.rows = measured.rows;
    results.gaps.extend(measured.gaps);
    if let Some(path) = &options.json {
        let mut file = File::create(path).map_err(|error| format!("{}: {error}", path.display()))?;
        for row in &results.rows {
            writeln!(file, "{}", serde_json::to_string(row)?)?;
        }
    }
    if let Some(dir) = &options.plot {
        plot(&results.rows, dir)?;
    }
    print!("{}", Table::new(&results.rows));
    for gap in &results.gaps {
        println!("not measured: {gap}");
    }
    Ok(())
}

fn contest(options: &Options, results: &mut Results) -> Outcome<Contest> {
    let (workloads, placements) = (options.workload.clone(), options.placement.clone());
    let (peers, sizes) = (options.peer.clone(), options.size.clone());
    let selection = Selection { workloads, placements, peers, sizes, curves: options.curves };
    let heavy = match (&options.heavy, &options.no_heavy) {
        (Some(program), _) => Heavy::Program(program.clone()),
        (None, Some(why)) => Heavy::Missing(why.clone()),
        (None, None) => Heavy::Unwanted,
    };
    let starter = match &options.starter {
        Some(path) => Program { path: path.clone(), prefix: Vec::new() },
        None => this_starter(PREFIX)?,
    };
    Ok(Contest {
        contenders: selection.contenders(PREFIX, &starter, &heavy, results)?,
        loads: selection.loads()?,
        placements: selection.placements()?,
        reps: options.reps.unwrap_or(if options.quick { 3 } else { 5 }),
        seconds: options.seconds.unwrap_or(if options.quick { 0.25 } else { 1.0 }),
    })
}

/// On Ctrl-C and the like nothing stays: our files go here, and the kernel ends every process that we started with us.
fn end_cleanly_on_signals() -> Outcome<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM])?;
    std::thread::spawn(move || {
        if let Some(signal) = signals.forever().next() {
            remove_all();
            std::process::exit(128 + signal);
        }
    });
    Ok(())
}
