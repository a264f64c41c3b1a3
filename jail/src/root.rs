//! The root of a jail: an empty memory file system, filled with what was granted, then entered for good.
//!
//! The sources are opened first, as detached copies ([`open_sources`]): with the launcher's rights, and before anything covers the
//! host's tree. Then the new root is put on top of the old one, filled through descriptors only, and entered with
//! `pivot_root(".", ".")`, after which the old one is detached. Everything happens in the jail's own mount namespace; nothing of
//! it is seen outside or outlives it.

use std::os::fd::OwnedFd;
use std::path::{Component, Path, PathBuf};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, mkdirat, openat2, symlinkat};
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags,
    fsconfig_create, fsconfig_set_string, fsmount, fsopen, mount_change, move_mount, open_tree, unmount,
};
use strait_sys::mount::add_attributes;

use crate::error::{At, SpawnError, Step, refused};
use crate::spec::Access;

const RDONLY: u64 = libc::MOUNT_ATTR_RDONLY;
const NOSUID: u64 = libc::MOUNT_ATTR_NOSUID;
const NODEV: u64 = libc::MOUNT_ATTR_NODEV;
const NOEXEC: u64 = libc::MOUNT_ATTR_NOEXEC;

/// How a source is attached.
#[derive(Clone, Copy, Debug)]
pub enum Kind {
    /// Files and directories of the host.
    Bind(Access),
    /// Data of the host that nobody executes.
    Data,
    /// Files and directories of the host that may be written, and so not executed.
    WritableData,
    /// A device node: the only mounts without `nodev`. Writing to a device isn't writing to its file system.
    Device,
}

impl Kind {
    /// How a bind is attached; with `noexec` what can be written there can't be executed.
    pub fn of(access: Access, noexec: bool) -> Kind {
        match (access, noexec) {
            (Access::ReadWrite, true) => Kind::WritableData,
            (access, _) => Kind::Bind(access),
        }
    }

    fn attributes(self) -> u64 {
        match self {
            Kind::Bind(Access::ReadOnly) => RDONLY | NOSUID | NODEV,
            Kind::Bind(Access::ReadWrite) => NOSUID | NODEV,
            Kind::WritableData => NOSUID | NODEV | NOEXEC,
            Kind::Data => RDONLY | NOSUID | NODEV | NOEXEC,
            Kind::Device => RDONLY | NOSUID | NOEXEC,
        }
    }
}

/// A detached copy of a part of the host's tree, with its final attributes already on it.
#[derive(Debug)]
pub struct Source {
    tree: OwnedFd,
    directory: bool,
    target: PathBuf,
}

/// Opens one source. The copy contains what is mounted below, with the same attributes.
pub fn open_source(source: &Path, target: &Path, kind: Kind) -> Result<Source, SpawnError> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = open_tree(CWD, source, flags).at_path(Step::Sources, "open_tree", source)?;
    add_attributes(&tree, kind.attributes(), true).at_path(Step::Sources, "mount_setattr", source)?;
    let stat = rustix::fs::fstat(&tree).at_path(Step::Sources, "fstat", source)?;
    let directory = rustix::fs::FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(Source { tree, directory, target: target.to_owned() })
}

/// The new root while it is filled.
pub struct Root {
    root: OwnedFd,
    device: u64,
}

