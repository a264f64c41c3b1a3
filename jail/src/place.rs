//! Places below a new root: where something is attached, and the directories on the way to it.
//!
//! What comes next mostly goes where the last went, so the last directory stays open.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, mkdirat, mknodat, openat2, symlinkat};
use rustix::io::Errno;
use rustix::mount::{MoveMountFlags, move_mount};

use crate::error::{At, SpawnError, Step, refused};

/// Puts a detached tree on top of the root that is.
pub fn cover_root(tree: &OwnedFd) -> Result<(), Errno> {
    move_mount(tree, "", CWD, "/", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// A root that is filled.
#[derive(Debug)]
pub struct Places {
    root: OwnedFd,
    /// By which the root is told from what was attached to it.
    device: u64,
    last: Directory,
}

#[derive(Debug)]
struct Directory {
    path: PathBuf,
    file: OwnedFd,
    /// A part of the root, not of something attached to it: whatever has to be made may be made here, and nobody else makes anything.
    is_own: bool,
}

impl Places {
    /// In an empty root.
    pub fn of(root: OwnedFd) -> Result<Places, SpawnError> {
        let device = device(&root).at(Step::Root, "fstat")?;
        let file = root.try_clone().at(Step::Root, "fcntl F_DUPFD_CLOEXEC")?;
        Ok(Places { root, device, last: Directory { path: "/".into(), file, is_own: true } })
    }

    pub fn root(&self) -> &OwnedFd {
        &self.root
    }

    pub fn into_root(self) -> OwnedFd {
        self.root
    }

    /// Attaches a detached tree, making the place for it and the directories on the way where the root is our own.
    pub fn attach(&mut self, tree: &OwnedFd, target: &Path, is_directory: bool, step: Step) -> Result<(), SpawnError> {
        let (parent, name) = self.parent(target, step)?;
        let made = if parent.is_own { make(&parent.file, name, is_directory) } else { Err(Errno::EXIST) };
        let attached = match made {
            // Just made, where nobody else makes anything: the name is what it was made as.
            Ok(()) => move_mount(tree, "", &parent.file, name, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH),
            Err(Errno::EXIST) => {
                let existing = open_below(&parent.file, name).at_path(step, "openat2", target)?;
                let existing = existing.ok_or_else(|| not_made(target, step))?;
                let flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
                move_mount(tree, "", existing, "", flags)
            }
            Err(error) => Err(error).at_path(step, if is_directory { "mkdirat" } else { "mknodat" }, target)?,
        };
        attached.at_path(step, "move_mount to", target)
    }

    /// A symbolic link.
    pub fn link(&mut self, path: &Path, to: &Path, step: Step) -> Result<(), SpawnError> {
        let (parent, name) = self.parent(path, step)?;
        symlinkat(to, &parent.file, name).at_path(step, "symlinkat", path)
    }

    /// A small file.
    pub fn file(&mut self, path: &Path, text: &str, step: Step) -> Result<(), SpawnError> {
        let (parent, name) = self.parent(path, step)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file =
            rustix::fs::openat(&parent.file, name, flags, Mode::from_raw_mode(0o444)).at_path(step, "openat", path)?;
        rustix::io::write(&file, text.as_bytes()).at_path(step, "write", path)?;
        Ok(())
    }

    /// A directory, open as a path.
    pub fn directory(&mut self, path: &Path, step: Step) -> Result<OwnedFd, SpawnError> {
        let open = &self.reach(path, step)?.file;
        open.try_clone().at_path(step, "fcntl F_DUPFD_CLOEXEC", path)
    }

    /// The directory that contains `path`, and the last name.
    fn parent<'a>(&mut self, path: &'a Path, step: Step) -> Result<(&Directory, &'a Path), SpawnError> {
        check(path, step)?;
        match (path.parent(), path.file_name()) {
            (Some(parent), Some(name)) => Ok((self.reach(parent, step)?, Path::new(name))),
            _ => Err(refused(step, "the root itself can't be a target")),
        }
    }

    fn reach(&mut self, path: &Path, step: Step) -> Result<&Directory, SpawnError> {
        if self.last.path != path {
            self.last = self.walk(path, step)?;
        }
        Ok(&self.last)
    }

    /// From the root, name by name.
    fn walk(&self, path: &Path, step: Step) -> Result<Directory, SpawnError> {
        let file = self.root.try_clone().at_path(step, "fcntl F_DUPFD_CLOEXEC", path)?;
        let mut at = Directory { path: path.into(), file, is_own: true };
        for component in path.components().skip(1) {
            let name = Path::new(component.as_os_str());
            let existing = open_below(&at.file, name).at_path(step, "openat2", path)?;
            at.file = match existing {
                Some(existing) => {
                    at.is_own = device(&existing).at_path(step, "fstat", path)? == self.device;
                    existing
                }
                None if at.is_own => {
                    make(&at.file, name, true).at_path(step, "mkdirat", path)?;
                    let made = open_below(&at.file, name).at_path(step, "openat2", path)?;
                    made.ok_or_else(|| refused(step, format_args!("{} vanished", path.display())))?
                }
                None => return Err(not_made(path, step)),
            };
        }
        Ok(at)
    }
}

/// An absolute path. `..` has no business in a target.
fn check(path: &Path, step: Step) -> Result<(), SpawnError> {
    if !path.is_absolute() {
        return Err(refused(step, format_args!("{} isn't an absolute path", path.display())));
    }
    match path.components().any(|component| component == Component::ParentDir) {
        true => Err(refused(step, format_args!("{} contains '..'", path.display()))),
        false => Ok(()),
    }
}

/// Nothing is ever made in a directory that belongs to the host, even one that the jail may write to.
fn not_made(path: &Path, step: Step) -> SpawnError {
    refused(step, format_args!("{} doesn't exist, and lies in a bind where nothing is made", path.display()))
}

fn device(file: &OwnedFd) -> Result<u64, Errno> {
    Ok(rustix::fs::fstat(file)?.st_dev)
}

/// An empty directory, or an empty file.
fn make(parent: &OwnedFd, name: &Path, is_directory: bool) -> Result<(), Errno> {
    match is_directory {
        true => mkdirat(parent, name, Mode::from_raw_mode(0o755)),
        false => mknodat(parent, name, FileType::RegularFile, Mode::from_raw_mode(0o444), 0),
    }
}

/// Opens a name below a directory without following any link: a bind could contain one that points elsewhere.
fn open_below(directory: &OwnedFd, name: &Path) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(directory, name, flags, Mode::empty(), resolve) {
        Ok(opened) => Ok(Some(opened)),
        Err(Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}
