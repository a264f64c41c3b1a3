//! include/strait.h is what cbindgen makes of src/. `STRAIT_BLESS=1` writes it.

use std::path::Path;
use std::{env, fs};

#[test]
fn the_header_is_up_to_date() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut made = Vec::new();
    cbindgen::generate(crate_dir).expect("cbindgen understands the crate").write(&mut made);
    let path = crate_dir.join("include/strait.h");
    if env::var_os("STRAIT_BLESS").is_some() {
        fs::write(&path, &made).unwrap();
    }
    let committed = fs::read(&path).unwrap_or_default();
    assert!(
        committed == made,
        "{} is out of date: STRAIT_BLESS=1 cargo test -p strait-ffi --test header",
        path.display()
    );
}
