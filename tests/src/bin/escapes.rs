//! The escape suite: see `strait_tests::escapes`, and `cargo xtask escapes`, which builds what it needs.
#![forbid(unsafe_code)]

use clap::Parser;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::process::{Command, ExitCode};
use strait_escapes::{ROWS, Row};
use strait_tests::escapes::{
    Column, Judgement, Kind, Place, Programs, Surroundings, Verdict, attack_a_clone, judge, page,
};

/// Makes the attempts of a rogue world in our jail, in others, and in none
#[derive(Parser)]
struct Args {
    /// The static program that makes the attempts
    #[arg(long, value_name = "PATH", required_unless_present = "cloned")]
    probe: Option<PathBuf>,
    /// The `strait` program
    #[arg(long, value_name = "PATH", required_unless_present = "cloned")]
    strait: Option<PathBuf>,
    /// Instead: starts a clone of this command, with these two directories at /ro and /rw
    #[arg(long, value_names = ["RO", "RW"], num_args = 2, hide = true, requires = "command")]
    cloned: Vec<PathBuf>,
    /// What is cloned
    #[arg(last = true, hide = true)]
    command: Vec<String>,
    /// Only these kinds of surroundings
    #[arg(long, value_name = "NAME")]
    only: Vec<String>,
    /// Only these rows
    #[arg(long, value_name = "NUMBER")]
    row: Vec<u8>,
    /// Print every attempt
    #[arg(long)]
    verbose: bool,
    /// Write the comparison to this file
    #[arg(long, value_name = "FILE")]
    page: Option<PathBuf>,
}

fn main() -> ExitCode {
    strait_broker::init();
    let args = Args::parse();
    if let [ro, rw] = &args.cloned[..] {
        return attack_a_clone(ro, rw, &args.command);
    }
    match run(&args) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("escapes: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> std::io::Result<bool> {
    let (probe, strait) = args.probe.clone().zip(args.strait.clone()).expect("required where nothing is cloned");
    let programs = Programs { probe, strait, runner: std::env::current_exe()? };
    let is_root = rustix::process::geteuid().is_root();
    // Where a jail that empties the usual places for temporary files still finds it.
    let below = if is_root { PathBuf::from("/srv") } else { std::env::temp_dir() };
    let place = Place::make(&below, &programs)?;
    let rows: Vec<&Row> =
        ROWS.iter().copied().filter(|row| args.row.is_empty() || args.row.contains(&row.number)).collect();
    let mut columns = BTreeMap::new();
    for kind in Kind::ALL {
        if !args.only.is_empty() && !args.only.iter().any(|name| name == kind.name()) {
            continue;
        }
        if let Some(why) = missing(kind, is_root) {
            println!("skipped: {}: {why}", kind.name());
            continue;
        }
        columns.insert(kind, column(kind, &place, &rows, args.verbose)?);
    }
    if let Some(path) = &args.page {
        std::fs::write(path, page(&rows, &columns))?;
    }
    Ok(summary(&columns))
}

/// Why there are no such surroundings here.
fn missing(kind: Kind, is_root: bool) -> Option<String> {
    let exists = |path: &str| std::path::Path::new(path).exists();
    match kind {
        Kind::Root | Kind::Clone | Kind::Unjailed if !is_root => Some("only root can".into()),
        Kind::Bubblewrap if !exists("/usr/bin/bwrap") => Some("it isn't installed: apt-get install bubblewrap".into()),
        Kind::Firejail if !exists("/usr/bin/firejail") => Some("it isn't installed: apt-get install firejail".into()),
        Kind::RootlessClone | Kind::Bubblewrap | Kind::Firejail if !is_root => {
            Some("only root can become the ordinary user".into())
        }
        _ => None,
    }
}

fn column(kind: Kind, place: &Place, rows: &[&Row], verbose: bool) -> std::io::Result<Column> {
    let began = std::time::Instant::now();
    let mut surroundings = Surroundings::new(kind, place)?;
    let mut column = Column { version: version(kind, place), ..Column::default() };
    for row in rows.iter().filter(|row| kind.has(row)) {
        let outcomes = surroundings.make(row)?;
        let judged: Vec<Judgement> = outcomes.iter().map(|(name, word)| judge(kind, row, name, word)).collect();
        for Judgement { attempt, word, verdict } in
            judged.iter().filter(|judged| verbose || judged.verdict.is_failure())
        {
            println!("{}\t{}\t{attempt}\t{word}\t{verdict:?}", kind.name(), row.number);
        }
        column.rows.insert(row.number, judged);
    }
    println!("{}: {} rows in {:.1} s", kind.name(), column.rows.len(), began.elapsed().as_secs_f64());
    Ok(column)
}

fn version(kind: Kind, place: &Place) -> String {
    let program = match kind {
        Kind::Root | Kind::Clone | Kind::Rootless | Kind::RootlessClone => place.programs().strait.clone(),
        Kind::Bubblewrap => "bwrap".into(),
        // Asked for by a shell's child as nobody: as root it leaves mounts behind.
        Kind::Firejail => {
            return first_line(Command::new("dpkg-query").args(["-W", "-f", "firejail ${Version}", "firejail"]));
        }
        Kind::Unjailed => return first_line(Command::new("uname").arg("-sm")),
    };
    first_line(Command::new(program).arg("--version"))
}

fn first_line(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout).unwrap_or_default();
    String::from_utf8_lossy(&output).lines().next().unwrap_or("unknown").into()
}

fn summary(columns: &BTreeMap<Kind, Column>) -> bool {
    let count = |kinds: fn(Kind) -> bool, wanted: fn(&Verdict) -> bool| {
        let judged = columns.iter().filter(|(kind, _)| kinds(**kind)).flat_map(|(_, column)| column.rows.values());
        judged.flatten().filter(|judged| wanted(&judged.verdict)).count()
    };
    let is_out = |verdict: &Verdict| matches!(verdict, Verdict::Out(_));
    let is_uncontrolled = |verdict: &Verdict| matches!(verdict, Verdict::NoControl(_));
    let (out, uncontrolled) = (count(|_| true, is_out), count(|_| true, is_uncontrolled));
    println!(
        "{} attempts held, {} are known to be open, {out} got out; {} positive controls work, {uncontrolled} failed, {} can't work; {} open in other jails",
        count(Kind::is_ours, |verdict| *verdict == Verdict::AsExpected),
        count(Kind::is_ours, |verdict| matches!(verdict, Verdict::Conceded(_))),
        count(|kind| kind == Kind::Unjailed, |verdict| *verdict == Verdict::AsExpected),
        count(|_| true, |verdict| matches!(verdict, Verdict::CantWork(_))),
        count(|_| true, |verdict| *verdict == Verdict::Open),
    );
    let passed = count(|_| true, |verdict| !verdict.is_failure());
    println!("{passed} passed, {} failed, 0 skipped", out + uncontrolled);
    out + uncontrolled == 0
}
