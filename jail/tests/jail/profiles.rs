//! What each profile lets a payload execute and call, next to what the same program may do unjailed.

use std::path::Path;
use std::process::Command;

use strait_jail::{Base, Bind, Exit, Launcher, Profile};

use crate::cases::{Given, skip_unless};
use crate::world::*;

/// The attempts of `code.c`, in its order.
const ATTEMPTS: [&str; 15] = [
    "write-execute",
    "become-executable",
    "key-executable",
    "memory-file",
    "sealed-memory-file",
    "shared-executable",
    "private-executable",
    "own-memory",
    "process",
    "barrier-own",
    "barrier-global",
    "barrier-registered",
    "watch",
    "name",
    "start",
];

/// The program of `code.c`, built here. Without a C compiler with its static library nothing can be said.
fn build(scratch: &Scratch) -> Option<std::path::PathBuf> {
    let program = scratch.path().join("code");
    let source = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/jail/code.c");
    let built = Command::new("cc").args(["-static", "-O1", "-o"]).arg(&program).arg(source).status();
    built.is_ok_and(|status| status.success()).then_some(program)
}

/// Each attempt with what came of it.
fn attempts(words: [&str; ATTEMPTS.len()]) -> String {
    ATTEMPTS.iter().zip(words).map(|(attempt, word)| format!("{attempt} {word}\n")).collect()
}

fn run_in(launcher: &mut Launcher, program: &Path, profile: Profile, place: &str) -> String {
    let scratch = Scratch::new("place");
    let mut spec = spec("/code", &[place]);
    spec.binds = vec![Bind::read_only(program, "/code"), Bind::read_write(scratch.path(), "/place")];
    spec.profile = profile;
    run(launcher, &spec).0
}

pub fn executable_memory(given: &mut Given<'_>) {
    let scratch = Scratch::new("code");
    let program = build(&scratch);
    skip_unless(program.is_some());
    let program = program.expect("built");
    let place = scratch.path().join("copy");
    let outside = Command::new(&program).arg(&place).output().expect("unjailed");
    assert_eq!(String::from_utf8_lossy(&outside.stdout), attempts(["ok"; 15]), "unjailed");
    let jit = attempts(["ok", "ok", "ok", "ok", "ok", "ok", "ok", "30", "ok", "ok", "1", "1", "1", "ok", "ok"]);
    let default = attempts(["13", "13", "13", "ok", "ok", "1", "ok", "30", "ok", "ok", "1", "1", "1", "ok", "ok"]);
    let strict = attempts(["1", "1", "38", "1", "ok", "1", "1", "30", "1", "ok", "1", "1", "1", "38", "13"]);
    for place in ["/tmp/copy", "/place/copy"] {
        let mut run = |base: Base| run_in(given.launcher, &program, base.into(), place);
        assert_eq!(run(Base::Jit), jit, "jit, {place}");
        assert_eq!(run(Base::Default), default, "default, {place}");
        assert_eq!(run(Base::Strict), strict, "strict, {place}");
    }
}

pub fn by_name(given: &mut Given<'_>) {
    let scratch = Scratch::new("code");
    let program = build(&scratch);
    skip_unless(program.is_some());
    let program = program.expect("built");
    let profile = Profile {
        base: Base::Default,
        allow: vec!["inotify_init1".into()],
        deny: vec!["pkey_mprotect".into(), "memfd_create".into()],
    };
    let text = run_in(given.launcher, &program, profile, "/tmp/copy");
    assert!(text.contains("watch ok\n") && text.contains("memory-file 1\n"), "{text}");
    assert!(text.contains("key-executable 1\n") && text.contains("process ok\n"), "{text}");
    let mut refused = |allow: &[&str], deny: &[&str]| {
        let mut spec = shell("true");
        let owned = |names: &[&str]| names.iter().map(ToString::to_string).collect();
        spec.profile = Profile { base: Base::Default, allow: owned(allow), deny: owned(deny) };
        let null = std::fs::File::open("/dev/null").expect("/dev/null");
        use std::os::fd::AsFd;
        let fds =
            strait_jail::Fds { stdin: null.as_fd(), stdout: null.as_fd(), stderr: null.as_fd(), rendezvous: None };
        given.launcher.submit(&spec, fds).expect_err("refused").to_string()
    };
    assert_eq!(refused(&["fly"], &[]), "`fly` is no system call of this machine");
    assert_eq!(refused(&[], &["execve"]), "`execve` can't be denied: it starts the program, behind the filters");
    assert_eq!(refused(&["socket"], &["socket"]), "`socket` is both allowed and denied");
}

/// What needs a compiler of its own at run time says so in its own words in the default profile, and works in the other.
pub fn just_in_time(given: &mut Given<'_>) {
    let node = || spec("node", &["-e", "let n = 0; for (let i = 0; i < 1e6; i++) n += i; console.log(n)"]);
    skip_unless(Path::new("/usr/bin/node").exists());
    let (_, exit) = run(given.launcher, &node());
    assert!(matches!(exit, Exit::Signal(_)), "{exit:?}");
    let mut jit = node();
    jit.profile = Base::Jit.into();
    assert_eq!(run(given.launcher, &jit), ("499999500000\n".into(), Exit::Code(0)));
}
