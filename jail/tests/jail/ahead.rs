//! Jails that stand before anybody asks for them: what is ordered a second time gets one.

use std::fs;
use std::ops::Range;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use strait_jail::{Bind, Exit, Launcher, Report, SpawnError, Spec};
use strait_sys::socket;

use crate::cases::{Given, as_root, settled, skip_unless, wait_until};
use crate::groups::alive;
use crate::world::{PROBE, Scratch, World, probe, processes_of, run, shell, start, start_with};

/// The uids that are lent, out of the way of those that other cases order.
fn lent() -> Range<u32> {
    let first = 0x6400_0000 + 4 * std::process::id();
    first..first + 4
}

/// One to which four uids were lent.
fn lender() -> Launcher {
    let mut launcher = Launcher::start().expect("launcher");
    lent().for_each(|uid| launcher.lend(uid).expect("lend"));
    launcher
}

/// Those that only `prepare` orders: of an order that gets a jail that stood already, the uid is lent.
fn fresh() -> Range<u32> {
    let first = 0x6500_0000 + 32 * std::process::id();
    first..first + 32
}

fn spare() -> impl Iterator<Item = u32> {
    lent().chain(fresh())
}

/// The processes of jails that wait.
fn waiting() -> Vec<i32> {
    spare().flat_map(processes_of).collect()
}

/// Has jails of a shape stand: two of them, of two processes each. Once per launcher.
fn prepare(launcher: &mut Launcher, spec: &Spec) {
    let mut uids = fresh();
    // Where the system's files change meanwhile, what was begun ends, and is begun anew with the next order.
    wait_until("two jails to stand", || {
        for uid in uids.by_ref().take(2) {
            start(launcher, &Spec { uid: Some(uid), ..spec.clone() }).expect("spawn").finish();
        }
        (0..10).any(|_| settled(waiting).len() == 4)
    });
}

/// A jail that waited is the jail that was ordered, but for its uid.
pub fn same(given: &mut Given<'_>) {
    skip_unless(as_root());
    let mut launcher = lender();
    let mut spec = shell("hostname; pwd; id -u; env; ls -A /tmp /probe; echo up; while :; do sleep 1000; done");
    spec.binds = vec![Bind::read_only(given.own.path(), PROBE), Bind::read_write("/srv", "/data")];
    spec.dir = "/data".into();
    let ordered = spec.uid.expect("root");
    let (first, text, report) = look(&mut launcher, &spec);
    let brief = Spec { args: vec!["-c".into(), "exit".into()], ..spec.clone() };
    prepare(&mut launcher, &brief);
    let env = [("KEY", "value"), ("PATH", "/usr/bin:/bin")];
    let env = env.iter().map(|(key, value)| (key.into(), value.into())).collect();
    let other = Spec { name: "other".into(), env, ..spec };
    let (second, later, its_report) = look(&mut launcher, &other);
    assert!(text.starts_with("case\n/data\n1000\n") && text.contains("HOME=/tmp\n"), "{text}");
    assert!(later.starts_with("other\n/data\n1000\n") && later.contains("KEY=value\n"), "{later}");
    assert!(!later.contains("HOME"), "{later}");
    assert_eq!(its_report, report);
    assert!(first == ordered && spare().any(|uid| uid == second), "{first} {second}");
    assert!(!launcher.has_lent(second) && launcher.has_lent(ordered), "it has the one that wasn't needed");
    drop(launcher);
    assert!(waiting().is_empty(), "jails that nobody took");
}

/// What one says of itself, and what the kernel says of it.
fn look(launcher: &mut Launcher, spec: &Spec) -> (u32, String, Report) {
    let mut world = start(launcher, spec).expect("spawn");
    let uid = world.process.uid().expect("root");
    let lines = std::iter::repeat_with(|| world.line() + "\n").take_while(|line| line != "up\n");
    let text = lines.collect();
    let report = world.process.report().expect("report");
    assert_eq!((&*report.uids, &*report.gids), (&[uid; 4][..], &[uid; 4][..]));
    (uid, text, without_numbers(report))
}

fn without_numbers(mut report: Report) -> Report {
    // In the order of their numbers, which the kernel gives anew when others are gone.
    report.mounts.sort_by(|one, other| one.target.cmp(&other.target));
    (report.pid, report.pids, report.uids, report.gids) = (0, Vec::new(), Vec::new(), Vec::new());
    report.control_groups.retain(|(file, _)| !file.contains("usage") && !file.contains("current"));
    for (_, target) in &mut report.descriptors {
        target.truncate(target.find(':').unwrap_or(target.len()));
    }
    report
}

