//! The root of a jail: an empty memory file system, filled with what was granted, then entered for good.
//!
//! The sources are opened first, as detached copies ([`open_source`]): with the launcher's rights, and before anything covers the
//! host's tree. Then the new root is put on top of the old one, entered with `pivot_root(".", ".")`, after which the old one is detached, and
//! filled through descriptors only. Everything happens in mount namespaces of the jail's own; nothing of it is seen outside or outlives it.

use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags, ResolveFlags, openat2};
use rustix::io::Errno;
use rustix::mount::{
    FsMountFlags, FsOpenFlags, MountAttrFlags, MountPropagationFlags, OpenTreeFlags, UnmountFlags, fsconfig_create,
    fsconfig_set_string, fsmount, fsopen, mount_change, open_tree, unmount,
};
use strait_sys::mount::add_attributes;

use crate::error::{At, SpawnError, Step, refused};
use crate::mounts::{self, Mount};
use crate::place::{Places, cover_root};
use crate::ruleset::{Grant, Rights};
use crate::spec::Access;
use crate::system::INNER_ID;

/// A detached copy, with what is mounted below.
const COPY: OpenTreeFlags =
    OpenTreeFlags::OPEN_TREE_CLONE.union(OpenTreeFlags::OPEN_TREE_CLOEXEC).union(OpenTreeFlags::AT_RECURSIVE);

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
    is_directory: bool,
    target: PathBuf,
}

/// Opens one source. The copy contains what is mounted below, with the same attributes.
pub fn open_source(source: &Path, target: &Path, kind: Kind) -> Result<Source, SpawnError> {
    copy(source, target, kind, tree_of(source))
}

/// The same, but nothing if the host has nothing there, or nothing that this user may reach.
pub fn open_if_there(source: &Path, target: &Path, kind: Kind) -> Result<Option<Source>, SpawnError> {
    match tree_of(source) {
        Err(Errno::NOENT | Errno::NOTDIR | Errno::ACCESS) => Ok(None),
        tree => copy(source, target, kind, tree).map(Some),
    }
}

fn tree_of(source: &Path) -> Result<OwnedFd, Errno> {
    open_tree(CWD, source, COPY)
}

fn copy(source: &Path, target: &Path, kind: Kind, tree: Result<OwnedFd, Errno>) -> Result<Source, SpawnError> {
    adopt_source(with_attributes(source, kind, tree)?, source, target)
}

/// Opens one source, on the way to which there is no symbolic link.
pub fn open_without_links(source: &Path, target: &Path, kind: Kind) -> Result<Source, SpawnError> {
    adopt_source(tree_without_links(source, kind)?, source, target)
}

/// A detached copy of what is at a path without symbolic links, without the place where it goes.
pub fn tree_without_links(source: &Path, kind: Kind) -> Result<OwnedFd, SpawnError> {
    let file = find_without_links(source)?;
    with_attributes(source, kind, open_tree(&file, "", COPY | OpenTreeFlags::AT_EMPTY_PATH))
}

fn find_without_links(path: &Path) -> Result<OwnedFd, SpawnError> {
    match openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::NO_SYMLINKS) {
        Err(Errno::LOOP) => Err(refused(
            Step::Sources,
            format_args!(
                "{}: a path to write, or one that was asked for, has no symbolic link in it: name the one it leads to",
                path.display()
            ),
        )),
        other => other.at_path(Step::Sources, "openat2", path),
    }
}

fn with_attributes(source: &Path, kind: Kind, tree: Result<OwnedFd, Errno>) -> Result<OwnedFd, SpawnError> {
    let tree = tree.at_path(Step::Sources, "open_tree", source)?;
    add_attributes(&tree, kind.attributes(), true).at_path(Step::Sources, "mount_setattr", source)?;
    Ok(tree)
}

/// A copy that was made before.
pub fn adopt_source(tree: OwnedFd, source: &Path, target: &Path) -> Result<Source, SpawnError> {
    let stat = rustix::fs::fstat(&tree).at_path(Step::Sources, "fstat", source)?;
    let is_directory = FileType::from_raw_mode(stat.st_mode).is_dir();
    Ok(Source { tree, is_directory, target: target.to_owned() })
}

/// The new root while it is filled.
#[derive(Debug)]
pub struct Root {
    pub places: Places,
}

impl Root {
    /// Puts an empty file system on top of the old root, in a mount namespace that hears nothing from outside and tells nothing.
    pub fn cover(root: OwnedFd) -> Result<Root, SpawnError> {
        let private = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
        mount_change("/", private).at(Step::Root, "mount MS_PRIVATE|MS_REC /")?;
        cover_root(&root).at(Step::Root, "move_mount tmpfs to /")?;
        Ok(Root { places: Places::of(root)? })
    }

    /// Attaches a source at its target, and says what it is for Landlock to allow there.
    pub fn attach(&mut self, source: Source, rights: Rights, step: Step) -> Result<Grant, SpawnError> {
        let Source { tree, is_directory, target } = source;
        self.places.attach(&tree, &target, is_directory, step)?;
        Ok(Grant { file: tree, is_directory, rights })
    }

