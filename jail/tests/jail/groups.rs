//! Cases about control groups: limits of whole jails, and that nothing is left of them.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use strait_jail::{DEFAULT_MEMORY_BYTES, Exit, Launcher, Limits, Options};

use crate::cases::{Given, as_root, skip_unless, wait_until};
use crate::world::*;

/// The directories of a process's groups: `id:controllers:path`, below where this machine mounts them.
pub fn groups_of(pid: i32) -> Vec<PathBuf> {
    let text = fs::read_to_string(format!("/proc/{pid}/cgroup")).unwrap_or_default();
    let dir = |line: &str| {
        let mut parts = line.splitn(3, ':').skip(1);
        let (names, path) = (parts.next()?, parts.next()?);
        let mount = if names.is_empty() { unified()? } else { format!("/sys/fs/cgroup/{names}") };
        let dir = PathBuf::from(format!("{mount}{path}"));
        path.contains("/strait-").then_some(dir)
    };
    text.lines().filter_map(dir).collect()
}

fn unified() -> Option<String> {
    let mounts = ["/sys/fs/cgroup/unified", "/sys/fs/cgroup"];
    mounts.into_iter().find(|dir| Path::new(dir).join("cgroup.controllers").exists()).map(Into::into)
}

fn has(controller: &str) -> bool {
    let mut launcher = Launcher::start_with(&Options { seats: 0, ..Options::default() }).expect("launcher");
    let world = start(&mut launcher, &shell("sleep 1000")).expect("spawn");
    let report = world.process.report().expect("report");
    !report.missing.iter().any(|sentence| sentence.contains(&format!("no {controller} limit")))
}

/// Each of these takes far more than its jail may, in memory of one kind.
const BOMBS: &[(&str, &str)] = &[
    ("anonymous", "a = []\nwhile True: a.append(bytearray(1 << 20))"),
    ("tmpfs", "f = open('/tmp/x', 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()"),
    ("memfd", "f = open(os.memfd_create('x'), 'wb')\nwhile True: f.write(bytes(1 << 20)); f.flush()"),
    (
        "pipes",
        "p = []\nwhile True:\n  p.append(os.pipe()); fcntl.fcntl(p[-1][1], 1031, 1 << 20); os.set_blocking(p[-1][1], False); os.write(p[-1][1], bytes(1 << 20))",
    ),
    ("children", "while True:\n  if os.fork() == 0: a = bytearray(b'x') * (16 << 20); time.sleep(1000)"),
];

pub fn memory(given: &mut Given<'_>) {
    skip_unless(as_root() && has("memory"));
    let mut sibling = start(given.launcher, &shell("sleep 1000")).expect("spawn");
    for (kind, script) in BOMBS {
        let mut spec = spec("python3", &["-c", &format!("import os, time, fcntl\n{script}")]);
        spec.limits.memory_bytes = Some(48 << 20);
        spec.limits.tmp_bytes = 1 << 30;
        let mut world = start(given.launcher, &spec).expect("spawn");
        // Some are killed as a whole; of the children one at a time is, until pid 1 or the program is.
        if *kind == "children" {
            let dirs = groups_of(world.process.pid());
            wait_until("the limit to be hit", || {
                dirs.iter().any(|dir| counts(dir, "memory.oom_control", "oom_kill")) || !alive(world.process.pid())
            });
            world.process.kill().expect("kill");
        }
        let exit = world.process.wait().expect("wait");
        let is_hit = exit == Exit::Signal(9) || (*kind == "pipes" && exit == Exit::Code(1));
        assert!(is_hit, "{kind}: {exit:?} {}", world.read());
    }
    assert_eq!(sibling.process.try_wait().expect("try_wait"), None, "a sibling was hit");
    let limits = sibling.process.report().expect("report").control_groups;
    let is_default = |(_, text): &(String, String)| *text == DEFAULT_MEMORY_BYTES.to_string();
    assert!(limits.iter().any(is_default), "nothing was asked for, and there is no limit: {limits:?}");
    assert_eq!(run(given.launcher, &shell("exit 3")).1, Exit::Code(3), "siblings spawn as before");
    sibling.process.kill().expect("kill");
}

/// Whether a file of names and numbers has another number than 0 beside this name.
fn counts(dir: &Path, file: &str, name: &str) -> bool {
    let text = fs::read_to_string(dir.join(file)).unwrap_or_default();
    text.lines().any(|line| line.split_once(' ').is_some_and(|(key, count)| key == name && count != "0"))
}

pub fn alive(pid: i32) -> bool {
    Path::new(&format!("/proc/{pid}")).exists()
}

