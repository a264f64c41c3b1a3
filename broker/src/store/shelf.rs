//! The states of one name: a directory with one file for each version.
//!
//! A state is written into a file that has no version's name, made durable there (`fsync`), and then renamed: so a file that has a version's name
//! is whole, whatever stopped the machine when. Only after the directory is durable too (`fsync(2)` on why that is another matter) is
//! it said to be saved, and only then do older ones go. What was half written is removed when the store starts again.

use super::label::{self, Damage, Label};
use crc32fast::Hasher;
use rustix::fs::{AtFlags, Dir, Mode, OFlags, fsync, openat, renameat, statat, unlinkat};
use rustix::io::{Errno, pwrite, retry_on_intr};
use std::os::fd::OwnedFd;
use std::time::SystemTime;
use strait_protocol::control::SnapshotRow;

/// How the name of a file starts that is being written.
pub(super) const INCOMING: &str = "incoming.";
/// Digits of a version in a file's name.
const DIGITS: usize = 20;

/// One name's directory.
#[derive(Debug)]
pub(super) struct Shelf {
    dir: OwnedFd,
}

/// What there is of a name.
#[derive(Debug)]
pub(super) enum Newest {
    Nothing,
    /// No version is whole. The newest, and what is wrong with it.
    Damaged(u64, Damage),
    /// The newest that is whole, and the newest version that is not, if that is newer.
    Whole {
        file: OwnedFd,
        label: Label,
        damaged: Option<u64>,
    },
}

impl Shelf {
    pub(super) fn new(dir: OwnedFd) -> Self {
        Self { dir }
    }

    /// The versions that there are, oldest first.
    pub(super) fn versions(&self) -> Result<Vec<u64>, Errno> {
        let mut versions: Vec<u64> = self.files()?.iter().filter_map(|name| version_of(name)).collect();
        versions.sort_unstable();
        Ok(versions)
    }

    /// The names of all its files.
    pub(super) fn files(&self) -> Result<Vec<String>, Errno> {
        let mut names = Vec::new();
        for entry in Dir::read_from(&self.dir)? {
            // Whatever isn't text is none of ours.
            if let Ok(name) = entry?.file_name().to_str()
                && name != "."
                && name != ".."
            {
                names.push(name.to_owned());
            }
        }
        Ok(names)
    }

    /// How many bytes a file has; 0 if there is none.
    pub(super) fn size_of(&self, name: &str) -> u64 {
        let stat = statat(&self.dir, name, AtFlags::SYMLINK_NOFOLLOW);
        stat.map_or(0, |stat| u64::try_from(stat.st_size).unwrap_or(0))
    }

    pub(super) fn remove(&self, name: &str) -> Result<(), Errno> {
        unlinkat(&self.dir, name, AtFlags::empty())
    }

    fn open(&self, version: u64) -> Result<OwnedFd, Errno> {
        openat(&self.dir, name_of(version), OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())
    }

    /// Looks from the newest version back for one that is whole.
    pub(super) fn newest(&self) -> Result<Newest, Errno> {
        let mut newest = Newest::Nothing;
        for version in self.versions()?.into_iter().rev() {
            let file = self.open(version)?;
            newest = match (Label::verify(&file, version).1, newest) {
                (Ok(label), Newest::Damaged(damaged, _)) => {
                    return Ok(Newest::Whole { file, label, damaged: Some(damaged) });
                }
                (Ok(label), _) => return Ok(Newest::Whole { file, label, damaged: None }),
                (Err(damage), Newest::Nothing) => Newest::Damaged(version, damage),
                (Err(_), newest) => newest,
            };
        }
        Ok(newest)
    }

    /// All versions, and whether each is whole.
    pub(super) fn list(&self) -> Result<Vec<SnapshotRow>, Errno> {
        self.versions()?.into_iter().map(|version| self.look_at(version)).collect()
    }

    fn look_at(&self, version: u64) -> Result<SnapshotRow, Errno> {
        let (label, verdict) = Label::verify(&self.open(version)?, version);
        let beyond_head = || self.size_of(&name_of(version)).saturating_sub(label::BYTES as u64);
        Ok(SnapshotRow {
            version,
            bytes: label.map_or_else(beyond_head, |label| label.bytes),
            saved_ms: label.map_or(0, |label| label.saved_ms),
            damage: verdict.err().map(|damage| damage.to_string()).unwrap_or_default(),
        })
    }

    /// Begins a state, of which the world with this id sends the parts. With its number no other has its file: what an earlier life of the world
    /// has sent may not be durable yet.
    pub(super) fn begin(&self, world: u64, number: u64) -> Result<Incoming, Errno> {
        let name = format!("{INCOMING}{world}.{number}");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let file = openat(&self.dir, &name, flags, Mode::RUSR | Mode::WUSR)?;
        Ok(Incoming { file, name, hasher: Hasher::new(), bytes: 0 })
    }

    /// Makes what came the newest version, and durable. Returns its version.
    pub(super) fn commit(&self, incoming: &Incoming) -> Result<u64, Errno> {
        let version = self.versions()?.last().map_or(Some(1), |newest| newest.checked_add(1)).ok_or(Errno::OVERFLOW)?;
        let label = Label { version, bytes: incoming.bytes, saved_ms: now_ms() };
        write_all(&incoming.file, &label.encode(incoming.hasher.clone()), 0)?;
        fsync(&incoming.file)?;
        renameat(&self.dir, &incoming.name, &self.dir, name_of(version))?;
        fsync(&self.dir)?;
        Ok(version)
    }

    /// Removes the oldest versions until so many are left. Says how many bytes each had that went.
    pub(super) fn prune(&self, keep: u32) -> Result<Vec<u64>, Errno> {
        let versions = self.versions()?;
        let surplus = versions.len().saturating_sub(keep as usize);
        let remove = |version: &u64| {
            let name = name_of(*version);
            let bytes = self.size_of(&name);
            self.remove(&name).map(|()| bytes)
        };
        versions[..surplus].iter().map(remove).collect()
    }
}

/// A state that is being written.
#[derive(Debug)]
pub(super) struct Incoming {
    file: OwnedFd,
    pub name: String,
    hasher: Hasher,
    pub bytes: u64,
}

impl Incoming {
    /// Adds to the end.
    pub(super) fn append(&mut self, part: &[u8]) -> Result<(), Errno> {
        write_all(&self.file, part, label::BYTES as u64 + self.bytes)?;
        self.hasher.update(part);
        self.bytes += part.len() as u64;
        Ok(())
    }
}

fn write_all(file: &OwnedFd, mut bytes: &[u8], mut at: u64) -> Result<(), Errno> {
    while !bytes.is_empty() {
        let count = retry_on_intr(|| pwrite(file, bytes, at))?;
        (bytes, at) = (&bytes[count..], at + count as u64);
    }
    Ok(())
}

fn name_of(version: u64) -> String {
    format!("{version:0DIGITS$}")
}

fn version_of(name: &str) -> Option<u64> {
    let is_one = name.len() == DIGITS && name.bytes().all(|byte| byte.is_ascii_digit());
    name.parse().ok().filter(|_| is_one)
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
    since.map_or(0, |since| u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