    /// `/proc` of the jail's own pid namespace: only processes, and only those that one could trace, which excludes pid 1.
    pub fn proc(&mut self) -> Result<Grant, SpawnError> {
        let attributes = MountAttrFlags::MOUNT_ATTR_RDONLY | hardened() | MountAttrFlags::MOUNT_ATTR_NOEXEC;
        let options = [("subset", "pid"), ("hidepid", "ptraceable")];
        let proc = make_file_system(Step::Proc, "proc", &options, attributes)?;
        self.places.attach(&proc, Path::new("/proc"), true, Step::Proc)?;
        Ok(Grant { file: proc, is_directory: true, rights: Rights::Read })
    }

    /// `/tmp`: the one place that is the world's own, bounded in bytes and files. With `noexec` no program in it can be started.
    pub fn tmp(&mut self, bytes: u64, noexec: bool) -> Result<Grant, SpawnError> {
        // To tmpfs a size of 0 is none at all.
        let bytes = bytes.max(4096);
        // One file per 4 KiB page and some: without a bound of their own, empty files would cost kernel memory beyond the size.
        let inodes = (bytes / 4096).max(64).to_string();
        let owner = INNER_ID.to_string();
        let size = bytes.to_string();
        let options = [("size", &*size), ("nr_inodes", &inodes), ("mode", "1777"), ("uid", &owner), ("gid", &owner)];
        let noexec = if noexec { MountAttrFlags::MOUNT_ATTR_NOEXEC } else { MountAttrFlags::empty() };
        let tmp = make_file_system(Step::Tmp, "tmpfs", &options, hardened() | noexec)?;
        self.places.attach(&tmp, Path::new("/tmp"), true, Step::Tmp)?;
        Ok(Grant { file: tmp, is_directory: true, rights: Rights::Bind(Access::ReadWrite) })
    }

    /// Makes it the root of this process, and detaches the old one: from here on nobody in this mount namespace can come to the host's files.
    pub fn enter(&self) -> Result<(), SpawnError> {
        rustix::process::fchdir(self.places.root()).at(Step::Pivot, "fchdir to the new root")?;
        rustix::process::pivot_root(".", ".").at(Step::Pivot, "pivot_root . .")?;
        // The old root now lies on top of the new one, and the working directory is below it.
        unmount(".", UnmountFlags::DETACH).at(Step::Pivot, "umount2 MNT_DETACH of the old root")?;
        rustix::process::chdir("/").at(Step::Pivot, "chdir /")
    }

    /// Makes it unwritable. The grant is to list what is there.
    pub fn seal(self) -> Result<Grant, SpawnError> {
        let root = self.places.into_root();
        add_attributes(&root, RDONLY | NOSUID | NODEV | NOEXEC, false).at(Step::Pivot, "mount_setattr /")?;
        // Rights reach downwards, so this one lets everything visible be listed. It can only list what was put there.
        Ok(Grant { file: root, is_directory: true, rights: Rights::List })
    }
}

/// A file system for the root of a jail: room for mount points and the few files of /etc. Nobody can write there once the jail stands.
pub fn empty() -> Result<OwnedFd, SpawnError> {
    let options = [("size", "1m"), ("nr_inodes", "4k"), ("mode", "0755")];
    make_file_system(Step::Root, "tmpfs", &options, MountAttrFlags::empty())
}

/// A `/proc` that is mounted nowhere. Who has once looked at himself in the jail's own is remembered there by name, and then found by others.
pub fn unmounted_proc() -> Result<OwnedFd, SpawnError> {
    make_file_system(Step::Proc, "proc", &[("subset", "pid")], hardened())
}

/// Moves this process onto a detached copy of all that is mounted, and says what that is. To close the copy takes the kernel long.
///
/// A detached copy is in no mount namespace, so `/proc/self/mountinfo` has nothing to list (`proc_pid_mountinfo(5)`): otherwise it would tell
/// where on the host the source of every bind is. The copy lives for as long as somebody has his root in it. Programs see
/// nothing of this, but for those that list file systems (`df`, `findmnt`).
pub fn leave_namespace(proc: &OwnedFd) -> Result<(Vec<Mount>, OwnedFd), SpawnError> {
    let mounts = mounts::read(proc).at(Step::Pivot, "read /proc/self/mountinfo")?;
    let copy = tree_of(Path::new("/")).at(Step::Pivot, "open_tree /")?;
    rustix::process::fchdir(&copy).at(Step::Pivot, "fchdir to the copy of the root")?;
    rustix::process::chroot(".").at(Step::Pivot, "chroot")?;
    Ok((mounts, copy))
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
    let context = fsopen(kind, FsOpenFlags::FSOPEN_CLOEXEC).at(step, format_args!("fsopen {kind}"))?;
    for (key, value) in options {
        fsconfig_set_string(&context, *key, *value).at(step, format_args!("fsconfig {kind} {key}={value}"))?;
    }
    fsconfig_create(&context).at(step, format_args!("fsconfig create {kind}"))?;
    fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, attributes).at(step, format_args!("fsmount {kind}"))
}
