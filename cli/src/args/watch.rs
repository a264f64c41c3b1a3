//! The command line of those who watch a broker, with its help.

use super::Socket;
use clap::{Args as ClapArgs, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use strait_broker::quantity;

/// Samples nearer to each other than this would show the work of sampling.
const SHORTEST: Duration = Duration::from_millis(10);

fn interval(text: &str) -> Result<Duration, String> {
    quantity::duration(text).and_then(|time| if time < SHORTEST { Err("at least 10ms".into()) } else { Ok(time) })
}

#[derive(Debug, ClapArgs)]
pub struct Top {
    /// Print JSON: one object per sample, one line each
    #[arg(long)]
    pub json: bool,
    /// Time between two samples: 500ms, 2s
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = interval)]
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

#[derive(Debug, ClapArgs)]
pub struct Trace {
    /// Only what this world has part in
    #[arg(value_name = "WORLD")]
    pub world: Option<String>,
    /// Only trees of at least so many records
    #[arg(long, value_name = "N", default_value = "1")]
    pub least: usize,
    /// How long nothing may come before a tree is taken to be whole: 50ms, 2s
    #[arg(long, value_name = "TIME", default_value = "300ms", value_parser = quantity::duration)]
    pub settle: Duration,
    /// Print JSON: one object per tree, one line each
    #[arg(long)]
    pub json: bool,
    /// Print spans of OpenTelemetry: a line of OTLP/JSON per tree, as collectors read it from files
    #[arg(long, conflicts_with = "json")]
    pub otlp: bool,
    /// End after so many trees
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,
    /// End after this time: 300ms, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub time: Option<Duration>,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Log {
    /// Only what is about the world of this name, and what it printed
    #[arg(value_name = "WORLD")]
    pub world: Option<String>,
    /// Only what is no older than this: 30s, 5m
    #[arg(long, value_name = "TIME", value_parser = quantity::duration)]
    pub since: Option<Duration>,
    /// Stay, and print what happens from now on
    #[arg(long, short)]
    pub follow: bool,
    /// Also that commands such as this one attached and were gone
    #[arg(long)]
    pub all: bool,
    /// Print JSON: one object per line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Metrics {
    /// Stay, and serve them over HTTP on this Unix socket
    #[arg(long, value_name = "PATH")]
    pub listen: Option<PathBuf>,
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
records a second, the newest are left out, and it says how many. What this command itself says to the broker isn't shown.

Examples:
  strait tap                           everything that worlds send and are sent
  strait tap 'compressor/*' --json
  strait tap db --payload --count 10

Exit codes: 0 ended as asked; 1 refused by policy, or the broker can't be reached; 2 bad usage.";

pub const TRACE_HELP: &str = "\
A record is drawn under the one that its sender was handling when it sent it, with the seconds since the first. Senders say themselves what \
they were handling; what went over direct links isn't seen. It takes the permission `tap *`.

Examples:
  strait trace                         whatever happens
  strait trace compressor --least 3    what it has part in, three records long
  strait trace --json --count 10
  strait trace --otlp >> traces.jsonl  for a collector's `otlpjsonfile` receiver

Exit codes: 0 ended as asked; 1 refused by policy, or the broker can't be reached; 2 bad usage.";

pub const LOG_HELP: &str = "\
The last two thousand events of this broker's life, and the last 32 KiB that each world printed, kept in memory; of worlds that are gone, what the \
last 64 printed. `out:` and `err:` are a world's standard output and error: lines of up to 1,024 bytes, longer ones in several, with control characters \
escaped (with --json, as JSON does). Where lines are missing it says how many. A world with `stdio = \"output\"`, `\"inherit\"` or `\"null\"` has none \
here. Who may `list` sees the events, and who may `inspect` a world what it printed.

Examples:
  strait log
  strait log compressor --follow
  strait log --since 5m --json | jq -r 'select(.stream == \"err\") | .text'

Exit codes: 0 done; 1 the broker can't be reached, or is gone; 2 bad usage.";

pub const METRICS_HELP: &str = "\
Every request gets the counters of that moment. Who may connect is decided by the permissions of the socket and of the directory that it is in.

Examples:
  strait metrics
  strait metrics --listen /run/strait/metrics.sock
  curl --unix-socket /run/strait/metrics.sock http://localhost/metrics

Exit codes: 0 done; 1 the broker can't be reached, or is gone; 2 bad usage.";
