//! strait under a service manager.

mod common;

use common::{Dir, Foreground, ask};
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

const WORLDS: &str = "\
[worlds.only]
command = [\"sleep\", \"60\"]
";

#[test]
fn the_service_manager_hears_when_the_worlds_are_started() {
    let dir = Dir::new("notify");
    let (file, place) = (dir.file("w.toml", WORLDS), dir.path("notify"));
    let manager = UnixDatagram::bind(&place).unwrap();
    manager.set_read_timeout(Some(common::PATIENCE)).unwrap();
    let mut command = common::up(&file, &dir.path("s"));
    command.env("NOTIFY_SOCKET", &place);
    let up = Foreground::start(command);
    let heard = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("it is told");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    assert_eq!(heard(), "READY=1");
    up.interrupt();
    assert_eq!(heard(), "STOPPING=1");
    assert_eq!(up.end().0, Some(0));
}

/// systemd's own tool listens, and starts the broker when somebody comes.
#[test]
fn a_socket_that_systemd_listens_at_is_used_and_left() {
    const ACTIVATE: &str = "systemd-socket-activate";
    if let Some(why) = common::missing(&[ACTIVATE]) {
        eprintln!("skipped: {why}");
        return;
    }
    let dir = Dir::new("activated");
    let (file, socket) = (dir.file("w.toml", WORLDS), dir.path("handed"));
    let mut manager = Command::new(ACTIVATE);
    manager.arg("--seqpacket").arg("--listen").arg(&socket).arg(env!("CARGO_BIN_EXE_strait")).arg("up").arg(&file);
    manager.arg("--socket").arg(dir.path("unused")).stderr(std::process::Stdio::piped());
    let mut up = Foreground::start(manager);
    up.expect("Listening on");
    // Nothing runs yet: whoever comes first is who it starts for, and waits.
    assert!(ask(&socket, ["ps"]).out.contains(" host "));
    assert!(up.expect("listening on ").ends_with("/handed"));
    up.expect("started only");
    assert!(ask(&socket, ["ps"]).out.contains(" only "));
    up.interrupt();
    assert_eq!(up.end().0, Some(0));
    assert!(socket.exists() && !dir.path("unused").exists());
}

#[test]
fn the_units_are_what_systemd_understands() {
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/systemd");
    if let Some(why) = common::missing(&["systemd-analyze"]) {
        eprintln!("skipped: {why}");
        return;
    }
    let dir = Dir::new("units");
    for name in ["strait@.service", "strait@.socket", "strait-metrics@.service"] {
        let unit = std::fs::read_to_string(units.join(name)).expect(name);
        // What it starts need not be installed where this runs.
        let unit = unit.replace("/usr/bin/strait", env!("CARGO_BIN_EXE_strait"));
        let copy = dir.file(&name.replace('@', "@x"), &unit);
        let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&copy).output().expect("it runs");
        let said = String::from_utf8_lossy(&verify.stderr).into_owned();
        let about_it: Vec<&str> =
            said.lines().filter(|line| line.contains("strait") && !line.contains("not found")).collect();
        assert!(about_it.is_empty(), "{name}: {said}");
    }
    // The control: it does say what it doesn't understand.
    let wrong = dir.file("strait-wrong.service", "[Service]\nType=nonsense\nExecStart=/bin/true\n");
    let verify = Command::new("systemd-analyze").args(["verify", "--man=no"]).arg(&wrong).output().expect("it runs");
    assert!(String::from_utf8_lossy(&verify.stderr).contains("nonsense"));
}

/// systemd itself, as pid 1 of namespaces of its own, with our units.
struct Systemd {
    process: std::process::Child,
    dir: Dir,
}

impl Systemd {
    /// The first controllers' hierarchies that it needs: it gets a group of its own in each.
    const HIERARCHIES: [&str; 3] =
        ["/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/systemd/cgroup.procs", "/sys/fs/cgroup/unified/cgroup.procs"];

    fn groups() -> impl Iterator<Item = PathBuf> {
        let there = Self::HIERARCHIES.iter().map(Path::new).filter(|file| file.exists());
        there.map(|file| file.with_file_name(format!("strait-pid1-{}", std::process::id())))
    }

    fn start(dir: Dir) -> Self {
        let mut script = String::new();
        for group in Self::groups() {
            std::fs::create_dir(&group).expect("a control group");
            script += &format!("echo $$ > {}/cgroup.procs; ", group.display());
        }
        script += "exec unshare --pid --fork --kill-child=KILL --mount --mount-proc --uts --ipc --cgroup sh \"$@\"";
        let log = std::fs::File::create(dir.path("systemd.log")).expect("a log");
        let mut command = Command::new("setsid");
        command.args(["sh", "-c", &script, "sh"]);
        command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pid1.sh")).arg(dir.path(""));
        command.stdin(std::process::Stdio::null()).stdout(log.try_clone().expect("a log")).stderr(log);
        Self { process: command.spawn().expect("setsid(1)"), dir }
    }

