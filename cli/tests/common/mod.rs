//! Running the real binary: with a directory of its own, a bounded wait, and an end to everything that was started.
#![allow(dead_code, clippy::allow_attributes, reason = "each test file uses another part")]

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::time::{Duration, Instant};

/// Longer than anything here takes on a slow machine, shorter than a person's patience.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// A directory that goes with the value.
pub struct Dir(PathBuf);

impl Dir {
    pub fn new(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("strait-cli-{name}-{}", std::process::id()));
        fs::create_dir_all(&dir).expect("a temporary directory");
        Self(dir)
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub fn file(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).expect("a temporary file");
        path
    }
}

impl Drop for Dir {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The binary, where it finds no broker of anybody else.
pub fn strait<const N: usize>(args: [&str; N]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_strait"));
    command.args(args).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command.env_remove("STRAIT_SOCKET").env_remove("XDG_RUNTIME_DIR");
    command
}

/// What a command said and how it ended.
pub struct Said {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

/// Runs to the end.
pub fn run(mut command: Command) -> Said {
    let child = command.spawn().expect("the binary starts");
    let Output { status, stdout, stderr } = child.wait_with_output().expect("it ends");
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    Said { code: status.code(), out: text(stdout), err: text(stderr) }
}

/// The same, of one whose output isn't piped yet.
pub fn run_piped(mut command: Command) -> Said {
    command.stdout(Stdio::piped()).stderr(Stdio::piped());
    run(command)
}

/// Why something can't be done here, if these programs aren't there.
pub fn missing(programs: &[&str]) -> Option<String> {
    let paths = std::env::var_os("PATH").unwrap_or_default();
    let is_missing = |program: &&&str| !std::env::split_paths(&paths).any(|dir| dir.join(program).exists());
    programs.iter().find(is_missing).map(|program| format!("there is no {program} here"))
}

/// A `strait` that stays, whose standard error is read line by line.
pub struct Foreground {
    child: Child,
    lines: Receiver<String>,
    pub seen: Vec<String>,
}

impl Foreground {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.spawn().expect("the binary starts");
        let stderr = BufReader::new(child.stderr.take().expect("piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || stderr.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
        Self { child, lines, seen: Vec::new() }
    }

    /// `strait up` on a file, when it listens at the socket.
    pub fn up(file: &Path, socket: &Path) -> Self {
        let mut up = Self::start(up(file, socket));
        up.expect("listening on");
        up
    }

    /// The next line with this text in it.
    pub fn expect(&mut self, text: &str) -> String {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(why) => panic!("no line with {text:?} ({why}); lines: {:#?}", self.seen),
            }
            if let Some(line) = self.seen.last().filter(|line| line.contains(text)) {
                return line.clone();
            }
        }
    }

    /// Ctrl-C, to this process alone.
    pub fn interrupt(&self) {
        let kill = Command::new("kill").args(["-INT", &self.child.id().to_string()]).status();
        assert!(kill.expect("kill(1)").success());
    }

    /// Waits for the end: the exit code, and everything it said.
    pub fn end(mut self) -> (Option<i32>, Vec<String>) {
        let end = Instant::now() + PATIENCE;
        loop {
            match self.lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                Ok(line) => self.seen.push(line),
                Err(RecvTimeoutError::Disconnected) => break,
                Err(RecvTimeoutError::Timeout) => panic!("it doesn't end; lines: {:#?}", self.seen),
            }
        }
        let status = self.child.wait().expect("it ends");
        (status.code(), std::mem::take(&mut self.seen))
    }

    pub fn output(&mut self) -> String {
        let mut text = String::new();
        self.child.stdout.take().expect("piped").read_to_string(&mut text).expect("UTF-8");
        text
    }
}

impl Drop for Foreground {
    fn drop(&mut self) {
        // Everything of it ends with its one connection to the supervisor.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub fn up(file: &Path, socket: &Path) -> Command {
    let mut command = strait(["up"]);
    command.arg(file).arg("--socket").arg(socket);
    command
}

/// A command that talks to the broker at `socket`.
pub fn ask<const N: usize>(socket: &Path, args: [&str; N]) -> Said {
    let mut command = strait(args);
    command.env("STRAIT_SOCKET", socket);
    run(command)
}

/// Asks until the answer has this text in it.
pub fn ask_until<const N: usize>(socket: &Path, args: [&str; N], text: &str) -> Said {
    let end = Instant::now() + PATIENCE;
    loop {
        let said = ask(socket, args);
        if said.out.contains(text) {
            return said;
        }
        assert!(Instant::now() < end, "never {text:?}: {} {}", said.out, said.err);
        std::thread::sleep(Duration::from_millis(20));
    }
}
