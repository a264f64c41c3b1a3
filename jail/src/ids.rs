//! Who a world is outside.

use rustix::process::Pid;

use crate::error::{At, SpawnError, Step};
use crate::system::INNER_ID;

/// Never uid 0: without any capability it would still own the files of /proc/sys.
#[derive(Clone, Copy, Debug)]
pub struct Ids {
    uid: u32,
    gid: u32,
    own: bool,
}

impl Ids {
    /// With `None` the launcher's own.
    pub fn of(uid: Option<u32>) -> Result<Ids, SpawnError> {
        let caller = (rustix::process::geteuid().as_raw(), rustix::process::getegid().as_raw());
        match (uid, caller) {
            (Some(0), _) => Err(SpawnError::Spec("a world can't have uid 0".into())),
            (None, (0, _)) => Err(SpawnError::Spec("the launcher is root: the world needs a uid of its own".into())),
            (Some(uid), (0, _)) => Ok(Ids { uid, gid: uid, own: true }),
            (Some(uid), (caller, _)) => Err(SpawnError::Spec(format!(
                "only a launcher that is root can give uid {uid}, this one is uid {caller}"
            ))),
            (None, (uid, gid)) => Ok(Ids { uid, gid, own: false }),
        }
    }

    /// The uid, if it isn't the launcher's.
    pub fn own(&self) -> Option<u32> {
        self.own.then_some(self.uid)
    }

    /// Maps the one user and the one group of the jail's user namespace (`user_namespaces(7)`).
    pub fn write(&self, pid: Pid) -> Result<(), SpawnError> {
        let process = format!("/proc/{}", pid.as_raw_nonzero());
        let write = |file: &str, text: String| {
            std::fs::write(format!("{process}/{file}"), &text)
                .at(Step::IdMaps, format_args!("write '{text}' to {file}"))
        };
        if !self.own {
            // The kernel's condition for mapping a group without privilege: nobody may drop a group that denies something.
            write("setgroups", "deny".into())?;
        }
        write("gid_map", format!("{INNER_ID} {} 1", self.gid))?;
        write("uid_map", format!("{INNER_ID} {} 1", self.uid))
    }
}
