//! What a broker says when it refuses something, told apart by its words: there is no more to go by. What to do next, and the exit code of
//! `strait run`.

use crate::failure::{NO_PROGRAM, NOT_EXECUTABLE, OURS};

/// What to do next, where the words themselves don't say it.
pub fn hint(why: &str) -> Option<&'static str> {
    match why {
        _ if why.starts_with("policy doesn't let you: it takes") => {
            Some("that line belongs to the [[attach]] rule for your uid, in the file that the broker was started with")
        }
        _ if why.starts_with("there is no world named") => Some("`strait ps` lists the worlds there are"),
        _ => no_start_hint(why),
    }
}

fn no_start_hint(why: &str) -> Option<&'static str> {
    match exit_code(why) {
        NO_PROGRAM => Some(
            "the jail has the host's /usr (without --no-system) and what --read or --write grant: is the program, or its interpreter, there?",
        ),
        NOT_EXECUTABLE => Some(
            "is it a program, of this machine's kind, with its executable bit set, and readable by others than its owner?",
        ),
        _ => no_jail_hint(why),
    }
}

/// Where the jail can't be built: what of the configuration has to change, or who knows what the machine lacks.
fn no_jail_hint(why: &str) -> Option<&'static str> {
    match why.split_once(": ").map(|(step, _)| step) {
        Some("opening what the jail may see") if is_absent(why) => Some(
            "what is granted for reading or writing must be there before: make it, or name another path of this machine",
        ),
        Some("entering the working directory") => Some(
            "the directory is one inside the jail: `/`, `/tmp`, a granted path (for PATH:INSIDE it is INSIDE), or one of the system's",
        ),
        Some("attaching a bind") => Some(
            "nothing is made in the jail's own /tmp, nor below another grant: say where the path is to be inside, as in `PATH:/inside`",
        ),
        _ if why.contains("(os error ") => Some("`strait doctor` says what this machine has for you"),
        _ => None,
    }
}

/// How a shell tells why a program wasn't executed: `starting the program: execve PATH: TEXT (os error N)`, or `no such program ...`.
pub fn exit_code(why: &str) -> u8 {
    match why.split_once("starting the program: execve ") {
        _ if why.contains("no such program ") => NO_PROGRAM,
        Some((_, rest)) if is_absent(rest) => NO_PROGRAM,
        Some(_) => NOT_EXECUTABLE,
        None => OURS,
    }
}

/// `ENOENT` or `ENOTDIR`.
fn is_absent(why: &str) -> bool {
    why.ends_with("(os error 2)") || why.ends_with("(os error 20)")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_become_codes() {
        assert_eq!(exit_code("no such program 'x' in the jail (looked in /usr/bin)"), NO_PROGRAM);
        assert_eq!(exit_code("starting the program: execve /x: No such file or directory (os error 2)"), NO_PROGRAM);
        assert_eq!(exit_code("starting the program: execve /x: Permission denied (os error 13)"), NOT_EXECUTABLE);
        assert_eq!(exit_code("making /tmp: mount: Operation not permitted (os error 1)"), OURS);
    }

    #[test]
    fn what_says_itself_what_to_do_has_no_hint() {
        assert_eq!(hint("there is no template `x` (there are: y)"), None);
        assert!(
            hint("there is no world named `x`, and nothing to make one of").is_some_and(|hint| hint.contains("ps"))
        );
        assert!(
            hint("making /tmp: mount: Operation not permitted (os error 1)")
                .is_some_and(|hint| hint.contains("doctor"))
        );
    }
}
