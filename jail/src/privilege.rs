//! Giving things up: the user, the capabilities, the limits, the way back.

use std::io;

use rustix::io::Errno;
use rustix::process::{DumpableBehavior, Resource, Rlimit, setrlimit};
use rustix::thread::{
    CapabilitiesSecureBits as Bits, CapabilitySet, CapabilitySets, Gid, Uid, capabilities,
    clear_ambient_capability_set, remove_capability_from_bounding_set, set_capabilities,
};

use crate::error::{At, SpawnError, Step, refused};
use crate::spec::Limits;

/// Becomes the user for good: real, effective and saved. With `groups` the supplementary groups go first, while there is still
/// the right to do that; without it (rootless) the kernel doesn't let anybody change them.
pub fn become_user(uid: u32, gid: u32, groups: bool) -> Result<(), SpawnError> {
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    if groups {
        rustix::thread::set_thread_groups(&[]).at(Step::Identity, "setgroups")?;
    }
    rustix::thread::set_thread_res_gid(gid, gid, gid).at(Step::Identity, format_args!("setresgid {gid}"))?;
    rustix::thread::set_thread_res_uid(uid, uid, uid).at(Step::Identity, format_args!("setresuid {uid}"))
}

/// Nobody of the same uid can look into this process or stop it with ptrace, and it leaves no core.
pub fn hide() -> Result<(), SpawnError> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).at(Step::Identity, "prctl PR_SET_DUMPABLE")
}

/// No program started from here on gains anything by being set-user-id or having file capabilities.
pub fn no_new_privileges() -> Result<(), SpawnError> {
    rustix::thread::set_no_new_privs(true).at(Step::NoNewPrivileges, "prctl PR_SET_NO_NEW_PRIVS")
}

/// Nothing that was ever writable becomes code by a change of its mapping: see [`strait_sys::code::refuse_new_code`].
pub fn refuse_new_code() -> Result<(), SpawnError> {
    strait_sys::code::refuse_new_code().at(Step::Code, "prctl PR_SET_MDWE")
}

/// Being uid 0 gives nothing, changing the uid gives nothing, nothing can be kept or passed on; and all of it locked.
pub fn lock_secure_bits() -> Result<(), SpawnError> {
    let bits = Bits::NO_ROOT
        | Bits::NO_ROOT_LOCKED
        | Bits::NO_SETUID_FIXUP
        | Bits::NO_SETUID_FIXUP_LOCKED
        | Bits::KEEP_CAPS_LOCKED
        | Bits::NO_CAP_AMBIENT_RAISE
        | Bits::NO_CAP_AMBIENT_RAISE_LOCKED;
    rustix::thread::set_capabilities_secure_bits(bits).at(Step::Capabilities, "prctl PR_SET_SECUREBITS")
}

/// No better than anybody's, whatever the supervisor gave itself (`nice(2)`).
pub fn be_ordinary() -> Result<(), SpawnError> {
    match rustix::process::getpriority_process(None).at(Step::Limits, "getpriority")? {
        ..0 => rustix::process::setpriority_process(None, 0).at(Step::Limits, "setpriority 0"),
        _ => Ok(()),
    }
}

/// Whatever is executed from here on gets no capability by it. Takes one to do, and takes none of those that are held.
///
/// By number, until the kernel has no such capability: it may know more of them than any list of names.
pub fn empty_bounding_set() -> Result<(), SpawnError> {
    for number in 0..64 {
        match remove_capability_from_bounding_set(CapabilitySet::from_bits_retain(1 << number)) {
            Ok(()) => {}
            Err(Errno::INVAL) if number > 0 => break,
            Err(error) => Err(error).at(Step::Capabilities, format_args!("prctl PR_CAPBSET_DROP {number}"))?,
        }
    }
    Ok(())
}

/// Empties the other four capability sets.
pub fn drop_capabilities() -> Result<(), SpawnError> {
    clear_ambient_capability_set().at(Step::Capabilities, "prctl PR_CAP_AMBIENT_CLEAR_ALL")?;
    let none = CapabilitySet::empty();
    let none = CapabilitySets { effective: none, permitted: none, inheritable: none };
    set_capabilities(None, none).at(Step::Capabilities, "capset")?;
    let left = capabilities(None).at(Step::Capabilities, "capget")?;
    match left == none {
        true => Ok(()),
        false => Err(refused(Step::Capabilities, format_args!("some are left: {:?}", left.permitted))),
    }
}

/// Sets every limit, soft and hard.
///
/// Core dumps are off with a limit of 1 byte, not 0: too little for any file, and the one value at which the kernel doesn't start the host's
/// crash handler either, which with 0 it would do, as root and outside of every namespace (`core(5)` on pipes, and `do_coredump` in
/// `fs/coredump.c`).
pub fn limit(limits: &Limits) -> Result<(), SpawnError> {
    let all = [
        (Resource::Core, Some(1), "RLIMIT_CORE"),
        (Resource::Nofile, limits.open_files, "RLIMIT_NOFILE"),
        (Resource::Nproc, limits.processes, "RLIMIT_NPROC"),
        (Resource::As, limits.address_space_bytes, "RLIMIT_AS"),
        (Resource::Fsize, limits.file_size_bytes, "RLIMIT_FSIZE"),
        (Resource::Stack, limits.stack_bytes, "RLIMIT_STACK"),
        (Resource::Memlock, limits.locked_bytes, "RLIMIT_MEMLOCK"),
    ];
    for (resource, value, name) in all {
        let Some(value) = value else { continue };
        lower(resource, value).at(Step::Limits, format_args!("setrlimit {name} {value}"))?;
    }
    Ok(())
}

/// A limit that is already lower stays: raising it takes a capability, and a lower one keeps the promise.
fn lower(resource: Resource, value: u64) -> io::Result<()> {
    let already = rustix::process::getrlimit(resource).maximum;
    let value = already.map_or(value, |already| already.min(value));
    let both = Rlimit { current: Some(value), maximum: Some(value) };
    Ok(setrlimit(resource, both)?)
}
