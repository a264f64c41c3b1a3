//! `strait top`: what the worlds do now.

mod plain;
mod sample;
mod screen;

use crate::args::{Order, Top};
use crate::{Outcome, socket, text};
use sample::{Sample, Sampler};
use std::io::{self, IsTerminal};
use std::process::ExitCode;

pub fn top(args: &Top) -> Outcome {
    let mut sampler = Sampler::new(socket::attach(&args.socket)?)?;
    let is_screen = io::stdout().is_terminal() && io::stdin().is_terminal();
    if is_screen && !args.json && args.count.is_none() {
        return screen::run(&mut sampler, args.interval, args.sort);
    }
    for taken in 0.. {
        if args.count.is_some_and(|count| taken >= count) {
            break;
        }
        std::thread::sleep(args.interval);
        let sample = sampler.next()?;
        if !text::print_on(written(&sample, args.sort, args.json).as_bytes())? {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn written(sample: &Sample, order: Order, is_json: bool) -> String {
    match is_json {
        true => format!("{}\n", sample.json(order)),
        false => format!("{}\n{}\n", plain::summary(sample), plain::table(&sample.ordered(order))),
    }
}
