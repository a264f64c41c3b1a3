//! The cases.

use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use strait_jail::{Base, Bind, Error, Exit, Launcher, Limits};
use strait_sys::socket;

use crate::ahead;
use crate::groups;
use crate::owner;
use crate::profiles;
use crate::seats;
use crate::world::*;

/// What every case is given.
pub struct Given<'a> {
    pub launcher: &'a mut Launcher,
    pub own: &'a OwnCopy,
}

type Case = (&'static str, fn(&mut Given<'_>));

const CASES: &[Case] = &[
    ("exit codes and signals pass through", ends),
    ("the world sees itself, and little else", sees),
    ("no capability, no new privileges, seccomp", powers),
    ("no socket of any family", sockets),
    ("what the filter refuses", refusals),
    ("memory files, threads, languages", languages),
    ("memory files can't be executed (root)", memory_files),
    ("what may be executed in which profile", profiles::executable_memory),
    ("system calls are added and taken away by name", profiles::by_name),
    ("a compiler at run time takes its profile", profiles::just_in_time),
    ("a read-only bind can't be written, a read-write one can", binds),
    ("what is written in a bind is its owner's (root)", owner::belongs),
    ("a directory for everybody is nobody's in particular (root)", owner::shared),
    ("a path to write is followed through no link (root)", owner::follows_no_link),
    ("a path that was asked for is followed through no link", owner::follows_no_link_to_read),
    ("no file is made that runs as its owner", owner::borrows_nothing),
    ("nothing is made in a bind", nested_binds),
    ("a granted file below a closed directory", closed_directory),
    ("only the environment and descriptors that were given", inherited),
    ("errors name step, call and path", errors),
    ("limits hold", limits),
    ("killing leaves no process", kill_tree),
    ("the payload's end ends its orphans", orphans),
    ("pid 1 ignores its world", pid_one),
    ("the rendezvous vouches for pid 1", rendezvous),
    ("the end of the supervisor ends the world", supervisor_dies),
    ("the report says what is", report),
    ("orders overlap, answers keep their order", overlap),
    ("dropping kills", dropping),
    ("a second thread refuses a launcher", second_thread),
    ("an enclosed service opens nothing", enclosed),
    ("an enclosed service opens what it keeps, and nothing beside it", keeping),
    ("a memory bomb of any kind hits its own jail (root)", groups::memory),
    ("processes and threads are counted by jail (root)", groups::processes),
    ("a processor limit holds (root)", groups::processor),
    ("a limit that can't be had is named", groups::missing),
    ("a tree that hides dies as a whole", groups::whole_tree),
    ("what can't be killed isn't waited for for ever (root)", groups::frozen),
    ("a killed supervisor leaves no group (root)", groups::supervisor_dies),
    ("groups of the dead are swept, of the living not (root)", groups::stale),
    ("who stood apart can stand apart again (root)", groups::apart),
    ("seats come and go", seats::seats),
    ("neither side waits for the other", seats::unheard),
    ("what is mounted late is there (root)", seats::renewed),
    ("a jail that waited is the one that was ordered (root)", ahead::same),
    ("a jail that waited too long isn't used (root)", ahead::outdated),
    ("a jail that nobody took isn't waited for (root)", ahead::undead),
    ("a jail that dies while it waits is no world (root)", ahead::dies_unseen),
    ("the rendezvous vouches for a jail that waited (root)", ahead::vouched_for),
    ("what a world is told is told to no other (root)", ahead::forgets),
    ("worlds come before nobody (root)", seats::ordinary),
    ("2,000 spawns leave nothing behind", nothing_left),
];