impl Root {
    /// Makes the memory file system and puts it on top of the old root, in a mount namespace that hears nothing from outside
    /// and tells nothing.
    pub fn make() -> Result<Root, SpawnError> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).at(Step::Root, "mount MS_PRIVATE|MS_REC /")?;
        // Room for mount points and the few files of /etc; nobody can write there once the jail stands.
        let options = [("size", "1m"), ("nr_inodes", "4k"), ("mode", "0755")];
        let root = make_file_system(Step::Root, "tmpfs", &options, MountAttrFlags::empty())?;
        attach(&root, CWD, "/").at(Step::Root, "move_mount tmpfs to /")?;
        let device = rustix::fs::fstat(&root).at(Step::Root, "fstat")?.st_dev;
        Ok(Root { root, device })
    }

    /// Attaches a source at its target.
    pub fn attach(&self, source: &Source, step: Step) -> Result<(), SpawnError> {
        let point = self.mount_point(&source.target, source.directory, step)?;
        attach(&source.tree, point, "").at_path(step, "move_mount to", &source.target)
    }

    /// `/proc` of the jail's own pid namespace: only processes, and only those that one could trace, which excludes pid 1.
    pub fn proc(&self) -> Result<(), SpawnError> {
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | hardened() | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = [("subset", "pid"), ("hidepid", "ptraceable")];
        let proc = make_file_system(Step::Proc, "proc", &options, attributes)?;
        let point = self.mount_point(Path::new("/proc"), true, Step::Proc)?;
        attach(&proc, point, "").at(Step::Proc, "move_mount to /proc")
    }

    /// `/tmp`: the one place that is the world's own, bounded in bytes and files. With `noexec` no program in it can be started.
    pub fn tmp(&self, bytes: u64, noexec: bool) -> Result<(), SpawnError> {
        // One file per 4 KiB page and some: without a bound of their own, empty files would cost kernel memory beyond the size.
        let inodes = (bytes / 4096).max(64).to_string();
        let options = [("size", &*bytes.to_string()), ("nr_inodes", &inodes), ("mode", "1777")];
        let noexec = if noexec { MountAttrFlags::MOUNT_ATTR_NOEXEC } else { MountAttrFlags::empty() };
        let tmp = make_file_system(Step::Tmp, "tmpfs", &options, hardened() | noexec)?;
        let point = self.mount_point(Path::new("/tmp"), true, Step::Tmp)?;
        attach(&tmp, point, "").at(Step::Tmp, "move_mount to /tmp")
    }

    /// A symbolic link, with the directories on the way to it.
    pub fn link(&self, path: &Path, to: &str, step: Step) -> Result<(), SpawnError> {
        let (parent, name) = self.parent(path, step)?;
        symlinkat(to, parent, name).at_path(step, "symlinkat", path)
    }

    /// A small file, with the directories on the way to it.
    pub fn file(&self, path: &Path, text: &str, step: Step) -> Result<(), SpawnError> {
        let (parent, name) = self.parent(path, step)?;
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC | OFlags::NOFOLLOW;
        let file = rustix::fs::openat(parent, name, flags, Mode::from_raw_mode(0o444)).at_path(step, "openat", path)?;
        rustix::io::write(&file, text.as_bytes()).at_path(step, "write", path)?;
        Ok(())
    }

    /// Makes it the root of this process, detaches the old one, and makes it unwritable.
    pub fn enter(self) -> Result<(), SpawnError> {
        rustix::process::fchdir(&self.root).at(Step::Pivot, "fchdir to the new root")?;
        rustix::process::pivot_root(".", ".").at(Step::Pivot, "pivot_root . .")?;
        // The old root now lies on top of the new one, and the working directory is below it.
        unmount(".", UnmountFlags::DETACH).at(Step::Pivot, "umount2 MNT_DETACH of the old root")?;
        rustix::process::chdir("/").at(Step::Pivot, "chdir /")?;
        add_attributes(&self.root, RDONLY | NOSUID | NODEV | NOEXEC, false).at(Step::Pivot, "mount_setattr /")
    }

    /// Opens the place where something is to be attached, making it and the directories on the way where the root is our own.
    fn mount_point(&self, target: &Path, directory: bool, step: Step) -> Result<OwnedFd, SpawnError> {
        let (parent, name) = self.parent(target, step)?;
        if let Some(existing) = open_below(&parent, name).at_path(step, "openat2", target)? {
            return Ok(existing);
        }
        self.check_own(&parent, target, step)?;
        if directory {
            mkdirat(&parent, name, Mode::from_raw_mode(0o755)).at_path(step, "mkdirat", target)?;
        } else {
            let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
            rustix::fs::openat(&parent, name, flags, Mode::from_raw_mode(0o444)).at_path(step, "openat", target)?;
        }
        let made = open_below(&parent, name).at_path(step, "openat2", target)?;
        made.ok_or_else(|| refused(step, format!("{} vanished", target.display())))
    }

    /// Opens the directory that contains `path`, and gives the last name.
    fn parent<'a>(&self, path: &'a Path, step: Step) -> Result<(OwnedFd, &'a Path), SpawnError> {
        let mut names = names(path, step)?;
        let last = names.pop().ok_or_else(|| refused(step, "the root itself can't be a target"))?;
        let mut directory = self.root.try_clone().at(step, "fcntl F_DUPFD_CLOEXEC")?;
        for name in names {
            if let Some(existing) = open_below(&directory, name).at_path(step, "openat2", path)? {
                directory = existing;
                continue;
            }
            self.check_own(&directory, path, step)?;
            mkdirat(&directory, name, Mode::from_raw_mode(0o755)).at_path(step, "mkdirat", path)?;
            let made = open_below(&directory, name).at_path(step, "openat2", path)?;
            directory = made.ok_or_else(|| refused(step, format!("{} vanished", path.display())))?;
        }
        Ok((directory, last))
    }

    /// Nothing is ever made in a directory that belongs to the host, even one that the jail may write to.
    fn check_own(&self, directory: &OwnedFd, path: &Path, step: Step) -> Result<(), SpawnError> {
        let device = rustix::fs::fstat(directory).at_path(step, "fstat", path)?.st_dev;
        match device == self.device {
            true => Ok(()),
            false => Err(refused(
                step,
                format!("{} doesn't exist, and lies in a bind where nothing is made", path.display()),
            )),
        }
    }
}

/// The names of an absolute path. `..` has no business in a target.
fn names(path: &Path, step: Step) -> Result<Vec<&Path>, SpawnError> {
    let mut components = path.components();
    if components.next() != Some(Component::RootDir) {
        return Err(refused(step, format!("{} isn't an absolute path", path.display())));
    }
    let name = |component| match component {
        Component::Normal(name) => Ok(Path::new(name)),
        _ => Err(refused(step, format!("{} contains '..'", path.display()))),
    };
    components.map(name).collect()
}

/// Opens a name below a directory without following any link: a bind could contain one that points elsewhere.
fn open_below(directory: &OwnedFd, name: &Path) -> rustix::io::Result<Option<OwnedFd>> {
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(directory, name, flags, Mode::empty(), resolve) {
        Ok(opened) => Ok(Some(opened)),
        Err(rustix::io::Errno::NOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

fn hardened() -> MountAttrFlags {
    MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_NODEV
}

fn make_file_system(
    step: Step,
    kind: &str,
    options: &[(&str, &str)],
    attributes: MountAttrFlags,
) -> Result<OwnedFd, SpawnError> {
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(step, &format!("fsopen {kind}"))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).at(step, &format!("fsconfig {kind} {key}={value}"))?;
    }
    fsconfig_create(&context).at(step, &format!("fsconfig create {kind}"))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(step, &format!("fsmount {kind}"))
}

fn attach(tree: &OwnedFd, to: impl std::os::fd::AsFd, path: &str) -> rustix::io::Result<()> {
    let mut flags = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH;
    if path.is_empty() {
        flags |= MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    }
    move_mount(tree, "", to, path, flags)
}
