//! The command line, with its help.

mod grants;
mod states;
mod topics;
mod watch;
mod worlds;

pub use grants::{Deny, Grant, Listing, Revoke};
pub use states::{Snapshot, Snapshots, Stop};
pub use topics::{Pub, Sub};
pub use watch::{Log, Metrics, Order, Tap, Top, Trace};
pub use worlds::{Clone, Kill, Restart, Rm, Spawn, Upgrade, Wake, WorldOptions};

use clap::{Args as ClapArgs, Parser, Subcommand};
use clap_complete::Shell;
use std::path::PathBuf;
use std::time::Duration;
use strait_broker::quantity;

/// Runs programs in jails, and moves messages between them.
#[derive(Debug, Parser)]
#[command(name = "strait", version, after_help = MAIN_HELP)]
pub struct Args {
    #[command(subcommand)]
    pub command: Command,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Start a broker and its worlds from a file, and stay until they end or Ctrl-C
    #[command(after_help = UP_HELP)]
    Up(Up),
    /// Run one program in a jail, with this terminal
    #[command(after_help = RUN_HELP)]
    Run(Box<Run>),
    /// List the worlds of a broker
    #[command(after_help = PS_HELP)]
    Ps(Ps),
    /// List the groups: what waits for each, its members, and what each of these has to do
    #[command(after_help = GROUPS_HELP)]
    Groups(Ps),
    /// Show what the worlds do now: rates, queues, who waits for whom, who is denied
    #[command(after_help = watch::TOP_HELP)]
    Top(Top),
    /// Show the headers of what worlds send each other
    #[command(after_help = watch::TAP_HELP)]
    Tap(Tap),
    /// Draw which messages caused which, across worlds
    #[command(after_help = watch::TRACE_HELP)]
    Trace(Trace),
    /// Say what happened to the worlds: who came, ended, was killed, and why
    #[command(after_help = watch::LOG_HELP)]
    Log(Log),
    /// Print the counters for Prometheus, or serve them on a Unix socket
    #[command(after_help = watch::METRICS_HELP)]
    Metrics(Metrics),
    /// Send a message to a world
    #[command(after_help = SEND_HELP)]
    Send(Send),
    /// Send a request to a world and print its reply
    #[command(after_help = REQUEST_HELP)]
    Request(Request),
    /// Publish a message on a topic
    #[command(after_help = topics::PUB_HELP)]
    Pub(Pub),
    /// Subscribe to topics and print what is published
    #[command(after_help = topics::SUB_HELP)]
    Sub(Sub),
    /// Tell worlds to end, and wait until they have
    #[command(after_help = states::STOP_HELP)]
    Stop(Stop),
    /// End a world at once, without telling it
    #[command(after_help = worlds::KILL_HELP)]
    Kill(Kill),
    /// Make worlds unknown that would sleep, or remove what is kept of them
    #[command(after_help = worlds::RM_HELP)]
    Rm(Rm),
    /// Start a world in a broker that runs
    #[command(after_help = worlds::SPAWN_HELP)]
    Spawn(Box<Spawn>),
    /// Start a world that sleeps
    #[command(after_help = worlds::WAKE_HELP)]
    Wake(Wake),
    /// Have a world end and begin anew
    #[command(after_help = worlds::RESTART_HELP)]
    Restart(Restart),
    /// Have a new version of a world take over
    #[command(after_help = worlds::UPGRADE_HELP)]
    Upgrade(Upgrade),
    /// Start another world of the template that one is of
    #[command(after_help = worlds::CLONE_HELP)]
    Clone(Clone),
    /// List what worlds ask for beyond their policy, and wait to be decided
    #[command(after_help = grants::REQUESTS_HELP)]
    Requests(Listing),
    /// Grant what a world asks for
    #[command(after_help = grants::GRANT_HELP)]
    Grant(Grant),
    /// Deny what a world asks for
    #[command(after_help = grants::DENY_HELP)]
    Deny(Deny),
    /// List what worlds were granted
    #[command(after_help = grants::GRANTS_HELP)]
    Grants(Listing),
    /// Take a grant back, at once
    #[command(after_help = grants::REVOKE_HELP)]
    Revoke(Revoke),
    /// Have a world save its state now, and go on
    #[command(after_help = states::SNAPSHOT_HELP)]
    Snapshot(Snapshot),
    /// List the states that are kept of a world
    #[command(after_help = states::SNAPSHOTS_HELP)]
    Snapshots(Snapshots),
    /// Show what the kernel enforces for a world: what is, not what was configured
    #[command(after_help = INSPECT_HELP)]
    Inspect(Inspect),
    /// Say who may do what, and by which line of whose policy
    #[command(after_help = POLICY_HELP)]
    Policy(Policy),
    /// Say what this machine has for this user, what is missing, and how to mend it
    #[command(after_help = DOCTOR_HELP)]
    Doctor(Doctor),
    /// Play the use that strait was made for, with real worlds, and verify every step
    #[command(after_help = DEMO_HELP)]
    Demo(Demo),
    /// Print a completion script for a shell
    #[command(after_help = COMPLETIONS_HELP)]
    Completions(Completions),
    /// Write the manual pages into a directory
    #[command(after_help = MAN_HELP)]
    Man(Man),
}

