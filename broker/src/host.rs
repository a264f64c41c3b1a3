//! The broker as a library: what a plugin host, a test, or the `strait` binary holds.

use crate::config::{Config, ConfigError, World};
use crate::roles;
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::io::Errno;
use std::fs::File;
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};
use std::process::Child;
use std::time::Duration;
use strait_client::{Client, Ended, Error, WorldId, WorldRow};
use strait_protocol::Name;
use strait_protocol::control::{Answer, Request};
use strait_sys::socket;

/// Why a broker doesn't start, or doesn't do what it is asked.
#[derive(Debug, thiserror::Error)]
pub enum HostError {
    /// The program can't be its own supervisor.
    #[error("call strait_broker::init() first thing in main, or name the `strait` program with Host::start_program")]
    NotReady,
    /// What it was told doesn't hold together.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// Its first process doesn't start.
    #[error("the supervisor doesn't start: {program}: {error}")]
    Program {
        /// The program.
        program: PathBuf,
        /// What the system said.
        error: io::Error,
    },
    /// A system call failed.
    #[error("{call}: {errno}")]
    Call {
        /// The system call.
        call: &'static str,
        /// What the kernel said.
        errno: Errno,
    },
    /// The broker said no, or is gone.
    #[error(transparent)]
    Client(#[from] Error),
}

/// A running broker, which ends with this value: its worlds are killed if they weren't [stopped](Host::stop).
///
/// ```no_run
/// use strait_broker::{Config, Host, World};
///
/// fn main() -> Result<(), strait_broker::HostError> {
///     strait_broker::init();
///     let mut host = Host::start(&Config::default())?;
///     let greeter = host.spawn("greeter", &World::new(["/usr/bin/env"]))?;
///     let ended = host.client().wait(greeter, None)?;
///     println!("it exited with {:?}", ended.code);
///     Ok(())
/// }
/// ```
#[derive(Debug)]
pub struct Host {
    // Taken in `drop`, so that the connection ends before the supervisor's end is waited for.
    client: Option<Client>,
    supervisor: Child,
}

impl Host {
    /// Starts a broker whose processes are this program again; it must have called [`init`](crate::init).
    pub fn start(config: &Config) -> Result<Self, HostError> {
        match roles::is_ready() {
            true => Self::start_program(Path::new("/proc/self/exe"), config),
            false => Err(HostError::NotReady),
        }
    }

    /// Starts a broker whose processes are another program that calls [`init`](crate::init): `strait`, say.
    pub fn start_program(program: &Path, config: &Config) -> Result<Self, HostError> {
        Self::launch(program, config, None)
    }

    /// The same as [`start`](Self::start) with a listener that is there already, for host programs to attach through: in place of a
    /// socket that the configuration names, and not removed at the end. The broker gets a descriptor of its own.
    pub fn start_listening(config: &Config, listener: BorrowedFd<'_>) -> Result<Self, HostError> {
        match roles::is_ready() {
            true => {
                Self::launch(Path::new("/proc/self/exe"), &Config { socket: None, ..config.clone() }, Some(listener))
            }
            false => Err(HostError::NotReady),
        }
    }

    fn launch(program: &Path, config: &Config, listener: Option<BorrowedFd<'_>>) -> Result<Self, HostError> {
        config.check()?;
        let (ours, theirs) = socket::pair().map_err(call("socketpair"))?;
        let supervisor = roles::start(roles::SUPERVISOR, program, theirs);
        let supervisor = supervisor.map_err(|error| HostError::Program { program: program.into(), error })?;
        let mut host = Self { client: None, supervisor };
        // The supervisor is given nothing of our environment.
        let state = config.state.clone().or_else(state_dir);
        let state = state.map(|path| std::path::absolute(&path).unwrap_or(path));
        let orders = orders(&Config { state, ..config.clone() })?;
        let mut descriptors =
            vec![orders.as_fd(), rustix::stdio::stdin(), rustix::stdio::stdout(), rustix::stdio::stderr()];
        descriptors.extend(listener);
        socket::send(ours.as_fd(), b"start", &descriptors).map_err(call("sendmsg"))?;
        host.client = Some(Client::adopt(ours)?);
        Ok(host)
    }

    /// The host's own place among the worlds: it is named `host`, may send to every world and ask everything.
    pub fn client(&mut self) -> &mut Client {
        self.client.as_mut().expect("taken only in drop")
    }

    /// The supervisor's pid: the parent of the switch and of every world.
    pub fn supervisor_pid(&self) -> u32 {
        self.supervisor.id()
    }

