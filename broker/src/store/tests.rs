//! The files of the store, without its process: what is durable when, and what is found again.

use super::desk::{Came, Desk, Outgoing};
use super::label::{BYTES, Damage};
use super::shelf::{INCOMING, Newest};
use super::shelves::{NotKept, Shelves};
use rustix::fs::{Mode, OFlags, open};
use std::fs;
use std::io::{Seek, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use strait_protocol::control::Keeping;
use strait_protocol::store::Operation;
use strait_protocol::{Header, Kind, Name, WorldId};

const WORLD: u64 = 16;

/// A directory of this test alone, removed with it.
struct Place(PathBuf);

impl Place {
    fn new(test: &str) -> Self {
        let path = std::env::temp_dir().join(format!("strait-store-{test}-{}", std::process::id()));
        fs::create_dir(&path).unwrap();
        Self(path)
    }

    fn shelves(&self) -> Shelves {
        self.bounded(u64::MAX)
    }

    fn bounded(&self, most_bytes: u64) -> Shelves {
        Shelves::open(open_directory(&self.0), most_bytes).unwrap()
    }

    fn file(&self, version: u64) -> PathBuf {
        self.0.join(format!("a+b/{version:020}"))
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn open_directory(path: &Path) -> OwnedFd {
    open(path, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap()
}

fn keeping(versions: u32) -> Keeping {
    Keeping { name: "a/b".into(), versions, bytes: 1 << 20, share_bytes: u64::MAX, refusal: None }
}

fn save(shelves: &mut Shelves, versions: u32, state: &[u8]) -> u64 {
    let mut upload = shelves.begin(WORLD, keeping(versions), state.len() as u64).unwrap();
    state.chunks(1000).for_each(|part| upload.append(part).unwrap());
    shelves.commit(&upload).unwrap().version
}

fn name() -> Name {
    "a/b".parse().unwrap()
}

/// The newest whole version with its state, and the newest damaged one before it.
fn newest(shelves: &Shelves) -> (Option<(u64, Vec<u8>)>, Option<u64>) {
    let Some(shelf) = shelves.find(&name()).unwrap() else { return (None, None) };
    match shelf.newest().unwrap() {
        Newest::Nothing => (None, None),
        Newest::Damaged(version, _) => (None, Some(version)),
        Newest::Whole { file, label, damaged } => {
            let mut state = vec![0; label.bytes as usize];
            rustix::io::pread(&file, &mut state[..], BYTES as u64).unwrap();
            (Some((label.version, state)), damaged)
        }
    }
}

#[test]
fn what_was_saved_is_found_after_a_start() {
    let place = Place::new("found");
    assert_eq!(newest(&place.shelves()), (None, None));
    for (version, state) in [(1, vec![7; 5000]), (2, Vec::new()), (3, b"three".to_vec())] {
        assert_eq!(save(&mut place.shelves(), 3, &state), version);
        assert_eq!(newest(&place.shelves()), (Some((version, state)), None));
    }
}

#[test]
fn old_versions_go_when_the_new_one_is_safe() {
    let place = Place::new("prune");
    let mut shelves = place.shelves();
    for version in 1..=5 {
        assert_eq!(save(&mut shelves, 2, b"state"), version);
    }
    assert_eq!(shelves.find(&name()).unwrap().unwrap().versions().unwrap(), [4, 5]);
    // Fewer are kept from now on: a version that is gone is never given twice.
    assert_eq!(save(&mut shelves, 1, b"state"), 6);
    assert_eq!(shelves.find(&name()).unwrap().unwrap().versions().unwrap(), [6]);
    assert_eq!(shelves.used_bytes(), place.shelves().used_bytes(), "counted as it is found");
}

#[test]
fn every_damage_is_found_and_the_one_before_is_used() {
    type Harm = fn(&Path);
    let harms: [(Harm, &str); 6] = [
        (|path| flip(path, 0), "it starts with something else"),
        (|path| flip(path, 8), "format"),
        (|path| flip(path, BYTES as u64 + 1234), "its checksum is wrong"),
        (|path| flip(path, 32), "its checksum is wrong"),
        (|path| set_length(path, 3000), "it has 3000 bytes, and should have 5064"),
        (|path| set_length(path, 0), "it has 0 bytes, and should have 64"),
    ];
    for (harm, words) in harms {
        let place = Place::new("damage");
        save(&mut place.shelves(), 3, b"older");
        save(&mut place.shelves(), 3, &[9; 5000]);
        assert_eq!(newest(&place.shelves()), (Some((2, vec![9; 5000])), None), "before: {words}");
        harm(&place.file(2));
        assert_eq!(newest(&place.shelves()), (Some((1, b"older".to_vec())), Some(2)), "{words}");
        let rows = place.shelves().find(&name()).unwrap().unwrap().list().unwrap();
        assert!(rows[0].damage.is_empty() && rows[1].damage.contains(words), "{words}: {rows:?}");
        // The next one is whole again, and has a number of its own.
        assert_eq!(save(&mut place.shelves(), 3, b"newer"), 3);
        assert_eq!(newest(&place.shelves()), (Some((3, b"newer".to_vec())), None));
    }
}

fn flip(path: &Path, at: u64) {
    let mut bytes = fs::read(path).unwrap();
    bytes[at as usize] ^= 0x40;
    let mut file = fs::OpenOptions::new().write(true).open(path).unwrap();
    file.rewind().unwrap();
    file.write_all(&bytes).unwrap();
}

fn set_length(path: &Path, bytes: u64) {
    fs::OpenOptions::new().write(true).open(path).unwrap().set_len(bytes).unwrap();
}

#[test]
fn one_version_in_the_place_of_another_is_noticed() {
    let place = Place::new("swap");
    save(&mut place.shelves(), 3, b"one");
    fs::copy(place.file(1), place.file(2)).unwrap();
    assert_eq!(newest(&place.shelves()), (Some((1, b"one".to_vec())), Some(2)));
    let shelf = place.shelves().find(&name()).unwrap().unwrap();
    assert_eq!(shelf.list().unwrap()[1].damage, Damage::Version(1).to_string());
}

#[test]
fn what_was_half_written_is_gone_at_the_next_start() {
    let place = Place::new("half");
    let mut shelves = place.shelves();
    save(&mut shelves, 3, b"whole");
    let mut upload = shelves.begin(WORLD, keeping(3), 5000).unwrap();
    upload.append(&[1; 2500]).unwrap();
    let half = place.0.join(format!("a+b/{INCOMING}{WORLD}.2"));
    assert!(half.exists());
    assert_eq!(newest(&place.shelves()), (Some((1, b"whole".to_vec())), None));
    assert!(!half.exists());
}

fn refused<T>(result: Result<T, NotKept>) -> String {
    result.map(drop).unwrap_err().to_string()
}

#[test]
fn no_more_is_kept_than_is_allowed() {
    let place = Place::new("quota");
    let mut shelves = place.bounded(64 * 1024);
    let mut upload = shelves.begin(WORLD, keeping(1), 100).unwrap();
    upload.append(&[1; 100]).unwrap();
    assert!(refused(upload.append(&[1])).contains("101 bytes or more, and 100"));
    shelves.abandon(&upload);
    assert!(refused(shelves.begin(WORLD, keeping(1), (1 << 20) + 1)).contains("`snapshot_bytes`"));
    assert!(refused(shelves.begin(WORLD, keeping(0), 1)).contains("`snapshots = 1`"));
    assert!(refused(shelves.begin(WORLD, keeping(1), 64 * 1024)).contains("`state_bytes`"));
    // One that is on its way counts, until it is given up.
    let large = shelves.begin(WORLD, keeping(1), 40 * 1024).unwrap();
    assert!(refused(shelves.begin(WORLD + 1, keeping(1), 40 * 1024)).contains("`state_bytes`"));
    shelves.abandon(&large);
    let again = shelves.begin(WORLD + 1, keeping(1), 40 * 1024).unwrap();
    shelves.abandon(&again);
    assert_eq!(shelves.used_bytes(), place.shelves().used_bytes(), "what was set aside is given back");
}

#[test]
fn what_begins_alike_has_one_share() {
    let place = Place::new("share");
    let mut shelves = place.shelves();
    let of = |name: &str| Keeping { name: name.into(), share_bytes: 64 * 1024, ..keeping(1) };
    for name in ["worker", "worker/1", "other/1"] {
        let mut upload = shelves.begin(WORLD, of(name), 20 * 1024).unwrap();
        upload.append(&[1; 20 * 1024]).unwrap();
        shelves.commit(&upload).unwrap();
    }
    let why = refused(shelves.begin(WORLD, of("worker/2"), 20 * 1024));
    assert!(why.starts_with("the states of `worker` and of all `worker/...` take") && why.contains("65536"), "{why}");
    assert!(refused(place.shelves().begin(WORLD, of("worker/2"), 20 * 1024)).contains("share"), "after a start, too");
    // Others have theirs, and what is removed makes room.
    let other = shelves.begin(WORLD, of("workers"), 20 * 1024).unwrap();
    shelves.abandon(&other);
    let cleared = ["worker/1", "worker/1", "nobody"].map(|name| shelves.clear(&name.parse().unwrap()).unwrap());
    assert_eq!(cleared, [1, 0, 0]);
    shelves.begin(WORLD, of("worker/2"), 20 * 1024).unwrap();
    let refusal = Some("a newer version is in force".into());
    assert!(refused(shelves.begin(WORLD, Keeping { refusal, ..of("a") }, 1)).contains("newer version"));
}

#[test]
fn a_name_is_one_directory_of_its_own() {
    let place = Place::new("names");
    let mut shelves = place.shelves();
    let longest = "x".repeat(Name::MAX_BYTES);
    let names = ["a/b", "a.b", "a_b", "a-b", "a/../../b", "a/", "a//", "a..", "0", "incoming.16", &longest];
    for (nth, name) in names.iter().enumerate() {
        let keeping = Keeping { name: (*name).into(), ..keeping(1) };
        let mut upload = shelves.begin(WORLD, keeping, 100).unwrap();
        upload.append(name.as_bytes()).unwrap();
        assert_eq!(shelves.commit(&upload).unwrap().version, 1, "{name} is nobody else's");
        assert_eq!(fs::read_dir(&place.0).unwrap().count(), nth + 1, "{name} is in the directory");
    }
    for name in ["..", ".", "", "/", "../b", "a\0b"] {
        assert!(shelves.begin(WORLD, Keeping { name: name.into(), ..keeping(1) }, 1).is_err(), "{name:?}");
    }
}

/// They come from two senders, and so in either order: a world that is woken at once waited for its state in vain.
#[test]
fn the_next_life_is_answered_though_the_word_of_the_last_ones_end_comes_late() {
    let place = Place::new("lives");
    save(&mut place.shelves(), 1, b"state");
    let (world, load) = (WorldId(WORLD), Operation::Load as u16);
    for ends_late in [false, true] {
        let mut desk = Desk::new(Ok(place.shelves()));
        let header = Header { source: world, code: load, ..Header::new(Kind::Request, WorldId::STORE, 0) };
        desk.take(&Came { header, payload: &[], piece: None, parcel: None });
        if ends_late {
            desk.end_life(world);
        }
        desk.take_keeping(world, Ok(keeping(1)));
        assert!(desk.work(), "late: {ends_late}");
        let is_loaded = |outgoing: &Outgoing| matches!(outgoing, Outgoing::Reply { code: 0, .. });
        assert!(desk.outgoing.iter().any(is_loaded), "late: {ends_late}");
    }
}
