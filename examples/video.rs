//! A video pipeline: raw frames of 1920x1080 from a camera world through an encoder world to a writer world, which alone may
//! write a directory of the host.
//!
//! ```sh
//! cargo run --release -p strait-examples --example video [FRAMES] [DIR]
//! ```
//!
//! A raw frame has 6 MiB. It goes as a parcel: a memory file that is sealed once it is written, so that the encoder reads what nobody
//! can change any more, without a copy. An encoded frame goes as a message, in pieces. Every frame is read back from the files and compared.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use strait_broker::{Client, Config, Host, Kind, WorldId};
use strait_examples::{Outcome, actor, argument, role};

const WIDTH: usize = 1920;
const HEIGHT: usize = 1080;
const FRAME_BYTES: usize = WIDTH * HEIGHT * 3;
/// Raw frames on their way: what the camera is ahead of the encoder at most.
const WINDOW: u64 = 4;
/// Bytes of parcels that a world may hold: of one sender it holds a part of that at most.
const PARCELS: u64 = 256 << 20;
const LONG: Duration = Duration::from_secs(60);

fn main() -> Outcome {
    strait_broker::init();
    let role = role().unwrap_or_default();
    match role.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["camera", frames] => camera(frames.parse()?),
        ["encoder"] => encoder(),
        ["writer"] => writer(),
        _ => direct(argument(1, 120)?, &argument(2, std::env::temp_dir().join("strait-video"))?),
    }
}

/// Builds the pipeline from its end to its beginning, waits until the last frame is written, and checks all of them.
fn direct(frames: u64, dir: &Path) -> Outcome {
    fs::create_dir_all(dir)?;
    let dir = fs::canonicalize(dir)?;
    let mut host = Host::start(&Config::default())?;
    let mut writer = actor(&["writer"], &["host"])?;
    writer.write = vec![format!("{}:/film", dir.display())];
    host.spawn("writer", &writer)?;
    let mut encoder = actor(&["encoder"], &["writer"])?;
    encoder.slice = 1 << 20;
    encoder.parcels = PARCELS;
    host.spawn("encoder", &encoder)?;
    let start = Instant::now();
    let mut camera = actor(&["camera", &frames.to_string()], &["encoder"])?;
    camera.parcels = PARCELS;
    host.spawn("camera", &camera)?;
    let mut bytes = 0;
    for _ in 0..frames {
        let record = host.client().receive(Some(LONG))?.ok_or("the pipeline stands still")?;
        bytes += u64::from_le_bytes(record.payload().try_into()?);
    }
    let seconds = start.elapsed().as_secs_f64();
    host.stop(LONG, "the film is over")?;
    verify(frames, &dir)?;
    let raw = frames * FRAME_BYTES as u64;
    println!(
        "{frames} frames of {WIDTH}x{HEIGHT} in {seconds:.2} s: {:.1} frames/s, {:.0} MB/s raw, encoded to {:.1} %; each verified in {}",
        frames as f64 / seconds,
        raw as f64 / seconds / 1e6,
        bytes as f64 / raw as f64 * 100.0,
        dir.display()
    );
    Ok(())
}

/// A bar that moves over a gradient.
fn draw(number: u64, frame: &mut [u8]) {
    let bar = number as usize * 16 % WIDTH;
    for (y, line) in frame.chunks_exact_mut(WIDTH * 3).enumerate() {
        for (x, pixel) in line.chunks_exact_mut(3).enumerate() {
            let is_bar = (bar..bar + 64).contains(&x);
            pixel.copy_from_slice(&if is_bar {
                [255, 255, 255]
            } else {
                [(x >> 3) as u8, (y >> 2) as u8, number as u8]
            });
        }
    }
}

fn camera(frames: u64) -> Outcome {
    let mut client = Client::open()?;
    let encoder = client.resolve("encoder")?;
    let mut shown = 0;
    for number in 0..frames {
        let mut parcel = client.new_parcel(FRAME_BYTES)?;
        draw(number, &mut parcel);
        let parcel = parcel.seal()?;
        let mut draft = client.draft_request(encoder, 0, LONG)?;
        draft.attach(&parcel);
        draft.header_mut().tag = number;
        draft.send()?;
        if number - shown >= WINDOW {
            taken(&mut client)?;
            shown += 1;
        }
    }
    for _ in shown..frames {
        taken(&mut client)?;
    }
    Ok(())
}

/// Waits until the encoder has taken a frame.
fn taken(client: &mut Client) -> Outcome {
    let record = client.receive(Some(LONG))?.ok_or("the encoder takes no frame")?;
    record.notice().map_or(Ok(()), |reason| Err(reason.into()))
}

fn encoder() -> Outcome {
    let mut client = Client::open()?;
    let writer = client.resolve("writer")?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let header = record.header();
        if record.shutdown().is_some() {
            client.reply(&header, 0, b"")?;
            return Ok(());
        }
        let Some(parcel) = record.parcel().cloned() else { continue };
        let encoded = qoi::encode_to_vec(parcel.bytes(), WIDTH as u32, HEIGHT as u32)?;
        drop(parcel);
        client.reply(&header, 0, b"")?;
        send_frame(&mut client, writer, header.tag, &encoded)?;
    }
}

fn send_frame(client: &mut Client, writer: WorldId, number: u64, encoded: &[u8]) -> Outcome {
    use std::io::Write;
    let mut stream = client.writer(writer);
    stream.header_mut().tag = number;
    stream.write_all(encoded)?;
    stream.finish()?;
    Ok(())
}

fn writer() -> Outcome {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, bytes) = (record.header(), record.payload().len() as u64);
        if record.shutdown().is_some() {
            client.reply(&header, 0, b"")?;
            return Ok(());
        }
        if header.kind == Kind::Message {
            fs::write(film(Path::new("/film"), header.tag), record.payload())?;
            client.send(host, &bytes.to_le_bytes())?;
        }
    }
}

fn film(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.qoi"))
}

fn verify(frames: u64, dir: &Path) -> Outcome {
    let mut expected = vec![0; FRAME_BYTES];
    for number in 0..frames {
        draw(number, &mut expected);
        let (_, shown) = qoi::decode_to_vec(fs::read(film(dir, number))?)?;
        if shown != expected {
            return Err(format!("frame {number} isn't what the camera saw").into());
        }
    }
    Ok(())
}
