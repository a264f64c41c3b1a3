//! The store's place: one directory, and nothing else.

use super::Orders;
use super::shelves::Shelves;
use crate::roles::STORE;
use rustix::fs::{AtFlags, Dir, FlockOperation, Mode, OFlags, chownat, fchown, flock, fstat, open, openat};
use rustix::io::Errno;
use rustix::process::{Gid, Signal, Uid, geteuid, set_parent_process_death_signal};
use std::ffi::CString;
use std::fs::DirBuilder;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::{Duration, Instant};
use strait_jail::{Bind, Enclosure, Limits, RUNTIME_CALLS, enclose};

/// The store's part of the state directory, and where that is when it is enclosed.
const PART: &str = "snapshots";
const INSIDE: &str = "/snapshots";
/// How long a store of a broker that was just killed may keep its directory.
const LOCK_TIME: Duration = Duration::from_secs(3);
/// Descriptors: a world has two of them while it saves or loads.
const FILES: u64 = 16 * 1024;

/// Where states are kept.
#[derive(Debug)]
pub(super) struct Place {
    /// Or what stands against it. There is a store all the same, which says so to whoever asks.
    pub shelves: Result<Shelves, String>,
    /// Keeps other brokers out for as long as it is open.
    _lock: Option<OwnedFd>,
}

/// Gives up everything but the directory.
pub(super) fn enter(orders: &Orders) -> Result<Place, String> {
    set_parent_process_death_signal(Some(Signal::KILL)).map_err(|errno| format!("prctl(PR_SET_PDEATHSIG): {errno}"))?;
    let path = orders.state.join(PART);
    let prepared = prepare(&orders.state, &path, orders.uid).map_err(|why| format!("{}: {why}", path.display()));
    let binds = prepared.iter().map(|_| Bind::read_write(&path, INSIDE)).collect();
    enclose(&enclosure(orders.uid, binds)).map_err(|error| error.to_string())?;
    Ok(match prepared {
        Ok(lock) => Place { shelves: stock(orders.most_bytes), _lock: Some(lock) },
        Err(why) => Place { shelves: Err(why), _lock: None },
    })
}

fn stock(most_bytes: u64) -> Result<Shelves, String> {
    let root = open_directory(Path::new(INSIDE));
    let shelves = root.and_then(|root| Shelves::open(root, most_bytes));
    shelves.map_err(|errno| format!("its states can't be looked through: {errno}"))
}

/// Makes the directory if it isn't there, makes it the store's own, and locks it.
fn prepare(state: &Path, path: &Path, uid: Option<u32>) -> Result<OwnedFd, String> {
    let make = |path: &Path, is_recursive| DirBuilder::new().mode(0o700).recursive(is_recursive).create(path);
    make(state, true).map_err(|error| format!("it can't be made: {error}"))?;
    match make(path, false) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(format!("it can't be made: {error}"))?,
        _ => {}
    }
    let directory = open_directory(path).map_err(|errno| format!("it can't be opened: {errno}"))?;
    check(&directory, uid)?;
    lock(&directory)?;
    if let Some(uid) = uid {
        take_over(&directory, uid).map_err(|errno| format!("it can't be made the store's own: {errno}"))?;
    }
    Ok(directory)
}

fn open_directory(path: &Path) -> Result<OwnedFd, Errno> {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
}

/// What is or was somebody else's isn't trusted.
fn check(directory: &OwnedFd, uid: Option<u32>) -> Result<(), String> {
    let stat = fstat(directory).map_err(|errno| format!("fstat: {errno}"))?;
    if stat.st_uid != geteuid().as_raw() && Some(stat.st_uid) != uid {
        return Err(format!("it belongs to uid {}: make it and all in it yours with `chown -R`", stat.st_uid));
    }
    match stat.st_mode & 0o077 {
        0 => Ok(()),
        _ => Err(format!("its mode is {:03o}: make it 700, so that nobody else gets at it", stat.st_mode & 0o777)),
    }
}

/// Two brokers would take each other's names for their own.
fn lock(directory: &OwnedFd) -> Result<(), String> {
    let end = Instant::now() + LOCK_TIME;
    loop {
        match flock(directory, FlockOperation::NonBlockingLockExclusive) {
            Err(Errno::WOULDBLOCK) if Instant::now() < end => std::thread::sleep(Duration::from_millis(20)),
            Err(Errno::WOULDBLOCK) => {
                return Err("another broker keeps its states here: give one of them another `state`".into());
            }
            other => return other.map_err(|errno| format!("flock: {errno}")),
        }
    }
}

/// Makes what is still root's this user's: two levels below the directory.
fn take_over(directory: &OwnedFd, uid: u32) -> Result<(), Errno> {
    if fstat(directory)?.st_uid == uid {
        return Ok(());
    }
    let (owner, group) = (Some(Uid::from_raw(uid)), Some(Gid::from_raw(uid)));
    for shelf in names(directory)? {
        chownat(directory, &shelf, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let Ok(shelf) = openat(directory, &shelf, flags, Mode::empty()) else { continue };
        for file in names(&shelf)? {
            chownat(&shelf, &file, owner, group, AtFlags::SYMLINK_NOFOLLOW)?;
        }
    }
    // Last: whoever is stopped half way begins anew.
    fchown(directory, owner, group)
}

fn names(directory: &OwnedFd) -> Result<Vec<CString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(directory)? {
        let name = entry?.file_name().to_owned();
        if !matches!(name.to_bytes(), b"." | b"..") {
            names.push(name);
        }
    }
    Ok(names)
}

fn enclosure(uid: Option<u32>, binds: Vec<Bind>) -> Enclosure {
    let limits = Limits { open_files: Some(FILES), processes: Some(1), ..Limits::default() };
    Enclosure {
        name: STORE.into(),
        uid: uid.filter(|_| geteuid().is_root()),
        syscalls: [CALLS, RUNTIME_CALLS].concat(),
        binds,
        network: false,
        limits,
    }
}

/// Every system call that the store makes: those of a client, and those that read, write, rename and remove files in a directory.
const CALLS: &[i64] = &[
    // The connection, the bells, the lane, and sleeping.
    libc::SYS_recvmsg,
    libc::SYS_sendmsg,
    libc::SYS_shutdown,
    libc::SYS_read,
    libc::SYS_write,
    libc::SYS_close,
    libc::SYS_futex,
    libc::SYS_sched_yield,
    libc::SYS_clock_gettime,
    libc::SYS_clock_nanosleep,
    libc::SYS_ppoll,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_poll,
    libc::SYS_getcpu,
    // Slices and parcels: size and seals are looked at, then they are mapped.
    libc::SYS_fstat,
    libc::SYS_newfstatat,
    libc::SYS_statx,
    libc::SYS_fcntl,
    libc::SYS_mmap,
    libc::SYS_munmap,
    // Files.
    libc::SYS_openat,
    #[cfg(target_arch = "x86_64")]
    libc::SYS_open,
    libc::SYS_mkdirat,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_fsync,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_unlinkat,
];
