//! Profiles: which system calls a payload may make, and what memory it may execute.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};
use syscalls::Sysno;

use crate::error::SpawnError;

/// How narrow a jail's filters are. Namespaces, mounts, Landlock, capabilities and limits are the same in all of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Base {
    /// For programs that don't write their own code: shells, compilers, Python, Perl, Lua. No memory is ever writable and executable,
    /// none becomes executable that wasn't mapped so, and none that is shared is executable.
    ///
    /// A file can still be mapped as code privately, whoever wrote it, a memory file (a slice) too: the loader of libraries does nothing
    /// else, and the kernel has no switch that tells the two apart.
    #[default]
    Default,
    /// The same without any rule about executable memory, for language VMs that compile while they run: Node, a JVM, LuaJIT.
    Jit,
    /// For static programs that compute and exchange messages. It runs nothing but the files that were granted read-only: `mmap` and `mprotect`
    /// give no executable memory at all (so there are no shared libraries), and what can be written can't be executed. It makes
    /// threads but no processes, changes no file but by writing to it, and asks for little of the kernel beside.
    Strict,
}

impl Base {
    /// All of them.
    pub const ALL: [Base; 3] = [Base::Default, Base::Jit, Base::Strict];

    /// As it is written.
    pub fn name(self) -> &'static str {
        match self {
            Base::Default => "default",
            Base::Jit => "jit",
            Base::Strict => "strict",
        }
    }
}

impl fmt::Display for Base {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Base {
    type Err = String;

    fn from_str(text: &str) -> Result<Base, String> {
        let found = Base::ALL.into_iter().find(|base| base.name() == text);
        found.ok_or_else(|| format!("`{text}` is no profile: there are default, jit and strict"))
    }
}

/// A profile with what is added to it and taken from it, as system calls are named in their manual.
///
/// What is added is allowed with any arguments but those that [`Base`] refuses (`ioctl` into a terminal stays refused); what is taken away fails
/// with `EPERM`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Profile {
    /// What it starts from.
    pub base: Base,
    /// Allowed beside.
    pub allow: Vec<String>,
    /// Refused although the base allows it.
    pub deny: Vec<String>,
}

impl From<Base> for Profile {
    fn from(base: Base) -> Profile {
        Profile { base, ..Profile::default() }
    }
}

impl Profile {
    /// Whether nothing was added and nothing taken away.
    pub fn is_plain(&self) -> bool {
        self.allow.is_empty() && self.deny.is_empty()
    }

    /// Whether memory can't become code: see [`Base`].
    pub fn refuses_new_code(&self) -> bool {
        self.base != Base::Jit
    }

    /// Whether what can be written can't be executed.
    pub(crate) fn is_write_xor_execute(&self) -> bool {
        self.base == Base::Strict
    }

    /// Whether its filter allows all that a payload does from when it waits for its task to its program.
    pub(crate) fn lets_a_payload_wait(&self) -> bool {
        self.base != Base::Strict && self.is_plain()
    }

    /// Finds what no filter can be made of.
    pub fn check(&self) -> Result<(), ProfileError> {
        numbers(&self.allow)?;
        numbers(&self.deny)?;
        if let Some(both) = self.allow.iter().find(|name| self.deny.contains(name)) {
            return Err(ProfileError::Both(both.clone()));
        }
        match self.deny.iter().find(|name| NEEDED.contains(&name.as_str())) {
            Some(needed) => Err(ProfileError::Needed(needed.clone())),
            None => Ok(()),
        }
    }
}

/// The filters stand before the program is started, so they can't refuse what starts it.
const NEEDED: [&str; 1] = ["execve"];

/// What is wrong with a profile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProfileError {
    /// No such name.
    #[error("`{0}` is no system call of this machine")]
    Unknown(String),
    /// A contradiction.
    #[error("`{0}` is both allowed and denied")]
    Both(String),
    /// One that the jail itself calls.
    #[error("`{0}` can't be denied: it starts the program, behind the filters")]
    Needed(String),
}

impl ProfileError {
    /// The name that it is about.
    pub fn name(&self) -> &str {
        match self {
            ProfileError::Unknown(name) | ProfileError::Both(name) | ProfileError::Needed(name) => name,
        }
    }
}

impl From<ProfileError> for SpawnError {
    fn from(error: ProfileError) -> SpawnError {
        SpawnError::Spec(error.to_string())
    }
}

/// The names of all system calls of this machine.
pub fn syscall_names() -> impl Iterator<Item = &'static str> {
    (0..=Sysno::last().id() as usize).filter_map(Sysno::new).map(|call| call.name())
}

/// The numbers behind names.
pub(crate) fn numbers(names: &[String]) -> Result<Vec<i64>, ProfileError> {
    let number = |name: &String| match name.parse::<Sysno>() {
        Ok(call) => Ok(i64::from(call.id())),
        Err(()) => Err(ProfileError::Unknown(name.clone())),
    };
    names.iter().map(number).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn profile(allow: &[&str], deny: &[&str]) -> Profile {
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        Profile { base: Base::Strict, allow: owned(allow), deny: owned(deny) }
    }

    #[test]
    fn names_become_numbers() {
        assert_eq!(
            numbers(&["openat".into(), "inotify_init1".into()]),
            Ok(vec![libc::SYS_openat, libc::SYS_inotify_init1])
        );
        let names: Vec<_> = syscall_names().collect();
        assert!(names.contains(&"openat") && names.contains(&"landlock_create_ruleset") && names.len() > 300);
    }

    #[test]
    fn what_cant_be_is_named() {
        assert_eq!(profile(&["socket"], &["fork"]).check(), Ok(()));
        assert_eq!(profile(&["soket"], &[]).check(), Err(ProfileError::Unknown("soket".into())));
        assert_eq!(profile(&["fork"], &["fork"]).check(), Err(ProfileError::Both("fork".into())));
        assert_eq!(profile(&[], &["execve"]).check(), Err(ProfileError::Needed("execve".into())));
    }
}
