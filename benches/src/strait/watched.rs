//! One way, in turns: for a while nobody watches, then `strait tap` and `strait top` do, as an operator starts them.
//!
//! Both halves of a turn are in one stream between the same two worlds, a fraction of a second apart: what else the machine does hits them
//! alike. What the tools write goes to files, and is looked at: who shows nothing would cost nothing.

use super::{LONG, Style, Task, WorldId, Worlds, post};
use crate::Outcome;
use crate::Prefix;
use crate::folder::Folder;
use rustix::process::{Pid, Signal, geteuid, kill_process};
use serde_json::Value;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};
use strait_broker::{AttachRule, Client, Config};
use strait_client::Kind as RecordKind;
use strait_measure::{Figures, Load, Message, Placement, Report, check, clock, cpu_us, pin, tree};

/// How long each half of a turn is measured; with what comes before, two are [`strait_measure::TURNS_SECONDS`].
const HALF: Duration = Duration::from_millis(350);
/// From the moment that the tools show something, or are gone, until it is measured.
const SETTLE: Duration = Duration::from_millis(50);
/// The tools, and what they are asked. A sample falls into each half: three times as often as `top` takes one by itself.
const TOOLS: [&[&str]; 2] = [&["tap", "*", "--json"], &["top", "--json", "--interval", "300ms"]];
/// Between two looks of a sender that is held to its rate how much is due.
const TICK: Duration = Duration::from_micros(100);
/// Between two looks of one that isn't.
const STEP: u64 = 256;

/// The command line tool that was built beside this program, if it was.
pub fn tool() -> Option<PathBuf> {
    let path = std::env::current_exe().ok()?.with_file_name("strait");
    path.exists().then_some(path)
}

/// As many turns as the load has, and the medians of what they showed.
pub fn take_turns(prefix: Prefix, load: &Load, placement: Placement) -> Outcome<Figures> {
    let mut scene = Scene::start(prefix, load, placement)?;
    let turns: Vec<[Half; 2]> = (0..load.count).map(|_| scene.turn()).collect::<Outcome<_>>()?;
    let of = |measure: fn(&[Half; 2]) -> f64| median(turns.iter().map(measure).collect());
    let figures = [
        ("msgs_per_s", of(|[alone, _]| alone.per_second)),
        ("watched_per_s", of(|[_, watched]| watched.per_second)),
        ("watched_ratio", of(|[alone, watched]| watched.per_second / alone.per_second)),
        ("cpu_us_per_msg", of(|[alone, _]| alone.cpu_us_per_msg)),
        ("watched_cpu_us", of(|[_, watched]| watched.cpu_us_per_msg)),
        ("tools_cpu_share", of(|[_, watched]| watched.tools_cpu_share)),
        ("taps_per_s", of(|[_, watched]| watched.taps_per_second)),
    ];
    Ok(figures.map(|(name, value)| (name.to_owned(), value)).into())
}

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(0.0)
}

/// What a half of a turn showed.
#[derive(Clone, Copy, Debug, Default)]
struct Half {
    per_second: f64,
    /// Of the broker and the worlds.
    cpu_us_per_msg: f64,
    /// Of one processor, what the tools took.
    tools_cpu_share: f64,
    /// Records that the tap wrote down.
    taps_per_second: f64,
}

struct Scene {
    worlds: Worlds,
    tool: PathBuf,
    folder: Folder,
    placement: Placement,
}

impl Scene {
    fn start(prefix: Prefix, load: &Load, placement: Placement) -> Outcome<Self> {
        let tool = tool().ok_or("there is no `strait` beside this program: cargo build --release -p strait")?;
        let folder = Folder::new()?;
        let mut worlds = Worlds::start(&config(folder.path()), prefix, load, placement, Style::Plain)?;
        if placement == Placement::Same {
            // The supervisor too: it answers `top`.
            tree(worlds.host.supervisor_pid()).into_iter().try_for_each(|pid| pin(Some(pid), Some(0)))?;
        }
        let (sender, receiver) = (worlds.sender, worlds.receivers[0]);
        let client = worlds.host.client();
        client.start_request(receiver, &serde_json::to_vec(&Task::Count { load: *load })?, LONG)?;
        client.start_request(sender, &serde_json::to_vec(&Task::Flow { load: *load, to: receiver.0 })?, LONG)?;
        Ok(Self { worlds, tool, folder, placement })
    }

    fn turn(&mut self) -> Outcome<[Half; 2]> {
        let alone = self.measure(&[])?;
        let tools: Vec<Tool> = TOOLS.iter().map(|arguments| self.tool(arguments)).collect::<Outcome<_>>()?;
        tools.iter().try_for_each(Tool::wait_until_it_shows_something)?;
        let pids: Vec<u32> = tools.iter().map(|tool| tool.process.id()).collect();
        let (start, mut watched) = (Instant::now(), self.measure(&pids)?);
        let [tap, top] = <[Tool; 2]>::try_from(tools).map_err(|_| "two tools")?;
        watched.taps_per_second = count(&tap.end()?, "from")? as f64 / start.elapsed().as_secs_f64();
        match count(&top.end()?, "worlds")? {
            0 => Err("`strait top` showed no sample".into()),
            _ => Ok([alone, watched]),
        }
    }

