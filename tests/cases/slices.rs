//! A world can't write to its inbox, nor become a second writer of anything: the kernel refuses each way by itself.

use strait_tests::Stage;
use strait_tests::attack::{Attack, Try};

const EPERM: Option<i32> = Some(1);
const EBUSY: Option<i32> = Some(16);

#[test]
fn the_kernel_refuses_every_second_writer() {
    let mut stage = Stage::new();
    let rogue = stage.add("rogue", &["rogue"], &[]);
    let order = serde_json::to_vec(&Attack::Slices).unwrap();
    let report: Vec<(String, Vec<Try>)> = serde_json::from_slice(&stage.ask(rogue, &order)).unwrap();
    for (file, tries) in &report {
        for Try { call, error } in tries {
            println!("{file:<10} {call:<10} {error:?}");
        }
    }
    let expected = |call: &str| match call {
        // A shared read-only mapping of a sealed file can't become writable: VM_MAYWRITE was taken from it.
        "mprotect" => Some(13),
        _ => EPERM,
    };
    for (file, tries) in report {
        for Try { call, error } in tries {
            match file.as_str() {
                // The positive control: on a file that isn't sealed everything works, but sealing it against writes while it is mapped.
                "unsealed" => assert!(
                    error.is_none() || call == "unseal" && error == EBUSY,
                    "{call} on an unsealed file: {error:?}"
                ),
                _ => assert_eq!(error, expected(&call), "{call} on the {file}"),
            }
        }
    }
}

#[test]
fn a_world_has_no_slice_but_its_own() {
    let mut stage = Stage::new();
    let secret = b"a secret between two others 0x5eed";
    let rogue = stage.add("rogue", &["rogue"], &[]);
    let echo = stage.add("echo", &["echo"], &[]);
    for _ in 0..100 {
        assert_eq!(stage.ask(echo, secret), secret);
    }
    let mut search = |needle: &[u8]| {
        let order = serde_json::to_vec(&Attack::Search { needle: needle.to_vec() }).unwrap();
        String::from_utf8(stage.ask(rogue, &order)).unwrap().parse::<usize>().unwrap()
    };
    assert_eq!(search(secret), 0, "a record for another world lies in the rogue's memory");
    // The positive control: what was addressed to it is found, in both places where the ring is mapped.
    assert!(search(br#"{"Search""#) >= 2);
}
