//! Calls that may fail without an error that names the step, and why nothing is lost by it.
//!
//! What isn't listed here must fail the spawn with an error that names the step, before the program runs.

use crate::tracer::Role;

/// What is different about a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exception {
    /// The kernel never lets it fail, so there is nothing to be seen.
    Infallible,
    /// The world is started all the same, and what the kernel says of its jail is what it says of any other.
    Harmless,
    /// The error is an answer: there is nothing there. The jail is the same but for that, which isn't in it either.
    Answer,
    /// There is a whole jail, but the world in it ends at once.
    Ends,
    /// The error can't name the step.
    Unnamed,
    /// The program may have run by then, in a whole jail, which is killed.
    Late,
}

use Exception::{Answer, Ends, Harmless, Infallible, Late, Unnamed};

const LAUNCHER: Option<Role> = Some(Role::Launcher);
const OWNER: Option<Role> = Some(Role::Owner);
const FIRST: Option<Role> = Some(Role::First);
const RESTORER: Option<Role> = Some(Role::Restorer);
/// Of those who build a jail, which the restorer doesn't.
const ANYBODY: Option<Role> = None;

#[rustfmt::skip]
const EXCEPTIONS: &[(Option<Role>, &str, Exception, &str)] = &[
    (ANYBODY, "close", Infallible, "the descriptor is closed whatever it says: close(2), \"Dealing with error returns\""),
    (ANYBODY, "munmap", Infallible, "of a whole mapping it fails for want of nothing"),
    (ANYBODY, "umask", Infallible, "umask(2): always succeeds"),
    (ANYBODY, "geteuid", Infallible, "getuid(2): always successful"),
    (ANYBODY, "getegid", Infallible, "getgid(2): always successful"),
    (ANYBODY, "exit_group", Infallible, "exit_group(2): doesn't return"),
    (ANYBODY, "fcntl", Harmless, "F_GETFD, by which a debug build checks a descriptor before it closes it; F_DUPFD fails the spawn"),
    (ANYBODY, "mmap", Harmless, "the allocator gets its memory elsewhere"),
    (ANYBODY, "brk", Harmless, "the allocator gets its memory elsewhere"),
    (ANYBODY, "openat", Harmless, "interrupted: it is made again"),
    (ANYBODY, "write", Harmless, "interrupted: it is made again"),
    (ANYBODY, "recvmsg", Harmless, "interrupted: it is made again"),
    (ANYBODY, "ppoll", Harmless, "interrupted: it is made again"),
    (FIRST, "openat2", Harmless, "the place isn't there yet, and is made"),
    (FIRST, "open_tree", Answer, "the host has no such file"),
    (FIRST, "readlinkat", Answer, "the host has no such directory of programs"),
    (FIRST, "prctl", Harmless, "giving itself a name; all else that it asks for is in the report"),
    (FIRST, "prlimit64", Unnamed, "asking for a limit, which getrlimit(2) lets nobody fail; setting one is named"),
    (FIRST, "write", Ends, "to the gate, when it is confined: it is killed for a call without a number, as which one fails here, and its world with it"),
    (FIRST, "write", Unnamed, "the same, when its payload hasn't read its task yet: then it is said that it died"),
    (FIRST, "wait4", Ends, "a pid 1 that can't wait ends, and its world with it"),
    (FIRST, "wait4", Unnamed, "the same, before its payload was told its task: then it is said that it died"),
    (LAUNCHER, "newfstatat", Harmless, "a file that can't be looked at is taken for another: jails that were begun ahead of time are begun anew"),
    (LAUNCHER, "openat2", Harmless, "a granted file that can't be looked at: no jail that waits for its task is used; opening one is named"),
    (LAUNCHER, "statx", Harmless, "the same"),
    (OWNER, "close_range", Harmless, "it ends at once: before its namespace has its mapping, which is an error, or after, and then it isn't needed"),
    (OWNER, "read", Harmless, "the same"),
    (LAUNCHER, "mount_setattr", Harmless, "a file system that can't be mapped to another owner; attributes are named, and would be in the report"),
    (LAUNCHER, "wait4", Harmless, "a child that has ended isn't collected"),
    (LAUNCHER, "recvmsg", Harmless, "waits for the next order, when this one is done; the launcher ends, and says so to that one"),
    (LAUNCHER, "recvmsg", Late, "hearing whether the program started: it may have"),
    (LAUNCHER, "sendmsg", Unnamed, "the answer itself: the launcher ends, and its supervisor sees that"),
    (LAUNCHER, "sendmsg", Late, "the answer itself: the world that nobody was told of is killed"),
    (LAUNCHER, "sendmsg", Harmless, "the answer itself, when the socket has no room: it is kept and sent again"),
    (LAUNCHER, "ppoll", Late, "waiting to hear whether the program started: it may have"),
    (RESTORER, "madvise", Harmless, "having pages there ahead of time, for speed; what a fork is to find empty is named"),
    (RESTORER, "prctl", Harmless, "telling the kernel where the parts of the image's program are; giving it its name is named"),
    (RESTORER, "munmap", Harmless, "of the restorer, by the image that goes on and doesn't need that; of all else it is named"),
    (RESTORER, "arch_prctl", Ends, "without its thread's storage no program can say anything: the first access kills it"),
    (RESTORER, "set_tid_address", Infallible, "set_tid_address(2): always succeeds"),
    (RESTORER, "umask", Infallible, "umask(2): always succeeds"),
];

/// All that is said of a call.
pub fn of(role: Role, name: &str) -> impl Iterator<Item = Exception> {
    let is_it = move |whose: &Option<Role>| whose.map_or(role != Role::Restorer, |whose| whose == role);
    EXCEPTIONS.iter().filter(move |(whose, call, ..)| is_it(whose) && *call == name).map(|(_, _, what, _)| *what)
}
