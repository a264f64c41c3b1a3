//! `strait run`: one program in a jail, with its exit code.

mod common;

use common::{Dir, Foreground, run, strait};
use std::io::Write;
use std::process::Stdio;

#[test]
fn the_exit_code_is_the_programs() {
    assert_eq!(run(strait(["run", "--", "sh", "-c", "exit 7"])).code, Some(7));
    assert_eq!(run(strait(["run", "true"])).code, Some(0));
    assert_eq!(run(strait(["run", "--", "sh", "-c", "kill -TERM $$"])).code, Some(128 + 15));
}

#[test]
fn a_missing_program_is_127() {
    for program in ["no-such-program", "/no/such/program"] {
        let said = run(strait(["run", "--", program]));
        assert_eq!(said.code, Some(127), "{}", said.err);
        assert!(said.err.starts_with("strait: ") && said.err.contains("\nhint: "), "{}", said.err);
    }
    assert_eq!(run(strait(["run", "--no-system", "--", "/bin/sh"])).code, Some(127));
}

#[test]
fn a_file_that_is_no_program_is_126() {
    let said = run(strait(["run", "--", "/etc/passwd"]));
    assert_eq!(said.code, Some(126), "{}", said.err);
}

#[test]
fn a_grant_that_isnt_there_is_ours() {
    let said = run(strait(["run", "--read", "/no/such/dir", "--", "true"]));
    assert_eq!(said.code, Some(125), "{}", said.err);
    assert!(said.err.contains("/no/such/dir") && said.err.contains("\nhint: what is granted"), "{}", said.err);
    let said = run(strait(["run", "--dir", "/no/such/dir", "--", "true"]));
    assert!(said.code == Some(125) && said.err.contains("\nhint: the directory is one inside"), "{}", said.err);
}

#[test]
fn the_jail_is_a_small_place() {
    let said = run(strait(["run", "--", "/bin/sh", "-c", "id; ls /; cat /proc/self/status | grep Cap"]));
    assert_eq!(said.code, Some(0), "{}", said.err);
    assert!(said.out.contains("uid=1000"), "{}", said.out);
    for absent in ["home", "root", "var", "work"] {
        assert!(!said.out.lines().any(|line| line == absent), "{absent} in {}", said.out);
    }
    assert!(said.out.contains("CapEff:\t0000000000000000"), "{}", said.out);
}

#[test]
fn python_runs() {
    if !std::path::Path::new("/usr/bin/python3").exists() {
        return skip("python_runs: this machine has no /usr/bin/python3");
    }
    // The second needs a socket pair for its event loop.
    for script in ["print(1)", "import asyncio; print(asyncio.run(asyncio.sleep(0, 1)))"] {
        let said = run(strait(["run", "--", "python3", "-c", script]));
        assert_eq!((said.code, &*said.out), (Some(0), "1\n"), "{}", said.err);
    }
}

/// Where a user may make no user namespace there is no rootless jail, and the message says what to change.
#[test]
fn without_user_namespaces_it_says_what_to_change() {
    if std::fs::metadata("/proc/self").is_ok_and(|me| std::os::unix::fs::MetadataExt::uid(&me) != 0) {
        return skip("without_user_namespaces_it_says_what_to_change: only root can set up such a place");
    }
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/no_namespaces.py");
    let mut command = std::process::Command::new("/usr/bin/python3");
    // A copy where that user can come: the original may lie in somebody's private directory.
    let dir = Dir::new("no-namespaces");
    let program = dir.path("strait");
    std::fs::copy(env!("CARGO_BIN_EXE_strait"), &program).unwrap();
    command.arg(script).arg(&program).args(["run", "--", "true"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let said = run(command);
    assert_eq!(said.code, Some(125), "{}", said.err);
    assert!(said.err.contains("hint: ") && said.err.contains("user.max_user_namespaces"), "{}", said.err);
}

#[test]
fn the_streams_are_ours() {
    let mut command = strait(["run", "--", "cat"]);
    let mut child = command.stdin(Stdio::piped()).spawn().unwrap();
    child.stdin.take().unwrap().write_all(b"through the jail").unwrap();
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), &*output.stdout), (Some(0), &b"through the jail"[..]));
}

#[test]
fn options_reach_the_jail() {
    let dir = Dir::new("options");
    dir.file("in.txt", "granted");
    let grant = format!("{}:/data", dir.path("").display());
    let script = "cat /data/in.txt; echo \" $A $PWD\"; ulimit -n; hostname; touch /data/no || echo read-only";
    let mut command = strait(["run", "--name", "tester", "--env", "A=b", "--dir", "/tmp", "--files", "32", "--read"]);
    command.args([&grant, "--", "sh", "-c", script]).env("SECRET", "x");
    let said = run(command);
    assert_eq!(said.out, "granted b /tmp\n32\ntester\nread-only\n", "{}", said.err);
}

