//! libstrait, where C programs find it.

use crate::cargo;
use std::fs;
use std::path::{Path, PathBuf};

/// What a C program that links libstrait.a needs beside it.
const PRIVATE_LIBRARIES: &str = "-lpthread -ldl -lm";

/// Builds libstrait and puts it below `destdir`/`prefix`: `lib/libstrait.{so,a}`, `include/strait.h`, `lib/pkgconfig/strait.pc`.
pub fn install(root: &Path, prefix: &Path, destdir: &Path) -> Result<bool, String> {
    if !prefix.is_absolute() {
        return Err(format!("the prefix {} isn't absolute", prefix.display()));
    }
    let mut command = cargo(root);
    let status = command.args(["build", "--release", "--quiet", "--package", "strait-ffi"]).status();
    if !status.map_err(|error| format!("cargo: {error}"))?.success() {
        return Ok(false);
    }
    let built = std::env::var_os("CARGO_TARGET_DIR").map_or(root.join("target"), PathBuf::from).join("release");
    let below = destdir.join(prefix.strip_prefix("/").unwrap_or(prefix));
    for library in ["libstrait.so", "libstrait.a"] {
        put(
            &fs::read(built.join(library)).map_err(|error| format!("{library}: {error}"))?,
            &below.join("lib").join(library),
        )?;
    }
    let header = root.join("ffi/include/strait.h");
    put(
        &fs::read(&header).map_err(|error| format!("{}: {error}", header.display()))?,
        &below.join("include/strait.h"),
    )?;
    put(pkg_config(prefix).as_bytes(), &below.join("lib/pkgconfig/strait.pc"))?;
    println!("libstrait is in {}", below.display());
    Ok(true)
}

/// `strait.pc`; see `pkg-config(1)` and `pc(5)`.
fn pkg_config(prefix: &Path) -> String {
    format!(
        "prefix={}\nlibdir=${{prefix}}/lib\nincludedir=${{prefix}}/include\n\n\
         Name: strait\nDescription: Talking through strait, a shared-memory message broker for jailed worlds\n\
         Version: {}\nLibs: -L${{libdir}} -lstrait\nLibs.private: {PRIVATE_LIBRARIES}\nCflags: -I${{includedir}}\n",
        prefix.display(),
        env!("CARGO_PKG_VERSION"),
    )
}

/// Writes a file under another name first: a program that runs with the old library keeps it.
fn put(bytes: &[u8], path: &Path) -> Result<(), String> {
    let wrong = |error: std::io::Error| format!("{}: {error}", path.display());
    let fresh = path.with_extension("new");
    fs::create_dir_all(path.parent().unwrap_or(path)).map_err(wrong)?;
    fs::write(&fresh, bytes).map_err(wrong)?;
    fs::rename(&fresh, path).map_err(wrong)
}
