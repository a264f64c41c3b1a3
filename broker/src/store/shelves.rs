//! All that is kept, and how much of the disk that takes.

use super::shelf::{INCOMING, Incoming, Shelf};
use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, fsync, mkdirat, openat, statat, unlinkat};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::OwnedFd;
use strait_protocol::Name;
use strait_protocol::control::{Keeping, Saved};

/// What a file or directory takes beside what is in it, roughly.
const BLOCK_BYTES: u64 = 4096;

/// The directory of the names' directories.
#[derive(Debug)]
pub(super) struct Shelves {
    root: OwnedFd,
    /// By the first part of the names: what somebody may start any number of worlds from has one share for all of them.
    used: HashMap<String, u64>,
    most_bytes: u64,
    /// States that were begun.
    begun: u64,
}

/// Why a state isn't kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum NotKept {
    #[error("nothing is kept of `{0}`: its configuration needs `snapshots = 1` or more")]
    Nothing(String),
    #[error(
        "the state has {bytes} bytes or more, and {most} are kept of `{name}`: raise `snapshot_bytes` in its configuration"
    )]
    TooLarge { name: String, bytes: u64, most: u64 },
    #[error(
        "the states of all worlds take {used} bytes, and {most} is the most with {bytes} more to come: raise `state_bytes` in \
        the broker's configuration, or remove what isn't needed (`strait rm --states NAME`)"
    )]
    Full { used: u64, bytes: u64, most: u64 },
    #[error(
        "the states of `{stem}` and of all `{stem}/...` take {used} bytes, and {most} is their share with {bytes} more to come: raise \
        `state_bytes` in the world's configuration, or remove what isn't needed (`strait rm --states NAME`)"
    )]
    Share { stem: String, used: u64, bytes: u64, most: u64 },
    #[error("{0}")]
    NotNow(String),
    #[error("the state can't be written: {0}; those that were saved before are still there")]
    Unwritten(Errno),
    #[error("{call}: {errno}")]
    Call { call: &'static str, errno: Errno },
}

/// The system call in an error's text, with what the kernel said.
pub(super) fn call(call: &'static str) -> impl FnOnce(Errno) -> NotKept {
    move |errno| NotKept::Call { call, errno }
}

/// A state that is on its way, and what is set aside for it.
#[derive(Debug)]
pub(super) struct Upload {
    shelf: Shelf,
    incoming: Incoming,
    directory: String,
    pub keeping: Keeping,
    pub most_bytes: u64,
}

impl Shelves {
    /// Takes stock of what is there, and removes what was half written.
    pub(super) fn open(root: OwnedFd, most_bytes: u64) -> Result<Self, Errno> {
        let mut shelves = Self { root, used: HashMap::new(), most_bytes, begun: 0 };
        for entry in Dir::read_from(&shelves.root)? {
            let entry = entry?;
            let Ok(name) = entry.file_name().to_str() else { continue };
            let stat = statat(&shelves.root, name, AtFlags::SYMLINK_NOFOLLOW)?;
            if FileType::from_raw_mode(stat.st_mode).is_dir() && !name.starts_with('.') {
                let bytes = BLOCK_BYTES + take_stock(&shelves.shelf(name)?)?;
                *shelves.used_by(name) += bytes;
            }
        }
        Ok(shelves)
    }

    /// What is used by all whose names begin as this directory's.
    fn used_by(&mut self, directory: &str) -> &mut u64 {
        self.used.entry(stem_of(directory).to_owned()).or_default()
    }

    /// What all states take.
    pub(super) fn used_bytes(&self) -> u64 {
        self.used.values().sum()
    }

