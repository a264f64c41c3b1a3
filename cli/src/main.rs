//! The `strait` binary: thin. It reads arguments and files, calls the broker's library, and says what happened.
//!
//! **Invariant:** nothing is decided here that a host program couldn't decide too. Policy, jails and messages are the broker's.
#![forbid(unsafe_code)]

mod args;
mod completions;
mod demo;
mod doctor;
mod ended;
mod failure;
mod feed;
mod file;
mod grants;
mod groups;
mod inspect;
mod keeper;
mod log;
mod man;
mod metrics;
mod mistake;
mod policy;
mod ps;
mod refusal;
mod run;
mod service;
mod signals;
mod snapshots;
mod socket;
mod stop;
mod table;
mod talk;
mod tap;
mod text;
mod top;
mod topics;
mod trace;
mod units;
mod up;
mod worlds;

use args::{Args, Command};
use clap::Parser;
use clap::error::ErrorKind;
use failure::{Failure, OURS, USAGE};
use std::process::ExitCode;

fn main() -> ExitCode {
    strait_broker::init();
    let arguments: Vec<String> = std::env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
    if let Some(code) = demo::role(&arguments) {
        return code;
    }
    let args = match Args::try_parse() {
        Ok(args) => args,
        Err(error) => return usage(&error),
    };
    let result = match &args.command {
        Command::Up(args) => up::up(args),
        Command::Run(args) => run::run(args),
        Command::Ps(args) => ps::ps(args),
        Command::Groups(args) => groups::groups(args),
        Command::Top(args) => top::top(args),
        Command::Tap(args) => tap::tap(args),
        Command::Trace(args) => trace::trace(args),
        Command::Log(args) => log::log(args),
        Command::Metrics(args) => metrics::metrics(args),
        Command::Send(args) => talk::send(args),
        Command::Request(args) => talk::request(args),
        Command::Pub(args) => topics::publish(args),
        Command::Sub(args) => topics::subscribe(args),
        Command::Stop(args) => stop::stop(args),
        Command::Snapshot(args) => snapshots::snapshot(args),
        Command::Snapshots(args) => snapshots::snapshots(args),
        Command::Inspect(args) => inspect::inspect(args),
        Command::Kill(args) => worlds::kill(args),
        Command::Rm(args) => worlds::rm(args),
        Command::Spawn(args) => worlds::spawn(args),
        Command::Wake(args) => worlds::wake(args),
        Command::Restart(args) => worlds::restart(args),
        Command::Upgrade(args) => worlds::upgrade(args),
        Command::Clone(args) => worlds::clone(args),
        Command::Requests(args) => grants::requests(args),
        Command::Grant(args) => grants::grant(args),
        Command::Deny(args) => grants::deny(args),
        Command::Grants(args) => grants::grants(args),
        Command::Revoke(args) => grants::revoke(args),
        Command::Policy(args) => policy::policy(args),
        Command::Doctor(args) => doctor::doctor(args),
        Command::Demo(args) => Ok(demo::run(args.file.as_deref())),
        Command::Completions(args) => completions::completions(args),
        Command::Man(args) => man::man(args),
    };
    result.unwrap_or_else(|failure| failure.tell())
}

/// Help is no error. Bad usage is 2 as everywhere, but 125 for `run`, where 2 may be the program's own exit code.
fn usage(error: &clap::Error) -> ExitCode {
    // If even this can't be written there is nobody to tell.
    let _ = error.print();
    let is_run = std::env::args_os().nth(1).is_some_and(|command| command == "run");
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => ExitCode::SUCCESS,
        _ if is_run => ExitCode::from(OURS),
        _ => ExitCode::from(USAGE),
    }
}

/// What every command gives back.
type Outcome = Result<ExitCode, Failure>;
