//! One run of one peer: starts its processes, fires, and puts what they report together.

use crate::contest::{Contender, span_ns};
use crate::folder::Folder;
use crate::{Outcome, Prefix};
use rustix::process::{Pid, Signal, kill_process};
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;
use strait_measure::{Assignment, Figures, Kind, Load, Placement, Report, Spec, cpu_us, memory_kib, rate, tree};

/// How long a party may take for its whole part. A peer that hangs is named, and doesn't hold up the others.
const LONG: Duration = Duration::from_secs(90);
/// How long a process in the middle may go on shedding memory before it is weighed.
const SETTLE: Duration = Duration::from_millis(300);

/// A program that can be a peer's processes.
#[derive(Clone, Debug)]
pub struct Program {
    pub path: PathBuf,
    pub prefix: Vec<String>,
}

impl Program {
    /// This very program.
    pub fn this(prefix: Prefix) -> Self {
        let prefix = prefix.iter().chain(&["peer"]).map(|part| (*part).to_owned()).collect();
        Self { path: "/proc/self/exe".into(), prefix }
    }
}

/// A process of a run; ended, with whatever it has started, when it is dropped.
struct Party {
    child: Child,
    lines: Receiver<String>,
    log: PathBuf,
}

impl Party {
    fn start(program: &Program, assignment: &Assignment) -> Outcome<Self> {
        let name = assignment.index.map_or("server".into(), |index| format!("party-{index}"));
        let log = assignment.dir.join(name).with_extension("log");
        let mut command = Command::new(&program.path);
        command.args(&program.prefix).arg(serde_json::to_string(assignment)?);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn().map_err(|error| format!("{}: {error}", program.path.display()))?;
        let (out, lines) = channel();
        let stdout = child.stdout.take().ok_or("no output")?;
        std::thread::spawn(move || {
            BufReader::new(stdout).lines().map_while(Result::ok).try_for_each(|line| out.send(line))
        });
        Ok(Self { child, lines, log })
    }

    /// The next line it says.
    fn line(&self) -> Outcome<String> {
        self.lines.recv_timeout(LONG).map_err(|error| {
            let said = fs::read_to_string(&self.log).unwrap_or_default();
            let why = said.lines().rfind(|line| !line.trim().is_empty()).unwrap_or("it said nothing");
            let what = if error.to_string().contains("timed out") { "takes too long" } else { "ended" };
            format!("a process {what}: {why}").into()
        })
    }

    fn fire(&mut self) -> Outcome<()> {
        let stdin = self.child.stdin.as_mut().ok_or("no input")?;
        stdin.write_all(b"go\n").map_err(|error| format!("a process ended early: {error}").into())
    }

    fn report(&self) -> Outcome<Report> {
        Ok(serde_json::from_str(&self.line()?)?)
    }
}

impl Drop for Party {
    fn drop(&mut self) {
        for pid in tree(self.child.id()) {
            if let Some(pid) = Pid::from_raw(pid.cast_signed()) {
                let _ = kill_process(pid, Signal::KILL);
            }
        }
        let _ = self.child.wait();
    }
}

/// The processes of a run. Fields are dropped in order: the parties end before the process in the middle does.
struct Team {
    sender: Party,
    receivers: Vec<Party>,
    server: Option<Party>,
    folder: Folder,
}

/// A peer whose processes some program is.
pub struct Peer {
    pub program: Program,
    pub spec: Spec,
}

impl Contender for Peer {
    fn name(&self) -> &str {
        &self.spec.name
    }

    fn refusal(&self, load: &Load) -> Option<String> {
        if matches!(load.kind, Kind::Topics | Kind::Watched) {
            return Some("measured with strait alone".into());
        }
        if load.kind == Kind::Spawn {
            return Some("it starts no programs".into());
        }
        if load.bystanders > 0 {
            return Some("measured for strait alone".into());
        }
        self.spec.refuses.iter().find(|(kind, _)| *kind == load.kind).map(|(_, why)| why.clone())
    }

    fn run(&self, load: &Load, placement: Placement) -> Outcome<Figures> {
        let mut team = Team::assemble(&self.program, &self.spec, load, placement)?;
        let figures = match load.kind {
            Kind::Idle => team.weigh(load),
            _ => team.play(load),
        };
        figures.map_err(|error| with_server_log(team.folder.path(), error.to_string()).into())
    }
}

impl Team {
    fn assemble(program: &Program, spec: &Spec, load: &Load, placement: Placement) -> Outcome<Self> {
        let folder = Folder::new()?;
        let start = |index| Party::start(program, &assignment(spec, load, placement, folder.path(), index));
        let server = if spec.has_server { Some(start(None)?) } else { None };
        let receivers = if load.kind == Kind::Idle { 0 } else { load.receivers };
        let receivers: Vec<Party> = (1..=receivers).map(|index| start(Some(index))).collect::<Outcome<_>>()?;
        let all_ready = receivers.iter().try_for_each(|party| party.line().map(drop));
        let sender = all_ready.and_then(|()| start(Some(0))).and_then(|party| party.line().map(|_| party));
        match sender {
            Ok(sender) => Ok(Self { sender, receivers, server, folder }),
            Err(error) => Err(with_server_log(folder.path(), error.to_string()).into()),
        }
    }

    fn server_pids(&self) -> Vec<u32> {
        self.server.as_ref().map_or_else(Vec::new, |server| tree(server.child.id()))
    }

    fn play(&mut self, load: &Load) -> Outcome<Figures> {
        let before = cpu_us(&self.server_pids());
        self.receivers.iter_mut().try_for_each(Party::fire)?;
        self.sender.fire()?;
        let sent = self.sender.report()?;
        let received: Vec<Report> = self.receivers.iter().map(Party::report).collect::<Outcome<_>>()?;
        let between = cpu_us(&self.server_pids()) - before;
        let mut figures = sent.figures;
        if let Some(span) = span_ns(&received) {
            figures.extend(rate((load.count - 1) * load.receivers as u64, load.bytes, span));
        }
        if load.kind != Kind::Connect {
            let parties: f64 = received.iter().map(|report| report.cpu_us).sum();
            figures.push(("cpu_us_per_msg".into(), (sent.cpu_us + parties + between) / load.deliveries() as f64));
        }
        Ok(figures)
    }

    /// By how much the process in the middle grows with clients that do nothing.
    fn weigh(&mut self, load: &Load) -> Outcome<Figures> {
        std::thread::sleep(SETTLE);
        let before = memory_kib(&self.server_pids());
        self.sender.fire()?;
        self.sender.report()?;
        std::thread::sleep(SETTLE);
        let grown = memory_kib(&self.server_pids()) - before;
        Ok(vec![("kib_per_client".into(), grown / load.count as f64)])
    }
}

fn assignment(spec: &Spec, load: &Load, placement: Placement, dir: &Path, index: Option<usize>) -> Assignment {
    Assignment { peer: spec.name.clone(), dir: dir.into(), index, load: *load, placement, parent: std::process::id() }
}

/// When parties don't get through, the process in the middle may have said why.
fn with_server_log(dir: &Path, why: String) -> String {
    let said = fs::read_to_string(dir.join("server.log")).unwrap_or_default();
    match said.lines().rfind(|line| !line.trim().is_empty()) {
        Some(last) => format!("{why} (the server: {last})"),
        None => why,
    }
}
