//! strait under a service manager.

mod common;

use common::{Dir, Foreground, ask};
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::Command;

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

/// Does what a service manager does: listens, and starts a program with the listener as descriptor 3.
const MANAGER: &str = "\
import os, socket, sys
listener = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
listener.bind(sys.argv[1])
listener.listen()
os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS='1', LISTEN_PID=str(os.getpid()))
os.execv(sys.argv[2], sys.argv[2:])
";

#[test]
fn a_socket_that_is_there_already_is_used_and_left() {
    let dir = Dir::new("activated");
    let (file, socket) = (dir.file("w.toml", WORLDS), dir.path("handed"));
    let mut manager = Command::new("python3");
    manager.args(["-c", MANAGER]).arg(&socket).arg(env!("CARGO_BIN_EXE_strait")).arg("up").arg(&file);
    manager.arg("--socket").arg(dir.path("unused")).stderr(std::process::Stdio::piped());
    let mut up = Foreground::start(manager);
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
    let has_systemd = Command::new("systemd-analyze").arg("--version").output().is_ok_and(|said| said.status.success());
    if !has_systemd {
        eprintln!("skipped: there is no systemd-analyze here");
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
