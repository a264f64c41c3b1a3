//! The kernel: its version, and what every jail needs of it.

use super::check::Check;
use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, fstatfs, openat2};
use rustix::io::Errno;
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use std::fs;

const GROUP: &str = "kernel";
/// The first kernel with all that is required: ABI 6 of Landlock came last.
const NEEDED: (u32, u32) = (6, 12);
const NEEDED_ABI: u32 = 6;
/// `PID_FS_MAGIC` (`linux/magic.h`).
const PIDFS: i64 = 0x5049_4446;
const NEWER: &str = "a kernel of 6.12 or later has it, unless it was built without";

pub fn checks() -> Vec<Check> {
    vec![
        version(),
        machine(),
        landlock(),
        seccomp(),
        executable_memory(),
        memory_files(),
        pidfs(),
        paths(),
        descriptors(),
        pressure(),
    ]
}

fn version() -> Check {
    let check = Check::new(GROUP, "version");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match parse(&release) {
        Some(version) if version >= NEEDED => check.ok(release),
        _ => check.missing(release, format!("Linux {}.{} or later is needed", NEEDED.0, NEEDED.1)),
    }
}

/// `6.18.44-something` is (6, 18).
fn parse(release: &str) -> Option<(u32, u32)> {
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn machine() -> Check {
    let check = Check::new(GROUP, "machine");
    match std::env::consts::ARCH {
        known @ ("x86_64" | "aarch64") => check.ok(known),
        other => check.degraded(other, "strait is tested on x86_64 and aarch64"),
    }
}

fn landlock() -> Check {
    let check = Check::new(GROUP, "landlock");
    match strait_sys::kernel::landlock_abi() {
        Ok(abi) if abi >= NEEDED_ABI => check.ok(format!("ABI {abi}")),
        Ok(abi) => check.missing(format!("ABI {abi}, and {NEEDED_ABI} is needed"), "Linux 6.12 or later has it"),
        Err(error) if error.raw_os_error() == Some(Errno::OPNOTSUPP.raw_os_error()) => check
            .missing("built in, but not switched on", "add landlock to the list that `lsm=` gives the kernel at boot"),
        Err(error) => check.missing(error.to_string(), "a kernel built with CONFIG_SECURITY_LANDLOCK is needed"),
    }
}

fn seccomp() -> Check {
    let check = Check::new(GROUP, "seccomp");
    let actions = fs::read_to_string("/proc/sys/kernel/seccomp/actions_avail").unwrap_or_default();
    match ["kill_process", "errno", "allow"].iter().all(|wanted| actions.split_whitespace().any(|word| word == *wanted))
    {
        true => check.ok("filters that kill, refuse and allow"),
        false => check.missing(format!("actions: {actions}"), "a kernel built with CONFIG_SECCOMP_FILTER is needed"),
    }
}

fn executable_memory() -> Check {
    let check = Check::new(GROUP, "executable memory");
    match strait_sys::code::refuses_new_code() {
        Ok(_) => check.ok("can be refused (PR_SET_MDWE)"),
        Err(error) => check.missing(format!("prctl PR_GET_MDWE: {error}"), NEWER),
    }
}

fn memory_files() -> Check {
    let check = Check::new(GROUP, "memory files");
    match fs::read_to_string("/proc/sys/vm/memfd_noexec") {
        Ok(_) => check.ok("can be kept from execution (vm.memfd_noexec)"),
        Err(error) => check.missing(format!("/proc/sys/vm/memfd_noexec: {error}"), NEWER),
    }
}

/// Processes are compared by the inodes of their pidfds, which only pidfs makes unique.
fn pidfs() -> Check {
    let check = Check::new(GROUP, "process identity");
    match pidfd_open(getpid(), PidfdFlags::empty()).and_then(fstatfs) {
        Ok(stat) if stat.f_type == PIDFS => check.ok("pidfs"),
        Ok(stat) => check.missing(format!("pidfds lie on a file system of type {:#x}", stat.f_type), NEWER),
        Err(error) => check.missing(format!("pidfd_open: {error}"), NEWER),
    }
}

fn paths() -> Check {
    let check = Check::new(GROUP, "safe paths");
    let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_MAGICLINKS;
    match openat2(CWD, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty(), resolve) {
        Ok(_) => check.ok("openat2"),
        Err(error) => check
            .missing(format!("openat2: {error}"), "something around strait forbids the call: a container's filter?"),
    }
}

/// `SO_PASSRIGHTS`: who can't send a descriptor can't send one that takes long to close (`sys/src/socket.rs`).
fn descriptors() -> Check {
    let check = Check::new(GROUP, "descriptors");
    let release = rustix::system::uname().release().to_string_lossy().into_owned();
    match parse(&release) {
        Some(version) if version >= (6, 16) => check.ok("refused where none is expected (SO_PASSRIGHTS)"),
        _ => check.degraded(
            "closed where none is expected, which a hostile world can make take long",
            "Linux 6.16 or later refuses them (SO_PASSRIGHTS)",
        ),
    }
}

/// Who burns processor time is found when the kernel says that somebody waits for a processor.
fn pressure() -> Check {
    let check = Check::new(GROUP, "pressure");
    match fs::read_to_string("/proc/pressure/cpu") {
        Ok(_) => check.ok("told (/proc/pressure/cpu): who burns processor time is put apart, where groups allow it"),
        Err(error) => check.degraded(
            format!("/proc/pressure/cpu: {error}: nobody is put apart for burning processor time"),
            "boot with psi=1, on a kernel built with CONFIG_PSI; or limit `cpu` for worlds that aren't trusted",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn releases_have_two_numbers() {
        assert_eq!(parse("6.18.44-fc"), Some((6, 18)));
        assert_eq!(parse("6.12"), Some((6, 12)));
        assert_eq!(parse("next"), None);
        assert!(parse("6.9.0") < Some(NEEDED) && parse("10.1.0") > Some(NEEDED));
    }
}