/// How to reach a broker.
#[derive(Debug, Default, ClapArgs)]
pub struct Socket {
    /// The broker's socket [default: $XDG_RUNTIME_DIR/strait.sock, else /run/strait.sock for root, else /tmp/strait-UID.sock]
    #[arg(long, env = "STRAIT_SOCKET", value_name = "PATH")]
    pub socket: Option<PathBuf>,
}

#[derive(Debug, ClapArgs)]
pub struct Up {
    /// The configuration, in TOML
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Demo {
    /// What to stream through the compressor [default: this program itself]
    #[arg(value_name = "FILE")]
    pub file: Option<PathBuf>,
}

#[derive(Debug, Default, ClapArgs)]
pub struct Run {
    /// The world's name [default: the program's]
    #[arg(long, value_name = "NAME")]
    pub name: Option<String>,
    #[command(flatten)]
    pub world: WorldOptions,
    /// A configuration whose templates and worlds it may start, given `--may "start NAME"`
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
    pub command: Vec<String>,
}

#[derive(Debug, ClapArgs)]
pub struct Ps {
    #[command(flatten)]
    pub socket: Socket,
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Send {
    /// The world's name
    pub world: String,
    /// The payload; `-`, or nothing, reads it from standard input
    pub data: Option<String>,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Request {
    /// The world's name
    pub world: String,
    /// The payload; `-`, or nothing, reads it from standard input
    pub data: Option<String>,
    /// How long to wait for the reply: 300ms, 5s, 2m
    #[arg(long, value_name = "TIME", default_value = "5s", value_parser = quantity::duration)]
    pub timeout: Duration,
    /// Print the reply with its sender, code and tag as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Inspect {
    /// The world's name
    pub world: String,
    /// Print the whole report as JSON
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Policy {
    #[command(subcommand)]
    pub action: PolicyAction,
}

#[derive(Debug, Subcommand)]
pub enum PolicyAction {
    /// Say whether a world may do something, and the line that decides
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The world's name, or that of one that a template would make
        from: String,
        /// Another world's name: may it send there? Or what `may` and `ask` take: `link NAME`, `start TEMPLATE`, `memory 2 GiB`, `publish TOPIC`, `read PATH`
        #[arg(value_name = "TO")]
        what: String,
        /// Print JSON
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: PolicySource,
    },
    /// List the lines of a world's policy, and what it was granted
    #[command(after_help = SHOW_HELP)]
    Show {
        /// The world's name, or that of one that a template would make
        world: String,
        /// Print JSON: an array of lines
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        source: PolicySource,
    },
}

/// Whose policy.
#[derive(Debug, ClapArgs)]
pub struct PolicySource {
    /// A configuration, instead of a broker that runs
    #[arg(long, value_name = "FILE")]
    pub file: Option<PathBuf>,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Doctor {
    /// Print JSON
    #[arg(long)]
    pub json: bool,
}

#[derive(Debug, ClapArgs)]
pub struct Completions {
    /// The shell
    pub shell: Shell,
}

#[derive(Debug, ClapArgs)]
pub struct Man {
    /// The directory; it is made if it isn't there
    #[arg(value_name = "DIR")]
    pub dir: PathBuf,
}

const MAIN_HELP: &str = "\
Examples:
  strait run -- python3 -c 'print(1)'       one program in a jail
  strait up examples/two-worlds.toml        a broker with two worlds
  strait ps                                 in another terminal: what it runs
  strait top                                what that does now
  strait request greeter 'hello'            ask a world that speaks strait
  strait doctor                             what this machine has, and lacks

Exit codes: 0 done; 1 it failed, and standard error says why and what to do next; 2 bad usage.
`strait run` has others: see `strait run --help`.";

const PS_HELP: &str = "\
A world that speaks strait is `ready` once it has opened its connection; one that doesn't stays `running`. SENT and RECEIVED count records, HELD are bytes \
that wait on its account for others' room, LINKED those that it says it wrote to its direct links.

Examples:
  strait ps
  strait ps --json | jq -r '.[].name'

Exit codes: 0 listed; 1 the broker can't be asked, and standard error says why; 2 bad usage.";

const GROUPS_HELP: &str = "\
A member counts once it has opened its connection: a program that knows nothing of strait stays among those that are STARTING. WAITING is what no member \
has room for yet, LOAD what members have to do, TAKEN what they were given so far. Groups are made in the file, as [groups.NAME].

Examples:
  strait groups
  strait groups --json

Exit codes: 0 listed; 1 the broker can't be asked, and standard error says why; 2 bad usage.";

const INSPECT_HELP: &str = "\
Read from the kernel at that moment, for the program's process: ids, capabilities, filters, namespaces, limits, control groups, descriptors. `missing` is \
what this machine or user couldn't have.

Examples:
  strait inspect clock
  strait inspect clock --json | jq .limits

Exit codes: 0 shown; 1 it isn't in a jail, or can't be looked into, and standard error says why; 2 bad usage.";

const UP_HELP: &str = "\
A whole file:
  [worlds.clock]
  command = [\"sh\", \"-c\", \"while date; do sleep 1; done\"]
  limits = { files = 64, tmp = \"16M\" }

The file has a table for each world: [worlds.NAME] with `command = [...]`, the options of `strait run` as keys (--allow-syscalls is `allow_syscalls`; \
--memory and other limits are in `limits = { memory = \"64M\" }`), and beside them `wake = \"message\"` and \
`idle = \"30s\"` (it sleeps until a message comes for it), `checkpoint`, `role`, `stdio` (`\"log\"`, the default: what it prints is shown here, line by \
line, and kept for `strait log`; `\"output\"`: shown as it is; `\"inherit\"`, `\"null\"`). [templates.NAME] has the same, for worlds that are started later; \
[groups.NAME] has a `template` and `min`, `max`, `idle`; [[attach]] says who else may attach: `name`, `uid`, `send`, `may`; `state` is the directory of \
what worlds save, `starts` how many worlds one asker may have started. A key that isn't known is answered with those that are.

Worlds start in the order of `start = [\"a\", \"b\"]`, or of the file, and stop in reverse. The first Ctrl-C tells each \
to end and gives it its grace; a second one kills them all at once. When every world has ended, this ends, too; those that sleep have not.

Examples:
  strait up worlds.toml
  strait up worlds.toml --socket /run/user/1000/mine.sock

A service manager may hand it its socket (sd_listen_fds) and is told when the worlds are started (sd_notify): see dist/systemd.

Exit codes: 0 stopped in order, or every world has ended well, with code 0 or as it was told to; 1 an error, a world that failed, or a second Ctrl-C; \
2 bad usage.";

const RUN_HELP: &str = "\
The program sees no file of yours, no network and no other process, until you grant it. Every option is a key in a file \
for `strait up`, too; those that limit what it may use (--memory, --cpu, --pids, --time, --tmp, --files, --processes, --address-space) are in its table \
`limits`, and --no-system is `system = false`. Ctrl-C tells it to end and gives \
it its grace; a second one kills it.

Examples:
  strait run -- sh -c 'id; ls /'
  strait run --read .:/work --dir /work -- python3 world.py
  strait run --read ./tool:/tool --write /srv/out -- /tool
  strait run --memory 256M --cpu 0.5 --time 30s -- python3 -c 'print(1)'
  strait run --profile jit -- node -e 'console.log(1)'
  strait run --config worlds.toml --may 'start worker' --read ./a:/a -- /a

Exit codes: the program's own; 128 + N when signal N ended it; 125 when strait failed; 126 when the program can't be \
executed; 127 when it doesn't exist in the jail.";

const SEND_HELP: &str = "\
Returns when the broker has taken the message, and nothing came back within a moment. That is no proof that the world \
has handled it: only a reply is, see `strait request`.

Examples:
  strait send logger 'a line'
  strait send loader - < picture.png

Exit codes: 0 taken; 1 undeliverable, or the broker can't be reached; 2 bad usage.";

const REQUEST_HELP: &str = "\
The reply's bytes go to standard output as they are; on a terminal, control characters are escaped.

Examples:
  strait request greeter 'hello'
  strait request --timeout 30s resizer - < big.png > small.png

Exit codes: 0 a reply with code 0; 1 a reply with another code, or none; 2 bad usage.";

const POLICY_HELP: &str = "\
Examples:
  strait policy check loader db                  may `loader` send to `db`?
  strait policy check loader 'start worker'      may it start one?
  strait policy show loader
  strait policy check loader db --file worlds.toml

Exit codes: those of `strait policy check --help` and `strait policy show --help`.";

const SHOW_HELP: &str = "\
Examples:
  strait policy show loader
  strait policy show worker/1 --file worlds.toml

Exit codes: 0 shown; 1 an error, and standard error says why; 2 bad usage.";

const CHECK_HELP: &str = "\
Examples:
  strait policy check loader db
  strait policy check loader 'link db'
  strait policy check admin 'stop loader' --file worlds.toml

Exit codes: 0 it may; 1 it may not, or an error; 2 bad usage.";

const DOCTOR_HELP: &str = "\
It starts a broker and jails of its own, which end with it, and changes nothing else. Root and other users have different \
answers. What is degraded costs a promise, which `strait inspect` names for each world; without what is missing nothing runs.

Examples:
  strait doctor
  strait doctor --json | jq '.checks[] | select(.state != \"ok\")'

Exit codes: 0 nothing is missing; 1 something is; 2 bad usage.";

const DEMO_HELP: &str = "\
A client world asks for a compressor, streams FILE to it, checks what comes back and has it shut down; then a rogue world \
attacks; last come figures. It needs no broker and no set-up.

Examples:
  strait demo
  strait demo /usr/share/dict/words

Exit codes: 0 every step was verified; 1 one wasn't; 2 bad usage.";

const MAN_HELP: &str = "\
Examples:
  strait man ~/.local/share/man/man1 && man strait-up

Exit codes: 0 done; 1 the directory can't be written to; 2 bad usage.";

const COMPLETIONS_HELP: &str = "\
Examples:
  . <(strait completions bash)
  strait completions bash > ~/.local/share/bash-completion/completions/strait
  strait completions fish > ~/.config/fish/completions/strait.fish

Exit codes: 0 printed; 2 bad usage.";

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_holds_together() {
        Args::command().debug_assert();
    }

    /// What a file says of a world that a command line can't: it is about worlds that are started again, or by others.
    const FILE_ONLY: [&str; 11] = [
        "command",
        "limits",
        "role",
        "tap_payload",
        "stdio",
        "wake",
        "idle",
        "checkpoint",
        "checkpoint_time",
        "checkpoint_bytes",
        "system",
    ];

    #[test]
    fn every_key_of_a_world_is_an_option_of_the_same_name() {
        let command = Args::command();
        let run = command.find_subcommand("run").unwrap();
        let has = |key: &str| run.get_arguments().any(|arg| arg.get_long() == Some(&key.replace('_', "-")));
        let nonsense = "\"\" = 0\ncommand = []";
        let of_world = toml::from_str::<strait_broker::World>(nonsense).unwrap_err();
        let of_limits = toml::from_str::<strait_broker::Limits>(nonsense).unwrap_err();
        // serde names the known keys behind the unknown one.
        let keys = |error: &toml::de::Error| -> Vec<String> {
            error.message().split('`').skip(3).step_by(2).map(Into::into).collect()
        };
        let (world, limits) = (keys(&of_world), keys(&of_limits));
        assert!(world.len() > 20 && limits.len() >= 8, "{world:?} {limits:?}");
        for key in world.iter().chain(&limits) {
            assert!(has(key) != FILE_ONLY.contains(&&**key), "{key}");
        }
        assert!(has("no_system"));
    }

    #[test]
    fn a_command_keeps_its_own_options() {
        let args = Args::try_parse_from(["strait", "run", "--tmp", "2M", "sh", "-c", "--name"]).unwrap();
        let Command::Run(run) = args.command else { panic!("not run") };
        assert_eq!((run.world.tmp, run.command), (Some(2 << 20), vec!["sh".into(), "-c".into(), "--name".into()]));
        assert!(Args::try_parse_from(["strait", "run", "--bogus", "--", "sh"]).is_err());
    }

    /// The commands that do something, those below others too, with their names.
    fn commands(of: &clap::Command, path: &str) -> Vec<(String, clap::Command)> {
        let below = |one: &clap::Command| {
            let path = format!("{path} {}", one.get_name());
            match one.has_subcommands() {
                true => commands(one, &path),
                false => vec![(path, one.clone())],
            }
        };
        of.get_subcommands().flat_map(below).collect()
    }

    #[test]
    fn every_commands_help_has_examples_that_can_be_given_and_its_exit_codes() {
        for (name, command) in commands(&Args::command(), "strait") {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            assert!(help.contains("\nExit codes: 0 ") || name == "strait run", "{name}: {help}");
            let (_, examples) = help.split_once("Examples:\n").unwrap_or_else(|| panic!("{name} has no examples"));
            // A longer line is broken on a terminal, and can't be copied from there.
            let mut lines = examples.lines().take_while(|line| line.starts_with("  "));
            assert!(examples.contains(&name) && lines.all(|line| line.len() <= 80), "{name}: {examples}");
        }
    }
}
