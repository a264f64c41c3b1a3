//! What attempts are made on: files, sockets, processes and descriptors outside, prepared so that each attempt would work unjailed.

use rustix::fs::{Mode, OFlags};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::net::{SocketAddr, UnixDatagram, UnixListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use strait_escapes::Ground;

/// The programs that the suite starts.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The static program that makes the attempts.
    pub probe: PathBuf,
    /// The product.
    pub strait: PathBuf,
    /// This one, which is also the broker of clones.
    pub runner: PathBuf,
}

/// A directory with everything in it, and what is open for it. All of it is gone with this value.
#[derive(Debug)]
pub struct Place {
    dir: PathBuf,
    programs: Programs,
    abstract_name: String,
    terminal: (OwnedFd, OwnedFd),
    _listeners: (UnixListener, UnixDatagram, Option<UnixListener>),
    _leaks: [OwnedFd; 2],
    holder: Child,
}

impl Place {
    /// Prepares it below a directory that everybody may pass.
    pub fn make(below: &Path, programs: &Programs) -> io::Result<Self> {
        let dir = below.join(format!("strait-escapes-{}", std::process::id()));
        fs::create_dir(&dir)?;
        for (name, mode) in [("", 0o755), ("ro", 0o755), ("rw", 0o777), ("home", 0o777), ("bin", 0o755)] {
            fs::create_dir_all(dir.join(name))?;
            fs::set_permissions(dir.join(name), Permissions::from_mode(mode))?;
        }
        let [probe, strait, runner] = ["ro/probe", "bin/strait", "bin/escapes"].map(|name| dir.join(name));
        let programs = Programs { probe, strait, runner }.copy_of(programs)?;
        write_files(&dir, &programs.probe)?;
        let abstract_name = format!("strait-escapes-{}", std::process::id());
        let terminal = terminal()?;
        let holder = holder(&terminal.1)?;
        Ok(Self {
            _listeners: listen(&dir, &abstract_name)?,
            _leaks: leak(&dir.join("rw"))?,
            dir,
            programs,
            abstract_name,
            terminal,
            holder,
        })
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Copies of the programs that everybody may execute; the probe lies in what is granted read-only.
    pub fn programs(&self) -> &Programs {
        &self.programs
    }

    /// A terminal that belongs to another session.
    pub fn terminal(&self) -> io::Result<OwnedFd> {
        self.terminal.1.try_clone()
    }

    /// The same ground as it is seen where the two granted directories have these names.
    pub fn ground(&self, ro: &str, rw: &str, victim: &Victim, has_broker: bool) -> Ground {
        Ground {
            ro: ro.into(),
            rw: rw.into(),
            outside: self.dir.to_string_lossy().into_owned(),
            victim: victim.0.id().cast_signed(),
            abstract_name: self.abstract_name.clone(),
            has_broker,
            ..Ground::default()
        }
    }

    /// Makes what is granted for writing belong to this user.
    pub fn give(&self, uid: u32) -> io::Result<()> {
        let file = self.dir.join("rw/file");
        fs::write(&file, "file")?;
        if rustix::process::geteuid().is_root() {
            chown(&file, Some(uid), Some(uid))?;
            // What a strait world has of a directory is what its owner has.
            chown(self.dir.join("rw"), Some(uid), Some(uid))?;
            // firejail insists that its user owns his home.
            chown(self.dir.join("home"), Some(uid), Some(uid))?;
        }
        Ok(())
    }

    /// What must be as it was, after every row: the granted files, and what nobody was granted.
    pub fn is_untouched(&self) -> bool {
        let holds = |name: &str, text: &str| fs::read_to_string(self.dir.join(name)).is_ok_and(|found| found == text);
        let names = |name: &str| fs::read_dir(self.dir.join(name)).map_or(0, Iterator::count);
        holds("ro/file", "file") && holds("secret", "secret") && names("ro") == 7 && names("") == NAMES
    }
}

/// Entries of the directory: those that are made, `secret`, `passwd` and `group`.
const NAMES: usize = 7;

impl Programs {
    fn copy_of(self, originals: &Self) -> io::Result<Self> {
        let Self { probe, strait, runner } = &self;
        for (from, to) in [(&originals.probe, probe), (&originals.strait, strait), (&originals.runner, runner)] {
            fs::copy(from, to)?;
            fs::set_permissions(to, Permissions::from_mode(0o755))?;
        }
        Ok(self)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
        let _ = fs::remove_dir_all(&self.dir);
    }
}

fn write_files(dir: &Path, probe: &Path) -> io::Result<()> {
    fs::write(dir.join("secret"), "secret")?;
    fs::write(dir.join("ro/file"), "file")?;
    for (name, mode) in [("idle", 0o755), ("setuid", 0o4755), ("capable", 0o755)] {
        let path = dir.join("ro").join(name);
        fs::copy(probe, &path)?;
        fs::set_permissions(&path, Permissions::from_mode(mode))?;
    }
    if rustix::process::geteuid().is_root() {
        // struct vfs_cap_data of revision 2 (`capabilities(7)`): CAP_SYS_CHROOT, permitted and effective at once.
        let words = [0x0200_0001u32, 1 << 18, 0, 0, 0];
        let bytes: Vec<u8> = words.iter().flat_map(|word| word.to_le_bytes()).collect();
        let flags = rustix::fs::XattrFlags::empty();
        rustix::fs::setxattr(dir.join("ro/capable"), "security.capability", &bytes, flags)?;
    }
    // For the jail that asks who its user is.
    for (name, line) in [
        ("passwd", format!("escapes:x:60000:60000::{}/home:/bin/sh\n", dir.display())),
        ("group", "escapes:x:60000:\n".into()),
    ] {
        let system = fs::read_to_string(Path::new("/etc").join(name))?;
        fs::write(dir.join(name), system + &line)?;
    }
    Ok(())
}

type Listeners = (UnixListener, UnixDatagram, Option<UnixListener>);

fn listen(dir: &Path, abstract_name: &str) -> io::Result<Listeners> {
    let (stream, datagram) = (dir.join("ro/stream"), dir.join("ro/datagram"));
    let listeners = (
        UnixListener::bind(&stream)?,
        UnixDatagram::bind(&datagram)?,
        Some(UnixListener::bind_addr(&SocketAddr::from_abstract_name(abstract_name)?)?),
    );
    for path in [stream, datagram] {
        fs::set_permissions(path, Permissions::from_mode(0o666))?;
    }
    Ok(listeners)
}

/// Descriptors that a careless parent leaves open: a directory and a file, for every program that is started from here.
fn leak(dir: &Path) -> io::Result<[OwnedFd; 2]> {
    let open = |path: &Path| -> io::Result<OwnedFd> {
        let opened = rustix::fs::open(path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?;
        let far = rustix::io::fcntl_dupfd_cloexec(&opened, 100)?;
        rustix::io::fcntl_setfd(&far, rustix::io::FdFlags::empty())?;
        Ok(far)
    };
    Ok([open(dir)?, open(Path::new("/etc/passwd"))?])
}

/// Both ends of a new pseudoterminal.
fn terminal() -> io::Result<(OwnedFd, OwnedFd)> {
    let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC)?;
    grantpt(&master)?;
    unlockpt(&master)?;
    let name = ptsname(&master, Vec::new())?;
    fs::set_permissions(Path::new(name.to_str().unwrap_or_default()), Permissions::from_mode(0o666))?;
    let slave = rustix::fs::open(&*name, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty())?;
    Ok((master, slave))
}

/// The user at the terminal: a process whose session it belongs to.
fn holder(terminal: &impl AsFd) -> io::Result<Child> {
    let stdin = terminal.as_fd().try_clone_to_owned()?;
    Command::new("setsid").args(["--ctty", "sleep", "1000"]).stdin(stdin).spawn()
}

/// A process outside that nobody needs.
#[derive(Debug)]
pub struct Victim(Child);

impl Victim {
    /// Starts one with this uid, if that isn't ours, and with a memory file as its standard input.
    pub fn start(uid: u32) -> io::Result<Self> {
        let file = rustix::fs::memfd_create("victim", rustix::fs::MemfdFlags::CLOEXEC)?;
        let mut command = match uid == rustix::process::geteuid().as_raw() {
            true => Command::new("sleep"),
            false => as_user(uid, "sleep"),
        };
        let command = command.arg("1000").stdin(File::from(file)).stdout(Stdio::null()).process_group(0);
        Ok(Self(command.spawn()?))
    }

    /// Whether it lives, at its own pace.
    pub fn is_well(&mut self) -> bool {
        matches!(self.0.try_wait(), Ok(None))
    }
}

impl Drop for Victim {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A command that is run as another user, by root.
pub fn as_user(uid: u32, program: impl AsRef<std::ffi::OsStr>) -> Command {
    let mut command = Command::new("setpriv");
    command.args([format!("--reuid={uid}"), format!("--regid={uid}"), "--clear-groups".into(), "--".into()]);
    command.arg(program);
    command
}
