//! Jails that are begun ahead of time.

use std::fs;
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::process::Command;

use strait_jail::{Bind, Fds, Launcher, MAX_OPEN, Options};

use crate::cases::{Given, as_root, settled, skip_unless, wait_until};
use crate::groups::{alive, groups_of};
use crate::world::{World, shell, start};

/// With seats and without, used and unused: nothing is left of the launcher's own.
pub fn seats(_: &mut Given<'_>) {
    let others = settled(seats_of_ours);
    for seats in [0, 1, 5] {
        let mut launcher = Launcher::start_with(&Options { seats, share_turns: as_root() }).expect("launcher");
        let worlds = (0..4).map(|_| start(&mut launcher, &shell("sleep 1000")).expect("spawn"));
        let worlds: Vec<World> = worlds.collect();
        let pid = worlds[0].process.pid();
        let homes: Vec<PathBuf> = groups_of(pid).iter().filter_map(|dir| Some(dir.parent()?.to_owned())).collect();
        wait_until("the seats to be made", || seats_of_ours() == others + seats);
        drop(launcher);
        assert_eq!(seats_of_ours(), others, "seats that nobody took");
        assert!(alive(pid), "a jail outlives its launcher");
        drop(worlds);
        assert!(homes.iter().all(|dir| !dir.exists()), "{homes:?}");
    }
}

/// What is mounted after a root was made ahead of time is in it all the same. In a mount namespace of its own, so that nobody else sees it.
pub fn renewed(given: &mut Given<'_>) {
    skip_unless(as_root());
    let mut command = Command::new("unshare");
    command.args(["--mount", "--propagation", "private"]).arg(given.own.path()).args(["probe", "late-mount"]);
    let output = command.output().expect("unshare");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "before: 1\nafter: late\n", "{output:?}");
}

/// The probe's side.
pub fn late_mount() {
    let mut launcher = Launcher::start().expect("launcher");
    let mut look = |script: &str| {
        wait_until("the seats to be made", || seats_of_ours() == 2);
        start(&mut launcher, &shell(script)).expect("spawn").finish().0
    };
    print!("before: {}", look("test -e /usr/local/late; echo $?"));
    rustix::mount::mount("none", "/usr/local", "tmpfs", rustix::mount::MountFlags::empty(), None).expect("mount");
    fs::write("/usr/local/late", "late\n").expect("write");
    print!("after: {}", look("cat /usr/local/late"));
}

/// A supervisor that comes before others makes no worlds that do.
pub fn ordinary(given: &mut Given<'_>) {
    skip_unless(as_root());
    let output = Command::new("nice").args(["-n", "-5"]).arg(given.own.path()).args(["probe", "niceness"]).output();
    let output = output.expect("nice");
    let text = String::from_utf8_lossy(&output.stdout);
    skip_unless(text.starts_with("-5 "));
    assert_eq!(text, "-5 0\n", "{output:?}");
}

/// As many orders as may be open, more than a socket holds, with answers that are more than one holds, and nobody hears one before all are given: neither
/// side waits for the other. It would be for ever, so there is an alarm.
pub fn unheard(given: &mut Given<'_>) {
    let missing: PathBuf = std::iter::once("/").chain([&*"x".repeat(200); 19]).collect();
    let mut spec = shell("exit");
    spec.binds = vec![Bind::read_only(&missing, "/missing")];
    spec.args.push("y".repeat(60 << 10).into());
    let null = fs::File::open("/dev/null").expect("/dev/null");
    let fds = Fds { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), rendezvous: None };
    nix::unistd::alarm::set(120);
    let tickets = (0..MAX_OPEN).map(|_| given.launcher.submit(&spec, fds).expect("an order"));
    for ticket in tickets.collect::<Vec<_>>() {
        let (answered, outcome) = given.launcher.next().expect("an answer");
        let error = outcome.expect_err("no such source").to_string();
        assert!(answered == ticket && error.len() > 3800, "{error}");
    }
    nix::unistd::alarm::cancel();
}

/// Its own, and a world's.
pub fn niceness() {
    let own = rustix::process::getpriority_process(None).expect("getpriority");
    let mut launcher = Launcher::start().expect("launcher");
    print!("{own} {}", start(&mut launcher, &shell("nice")).expect("spawn").finish().0);
}

/// Of this process: those of the launcher that the cases share, and more.
fn seats_of_ours() -> usize {
    let own = std::process::id();
    let text = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).unwrap_or_default();
    let name = |pid: &str| fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
    text.split_whitespace().filter(|pid| name(pid) == "strait-seat\n").count()
}
