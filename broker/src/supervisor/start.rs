//! The supervisor's first moments: everything that must happen before the first world, in order.

use super::accounts::Pace;
use super::dials::Dials;
use super::entry::{Channel, Entry, Nature, State};
use super::grants::Grants;
use super::pools::Pools;
use super::printed::Printed;
use super::shares::Shares;
use super::spare::Spare;
use super::store::Store;
use super::topics::Topics;
use super::{MAX_WORLDS, Supervisor, Token, log, open_path};
use crate::config::Config;
use crate::link::{Command, Event, Link};
use crate::policy::Policy;
use crate::{roles, turns};
use rustix::event::epoll::{self, EventFlags};
use rustix::fs::{FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::fs::{self, DirBuilder, File, Permissions};
use std::io::{ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, ExitCode};
use std::time::{Duration, Instant};
use strait_client::Client;
use strait_jail::Launcher;
use strait_protocol::{Name, SliceSize, WorldId, handshake};
use strait_sys::{socket, wake};

/// The control service answers many at once.
const CONTROL_SLICE: u64 = 1024 * 1024;
const CONTROL_BUDGET_BYTES: u64 = 16 * 1024 * 1024;
/// What a host is told when the switch can't give up its privileges, or has none to make namespaces with.
const SWITCH_ENDED: &str = "the switch ended before it began; see its message above";
/// How long the supervisor waits for room in its own outbox, which the switch empties at any load.
const CONTROL_PATIENCE: Duration = Duration::from_secs(1);
/// Descriptors that the supervisor keeps for each world at most, while it starts, and those it needs for itself.
const FILES_PER_WORLD: usize = 14;
const OWN_FILES: usize = 200;
/// How long killed worlds may take to be gone when everything ends.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Runs the supervisor on the connection that its host left as standard input.
pub(crate) fn main() -> ExitCode {
    let Ok(host) = rustix::stdio::stdin().try_clone_to_owned() else { return ExitCode::FAILURE };
    let (supervisor, switch) = match start(&host) {
        Ok(started) => started,
        Err(why) => {
            let _ = socket::send(host.as_fd(), &handshake::refusal(&why), &[]);
            return ExitCode::FAILURE;
        }
    };
    drop(host);
    supervise(supervisor, switch)
}

fn supervise(mut supervisor: Supervisor, mut switch: Child) -> ExitCode {
    let result = supervisor.run();
    supervisor.end_all();
    supervisor.end_store();
    supervisor.finish_printed(|_| true);
    let Supervisor { launcher, link, worlds, control, .. } = supervisor;
    // The end of its link is what the switch ends by.
    drop((worlds, control, link));
    let _ = switch.wait();
    turns::scatter(&launcher);
    drop(launcher);
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(errno) => {
            log(&format!("epoll_wait: {errno}"));
            ExitCode::FAILURE
        }
    }
}

fn start(host: &OwnedFd) -> Result<(Supervisor, Child), String> {
    let (config, stdio, listener) = orders(host)?;
    config.check().map_err(|error| error.to_string())?;
    // Before the launcher, which holds some for each jail that waits. What a world may have is its own limit.
    let max_worlds = raise_files();
    // First of all, while this process has nothing to inherit and one thread.
    let launcher = Launcher::start_with(&turns::options(config.seats)).map_err(|error| error.to_string())?;
    turns::gather(&launcher);
    let (ours, theirs) = socket::pair().map_err(|errno| format!("socketpair: {errno}"))?;
    let switch = roles::start(roles::SWITCH, Path::new("/proc/self/exe"), theirs)
        .map_err(|error| format!("the switch doesn't start: {error}"))?;
    let mut link = Link::new(ours);
    let (control_entry, control) = control_service(&mut link)?;
    let (rendezvous, rendezvous_inode) = rendezvous()?;
    let public = match listener {
        Some(listener) => Some(listener),
        None => config.socket.as_deref().map(public).transpose()?,
    };
    let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|errno| format!("epoll_create: {errno}"))?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|errno| format!("open /dev/null: {errno}"))?;
    let mut supervisor = Supervisor {
        config,
        epoll,
        host: WorldId::SWITCH,
        printed: Printed::new(&stdio),
        stdio,
        nothing,
        launcher,
        launches: HashMap::new(),
        images: HashMap::new(),
        restorer: None,
        link,
        control,
        rendezvous,
        rendezvous_inode,
        unmatched: Vec::new(),
        public,
        strangers: BTreeMap::new(),
        names: HashMap::from([(control_entry.name.clone(), control_entry.id)]),
        worlds: BTreeMap::from([(control_entry.id, control_entry)]),
        history: VecDeque::new(),
        shares: Shares::beside(switch.id()),
        spare: Spare::default(),
        pace: Pace::default(),
        grants: Grants::default(),
        tappers: BTreeSet::new(),
        topics: Topics::default(),
        store: Store::default(),
        dials: Dials::default(),
        pools: Pools::default(),
        counts: HashMap::new(),
        next_id: WorldId::FIRST.0 - 1,
        next_uid: 0,
        next_number: 0,
        is_root: rustix::process::geteuid().is_root(),
        is_behind: false,
        max_worlds,
        idle_question: None,
        is_closing: false,
        is_over: false,
    };
    supervisor.watch_all().map_err(|errno| format!("epoll_ctl: {errno}"))?;
    supervisor.watch_pressure();
    supervisor.lend_uids()?;
    supervisor.serve();
    let name = "host".parse().map_err(|error| format!("host: {error}"))?;
    let connection = host.try_clone().map_err(|error| error.to_string())?;
    let policy =
        Policy::new(&["*".into()], &["*".into()], &["admin".into()], &[]).map_err(|error| error.to_string())?;
    supervisor.host = supervisor.admit(name, SliceSize::DEFAULT, policy, connection)?;
    if let Some(entry) = supervisor.worlds.get_mut(&supervisor.host)
        && let Ok(peer) = socket::peer(host.as_fd())
    {
        (entry.uid, entry.pid) = (peer.uid, peer.pid);
    }
    supervisor.make_pools()?;
    Ok((supervisor, switch))
}