    fn shelf(&self, directory: &str) -> Result<Shelf, Errno> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        openat(&self.root, directory, flags, Mode::empty()).map(Shelf::new)
    }

    /// What is kept under a name, if anything ever was.
    pub(super) fn find(&self, name: &Name) -> Result<Option<Shelf>, NotKept> {
        match self.shelf(&directory_of(name)) {
            Ok(shelf) => Ok(Some(shelf)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(call("openat")(errno)),
        }
    }

    fn find_or_make(&mut self, name: &Name) -> Result<Shelf, NotKept> {
        let directory = directory_of(name);
        match mkdirat(&self.root, &directory, Mode::RWXU) {
            Ok(()) => {
                *self.used_by(&directory) += BLOCK_BYTES;
                // Or else the directory could be gone after a crash, with all that is durable in it.
                fsync(&self.root).map_err(call("fsync"))?;
            }
            Err(Errno::EXIST) => {}
            Err(errno) => return Err(call("mkdirat")(errno)),
        }
        self.shelf(&directory).map_err(call("openat"))
    }

    /// Sets room aside for a state of so many bytes, and begins it.
    pub(super) fn begin(&mut self, world: u64, keeping: Keeping, bytes: u64) -> Result<Upload, NotKept> {
        let Keeping { name, versions, bytes: most, share_bytes, refusal } = &keeping;
        if let Some(why) = refusal {
            return Err(NotKept::NotNow(why.clone()));
        }
        let parsed: Name = name.parse().map_err(|_| NotKept::Nothing(name.clone()))?;
        if *versions == 0 {
            return Err(NotKept::Nothing(name.clone()));
        }
        if bytes > *most {
            return Err(NotKept::TooLarge { name: name.clone(), bytes, most: *most });
        }
        // With room for the directory, should it have to be made.
        let more = charge(bytes).saturating_add(BLOCK_BYTES);
        let directory = directory_of(&parsed);
        let (used, most) = (*self.used_by(&directory), *share_bytes);
        if more.saturating_add(used) > most {
            return Err(NotKept::Share { stem: stem_of(&directory).into(), used, bytes, most });
        }
        let (used, most) = (self.used_bytes(), self.most_bytes);
        if more.saturating_add(used) > most {
            return Err(NotKept::Full { used, bytes, most });
        }
        let shelf = self.find_or_make(&parsed)?;
        self.begun += 1;
        let incoming = shelf.begin(world, self.begun).map_err(call("openat"))?;
        *self.used_by(&directory) += charge(bytes);
        Ok(Upload { shelf, incoming, directory, keeping, most_bytes: bytes })
    }

    /// Makes a state durable that has arrived.
    pub(super) fn commit(&mut self, upload: &Upload) -> Result<Saved, NotKept> {
        match upload.shelf.commit(&upload.incoming) {
            Ok(version) => Ok(self.settle(upload, version)),
            Err(errno) => {
                self.abandon(upload);
                Err(NotKept::Unwritten(errno))
            }
        }
    }

    fn settle(&mut self, upload: &Upload, version: u64) -> Saved {
        let bytes = upload.bytes();
        // What can't be removed now is tried again with the next one.
        let removed = upload.shelf.prune(upload.keeping.versions).unwrap_or_default();
        let freed = removed.into_iter().map(charge_of_file).sum::<u64>() + charge(upload.most_bytes);
        let used = self.used_by(&upload.directory);
        *used = (*used + charge(bytes)).saturating_sub(freed);
        Saved { version, bytes }
    }

    /// Forgets a state that isn't going to be whole.
    pub(super) fn abandon(&mut self, upload: &Upload) {
        let used = self.used_by(&upload.directory);
        *used = used.saturating_sub(charge(upload.most_bytes));
        // If it stays, it is removed at the next start.
        let _ = upload.shelf.remove(&upload.incoming.name);
    }

    /// Removes all that is kept under a name, for good. How many versions that were.
    pub(super) fn clear(&mut self, name: &Name) -> Result<u64, NotKept> {
        let Some(shelf) = self.find(name)? else { return Ok(0) };
        let removed = shelf.prune(0).map_err(call("unlinkat"))?;
        let freed = removed.iter().copied().map(charge_of_file).sum::<u64>();
        let directory = directory_of(name);
        let is_empty = unlinkat(&self.root, &directory, AtFlags::REMOVEDIR).is_ok();
        fsync(&self.root).map_err(call("fsync"))?;
        let used = self.used_by(&directory);
        // One that something is being written in stays.
        *used = used.saturating_sub(freed + if is_empty { BLOCK_BYTES } else { 0 });
        Ok(removed.len() as u64)
    }
}

impl Upload {
    /// Adds to the end, within what was offered.
    pub(super) fn append(&mut self, part: &[u8]) -> Result<(), NotKept> {
        let bytes = self.bytes() + part.len() as u64;
        if bytes > self.most_bytes {
            return Err(NotKept::TooLarge { name: self.keeping.name.clone(), bytes, most: self.most_bytes });
        }
        self.incoming.append(part).map_err(NotKept::Unwritten)
    }

    pub(super) fn bytes(&self) -> u64 {
        self.incoming.bytes
    }
}

/// Removes what was half written and says how many bytes the rest takes.
fn take_stock(shelf: &Shelf) -> Result<u64, Errno> {
    let mut bytes = 0;
    for name in shelf.files()? {
        match name.starts_with(INCOMING) {
            true => shelf.remove(&name)?,
            false => bytes += charge_of_file(shelf.size_of(&name)),
        }
    }
    Ok(bytes)
}

/// What a state of so many bytes takes of the disk.
fn charge(bytes: u64) -> u64 {
    charge_of_file(bytes.saturating_add(super::label::BYTES as u64))
}

fn charge_of_file(bytes: u64) -> u64 {
    bytes.div_ceil(BLOCK_BYTES).saturating_mul(BLOCK_BYTES)
}

/// The directory of a name. A name has letters, digits and `_ - . /`, and starts with a letter or digit: with its slashes replaced it
/// is one component of a path, never a hidden or special one, and no two names have the same.
fn directory_of(name: &Name) -> String {
    name.as_str().replace('/', "+")
}

/// The first part of the name that a directory is of.
fn stem_of(directory: &str) -> &str {
    directory.split('+').next().unwrap_or_default()
}
