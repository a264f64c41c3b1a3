//! The suites, and how each is run.

use crate::cargo;
use crate::programs::Program;
use crate::tally::Tally;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Instant;

/// Every test of the workspace, as whoever runs this.
pub fn workspace(root: &Path, programs: &[Program], tally: &mut Tally) -> Result<(), String> {
    let who = if rustix::process::geteuid().is_root() { "root" } else { "this user" };
    for program in programs {
        run(&format!("{}, as {who}", program.name()), &mut program.command(), tally)?;
    }
    let mut examples = cargo(root);
    examples.args(["test", "--workspace", "--doc", "--quiet", "--no-fail-fast"]);
    run("examples of the docs", &mut examples, tally)
}

/// What is built in other ways than the workspace's tests are. The processors are the tests' first: the thread that calls this is nicer from
/// here on, with all that it starts.
pub fn others(root: &Path, tally: &mut Tally) -> Result<(), String> {
    rustix::process::nice(10).map_err(|errno| format!("nice: {errno}"))?;
    docs(root, tally)?;
    racing(root, tally)?;
    seeds(root, tally)?;
    loom(root, tally)?;
    miri(root, tally)
}

/// Every link in the docs leads somewhere.
fn docs(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut docs = cargo(root);
    docs.args(["doc", "--workspace", "--no-deps", "--quiet"]).env("RUSTDOCFLAGS", "-D warnings");
    let Run { succeeded, seconds, .. } = watch("docs", &mut docs)?;
    tally.check("docs", succeeded, seconds);
    Ok(())
}

/// The switch under scripts again, with hostile memory that changes between any two of its reads.
fn racing(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut tests = quick(root);
    tests.args(["test", "--quiet", "--package", "strait-broker", "--lib", "--features", "racing", "harness"]);
    tests.args(["--target-dir", "target/racing"]);
    run("switch under racing memory", &mut tests, tally)
}

/// The fuzz targets build, and hold for their seeds.
fn seeds(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut tests = quick(root);
    tests.args(["test", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/racing"]);
    run("seeds of the fuzz targets", &mut tests, tally)
}

/// Models of the ring and the waiting: every interleaving of two threads, up to a number of preemptions.
fn loom(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut tests = quick(root);
    tests.args(["test", "--quiet", "--package", "strait-protocol", "--lib", "models"]);
    tests.args(["--target-dir", "target/loom"]).env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "3");
    run("protocol under loom", &mut tests, tally)
}

/// rkyv's pointers lead from one field of an archive to another, which its authors hold against tree borrows, the newer of the two models of aliasing
/// (rkyv issue 436).
const MIRI_FLAGS: &str = "-Zmiri-disable-isolation -Zmiri-tree-borrows";

/// The protocol under Miri, but its property tests, which take hours there; where there is a nightly toolchain that has it.
fn miri(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let has_miri = Command::new("cargo").args(["+nightly", "miri", "--version"]).output();
    if !has_miri.is_ok_and(|output| output.status.success()) {
        tally.skip("protocol under Miri", "no nightly toolchain with Miri (rustup +nightly component add miri)");
        return Ok(());
    }
    let mut tests = Command::new("cargo");
    tests.args(["+nightly", "miri", "test", "--quiet", "--package", "strait-protocol", "--target-dir", "target/miri"]);
    tests.current_dir(root).env("MIRIFLAGS", MIRI_FLAGS).env("RUSTFLAGS", "-Aunused");
    run("protocol under Miri", &mut tests, tally)
}

/// A cargo for what takes longer to build than to run.
fn quick(root: &Path) -> Command {
    let mut command = cargo(root);
    command.env("CARGO_PROFILE_DEV_DEBUG", "none").env("CARGO_INCREMENTAL", "0");
    command
}

/// Runs a suite and counts what it says.
pub fn run(name: &str, command: &mut Command, tally: &mut Tally) -> Result<(), String> {
    let Run { output, succeeded, seconds } = watch(name, command)?;
    tally.add(name, &output, succeeded, seconds);
    Ok(())
}

/// What came of a command.
struct Run {
    output: String,
    succeeded: bool,
    seconds: f64,
}

/// Runs a command to its end and shows what it said in one piece: others run beside it.
fn watch(name: &str, command: &mut Command) -> Result<Run, String> {
    let failed = |error: io::Error| format!("{name}: {error}");
    let began = Instant::now();
    let (mut said, end) = io::pipe().map_err(failed)?;
    let mut child = command.stdout(end.try_clone().map_err(failed)?).stderr(end).spawn().map_err(failed)?;
    // The command has the pipe's other end too, until it has something else.
    command.stdout(Stdio::null()).stderr(Stdio::null());
    let mut bytes = Vec::new();
    said.read_to_end(&mut bytes).map_err(failed)?;
    let succeeded = child.wait().map_err(failed)?.success();
    let (output, seconds) = (String::from_utf8_lossy(&bytes).into_owned(), began.elapsed().as_secs_f64());
    // Nobody to show it to is no reason to stop testing.
    let _ = write!(io::stdout().lock(), "== {name} ({seconds:.1} s)\n{output}");
    Ok(Run { output, succeeded, seconds })
}
