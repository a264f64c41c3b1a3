//! The supervisor that is experimented on: a process of its own, which starts a world when it is told to and says what came of it.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::process::{Child, ChildStdin, Command, ExitCode, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use strait_jail::{Bind, Error, Exit, Fds, Launcher, Options, Process, Spec};
use strait_sys::restorer::Fault;

use crate::template::Template;

/// What came of an order.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Outcome {
    /// Why there is no world.
    pub error: Option<String>,
    /// Whether the launcher can be given orders still.
    pub has_launcher: bool,
    /// Whether the payload ran.
    pub is_marked: bool,
    /// What the kernel says of the world, without the numbers that are others each time.
    pub report: String,
    pub mounts: Vec<String>,
    /// What a clone that never ran has said of itself by its code.
    pub fault: Option<String>,
}

/// What a supervisor starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Program,
    Clone,
}

/// The life of the process.
pub fn live(kind: &str, uid: &str) -> ExitCode {
    // No jail is begun before its order: every call is one on the way of a spawn.
    let mut launcher = Launcher::start_with(&Options { seats: 0, ..Options::default() }).expect("launcher");
    let mut spec = Spec::new("subject", "/bin/sh");
    spec.args = vec!["-c".into(), "echo ran; read line".into()];
    spec.uid = Some(uid.parse().expect("uid"));
    // One that the launcher has to map to its owner.
    spec.binds = vec![Bind::read_write("/srv", "/data")];
    let template = (kind == "Clone").then(|| Template::make(&mut launcher, &mut spec));
    say(&"ready");
    for line in std::io::stdin().lines() {
        let holds = line.expect("line") == "hold";
        let world = World::order(&mut launcher, &spec, template.as_ref());
        if holds {
            say(&world.outcome);
            std::thread::sleep(Duration::from_secs(1000));
        }
        let outcome = world.end();
        say(&outcome);
        if !outcome.has_launcher {
            break;
        }
    }
    ExitCode::SUCCESS
}

fn say(what: &impl Serialize) {
    println!("{}", serde_json::to_string(what).expect("json"));
}

struct World {
    process: Option<Process>,
    output: File,
    outcome: Outcome,
    _input: OwnedFd,
}

impl World {
    fn order(launcher: &mut Launcher, spec: &Spec, template: Option<&Template>) -> World {
        let pipe = || rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
        let ((stdin, input), (output, writer)) = (pipe(), pipe());
        let fds = Fds { stdin: stdin.as_fd(), stdout: writer.as_fd(), stderr: writer.as_fd(), rendezvous: None };
        let result = match template {
            None => launcher.spawn(spec, fds),
            Some(template) => template.spawn(launcher, spec, fds),
        };
        drop((stdin, writer));
        let has_launcher = !matches!(result, Err(ref error) if !matches!(error, Error::Spawn(_)));
        let error = result.as_ref().err().map(Error::to_string);
        let (report, mounts) = (String::new(), Vec::new());
        let outcome = Outcome { error, has_launcher, is_marked: false, report, mounts, fault: None };
        let mut world = World { process: result.ok(), output: output.into(), outcome, _input: input };
        world.look();
        world
    }

    /// Waits for the mark, or for the end of everybody who could make it.
    fn look(&mut self) {
        let mut mark = [0; 4];
        self.outcome.is_marked = self.output.read_exact(&mut mark).is_ok() && &mark == b"ran\n";
        if let (Some(process), true) = (&self.process, self.outcome.is_marked) {
            match process.report() {
                Ok(report) => (self.outcome.report, self.outcome.mounts) = describe(report),
                Err(error) => self.outcome.report = error.to_string(),
            }
        }
        if let (Some(process), false) = (&mut self.process, self.outcome.is_marked)
            && let Ok(Exit::Code(code)) = process.wait()
        {
            self.outcome.fault = Fault::from_code(code).map(|fault| fault.to_string());
        }
    }

    /// Ends it, and everything that was held for it.
    fn end(self) -> Outcome {
        self.outcome
    }
}

impl Outcome {
    /// Whether the jail is the other's; with `but_fewer_mounts`, whether it may see less.
    pub fn is_as_whole_as(&self, other: &Outcome, but_fewer_mounts: bool) -> bool {
        let mounts = match but_fewer_mounts {
            true => self.mounts.iter().all(|mount| other.mounts.contains(mount)),
            false => self.mounts == other.mounts,
        };
        self.is_marked && self.report == other.report && mounts
    }
}

fn describe(mut report: strait_jail::Report) -> (String, Vec<String>) {
    report.pid = 0;
    report.pids.clear();
    // What is in use, not what is in force.
    report.control_groups.retain(|(file, _)| !file.contains("usage") && !file.contains("current"));
    for (_, target) in &mut report.descriptors {
        target.truncate(target.find(':').unwrap_or(target.len()));
    }
    // Whose a grant's files are is not part of the jail.
    let describe = |mount: &strait_jail::Mount| format!("{mount:?}").replace(",idmapped", "");
    let mut mounts: Vec<_> = std::mem::take(&mut report.mounts).iter().map(describe).collect();
    // A grant for writing is mapped to its owner by the launcher, while others are attached already: its number may be any.
    mounts.sort();
    (format!("{report:?}"), mounts)
}

/// The launcher among the children of a supervisor.
pub fn launcher_of(supervisor: u32) -> Option<i32> {
    let children = std::fs::read_to_string(format!("/proc/{supervisor}/task/{supervisor}/children")).ok()?;
    let is_launcher = |pid: &i32| {
        std::fs::read_to_string(format!("/proc/{pid}/comm")).is_ok_and(|name| name.trim_end() == "strait-launcher")
    };
    children.split_whitespace().filter_map(|pid| pid.parse().ok()).find(is_launcher)
}

/// The other side: that process, as the experiment holds it.
pub struct Subject {
    child: Child,
    orders: ChildStdin,
    words: Receiver<String>,
}

impl Subject {
    pub fn start(kind: Kind, uid: u32) -> Subject {
        let mut command = Command::new("/proc/self/exe");
        command.args(["subject", &format!("{kind:?}"), &uid.to_string()]).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("subject");
        let (orders, output) = (child.stdin.take().expect("stdin"), child.stdout.take().expect("stdout"));
        let (sender, words) = channel();
        std::thread::spawn(move || {
            BufReader::new(output).lines().map_while(Result::ok).try_for_each(|l| sender.send(l))
        });
        let subject = Subject { child, orders, words };
        assert_eq!(subject.words.recv_timeout(Duration::from_secs(20)).as_deref(), Ok("\"ready\""));
        subject
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    pub fn order(&mut self, what: &str) {
        writeln!(self.orders, "{what}").expect("order");
    }

    pub fn outcome(&self) -> Option<Outcome> {
        self.words.try_recv().ok().map(|word| serde_json::from_str(&word).expect("an outcome"))
    }

    pub fn kill(&mut self) {
        let _ = self.child.kill();
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        self.kill();
        let _ = self.child.wait();
    }
}
