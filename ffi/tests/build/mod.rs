//! Building a C program against strait.h and libstrait, for tests here and in other packages of the workspace:
//!
//! ```ignore
//! #[path = "../../ffi/tests/build/mod.rs"]
//! mod build;
//! let echo = build::c_program("examples/world.c", build::Link::Static);
//! ```
//!
//! By hand it is two lines: see the head of examples/world.c.

#![allow(dead_code, clippy::allow_attributes, reason = "each test takes what it needs of this")]

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs, thread};

/// How the library gets into the program.
#[derive(Clone, Copy, Debug)]
pub enum Link {
    /// Library and libc inside: runs in a jail that has no files.
    Static,
    /// libstrait.a inside, libc shared: what most programs do.
    Archive,
    /// libstrait.so, found where it was built.
    Shared,
}

/// Compiles a file of the ffi crate, in the profile of the running test, and says where the program is. Panics with
/// the compiler's words if there are any: warnings are errors.
pub fn c_program(source: &str, link: Link) -> PathBuf {
    let (crate_dir, library) = (crate_dir(), libraries());
    let stem = Path::new(source).file_stem().and_then(OsStr::to_str).unwrap();
    let program = library.join("deps").join(format!("c-{stem}-{link:?}"));
    // Tests run side by side: each builds a file of its own, and the last one's takes the name, whole.
    let fresh = program.with_extension(format!("{}-{:?}", std::process::id(), thread::current().id()));
    let mut cc = Command::new(env::var_os("CC").unwrap_or("cc".into()));
    cc.args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-I"]).arg(crate_dir.join("include"));
    cc.arg(crate_dir.join(source)).arg("-o").arg(&fresh);
    match link {
        Link::Static => cc.arg("-static").arg(library.join("libstrait.a")),
        Link::Archive => cc.arg(library.join("libstrait.a")),
        Link::Shared => cc.arg("-L").arg(library).arg("-lstrait").arg(rpath(library)),
    };
    run(cc.args(["-lpthread", "-ldl", "-lm"]));
    fs::rename(&fresh, &program).unwrap();
    program
}

/// The directory with libstrait.a and libstrait.so: the one that STRAIT_LIBRARIES names (for tests that run as a user who has no
/// cargo), or else the tests' own. `cargo test` builds neither, so this does; cargo holds no lock any more when tests run.
pub fn libraries() -> &'static Path {
    static BUILT: OnceLock<PathBuf> = OnceLock::new();
    BUILT.get_or_init(|| {
        if let Some(dir) = env::var_os("STRAIT_LIBRARIES") {
            return dir.into();
        }
        // <target>/<profile>/deps/<this test>
        let test = env::current_exe().unwrap();
        let profile_dir = test.parent().and_then(Path::parent).unwrap();
        let profile = match profile_dir.file_name().and_then(OsStr::to_str).unwrap() {
            "debug" => "dev",
            other => other,
        };
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or("cargo".into()));
        cargo.args(["build", "--quiet", "--package", "strait-ffi", "--profile", profile, "--target-dir"]);
        run(cargo.arg(profile_dir.parent().unwrap()).current_dir(crate_dir()));
        profile_dir.to_owned()
    })
}

/// The ffi crate, from whichever package of the workspace this is compiled into.
fn crate_dir() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../ffi")
}

fn rpath(library: &Path) -> std::ffi::OsString {
    let mut argument = std::ffi::OsString::from("-Wl,-rpath,");
    argument.push(library);
    argument
}

fn run(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
}