    /// Starts a world. Returns when its program runs; an error says which step of which world failed.
    pub fn spawn(&mut self, name: &str, world: &World) -> Result<WorldId, HostError> {
        world.check()?;
        name.parse::<Name>().map_err(Error::from)?;
        Ok(self.client().spawn(&world.specification(name))?.0)
    }

    /// Makes a world known that sleeps until something is sent to it: it needs [`Wake::Message`](crate::Wake::Message).
    pub fn define(&mut self, name: &str, world: &World) -> Result<WorldId, HostError> {
        world.check()?;
        name.parse::<Name>().map_err(Error::from)?;
        Ok(self.client().define(&world.specification(name))?.0)
    }

    /// Has a new version of a world take over: see [`Client::upgrade`].
    pub fn upgrade(&mut self, name: &str, world: &World, deadline: Duration) -> Result<WorldId, HostError> {
        world.check()?;
        let specification = world.specification(name);
        Ok(self.client().upgrade(name, None, &specification, deadline, "a new version takes over")?.0)
    }

    /// The same, with both side by side until the new one is ready: see [`Client::upgrade_beside`].
    pub fn upgrade_beside(&mut self, name: &str, world: &World, deadline: Duration) -> Result<WorldId, HostError> {
        world.check()?;
        let specification = world.specification(name);
        Ok(self.client().upgrade_beside(name, None, &specification, deadline, "a new version takes over")?.0)
    }

    /// Has the broker start and wake nothing from now on: so that worlds that are being stopped don't wake others.
    pub fn close(&mut self) -> Result<(), HostError> {
        match self.client().ask(&Request::Close, Duration::from_secs(10))? {
            Answer::Done => Ok(()),
            _ => Err(Error::Unexpected.into()),
        }
    }

    /// Ends the direct link between two worlds, if there is one. What they have to say goes through the switch from then on. From two that
    /// both don't want to, no call of the kernel can take a mapping back: then stop one of them.
    pub fn unlink(&mut self, one: WorldId, other: WorldId) -> Result<(), HostError> {
        match self.client().ask(&Request::Unlink { one: one.0, other: other.0 }, Duration::from_secs(10))? {
            Answer::Done => Ok(()),
            _ => Err(Error::Unexpected.into()),
        }
    }

    /// Tells every world to end, all at once, and waits until they have, by themselves or by force at the deadline.
    pub fn stop(mut self, deadline: Duration, reason: &str) -> Result<Vec<Ended>, HostError> {
        self.close()?;
        let client = self.client();
        let is_running = |row: &WorldRow| !matches!(row.state.as_str(), "service" | "attached" | "asleep");
        let worlds: Vec<_> = client.list()?.into_iter().filter(is_running).collect();
        let mut asked = Vec::new();
        for world in worlds {
            let deadline_ms = u32::try_from(deadline.as_millis()).unwrap_or(u32::MAX);
            let request = Request::Stop { name: world.name, deadline_ms, reason: reason.into() };
            asked.push(client.start_request(
                WorldId::CONTROL,
                &request.encode(),
                deadline + Duration::from_secs(10),
            )?);
        }
        let mut ends = Vec::new();
        while !asked.is_empty() {
            let Some(record) = client.receive(None)? else { break };
            let correlation = record.header().correlation;
            if record.header().source == WorldId::CONTROL && asked.contains(&correlation) {
                asked.retain(|other| *other != correlation);
                if let Ok(Answer::Ended(ended)) = Answer::decode(record.payload()) {
                    ends.push(ended);
                }
            }
        }
        Ok(ends)
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        drop(self.client.take());
        // The supervisor sees the end of its connection, kills what is left, and exits.
        let _ = self.supervisor.wait();
    }
}

/// Where states are kept if nothing else is said: as the XDG base directory specification has it, or `hier(7)` for root.
fn state_dir() -> Option<PathBuf> {
    let dir = |variable| std::env::var_os(variable).map(PathBuf::from).filter(|dir| dir.is_absolute());
    match rustix::process::geteuid().is_root() {
        true => Some("/var/lib/strait".into()),
        false => dir("XDG_STATE_HOME")
            .or_else(|| dir("HOME").map(|home| home.join(".local/state")))
            .map(|dir| dir.join("strait")),
    }
}

fn orders(config: &Config) -> Result<File, HostError> {
    let text = serde_json::to_vec(config).expect("texts and numbers can be written as JSON");
    let mut file = File::from(memfd_create("strait-config", MemfdFlags::CLOEXEC).map_err(call("memfd_create"))?);
    let written = file.write_all(&text).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO));
    written.map_err(call("write"))?;
    Ok(file)
}

fn call(call: &'static str) -> impl FnOnce(Errno) -> HostError {
    move |errno| HostError::Call { call, errno }
}
