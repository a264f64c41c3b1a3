//! The command line of those who start and end worlds, with its help.

use super::Socket;
use crate::units;
use clap::Args as ClapArgs;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use std::path::PathBuf;
use std::time::Duration;
use strait_broker::quantity;
use strait_jail::Base;

const PROFILES: [&str; 3] = ["default", "jit", "strict"];

/// What a world is granted and limited to.
#[derive(Debug, Default, ClapArgs)]
pub struct WorldOptions {
    /// Whom it may send to: a name, or the beginning of names with a `*` at its end
    #[arg(long, alias = "allow-send", value_name = "PATTERN")]
    pub send: Vec<String>,
    /// Whom it may have a direct link with, and so send to; the other must name it, too
    #[arg(long, value_name = "PATTERN")]
    pub link: Vec<String>,
    /// On which topics it may publish: names, or patterns with `*` for one token and `>` for the rest
    #[arg(long, value_name = "PATTERN")]
    pub publish: Vec<String>,
    /// To which topics it may subscribe, likewise
    #[arg(long, value_name = "PATTERN")]
    pub subscribe: Vec<String>,
    /// Where in the network it may connect to, by dialling: `example.com:443`, `*.example.com:443`, `example.com:*`; an address that isn't public must be named itself, `10.0.0.5:5432`
    #[arg(long, value_name = "HOST:PORT")]
    pub network: Vec<String>,
    /// What it may ask to be granted while it runs: `send NAME`, `link NAME`, `memory BYTES`, `cpu PROCESSORS`, `network HOST:PORT`, `read PATH`, `write PATH`, `publish TOPICS`, `subscribe TOPICS`, and what --may takes but `admin`
    #[arg(long, value_name = "RESOURCE")]
    pub ask: Vec<String>,
    /// What it may ask the control service: `list`, `start TEMPLATE`, `stop NAME`, `kill NAME`, `inspect NAME`, `tap NAME`, `snapshot NAME`, `grant`, `policy`, `admin`
    #[arg(long, value_name = "PERMISSION")]
    pub may: Vec<String>,
    /// A file or directory of the host that it may read
    #[arg(long, value_name = "PATH[:INSIDE]")]
    pub read: Vec<String>,
    /// A file or directory of the host that it may read and write
    #[arg(long, value_name = "PATH[:INSIDE]")]
    pub write: Vec<String>,
    /// A variable of its environment; of ours it inherits none
    #[arg(long, value_name = "KEY=VALUE", value_parser = units::assignment)]
    pub env: Vec<(String, String)>,
    /// The working directory inside
    #[arg(long, value_name = "DIR")]
    pub dir: Option<PathBuf>,
    /// Leave out the host's programs and libraries (/usr and the like)
    #[arg(long)]
    pub no_system: bool,
    /// How narrow its jail is: `default`; `jit` for language VMs that compile while they run; `strict` for static programs
    #[arg(long, value_name = "PROFILE", value_parser = PossibleValuesParser::new(PROFILES).try_map(|text| text.parse::<Base>()))]
    pub profile: Option<Base>,
    /// System calls that it may make beside those of its profile
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub allow_syscalls: Vec<String>,
    /// System calls of its profile that it may not make
    #[arg(long, value_name = "NAME", value_delimiter = ',')]
    pub deny_syscalls: Vec<String>,
    /// Bytes of its outbox and of its inbox, such as 64K or 4M: a power of two
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub slice: Option<u64>,
    /// Bytes that the switch may hold for it, such as 1M [default: 256 KiB]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub budget: Option<u64>,
    /// Bytes of parcels that it may hold [default: 64 MiB]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub parcels: Option<u64>,
    /// How many parcels it may hold [default: 64]
    #[arg(long, value_name = "N")]
    pub parcel_count: Option<u32>,
    /// Memory of all its processes together, its /tmp included, such as 64M or "64 MiB" [default: 1 GiB]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub memory: Option<u64>,
    /// Processor time of all its processes together, in processors, such as 0.5
    #[arg(long, value_name = "PROCESSORS", value_parser = quantity::processors, allow_negative_numbers = true)]
    pub cpu: Option<u32>,
    /// Processes and threads of the whole jail
    #[arg(long, value_name = "N")]
    pub pids: Option<u64>,
    /// How long it may run before it is killed: 300ms, 30s, 2m
    #[arg(long, value_name = "TIME", value_parser = quantity::milliseconds)]
    pub time: Option<u32>,
    /// Bytes of its /tmp, such as 16M
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub tmp: Option<u64>,
    /// Open files per process
    #[arg(long, value_name = "N")]
    pub files: Option<u64>,
    /// Processes and threads of its user: where there are no control groups, the nearest thing to --pids
    #[arg(long, value_name = "N")]
    pub processes: Option<u64>,
    /// Address space per process, such as 4G
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub address_space: Option<u64>,
    /// How many versions of its state are kept, under its name [default: none, and it may save none]
    #[arg(long, value_name = "N")]
    pub snapshots: Option<u32>,
    /// Bytes that its state may have [default: 64 MiB]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub snapshot_bytes: Option<u64>,
    /// Bytes that all states may take that are kept of it and of those whose names begin alike [default: 1 GiB]
    #[arg(long, value_name = "BYTES", value_parser = quantity::bytes)]
    pub state_bytes: Option<u64>,
    /// How long it has to end when it is told to, as by Ctrl-C: 300ms, 5s [default: 3s]
    #[arg(long, value_name = "TIME", value_parser = quantity::milliseconds)]
    pub grace: Option<u32>,
}

