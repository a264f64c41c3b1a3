//! The escape suite: its static probe, the product, and the runner that judges.

use crate::tally::Tally;
use crate::{cargo, packages, suites};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Where the page is, that is written when everything is run.
const PAGE: &str = "docs/escapes.md";

/// Our jail, in every way that it is built, and what it must hold back: the positive control.
const OURS: [&str; 5] = ["strait-root", "strait-clone", "strait-rootless", "strait-rootless-clone", "unjailed"];

/// Everything, in all surroundings. Without arguments it also writes the page.
pub fn run(root: &Path, arguments: &[String]) -> Result<bool, String> {
    if let Err(why) = packages::install(packages::FOR_ESCAPES) {
        eprintln!("xtask: going on without other jails: {why}");
    }
    succeed(cargo(root).args(["build", "--workspace", "--bins", "--quiet"]))?;
    let mut command = runner(root)?;
    command.args(arguments);
    if arguments.is_empty() {
        command.arg("--page").arg(root.join(PAGE));
    }
    let status = command.status().map_err(|error| format!("escapes: {error}"))?;
    Ok(status.success())
}

/// The part that belongs to every test, with the programs that were built for all: our jail, and the positive control.
pub fn test(root: &Path, tally: &mut Tally) -> Result<(), String> {
    let mut command = runner(root)?;
    command.args(OURS.iter().flat_map(|name| ["--only", name]));
    suites::run("escapes", &mut command, tally)
}

/// The command that runs the suite, of programs that are there, with a probe that is built now.
fn runner(root: &Path) -> Result<Command, String> {
    let probe = probe(root)?;
    let built = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from).join("debug");
    let mut command = Command::new(built.join("escapes"));
    command.arg("--probe").arg(probe).arg("--strait").arg(built.join("strait"));
    Ok(command)
}

/// Builds the program that makes the attempts: without a single shared library, so that it runs where there is nothing.
fn probe(root: &Path) -> Result<PathBuf, String> {
    let target = format!("{}-unknown-linux-gnu", std::env::consts::ARCH);
    let flags = format!("target.{target}.rustflags=[\"-Ctarget-feature=+crt-static\"]");
    let mut build = cargo(root);
    build.args(["build", "--quiet", "--package", "strait-escapes", "--target", &target, "--config", &flags]);
    // Another target folder: other flags would make cargo build the workspace anew, back and forth.
    succeed(build.args(["--target-dir", "target/escapes"]))?;
    Ok(root.join("target/escapes").join(target).join("debug/strait-escape-probe"))
}

fn succeed(build: &mut Command) -> Result<(), String> {
    match build.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err("the escape suite doesn't build".into()),
        Err(error) => Err(format!("cargo: {error}")),
    }
}
