//! What clones are restored from: an image of this program, which it made of itself in a jail.

use std::fs::Permissions;
use std::io::{Write, stdin, stdout};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::process::ExitCode;
use std::time::Duration;

use rustix::fs::{Mode, OFlags};
use strait_jail::{Bind, Error, Fds, Image, Launcher, Process, Spec};
use strait_sys::checkpoint::{Resumed, checkpoint};
use strait_sys::{restorer, socket, wake};

/// Where this program is in a jail.
const PROGRAM: &str = "/original";
/// The connection that a world is given.
const CONNECTION: i32 = 3;
const MAX_BYTES: u64 = 64 << 20;

/// The life of the original, and from its middle on that of each clone.
pub fn live() -> ExitCode {
    let connection = socket::adopt(CONNECTION).expect("a connection");
    match checkpoint(CONNECTION, MAX_BYTES).expect("an image") {
        Resumed::Original(image) => socket::send(connection.as_fd(), b"image", &[image.as_fd()]).expect("sent"),
        Resumed::Clone => {
            stdout().write_all(b"ran\n").expect("a mark");
            let _ = stdin().read_line(&mut String::new());
        }
    }
    ExitCode::SUCCESS
}

/// An image, and all that a clone of it takes.
pub struct Template {
    listener: OwnedFd,
    /// The listener's inode.
    rendezvous: OwnedFd,
    restorer: OwnedFd,
    content: OwnedFd,
}

impl Template {
    /// Has the original run. From here on the order is for its clones.
    pub fn make(launcher: &mut Launcher, spec: &mut Spec) -> Template {
        let (listener, rendezvous) = listen();
        (spec.program, spec.args) = (PROGRAM.into(), vec!["original".into()]);
        spec.binds.push(Bind::read_only(std::env::current_exe().expect("a program has a path"), PROGRAM));
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        let (stdin, stdout, stderr) = (null.as_fd(), null.as_fd(), std::io::stderr());
        let fds = Fds { stdin, stdout, stderr: stderr.as_fd(), rendezvous: Some(rendezvous.as_fd()) };
        let original = launcher.spawn(spec, fds).expect("the original");
        let connects = wake::wait_readable(listener.as_fd(), Some(Duration::from_secs(20)));
        assert_eq!(connects, Ok(true), "the original doesn't connect");
        let connection = socket::accept(listener.as_fd()).expect("a connection");
        let (_, mut descriptors) = socket::receive(connection.as_fd(), &mut [0; 64]).expect("a message");
        drop(original);
        let content = descriptors.pop().expect("an image");
        Template { listener, rendezvous, restorer: restorer::file().expect("a restorer"), content }
    }

    /// A clone instead of the program that is ordered.
    pub fn spawn(&self, launcher: &mut Launcher, spec: &Spec, fds: Fds<'_>) -> Result<Process, Error> {
        let fds = Fds { rendezvous: Some(self.rendezvous.as_fd()), ..fds };
        let image = Image { restorer: self.restorer.as_fd(), content: self.content.as_fd() };
        launcher.submit_restored(spec, fds, image)?;
        let (_, outcome) = launcher.next()?;
        // Nobody talks to it.
        while socket::accept(self.listener.as_fd()).is_ok() {}
        outcome.map_err(Error::Spawn)
    }
}

/// A listener that every uid may connect to, and its inode.
fn listen() -> (OwnedFd, OwnedFd) {
    let path = std::env::temp_dir().join(format!("strait-faults-{}", std::process::id()));
    let listener = socket::listen(&path).expect("a listener");
    socket::take_descriptors(listener.as_fd(), true).expect("setsockopt");
    std::fs::set_permissions(&path, Permissions::from_mode(0o666)).expect("chmod");
    let inode = rustix::fs::open(&path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty()).expect("its inode");
    std::fs::remove_file(&path).expect("unlink");
    (listener, inode)
}
