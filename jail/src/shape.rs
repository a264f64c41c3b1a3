//! What a jail is, whatever runs in it: the part of a [`Spec`] that a jail can be built by before anybody knows for whom.

use std::os::fd::OwnedFd;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Mode, OFlags, ResolveFlags, StatxFlags, openat2, statx};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::profile::{Base, Profile};
use crate::spec::{Bind, Limits, Spec};
use crate::system;

/// Two jails of one shape differ in their user, their name and their program, and in nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Shape {
    pub binds: Vec<Bind>,
    pub system: bool,
    pub profile: Profile,
    pub limits: Limits,
}

/// Which file it is, and whose: device and inode, uid and gid, type and mode.
type Identity = (u32, u32, u64, u32, u32, u16);

/// The host's files that a shape shows, each with what it was; `None`: nobody can say without waiting for its file system.
pub type View = Vec<Option<Identity>>;

impl Shape {
    pub fn of(spec: &Spec) -> Shape {
        let Spec { binds, system, profile, limits, .. } = spec.clone();
        Shape { binds, system, profile, limits }
    }

    /// Whether the settings of language VMs are a part of it.
    pub fn has_java(&self) -> bool {
        self.system && self.profile.base == Base::Jit
    }

    /// What is there now under the names that it shows beside the system. A jail that was built before shows what was there then.
    pub fn view(&self) -> View {
        let java = if self.has_java() { system::java_settings().unwrap_or_default() } else { Vec::new() };
        let binds = self.binds.iter().map(|bind| bind.source.as_path());
        binds.chain(java.iter().map(|path| path.as_path())).map(|path| identify(path).ok()).collect()
    }
}

/// By what the kernel remembers: a file system that doesn't answer would have everybody wait who asks the launcher for something.
fn identify(path: &Path) -> Result<Identity, Errno> {
    let file = open_cached(path)?;
    let flags = AtFlags::EMPTY_PATH | AtFlags::STATX_DONT_SYNC;
    let stat = statx(&file, "", flags, StatxFlags::BASIC_STATS)?;
    Ok((stat.stx_dev_major, stat.stx_dev_minor, stat.stx_ino, stat.stx_uid, stat.stx_gid, stat.stx_mode))
}

/// A walk by what the kernel remembers also fails where anything is mounted on this machine at that very moment (`legitimize_mnt` in `fs/namespace.c`), as by the
/// next jail. That is over in microseconds, so it is tried again; a file system that would have to be asked still says no after that.
fn open_cached(path: &Path) -> Result<OwnedFd, Errno> {
    const TRIES: usize = 32;
    let open = |_| openat2(CWD, path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), ResolveFlags::CACHED);
    (0..TRIES).map(open).find(|opened| !matches!(opened, Err(Errno::AGAIN))).unwrap_or(Err(Errno::AGAIN))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::Bind;

    #[test]
    fn what_is_put_in_a_files_place_is_seen() {
        let dir = std::env::temp_dir().join(format!("strait-shape-{}", std::process::id()));
        std::fs::create_dir_all(&dir).expect("directory");
        let (file, other) = (dir.join("file"), dir.join("other"));
        std::fs::write(&file, "one").expect("write");
        let mut spec = Spec::new("shape", "sh");
        spec.binds = vec![Bind::read_only(&file, "/file")];
        let shape = Shape::of(&spec);
        let before = shape.view();
        assert!(before[0].is_some() && shape.view() == before);
        std::fs::write(&file, "two").expect("write");
        assert_eq!(shape.view(), before, "the same file with other content");
        std::fs::write(&other, "three").expect("write");
        std::fs::rename(&other, &file).expect("rename");
        assert_ne!(shape.view(), before);
        std::fs::remove_dir_all(&dir).expect("clear up");
        assert_eq!(shape.view(), [None]);
    }
}
