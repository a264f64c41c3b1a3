//! The honest worlds of the demo: a client with something to compress, and a compressor.

use super::Outcome;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{Read, Write};
use std::time::{Duration, Instant};
use strait_client::{Client, Error, Kind, WorldId};

/// What the client reports to the host.
#[derive(Debug, Serialize, Deserialize)]
pub enum Report {
    /// So many bytes of the file have been sent.
    Progress(u64),
    /// Everything is done.
    Done(Box<Done>),
}

/// What the client saw.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    pub compressor: String,
    /// From the request for a compressor to its first answer.
    pub first_answer_us: u64,
    pub bytes: u64,
    pub compressed: u64,
    pub stream_ms: u64,
    pub hash_sent: String,
    pub hash_received: String,
    pub acknowledged: bool,
    pub killed: bool,
    pub stop_ms: u32,
}

/// Tags of the stream between client and compressor.
const DATA: u64 = 1;
const END: u64 = 2;
/// How long the compressor has to end.
pub const STOP_DEADLINE: Duration = Duration::from_secs(2);
/// Bytes per record: a few fit into the ring at a time.
const PIECE: usize = 16 * 1024;
const LONG: Duration = Duration::from_secs(60);
/// Progress is reported once per so many bytes.
const STEP: u64 = 256 * 1024;

/// The client world: streams `/input` to a compressor and checks what comes back.
pub fn client() -> Outcome<()> {
    let mut client = Client::open()?;
    let host = client.resolve("host")?;
    let start = Instant::now();
    let (compressor, name) = client.start("compressor", None)?;
    client.request(compressor, b"are you there?", LONG)?;
    let first_answer_us = start.elapsed().as_micros() as u64;

    let streaming = Instant::now();
    let mut back = Decompressed::new()?;
    let (bytes, hash_sent) = send_file(&mut client, compressor, host, &mut back)?;
    while !back.is_over {
        take_one(&mut client, Some(LONG), &mut back)?;
    }
    let (stream_ms, compressed) = (streaming.elapsed().as_millis() as u64, back.compressed);
    let hash_received = hex(&back.finish()?);

    let ended = client.stop(name.as_str(), STOP_DEADLINE, "the stream is whole")?;
    let done = Done {
        compressor: name.to_string(),
        first_answer_us,
        bytes,
        compressed,
        stream_ms,
        hash_sent: hex(&hash_sent),
        hash_received,
        acknowledged: ended.acknowledged,
        killed: ended.killed,
        stop_ms: ended.took_ms,
    };
    client.send(host, &serde_json::to_vec(&Report::Done(Box::new(done)))?)?;
    client.drain(LONG)?;
    Ok(())
}

/// Sends the file, taking what comes back whenever there is no room: two worlds that only send would wait for each other for ever.
fn send_file(client: &mut Client, to: WorldId, host: WorldId, back: &mut Decompressed) -> Outcome<(u64, Vec<u8>)> {
    let mut file = File::open("/input")?;
    let (mut hash, mut buffer, mut sent) = (Sha256::new(), vec![0; PIECE], 0u64);
    loop {
        let length = file.read(&mut buffer)?;
        let (tag, piece) = (if length == 0 { END } else { DATA }, &buffer[..length]);
        hash.update(piece);
        send_piece(client, to, tag, piece, back)?;
        sent += length as u64;
        if sent % STEP < PIECE as u64 || length == 0 {
            client.send(host, &serde_json::to_vec(&Report::Progress(sent))?)?;
        }
        if length == 0 {
            return Ok((sent, hash.finalize().to_vec()));
        }
    }
}

fn send_piece(client: &mut Client, to: WorldId, tag: u64, piece: &[u8], back: &mut Decompressed) -> Outcome<()> {
    client.set_patience(Some(Duration::from_millis(5)));
    let sent = loop {
        match client.draft(Kind::Message, to, piece.len()) {
            Ok(mut draft) => {
                draft.payload_mut().copy_from_slice(piece);
                draft.header_mut().tag = tag;
                break draft.send();
            }
            Err(Error::Full) => while take_one(client, Some(Duration::ZERO), back)? {},
            Err(error) => break Err(error),
        }
    };
    client.set_patience(None);
    while take_one(client, Some(Duration::ZERO), back)? {}
    sent?;
    Ok(())
}

fn take_one(client: &mut Client, timeout: Option<Duration>, back: &mut Decompressed) -> Outcome<bool> {
    let record = match timeout {
        Some(Duration::ZERO) => client.try_receive()?,
        other => Some(client.receive(other)?.ok_or("the compressor went silent")?),
    };
    let Some(record) = record else { return Ok(false) };
    if let Some(reason) = record.notice() {
        return Err(format!("a record was not delivered: {reason}").into());
    }
    match record.header().tag {
        END => back.is_over = true,
        _ => back.write(record.payload())?,
    }
    Ok(true)
}

/// What comes back, decompressed and hashed as it comes.
struct Decompressed {
    decoder: zstd::stream::write::Decoder<'static, Hashing>,
    compressed: u64,
    is_over: bool,
}

struct Hashing(Sha256);

impl Write for Hashing {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.update(bytes);
        Ok(bytes.len())
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Decompressed {
    fn new() -> Outcome<Self> {
        let decoder = zstd::stream::write::Decoder::new(Hashing(Sha256::new()))?;
        Ok(Self { decoder, compressed: 0, is_over: false })
    }

    fn write(&mut self, bytes: &[u8]) -> Outcome<()> {
        self.compressed += bytes.len() as u64;
        Ok(self.decoder.write_all(bytes)?)
    }

    fn finish(mut self) -> Outcome<Vec<u8>> {
        self.decoder.flush()?;
        Ok(self.decoder.into_inner().0.finalize().to_vec())
    }
}

/// Sends what the encoder gives out to whoever sends the data.
struct Sink<'a> {
    client: &'a mut Client,
    to: WorldId,
}

impl Write for Sink<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let piece = &bytes[..bytes.len().min(PIECE)];
        let sent = self.client.draft(Kind::Message, self.to, piece.len()).and_then(|mut draft| {
            draft.payload_mut().copy_from_slice(piece);
            draft.header_mut().tag = DATA;
            draft.send()
        });
        sent.map(|_| piece.len()).map_err(std::io::Error::other)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The compressor: answers that it is there, compresses whatever one world streams to it, ends when it is told to.
pub fn compressor() -> Outcome<()> {
    let mut client = Client::open()?;
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3)?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.shutdown().is_some());
        if head.kind == Kind::Message {
            encoder.write_all(record.payload())?;
        }
        match (head.kind, head.tag) {
            (Kind::Request, _) => drop(client.reply(&head, 0, b"")?),
            (Kind::Message, END) => {
                let whole =
                    std::mem::replace(&mut encoder, zstd::stream::write::Encoder::new(Vec::new(), 3)?).finish()?;
                let mut sink = Sink { client: &mut client, to: head.source };
                sink.write_all(&whole)?;
                let mut end = client.draft(Kind::Message, head.source, 0)?;
                end.header_mut().tag = END;
                end.send()?;
            }
            (Kind::Message, _) => {
                let ready = std::mem::take(encoder.get_mut());
                Sink { client: &mut client, to: head.source }.write_all(&ready)?;
            }
            _ => {}
        }
        if is_over {
            return Ok(());
        }
    }
}

/// A world that is there to be disturbed: answers everything.
pub fn listener() -> Outcome<()> {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (head, is_over) = (record.header(), record.shutdown().is_some());
        if head.kind == Kind::Request {
            client.reply(&head, 0, b"undisturbed")?;
        }
        if is_over {
            return Ok(());
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