/// What has taken a granted file's place is what a later world gets; and a jail that died while it waited harms nobody.
pub fn outdated(_: &mut Given<'_>) {
    skip_unless(as_root());
    let (mut launcher, scratch) = (lender(), Scratch::new("ahead"));
    let (file, next) = (scratch.path().join("file"), scratch.path().join("next"));
    fs::write(&file, "old").expect("write");
    let mut spec = shell("cat /file");
    spec.binds = vec![Bind::read_only(&file, "/file")];
    prepare(&mut launcher, &spec);
    fs::write(&next, "new").expect("write");
    fs::rename(&next, &file).expect("rename");
    assert_eq!(run(&mut launcher, &spec), ("new".into(), Exit::Code(0)));
    wait_until("others to stand", || settled(waiting).len() == 4);
    for pid in waiting() {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::KILL);
    }
    assert_eq!(run(&mut launcher, &spec), ("new".into(), Exit::Code(0)));
    fs::remove_file(&file).expect("remove");
    let error = start(&mut launcher, &spec).err().expect("no such file").to_string();
    assert!(error.starts_with("opening what the jail may see: open_tree"), "{error}");
    assert_eq!(spare().chain(spec.uid).filter(|uid| launcher.has_lent(*uid)).count(), 4);
}

/// Jails that nobody took and that don't die keep nobody waiting for them.
pub fn undead(_: &mut Given<'_>) {
    let freezer = PathBuf::from(format!("/sys/fs/cgroup/freezer/strait-test-{}", std::process::id()));
    skip_unless(as_root() && fs::create_dir(&freezer).is_ok());
    let (mut launcher, scratch) = (lender(), Scratch::new("undead"));
    let (file, next) = (scratch.path().join("file"), scratch.path().join("next"));
    fs::write(&file, "old").expect("write");
    fs::write(&next, "new").expect("write");
    let mut spec = shell("cat /file");
    spec.binds = vec![Bind::read_only(&file, "/file")];
    prepare(&mut launcher, &spec);
    let stuck = waiting();
    let is_in = |pid: &i32| fs::write(freezer.join("cgroup.procs"), pid.to_string()).is_ok();
    let are_in = stuck.iter().all(is_in);
    let set = |state: &str| fs::write(freezer.join("freezer.state"), state).expect("freezer");
    set("FROZEN");
    fs::rename(&next, &file).expect("rename");
    let begun = Instant::now();
    let answers = [(); 2].map(|()| start(&mut launcher, &spec).map(World::finish));
    let (took, lived) = (begun.elapsed(), stuck.iter().all(|pid| alive(*pid)));
    set("THAWED");
    wait_until("the frozen ones to end", || fs::remove_dir(&freezer).is_ok());
    assert!(are_in && lived && stuck.len() == 4, "{are_in} {lived} {stuck:?}");
    assert!(answers.iter().all(|answer| *answer == Ok(("new".into(), Exit::Code(0)))), "{answers:?}");
    // As long as one that was ordered is waited for.
    assert!(took < Duration::from_secs(5), "{took:?}");
}

/// One whose payload's process died while it waited, which its first process hasn't noticed, is an error and no world.
pub fn dies_unseen(_: &mut Given<'_>) {
    skip_unless(as_root());
    while !is_unseen() {}
}

/// False: the launcher ended them itself, as it does where the system's files change meanwhile.
fn is_unseen() -> bool {
    let (mut launcher, spec) = (lender(), shell("echo up"));
    prepare(&mut launcher, &spec);
    let signal = |pid: i32, signal| {
        let pid = rustix::process::Pid::from_raw(pid).expect("a pid");
        rustix::process::kill_process(pid, signal).expect("kill");
    };
    let (firsts, payloads): (Vec<i32>, Vec<i32>) = waiting().into_iter().partition(|pid| is_child_of_ours(*pid));
    assert_eq!((firsts.len(), payloads.len()), (2, 2));
    firsts.iter().for_each(|pid| signal(*pid, rustix::process::Signal::STOP));
    payloads.iter().for_each(|pid| signal(*pid, rustix::process::Signal::KILL));
    // The one who could reap them is stopped.
    let is_dead = |pid: &i32| fs::read_to_string(format!("/proc/{pid}/stat")).is_ok_and(|stat| stat.contains(") Z "));
    let is_gone = |pid: &i32| !fs::exists(format!("/proc/{pid}")).unwrap_or(true);
    wait_until("both to die", || payloads.iter().all(|pid| is_dead(pid) || is_gone(pid)));
    if payloads.iter().any(is_gone) {
        return false;
    }
    assert_eq!(start(&mut launcher, &spec).err(), Some(SpawnError::Died));
    let uid = fresh().last();
    assert_eq!(start(&mut launcher, &Spec { uid, ..spec.clone() }).err(), Some(SpawnError::Died));
    drop(launcher);
    assert_eq!(run(&mut lender(), &spec), ("up\n".into(), Exit::Code(0)), "the control");
    true
}

