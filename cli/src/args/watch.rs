//! The command line of those who watch a broker, with its help.

use super::Socket;
use clap::{Args as ClapArgs, ValueEnum};
use std::time::Duration;
use strait_broker::quantity;

#[derive(Debug, ClapArgs)]
pub struct Top {
    /// Print JSON: one object per sample, one line each
    #[arg(long)]
    pub json: bool,
    /// Time between two samples: 500ms, 2s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = quantity::duration)]
    pub interval: Duration,
    /// End after so many samples
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// What the worlds are ordered by
    #[arg(long, value_name = "KEY", default_value = "rate")]
    pub sort: Order,
    #[command(flatten)]
    pub socket: Socket,
}

/// What worlds are ordered by.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Order {
    /// Records per second, in and out
    Rate,
    /// Bytes that wait in its inbox, its outbox and on its account
    Queue,
    /// Attempts that policy denied
    Denied,
    /// Name
    Name,
}

#[derive(Debug, ClapArgs)]
pub struct Tap {
    /// The worlds to watch: a name, or the beginning of names with a `*` at its end
    #[arg(value_name = "WORLD", default_value = "*")]
    pub pattern: String,
    /// Show the beginning of payloads, up to 256 bytes, where both worlds' configuration says `tap_payload = true`
    #[arg(long)]
    pub payload: bool,
    /// Print JSON: one object per record, one line each
    #[arg(long)]
    pub json: bool,
    /// End after so many records
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time: 300ms, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub time: Option<Duration>,
    #[command(flatten)]
    pub socket: Socket,
}

pub const TOP_HELP: &str = "\
Columns: SENT/S and RECV/S are records, BYTES/S what these took in the rings, both ways. INBOX has not been read, OUTBOX not been taken by the \
switch, HELD is what the broker keeps for others on the world's account, of its budget. ASKS are its open requests, OWES those that \
it hasn't answered. WAITS FOR is the world in whose full inbox its next record finds no room. DENIED and RETURNED are records that \
went nowhere: by policy, or for another reason, since the world attached.

On a terminal: q ends, r, i, d and n order by rate, queue, denied and name. Elsewhere a table is printed per interval. NO_COLOR is respected.

Examples:
  strait top
  strait top --sort denied --interval 5s
  strait top --json --count 1 | jq '.worlds[] | {name, sent, waits_for}'

Exit codes: 0 ended as asked; 1 the broker can't be reached, or is gone; 2 bad usage.";

pub const TAP_HELP: &str = "\
One line per record: when (UTC), from whom to whom, what it is, its number among its sender's records, its payload's length, and what became of it: \
`delivered`, `held` until its receiver has room, or why it went nowhere. A tap slows nobody down: of more than it takes, some twenty thousand \
records a second, the newest are left out, and it says how many.

Examples:
  strait tap                           everything that worlds send and are sent
  strait tap 'compressor/*' --json
  strait tap db --payload --count 10

Exit codes: 0 ended as asked; 1 refused by policy, or the broker can't be reached; 2 bad usage.";
