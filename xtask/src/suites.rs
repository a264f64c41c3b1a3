//! The suites, and how each is run.

use crate::cargo;
use crate::tally::Tally;
use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Command, Stdio};

/// Every test of the workspace, as whoever runs this.
pub fn workspace(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let who = if rustix::process::geteuid().is_root() { "root" } else { "this user" };
    let mut build = cargo(root);
    build.args(["build", "--workspace", "--all-targets", "--quiet"]);
    let built = build.status().map_err(|error| format!("cargo: {error}"))?;
    if !built.success() {
        return Err("the workspace doesn't build".into());
    }
    let mut tests = cargo(root);
    tests.args(["test", "--workspace", "--quiet", "--no-fail-fast"]);
    run(&format!("workspace, as {who}"), &mut tests, tally)
}

/// The switch under scripts again, with hostile memory that changes between any two of its reads.
pub fn racing(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut tests = cargo(root);
    // A build of its own: a feature more would make cargo build the workspace anew, back and forth.
    tests.args(["test", "--quiet", "--package", "strait-broker", "--lib", "--features", "racing", "harness"]);
    tests.args(["--target-dir", "target/racing"]);
    run("switch under racing memory", &mut tests, tally)
}

/// The fuzz targets build, and hold for their seeds.
pub fn seeds(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut tests = cargo(root);
    tests.args(["test", "--quiet", "--manifest-path", "fuzz/Cargo.toml", "--target-dir", "target/racing"]);
    run("seeds of the fuzz targets", &mut tests, tally)
}

/// Models of the ring and the waiting: every interleaving of two threads, up to a number of preemptions.
pub fn loom(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut tests = cargo(root);
    tests.args(["test", "--release", "--quiet", "--package", "strait-protocol", "--lib", "models"]);
    tests.args(["--target-dir", "target/loom"]).env("RUSTFLAGS", "--cfg loom").env("LOOM_MAX_PREEMPTIONS", "3");
    run("protocol under loom", &mut tests, tally)
}

/// The protocol under Miri, where there is a nightly toolchain that has it.
pub fn miri(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let has_miri = Command::new("cargo").args(["+nightly", "miri", "--version"]).output();
    if !has_miri.is_ok_and(|output| output.status.success()) {
        tally.skip("protocol under Miri", "no nightly toolchain with Miri (rustup +nightly component add miri)");
        return Ok(());
    }
    let mut tests = Command::new("cargo");
    tests.args(["+nightly", "miri", "test", "--quiet", "--package", "strait-protocol", "--target-dir", "target/miri"]);
    tests.current_dir(root).env("MIRIFLAGS", "-Zmiri-disable-isolation").env("PROPTEST_CASES", "8");
    run("protocol under Miri", &mut tests, tally)
}

/// Runs a suite, showing its output as it comes, and counts what it says.
pub fn run(name: &str, command: &mut Command, tally: &mut Tally) -> Result<(), String> {
    println!("== {name}");
    let mut child = command.stdout(Stdio::piped()).spawn().map_err(|error| format!("{name}: {error}"))?;
    let mut output = String::new();
    if let Some(stdout) = child.stdout.take() {
        let mut out = std::io::stdout();
        for line in BufReader::new(stdout).lines() {
            let line = line.map_err(|error| format!("{name}: {error}"))?;
            // Nobody to show it to is no reason to stop testing.
            let _ = writeln!(out, "{line}");
            output.push_str(&line);
            output.push('\n');
        }
    }
    let status = child.wait().map_err(|error| format!("{name}: {error}"))?;
    tally.add(name, &output, status.success());
    Ok(())
}
