//! The payload's process: it waits in its jail for its task, and becomes the program.
//!
//! It is born when the jail stands, with everything in force for it that is for pid 1, and installs its filter; then it may wait for long. It knows
//! nothing of any other world: what the launcher's memory, of which it is a copy, has held of tasks is wiped (`spawn.rs`), and the program starts with
//! nothing of that memory.

use std::convert::Infallible;
use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use strait_sys::launch::{execute, execute_file, exit_now, place, retain_only};
use strait_sys::socket;

use crate::error::{At, SpawnError, Step, refused};
use crate::init::Gate;
use crate::profile::Profile;
use crate::seccomp::Filters;
use crate::spec::Spec;
use crate::wire::MAX_BYTES;

/// What is to run in a jail.
#[derive(Debug, Serialize, Deserialize)]
pub enum Task {
    /// With it come stdin, stdout and stderr.
    Start(Program),
    /// What an image is of: it has arguments, environment and directory of its own. With it come the restorer, the image, and the socket by which the
    /// restorer gets stdin, stdout and stderr when somebody asks for this world.
    Restore,
}

/// What a program is told.
#[derive(Debug, Serialize, Deserialize)]
pub struct Program {
    name: PathBuf,
    args: Vec<OsString>,
    env: Vec<(OsString, OsString)>,
    dir: PathBuf,
}

impl Task {
    pub fn of(spec: &Spec) -> Task {
        let Spec { program, args, env, dir, .. } = spec.clone();
        Task::Start(Program { name: program, args, env, dir })
    }
}

/// A process that is to be a jail's payload.
pub struct Payload<'a> {
    /// The task comes from there, and why it can't be done goes there. A number above those that a program gets.
    pub launcher: BorrowedFd<'a>,
    /// What becomes 3.
    pub connection: Option<BorrowedFd<'a>>,
    pub gate: &'a Gate,
    pub profile: &'a Profile,
    pub filters: &'a Filters,
}

impl Payload<'_> {
    /// Comes back only with an error.
    ///
    /// The filters of two profiles let it do all that is left to do, so they stand before it hears anything: a filter takes as long as everything else
    /// between the task and the program.
    pub fn run(&self) -> Result<Infallible, SpawnError> {
        rustix::process::setpgid(None, None).at(Step::Payload, "setpgid")?;
        let mut kept = vec![self.launcher, self.gate.as_fd()];
        kept.extend(self.connection);
        retain_only(&kept).at(Step::Descriptors, "close_range")?;
        if self.profile.lets_a_payload_wait() {
            self.filters.apply_to_payload(self.profile)?;
        }
        self.gate.wait()?;
        let received = socket::receive_whole(self.launcher, MAX_BYTES);
        let (task, descriptors) = received.at(Step::Receive, "recvmsg")?;
        if task.is_empty() {
            // Nobody wants it any more.
            exit_now(0);
        }
        self.take(&task, &descriptors)
    }

    fn take(&self, task: &[u8], descriptors: &[OwnedFd]) -> Result<Infallible, SpawnError> {
        match (postcard::from_bytes(task).map_err(|error| refused(Step::Receive, error))?, descriptors) {
            (Task::Start(program), [_, _, _]) => self.start(&program, descriptors),
            (Task::Restore, [restorer, image, streams]) => self.restore(restorer, image, streams),
            _ => Err(refused(Step::Receive, format!("{} descriptors came with the task", descriptors.len()))),
        }
    }

    fn start(&self, program: &Program, streams: &[OwnedFd]) -> Result<Infallible, SpawnError> {
        rustix::process::chdir(&program.dir).at_path(Step::WorkingDirectory, "chdir", &program.dir)?;
        let prepared = prepare(program)?;
        let mut placed: Vec<_> = streams.iter().map(AsFd::as_fd).collect();
        placed.extend(self.connection);
        self.become_ready(&placed)?;
        Err(prepared.execute())
    }

    /// Where the streams will be there is something meanwhile, so that nothing else comes there.
    fn restore(&self, restorer: &OwnedFd, image: &OwnedFd, streams: &OwnedFd) -> Result<Infallible, SpawnError> {
        let connection = self.connection.ok_or_else(|| refused(Step::Receive, "an image takes a rendezvous"))?;
        // Above every number that the restorer gets, so that placing those doesn't overwrite it.
        let restorer = rustix::io::fcntl_dupfd_cloexec(restorer, 16).at(Step::Descriptors, "fcntl F_DUPFD_CLOEXEC")?;
        let (image, streams) = (image.as_fd(), streams.as_fd());
        self.become_ready(&[streams, streams, streams, connection, image, streams])?;
        let errno = execute_file(&restorer, &[c"strait-restorer".into()], &[]).raw_os_error().unwrap_or(libc::EIO);
        Err(SpawnError::Step { step: Step::Execute, call: "execveat of the restorer".into(), errno })
    }

    fn become_ready(&self, placed: &[BorrowedFd<'_>]) -> Result<(), SpawnError> {
        place(placed).at(Step::Descriptors, "dup2 and close_range")?;
        match self.profile.lets_a_payload_wait() {
            true => Ok(()),
            false => self.filters.apply_to_payload(self.profile),
        }
    }
}