/// Lets this process have as many descriptors as it may, and says how many worlds that is enough for.
fn raise_files() -> usize {
    let limit = getrlimit(Resource::Nofile);
    let raised = Rlimit { current: limit.maximum, maximum: limit.maximum };
    let files = match setrlimit(Resource::Nofile, raised) {
        Ok(()) => limit.maximum,
        Err(_) => limit.current,
    };
    let files = files.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX));
    (files.saturating_sub(OWN_FILES) / FILES_PER_WORLD).min(MAX_WORLDS)
}

/// What the host says first: the configuration as JSON in a file of its own, its standard streams, and perhaps the listener for host programs.
fn orders(host: &OwnedFd) -> Result<(Config, [OwnedFd; 3], Option<OwnedFd>), String> {
    let (_, mut descriptors) =
        socket::receive(host.as_fd(), &mut [0; 16]).map_err(|errno| format!("recvmsg: {errno}"))?;
    let listener = (descriptors.len() > 4).then(|| descriptors.remove(4));
    let [config, stdin, stdout, stderr]: [OwnedFd; 4] =
        descriptors.try_into().map_err(|_| "the host didn't say what to do")?;
    let mut text = String::new();
    rustix::fs::seek(&config, rustix::fs::SeekFrom::Start(0)).map_err(|errno| format!("lseek: {errno}"))?;
    File::from(config)
        .read_to_string(&mut text)
        .map_err(|error| format!("the configuration can't be read: {error}"))?;
    let config = serde_json::from_str(&text).map_err(|error| format!("the configuration: {error}"))?;
    Ok((config, [stdin, only_to_write(stdout), only_to_write(stderr)], listener))
}

/// A terminal or pipe opened anew, for writing alone: a world that gets the host's own description of a terminal as its output could read
/// what is typed there, and its file flags would be ours too. Where that can't be done (a file, a socket) it is left as it is.
fn only_to_write(stream: OwnedFd) -> OwnedFd {
    let kind = rustix::fs::fstat(&stream).map(|stat| FileType::from_raw_mode(stat.st_mode));
    if !matches!(kind, Ok(FileType::CharacterDevice | FileType::Fifo)) {
        return stream;
    }
    let name = format!("/proc/self/fd/{}", stream.as_raw_fd());
    let flags = OFlags::WRONLY | OFlags::NOCTTY | OFlags::CLOEXEC;
    rustix::fs::open(name, flags, Mode::empty()).unwrap_or(stream)
}

/// The control service attaches like everyone else; only that both ends of its connection are here.
fn control_service(link: &mut Link) -> Result<(Entry, Client), String> {
    let name: Name = "strait.control".parse().map_err(|error| format!("{error}"))?;
    let size = SliceSize::new(CONTROL_SLICE).map_err(|error| error.to_string())?;
    let channel = Channel::create(size).map_err(|error| error.to_string())?;
    let mut entry = Entry::new(WorldId::CONTROL, name, Nature::Service, channel);
    // A star alone covers no service.
    entry.policy = Policy::new(&["*".into(), "strait.*".into()], &[], &[], &[]).map_err(|error| error.to_string())?;
    entry.state = State::Ready;
    let attach = Command::Attach(entry.passport(CONTROL_BUDGET_BYTES));
    match link.send(&attach, &entry.channel.for_switch()) {
        Ok(()) => {}
        // It may end before it is told or before it answers: that is one and the same to whoever asks why.
        Err(Errno::PIPE | Errno::CONNRESET) => return Err(SWITCH_ENDED.into()),
        Err(errno) => return Err(format!("the switch can't be told: {errno}")),
    }
    match link.receive() {
        Ok(Some((Event::Attached { .. }, _))) => {}
        Ok(Some((other, _))) => return Err(format!("the switch doesn't take the control service: {other:?}")),
        Ok(None) => return Err(SWITCH_ENDED.into()),
        Err(errno) => return Err(format!("the switch doesn't answer: {errno}")),
    }
    entry.channel.inbox.seal_writes().map_err(|error| error.to_string())?;
    let (ours, theirs) = socket::pair().map_err(|errno| format!("socketpair: {errno}"))?;
    socket::send(ours.as_fd(), &entry.welcome().encode(), &entry.channel.for_world())
        .map_err(|errno| format!("sendmsg: {errno}"))?;
    let mut client = Client::adopt(theirs).map_err(|error| error.to_string())?;
    client.set_patience(Some(CONTROL_PATIENCE));
    entry.connection = Some(ours);
    entry.is_switched = true;
    entry.is_welcomed = true;
    Ok((entry, client))
}

