//! `strait demo`: the use that strait was made for, played through with real worlds, and every step verified.
//!
//! A client world asks for a compressor; one is started in a jail of its own, fed a stream, told to end. Then a rogue world
//! tries what rogue worlds try. Last come figures, and the jail as the kernel shows it.

mod actors;
mod rogue;
mod story;
mod summary;

use crate::failure::Failure;
use std::error::Error;
use std::path::Path;
use std::process::ExitCode;
use strait_broker::HostError;

/// The first argument by which this program is told to be one of the demo's worlds.
pub const ROLE: &str = "demo-world";
/// The first argument by which it is told to be a child of the measuring.
pub const BENCH: &str = "demo-bench";

type Outcome<T> = Result<T, Box<dyn Error>>;

/// Plays the demo with a file, or with this very program if none is given. Success only if every step was verified.
pub fn run(file: Option<&Path>) -> ExitCode {
    match story::play(file) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => match error.downcast::<HostError>() {
            Ok(error) => Failure::from(*error).tell(),
            Err(error) => Failure::new(format!("the demo failed: {error}"))
                .hint("`strait doctor` says what this machine has; FILE is one that you may read, or none")
                .tell(),
        },
    }
}

/// Does the work of a role, if the arguments name one.
pub fn role(arguments: &[String]) -> Option<ExitCode> {
    let (first, rest) = arguments.split_first()?;
    let result = match first.as_str() {
        ROLE => match rest.first().map(String::as_str) {
            Some("client") => actors::client(),
            Some("compressor") => actors::compressor(),
            Some("listener") => actors::listener(),
            Some("rogue") => rogue::run(),
            _ => Err("no such role".into()),
        },
        BENCH => strait_bench::role(rest),
        _ => return None,
    };
    Some(match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("strait demo, as {}: {error}", rest.first().map_or("nobody", String::as_str));
            ExitCode::FAILURE
        }
    })
}
