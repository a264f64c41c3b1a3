//! The project's own chores. Each does its own set-up.
//!
//! `cargo xtask test` runs everything that can be run here and says at its end how much passed, failed and was skipped, and why.
#![forbid(unsafe_code)]

mod bench;
mod escapes;
mod fuzz;
mod library;
mod packages;
mod parts;
mod programs;
mod soak;
mod suites;
mod tally;
mod unprivileged;

use clap::{Parser, Subcommand};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about = "The project's own chores")]
struct Args {
    #[command(subcommand)]
    chore: Chore,
}

#[derive(Subcommand)]
enum Chore {
    /// Install what is missing, build, and run every test: as this user, and as root also as an unprivileged one
    Test,
    /// Build libstrait for C programs and install it: libraries, header, and strait.pc for pkg-config
    Library {
        /// Where it is to be used
        #[arg(long, value_name = "DIR", default_value = "/usr/local")]
        prefix: PathBuf,
        /// Put in front of the prefix, but not written into strait.pc: for those who make packages
        #[arg(long, value_name = "DIR", default_value = "/")]
        destdir: PathBuf,
    },
    /// Measure strait beside what a user would pick instead (`bench --help` tells more)
    // Its arguments are the benchmark's, `--help` too.
    #[command(disable_help_flag = true)]
    Bench {
        /// For the benchmark
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Many worlds that send, pause and die, for minutes, while everything is accounted for (`soak -- --help` tells more)
    Soak {
        /// For the soak: --minutes N, --worlds N, --seed N; or --mix, for what an honest pair feels of misbehaving worlds
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Make every attempt of a rogue world in our jail, in bubblewrap, in firejail and in none, and write docs/escapes.md
    Escapes {
        /// For the suite: --only NAME, --row NUMBER, --verbose
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        arguments: Vec<String>,
    },
    /// Let every system call of a spawn fail, and kill the supervisor at every one: all of them, not the few that a test run tries
    Faults,
    /// Give the switch and the parsers bytes that a fuzzer makes up, each target for a while (needs cargo-fuzz and g++)
    Fuzz {
        /// One target instead of all
        #[arg(value_parser = fuzz::TARGETS)]
        target: Option<String>,
        /// How long each
        #[arg(long, default_value_t = 60)]
        seconds: u32,
    },
}

fn main() -> ExitCode {
    let result = match Args::parse().chore {
        Chore::Test => test(),
        Chore::Library { prefix, destdir } => library::install(&root(), &prefix, &destdir),
        Chore::Bench { arguments } => bench::run(&root(), &arguments),
        Chore::Soak { arguments } => soak::run(&root(), &arguments),
        Chore::Escapes { arguments } => escapes::run(&root(), &arguments),
        Chore::Faults => faults(),
        Chore::Fuzz { target, seconds } => fuzz::run(target.as_deref(), seconds),
    };
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("xtask: {why}");
            ExitCode::FAILURE
        }
    }
}

/// Most tests wait for somebody most of the time, so three parts run side by side: everything, what differs without privilege, and what is
/// to be built in other ways.
fn test() -> Result<bool, String> {
    packages::install(packages::FOR_TESTS)?;
    let (root, programs) = (root(), programs::build(&root())?);
    let tally = parts::side_by_side([
        &|tally| suites::workspace(&root, &programs, tally),
        &|tally| unprivileged::run(&root, &programs, tally).and_then(|()| escapes::test(&root, tally)),
        &|tally| suites::others(&root, tally),
    ]);
    print!("{tally}");
    Ok(tally.failed() == 0)
}

/// Takes some minutes.
fn faults() -> Result<bool, String> {
    let mut tests = cargo(&root());
    tests.args(["test", "--quiet", "--package", "strait-jail", "--test", "faults"]).env("STRAIT_FAULTS", "all");
    let status = tests.status().map_err(|error| format!("cargo: {error}"))?;
    Ok(status.success())
}

/// The workspace's folder.
fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap_or_else(|_| "..".into())
}

/// The cargo that runs this, in a folder.
fn cargo(dir: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.current_dir(dir);
    command
}
