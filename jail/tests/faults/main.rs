//! What becomes of a spawn of which one system call fails, or whose supervisor is killed at one: for every call there is, of a program that is started
//! and of a clone that is restored.
//!
//! The calls are found by watching a spawn that goes well, so a call that is new is tried by itself. As root, on x86-64 (whose registers the
//! tracer knows). `STRAIT_FAULTS=all` (`cargo xtask faults`) tries everything; otherwise a part of it, another one each time, or the one with this
//! number.

#[cfg(target_arch = "x86_64")]
mod exceptions;
#[cfg(target_arch = "x86_64")]
mod experiment;
#[cfg(target_arch = "x86_64")]
mod run;
mod subject;
mod template;
#[cfg(target_arch = "x86_64")]
mod tracer;

use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["subject", kind, uid] => subject::live(kind, uid),
        ["original"] => template::live(),
        // What cargo passes to select or list cases means nothing here, except that a list is asked for.
        other if other.contains(&"--list") => ExitCode::SUCCESS,
        _ if !rustix::process::geteuid().is_root() => skip("only root can watch a launcher that is root"),
        #[cfg(target_arch = "x86_64")]
        _ => run::run(),
        #[cfg(not(target_arch = "x86_64"))]
        _ => skip("the tracer knows the registers of x86-64 only"),
    }
}

fn skip(why: &str) -> ExitCode {
    println!("skipped: {why}\n0 passed, 0 failed, 1 skipped");
    ExitCode::SUCCESS
}
