//! Reading a payload of any length as it arrives, without holding the whole.

use crate::client::Client;
use crate::error::Error;
use crate::intake::{Found, Place, Raw, Wait};
use std::io::{self, BufRead, Read};
use std::time::Duration;
use strait_protocol::Header;
use strait_protocol::stream::NO_STREAM;

/// Reads the payload of one record, of any length, as its pieces arrive: each in place in the inbox. What else arrives meanwhile is kept for later
/// receives, up to 16 MiB.
///
/// What was read is the whole only once the end was reached: a read of no bytes. Before, an error says that there is no whole:
/// `UnexpectedEof` that its sender broke it off or part of it was lost, `TimedOut` that nothing came in time, another what went
/// wrong with the connection. A reader that is dropped before its end leaves the rest to be thrown away.
///
/// ```no_run
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let mut client = strait_client::Client::open()?;
/// if let Some(mut reader) = client.receive_reader(None)? {
///     std::io::copy(&mut reader, &mut std::fs::File::create("/data/film")?)?;
///     let head = *reader.header();
///     client.reply(&head, 0, b"stored")?;
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct StreamReader<'a> {
    client: &'a mut Client,
    header: Header,
    place: Place,
    /// Bytes of the piece at hand, and how many of them were read.
    bytes: usize,
    at: usize,
    /// Bytes of all pieces so far.
    total: u64,
    state: State,
    timeout: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    More,
    Last,
    /// There is no whole.
    Broken,
}

impl Client {
    /// The next record, to be read as it arrives; or `None` when the time is over. Each of its pieces may take as long. What belongs to
    /// a stream whose beginning was taken before is thrown away.
    pub fn receive_reader(&mut self, timeout: Option<Duration>) -> Result<Option<StreamReader<'_>>, Error> {
        let mut wait = Wait::new(timeout);
        loop {
            let Some(found) = self.find(Raw::Yes, &mut wait)? else { return Ok(None) };
            if self.piece_of(&found).is_none_or(|piece| piece.offset == 0) {
                return Ok(Some(StreamReader::new(self, &found, timeout)));
            }
            if wait.is_over() {
                return Ok(None);
            }
        }
    }
}

impl<'a> StreamReader<'a> {
    fn new(client: &'a mut Client, found: &Found, timeout: Option<Duration>) -> Self {
        client.hand_out(found);
        let header = client.header_of(found).header();
        let mut reader =
            Self { client, header, place: found.place, bytes: 0, at: 0, total: 0, state: State::More, timeout };
        reader.follow(found);
        reader
    }

    /// Who sends it. What it is (kind, correlation, code, tag, length) is known, and said here, once the end was reached.
    pub fn header(&self) -> &Header {
        &self.header
    }

    /// Whether the last piece has arrived: what is left to read is at hand.
    pub fn is_complete(&self) -> bool {
        self.state == State::Last
    }

    /// Takes up a piece, if it is the one that follows.
    fn follow(&mut self, found: &Found) {
        let (piece, header) = (self.client.piece_of(found), self.client.header_of(found).header());
        (self.place, self.at, self.bytes) = (found.place, 0, header.length as usize);
        self.state = match piece {
            Some(piece) if piece.is_broken_off || piece.offset != self.total => State::Broken,
            Some(piece) if !piece.is_last => State::More,
            _ => State::Last,
        };
        self.total += self.bytes as u64;
        if self.state == State::Last {
            let length = u32::try_from(self.total).unwrap_or(u32::MAX);
            self.header = Header { length, stream: NO_STREAM, ..header };
        }
    }

    fn next_piece(&mut self) -> io::Result<()> {
        let mut wait = Wait::new(self.timeout);
        let (source, stream) = (self.header.source, self.header.stream);
        (self.place, self.at, self.bytes) = (Place::NOWHERE, 0, 0);
        loop {
            let Some(found) = self.client.take(Raw::Only(source, stream), &mut wait)? else {
                return Err(io::ErrorKind::TimedOut.into());
            };
            if self.client.piece_of(&found).is_some() {
                self.follow(&found);
                return Ok(());
            }
            self.client.put_aside(&found)?;
        }
    }
}

impl BufRead for StreamReader<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.at == self.bytes && self.state == State::More {
            self.next_piece()?;
        }
        match self.state {
            State::Broken => Err(io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(&self.client.payload_at(self.place)[self.at..]),
        }
    }

    fn consume(&mut self, count: usize) {
        self.at = (self.at + count).min(self.bytes);
    }
}

impl Read for StreamReader<'_> {
    fn read(&mut self, to: &mut [u8]) -> io::Result<usize> {
        let count = self.fill_buf()?.read(to)?;
        self.consume(count);
        Ok(count)
    }
}
