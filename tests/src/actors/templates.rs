//! Worlds of templates that are cloned.

use super::Outcome;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_client::{Checkpoint, Client, Kind, checkpoint};
use strait_protocol::handshake;
use strait_sys::socket;

const ROWS: usize = 4096;

/// Takes its time to build a table, says that it is ready, and answers questions about itself.
pub fn table(milliseconds: &str) -> Outcome<()> {
    let end = Instant::now() + Duration::from_millis(milliseconds.parse()?);
    let mut table = vec![1u64; ROWS];
    while Instant::now() < end {
        for at in 1..ROWS {
            table[at] = table[at].wrapping_mul(31).wrapping_add(table[at - 1]);
        }
    }
    let kind = checkpoint()?;
    // What the first world of all says before it is asked: that it has come as far as this.
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    client.send(host, if kind == Checkpoint::Clone { b"clone" } else { b"original" })?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, question, is_over) = (record.header(), record.payload().to_vec(), record.shutdown().is_some());
        if is_over {
            client.reply(&head, 0, b"")?;
            return Ok(());
        }
        if head.kind == Kind::Request {
            let answer = answer(&question, &mut table);
            client.reply(&head, 0, answer.as_bytes())?;
        }
    }
}

fn answer(question: &[u8], table: &mut [u64]) -> String {
    match question {
        b"sum" => table.iter().copied().fold(0, u64::wrapping_add).to_string(),
        b"change" => {
            table[0] = table[0].wrapping_add(1);
            String::new()
        }
        b"exit" => std::process::exit(3),
        b"pid" => std::process::id().to_string(),
        b"descriptors" => {
            let mut numbers: Vec<i32> = std::fs::read_dir("/proc/self/fd")
                .map(|all| all.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect())
                .unwrap_or_default();
            numbers.sort_unstable();
            format!("{numbers:?}")
        }
        b"processes" => std::fs::read_dir("/proc")
            .map(|all| all.flatten().filter(|entry| entry.file_name().to_string_lossy().parse::<u32>().is_ok()).count())
            .unwrap_or_default()
            .to_string(),
        b"address" => format!("{:p}", table.as_ptr()),
        b"write" => std::fs::write("/tmp/mine", b"x").is_ok().to_string(),
        b"read" => std::path::Path::new("/tmp/mine").exists().to_string(),
        _ => "?".into(),
    }
}

/// Comes to its checkpoint with something that a clone can't have, and goes on without.
pub fn unready(obstacle: &str) -> Outcome<()> {
    let mut kept: Vec<OwnedFd> = Vec::new();
    match obstacle {
        "thread" => drop(std::thread::spawn(|| std::thread::sleep(Duration::from_secs(3600)))),
        "socket" => kept.extend(<[OwnedFd; 2]>::from(socket::pair()?)),
        // Opens its connection, and never comes to a checkpoint.
        "open" => {}
        // Does neither.
        "never" => loop {
            std::thread::park();
        },
        other => return Err(other.into()),
    }
    let said = match obstacle {
        "open" => "opened".into(),
        _ => checkpoint().expect_err("an obstacle").to_string(),
    };
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    client.send(host, said.as_bytes())?;
    while client.receive(None)?.is_none_or(|record| record.shutdown().is_none()) {}
    Ok(())
}

/// Answers with an image that it made up.
pub fn forger(what: &str) -> Outcome<()> {
    use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, ftruncate, memfd_create};
    let connection = socket::adopt(handshake::WORLD_FD)?;
    let mut buffer = [0; handshake::MAX_BYTES];
    let (length, descriptors) = socket::receive(connection.as_fd(), &mut buffer)?;
    if handshake::wanted_image(&buffer[..length]).is_none() {
        // Its template isn't cloned: a world like any other, which just stays.
        drop(descriptors);
        loop {
            std::thread::park();
        }
    }
    let image = memfd_create("forged", MemfdFlags::ALLOW_SEALING | MemfdFlags::NOEXEC_SEAL)?;
    let bytes: Vec<u8> = (0..100_000u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect();
    rustix::io::write(&image, &bytes)?;
    let all = SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL;
    match what {
        "unsealed" => {}
        "large" => {
            ftruncate(&image, 1 << 40)?;
            fcntl_add_seals(&image, all)?;
        }
        _ => fcntl_add_seals(&image, all)?,
    }
    socket::send(connection.as_fd(), &handshake::Checkpoint::Made.encode(), &[image.as_fd()])?;
    loop {
        std::thread::park();
    }
}
