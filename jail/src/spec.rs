//! What a jail is asked to be: the program, what it may see, and its limits.

use std::ffi::OsString;
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::profile::Profile;

/// One jail and the program to start in it.
///
/// Nothing is inherited: what isn't named here isn't there. Paths must be UTF-8; arguments and environment are bytes.
///
/// ```
/// use strait_jail::{Bind, Spec};
///
/// let mut spec = Spec::new("thumbnails", "python3");
/// spec.args = vec!["/app/main.py".into()];
/// spec.binds = vec![Bind::read_only("/srv/thumbnails", "/app")];
/// spec.uid = Some(70_001);
/// ```
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spec {
    /// The host name inside, and the name in every error. 1 to 63 bytes.
    pub name: String,
    /// With a slash: a path inside the jail. Without: searched in the `PATH` of `env`, inside the jail.
    pub program: PathBuf,
    /// The arguments, without the program's own name.
    pub args: Vec<OsString>,
    /// The whole environment.
    pub env: Vec<(OsString, OsString)>,
    /// The working directory inside.
    pub dir: PathBuf,
    /// What is visible beside the system, in this order: a later one may lie inside an earlier one.
    pub binds: Vec<Bind>,
    /// Whether the host's programs and libraries (`/usr` and its links, a few files of `/etc`) are visible, read-only.
    pub system: bool,
    /// `Some`: a kernel uid (and gid of the same number) of its own, which only a launcher that runs as root can give. It must not
    /// be 0, and should belong to nobody else: two worlds with one uid can signal neither each other nor see each other, but share
    /// the kernel's per-user limits and each other's files. `None`: the launcher's own uid, which must not be 0 either.
    pub uid: Option<u32>,
    /// Which system calls it may make, and what memory it may execute.
    pub profile: Profile,
    /// Bounds on what it may use.
    pub limits: Limits,
}

impl Spec {
    /// A jail with the system visible, nothing else, the default limits and a minimal environment.
    pub fn new(name: impl Into<String>, program: impl Into<PathBuf>) -> Spec {
        let env = [("PATH", "/usr/local/bin:/usr/bin:/bin"), ("HOME", "/tmp"), ("LANG", "C.UTF-8")];
        Spec {
            name: name.into(),
            program: program.into(),
            args: Vec::new(),
            env: env.iter().map(|(key, value)| (key.into(), value.into())).collect(),
            dir: PathBuf::from("/"),
            binds: Vec::new(),
            system: true,
            uid: None,
            profile: Profile::default(),
            limits: Limits::default(),
        }
    }
}

/// A file or directory of the host that is visible inside.
///
/// The source is opened with the launcher's rights, not the world's: a grant may lie below a directory that the world couldn't
/// enter by itself. From the granted directory down, the files' own permissions decide.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bind {
    /// Absolute path on the host.
    pub source: PathBuf,
    /// Absolute path inside, without `..`. Missing directories on the way are made, but never in something that is itself a bind.
    pub target: PathBuf,
    /// What may be done with it.
    pub access: Access,
    /// Whether symbolic links on the way to the source are followed. To one that may be written they are only where the world has no kernel
    /// uid of its own.
    pub follows_links: bool,
}

impl Bind {
    /// Visible and executable, never writable.
    pub fn read_only(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Bind {
        Bind { source: source.into(), target: target.into(), access: Access::ReadOnly, follows_links: true }
    }

    /// Writable where the files' own permissions say so.
    pub fn read_write(source: impl Into<PathBuf>, target: impl Into<PathBuf>) -> Bind {
        Bind { source: source.into(), target: target.into(), access: Access::ReadWrite, follows_links: true }
    }

    /// The same, but a symbolic link on the way to the source fails the spawn: whoever may put one there would choose what is visible.
    pub fn through_no_links(self) -> Bind {
        Bind { follows_links: false, ..self }
    }
}

/// What may be done with a [`Bind`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Access {
    /// Read and execute. Writing, and changing modes or times, fails with `EROFS`.
    ReadOnly,
    /// Read, write and execute. Never device files.
    ReadWrite,
}

/// How much memory a jail may use that wasn't granted more or less: 1 GiB.
pub const DEFAULT_MEMORY_BYTES: u64 = 1 << 30;

/// What a jail may use. `None`: not limited here. Core dumps are always off.
///
/// Two kinds. Those *of the whole jail* (memory, processor, `pids`) are the kernel's control groups (`cgroups(7)`); one that is asked for and
/// can't be had fails the spawn, with the controller's name. The others are resource limits *of each process* (`setrlimit(2)`), soft and
/// hard alike, except for `/tmp`, which is a size.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Bytes of memory of the whole jail: its anonymous pages, the files of its `/tmp`, its pipes, memory files and the kernel's own records of
    /// it, without a way out into swap. Beyond it the kernel kills inside the jail, nowhere else. `None`: [`DEFAULT_MEMORY_BYTES`], where that
    /// can be had: a jail without any bound could take the whole machine's.
    pub memory_bytes: Option<u64>,
    /// Processor time of the whole jail, in thousandths of one processor: 250 is a quarter, 2000 are two processors. At least 10.
    pub cpu_permille: Option<u32>,
    /// Processes and threads of the whole jail, its pid 1 included, whatever uid they have. Beyond it `fork` fails with `EAGAIN`.
    pub pids: Option<u64>,
    /// Descriptors per process.
    pub open_files: Option<u64>,
    /// Processes and threads of the jail's user, its pid 1 included (`RLIMIT_NPROC`): what stands in where `pids` can't be had.
    pub processes: Option<u64>,
    /// Bytes of address space per process. Off by default: language VMs reserve far more than they use.
    pub address_space_bytes: Option<u64>,
    /// Largest file that can be written.
    pub file_size_bytes: Option<u64>,
    /// Stack of a main thread.
    pub stack_bytes: Option<u64>,
    /// Memory that may be locked.
    pub locked_bytes: Option<u64>,
    /// Size of the memory file system at `/tmp`.
    pub tmp_bytes: u64,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            memory_bytes: None,
            cpu_permille: None,
            pids: None,
            open_files: Some(1024),
            processes: Some(256),
            address_space_bytes: None,
            file_size_bytes: None,
            stack_bytes: Some(8 << 20),
            locked_bytes: Some(1 << 20),
            tmp_bytes: 64 << 20,
        }
    }
}
