//! Capabilities and privileges: to gain some, and to have any.

use crate::call;
use crate::outcome::{Outcome, Tried};
use crate::row::{Attempt, Row};
use std::process::Command;

pub const GAINING: Row = Row::new(
    24,
    "setuid binary, file capabilities",
    &["unchanged"],
    &[
        Attempt::new("setuid", |ground| gain(&ground.in_ro("setuid"))),
        Attempt::new("file capabilities", |ground| gain(&ground.in_ro("capable"))),
        Attempt::new("setuid(0)", |_| call!(libc::SYS_setuid, 0)).held(&["EPERM", "EINVAL"]),
        Attempt::new("setgroups", |_| call!(libc::SYS_setgroups, 0, 0)).held(&["EPERM"]),
    ],
);

pub const CAPABILITIES: Row = Row::new(
    25,
    "capset, PR_CAP_AMBIENT_RAISE",
    &["EPERM"],
    &[
        Attempt::new("capset effective", |_| capset(CHROOT, CHROOT, 0)),
        Attempt::new("capset inheritable", |_| capset(0, 0, CHROOT)).held(&["EPERM"]),
        Attempt::new("ambient", |_| {
            let _ = capset(CHROOT, CHROOT, CHROOT);
            call!(libc::SYS_prctl, libc::PR_CAP_AMBIENT, libc::PR_CAP_AMBIENT_RAISE, CHROOT_NUMBER, 0, 0)
        }),
        Attempt::new("secure bits", |_| call!(libc::SYS_prctl, libc::PR_SET_SECUREBITS, 0)),
        Attempt::new("no_new_privs off", |_| call!(libc::SYS_prctl, libc::PR_SET_NO_NEW_PRIVS, 0, 0, 0, 0))
            .held(&["EINVAL"])
            .impossible("the kernel lets nobody take it back"),
    ],
);

pub const STATUS: Row = Row::new(
    26,
    "CapBnd, Eff, Prm, Inh, Amb zero; NoNewPrivs 1; Seccomp 2",
    &["exact"],
    &[
        Attempt::new("CapInh", |_| differs("CapInh", NONE))
            .impossible("nobody has inheritable capabilities without asking"),
        Attempt::new("CapPrm", |_| differs("CapPrm", NONE)),
        Attempt::new("CapEff", |_| differs("CapEff", NONE)),
        Attempt::new("CapBnd", |_| differs("CapBnd", NONE)),
        Attempt::new("CapAmb", |_| differs("CapAmb", NONE))
            .impossible("nobody has ambient capabilities without asking"),
        Attempt::new("NoNewPrivs", |_| differs("NoNewPrivs", "1")),
        Attempt::new("Seccomp", |_| differs("Seccomp", "2")),
    ],
);

const CHROOT_NUMBER: i32 = 18;
const CHROOT: u64 = 1 << CHROOT_NUMBER;
const NONE: &str = "0000000000000000";

/// `capset(2)`, version 3: a header of version and pid, then effective, permitted, inheritable, twice 32 bits each. Of what there is
/// already nothing is asked for but these.
fn capset(effective: u64, permitted: u64, inheritable: u64) -> Tried {
    const VERSION_3: u64 = 0x2008_0522;
    let low = [effective | permitted << 32, inheritable, 0];
    call!(libc::SYS_capset, &[VERSION_3], &low)
}

/// Runs a program that would gain by it, and compares who it is with who we are.
fn gain(path: &str) -> Tried {
    // Root would gain nothing, so it goes as somebody else.
    if call!(libc::SYS_geteuid)? == 0 {
        call!(libc::SYS_setresgid, ORDINARY, ORDINARY, ORDINARY)?;
        call!(libc::SYS_setresuid, ORDINARY, ORDINARY, ORDINARY)?;
    }
    let output = Command::new(path).arg("identity").output().map_err(|error| Outcome::of(&error))?;
    let expected = format!("{} {NONE}\n", call!(libc::SYS_geteuid)?);
    match output.stdout == expected.as_bytes() {
        true => Err(Outcome::Word("unchanged")),
        false if output.status.success() => Ok(0),
        false => Err(Outcome::Word("not-run")),
    }
}

const ORDINARY: i32 = 60_000;

/// Whether a field of this process's status is anything but this.
fn differs(field: &str, expected: &str) -> Tried {
    let status = std::fs::read_to_string("/proc/self/status").map_err(|error| Outcome::of(&error))?;
    let value = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(":\t"));
    match value.ok_or(Outcome::Word("no-field"))? {
        value if value == expected => Err(Outcome::Word("exact")),
        _ => Ok(0),
    }
}
