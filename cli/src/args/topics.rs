//! The options of `strait pub` and `strait sub`.

use super::Socket;
use clap::Args as ClapArgs;
use std::time::Duration;
use strait_broker::quantity;

#[derive(Debug, ClapArgs)]
pub struct Pub {
    /// The topic, such as `sensors.kitchen.temp`
    pub topic: String,
    /// The payload; `-`, or nothing, reads it from standard input
    pub data: Option<String>,
    /// Each line of standard input is a message of its own, published as it comes
    #[arg(long, conflicts_with_all = ["data", "retain"])]
    pub lines: bool,
    /// Keep it as the topic's last value for those who subscribe later, and stay: it goes with who published it
    #[arg(long)]
    pub retain: bool,
    /// With --retain: end after this time: 300ms, 5s, 2m [default: at Ctrl-C]
    #[arg(long, value_name = "TIME", requires = "retain", value_parser = quantity::duration)]
    pub time: Option<Duration>,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Sub {
    /// Topics: `*` stands for one token, `>` at the end for all the rest
    pub pattern: String,
    /// Of each topic the newest message, if this doesn't keep up; otherwise whoever publishes waits for it
    #[arg(long)]
    pub newest: bool,
    /// Begin with the last values that publishers have kept
    #[arg(long)]
    pub retained: bool,
    /// End after so many messages
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub time: Option<Duration>,
    /// Print one JSON object a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: Socket,
}

pub const PUB_HELP: &str = "\
Everybody gets it who subscribes to that topic at that time; nobody is no failure.

Examples:
  strait pub lights.hall on
  date | strait pub clock.now
  vmstat 1 | strait pub machine.load --lines
  strait pub pictures.door < door.png
  strait pub --retain config.lamp '{\"hue\": 30}'

Exit codes: 0 published, all of it, and no longer kept; 1 policy doesn't allow it, or the broker can't be reached; 2 bad usage.";

pub const SUB_HELP: &str = "\
The broker itself says who comes and goes: on strait.worlds.started.NAME, strait.worlds.ready.NAME and strait.worlds.ended.NAME, \
with `:` for each dot in a name.

Examples:
  strait sub 'sensors.*.temp'
  strait sub --newest --json 'sensors.>'
  strait sub 'strait.worlds.ended.*' --count 1

Exit codes: 0 so many came, the time is over, or nobody reads on; 1 policy doesn't allow it, or the broker is gone; 2 bad usage.";
