//! Landlock: a second opinion on files, TCP and signals, which holds even where the mounts or the seccomp filter had a hole.
//!
//! Required, never best effort: a kernel that lacks one of the rights of ABI 6 (Linux 6.12) builds no jail.

use std::os::fd::{AsFd, OwnedFd};

use landlock::{
    ABI, Access as _, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, PathBeneath, Ruleset, RulesetAttr,
    RulesetCreated, RulesetCreatedAttr, RulesetStatus, Scope,
};

use crate::error::{SpawnError, Step, refused};
use crate::spec::Access;

/// The version that is required. Its rights are all handled, which means: denied unless a rule grants them.
pub const REQUIRED: ABI = ABI::V6;

/// What may be done below a place. It is the file that counts, not the path by which somebody comes to it.
#[derive(Debug)]
pub struct Grant {
    pub file: OwnedFd,
    pub is_directory: bool,
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

impl Grant {
    /// Of a file only the rights that a file can have may be asked for; the kernel insists.
    fn bits(&self) -> BitFlags<AccessFs> {
        match self.is_directory {
            true => self.rights.bits(),
            false => self.rights.bits() & AccessFs::from_file(REQUIRED),
        }
    }
}

/// What will be allowed. Without any grant: nothing, no TCP, and no signals or abstract sockets out of the jail.
#[derive(Debug)]
pub struct Rules(RulesetCreated);

impl Rules {
    pub fn new() -> Result<Rules, SpawnError> {
        create(AccessNet::from_all(REQUIRED)).map(Rules).map_err(|error| refused(Step::Landlock, error))
    }

    /// The same, but TCP connections may be made, to anywhere.
    pub fn with_connections() -> Result<Rules, SpawnError> {
        create(AccessNet::BindTcp.into()).map(Rules).map_err(|error| refused(Step::Landlock, error))
    }

    pub fn allow(self, grants: &[Grant]) -> Result<Rules, SpawnError> {
        let add =
            |rules: RulesetCreated, grant: &Grant| rules.add_rule(PathBeneath::new(grant.file.as_fd(), grant.bits()));
        grants.iter().try_fold(self.0, add).map(Rules).map_err(|error| refused(Step::Landlock, error))
    }

    /// Confines this process and all that it makes to what is allowed.
    pub fn enforce(self) -> Result<(), SpawnError> {
        match self.0.restrict_self().map_err(|error| refused(Step::Landlock, error))?.ruleset {
            RulesetStatus::FullyEnforced => Ok(()),
            other => Err(refused(Step::Landlock, format!("{other:?} instead of fully enforced"))),
        }
    }
}

fn create(network: BitFlags<AccessNet>) -> Result<RulesetCreated, landlock::RulesetError> {
    Ruleset::default()
        .set_compatibility(CompatLevel::HardRequirement)
        .handle_access(AccessFs::from_all(REQUIRED))?
        .handle_access(network)?
        .scope(Scope::from_all(REQUIRED))?
        .create()
}