pub fn run(mode: &str) -> ExitCode {
    let own = own_copy();
    let mut launcher = Launcher::start().expect("launcher");
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (name, case) in CASES {
        let mut given = Given { launcher: &mut launcher, own: &own };
        let outcome = catch_unwind(AssertUnwindSafe(|| case(&mut given)));
        let skip = outcome.as_ref().is_err_and(|panic| panic.is::<Skip>());
        let (word, counter) = match (&outcome, skip) {
            (Ok(()), _) => ("ok  ", &mut passed),
            (_, true) => ("skip", &mut skipped),
            _ => ("FAIL", &mut failed),
        };
        *counter += 1;
        println!("{word}  {mode}: {name}");
    }
    println!("{passed} passed, {failed} failed, {skipped} skipped");
    if failed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Thrown by a case that can't say anything here.
struct Skip;

pub fn skip_unless(possible: bool) {
    if !possible {
        std::panic::resume_unwind(Box::new(Skip));
    }
}

pub fn as_root() -> bool {
    uid().is_some()
}

fn ends(given: &mut Given<'_>) {
    let launcher = &mut *given.launcher;
    assert_eq!(run_quiet(launcher, "exit 0"), Exit::Code(0));
    assert_eq!(run_quiet(launcher, "exit 42"), Exit::Code(42));
    assert_eq!(run_quiet(launcher, "kill -TERM $$"), Exit::Signal(15));
    assert_eq!(run_quiet(launcher, "kill -SEGV $$"), Exit::Signal(11));
    let mut world = start(launcher, &spec("sleep", &["1000"])).expect("spawn");
    assert_eq!(world.process.try_wait().expect("try_wait"), None);
    world.process.kill().expect("kill");
    assert_eq!(world.process.wait().expect("wait"), Exit::Signal(9));
    assert_eq!(world.process.wait().expect("again"), Exit::Signal(9));
    world.process.kill().expect("no error after the end");
}

fn run_quiet(launcher: &mut Launcher, script: &str) -> Exit {
    crate::world::run(launcher, &shell(script)).1
}

fn sees(given: &mut Given<'_>) {
    let script = "id -u; id -un; hostname; pwd; echo $$; ls /; ls /dev; ls /proc | grep -c '^[0-9]'; ls -A /tmp; ls /etc/shadow /root /home /var /sys 2>&1";
    let (text, exit) = crate::world::run(given.launcher, &shell(script));
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines[..5], ["1000", "world", "case", "/", "2"], "{text}");
    assert_ne!(exit, Exit::Code(0), "none of the last is there");
    for missing in ["/etc/shadow", "/root", "/home", "/var", "/sys"] {
        assert!(text.contains(&format!("'{missing}': No such file")), "{missing}: {text}");
    }
    for present in ["bin", "dev", "etc", "proc", "tmp", "usr"] {
        assert!(lines.contains(&present), "{present}: {text}");
    }
    let devices = ["fd", "full", "null", "random", "stderr", "stdin", "stdout", "urandom", "zero"];
    assert!(lines.windows(devices.len()).any(|window| window == devices), "{text}");
    let (text, _) = crate::world::run(
        given.launcher,
        &shell("cat /proc/self/mountinfo /proc/self/mounts; touch /x; mkdir /etc/x; ls /proc/1; ls /proc/sys"),
    );
    // Nothing about where on the host anything comes from.
    assert_eq!(text.lines().count(), 4, "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 2, "{text}");
    assert_eq!(text.matches("No such file").count(), 2, "{text}");
}

fn powers(given: &mut Given<'_>) {
    let (text, _) = crate::world::run(given.launcher, &probe(given.own, &["identity"]));
    let zero = "0000000000000000";
    let capabilities = ["CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"].map(|set| format!("{set}: {zero}"));
    let expected = format!("Uid: 1000 1000 1000 1000\n{}\nNoNewPrivs: 1\nSeccomp: 2\n", capabilities.join("\n"));
    assert_eq!(text, expected);
}

fn sockets(given: &mut Given<'_>) {
    let outside = Command::new(given.own.path()).args(["probe", "socket"]).output().expect("unjailed");
    let outside = String::from_utf8_lossy(&outside.stdout).into_owned();
    for family in ["1", "2", "16", "pair-dgram", "pair-raw", "pair-stream"] {
        assert!(outside.contains(&format!("{family} ok")), "unjailed: {outside}");
    }
    let (inside, _) = crate::world::run(given.launcher, &probe(given.own, &["socket"]));
    assert_eq!(inside.lines().count(), 10);
    // A pair that is connected from birth leads nowhere: event loops need one.
    let refused = |line: &str| line.ends_with(" 1") || line == "pair-stream ok";
    assert!(inside.lines().all(refused) && inside.contains("pair-stream ok"), "{inside}");
}

fn refusals(given: &mut Given<'_>) {
    let (text, _) = crate::world::run(given.launcher, &probe(given.own, &["refusals"]));
    let code = |line: &str| line.split_whitespace().last().unwrap_or_default().to_owned();
    let of = |name: &str| text.lines().find(|line| line.starts_with(name)).map(code).unwrap_or_default();
    for name in ["unshare", "mount", "fsopen", "chroot", "pivot_root", "mknod", "setns"] {
        assert_eq!(of(name), "1", "{name}: {text}");
    }
    for name in ["core_pattern", "init"] {
        assert!(["2", "13"].contains(&&*of(name)), "{name}: {text}");
    }
    // There is no uid 0 to become, and no such process to kill.
    assert_eq!((&*of("uid"), &*of("kill")), ("22", "3"), "{text}");
    let (text, _) = crate::world::run(given.launcher, &spec("python3", &["-c", SYSCALLS]));
    let expected = [
        "clone 1",
        "clone3 38",
        "io_uring 38",
        "unknown 38",
        "ioctl 1",
        "ioctl-high 1",
        "personality 1",
        "fastopen 1",
        "inotify 1",
        "x32 38",
        "lease 1",
        "notification 1",
        "personality asked 0",
        "shared code 1",
        "private code 0",
        "borrowed 1",
        "created 1",
        "temporary 1",
        "opened 14",
        "device 1",
        "borrowed node 1",
        "pipe 14",
        "core 1",
        "core-high 1",
        "core asked 0",
        "first 1",
        "setrlimit core 1",
        "setrlimit files 14",
        "pair dgram 1",
        "pair inet 1",
        "pair stream 14",
    ];
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

/// Raw calls with the exact arguments; prints the error numbers.
const SYSCALLS: &str = "
import ctypes
c = ctypes.CDLL(None, use_errno=True)
def call(name, *args):
    ctypes.set_errno(0)
    c.syscall(*[ctypes.c_long(a) for a in args])
    print(name, ctypes.get_errno())
call('clone', 56, 0x10000011, 0, 0, 0, 0)
call('clone3', 435, 0, 0)
call('io_uring', 425, 1, 0)
call('unknown', 999)
call('ioctl', 16, 0, 0x5412, 0)
call('ioctl-high', 16, 0, 0x100005412, 0)
call('personality', 135, 0x0040000)
call('fastopen', 44, 0, 0, 0, 0x20000000, 0, 0)
call('inotify', 294, 0)
call('x32', 0x40000000 + 39)
call('lease', 72, 0, 1024, 1)
call('notification', 72, 0, 1026, 1)
call('personality asked', 135, 0xffffffff)
call('shared code', 9, 0, 4096, 5, 0x21, -1, 0)
call('private code', 9, 0, 4096, 5, 0x22, -1, 0)
call('borrowed', 91, 0, 0o4755)
call('created', 257, -100, 0, 0o101, 0o4600)
call('temporary', 257, -100, 0, 0o20200001, 0o2600)
call('opened', 257, -100, 0, 0, 0o4600)
call('device', 259, -100, 0, 0o020666, 0)
call('borrowed node', 259, -100, 0, 0o104644, 0)
call('pipe', 259, -100, 0, 0o010666, 0)
call('core', 302, 0, 4, 1, 0)
call('core-high', 302, 0, 4, 1 << 32, 0)
call('core asked', 302, 0, 4, 0, 0)
call('first', 302, 1, 7, 0, 0)
call('setrlimit core', 160, 4, 0)
call('setrlimit files', 160, 7, 0)
call('pair dgram', 53, 1, 2, 0, 0)
call('pair inet', 53, 2, 1, 0, 0)
call('pair stream', 53, 1, 0x80001, 0, 0)
";

fn languages(given: &mut Given<'_>) {
    assert_eq!(crate::world::run(given.launcher, &probe(given.own, &["memory"])).0, "ok\n");
    assert_eq!(crate::world::run(given.launcher, &probe(given.own, &["threads"])).0, "6\n");
    let python =
        "import subprocess,threading,tempfile,json;print(subprocess.check_output(['echo','hi']).decode().strip())";
    let programs = [
        ("python3", ["-c", python]),
        ("perl", ["-e", "print `echo hi`"]),
        ("node", ["-e", "require('child_process').spawnSync('echo', ['hi'], { stdio: 'inherit' })"]),
        ("sh", ["-c", "echo hi | cat > /tmp/x && sort /tmp/x | grep h && cp /tmp/x /tmp/y && cmp /tmp/x /tmp/y"]),
    ];
    for (program, args) in programs {
        if !std::path::Path::new("/usr/bin").join(program).exists() {
            continue;
        }
        let mut spec = spec(program, &args);
        if program == "node" {
            spec.profile = Base::Jit.into();
        }
        let (text, exit) = crate::world::run(given.launcher, &spec);
        assert_eq!((text.trim(), exit), ("hi", Exit::Code(0)), "{program}");
    }
}

fn memory_files(given: &mut Given<'_>) {
    skip_unless(as_root());
    let outside = Command::new(given.own.path()).args(["probe", "execute-memory"]).output().expect("unjailed");
    assert_eq!(String::from_utf8_lossy(&outside.stdout), "ok\n", "unjailed");
    assert_eq!(crate::world::run(given.launcher, &probe(given.own, &["execute-memory"])).0, "13\n");
}

fn binds(given: &mut Given<'_>) {
    let scratch = Scratch::new("binds");
    std::fs::write(scratch.path().join("old"), "old").expect("write");
    let mut spec =
        shell("cat /ro/old; echo x > /ro/new; rm /ro/old; chmod 600 /ro/old; echo fresh > /rw/new && cat /ro/new");
    spec.binds = vec![Bind::read_only(scratch.path(), "/ro"), Bind::read_write(scratch.path(), "/rw")];
    let (text, exit) = crate::world::run(given.launcher, &spec);
    assert_eq!(exit, Exit::Code(0), "{text}");
    assert_eq!(text.matches("Read-only file system").count(), 3, "{text}");
    assert!(text.starts_with("old") && text.ends_with("fresh\n"), "{text}");
    let made = std::fs::metadata(scratch.path().join("new")).expect("made");
    let there = std::fs::metadata(scratch.path()).expect("there");
    assert_eq!(std::os::unix::fs::MetadataExt::uid(&made), std::os::unix::fs::MetadataExt::uid(&there));
}

fn nested_binds(given: &mut Given<'_>) {
    let scratch = Scratch::new("nested");
    std::fs::create_dir(scratch.path().join("there")).expect("mkdir");
    let mut spec = shell("ls /data/there");
    spec.binds = vec![Bind::read_write(scratch.path(), "/data"), Bind::read_only("/usr/share", "/data/there")];
    assert_eq!(crate::world::run(given.launcher, &spec).1, Exit::Code(0));
    spec.binds[1].target = "/data/elsewhere".into();
    let error = start(given.launcher, &spec).err().expect("refused").to_string();
    assert!(error.contains("/data/elsewhere") && error.contains("nothing is made"), "{error}");
    assert!(!scratch.path().join("elsewhere").exists());
    spec.binds[1].target = "/data/../x".into();
    assert!(start(given.launcher, &spec).is_err());
    std::os::unix::fs::symlink("/etc", scratch.path().join("link")).expect("symlink");
    spec.binds[1].target = "/data/link/x".into();
    assert!(start(given.launcher, &spec).is_err(), "a link in a bind is followed");
}

fn closed_directory(given: &mut Given<'_>) {
    use std::os::unix::fs::PermissionsExt;
    skip_unless(as_root());
    let scratch = Scratch::new("closed");
    let open = scratch.path().join("closed/open");
    std::fs::create_dir_all(&open).expect("mkdir");
    std::fs::write(open.join("file"), "granted").expect("write");
    std::fs::set_permissions(scratch.path().join("closed"), PermissionsExt::from_mode(0o700)).expect("chmod");
    let mut spec = shell("cat /data/file; cat /data/../closed/open/file");
    spec.binds = vec![Bind::read_only(&open, "/data")];
    let (text, exit) = crate::world::run(given.launcher, &spec);
    assert!(text.starts_with("granted") && exit == Exit::Code(1), "{text}");
}

fn inherited(given: &mut Given<'_>) {
    let _more = std::fs::File::open("/etc/passwd").expect("a descriptor that must not be seen");
    let (text, _) = crate::world::run(given.launcher, &shell("exec ls /proc/self/fd"));
    // The fourth is the directory that ls itself reads.
    assert_eq!(text, "0\n1\n2\n3\n");
    let (text, _) = crate::world::run(given.launcher, &probe(given.own, &["environment"]));
    let mut names: Vec<&str> = text.lines().map(|line| line.split('=').next().unwrap_or(line)).collect();
    names.sort_unstable();
    assert_eq!(names, ["\"HOME\"", "\"LANG\"", "\"PATH\""]);
}

fn errors(given: &mut Given<'_>) {
    let mut message = |spec: &strait_jail::Spec| start(given.launcher, spec).err().expect("an error").to_string();
    let expected = "no such program 'foo' in the jail (looked in /usr/local/bin:/usr/bin:/bin)";
    assert_eq!(message(&spec("foo", &[])), expected);
    let expected = "starting the program: execve /nowhere/foo: No such file or directory (os error 2)";
    assert_eq!(message(&spec("/nowhere/foo", &[])), expected);
    let mut absent = shell("true");
    absent.binds = vec![Bind::read_only("/does/not/exist", "/x")];
    let expected = "opening what the jail may see: open_tree /does/not/exist: No such file or directory (os error 2)";
    assert_eq!(message(&absent), expected);
    let mut directory = shell("true");
    directory.dir = "/nowhere".into();
    let expected = "entering the working directory: chdir /nowhere: No such file or directory (os error 2)";
    assert_eq!(message(&directory), expected);
    let mut zero = shell("true");
    zero.uid = if as_root() { Some(0) } else { Some(world_uid()) };
    assert!(message(&zero).contains("uid"));
    zero.uid = None;
    if as_root() {
        assert!(message(&zero).contains("needs a uid of its own"));
    }
    assert_eq!(crate::world::run(given.launcher, &shell("true")).1, Exit::Code(0), "usable after errors");
}

fn limits(given: &mut Given<'_>) {
    let mut spec = shell(
        "ulimit -n; ulimit -c; head -c 3000000 /dev/zero > /tmp/x; stat -c %s /tmp/x; for i in 1 2 3 4 5 6 7 8 9; do sleep 3 & done",
    );
    spec.limits = Limits { open_files: Some(77), processes: Some(6), tmp_bytes: 1 << 20, ..Limits::default() };
    let (text, _) = crate::world::run(given.launcher, &spec);
    assert!(text.starts_with("77\n0\n"), "{text}");
    assert!(text.contains("No space left") && text.contains("1048576"), "{text}");
    assert!(text.contains("fork"), "{text}");
}

/// Forks twice and leaves session, group and parent behind.
const HIDE: &str = "import os,time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        print('hidden', flush=True)
        os.close(0); os.close(1); os.close(2)
        time.sleep(1000)
    os._exit(0)
";

fn kill_tree(given: &mut Given<'_>) {
    let before = processes_of(kernel_uid());
    let script = format!("{HIDE}time.sleep(1000)");
    let mut world = start(given.launcher, &spec("python3", &["-c", &script])).expect("spawn");
    assert_eq!(world.line(), "hidden");
    assert!(processes_of(kernel_uid()).len() >= before.len() + 3);
    world.process.kill().expect("kill");
    assert_eq!(world.process.wait().expect("wait"), Exit::Signal(9));
    assert_eq!(processes_of(kernel_uid()), before);
}

fn orphans(given: &mut Given<'_>) {
    let before = processes_of(kernel_uid());
    let script = format!("{HIDE}time.sleep(0.2); os._exit(5)");
    assert_eq!(crate::world::run(given.launcher, &spec("python3", &["-c", &script])).1, Exit::Code(5));
    assert_eq!(processes_of(kernel_uid()), before);
}

fn pid_one(given: &mut Given<'_>) {
    let script =
        "for s in TERM HUP KILL STOP SEGV BUS USR1 CHLD SYS; do kill -$s 1; done; kill -KILL -1; sleep 0.1; exit 6";
    assert_eq!(run_quiet(given.launcher, script), Exit::Code(6));
}

fn rendezvous(given: &mut Given<'_>) {
    use std::os::unix::fs::PermissionsExt;
    let scratch = Scratch::new("rendezvous");
    let path = scratch.path().join("socket");
    let listener = socket::listen(&path).expect("listen");
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o666)).expect("chmod");
    let flags = rustix::fs::OFlags::PATH | rustix::fs::OFlags::CLOEXEC;
    let inode: OwnedFd = rustix::fs::open(&path, flags, rustix::fs::Mode::empty()).expect("O_PATH");
    let mut world = start_with(given.launcher, &probe(given.own, &["talk"]), Some(&inode)).expect("spawn");
    let connection = socket::accept(listener.as_fd()).expect("accept");
    let peer = socket::peer(connection.as_fd()).expect("peer");
    assert_eq!((peer.pid, peer.uid), (world.process.pid(), kernel_uid()));
    assert!(socket::same_process(peer.pidfd.as_fd(), world.process.pidfd()).expect("fstat"));
    let mut buffer = [0; 16];
    let length = rustix::io::read(&connection, &mut buffer).expect("read");
    assert_eq!(&buffer[..length], b"hello");
    let report = world.process.report().expect("report");
    let numbers: Vec<i32> = report.descriptors.iter().map(|(number, _)| *number).collect();
    assert_eq!(numbers, [0, 1, 2, 3]);
    rustix::io::write(&connection, b"goodbye").expect("write");
    assert_eq!(world.process.wait().expect("wait"), Exit::Code(0));
    assert_eq!(rustix::io::read(&connection, &mut buffer).expect("end"), 0, "somebody still holds the connection");
}

