//! The command line of those who end worlds and keep their states, with its help.

use super::Socket;
use clap::Args as ClapArgs;
use std::time::Duration;
use strait_broker::quantity;

#[derive(Debug, ClapArgs)]
pub struct Stop {
    /// The worlds' names
    #[arg(required_unless_present = "all", value_name = "WORLD")]
    pub worlds: Vec<String>,
    /// All worlds that run
    #[arg(long, conflicts_with = "worlds")]
    pub all: bool,
    /// How long they have before they are killed: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = quantity::duration)]
    pub deadline: Duration,
    /// Why, for the worlds to read
    #[arg(long, value_name = "TEXT", default_value = "strait stop")]
    pub reason: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Snapshot {
    /// The world's name
    pub world: String,
    /// How long it may take over it: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = quantity::duration)]
    pub deadline: Duration,
    /// Why, for the world to read
    #[arg(long, value_name = "TEXT", default_value = "strait snapshot")]
    pub reason: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Snapshots {
    /// The world's name. It needn't run
    pub world: String,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: Socket,
}

pub const STOP_HELP: &str = "\
All are told at once and have the same deadline. One that has `snapshots` in its configuration may save its state before it ends. A line \
for each says whether it acknowledged, what it saved, and whether it had to be killed.

Examples:
  strait stop greeter
  strait stop database cache --deadline 30s --reason 'upgrade'
  strait stop --all

Exit codes: 0 they are gone, by themselves or by force; 1 one of them isn't; 2 bad usage.";

pub const SNAPSHOT_HELP: &str = "\
It is told to save, and goes on. Printed is the version, once it is durable. Takes `snapshots` in the world's configuration.

Examples:
  strait snapshot counter

Exit codes: 0 saved; 1 not saved; 2 bad usage.";

pub const SNAPSHOTS_HELP: &str = "\
A world that starts loads the newest version that isn't damaged.

Examples:
  strait snapshots counter
  strait snapshots compressor/7 --json

Exit codes: 0 listed, if there are any or none; 1 the broker can't be asked; 2 bad usage.";
