//! Builds a jail for one process tree and starts a program in it. Linux only; knows nothing of messages.
//!
//! ```no_run
//! use std::os::fd::AsFd;
//! use strait_jail::{Exit, Fds, Launcher, Spec};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let mut launcher = Launcher::start()?; // first of all, before any thread
//! let mut spec = Spec::new("hello", "sh");
//! spec.args = vec!["-c".into(), "id; ls /".into()];
//! spec.uid = Some(70_001); // as root; without it: rootless
//! let (stdin, stdout, stderr) = (std::io::stdin(), std::io::stdout(), std::io::stderr());
//! let fds = Fds { stdin: stdin.as_fd(), stdout: stdout.as_fd(), stderr: stderr.as_fd(), rendezvous: None };
//! let mut world = launcher.spawn(&spec, fds)?;
//! println!("{:?}", world.report()?.missing);
//! assert_eq!(world.wait()?, Exit::Code(0));
//! # Ok(())
//! # }
//! ```
//!
//! # What it promises
//!
//! - The program and all that it starts see no file, process, network, user or host name but their own and what [`Spec`] grants. They have no
//!   capability and can't get one, and no socket but those handed in, which they can't connect anew.
//! - The descriptors are exactly 0, 1, 2 and, with a rendezvous, 3; with an image 4 too, until its restorer has closed it. The environment is exactly the one given.
//! - What the whole jail may use of memory, processor time and processes is bounded by [`Limits`], and its groups are removed with it.
//! - Killing the [`Process`] kills the whole tree, whatever it did to hide. So does the end of the supervisor.
//! - Everything is required. What can't be applied is an error that names the step, the call and the path; nothing is skipped in
//!   silence. What a kind of jail can't have at all (rootless: a uid of its own) is a sentence in [`Report::missing`].
//! - No uid 0, even mapped and without capabilities: it would own files of `/proc/sys` that other namespaces don't separate.
//!
//! # What it doesn't promise
//!
//! - A kernel without bugs. The seccomp list makes the surface smaller, not empty.
//! - Bounds on memory and processor time where the machine doesn't give its caller control groups: asked for, they fail the spawn; else
//!   [`Report::missing`] names them.
//! - That a hostile program executes nothing but the files it was granted, unless its profile is [`Base::Strict`].
//! - Secrecy against timing, caches and the load of the machine.
//! - That `stdin`, `stdout` and `stderr` are harmless. A terminal there is a terminal that the world may write to; the three `ioctl`
//!   calls that would type into it or take it over are refused.
//! - Rootless worlds share the caller's kernel uid: the namespaces separate them, not the uid.
//!
//! # The order of the steps, and why
//!
//! A small single-threaded process, the [`Launcher`], copies itself with `clone3` into five new namespaces. The copy is pid 1 of the
//! jail and, thanks to `CLONE_PARENT`, a child of the supervisor. It is born with every capability over its own namespaces and
//! none over the host. It is told what jail to be (its plan: binds, profile, limits), and later what is to run in it (its task: program, arguments,
//! environment). Both may be long before and long after: a *seat* waits for its plan, a jail that stands waits for its task ([`Options::seats`]). Pid 1:
//!
//! 1. closes the launcher's descriptors, before anything can go wrong with them; makes its session, enters its control groups, makes its network and its view of the
//!    groups (two more namespaces), forbids executable memory files in its pid namespace, and empties its bounding set of capabilities;
//! 2. builds the root with the system in it, in a second mount namespace from which it detaches everything of the host's; goes back to the
//!    first, and waits for its plan. When there is one the launcher sets the limits of the groups where they aren't the usual ones, maps the user (which only
//!    somebody outside can do) and hands it over. Without root (rootless) this step waits for the plan too: nobody can make a file before the user is mapped;
//! 3. opens the sources of all binds with the launcher's uid, which may pass directories that the world may not; enters the root, from where
//!    the host's files are out of reach, and attaches them. Then it moves onto a copy of that root that is in no mount namespace, so that nobody can read
//!    there where on the host they were;
//! 4. becomes the world's user, for good. The capabilities over the namespaces stay, they aren't tied to a uid;
//! 5. hides (not dumpable) and ties its life to the supervisor's: after the change of user, which would undo both;
//! 6. connects to the rendezvous: with the final uid, so that the kernel vouches for that;
//! 7. sets host name and limits. If the name isn't known yet, the launcher sets it when it is;
//! 8. gives up new privileges, locks the secure bits, drops all capabilities: nothing after needs any;
//! 9. confines itself with Landlock, which forbids mounting, so it comes after the last mount; and refuses new code, unless the profile
//!    is that of a language VM;
//! 10. makes the payload's process, closes everything but the status pipe, and restricts itself to six system calls.
//!
//! The payload, for which all of that is in force too, installs the seccomp filter (last, because it forbids most of the above), waits until pid 1 has
//! restricted itself, and then for its task. It puts its descriptors in place, enters the working directory, and executes the program. Only a filter that
//! forbids what is left to do (of profile `strict`, or one that was changed by name) is installed right before the program.

#![forbid(unsafe_code)]
#![cfg(target_os = "linux")]

mod attest;
mod cgroup;
mod enclose;
mod error;
mod ground;
mod ids;
mod init;
mod launcher;
mod mounts;
mod outbox;
mod outlook;
mod owner;
mod payload;
mod place;
mod pool;
mod privilege;
mod process;
mod profile;
mod report;
mod root;
mod ruleset;
mod seat;
mod seccomp;
mod shape;
mod spawn;
mod spec;
mod syscalls;
mod system;
mod table;
mod wire;

pub use attest::{Attested, Landlock};
pub use cgroup::{Had, LONG_WAIT, Turns, processor_of};
pub use enclose::{Enclosure, RUNTIME_CALLS, enclose};
pub use error::{Error, SpawnError, Step};
pub use launcher::{Fds, Image, Launcher, MAX_OPEN, MAX_SEATS, Options, Ticket};
pub use mounts::Mount;
pub use process::{Exit, Process};
pub use profile::{Base, Profile, ProfileError, syscall_names};
pub use report::{Capabilities, Report};
pub use spec::{Access, Bind, DEFAULT_MEMORY_BYTES, Limits, Spec};