fn supervisor_dies(given: &mut Given<'_>) {
    let before = processes_of(kernel_uid()).len();
    let uid = uid().map_or("none".into(), |uid| uid.to_string());
    let mut middle = Command::new(given.own.path());
    let mut middle = middle.args(["probe", "supervise", &uid]).stdout(Stdio::piped()).spawn().expect("middle");
    let mut line = String::new();
    std::io::BufRead::read_line(&mut std::io::BufReader::new(middle.stdout.take().expect("pipe")), &mut line)
        .expect("pid");
    let pid: i32 = line.trim().parse().expect("pid");
    assert!(std::path::Path::new(&format!("/proc/{pid}")).exists());
    middle.kill().expect("kill");
    middle.wait().expect("wait");
    wait_until("the world to end", || !alive(pid) && processes_of(kernel_uid()).len() <= before);
}

/// Whoever inherits an orphan may take its time to reap it.
fn alive(pid: i32) -> bool {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    !status.is_empty() && !status.contains("State:\tZ")
}

/// What there is once it changes no more: a launcher begins jails ahead of time, for a while after each order.
pub fn settled<T: PartialEq>(look: impl Fn() -> T) -> T {
    loop {
        let before = look();
        std::thread::sleep(Duration::from_millis(300));
        if look() == before {
            return before;
        }
    }
}

pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(60);
    while !condition() {
        assert!(Instant::now() < deadline, "waited 60 s for {what}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn report(given: &mut Given<'_>) {
    let mut world = start(given.launcher, &shell("echo up; while :; do sleep 1000; done")).expect("spawn");
    // A program that is still being loaded has libraries open.
    assert_eq!(world.line(), "up");
    let report = world.process.report().expect("report");
    assert!(report.capabilities.none() && report.no_new_privs, "{report:?}");
    assert_eq!((report.seccomp, report.seccomp_filters, report.pids.last()), (2, 1, Some(&2)));
    assert_eq!(report.uids, [kernel_uid(); 4]);
    assert!(report.namespaces.iter().all(|(_, other)| *other), "{report:?}");
    assert_eq!(report.descriptors.len(), 3, "{report:?}");
    assert!(report.limits.contains(&("Max core file size".into(), "1".into(), "1".into())), "{report:?}");
    let root = report.mounts.iter().find(|mount| mount.target == "/").expect("a root");
    assert_eq!((&*root.kind, root.options.starts_with("ro,nosuid,nodev,noexec")), ("tmpfs", true), "{root:?}");
    for mount in &report.mounts {
        assert!(mount.options.contains("nosuid"), "{mount:?}");
        assert!(mount.options.contains("nodev") || mount.target.starts_with("/dev/"), "{mount:?}");
        assert!(mount.options.starts_with("ro") || mount.target == "/tmp", "{mount:?}");
    }
    assert_eq!((report.attested.landlock.abi, report.attested.refuses_new_code), (6, true));
    // Four pairs of a bit and its lock, but for keeping capabilities, which is off and locked.
    assert_eq!(report.attested.secure_bits, 0b1110_1111);
    assert_eq!(report.missing.iter().any(|sentence| sentence.contains("shared")), !as_root(), "{:?}", report.missing);
}

fn overlap(given: &mut Given<'_>) {
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let fds = strait_jail::Fds { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), rendezvous: None };
    let specs = (0..10).map(|code| if code == 3 { spec("foo", &[]) } else { shell(&format!("exit {code}")) });
    let tickets: Vec<_> = specs.map(|spec| given.launcher.submit(&spec, fds).expect("submit")).collect();
    for (code, expected) in tickets.into_iter().enumerate() {
        let (ticket, outcome) = given.launcher.next().expect("next");
        assert_eq!(ticket, expected);
        match outcome {
            Ok(mut process) => assert_eq!(process.wait().expect("wait"), Exit::Code(code as i32)),
            Err(error) => assert!(code == 3, "{error}"),
        }
    }
    assert!(matches!(given.launcher.next(), Err(Error::NothingOpen)));
}

