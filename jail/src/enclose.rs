//! A process of our own that gives up everything but the descriptors it holds.
//!
//! For a service that, once it runs, only touches memory it has mapped and descriptors it was given: it needs no file, no network, no
//! user and no privilege, so whoever takes it over gets none. One that keeps files gets the directories that it names, and nothing beside them.

use rustix::process::{getegid, geteuid};
use strait_sys::launch::{check_single_threaded, unshare_namespaces};

use crate::error::{At, Error, SpawnError, Step, refused};
use crate::privilege;
use crate::root::{self, Kind, Root, open_source};
use crate::ruleset::{Rights, Rules};
use crate::seccomp;
use crate::spec::{Bind, Limits};

/// What [`enclose`] leaves to the calling process.
#[derive(Clone, Debug)]
pub struct Enclosure {
    /// Its host name, and the name in errors.
    pub name: String,
    /// `Some`: the kernel uid and gid it becomes, which takes root. `None`: it keeps its own, which must not be 0.
    pub uid: Option<u32>,
    /// Numbers of the system calls that it may make (`libc::SYS_*`). Any other kills it. What it needs to end (`exit_group`) and to
    /// allocate memory must be among them.
    pub syscalls: Vec<i64>,
    /// Directories of the host that it keeps, each at its place in its otherwise empty root. Nothing in them can be executed. The files' own
    /// permissions decide what `uid` may do there.
    pub binds: Vec<Bind>,
    /// Whether it keeps the host's network, and may connect there. Otherwise it has none.
    pub network: bool,
    /// Its limits. `tmp_bytes` means nothing here: there is no file system. `processes` of 1 means: no further thread.
    pub limits: Limits,
}

/// What the allocator and the end of any process take: for [`Enclosure::syscalls`], beside its own.
pub const RUNTIME_CALLS: &[i64] = &[
    libc::SYS_mprotect,
    libc::SYS_mremap,
    libc::SYS_madvise,
    libc::SYS_brk,
    libc::SYS_getrandom,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigaction,
    libc::SYS_sigaltstack,
    libc::SYS_restart_syscall,
    libc::SYS_exit,
    libc::SYS_exit_group,
];

/// Encloses the calling process, which must have one thread. Its open descriptors and its memory stay.
///
/// After that: a root that is read-only and empty but for `binds`, no network but an unconfigured loopback (unless it keeps the host's), no capabilities and no way to any, no
/// supplementary groups (root only), Landlock denying every other file, TCP (unless it keeps the network: then listening), and signals to others, no core dump, no new
/// executable memory, and only the listed system calls. It stays in its pid namespace, because that can't be changed for a running process.
///
/// A parent-death signal stays as it was asked for. One that fell due during the call is lost: check for the parent afterwards.
///
/// On an error the process may be half enclosed and should end.
pub fn enclose(enclosure: &Enclosure) -> Result<(), Error> {
    if check_single_threaded().is_err() {
        let threads = std::fs::read_dir("/proc/self/task").map_or(0, Iterator::count);
        return Err(Error::Threads { threads });
    }
    steps(enclosure).map_err(|source| Error::Enclose { name: enclosure.name.clone(), source })
}

/// The order: namespaces while there is a right to them; the root while there is a right to mount; then the user; then, with the
/// user settled, what makes all of it irrevocable.
fn steps(enclosure: &Enclosure) -> Result<(), SpawnError> {
    let network = if enclosure.network { 0 } else { libc::CLONE_NEWNET };
    let namespaces = libc::CLONE_NEWNS | network | libc::CLONE_NEWIPC | libc::CLONE_NEWUTS | libc::CLONE_NEWCGROUP;
    match check_identity(enclosure)? {
        Some(_) => unshare_namespaces(namespaces).at(Step::Clone, "unshare of the service's namespaces")?,
        None => enter_user_namespace(namespaces)?,
    }
    let sources =
        enclosure.binds.iter().map(|bind| open_source(&bind.source, &bind.target, Kind::of(bind.access, true)));
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let mut root = Root::cover(root::empty()?)?;
    let mut grants = Vec::new();
    for (source, bind) in sources.into_iter().zip(&enclosure.binds) {
        grants.push(root.attach(source, Rights::Bind(bind.access), Step::Bind)?);
    }
    root.enter()?;
    root.seal()?;
    rustix::system::sethostname(enclosure.name.as_bytes()).at(Step::HostName, "sethostname")?;
    // Before the change of user: the locked bits keep the kernel from adjusting capabilities then, so they go here and for one reason.
    privilege::limit(&enclosure.limits)?;
    privilege::lock_secure_bits()?;
    let death_signal = rustix::process::parent_process_death_signal().at(Step::Tie, "prctl PR_GET_PDEATHSIG")?;
    if let Some(uid) = enclosure.uid {
        privilege::become_user(uid, uid, true)?;
    }
    // A change of user takes back what the caller had asked for.
    rustix::process::set_parent_process_death_signal(death_signal).at(Step::Tie, "prctl PR_SET_PDEATHSIG")?;
    privilege::empty_bounding_set()?;
    privilege::drop_capabilities()?;
    privilege::no_new_privileges()?;
    privilege::hide()?;
    let rules = if enclosure.network { Rules::with_connections()? } else { Rules::new()? };
    rules.allow(&grants)?.enforce()?;
    privilege::refuse_new_code()?;
    seccomp::allow_only(&enclosure.syscalls)
}

fn check_identity(enclosure: &Enclosure) -> Result<Option<u32>, SpawnError> {
    match (enclosure.uid, geteuid().is_root()) {
        (Some(0), _) => Err(SpawnError::Spec("an enclosed service can't have uid 0".into())),
        (None, true) => Err(SpawnError::Spec("a service started as root needs a uid of its own".into())),
        (Some(uid), false) => Err(SpawnError::Spec(format!("only root can become uid {uid}"))),
        (uid, _) => Ok(uid),
    }
}

/// Without root the right to the other namespaces comes from one of one's own. Its one user is oneself.
fn enter_user_namespace(namespaces: i32) -> Result<(), SpawnError> {
    let (uid, gid) = (geteuid().as_raw(), getegid().as_raw());
    unshare_namespaces(libc::CLONE_NEWUSER | namespaces)
        .at(Step::Clone, "unshare of a user namespace and the service's")?;
    let write = |file: &str, text: String| {
        std::fs::write(format!("/proc/self/{file}"), &text).at(Step::IdMaps, format_args!("write '{text}' to {file}"))
    };
    write("setgroups", "deny".into())?;
    write("gid_map", format!("{gid} {gid} 1"))?;
    write("uid_map", format!("{uid} {uid} 1"))?;
    match geteuid().as_raw() == uid {
        true => Ok(()),
        false => Err(refused(Step::IdMaps, format!("uid {uid} became {}", geteuid().as_raw()))),
    }
}
