//! The last step: the program itself.

use std::ffi::{CString, OsStr, OsString};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use strait_sys::launch::{execute, execute_file};

use crate::error::{At, SpawnError, Step};
use crate::spec::Spec;

/// A program with its arguments and environment in the kernel's form, so that nothing is left to do after the filters.
pub struct Prepared {
    program: String,
    looked_in: String,
    candidates: Vec<PathBuf>,
    searched: bool,
    arguments: Vec<CString>,
    environment: Vec<CString>,
    restorer: Option<OwnedFd>,
}

/// Moves the restorer's descriptor above every number that a payload gets, so that placing those doesn't overwrite it.
pub fn set_aside(restorer: BorrowedFd<'_>) -> Result<OwnedFd, SpawnError> {
    rustix::io::fcntl_dupfd_cloexec(restorer, 16).at(Step::Descriptors, "fcntl F_DUPFD_CLOEXEC")
}

/// With a restorer that is executed instead, and gets the arguments and the environment.
pub fn prepare(spec: &Spec, restorer: Option<OwnedFd>) -> Result<Prepared, SpawnError> {
    let name = spec.program.as_os_str();
    let path = spec.env.iter().find(|(key, _)| key == "PATH").map(|(_, value)| value.clone()).unwrap_or_default();
    let searched = !name.as_bytes().contains(&b'/');
    let candidates = match searched {
        true => candidates(&path, name),
        false => vec![spec.program.clone()],
    };
    let arguments = [name].into_iter().chain(spec.args.iter().map(OsString::as_os_str));
    let environment = spec.env.iter().map(|(key, value)| assignment(key, value));
    Ok(Prepared {
        program: spec.program.display().to_string(),
        looked_in: path.to_string_lossy().into_owned(),
        candidates,
        searched,
        arguments: arguments.map(c_string).collect::<Result<_, _>>()?,
        environment: environment.map(|entry| c_string(&entry)).collect::<Result<_, _>>()?,
        restorer,
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
    pub fn execute(&self) -> SpawnError {
        if let Some(restorer) = &self.restorer {
            let errno = execute_file(restorer, &self.arguments, &self.environment).raw_os_error().unwrap_or(libc::EIO);
            return SpawnError::Step { step: Step::Execute, call: "execveat of the restorer".into(), errno };
        }
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
