//! strait beside what a user would pick instead: separate processes, payload written by the sender and read by the
//! receiver, peers interleaved in one run, medians and ratios.
//!
//! `cargo xtask bench [--quick] [--json FILE]`. Figures are of this machine and this run; the ratios carry further.
#![forbid(unsafe_code)]

use clap::Parser;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use strait_bench::{Outcome, Row, Selection, Table, measure, role};

#[derive(Parser)]
#[command(about = "Measures strait beside an unmediated Unix seqpacket socket, in one run")]
struct Options {
    /// Fewer messages and repetitions.
    #[arg(long)]
    quick: bool,
    /// Also writes every figure of every repetition, as JSON lines.
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Repetitions; the table shows medians over them.
    #[arg(long)]
    reps: Option<u32>,
    /// Only this workload: rtt or oneway.
    #[arg(long)]
    workload: Option<String>,
    /// Only this placement: free, same or cross.
    #[arg(long)]
    placement: Option<String>,
    /// Only this peer.
    #[arg(long)]
    peer: Option<String>,
    /// Only this message size, in bytes.
    #[arg(long)]
    size: Option<usize>,
    /// What a child of the benchmark is to do.
    #[arg(long, hide = true, num_args = 1.., allow_hyphen_values = true)]
    role: Vec<String>,
}

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
    let reps = options.reps.unwrap_or(if options.quick { 3 } else { 7 });
    let say = |text: &str| eprintln!("{text}");
    let (workload, placement, peer) = (options.workload.clone(), options.placement.clone(), options.peer.clone());
    let selection = Selection { quick: options.quick, workload, placement, peer, size: options.size };
    let rows: Vec<Row> = measure(PREFIX, reps, &selection, say)?;
    if let Some(path) = &options.json {
        let mut file = File::create(path)?;
        for row in &rows {
            writeln!(file, "{}", serde_json::to_string(row)?)?;
        }
    }
    print!("{}", Table::new(&rows));
    Ok(())
}