    /// A command in its namespaces.
    fn run(&self, command: &[&str]) -> common::Said {
        let children = format!("/proc/{0}/task/{0}/children", self.process.id());
        let pid = std::fs::read_to_string(children).unwrap_or_default();
        let mut enter = Command::new("nsenter");
        enter.args(["-t", pid.trim(), "-m", "-p", "-u", "-i", "-C", "--"]).args(command);
        enter.env_remove("STRAIT_SOCKET").stdin(std::process::Stdio::null());
        common::run_piped(enter)
    }

    fn until(&self, what: &str, command: &[&str], is_it: impl Fn(&common::Said) -> bool) -> common::Said {
        let end = Instant::now() + common::PATIENCE;
        loop {
            let said = self.run(command);
            if is_it(&said) {
                return said;
            }
            let log = || std::fs::read_to_string(self.dir.path("systemd.log")).unwrap_or_default();
            assert!(Instant::now() < end, "{what}: {} {}\n{}", said.out, said.err, log());
            std::thread::sleep(Duration::from_millis(100));
        }
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // unshare(1) kills its child with it, which is pid 1: everything in there goes with that.
        let _ = self.process.kill();
        let _ = self.process.wait();
        for group in Self::groups() {
            let end = Instant::now() + common::PATIENCE;
            while remove_groups(&group).is_err() && Instant::now() < end {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }
}

/// A control group and those below it. They can't go before the last process of theirs has.
fn remove_groups(group: &Path) -> std::io::Result<()> {
    for entry in std::fs::read_dir(group)?.flatten().filter(|entry| entry.path().is_dir()) {
        remove_groups(&entry.path())?;
    }
    std::fs::remove_dir(group)
}

/// The units as they are installed, but that the program and the configuration are where this test has them.
fn install_units(dir: &Dir) {
    std::fs::create_dir_all(dir.path("units")).expect("a directory");
    let units = Path::new(env!("CARGO_MANIFEST_DIR")).join("../dist/systemd");
    for name in ["strait@.service", "strait@.socket", "strait-metrics@.service"] {
        let unit = std::fs::read_to_string(units.join(name)).expect(name);
        let unit = unit.replace("/usr/bin/strait", env!("CARGO_BIN_EXE_strait"));
        let unit = unit.replace("/etc/strait", dir.path("").to_str().expect("UTF-8").trim_end_matches('/'));
        dir.file(&format!("units/{name}"), &unit);
    }
    dir.file("farm.toml", "state = '/var/lib/strait'\n[worlds.only]\ncommand = ['sh', '-c', 'echo here; sleep 600']\n");
}

#[test]
fn systemd_starts_and_stops_a_broker_by_its_socket() {
    const TOOLS: [&str; 4] = ["systemctl", "unshare", "nsenter", "setsid"];
    let why = match rustix::process::geteuid().is_root() {
        true => common::missing(&TOOLS),
        false => Some("it takes root: systemd is pid 1 of a namespace".into()),
    };
    if let Some(why) = why {
        eprintln!("skipped: {why}");
        return;
    }
    let dir = Dir::new("systemd");
    install_units(&dir);
    let systemd = Systemd::start(dir);
    systemd.until("systemd", &["systemctl", "is-active", "basic.target"], |said| said.out == "active\n");
    let socket = ["systemctl", "start", "strait@farm.socket"];
    let started = systemd.run(&socket);
    assert_eq!(started.code, Some(0), "{}", started.err);
    let is_active = |unit| systemd.run(&["systemctl", "is-active", unit]).out;
    assert_eq!(is_active("strait@farm.service"), "inactive\n");

    // Who comes first has it started, and is answered.
    let strait = env!("CARGO_BIN_EXE_strait");
    let ask = |command| [strait, command, "--socket", "/run/strait/farm.sock"];
    let first = systemd.run(&ask("ps"));
    assert_eq!(first.code, Some(0), "{}", first.err);
    systemd.until("the world", &ask("ps"), |said| said.out.contains(" only "));
    // That it is said to be active is our own READY=1.
    systemd.until("the service", &["systemctl", "is-active", "strait@farm.service"], |said| said.out == "active\n");
    systemd.until("what it printed", &ask("log"), |said| said.out.contains(" out: here"));
    let groups = systemd.run(&["systemctl", "show", "--property=Delegate,MainPID", "strait@farm.service"]).out;
    assert!(groups.contains("Delegate=yes") && !groups.contains("MainPID=0"), "{groups}");

    let metrics = systemd.run(&["systemctl", "start", "strait-metrics@farm.service"]);
    assert_eq!(metrics.code, Some(0), "{}", metrics.err);
    systemd.until("the metrics", &["test", "-S", "/run/strait/farm.metrics"], |said| said.code == Some(0));

    let stopped = systemd.run(&["systemctl", "stop", "strait@farm.service"]);
    assert_eq!(stopped.code, Some(0), "{}", stopped.err);
    let result = systemd.run(&["systemctl", "show", "--property=Result,ActiveState", "strait@farm.service"]).out;
    assert!(result.contains("Result=success") && result.contains("ActiveState=inactive"), "{result}");
    // What is bound to it goes with it; the socket stays, and the next who comes has it started again.
    assert_ne!(is_active("strait-metrics@farm.service"), "active\n");
    let again = systemd.run(&ask("ps"));
    assert_eq!(again.code, Some(0), "{}", again.err);
}
