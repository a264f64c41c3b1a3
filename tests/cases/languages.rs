//! Languages in their profiles: each counts the words of a granted file with threads or child processes, and writes the answer where it may.
//! No system call was listed for any of them.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use strait_broker::{Stdio, World};
use strait_jail::Base;
use strait_tests::{LONG, Stage};

/// A folder with the scripts' input, and room for their answers, that every world may enter.
struct Place(PathBuf);

impl Place {
    fn new(name: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strait-languages-{name}-{}", std::process::id()));
        fs::create_dir_all(path.join("out")).expect("a folder");
        let words = ["one", "two", "two", "three", "three", "three", "four", "five"];
        let line = |at: usize| format!("{} {}, {}\n", words[at % 8], words[at * 5 % 8], words[at * 3 % 7]);
        fs::write(path.join("words.txt"), (0..5000).map(line).collect::<String>()).expect("words");
        for open in [path.clone(), path.join("out")] {
            fs::set_permissions(open, fs::Permissions::from_mode(0o777)).expect("chmod");
        }
        Self(path)
    }

    /// What anything but a program of the scripts' kind says.
    fn expected(&self) -> String {
        let text = fs::read_to_string(self.0.join("words.txt")).expect("words");
        let mut counts = std::collections::BTreeMap::new();
        text.split(|c: char| !c.is_alphanumeric())
            .filter(|word| !word.is_empty())
            .for_each(|word| *counts.entry(word).or_insert(0) += 1);
        let mut counts: Vec<_> = counts.into_iter().collect();
        counts.sort_by_key(|(_, number)| -number);
        counts.iter().take(3).map(|(word, number)| format!("{number} {word}\n")).collect()
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn script(name: &str) -> String {
    format!("{}/scripts/{name}:/script/{name}", env!("CARGO_MANIFEST_DIR"))
}

/// Runs a program with the path of its answer as the last argument, and compares.
fn count(profile: Base, command: &[&str], program: &str) {
    let place = Place::new(&format!("{profile}-{}", command[0].replace('/', "-")));
    let mut world = World::new(command.iter().copied().chain(["/out/answer"]));
    world.profile = profile;
    world.read = vec![format!("{}/words.txt:/data/words.txt", place.0.display()), program.into()];
    world.write = vec![format!("{}/out:/out", place.0.display())];
    let mut stage = Stage::new();
    let id = stage.host.spawn("counter", &world).expect("a world");
    let ended = stage.client().wait(id, Some(LONG)).expect("an end");
    assert_eq!((ended.code, &*ended.note), (Some(0), ""), "{command:?}");
    let answer = fs::read_to_string(place.0.join("out/answer")).expect("an answer");
    assert_eq!(answer, place.expected(), "{command:?}");
}

fn count_with(profile: Base, interpreter: &str, name: &str) {
    match Path::new("/usr/bin").join(interpreter).exists() {
        true => count(profile, &[interpreter, &format!("/script/{name}")], &script(name)),
        // Past the harness, which keeps what a test that succeeds prints.
        false => drop(writeln!(std::io::stdout(), "skipped: languages: no /usr/bin/{interpreter} on this machine")),
    }
}

#[test]
fn python_runs_in_default() {
    count_with(Base::Default, "python3", "count.py");
}

/// A C function that calls back into Python is code made at run time: libffi writes it through a second mapping of the same memory.
#[test]
fn python_callbacks_take_jit() {
    let script = "import ctypes; assert ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)(lambda n: 2 * n)(21) == 42";
    let end = |profile| {
        let mut world = World::new(["python3", "-c", script]);
        (world.profile, world.stdio) = (profile, Stdio::Null);
        let mut stage = Stage::new();
        let id = stage.host.spawn("callback", &world).expect("a world");
        stage.client().wait(id, Some(LONG)).expect("an end").code
    };
    assert_eq!((end(Base::Default), end(Base::Jit)), (Some(1), Some(0)));
}

#[test]
fn perl_runs_in_default() {
    count_with(Base::Default, "perl", "count.pl");
}

#[test]
fn lua_runs_in_default() {
    count_with(Base::Default, "lua5.4", "count.lua");
}

#[test]
fn a_shell_runs_in_default() {
    count_with(Base::Default, "sh", "count.sh");
}

#[test]
fn node_runs_in_jit() {
    count_with(Base::Jit, "node", "count.js");
}

#[test]
fn luajit_runs_in_jit() {
    count_with(Base::Jit, "luajit", "count.lua");
}

#[test]
fn a_jvm_runs_in_jit() {
    count_with(Base::Jit, "java", "Count.java");
}

#[test]
fn a_static_program_runs_in_all_three() {
    let place = Place::new("static");
    let program = place.0.join("count");
    let source = format!("{}/scripts/count.c", env!("CARGO_MANIFEST_DIR"));
    let built = Command::new("cc").args(["-static", "-O1", "-pthread", "-o"]).arg(&program).arg(source).status();
    assert!(built.is_ok_and(|status| status.success()), "cc -static");
    for profile in Base::ALL {
        count(profile, &["/count"], &format!("{}:/count", program.display()));
    }
}
