//! What the cases need to start a jail and to look at it.

use std::fs::File;
use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use strait_jail::{Bind, Exit, Fds, Launcher, Process, SpawnError, Spec};

/// The kernel uid of the worlds of a run as root.
///
/// It differs between runs: two at a time would take each other's worlds for their own.
pub fn world_uid() -> u32 {
    0x6200_0000 + std::process::id()
}

/// Where a jail finds this program.
pub const PROBE: &str = "/probe";

/// A directory that everybody may enter, gone with its value.
pub struct Scratch(PathBuf);

impl Scratch {
    pub fn new(name: &str) -> Scratch {
        let path = std::env::temp_dir().join(format!("strait-jail-{name}-{}", std::process::id()));
        std::fs::create_dir_all(&path).expect("scratch directory");
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o777)).expect("chmod");
        Scratch(path)
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A copy of this program that everybody may execute, wherever the build keeps the original.
pub struct OwnCopy(Scratch);

impl OwnCopy {
    pub fn path(&self) -> PathBuf {
        self.0.path().join("probe")
    }
}

pub fn own_copy() -> OwnCopy {
    let copy = OwnCopy(Scratch::new("own"));
    std::fs::copy("/proc/self/exe", copy.path()).expect("copy of this program");
    std::fs::set_permissions(copy.path(), PermissionsExt::from_mode(0o755)).expect("chmod");
    copy
}

pub fn uid() -> Option<u32> {
    rustix::process::geteuid().is_root().then(world_uid)
}

/// What the worlds' kernel uid is in this run.
pub fn kernel_uid() -> u32 {
    uid().unwrap_or(rustix::process::geteuid().as_raw())
}

pub fn spec(program: &str, args: &[&str]) -> Spec {
    let mut spec = Spec::new("case", program);
    spec.args = args.iter().map(Into::into).collect();
    spec.uid = uid();
    spec
}

pub fn shell(script: &str) -> Spec {
    spec("sh", &["-c", script])
}

/// This program, inside.
pub fn probe(own: &OwnCopy, what: &[&str]) -> Spec {
    let mut spec = spec(PROBE, &[&["probe"], what].concat());
    spec.binds.push(Bind::read_only(own.path(), PROBE));
    spec
}

/// A jail with its output collected in a pipe.
pub struct World {
    pub process: Process,
    output: File,
}

pub fn start(launcher: &mut Launcher, spec: &Spec) -> Result<World, SpawnError> {
    start_with(launcher, spec, None)
}

pub fn start_with(launcher: &mut Launcher, spec: &Spec, rendezvous: Option<&OwnedFd>) -> Result<World, SpawnError> {
    let null = File::open("/dev/null").expect("/dev/null");
    let (reader, writer) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::CLOEXEC).expect("pipe");
    let fds = Fds {
        stdin: null.as_fd(),
        stdout: writer.as_fd(),
        stderr: writer.as_fd(),
        rendezvous: rendezvous.map(AsFd::as_fd),
    };
    launcher.submit(spec, fds).expect("submit");
    let (_, outcome) = launcher.next().expect("next");
    Ok(World { process: outcome?, output: reader.into() })
}

impl World {
    /// Waits for the end; what was written, and how it ended.
    pub fn finish(mut self) -> (String, Exit) {
        let text = self.read();
        (text, self.process.wait().expect("wait"))
    }

    pub fn read(&mut self) -> String {
        let mut bytes = Vec::new();
        self.output.read_to_end(&mut bytes).expect("read");
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// Waits for the first line.
    pub fn line(&mut self) -> String {
        let (mut line, mut byte) = (String::new(), [0]);
        while self.output.read(&mut byte).expect("read") == 1 && byte[0] != b'\n' {
            line.push(byte[0].into());
        }
        line
    }
}

pub fn run(launcher: &mut Launcher, spec: &Spec) -> (String, Exit) {
    start(launcher, spec).expect("spawn").finish()
}

pub fn count(directory: &str) -> usize {
    std::fs::read_dir(directory).expect(directory).count()
}

/// Pids of processes with this kernel uid, without launchers and the jails that they begin ahead of time.
pub fn processes_of(uid: u32) -> Vec<i32> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir("/proc").expect("/proc").flatten() {
        let Ok(pid) = entry.file_name().to_string_lossy().parse() else { continue };
        let status = std::fs::read_to_string(entry.path().join("status")).unwrap_or_default();
        let line = status.lines().find(|line| line.starts_with("Uid:")).unwrap_or_default().to_owned();
        // Until it has a name of its own, a seat has its maker's.
        let names = ["Name:\tstrait-seat\n", "Name:\tstrait-launcher\n"];
        let is_seat = names.iter().any(|name| status.starts_with(name));
        if line.split_whitespace().nth(1) == Some(&uid.to_string()) && !is_seat {
            found.push(pid);
        }
    }
    found
}
