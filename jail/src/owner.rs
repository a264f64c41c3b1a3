//! Read-write grants as their owner has them: what the world writes there belongs to whom the directory belongs to.
//!
//! A world has a kernel uid of its own, another one at each start, which owns no file of the host. So a grant that it may write is attached through
//! an idmapped mount (`mount_setattr(2)`, `MOUNT_ATTR_IDMAP`): on it the grant's owner *is* the world, both ways, and everybody else's files
//! are nobody's. It takes a user namespace with that one mapping, which only the launcher can make, because only it has a say over the host's
//! file systems. So that nobody on the host gains by it, no world can make a file that runs as its owner (`seccomp.rs`).

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use rustix::io::Errno;
use rustix::process::{Pid, WaitOptions, waitpid};
use strait_sys::launch::{Cloned, clone_process, exit_now, retain_only};
use strait_sys::mount::map_ids;

use crate::error::{At, SpawnError, Step};
use crate::root::{Kind, tree_without_links};
use crate::shape::Shape;
use crate::spec::{Access, Bind};

/// Grants for writing that one jail may have: each is a descriptor of the launcher for a while.
const MAX_WRITABLE: usize = 128;

/// The trees of all grants that may be written, in their order.
pub fn open_writable(shape: &Shape, uid: Option<u32>) -> Result<Vec<OwnedFd>, SpawnError> {
    let Some(id) = uid else { return Ok(Vec::new()) };
    let writable: Vec<_> = writable(shape).collect();
    if writable.len() > MAX_WRITABLE {
        return Err(SpawnError::Spec(format!(
            "{} paths to write, of which there may be {MAX_WRITABLE}",
            writable.len()
        )));
    }
    let noexec = shape.profile.is_write_xor_execute();
    writable.iter().map(|bind| open(bind, Kind::of(bind.access, noexec), id)).collect()
}

/// The grants whose trees the launcher opens, for a world that has a uid of its own.
pub fn writable(shape: &Shape) -> impl Iterator<Item = &Bind> {
    shape.binds.iter().filter(|bind| bind.access == Access::ReadWrite)
}

fn open(bind: &Bind, kind: Kind, id: u32) -> Result<OwnedFd, SpawnError> {
    let tree = tree_without_links(&bind.source, kind)?;
    let owner = rustix::fs::fstat(&tree).at_path(Step::Sources, "fstat", &bind.source)?;
    // A directory for everybody, such as /tmp: to its owner others' files would be as if they were his.
    if owner.st_mode & libc::S_ISVTX != 0 {
        return Ok(tree);
    }
    let namespace = mapping((owner.st_uid, owner.st_gid), id)?;
    match map_ids(&tree, &namespace) {
        // A file system that can't, or is mapped already: then the world has there what others have.
        Ok(()) | Err(Errno::INVAL | Errno::PERM | Errno::OPNOTSUPP) => Ok(tree),
        Err(errno) => Err(errno).at_path(Step::Sources, "mount_setattr MOUNT_ATTR_IDMAP", &bind.source),
    }
}

/// A user namespace in which the owner of files is the world, held by nothing but this descriptor.
fn mapping((uid, gid): (u32, u32), id: u32) -> Result<OwnedFd, SpawnError> {
    let (child_end, our_end) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).at(Step::IdMaps, "pipe2")?;
    match clone_process(libc::CLONE_NEWUSER, false).at(Step::IdMaps, "clone3 with a user namespace")? {
        Cloned::Child => keep_alive(&child_end),
        Cloned::Parent { pid, .. } => {
            let process = format!("/proc/{}", pid.as_raw_nonzero());
            let namespace = write(&process, "gid_map", gid, id)
                .and_then(|()| write(&process, "uid_map", uid, id))
                .and_then(|()| open_namespace(Path::new(&format!("{process}/ns/user"))));
            drop(our_end);
            reap(pid);
            namespace
        }
    }
}

/// Until the launcher lets go of its end, or is gone.
fn keep_alive(end: &OwnedFd) -> ! {
    if retain_only(&[end.as_fd()]).is_ok() {
        let _ = rustix::io::retry_on_intr(|| rustix::io::read(end, &mut [0]));
    }
    exit_now(0)
}

fn write(process: &str, file: &str, on_disk: u32, id: u32) -> Result<(), SpawnError> {
    let text = format!("{on_disk} {id} 1");
    std::fs::write(format!("{process}/{file}"), &text).at(Step::IdMaps, format_args!("write '{text}' to {file}"))
}

fn open_namespace(path: &Path) -> Result<OwnedFd, SpawnError> {
    std::fs::File::open(path).at_path(Step::IdMaps, "open", path).map(Into::into)
}

fn reap(child: Pid) {
    let all = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    let _ = rustix::io::retry_on_intr(|| waitpid(Some(child), all));
}