fn dropping(given: &mut Given<'_>) {
    let before = processes_of(kernel_uid());
    let world = start(given.launcher, &spec("sleep", &["1000"])).expect("spawn");
    drop(world);
    assert_eq!(processes_of(kernel_uid()), before);
    let mut launcher = Launcher::start().expect("a second launcher");
    let null = std::fs::OpenOptions::new().read(true).write(true).open("/dev/null").expect("/dev/null");
    let fds = strait_jail::Fds { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), rendezvous: None };
    for _ in 0..3 {
        launcher.submit(&spec("sleep", &["1000"]), fds).expect("submit");
    }
    drop(launcher);
    assert_eq!(processes_of(kernel_uid()), before, "orders that were open");
}

fn second_thread(_: &mut Given<'_>) {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let thread = std::thread::spawn(move || receiver.recv());
    assert!(matches!(Launcher::start(), Err(Error::Threads { threads: 2 })));
    drop(sender);
    let _ = thread.join().expect("thread");
    wait_until("the thread to end", || count("/proc/self/task") == 1);
    drop(Launcher::start().expect("and alone again"));
}

fn enclosed(given: &mut Given<'_>) {
    let uid = uid().map_or("none".into(), |uid| uid.to_string());
    let run = |what: &str| Command::new(given.own.path()).args(["probe", "enclose", what, &uid]).output().expect("run");
    let output = run("open");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success(), "{text} {:?}", output.status);
    let lines: Vec<&str> = text.lines().collect();
    let own = format!("uid {}", kernel_uid());
    let expected =
        ["/etc/passwd 2", "/ 13", "/proc/self/status 2", "/dev/null 2", "make 30", "capabilities true", &own];
    assert_eq!(lines, expected);
    let killed = std::os::unix::process::ExitStatusExt::signal(&run("socket").status);
    assert_eq!(killed, Some(libc::SIGSYS));
}

