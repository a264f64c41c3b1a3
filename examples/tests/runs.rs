//! Each example does what it says, as a person would start it.

use std::path::PathBuf;
use std::process::{Command, Output};

/// An example's program, built beside this test.
fn example(name: &str) -> PathBuf {
    let mut dir = std::env::current_exe().expect("a running program has a path");
    dir.pop();
    dir.pop();
    dir.join("examples").join(name)
}

/// Runs it and returns what it says on standard output.
fn run(name: &str, arguments: &[&str]) -> String {
    let program = example(name);
    assert!(program.exists(), "{} isn't built: run the tests with `cargo xtask test`", program.display());
    let Output { status, stdout, stderr } = Command::new(program).args(arguments).output().unwrap();
    let (stdout, stderr) = (String::from_utf8_lossy(&stdout), String::from_utf8_lossy(&stderr));
    assert!(status.success(), "{name}: {status}\n{stdout}\n{stderr}");
    stdout.into_owned()
}

#[test]
fn plugins_cost_their_host_nothing() {
    let told = run("plugins", &[]);
    assert!(told.ends_with("The host has lost nothing.\n"), "{told}");
}

#[test]
fn a_pool_of_compressors_survives_one_that_crashes() {
    let told = run("compressor_pool", &[]);
    assert!(told.contains("and again the same\n"), "{told}");
    assert!(told.ends_with("All compressors are put away.\n"), "{told}");
}

#[test]
fn a_film_passes_through_three_worlds() {
    let dir = std::env::temp_dir().join(format!("strait-video-{}", std::process::id()));
    let told = run("video", &["4", dir.to_str().unwrap()]);
    assert!(told.starts_with("4 frames of 1920x1080") && told.contains("each verified"), "{told}");
    std::fs::remove_dir_all(dir).unwrap();
}

#[test]
fn a_counter_goes_on_in_its_next_life() {
    let told = run("counter", &[]);
    let said: Vec<&str> = told.lines().filter_map(|line| line.strip_prefix("it counts: ")).collect();
    assert_eq!(said, ["1 2 3", "4 5", "6 7", "6"], "{told}");
    assert!(
        told.contains("saved version 1 (8 bytes)") && told.ends_with("It went on from what it had saved.\n"),
        "{told}"
    );
}

#[test]
fn an_agent_has_the_network_for_as_long_as_it_is_granted() {
    let told = run("agent", &[]);
    assert!(told.contains(": to read the weather\n"), "{told}");
    assert!(told.contains("agent: the weather is fine\n"), "{told}");
    let is_over = told.contains("Software caused connection abort") && told.contains("network = [\"127.0.0.1:");
    assert!(is_over || told.contains("can't be ended otherwise"), "{told}");
    assert!(told.ends_with("and no place but one.\n"), "{told}");
}

#[test]
fn a_control_world_decides_and_commands() {
    let told = run("control_world", &[]);
    for line in [
        "control: loader asks for `send db` (to load the day's orders): yes, for 500 ms",
        "loader: by grant 1 it has 42 orders",
        "policy doesn't allow sending to it",
        "loader: denied, nobody loads the payroll",
        "control: loader is ended",
    ] {
        assert!(told.contains(line), "{line}: {told}");
    }
    assert!(told.ends_with("Nobody but the control world decided anything.\n"), "{told}");
}
