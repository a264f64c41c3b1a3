//! Where a run's sockets, logs and configurations are, and that nothing of them stays.

use crate::Outcome;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};

static RUNS: AtomicU32 = AtomicU32::new(0);

/// The beginning of every name that this process gives to something outside its own memory.
pub fn tag() -> String {
    format!("strait-bench-{}", std::process::id())
}

fn root() -> PathBuf {
    std::env::temp_dir().join(tag())
}

/// The folder of one run, with everything in it gone at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    pub fn new() -> Outcome<Self> {
        let path = root().join(RUNS.fetch_add(1, Ordering::Relaxed).to_string());
        fs::create_dir_all(&path).map_err(|error| format!("{}: {error}", path.display()))?;
        Ok(Self(path))
    }

    pub fn path(&self) -> &Path {
        &self.0
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
        // Succeeds with the last run's.
        let _ = fs::remove_dir(root());
        sweep_shared_memory();
    }
}

/// Leaves nothing behind, whichever run is under way.
pub fn remove_all() {
    let _ = fs::remove_dir_all(root());
    sweep_shared_memory();
}

/// Shared memory has names outside every folder; ours begin with the tag. A party that was killed left its own.
fn sweep_shared_memory() {
    let Ok(names) = fs::read_dir("/dev/shm") else { return };
    let tag = tag();
    let ours = names.flatten().filter(|entry| entry.file_name().to_string_lossy().starts_with(&tag));
    ours.for_each(|entry| drop(fs::remove_file(entry.path())));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_goes_with_what_is_in_it() {
        let folder = Folder::new().unwrap();
        let path = folder.path().to_owned();
        fs::write(path.join("log"), "x").unwrap();
        drop(folder);
        assert!(!path.exists());
    }
}