/// A descriptor from before leads no further than the place that it keeps.
fn keeping(given: &mut Given<'_>) {
    let uid = uid().map_or("none".into(), |uid| uid.to_string());
    let place = std::env::temp_dir().join(format!("strait-keeping-{}", std::process::id()));
    let kept = place.join("kept");
    std::fs::create_dir_all(&kept).expect("a directory");
    std::fs::write(place.join("secret"), b"secret").expect("a file");
    std::fs::write(kept.join("old"), b"old").expect("a file");
    std::os::unix::fs::symlink("/etc/passwd", kept.join("link")).expect("a link");
    for path in [&kept, &kept.join("old")] {
        std::os::unix::fs::chown(path, Some(kernel_uid()), None).expect("chown");
    }
    let arguments = ["probe", "enclose", "keep", &uid, kept.to_str().expect("UTF-8")];
    let output = Command::new(given.own.path()).args(arguments).output().expect("run");
    std::fs::remove_dir_all(&place).expect("to remove it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines: Vec<&str> = text.lines().collect();
    let outside = ["/kept/../etc/passwd 2", "/kept/../secret 2", "/etc/passwd 2", "/kept/link 2", "beside 13"];
    assert_eq!(lines, [&["before ok", "read ok", "make ok"][..], &outside].concat(), "{:?}", output.status);
}

/// Spawns that go well, that fail early and late, whose worlds are killed, and whose values are dropped.
fn nothing_left(given: &mut Given<'_>) {
    let before = settled(Remains::now);
    let (slabs, mut times) = (slabs(), Vec::new());
    let mut blind = spec("/bin/true", &[]);
    blind.binds = vec![Bind::read_only("/does/not/exist", "/x")];
    for number in 0..2000 {
        let began = Instant::now();
        match number % 10 {
            0 => assert!(start(given.launcher, &spec("/no/such/program", &[])).is_err()),
            1 => assert!(start(given.launcher, &blind).is_err()),
            2 => drop(start(given.launcher, &spec("sleep", &["1000"])).expect("spawn")),
            3 => {
                let mut world = start(given.launcher, &shell("sleep 1000 & sleep 1000")).expect("spawn");
                world.process.kill().expect("kill");
                assert_eq!(world.process.wait().expect("wait"), Exit::Signal(9));
            }
            _ => {
                assert_eq!(crate::world::run(given.launcher, &spec("/bin/true", &[])).1, Exit::Code(0));
                times.push(began.elapsed());
            }
        }
    }
    wait_until("nothing to be left", || Remains::now() == before);
    // Counted by the kernel in portions, for everybody together; what 2,000 jails are made of would be far more.
    let kept = |name: &str| crate::cases::slabs().get(name).zip(slabs.get(name)).map_or(0, |(now, then)| now - then);
    for (name, bound) in [("net_namespace", 300), ("pid_namespace", 500), ("mnt_cache", 4000)] {
        wait_until(name, || kept(name) < bound);
    }
    times.sort_unstable();
    println!("      /bin/true, order to reaped: p50 {:?}, p95 {:?}", times[600], times[1140]);
}

/// What spawns could leave behind.
#[derive(Debug, PartialEq, Eq)]
struct Remains {
    descriptors: usize,
    descriptors_of_launchers: Vec<usize>,
    worlds: usize,
    mounts: usize,
    /// The launchers, and the jails begun ahead of time.
    children: usize,
    groups: usize,
}

impl Remains {
    fn now() -> Remains {
        let own = std::process::id();
        let text = |path: String| std::fs::read_to_string(path).expect("/proc");
        Remains {
            descriptors: count("/proc/self/fd"),
            descriptors_of_launchers: launcher_pids()
                .into_iter()
                .map(|pid| count(&format!("/proc/{pid}/fd")))
                .collect(),
            worlds: processes_of(kernel_uid()).len(),
            mounts: text("/proc/self/mountinfo".into()).lines().count(),
            children: text(format!("/proc/self/task/{own}/children")).split_whitespace().count(),
            groups: groups(std::path::Path::new("/sys/fs/cgroup"), &format!("strait-{own}-")),
        }
    }
}

/// Directories below those whose names begin so.
fn groups(dir: &std::path::Path, own: &str) -> usize {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let dirs = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
    let is_ours = dir.file_name().is_some_and(|name| name.to_string_lossy().starts_with(own));
    dirs.map(|entry| usize::from(is_ours) + groups(&entry.path(), own)).sum()
}

/// How many objects of each kind the kernel holds (`slabinfo(5)`, which only root may read).
fn slabs() -> std::collections::HashMap<String, i64> {
    let text = std::fs::read_to_string("/proc/slabinfo").unwrap_or_default();
    let line = |line: &str| {
        let mut words = line.split_whitespace();
        Some((words.next()?.to_owned(), words.next()?.parse().ok()?))
    };
    text.lines().filter_map(line).collect()
}

/// Ours, by parent and name.
fn launcher_pids() -> Vec<i32> {
    let own = format!("PPid:\t{}\n", std::process::id());
    let is_launcher = |pid: &i32| {
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        status.starts_with("Name:\tstrait-launcher\n") && status.contains(&own)
    };
    let entries = std::fs::read_dir("/proc").expect("/proc").flatten();
    entries.filter_map(|entry| entry.file_name().to_string_lossy().parse().ok()).filter(is_launcher).collect()
}