#[test]
fn a_program_that_ends_when_told_ends_in_order() {
    let script = "trap 'echo told; exit 5' TERM; echo up >&2; while :; do sleep 0.05; done";
    let mut strait = Foreground::start(strait(["run", "--", "sh", "-c", script]));
    strait.expect("up");
    strait.interrupt();
    assert_eq!(strait.output(), "told\n");
    assert_eq!(strait.end().0, Some(5));
}

#[test]
fn a_stubborn_program_is_killed_at_its_deadline_or_by_a_second_signal() {
    let script = "trap '' TERM; echo up >&2; while :; do sleep 0.05; done";
    let mut patient = Foreground::start(strait(["run", "--grace", "100ms", "--", "sh", "-c", script]));
    patient.expect("up");
    patient.interrupt();
    let (code, lines) = patient.end();
    assert_eq!(code, Some(137));
    assert!(lines.iter().any(|line| line.contains("its deadline passed")), "{lines:?}");

    let mut hurried = Foreground::start(strait(["run", "--grace", "1m", "--", "sh", "-c", script]));
    hurried.expect("up");
    hurried.interrupt();
    // A signal that is still pending swallows the next of its kind.
    hurried.expect("has 60 s to end; Ctrl-C again kills it");
    hurried.interrupt();
    assert_eq!(hurried.end().0, Some(137));
}

#[test]
fn a_configuration_beside_it_is_checked() {
    let dir = Dir::new("run-config");
    let run_with = |text: &str| {
        let mut command = strait(["run", "--may", "start worker", "--config"]);
        command.arg(dir.file("w.toml", text)).args(["--", "true"]);
        run(command)
    };
    let said = run_with("[templates.worker]\ncommand = [\"true\"]\n");
    assert_eq!((said.code, &*said.err), (Some(0), ""));
    let said = run_with("[templates.worker]\ncomand = [\"true\"]\n");
    assert_eq!(said.code, Some(125));
    assert!(said.err.contains("w.toml:2:1: unknown key `comand`"), "{}", said.err);
}

/// Says so where the harness doesn't keep it to itself.
fn skip(why: &str) {
    let _ = writeln!(std::io::stdout(), "skipped: {why}");
}

#[test]
fn a_program_whose_time_is_up_is_killed_and_told_of() {
    let said = run(strait(["run", "--time", "300ms", "--", "sleep", "60"]));
    assert_eq!(said.code, Some(137));
    assert_eq!(said.err, "strait: signal 9 (SIGKILL), its time is up: it was granted 300ms\n");
    let said = run(strait(["run", "--time", "1m", "--", "echo", "done"]));
    assert_eq!((said.code, &*said.out, &*said.err), (Some(0), "done\n", ""));
}

#[test]
fn a_profile_is_named_and_changed_by_name() {
    let watch = "import ctypes; print(ctypes.CDLL(None).inotify_init1(0) >= 0)";
    let said = run(strait(["run", "--", "python3", "-c", watch]));
    assert_eq!((said.code, &*said.out), (Some(0), "False\n"), "{}", said.err);
    let said = run(strait(["run", "--allow-syscalls", "inotify_init1", "--", "python3", "-c", watch]));
    assert_eq!((said.code, &*said.out), (Some(0), "True\n"), "{}", said.err);
    let said = run(strait(["run", "--deny-syscalls", "opneat", "--", "true"]));
    assert!(said.code == Some(125) && said.err.contains("did you mean `openat`?"), "{}", said.err);
    let said = run(strait(["run", "--profile", "strict", "--", "python3", "-c", watch]));
    assert!(
        said.code == Some(127) && said.err.contains("hint: the strict profile runs static programs"),
        "{}",
        said.err
    );
}

#[test]
fn a_program_that_takes_too_much_memory_is_told_of() {
    let said = run(strait(["run", "--memory", "48 MiB", "--", "python3", "-c", "print(len(bytearray(1 << 28)))"]));
    if said.err.contains("needs the memory controller") {
        assert!(said.code == Some(125) && said.err.contains("hint: `strait doctor`"), "{}", said.err);
        return skip("a_program_that_takes_too_much_memory_is_told_of: this user has no memory controller");
    }
    assert_eq!((said.code, &*said.out), (Some(137), ""), "{}", said.err);
    assert!(said.err.contains("the kernel killed 1 of its processes for want of memory"), "{}", said.err);
    let said = run(strait(["run", "--memory", "48 MiB", "--", "python3", "-c", "print(len(bytearray(1 << 22)))"]));
    assert_eq!((said.code, &*said.out), (Some(0), "4194304\n"), "{}", said.err);
}

#[test]
fn a_limit_of_nothing_is_refused() {
    // To tmpfs a size of 0 means no limit.
    for (limit, least) in [("--tmp", "4 KiB"), ("--memory", "1 MiB"), ("--pids", "2")] {
        let said = run(strait(["run", limit, "0", "--", "true"]));
        assert!(said.code == Some(125) && said.err.contains(&format!("at least {least} is needed")), "{}", said.err);
    }
}
