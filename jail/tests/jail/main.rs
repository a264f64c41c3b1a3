//! Whole jails, looked at from inside and from outside. One process, one thread, one case after the other: a launcher can only be
//! started by a process with one thread, which the usual test harness isn't.
//!
//! The same cases run as root and, when started as root, a second time as an ordinary user (rootless). This program is its own
//! probe: bound into a jail and started with `probe <what>` it makes the attempt and says what came of it.

mod ahead;
mod cases;
mod groups;
mod owner;
mod probe;
mod profiles;
mod seats;
mod world;

use std::process::{Command, ExitCode};

/// Uid and gid of the rootless run.
fn ordinary() -> u32 {
    0x6300_0000 + std::process::id()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["probe", what @ ..] => probe::run(what),
        ["rootless"] => cases::run("rootless"),
        // What cargo passes to select or list cases means nothing here, except that a list is asked for.
        other if other.contains(&"--list") => ExitCode::SUCCESS,
        _ if rustix::process::geteuid().is_root() => both(),
        _ => cases::run("rootless"),
    }
}

fn both() -> ExitCode {
    let as_root = cases::run("root");
    let (id, own) = (ordinary().to_string(), world::own_copy());
    let status = Command::new("setpriv")
        .args(["--reuid", &id, "--regid", &id, "--clear-groups", "--"])
        .arg(own.path())
        .arg("rootless")
        .status();
    let rootless = match status {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => {
            println!("rootless run: {status}");
            ExitCode::FAILURE
        }
        Err(error) => {
            println!("skipped: rootless run: setpriv: {error}");
            ExitCode::SUCCESS
        }
    };
    if as_root == ExitCode::SUCCESS { rootless } else { as_root }
}
