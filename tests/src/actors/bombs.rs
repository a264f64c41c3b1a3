//! Worlds that take all they can of one thing, or of everything at once. None of them talks.

use super::Outcome;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;

const MIB: usize = 1 << 20;
/// More than the processors of any machine that this is measured on.
const BURNERS: usize = 8;

/// Never returns; the kernel may end it.
pub fn bomb(kind: &str) -> Outcome<()> {
    match kind {
        "burn" => burn(),
        "fork" => loop {
            // Each of them does the same.
            again("fork").map_or_else(|_| std::thread::yield_now(), drop);
        },
        "memory" => loop {
            std::mem::forget(vec![1_u8; MIB]);
        },
        "disk" => loop {
            fill("/tmp/a").and_then(|()| fill("/tmp/b")).or_else(|_| std::fs::remove_file("/tmp/a"))?;
        },
        "files" => loop {
            drop(std::iter::from_fn(|| File::open("/dev/null").ok()).collect::<Vec<_>>());
        },
        "all" => everything(),
        _ => Err("burn, fork, memory, disk, files or all".into()),
    }
}

fn burn() -> ! {
    let spin = || loop {
        std::hint::spin_loop();
    };
    (1..BURNERS).for_each(|_| drop(std::thread::spawn(spin)));
    spin()
}

/// Until there is no more room.
fn fill(path: &str) -> std::io::Result<()> {
    let mut file = File::create(path)?;
    loop {
        file.write_all(&[1; 64 << 10])?;
    }
}

fn again(kind: &str) -> std::io::Result<Child> {
    Command::new("/world").args(["bomb", kind]).spawn()
}

/// One of each, again and again: some are killed for what they take.
fn everything() -> ! {
    let kinds = ["burn", "memory", "disk", "files", "fork"];
    let mut children = kinds.map(|kind| (kind, again(kind).ok()));
    loop {
        std::thread::sleep(Duration::from_millis(10));
        for (kind, child) in &mut children {
            let is_gone = child.as_mut().is_none_or(|child| child.try_wait().is_ok_and(|end| end.is_some()));
            if is_gone {
                *child = again(kind).ok();
            }
        }
    }
}
