//! Builds the restorer: a program of its own, without a C library, at addresses of its own, which strait carries inside.
//!
//! Cargo can't build a program for another (artifact dependencies aren't stable), so this asks the compiler itself: two files, no dependency
//! but `core`, half a second.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What every step has in common: no unwinding, small, independent of where it runs.
const OPTIONS: [&str; 8] = [
    "--edition=2024",
    "-Cpanic=abort",
    "-Copt-level=2",
    "-Crelocation-model=pic",
    "-Cstrip=symbols",
    "-Cdebuginfo=0",
    "-Cforce-unwind-tables=no",
    "-Clto=no",
];

fn main() {
    for path in ["build.rs", "restorer", "../image/src"] {
        println!("cargo::rerun-if-changed={path}");
    }
    let out = PathBuf::from(var("OUT_DIR"));
    // Interpreters run no assembly, and other architectures have no restorer yet: templates are started there, not cloned.
    let is_supported = var("CARGO_CFG_TARGET_ARCH") == "x86_64"
        && var("CARGO_CFG_TARGET_OS") == "linux"
        && env::var_os("CARGO_CFG_MIRI").is_none();
    match is_supported {
        true => build(&out),
        false => std::fs::write(out.join("restorer"), []).expect("OUT_DIR is writable"),
    }
}

fn build(out: &Path) {
    let library = out.join("libstrait_image.rlib");
    let mut rustc = compiler();
    rustc.args(["--crate-name=strait_image", "--crate-type=rlib", "../image/src/lib.rs", "-o"]).arg(&library);
    run(&mut rustc);
    let mut rustc = compiler();
    rustc.args(["--crate-name=restorer", "--crate-type=bin", "restorer/main.rs", "-o"]).arg(out.join("restorer"));
    rustc.arg("--extern").arg(format!("strait_image={}", library.display()));
    for argument in ["-nostartfiles", "-nostdlib", "-static", "-no-pie", "-Wl,--build-id=none", "-Wl,-z,noexecstack"] {
        rustc.arg(format!("-Clink-arg={argument}"));
    }
    rustc.arg("-Clink-arg=-Wl,-T,restorer/link.ld");
    run(&mut rustc);
}

fn compiler() -> Command {
    let mut rustc = Command::new(var("RUSTC"));
    rustc.args(OPTIONS).arg("--target").arg(var("TARGET"));
    rustc
}

fn run(command: &mut Command) {
    let status = command.status().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(status.success(), "{command:?}: {status}");
}

fn var(name: &str) -> String {
    env::var(name).unwrap_or_else(|error| panic!("{name}: {error}"))
}
