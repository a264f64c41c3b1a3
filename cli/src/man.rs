//! `strait man`: the manual pages, from the same source as the help.

use crate::Outcome;
use crate::args::{Args, Man};
use crate::failure::Failure;
use crate::text;
use clap::CommandFactory;
use std::fs;

pub fn man(args: &Man) -> Outcome {
    let place = args.dir.display();
    let failed = |error| Failure::new(format!("{place}: {error}")).hint("name a directory that you may write to");
    fs::create_dir_all(&args.dir).map_err(failed)?;
    clap_mangen::generate_to(Args::command(), &args.dir).map_err(failed)?;
    text::print(format!("the pages are in {place}: man {place}/strait.1\n").as_bytes())
}
