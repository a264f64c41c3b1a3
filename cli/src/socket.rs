//! Where a broker listens, and attaching there.

use crate::args::Socket;
use crate::failure::Failure;
use crate::text;
use rustix::process::geteuid;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;
use strait_broker::{Client, Error};
use strait_protocol::handshake::HandshakeError;

/// So long an answer may take before it is said that one is waited for: a broker that its socket starts may take longer.
const PATIENCE: Duration = Duration::from_secs(3);

/// The socket that was asked for, or else the one everybody of this uid uses.
pub fn path(asked: Option<&Path>) -> Result<PathBuf, Failure> {
    let path = asked.map_or_else(default, Into::into);
    std::path::absolute(&path).map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

fn default() -> PathBuf {
    let runtime_dir = std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from).filter(|dir| dir.is_absolute());
    default_for(runtime_dir, geteuid().as_raw())
}

fn default_for(runtime_dir: Option<PathBuf>, uid: u32) -> PathBuf {
    match (runtime_dir, uid) {
        (Some(dir), _) => dir.join("strait.sock"),
        (None, 0) => "/run/strait.sock".into(),
        (None, uid) => format!("/tmp/strait-{uid}.sock").into(),
    }
}

/// Commands attach under this and their pid.
const COMMANDS: &str = "cli/";

/// Whether this is the name of a command that has attached, as far as names say.
pub fn is_command(name: &str) -> bool {
    name.strip_prefix(COMMANDS).is_some_and(|pid| !pid.is_empty() && pid.bytes().all(|byte| byte.is_ascii_digit()))
}

/// Attaches to a broker as `cli/<pid>`.
pub fn attach(socket: &Socket) -> Result<Client, Failure> {
    let path = path(socket.socket.as_deref())?;
    if socket.socket.is_none() {
        check_owner(&path)?;
    }
    let (done, is_done) = mpsc::channel::<()>();
    let place = path.display().to_string();
    thread::spawn(move || {
        if is_done.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
            text::say(&format!("{place}: who listens there takes its time, or is no strait; Ctrl-C ends this"));
        }
    });
    let attached = Client::attach(&path, &format!("{COMMANDS}{}", std::process::id()));
    drop(done);
    attached.map_err(|error| refused(error, &path))
}

/// In `/tmp` anybody can put a socket where ours is expected. One that somebody named is that one's business.
fn check_owner(path: &Path) -> Result<(), Failure> {
    let uid = geteuid().as_raw();
    match fs::symlink_metadata(path) {
        Ok(file) if file.uid() != uid && file.uid() != 0 => {
            let what = format!("{} belongs to uid {}, not to you (uid {uid})", path.display(), file.uid());
            Err(Failure::new(what).hint("if you trust that broker, name its socket with --socket"))
        }
        _ => Ok(()),
    }
}

fn refused(error: Error, path: &Path) -> Failure {
    const NO_STRAIT: &str = "it may be no strait, or another version: name your broker's socket with --socket";
    let failure = |why: &str| Failure::new(format!("the broker at {}: {why}", path.display()));
    match error {
        Error::Handshake(why @ HandshakeError::Refused(_)) => {
            let rule = format!("[[attach]]\n  name = \"cli/*\"\n  uid = {}\n  may = [\"list\"]", geteuid().as_raw());
            failure(&why.to_string())
                .hint(format!("use the uid that started it, or add a rule to the end of its configuration:\n  {rule}"))
        }
        Error::Handshake(why) => failure(&why.to_string()).hint(NO_STRAIT),
        Error::BrokerGone => failure("it hung up before it said anything").hint(NO_STRAIT),
        other => other.into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_uid_has_its_place() {
        assert_eq!(default_for(Some("/run/user/7".into()), 7), Path::new("/run/user/7/strait.sock"));
        assert_eq!(default_for(None, 0), Path::new("/run/strait.sock"));
        assert_eq!(default_for(None, 7), Path::new("/tmp/strait-7.sock"));
    }
}
