//! The end of a world in words, and as an exit code.

use crate::{text, units};
use signal_hook::consts::{SIGABRT, SIGBUS, SIGILL, SIGSEGV, SIGSYS, SIGTERM, SIGTRAP};
use std::path::Path;
use strait_broker::{Ended, World};
use strait_jail::Base;
use strait_protocol::control::Saved;

/// How it ended: `exit code 3`, `signal 9 (SIGKILL), quarantined: ...`.
pub fn how(ended: &Ended) -> String {
    let end = match (ended.code, ended.signal) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => signal_text(signal),
        (None, None) if !ended.note.is_empty() => return text::one_line(&ended.note),
        (None, None) => "no exit status".into(),
    };
    match ended.note.is_empty() {
        true => end,
        false => format!("{end}, {}", text::one_line(&ended.note)),
    }
}

fn signal_text(signal: i32) -> String {
    let name = signal_hook::low_level::signal_name(signal);
    name.map_or_else(|| format!("signal {signal}"), |name| format!("signal {signal} ({name})"))
}

/// How it ended after it was told to.
pub fn after_request(ended: &Ended) -> String {
    let Ended { took_ms, .. } = ended;
    if nothing_ran(ended) {
        return text::one_line(&ended.note);
    }
    let end = match (ended.killed, ended.acknowledged) {
        (true, true) => format!("acknowledged, but had to be killed after {took_ms} ms: {}", how(ended)),
        (true, false) => format!("had to be killed after {took_ms} ms: {}", how(ended)),
        (false, true) => format!("acknowledged and ended in {took_ms} ms: {}", how(ended)),
        (false, false) => format!("ended in {took_ms} ms without acknowledging: {}", how(ended)),
    };
    match ended.saved {
        Some(Saved { version, bytes }) => format!("saved version {version} ({}), {end}", units::size(bytes)),
        None => end,
    }
}

/// Programs that compile while they run, and end with an exit code of their own where they can't.
const COMPILERS: [&str; 10] = ["node", "java", "luajit", "deno", "bun", "dotnet", "mono", "pypy3", "php", "julia"];

/// What may help a program that its profile has ended. The kernel keeps no record of what it refused: this goes by how it ended.
pub fn hint(world: &World, ended: &Ended) -> Option<&'static str> {
    if ended.killed || ended.code == Some(0) {
        return None;
    }
    let program =
        world.command.first().and_then(|program| Path::new(program).file_name()?.to_str()).unwrap_or_default();
    let has_crashed = ended.signal.is_some_and(|signal| CRASHES.contains(&signal));
    match world.profile {
        Base::Default if has_crashed || COMPILERS.contains(&program) => Some(
            "if it compiles while it runs, as Node and Java do, it needs `--profile jit` (in a file: profile = \"jit\")",
        ),
        Base::Strict if has_crashed || ended.code == Some(127) => Some(
            "the strict profile runs static programs alone, which make threads but no processes: others need `--profile default`",
        ),
        _ => None,
    }
}

/// What a program dies of that takes a refusal for impossible.
const CRASHES: [i32; 6] = [SIGTRAP, SIGSEGV, SIGABRT, SIGILL, SIGBUS, SIGSYS];

/// It slept, and was stopped or removed.
fn nothing_ran(ended: &Ended) -> bool {
    (ended.code, ended.signal, ended.killed) == (None, None, false)
}

/// Whether it ended as a program ends that has done its work, or that was told to end and knows nothing of strait.
pub fn is_well(ended: &Ended) -> bool {
    !ended.killed && (ended.code == Some(0) || ended.signal == Some(SIGTERM) || nothing_ran(ended))
}

/// The exit code that tells the same, as a shell does it.
pub fn exit_code(ended: &Ended) -> u8 {
    let code = ended.code.or(ended.signal.map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(crate::failure::OURS)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end(code: Option<i32>, signal: Option<i32>) -> Ended {
        Ended {
            id: 16,
            code,
            signal,
            acknowledged: false,
            saved: None,
            killed: false,
            note: String::new(),
            took_ms: 0,
            sleeps: false,
        }
    }

    #[test]
    fn ends_are_told_as_by_a_shell() {
        assert_eq!(exit_code(&end(Some(7), None)), 7);
        assert_eq!(exit_code(&end(None, Some(9))), 137);
        assert_eq!(exit_code(&end(None, None)), 125);
        assert!(is_well(&end(Some(0), None)) && !is_well(&end(Some(1), None)) && !is_well(&end(None, Some(9))));
        assert!(is_well(&end(None, Some(15))) && is_well(&end(None, None)));
    }

    #[test]
    fn a_refused_compiler_has_a_hint() {
        let world = |program: &str, profile| World { profile, ..World::new([program]) };
        let [node, sh] = ["/usr/bin/node", "sh"].map(|program| world(program, Base::Default));
        assert!(hint(&node, &end(Some(1), None)).is_some_and(|hint| hint.contains("--profile jit")));
        assert!(hint(&sh, &end(None, Some(5))).is_some() && hint(&sh, &end(Some(1), None)).is_none());
        assert!(hint(&world("node", Base::Jit), &end(None, Some(5))).is_none());
        assert!(hint(&node, &end(Some(0), None)).is_none());
        assert!(hint(&world("sh", Base::Strict), &end(Some(127), None)).is_some_and(|hint| hint.contains("static")));
    }

    #[test]
    fn ends_are_told_in_words() {
        assert_eq!(how(&end(Some(7), None)), "exit code 7");
        let quarantined = Ended { note: "quarantined: \u{1b}".into(), killed: true, ..end(None, Some(9)) };
        assert_eq!(how(&quarantined), "signal 9 (SIGKILL), quarantined: \\u{1b}");
        assert!(after_request(&quarantined).starts_with("had to be killed after 0 ms: signal 9"));
        let obedient = Ended { acknowledged: true, took_ms: 4, ..end(Some(0), None) };
        assert_eq!(after_request(&obedient), "acknowledged and ended in 4 ms: exit code 0");
    }
}
