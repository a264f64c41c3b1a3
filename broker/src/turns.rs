//! Whose turn it is, where worlds and switch share one processor.
//!
//! Parties that wait for each other there take turns by `sched_yield(2)`, which is the quickest change of process there is: 1.4 us where
//! a futex or an eventfd takes 2.3 us (docs/performance.md). Two things decide whether the turn goes to who can use it.
//! **The switch counts double**: in a round trip each world has one turn and the switch two; with equal shares a third of the turns go to
//! somebody who has nothing to do yet. **All are in one scheduling group**: the kernel gives each session a group of its own
//! (`sched(7)`, autogroup), and a yield doesn't reach beyond its group.
//!
//! Both need root, and both are only about speed: what can't be had is left. The group is one of the launcher's (`strait_jail`), which removes it.

use strait_jail::{Launcher, Options};

/// The nice value with about twice the weight of 0 (`sched(7)`: 1.25 a step).
const TWICE: i32 = -3;

/// Gives this process twice a world's share of the processor.
pub(crate) fn weigh_double() {
    // Refused without privilege.
    let _ = rustix::process::setpriority_process(None, TWICE);
}

/// How the launcher of a broker's worlds works.
pub(crate) fn options(seats: usize) -> Options {
    Options { seats, share_turns: rustix::process::geteuid().is_root() }
}

/// Moves this process, and so all it will start, into the scheduling group of its worlds.
pub(crate) fn gather(launcher: &Launcher) {
    if rustix::process::geteuid().is_root() {
        let _ = launcher.take_turns();
    }
}

/// Takes this process out again, so that the group can be removed.
pub(crate) fn scatter(launcher: &Launcher) {
    if rustix::process::geteuid().is_root() {
        launcher.leave_turns();
    }
}
