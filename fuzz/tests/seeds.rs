//! The seeds, and whatever was once found, through the bodies of the targets.

use std::fs;
use std::path::Path;

fn run(target: &str, body: fn(&[u8])) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("seeds").join(target);
    let entries = fs::read_dir(&dir).unwrap_or_else(|error| panic!("{}: {error}", dir.display()));
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        println!("{}", path.display());
        body(&fs::read(path).unwrap());
        count += 1;
    }
    assert!(count > 0, "no seeds in {}", dir.display());
}

#[test]
fn switch() {
    run("switch", strait_fuzz::switch);
}

#[test]
fn record_stream() {
    run("record_stream", strait_fuzz::record_stream);
}

#[test]
fn handshake_control() {
    run("handshake_control", strait_fuzz::handshake_control);
}

#[test]
fn image_index() {
    run("image_index", strait_fuzz::image_index);
}

#[test]
fn packed() {
    run("packed", strait_fuzz::packed);
}
