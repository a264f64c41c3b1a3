//! A broker for one test, and the worlds that it can run.

use rustix::process::{Pid, Signal, kill_process};
use std::path::{Path, PathBuf};
use std::time::Duration;
use strait_broker::{Client, Config, Header, Host, World, WorldId, WorldRow};

/// Longer than anything here takes unless it hangs.
pub const LONG: Duration = Duration::from_secs(60);

/// The program that is every actor, and the broker's own processes too: `world`, built beside the tests.
pub fn program() -> PathBuf {
    let mut dir = std::env::current_exe().expect("a running program has a path");
    dir.pop();
    if dir.ends_with("deps") {
        dir.pop();
    }
    let program = dir.join("world");
    assert!(program.exists(), "{} isn't built: run the tests with `cargo xtask test`", program.display());
    program
}

/// A world that plays a role of the `world` program. It may send to whom is named here, and to the host.
pub fn actor(role: &[&str], send: &[&str]) -> World {
    let mut world = World::new(["/world"].iter().chain(role).copied());
    world.read = vec![format!("{}:/world", program().display())];
    world.send = send.iter().map(ToString::to_string).chain(["host".into()]).collect();
    world
}

/// A broker with whatever worlds a test puts on it.
pub struct Stage {
    pub host: Host,
}

impl Stage {
    pub fn new() -> Self {
        Self::with(&Config::default())
    }

    pub fn with(config: &Config) -> Self {
        Self { host: Host::start_program(&program(), config).expect("a broker") }
    }

    pub fn add(&mut self, name: &str, role: &[&str], send: &[&str]) -> WorldId {
        self.host.spawn(name, &actor(role, send)).expect("a world")
    }

    /// A world that may also have direct links.
    pub fn add_linked(&mut self, name: &str, role: &[&str], link: &[&str]) -> WorldId {
        let mut world = actor(role, &[]);
        world.link = link.iter().map(ToString::to_string).collect();
        self.host.spawn(name, &world).expect("a world")
    }

    pub fn client(&mut self) -> &mut Client {
        self.host.client()
    }

    /// Asks a world and returns what it says.
    pub fn ask(&mut self, world: WorldId, payload: &[u8]) -> Vec<u8> {
        self.client().request(world, payload, LONG).expect("an answer").payload
    }

    pub fn receive(&mut self) -> (Header, Vec<u8>) {
        let record = self.client().receive(Some(LONG)).expect("a broker").expect("a record");
        (record.header(), record.payload().to_vec())
    }

    /// Pid 1 of a world's jail.
    pub fn pid(&mut self, world: WorldId) -> u32 {
        self.row(world).pid.cast_unsigned()
    }

    /// What the broker says of a running world.
    pub fn row(&mut self, world: WorldId) -> WorldRow {
        let rows = self.client().list().expect("a list");
        rows.into_iter().find(|row| row.id == world.0).expect("a running world")
    }

    /// The supervisor's pid, and the switch's.
    pub fn broker_pids(&self) -> (u32, u32) {
        (self.host.supervisor_pid(), self.part("strait-switch").expect("the switch"))
    }

    /// The pid of a process of the broker, by its name, if there is one.
    pub fn part(&self, name: &str) -> Option<u32> {
        children(self.host.supervisor_pid()).into_iter().find(|pid| is_named(*pid, name))
    }
}

impl Default for Stage {
    fn default() -> Self {
        Self::new()
    }
}

fn children(parent: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{parent}/task/{parent}/children")).unwrap_or_default();
    text.split_whitespace().filter_map(|pid| pid.parse().ok()).collect()
}

fn is_named(pid: u32, name: &str) -> bool {
    let line = std::fs::read(Path::new("/proc").join(pid.to_string()).join("cmdline")).unwrap_or_default();
    line.starts_with(name.as_bytes())
}

/// `kill -9` to the program of a world, not to its jail.
pub fn kill_payload(pid1: u32) {
    if let Some(pid) = payload_of(pid1).and_then(|pid| Pid::from_raw(pid.cast_signed())) {
        let _ = kill_process(pid, Signal::KILL);
    }
}

/// The program of a world whose jail has this pid 1.
pub fn payload_of(pid1: u32) -> Option<u32> {
    children(pid1).first().copied()
}