pub fn processes(given: &mut Given<'_>) {
    skip_unless(as_root() && has("pids"));
    // Threads and processes alike, whoever's: the resource limit, by user, isn't what stops it.
    let script = "import threading, time\nn = 1\ntry:\n  while True: threading.Thread(target=time.sleep, args=(1000,), daemon=True).start(); n += 1\nexcept RuntimeError: print(n, flush=True)\nimport os; os._exit(0)";
    let mut spec = spec("python3", &["-c", script]);
    spec.limits = Limits { pids: Some(20), processes: None, ..Limits::default() };
    let (text, exit) = run(given.launcher, &spec);
    assert_eq!((text.trim(), exit), ("19", Exit::Code(0)), "with pid 1 they are 20");
    // By default, what the resource limit says holds for the group.
    spec.limits = Limits { processes: Some(30), ..Limits::default() };
    assert_eq!(run(given.launcher, &spec).0.trim(), "29");
    // A fork bomb that never stops: the others don't notice, and it dies as one.
    let mut bomb = start(given.launcher, &shell("echo up; f() { f | f & }; f; sleep 1000")).expect("spawn");
    bomb.line();
    assert_eq!(run(given.launcher, &shell("exit 3")).1, Exit::Code(3));
    bomb.process.kill().expect("kill");
    bomb.process.wait().expect("wait");
}

pub fn processor(given: &mut Given<'_>) {
    skip_unless(as_root() && has("cpu"));
    let mut spec = shell("echo up; while :; do :; done");
    spec.limits.cpu_permille = Some(100);
    for _ in 0..2 {
        let mut world = start(given.launcher, &spec).expect("spawn");
        assert_eq!(world.line(), "up");
        let report = world.process.report().expect("report").control_groups;
        let quota = report.iter().find(|(file, _)| file == "cpu.cfs_quota_us" || file == "cpu.max");
        assert!(quota.is_some_and(|(_, text)| text.starts_with("10000")), "{report:?}");
        let dirs = groups_of(world.process.pid());
        wait_until("the quota to be used up", || dirs.iter().any(|dir| counts(dir, "cpu.stat", "nr_throttled")));
        world.process.kill().expect("kill");
        assert_eq!(world.process.wait().expect("wait"), Exit::Signal(9));
    }
    spec.limits.cpu_permille = Some(9);
    let error = start(given.launcher, &spec).err().expect("refused").to_string();
    assert!(error.contains("9 thousandths is below 10"), "{error}");
}

/// What can't be had fails the spawn by name if it was asked for, and is in the report if it wasn't.
pub fn missing(given: &mut Given<'_>) {
    for (controller, limits) in [
        ("memory", Limits { memory_bytes: Some(64 << 20), ..Limits::default() }),
        ("pids", Limits { pids: Some(64), ..Limits::default() }),
        ("cpu", Limits { cpu_permille: Some(500), ..Limits::default() }),
    ] {
        let mut spec = shell("sleep 1000");
        spec.limits = limits;
        if has(controller) {
            let world = start(given.launcher, &spec).expect("spawn");
            assert!(!world.process.report().expect("report").control_groups.is_empty());
            continue;
        }
        let error = start(given.launcher, &spec).err().expect("refused").to_string();
        assert!(error.contains(&format!("needs the {controller} controller: ")), "{error}");
        assert!(error.contains("root") || error.contains("cgroup_disable"), "no fix: {error}");
    }
}

/// Double forks, leaves session, group and parent, ignores every signal, clears its death signal, and stops its parent.
const HYDRA: &str = "import os, signal, time, ctypes
def deaf():
    for s in range(1, 32):
        try: signal.signal(s, signal.SIG_IGN)
        except OSError: pass
    ctypes.CDLL(None).prctl(1, 0)
deaf()
for n in range(3):
    if os.fork() == 0:
        os.setsid(); deaf()
        if os.fork() == 0:
            os.setpgid(0, 0); deaf()
            try: os.kill(os.getppid(), signal.SIGSTOP)
            except OSError: pass
            os.kill(1, signal.SIGSTOP)
            if n == 2:
                time.sleep(0.1); print('up', flush=True)
            while True: time.sleep(1000)
        while True: time.sleep(1000)
while True: time.sleep(1000)
";

pub fn whole_tree(given: &mut Given<'_>) {
    let before = processes_of(kernel_uid());
    let mut world = start(given.launcher, &spec("python3", &["-c", HYDRA])).expect("spawn");
    assert_eq!(world.line(), "up");
    assert!(processes_of(kernel_uid()).len() >= before.len() + 8, "the hydra isn't there");
    let groups = groups_of(world.process.pid());
    assert_eq!(groups.is_empty(), !as_root(), "{groups:?}");
    for dir in &groups {
        assert!(fs::read_to_string(dir.join("cgroup.procs")).expect("cgroup.procs").lines().count() >= 8);
    }
    world.process.kill().expect("kill");
    assert_eq!(world.process.wait().expect("wait"), Exit::Signal(9));
    assert_eq!(processes_of(kernel_uid()), before);
    // A group that could be removed had nobody in it: the kernel's own proof.
    wait_until("the groups to be removed", || groups.iter().all(|dir| !dir.exists()));
}