fn is_child_of_ours(pid: i32) -> bool {
    let own = std::process::id();
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).expect("children");
    children.split_whitespace().any(|child| child == pid.to_string())
}

/// The kernel vouches for one that connected before it was asked for.
pub fn vouched_for(given: &mut Given<'_>) {
    skip_unless(as_root());
    let (mut launcher, scratch) = (lender(), Scratch::new("early"));
    let (listener, inode) = listener(&scratch);
    let spec = probe(given.own, &["talk"]);
    let accept = |launcher: &mut Launcher| {
        let mut world = start_with(launcher, &spec, Some(&inode)).expect("spawn");
        let is_its = |connection: &OwnedFd| {
            let peer = socket::peer(connection.as_fd()).expect("peer");
            let is_same = socket::same_process(peer.pidfd.as_fd(), world.process.pidfd()).expect("fstat");
            assert_eq!(is_same, Some(peer.uid) == world.process.uid(), "{}", peer.pid);
            is_same
        };
        // Others that wait may have come first.
        let mut connections = std::iter::repeat_with(|| socket::accept(listener.as_fd()).expect("accept"));
        let connection = connections.find(is_its).expect("no end");
        let mut buffer = [0; 16];
        let length = rustix::io::read(&connection, &mut buffer).expect("read");
        assert_eq!(&buffer[..length], b"hello");
        rustix::io::write(&connection, b"goodbye").expect("write");
        assert_eq!(world.process.wait().expect("wait"), Exit::Code(0));
        world.process.uid()
    };
    assert_eq!([accept(&mut launcher), accept(&mut launcher)], [spec.uid; 2]);
    wait_until("two jails to stand", || settled(waiting).len() == 4);
    assert_eq!(accept(&mut launcher), Some(lent().start));
}

fn listener(scratch: &Scratch) -> (OwnedFd, OwnedFd) {
    use std::os::unix::fs::PermissionsExt;
    let path = scratch.path().join("socket");
    let listener = socket::listen(&path).expect("listen");
    fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("chmod");
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    (listener, rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).expect("O_PATH"))
}

/// No process that a later world begins as has what an earlier one was told.
pub fn forgets(_: &mut Given<'_>) {
    skip_unless(as_root());
    let mut launcher = lender();
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("a clock");
    let secret = format!("secret-{}-{}", std::process::id(), now.as_nanos());
    let mut spec = shell("exit");
    spec.env.push(("SECRET".into(), (&secret).into()));
    prepare(&mut launcher, &spec);
    let own = std::process::id();
    let children = fs::read_to_string(format!("/proc/{own}/task/{own}/children")).expect("children");
    let children: Vec<i32> = children.split_whitespace().filter_map(|pid| pid.parse().ok()).collect();
    assert!(knows(own.cast_signed(), &secret), "this process does");
    let later: Vec<i32> = children.into_iter().chain(waiting()).filter(|pid| knows(*pid, &secret)).collect();
    assert!(later.is_empty(), "{later:?} know");
}

/// Whether a text is anywhere in a process's writable memory (`proc_pid_maps(5)`, `proc_pid_mem(5)`).
fn knows(pid: i32, text: &str) -> bool {
    let maps = fs::read_to_string(format!("/proc/{pid}/maps")).unwrap_or_default();
    let Ok(memory) = fs::File::open(format!("/proc/{pid}/mem")) else { return false };
    maps.lines().filter(|line| line.contains(" rw")).any(|line| {
        let ends = line.split_once(' ').and_then(|(range, _)| range.split_once('-'));
        let ends = ends.map(|(from, to)| [from, to].map(|end| u64::from_str_radix(end, 16).expect("an address")));
        let [from, to] = ends.expect("a range");
        let mut bytes = vec![0; (to - from) as usize];
        let length = memory.read_at(&mut bytes, from).unwrap_or(0);
        bytes[..length].windows(text.len()).any(|window| window == text.as_bytes())
    })
}
