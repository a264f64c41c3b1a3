//! `strait completions`.

use crate::Outcome;
use crate::args::{Args, Completions};
use crate::text;
use clap::CommandFactory;

pub fn completions(args: &Completions) -> Outcome {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Args::command(), "strait", &mut script);
    text::print(&script)
}
