//! From the order to start a program to the first that is heard of it: in a strait world, in a jail of ours without a broker, in
//! bubblewrap, and with no jail at all.

use crate::contest::Contender;
use crate::team::Program;
use crate::{Outcome, Prefix};
use rustix::process::{Signal, set_parent_process_death_signal};
use serde::{Deserialize, Serialize};
use std::fs::{File, OpenOptions};
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};
use strait_broker::{Config, Host, World, WorldId};
use strait_jail::{Bind, Fds, Launcher, Options, Spec};
use strait_measure::{Figures, Kind, Load, Placement, round_trips};

const LONG: Duration = Duration::from_secs(20);
/// Where a jail has the program.
const INSIDE: &str = "/starter";
/// The kernel uid of the jails without a broker.
const UID: u32 = 61_001;

/// How a program is started.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
enum Way {
    /// With no jail: what everything else is more than.
    Exec,
    /// bubblewrap with every namespace and the host's `/usr`, nothing else: no `/proc`, no `/dev`, no filter, no limits.
    Bubblewrap,
    /// bubblewrap with what a sandbox usually needs: `/proc`, `/dev`, `/tmp`, a session of its own, and an end with its parent's.
    BubblewrapUsual,
    /// Our jail with every layer; the program writes to a pipe.
    Jail,
    /// The same with nothing begun ahead of time.
    JailUnseated,
    /// A world, every layer, with the host's programs and libraries: its first message has passed the switch.
    World,
    /// The same with nothing begun ahead of time.
    WorldUnseated,
    /// A world without the host's programs and libraries: the program is all there is.
    Bare,
    /// As [`Way::Bare`], of a template whose program needs [`SLOW_MS`] and a table of 64 KiB to be ready.
    Slow,
    /// The same, cloned: it goes on where the first one was ready.
    Clone,
    /// The same with a table of 1 MiB, which each clone gets a copy of.
    CloneLarge,
}

/// What the slow program takes to be ready.
const SLOW_MS: &str = "50";
/// The template's name.
const TEMPLATE: &str = "slow";

const WAYS: [(&str, Way); 11] = [
    ("exec", Way::Exec),
    ("bwrap", Way::Bubblewrap),
    ("bwrap-usual", Way::BubblewrapUsual),
    ("strait-jail", Way::Jail),
    ("strait-jail-unseated", Way::JailUnseated),
    ("strait", Way::World),
    ("strait-unseated", Way::WorldUnseated),
    ("strait-bare", Way::Bare),
    ("strait-slow", Way::Slow),
    ("strait-clone", Way::Clone),
    ("strait-clone-1m", Way::CloneLarge),
];

/// What the process that starts programs is told.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    way: Way,
    program: PathBuf,
    prefix: Vec<String>,
    count: u64,
    warm_up: u64,
    pause_ms: u64,
}

/// One way to start programs.
struct Spawner {
    name: &'static str,
    way: Way,
    prefix: Prefix,
    program: Program,
}

/// Every way that there is here; who can't be had is named.
pub fn contenders(prefix: Prefix, program: &Program) -> (Vec<Box<dyn Contender>>, Option<String>) {
    let has_bubblewrap = Path::new("/usr/bin/bwrap").exists();
    // This program in the other's part has libraries to load.
    let is_static = program.prefix.is_empty();
    let is_there = |way: Way| match way {
        Way::Bubblewrap | Way::BubblewrapUsual => has_bubblewrap,
        Way::Bare | Way::Slow | Way::Clone | Way::CloneLarge => is_static,
        Way::Exec | Way::Jail | Way::JailUnseated | Way::World | Way::WorldUnseated => true,
    };
    let spawner = |(name, way)| Spawner { name, way, prefix, program: program.clone() };
    let there = WAYS.into_iter().filter(|(_, way)| is_there(*way)).map(spawner);
    let boxed = there.map(|one| Box::new(one) as Box<dyn Contender>).collect();
    (boxed, (!has_bubblewrap).then(|| "bwrap: not installed (apt-get install bubblewrap)".into()))
}

/// This very program in the part of the one that is started.
pub fn this(prefix: Prefix) -> Outcome<Program> {
    let prefix = prefix.iter().chain(&["starter"]).map(|part| (*part).to_owned()).collect();
    Ok(Program { path: std::env::current_exe()?, prefix })
}

impl Contender for Spawner {
    fn name(&self) -> &str {
        self.name
    }

    fn refusal(&self, load: &Load) -> Option<String> {
        (load.kind != Kind::Spawn).then(|| "measured by its starts alone".into())
    }

    /// In a process of its own: a launcher starts before any thread does, and this program has one that listens for signals.
    fn run(&self, load: &Load, placement: Placement) -> Outcome<Figures> {
        let Program { path, prefix } = self.program.clone();
        let &Load { count, pause_ms, .. } = load;
        let orders = Orders { way: self.way, program: path, prefix, count, warm_up: load.warm_up(), pause_ms };
        let mut command = Command::new("/proc/self/exe");
        command.args(self.prefix).args(["spawner", &serde_json::to_string(&orders)?]);
        let child = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit()).spawn()?;
        placement.place(child.id(), &[], &[])?;
        let output = child.wait_with_output()?;
        match output.status.success() {
            true => Ok(serde_json::from_slice(&output.stdout)?),
            false => Err("the process that starts programs failed".into()),
        }
    }
}