    fn measure(&mut self, tools: &[u32]) -> Outcome<Half> {
        std::thread::sleep(SETTLE);
        let (first, began) = self.look()?;
        let before = [cpu_us(&self.worlds.pids), cpu_us(tools)];
        std::thread::sleep(HALF);
        let spent = [cpu_us(&self.worlds.pids) - before[0], cpu_us(tools) - before[1]];
        let (last, ended) = self.look()?;
        let (messages, seconds) = ((last - first) as f64, (ended - began) as f64 / 1e9);
        Ok(Half {
            per_second: messages / seconds,
            cpu_us_per_msg: spent[0] / messages.max(1.0),
            tools_cpu_share: spent[1] / (seconds * 1e6),
            taps_per_second: 0.0,
        })
    }

    /// How many messages the receiver has had, and when it said so.
    fn look(&mut self) -> Outcome<(u64, u64)> {
        let receiver = self.worlds.receivers[0];
        let reply = self.worlds.host.client().request(receiver, b"", LONG)?;
        Ok(serde_json::from_slice(&reply.payload)?)
    }

    fn tool(&self, arguments: &[&str]) -> Outcome<Tool> {
        let path = self.folder.path().join(arguments[0]);
        let mut command = Command::new(&self.tool);
        command.args(arguments).arg("--socket").arg(socket(self.folder.path())).stdin(Stdio::null());
        let process = command.stdout(File::create(&path)?).spawn()?;
        let tool = Tool { process, path };
        pin(Some(tool.process.id()), self.placement.of_server())?;
        Ok(tool)
    }
}

fn socket(folder: &Path) -> PathBuf {
    folder.join("strait.sock")
}

/// A broker to which this user's tools attach.
fn config(folder: &Path) -> Config {
    let rule = AttachRule {
        name: "cli/*".into(),
        uid: geteuid().as_raw(),
        send: Vec::new(),
        link: Vec::new(),
        may: vec!["admin".into()],
        ask: Vec::new(),
        publish: Vec::new(),
        subscribe: Vec::new(),
    };
    Config { socket: Some(socket(folder)), attach: vec![rule], ..Config::default() }
}

/// A tool that runs, and the file that it writes to.
struct Tool {
    process: Child,
    path: PathBuf,
}

impl Tool {
    fn wait_until_it_shows_something(&self) -> Outcome<()> {
        let end = Instant::now() + LONG;
        while fs::metadata(&self.path)?.len() == 0 {
            if Instant::now() > end {
                return Err(format!("`strait {}` shows nothing", self.path.display()).into());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Ends it as Ctrl-C does. What it wrote.
    fn end(mut self) -> Outcome<String> {
        if let Some(pid) = Pid::from_raw(self.process.id().cast_signed()) {
            kill_process(pid, Signal::INT)?;
        }
        self.process.wait()?;
        Ok(fs::read_to_string(&self.path)?)
    }
}

/// Lines of JSON that have this key. The last may have been cut off.
fn count(lines: &str, key: &str) -> Outcome<usize> {
    let whole = lines.split_inclusive('\n').filter(|line| line.ends_with('\n'));
    let objects: Vec<Value> = whole.map(serde_json::from_str).collect::<Result<_, _>>()?;
    Ok(objects.iter().filter(|object| object.get(key).is_some()).count())
}

/// The sender: goes on until the broker ends.
pub fn flow(client: &mut Client, load: &Load, to: WorldId) -> Outcome<Report> {
    let (start, mut number, mut buffer) = (Instant::now(), 0, Vec::new());
    loop {
        let due = match load.per_second {
            0 => number + STEP,
            held => (start.elapsed().as_secs_f64() * held as f64) as u64,
        };
        while number < due {
            post(client, to, Message { number, bytes: load.bytes }, &mut buffer)?;
            number += 1;
        }
        if load.per_second != 0 {
            std::thread::sleep(TICK);
        }
    }
}

/// The receiver: reads everything, and says when it is asked how much that was, and the time.
pub fn receive_and_tell(client: &mut Client, load: &Load) -> Outcome<Report> {
    let mut number = 0_u64;
    loop {
        let record = client.receive(Some(LONG))?.ok_or("the stream stopped")?;
        let header = record.header();
        match header.kind {
            RecordKind::Request => drop(client.reply(&header, 0, &serde_json::to_vec(&(number, clock::now_ns()))?)?),
            _ => {
                check(record.payload(), Message { number, bytes: load.bytes })?;
                number += 1;
            }
        }
    }
}
