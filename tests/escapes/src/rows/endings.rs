//! To outlive one's end. These attempts don't come back: they say `ready` and stay. The runner then ends the world, and looks from outside
//! for what is left of it.

use crate::call;
use crate::ground::Ground;
use crate::outcome::Tried;
use crate::raw::{exit, fork, ignore};
use crate::row::{Attempt, Ending, Row};
use std::time::Duration;

pub const SHUTDOWN: Row = Row::new(
    55,
    "double fork, setsid, ignore TERM, clear pdeathsig, then shutdown",
    &["gone"],
    &[Attempt::new("hidden from its end", |_| {
        hide()?;
        stay()
    })],
)
.ended(Ending::Stop);

pub const FIRST_PROCESS: Row = Row::new(
    56,
    "stop or trace its own pid 1",
    &["gone"],
    &[
        Attempt::new("stop it", |ground| {
            hide()?;
            halt_first_process(ground, |pid| call!(libc::SYS_kill, pid, libc::SIGSTOP));
            stay()
        }),
        Attempt::new("trace it", |ground| {
            hide()?;
            halt_first_process(ground, |pid| call!(libc::SYS_ptrace, libc::PTRACE_ATTACH, pid, 0, 0));
            stay()
        }),
    ],
)
.ended(Ending::Stop);

pub const KILLED_BROKER: Row = Row::new(
    57,
    "SIGKILL the broker at each step of a spawn",
    &["gone"],
    &[Attempt::new("at 16 moments", |_| {
        hide()?;
        stay()
    })],
)
.ended(Ending::Kill);

/// Leaves a grandchild behind in a session of its own, without a parent that it could be found by.
fn hide() -> Tried {
    ignore(&[libc::SIGTERM, libc::SIGHUP, libc::SIGINT, libc::SIGQUIT]);
    let _ = call!(libc::SYS_prctl, libc::PR_SET_PDEATHSIG, 0);
    if fork()?.is_some() {
        return Ok(0);
    }
    let _ = call!(libc::SYS_setsid);
    if fork()?.is_some() {
        exit(0)
    }
    stay()
}

fn stay() -> ! {
    println!("ready");
    std::thread::sleep(Duration::from_secs(30));
    exit(0)
}

/// Only where pid 1 is that of a jail: the machine's own is not to be tried.
fn halt_first_process(ground: &Ground, halt: fn(i32) -> Tried) {
    if ground.has_broker {
        let _ = halt(1);
    }
}
