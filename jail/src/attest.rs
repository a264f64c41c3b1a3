//! What pid 1 finds in force of the jail around it, once that stands and before the payload is made: what `/proc` doesn't show to those outside.
//!
//! The payload is a copy of pid 1, and the kernel lets a process give none of this back.

use std::fmt;

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use serde::{Deserialize, Serialize};

use crate::error::{At, SpawnError, Step, refused};
use crate::mounts::Mount;
use crate::profile::Profile;
use crate::ruleset::REQUIRED;

/// What pid 1 found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attested {
    /// Whose filters the payload installs before its program.
    pub profile: Profile,
    /// Landlock refused what nothing else would have.
    pub landlock: Landlock,
    /// Whether memory can't become code (`PR_GET_MDWE`).
    pub refuses_new_code: bool,
    /// The bits that keep capabilities away, and lock each other (`capabilities(7)`).
    pub secure_bits: u32,
    /// What is mounted, on its way to [`Report::mounts`](crate::Report::mounts). Nobody can read that later: the jail stands in no mount
    /// namespace.
    #[serde(default)]
    pub mounts: Vec<Mount>,
}

/// A Landlock domain, which the kernel lets nobody read back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Landlock {
    /// The version whose rights are all handled: what isn't granted is denied.
    pub abi: u32,
    /// The kernel's own version. What it has beyond isn't used.
    pub kernel_abi: u32,
}

impl fmt::Display for Landlock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "every right of ABI {} handled (the kernel has ABI {})", self.abi, self.kernel_abi)
    }
}

/// Looks at itself. A layer that should be in force and isn't is an error: the payload isn't made then.
pub fn attest(profile: &Profile, mounts: Vec<Mount>) -> Result<Attested, SpawnError> {
    try_what_landlock_refuses()?;
    let kernel_abi = strait_sys::kernel::landlock_abi().at(Step::Landlock, "landlock_create_ruleset")?;
    let refuses_new_code = strait_sys::code::refuses_new_code().at(Step::Code, "prctl PR_GET_MDWE")?;
    if refuses_new_code != profile.refuses_new_code() {
        return Err(refused(Step::Code, format!("PR_GET_MDWE says {refuses_new_code}, profile {}", profile.base)));
    }
    let bits = rustix::thread::capabilities_secure_bits().at(Step::Capabilities, "prctl PR_GET_SECUREBITS")?;
    let landlock = Landlock { abi: REQUIRED as u32, kernel_abi };
    Ok(Attested { profile: profile.clone(), landlock, refuses_new_code, secure_bits: bits.bits(), mounts })
}

/// Every jail has a `/dev/null` that may be opened and written. To ask it for its terminal settings is an error of its own (`ENOTTY`), unless
/// Landlock is asked first: steering devices is granted nowhere.
fn try_what_landlock_refuses() -> Result<(), SpawnError> {
    let null = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty());
    let null = null.at(Step::Landlock, "open /dev/null")?;
    match rustix::termios::tcgetattr(&null) {
        Err(Errno::ACCESS) => Ok(()),
        other => {
            Err(refused(Step::Landlock, format!("an ioctl on /dev/null wasn't refused but gave {:?}", other.err())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outside_a_jail_the_attempt_is_answered() {
        let error = try_what_landlock_refuses().expect_err("no landlock here").to_string();
        assert!(error.starts_with("landlock: an ioctl on /dev/null wasn't refused"), "{error}");
        assert!(attest(&Profile::default(), Vec::new()).is_err());
    }
}