#[derive(Debug, ClapArgs)]
pub struct Spawn {
    /// The world's name [with a template: default TEMPLATE/N]
    #[arg(required_unless_present = "template")]
    pub name: Option<String>,
    /// Start it from this template of the broker's configuration, instead of a command
    #[arg(long, value_name = "NAME", conflicts_with_all = ["command", "WorldOptions"])]
    pub template: Option<String>,
    #[command(flatten)]
    pub world: WorldOptions,
    #[command(flatten)]
    pub socket: Socket,
    /// The program and its arguments
    #[arg(required_unless_present = "template", last = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Clone {
    /// The world's name
    pub world: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Kill {
    /// The world's name
    pub world: String,
    /// Why, for those who wait for its end to read
    #[arg(long, value_name = "TEXT", default_value = "strait kill")]
    pub reason: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Rm {
    /// The worlds' names
    #[arg(required = true, value_name = "WORLD")]
    pub worlds: Vec<String>,
    /// The states that are kept of them, too; those of a name that no world has any more as well
    #[arg(long)]
    pub states: bool,
    /// How long those have that run, before they are killed: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = quantity::duration)]
    pub deadline: Duration,
    /// Why, for them to read
    #[arg(long, value_name = "TEXT", default_value = "strait rm")]
    pub reason: String,
    #[command(flatten)]
    pub socket: Socket,
}

pub const RM_HELP: &str = "\
A world with `wake = \"message\"` sleeps when it has ended, and the next message starts it. This makes it unknown: if it runs it is told to end, what \
waits for it goes back to its senders, and its grants end. What it saved stays under its name, for the next world of that name, unless --states removes it.

Examples:
  strait rm reports
  strait rm worker/1 worker/2 --states

Exit codes: 0 they are gone; 1 one of them isn't, and standard error says why; 2 bad usage.";

pub const SPAWN_HELP: &str = "\
Its options are those of `strait run`. `strait up` shows what it prints, line by line, and `strait log` has it. It lives until it ends, is told to, or the \
broker ends.

Examples:
  strait spawn ticker -- sh -c 'while date; do sleep 1; done'
  strait spawn counter --read ./counter:/counter -- /counter
  strait spawn --template worker
  strait spawn --template worker worker/blue

Exit codes: 0 it runs; 1 it doesn't, and standard error says why; 2 bad usage.";

pub const CLONE_HELP: &str = "\
Only worlds that were started from a template can be cloned: it says what they are. With `checkpoint = true` in the template, the clone goes on where \
the template's first world was ready; without, its program starts.

Examples:
  strait clone worker/1

Exit codes: 0 it runs; 1 it doesn't, and standard error says why; 2 bad usage.";

#[derive(Debug, ClapArgs)]
pub struct Wake {
    /// The world's name
    pub world: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
#[group(id = "version", required = true, args = ["template", "file"])]
pub struct Upgrade {
    /// The world's name
    pub world: String,
    /// The template of the new version
    #[arg(long, value_name = "TEMPLATE")]
    pub template: Option<String>,
    /// A configuration that has the new version under the world's name
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    /// Start it first, beside the running one, which finishes what it has once the new one is ready
    #[arg(long)]
    pub beside: bool,
    /// How long the running one has before it is killed: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = quantity::duration)]
    pub deadline: Duration,
    /// Why, for the world to read
    #[arg(long, value_name = "TEXT", default_value = "strait upgrade")]
    pub reason: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Restart {
    /// The world's name
    pub world: String,
    /// How long the running life has before it is killed: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "3s", value_parser = quantity::duration)]
    pub deadline: Duration,
    /// Why, for the world to read
    #[arg(long, value_name = "TEXT", default_value = "strait restart")]
    pub reason: String,
    #[command(flatten)]
    pub socket: Socket,
}

pub const RESTART_HELP: &str = "\
The running life is told, saves its state if it does such things, and ends. The next one has the same configuration, name and id, what was sent \
meanwhile, and the paths that its world was granted. Returns when its program runs, and says how the life before ended.

Examples:
  strait restart reports
  strait restart database --deadline 30s

Exit codes: 0 it runs; 1 it doesn't, and standard error says why; 2 bad usage.";

pub const UPGRADE_HELP: &str = "\
The running version is told, saves its state if it does such things, and ends. What is sent to it meanwhile waits, in order, and is the new version's, \
which has the same name and id. Who waits for an answer to what the old one had read is told that it died. Returns when the new one's program runs, \
and says how the old one ended.

With --beside the new version starts first and has an id of its own. When it has opened its connection it gets what is sent to the name and to either id, and the running one is told to end behind all that it was sent before. A new version that never gets there, as a program that knows nothing of strait, changes nothing.

Examples:
  strait upgrade reports --template reports-2
  strait upgrade database --file worlds.toml --deadline 30s
  strait upgrade reports --template reports-2 --beside

Exit codes: 0 the new version runs; 1 it doesn't, and standard error says why; 2 bad usage.";

pub const WAKE_HELP: &str = "\
A world with `wake = \"message\"` sleeps when it has ended, and the next message to it starts it. This starts it without one, and at once if \
its starts have failed and it waits for the next try. Returns when its program runs.

Examples:
  strait wake reports

Exit codes: 0 it runs; 1 it can't be started, and standard error says why; 2 bad usage.";

pub const KILL_HELP: &str = "\
`strait stop` tells a world to end and gives it time. This doesn't: what it has not saved is lost.

Examples:
  strait kill worker/1
  strait kill worker/1 --reason 'it burns'

Exit codes: 0 it is gone; 1 it isn't; 2 bad usage.";
