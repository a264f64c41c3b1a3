//! Landlock: a second opinion on files, TCP and signals, which holds even where the mounts or the seccomp filter had a hole.
//!
//! Required, never best effort: a kernel that lacks one of the rights of ABI 6 (Linux 6.12) builds no jail.

use std::path::{Path, PathBuf};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset,
    RulesetAttr, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::error::{SpawnError, Step, refused};
use crate::spec::Access;

/// The version that is required. Its rights are all handled, which means: denied unless a rule grants them.
const REQUIRED: ABI = ABI::V6;

/// What may be done below a path.
#[derive(Clone, Debug)]
pub struct Grant {
    pub path: PathBuf,
    pub rights: Rights,
}

/// The few kinds of grants that a jail is made of.
#[derive(Clone, Copy, Debug)]
pub enum Rights {
    /// List directories.
    List,
    /// List and read.
    Read,
    /// Read and write the file itself (a device).
    Device,
    /// What a bind may do.
    Bind(Access),
}

impl Rights {
    fn bits(self) -> BitFlags<AccessFs> {
        match self {
            Rights::List => AccessFs::ReadDir.into(),
            Rights::Read => AccessFs::ReadFile | AccessFs::ReadDir,
            Rights::Device => AccessFs::ReadFile | AccessFs::WriteFile,
            Rights::Bind(Access::ReadOnly) => AccessFs::from_read(REQUIRED),
            // Everything but making and steering devices: the mounts say nodev, and this says it again.
            Rights::Bind(Access::ReadWrite) => {
                AccessFs::from_all(REQUIRED) & !(AccessFs::MakeChar | AccessFs::MakeBlock | AccessFs::IoctlDev)
            }
        }
    }
}

/// Confines this process and all that it makes to the grants. No TCP, and no signals or abstract sockets out of the jail.
pub fn confine(grants: &[Grant]) -> Result<(), SpawnError> {
    let rules = grants.iter().map(rule).collect::<Result<Vec<_>, _>>()?;
    let status = enforce(rules).map_err(|error| refused(Step::Landlock, error))?;
    match status {
        RulesetStatus::FullyEnforced => Ok(()),
        other => Err(refused(Step::Landlock, format!("{other:?} instead of fully enforced"))),
    }
}

fn enforce(rules: Vec<PathBeneath<PathFd>>) -> Result<RulesetStatus, landlock::RulesetError> {
    let mut ruleset = Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .handle_access(AccessNet::from_all(REQUIRED))?
        .scope(Scope::from_all(REQUIRED))?
        .create()?;
    for rule in rules {
        ruleset = ruleset.add_rule(rule)?;
    }
    Ok(ruleset.restrict_self()?.ruleset)
}

fn rule(grant: &Grant) -> Result<PathBeneath<PathFd>, SpawnError> {
    let opened = PathFd::new(&grant.path).map_err(|error| refused(Step::Landlock, error))?;
    // Of a file only the rights that a file can have may be asked for; the kernel insists.
    let mut rights = grant.rights.bits();
    if !is_directory(&grant.path)? {
        rights &= AccessFs::from_file(REQUIRED);
    }
    Ok(PathBeneath::new(opened, rights))
}

fn is_directory(path: &Path) -> Result<bool, SpawnError> {
    let metadata = std::fs::metadata(path);
    let metadata = metadata.map_err(|error| refused(Step::Landlock, format!("stat {}: {error}", path.display())))?;
    Ok(metadata.is_dir())
}