/// The process that starts programs.
pub fn spawner(orders: &str) -> Outcome<()> {
    set_parent_process_death_signal(Some(Signal::KILL))?;
    let orders: Orders = serde_json::from_str(orders)?;
    let times = match orders.way {
        Way::Exec | Way::Bubblewrap | Way::BubblewrapUsual => commands(&orders),
        Way::Jail | Way::JailUnseated => jails(&orders),
        Way::World | Way::WorldUnseated | Way::Bare => worlds(&orders),
        Way::Slow | Way::Clone | Way::CloneLarge => templates(&orders),
    }?;
    let mut figures = round_trips(times);
    // A thousand have no such tail.
    figures.retain(|(name, _)| name != "p999_us");
    println!("{}", serde_json::to_string(&figures)?);
    Ok(())
}

/// Starts again and again, and times each but the first few. What comes after the sign of life isn't timed.
fn repeat(orders: &Orders, mut start: impl FnMut(u64) -> Outcome<Duration>) -> Outcome<Vec<Duration>> {
    let pause = Duration::from_millis(orders.pause_ms);
    let mut paused = |number| {
        std::thread::sleep(pause);
        start(number)
    };
    let mut times = (0..orders.warm_up + orders.count).map(&mut paused).collect::<Outcome<Vec<_>>>()?;
    Ok(times.split_off(orders.warm_up as usize))
}

fn commands(orders: &Orders) -> Outcome<Vec<Duration>> {
    repeat(orders, |_| {
        let mut command = command(orders);
        command.args(&orders.prefix).arg("byte").stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::inherit());
        let start = Instant::now();
        let mut child = command.spawn()?;
        child.stdout.as_mut().ok_or("no output")?.read_exact(&mut [0])?;
        let time = start.elapsed();
        child.wait()?;
        Ok(time)
    })
}

fn command(orders: &Orders) -> Command {
    if orders.way == Way::Exec {
        return Command::new(&orders.program);
    }
    let mut command = Command::new("/usr/bin/bwrap");
    command.args(["--unshare-all", "--ro-bind"]).arg(&orders.program).arg(INSIDE);
    command.args(["--ro-bind", "/usr", "/usr", "--symlink", "usr/lib", "/lib", "--symlink", "usr/lib64", "/lib64"]);
    if orders.way == Way::BubblewrapUsual {
        command.args(["--proc", "/proc", "--dev", "/dev", "--tmpfs", "/tmp", "--new-session", "--die-with-parent"]);
    }
    command.args(["--", INSIDE]);
    command
}

fn jails(orders: &Orders) -> Outcome<Vec<Duration>> {
    let mut options = Options::default();
    if orders.way == Way::JailUnseated {
        options.seats = 0;
    }
    let mut launcher = Launcher::start_with(&options)?;
    let null = OpenOptions::new().read(true).write(true).open("/dev/null")?;
    let mut spec = Spec::new("starter", INSIDE);
    spec.args = orders.prefix.iter().map(Into::into).chain(["byte".into()]).collect();
    spec.binds = vec![Bind::read_only(&orders.program, INSIDE)];
    spec.uid = rustix::process::geteuid().is_root().then_some(UID);
    repeat(orders, |_| {
        let (reader, writer) = std::io::pipe()?;
        let fds = Fds { stdin: null.as_fd(), stdout: writer.as_fd(), stderr: null.as_fd(), rendezvous: None };
        let start = Instant::now();
        let mut process = launcher.spawn(&spec, fds)?;
        File::from(std::os::fd::OwnedFd::from(reader)).read_exact(&mut [0])?;
        let time = start.elapsed();
        process.wait()?;
        Ok(time)
    })
}

fn worlds(orders: &Orders) -> Outcome<Vec<Duration>> {
    let mut config = Config::default();
    if orders.way == Way::WorldUnseated {
        config.seats = 0;
    }
    let mut host = Host::start(&config)?;
    let to = host.client().id().0.to_string();
    let world = world(orders, &["message", &to]);
    repeat(orders, |number| time_to_message(&mut host, |host| Ok(host.spawn(&format!("starter-{number}"), &world)?)))
}

fn world(orders: &Orders, arguments: &[&str]) -> World {
    let arguments = orders.prefix.iter().map(String::as_str).chain(arguments.iter().copied());
    let mut world = World::new([INSIDE].into_iter().chain(arguments));
    world.read = vec![format!("{}:{INSIDE}", orders.program.display())];
    world.send = vec!["host".into()];
    world.system = matches!(orders.way, Way::World | Way::WorldUnseated);
    world
}

/// The first of them, which a clone is made of, is started before any is timed.
fn templates(orders: &Orders) -> Outcome<Vec<Duration>> {
    // Who the host is has to be known before there is one: it is the first that attaches.
    let host = Host::start(&Config::default())?.client().id().0.to_string();
    let kib = if orders.way == Way::CloneLarge { "1024" } else { "64" };
    let mut world = world(orders, &["slowly", SLOW_MS, kib, &host]);
    world.checkpoint = orders.way != Way::Slow;
    let templates = [(TEMPLATE.to_owned(), world)].into();
    let mut host = Host::start(&Config { templates, ..Config::default() })?;
    let mut start = || time_to_message(&mut host, |host| Ok(host.client().start(TEMPLATE, None)?.0));
    start()?;
    repeat(orders, |_| start())
}

fn time_to_message(host: &mut Host, start: impl FnOnce(&mut Host) -> Outcome<WorldId>) -> Outcome<Duration> {
    let began = Instant::now();
    let id = start(host)?;
    let record = host.client().receive(Some(LONG))?.ok_or("a world says nothing")?;
    let time = began.elapsed();
    if record.header().source != id {
        return Err(format!("{} instead of the world's message", record.header().source).into());
    }
    host.client().wait(id, Some(LONG))?;
    Ok(time)
}
