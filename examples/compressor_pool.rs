//! A pool of compressors behind one address: whoever has something to compress sends it to `compressor` and knows no more than that.
//!
//! ```sh
//! cargo run --release -p strait-examples --example compressor_pool -- [FILE]
//! ```
//!
//! The file (by default the beginning of this program) is cut into chunks, each of which becomes a member of one gzip file. Compressors come
//! when chunks wait, up to four of them, each gets the next chunk when it is free, and they are put away when nothing has come for a while. Chunk 7
//! crashes whoever has it first; since a chunk may be compressed twice, another one gets it, and nobody else notices.

use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;
use std::collections::{BTreeMap, HashMap};
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use strait_broker::{Client, Config, Group, Host, Kind, Reason, WorldId};
use strait_examples::{Outcome, actor, argument, role};

const CHUNK_BYTES: usize = 32 * 1024;
/// Of this program's own file, which is large where it is built for debugging.
const MAX_BYTES: usize = 4 << 20;
const MEMBERS: u32 = 4;
/// Chunks that are asked for and not answered: one for each member, and as many that wait.
const IN_FLIGHT: usize = 2 * MEMBERS as usize;
const PATIENCE: Duration = Duration::from_secs(60);
/// Crashes its first compressor.
const POISON: u64 = 7;

fn main() -> Outcome {
    strait_broker::init();
    match role() {
        Some(_) => compressor(),
        None => host(),
    }
}

// --- the one who has something to compress ---

fn host() -> Outcome {
    let path = argument(1, std::env::current_exe()?)?;
    let mut input = Vec::new();
    std::fs::File::open(&path)?.take(MAX_BYTES as u64).read_to_end(&mut input)?;
    let mut host = Host::start(&config()?)?;
    let client = host.client();
    let pool = client.resolve("compressor")?;
    let Work { chunks, done, .. } = compress(client, pool, &input)?;
    let file = chunks.values().flatten().copied().collect::<Vec<u8>>();
    let mut whole = Vec::new();
    MultiGzDecoder::new(&file[..]).read_to_end(&mut whole)?;
    if whole != input {
        return Err("what was compressed is not what comes out".into());
    }
    println!(
        "{} KiB in {} chunks became {} KiB, and again the same",
        input.len() >> 10,
        chunks.len(),
        file.len() >> 10
    );
    for (world, chunks) in done {
        println!("compressor {world}: {chunks} chunks");
    }
    wait_until_idle(client)?;
    println!("All compressors are put away.");
    Ok(())
}

fn config() -> Outcome<Config> {
    let mut group = Group::new("compressor");
    (group.max, group.idle_ms) = (MEMBERS, 500);
    let mut world = actor(&["compressor"], &[])?;
    world.limits.memory = Some(64 << 20);
    let name = || "compressor".to_owned();
    Ok(Config { templates: [(name(), world)].into(), groups: [(name(), group)].into(), ..Config::default() })
}

/// What has been compressed.
#[derive(Default)]
struct Work {
    /// Chunks that are asked for, by correlation.
    asked: HashMap<u64, u64>,
    /// In order.
    chunks: BTreeMap<u64, Vec<u8>>,
    /// How many each world did.
    done: BTreeMap<WorldId, u32>,
}

fn compress(client: &mut Client, pool: WorldId, input: &[u8]) -> Outcome<Work> {
    let mut work = Work::default();
    let mut left = input.chunks(CHUNK_BYTES).zip(0u64..).peekable();
    while left.peek().is_some() || !work.asked.is_empty() {
        if work.asked.len() < IN_FLIGHT
            && let Some((chunk, index)) = left.next()
        {
            // The index goes with it, so that there is a chunk to stumble over.
            let payload = [&index.to_le_bytes()[..], chunk].concat();
            work.asked.insert(client.start_repeatable(pool, &payload, PATIENCE)?, index);
        } else {
            take_answer(client, &mut work)?;
        }
    }
    Ok(work)
}

fn take_answer(client: &mut Client, work: &mut Work) -> Outcome {
    let record = client.receive(Some(PATIENCE))?.ok_or("no answer in time")?;
    let header = record.header();
    let index = work.asked.remove(&header.correlation).ok_or("an answer to no question")?;
    if header.kind == Kind::Notice {
        return Err(format!("chunk {index} was not compressed: {:?}", Reason::from_code(header.code)).into());
    }
    work.chunks.insert(index, record.payload().to_vec());
    *work.done.entry(header.source).or_default() += 1;
    Ok(())
}

fn wait_until_idle(client: &mut Client) -> Outcome {
    let end = Instant::now() + PATIENCE;
    while client.groups()?.iter().any(|group| !group.members.is_empty()) {
        if Instant::now() > end {
            return Err("the compressors stay although they have nothing to do".into());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}

// --- the ones who compress ---

fn compressor() -> Outcome {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, is_end, is_repeated) = (record.header(), record.shutdown().is_some(), record.is_repeated());
        if is_end {
            client.reply(&header, 0, b"")?;
            return Ok(());
        }
        if header.kind == Kind::Request {
            let (index, chunk) = record.payload().split_first_chunk().ok_or("a chunk without an index")?;
            if u64::from_le_bytes(*index) == POISON && !is_repeated {
                std::process::abort();
            }
            let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
            encoder.write_all(chunk)?;
            let compressed = encoder.finish()?;
            client.reply(&header, 0, &compressed)?;
        }
    }
}