/// A listening socket without a name: jails connect to its inode, which only the launcher is given.
fn rendezvous() -> Result<(OwnedFd, OwnedFd), String> {
    let dir = private_dir()?;
    let path = dir.join("worlds");
    let made = make_rendezvous(&path).map_err(|error| format!("{}: {error}", path.display()));
    let _ = fs::remove_file(&path);
    let _ = fs::remove_dir(&dir);
    made
}

fn make_rendezvous(path: &Path) -> std::io::Result<(OwnedFd, OwnedFd)> {
    let listener = socket::listen(path)?;
    // Worlds connect with uids of their own.
    fs::set_permissions(path, Permissions::from_mode(0o666))?;
    Ok((listener, open_path(path)?))
}

fn private_dir() -> Result<PathBuf, String> {
    let base = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_dir());
    let base = base.unwrap_or_else(std::env::temp_dir);
    make_private_dir(&base).map_err(|error| {
        let place = base.display();
        format!("a private directory can't be made in {place} ($XDG_RUNTIME_DIR, else $TMPDIR or /tmp): {error}")
    })
}

fn make_private_dir(base: &Path) -> std::io::Result<PathBuf> {
    let pid = std::process::id();
    for attempt in 0..100 {
        let dir = base.join(format!("strait-{pid}-{attempt}"));
        // mkdir(2) follows no link at the end of the path: what it makes is ours.
        match DirBuilder::new().mode(0o700).create(&dir) {
            Ok(()) => return Ok(dir),
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
            Err(error) => return Err(error),
        }
    }
    Err(ErrorKind::AlreadyExists.into())
}

/// To `connect(2)` any other file is a socket that nobody listens on.
fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

/// The listener for host programs. One that somebody listens on is left alone; one that nobody does is replaced.
fn public(path: &Path) -> Result<OwnedFd, String> {
    let say = |why: &str| format!("{}: {why}", path.display());
    let listener = match socket::listen(path) {
        Err(Errno::ADDRINUSE) if !is_socket(path) => {
            return Err(say("something is here that is no socket: choose another place"));
        }
        Err(Errno::ADDRINUSE) => match socket::connect(path) {
            Ok(_) => return Err(say("another strait is listening here: stop it, or choose another socket")),
            Err(Errno::CONNREFUSED) => {
                fs::remove_file(path).map_err(|error| say(&error.to_string()))?;
                socket::listen(path)
            }
            Err(errno) => return Err(say(&format!("something is here already: {errno}"))),
        },
        other => other,
    };
    let listener = listener.map_err(|errno| say(&format!("can't listen here: {errno}")))?;
    // Who may attach is decided by the uid that the kernel names, not by the file's mode.
    fs::set_permissions(path, Permissions::from_mode(0o666)).map_err(|error| say(&error.to_string()))?;
    Ok(listener)
}

impl Supervisor {
    fn watch_all(&mut self) -> Result<(), Errno> {
        self.watch(self.rendezvous.as_fd(), Token::Rendezvous, EventFlags::IN)?;
        self.watch(self.launcher.as_fd(), Token::Launcher, EventFlags::IN)?;
        self.watch(self.link.as_fd(), Token::Switch, EventFlags::IN)?;
        epoll::add(&self.epoll, self.control.poll_fd(), Token::Control.pack(), EventFlags::IN)?;
        if let Some(public) = &self.public {
            self.watch(public.as_fd(), Token::Public, EventFlags::IN)?;
        }
        Ok(())
    }

    /// Ends every world by force and waits until the kernel says that they are gone.
    fn end_all(&mut self) {
        if let Some(path) = self.public.as_ref().and(self.config.socket.as_ref()) {
            let _ = fs::remove_file(path);
        }
        let end = Instant::now() + LAST_WAIT;
        for entry in self.worlds.values() {
            if let Some(process) = &entry.process {
                let _ = process.kill();
            }
        }
        // What was being started is killed with the answer's `Process`; a launcher that answers no more has died with its jails.
        while !self.launches.is_empty() && self.launcher.next().is_ok() {
            let _ = self.launches.keys().min().copied().and_then(|ticket| self.launches.remove(&ticket));
        }
        for entry in self.worlds.values_mut() {
            if let Some(process) = &mut entry.process {
                let _ = wake::wait_readable(process.pidfd(), Some(end.saturating_duration_since(Instant::now())));
                let _ = process.try_wait();
            }
        }
    }
}
