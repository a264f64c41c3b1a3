//! `cargo xtask fuzz`: each target for a while, from its seeds.

use crate::root;
use std::process::Command;

/// The targets of `fuzz/`.
pub const TARGETS: [&str; 5] = ["switch", "record_stream", "handshake_control", "packed", "image_index"];

/// Runs one target or all, each for so many seconds. Installs cargo-fuzz if it is missing.
pub fn run(target: Option<&str>, seconds: u32) -> Result<bool, String> {
    let toolchain = Toolchain::find()?;
    let mut passed = true;
    for target in TARGETS.iter().filter(|name| target.is_none_or(|wanted| wanted == **name)) {
        println!("== {target}, {seconds} s, {}", toolchain.name());
        passed &= toolchain.fuzz(target, seconds)?;
    }
    Ok(passed)
}

/// What there is to build with.
enum Toolchain {
    /// With the address sanitizer, which is nightly's alone.
    Nightly,
    /// Coverage still guides it: that is LLVM's, and stable has it. Out-of-bounds accesses are found only where they crash.
    Stable,
}

impl Toolchain {
    fn find() -> Result<Self, String> {
        if cfg!(not(all(target_os = "linux", target_arch = "x86_64"))) {
            return Err("fuzzing is set up for x86_64 Linux only; the seeds run everywhere: cargo xtask test".into());
        }
        if !succeeds(cargo().args(["fuzz", "--version"]))
            && !succeeds(cargo().args(["install", "--locked", "cargo-fuzz"]))
        {
            return Err("cargo-fuzz is missing and can't be installed: cargo install cargo-fuzz".into());
        }
        if !succeeds(Command::new("c++").arg("--version")) {
            return Err("libFuzzer needs a C++ compiler: sudo apt-get install g++".into());
        }
        Ok(if succeeds(cargo().args(["+nightly", "--version"])) { Self::Nightly } else { Self::Stable })
    }

    fn name(&self) -> &str {
        match self {
            Self::Nightly => "nightly with the address sanitizer",
            Self::Stable => "stable, without a sanitizer (there is no nightly toolchain)",
        }
    }

    fn fuzz(&self, target: &str, seconds: u32) -> Result<bool, String> {
        let (corpus, seeds) = (format!("fuzz/corpus/{target}"), format!("fuzz/seeds/{target}"));
        std::fs::create_dir_all(root().join(&corpus)).map_err(|error| format!("{corpus}: {error}"))?;
        let mut command = cargo();
        command.current_dir(root());
        match self {
            Self::Nightly => command.args(["+nightly", "fuzz", "run"]),
            Self::Stable => command.args(["fuzz", "run", "--sanitizer", "none"]),
        };
        // What it finds goes to the first folder; the seeds are only read.
        command.args([target, &corpus, &seeds, "--"]);
        command.args([
            &format!("-max_total_time={seconds}"),
            "-timeout=20",
            "-rss_limit_mb=4096",
            "-print_final_stats=1",
        ]);
        let status = command.status().map_err(|error| format!("cargo fuzz: {error}"))?;
        Ok(status.success())
    }
}

/// Rustup's cargo, which takes `+toolchain`, and not the one that runs this.
fn cargo() -> Command {
    Command::new("cargo")
}

fn succeeds(command: &mut Command) -> bool {
    command.stdout(std::process::Stdio::null()).status().is_ok_and(|status| status.success())
}