/// What can't be killed, because it is frozen, is waited for for so long and no longer.
pub fn frozen(given: &mut Given<'_>) {
    let freezer = PathBuf::from(format!("/sys/fs/cgroup/freezer/strait-test-{}", std::process::id()));
    skip_unless(as_root() && fs::create_dir(&freezer).is_ok());
    let world = start(given.launcher, &shell("sleep 1000")).expect("spawn");
    let pid = world.process.pid();
    let set = |state: &str| fs::write(freezer.join("freezer.state"), state).expect("freezer");
    let is_in = fs::write(freezer.join("cgroup.procs"), pid.to_string()).is_ok();
    set("FROZEN");
    let begun = std::time::Instant::now();
    drop(world);
    let waited = begun.elapsed();
    let lived = alive(pid);
    set("THAWED");
    wait_until("the frozen one to end", || fs::remove_dir(&freezer).is_ok());
    assert!(is_in && lived && waited.as_secs() >= 5, "{is_in} {lived} {waited:?}");
    let every = rustix::process::WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    rustix::process::waitpid(rustix::process::Pid::from_raw(pid), every).expect("waitpid");
}

/// The groups of worlds that died with a killed supervisor are removed by its launcher.
pub fn supervisor_dies(given: &mut Given<'_>) {
    skip_unless(as_root());
    let before = processes_of(world_uid()).len();
    let mut middle = Command::new(given.own.path());
    let mut middle =
        middle.args(["probe", "supervise", &world_uid().to_string()]).stdout(Stdio::piped()).spawn().expect("middle");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(middle.stdout.take().expect("pipe")), &mut line)
        .expect("pid");
    let groups = groups_of(line.trim().parse().expect("pid"));
    assert!(!groups.is_empty());
    middle.kill().expect("kill");
    middle.wait().expect("wait");
    wait_until("the homes to be removed", || groups.iter().all(|dir| !dir.parent().expect("a home").exists()));
    // Whoever inherited the dead may take its time to reap them.
    wait_until("the dead to be reaped", || processes_of(world_uid()).len() <= before);
}

/// What an owner that is gone has left is removed by the next; what somebody holds isn't.
pub fn stale(given: &mut Given<'_>) {
    skip_unless(as_root());
    let world = start(given.launcher, &shell("sleep 1000")).expect("spawn");
    let held = groups_of(world.process.pid());
    let parent = held[0].parent().and_then(Path::parent).expect("where homes are");
    let left = parent.join("strait-4194305-0");
    let others = ["other-4194305", "strait-4194305", "strait-db.service"].map(|name| parent.join(name));
    fs::create_dir_all(left.join("w1")).expect("mkdir");
    others.iter().for_each(|other| fs::create_dir_all(other.join("w1")).expect("mkdir"));
    drop(Launcher::start().expect("launcher"));
    let there = others.each_ref().map(|other| other.join("w1").exists());
    others.iter().for_each(|other| drop(fs::remove_dir(other.join("w1")).and_then(|()| fs::remove_dir(other))));
    assert!(!left.exists());
    assert_eq!(there, [true; 3], "groups of others");
    assert!(held.iter().all(|dir| dir.exists()));
}

/// A process that was forked between two passes stays where its jail stood apart. That doesn't keep the jail from standing apart again.
pub fn apart(given: &mut Given<'_>) {
    skip_unless(as_root());
    let mut world = start(given.launcher, &shell("sleep 1000")).expect("spawn");
    let pid = world.process.pid();
    let is_version_1 = world.process.set_apart(true).is_ok();
    skip_unless(is_version_1);
    let stands = |dir: &PathBuf| groups_of(pid).contains(dir);
    let apart = groups_of(pid).into_iter().find(|dir| dir.join("cpu.shares").exists()).expect("a group apart");
    let mut left = Command::new("sleep").arg("1000").spawn().expect("sleep");
    fs::write(apart.join("cgroup.procs"), left.id().to_string()).expect("move");
    world.process.set_apart(false).expect("back");
    assert!(apart.exists() && !stands(&apart));
    let again = world.process.set_apart(true);
    left.kill().and_then(|()| left.wait()).expect("kill");
    again.expect("apart again");
    assert!(stands(&apart));
}