/// A program with its arguments and environment in the kernel's form, so that nothing is left to do after the filters.
struct Prepared {
    program: String,
    looked_in: String,
    candidates: Vec<PathBuf>,
    searched: bool,
    arguments: Vec<CString>,
    environment: Vec<CString>,
}

fn prepare(program: &Program) -> Result<Prepared, SpawnError> {
    let name = program.name.as_os_str();
    let path = program.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let searched = !name.as_bytes().contains(&b'/');
    let candidates = match searched {
        true => candidates(&path, name),
        false => vec![program.name.clone()],
    };
    let arguments = [name].into_iter().chain(program.args.iter().map(OsString::as_os_str));
    let environment = program.env.iter().map(|(key, value)| assignment(key, value));
    Ok(Prepared {
        program: program.name.display().to_string(),
        looked_in: path.to_string_lossy().into_owned(),
        candidates,
        searched,
        arguments: arguments.map(c_string).collect::<Result<_, _>>()?,
        environment: environment.map(|entry| c_string(&entry)).collect::<Result<_, _>>()?,
    })
}

/// The empty entry of PATH, which means "here" to a shell, means nothing here.
fn candidates(path: &OsStr, name: &OsStr) -> Vec<PathBuf> {
    let directories = std::env::split_paths(path);
    directories.filter(|directory| directory.is_absolute()).map(|directory| directory.join(name)).collect()
}

fn assignment(key: &OsStr, value: &OsStr) -> OsString {
    let mut entry = key.to_owned();
    entry.push("=");
    entry.push(value);
    entry
}

fn c_string(text: &OsStr) -> Result<CString, SpawnError> {
    let error = || SpawnError::Spec(format!("{text:?} contains a zero byte"));
    CString::new(text.as_bytes()).map_err(|_| error())
}

impl Prepared {
    /// Tries one candidate after the other. Comes back only with the reason why none started.
    fn execute(&self) -> SpawnError {
        let mut denied = None;
        for candidate in &self.candidates {
            let errno = match c_string(candidate.as_os_str()) {
                Ok(path) => execute(&path, &self.arguments, &self.environment).raw_os_error().unwrap_or(libc::EIO),
                Err(error) => return error,
            };
            // As execvp(3): what isn't there is passed over, what may not be run is remembered, all else ends the search.
            match errno {
                libc::ENOENT | libc::ENOTDIR if self.searched => {}
                libc::EACCES if self.searched => denied = denied.or(Some(failed(candidate, errno))),
                _ => return failed(candidate, errno),
            }
        }
        let missing = || SpawnError::NoProgram { program: self.program.clone(), looked_in: self.looked_in.clone() };
        denied.unwrap_or_else(missing)
    }
}

fn failed(candidate: &Path, errno: i32) -> SpawnError {
    SpawnError::Step { step: Step::Execute, call: format!("execve {}", candidate.display()), errno }
}
