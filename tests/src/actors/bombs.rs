//! Worlds that take all they can of one thing, or of everything at once. None of them talks.

use super::Outcome;
use std::fs::File;
use std::io::Write;
use std::process::{Child, Command};
use std::time::Duration;
use strait_client::{Client, Kind};

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

/// A neighbour. Whenever it is asked it uses some of everything that bombs take, and answers what it couldn't, or nothing.
pub fn neighbour() -> Outcome<()> {
    let mut client = Client::open()?;
    let treasure: Vec<u8> = (0..MIB).map(|at| at as u8).collect();
    std::fs::write("/tmp/treasure", &treasure)?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.shutdown().is_some());
        if head.kind == Kind::Request {
            let missing = live(&treasure).err().map_or_else(String::new, |error| error.to_string());
            client.reply(&head, 0, missing.as_bytes())?;
        }
        if is_over {
            return Ok(());
        }
    }
}

/// Processes and threads, memory, room in a file system, descriptors; and what it had written before is as it was.
fn live(treasure: &[u8]) -> Outcome<()> {
    let children: Result<Vec<Child>, _> = (0..8).map(|_| Command::new("true").spawn()).collect();
    for mut child in children.map_err(|error| format!("processes: {error}"))? {
        child.wait()?.success().then_some(()).ok_or("processes: one failed")?;
    }
    let threads: Result<Vec<_>, _> = (0..32).map(|_| std::thread::Builder::new().spawn(|| ())).collect();
    threads.map_err(|error| format!("threads: {error}"))?.into_iter().for_each(|thread| drop(thread.join()));
    std::hint::black_box(vec![1_u8; 32 * MIB]);
    std::fs::write("/tmp/scratch", vec![2_u8; 4 * MIB]).map_err(|error| format!("disk: {error}"))?;
    let files: Result<Vec<File>, _> = (0..200).map(|_| File::open("/tmp/scratch")).collect();
    files.map_err(|error| format!("files: {error}"))?;
    match std::fs::read("/tmp/treasure")? == treasure {
        true => Ok(()),
        false => Err("what it had written is no more".into()),
    }
}
