//! What worlds print: read off a pipe for each of their two streams, kept as lines, and shown where the broker's own output goes.
//!
//! A world's pipe is read a piece at a time and then not again for a while, which grows with what reading costs: who prints more than that
//! waits, in its own `write`, as for a slow terminal. So printing takes a tenth of the supervisor's time at most, however many print, and never
//! much of it in one go; what is kept is bounded by the [journal](super::journal). The supervisor never waits where it shows it: what finds no
//! room there is left out and counted. What costs is lines, not bytes: of what a world leaves in its pipes, which nobody could be made to wait
//! with, the last lines count.

use super::journal::{note, note_printed};
use super::log::Outlet;
use super::{Supervisor, Token};
use crate::text::{cut, one_line};
use rustix::event::epoll::{self, EventFlags};
use rustix::io::Errno;
use rustix::pipe::{PipeFlags, pipe_with};
use std::collections::{BTreeMap, VecDeque};
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};
use strait_protocol::control::Stream;
use strait_protocol::{Name, WorldId};

/// Bytes of a line: a longer one is cut into several.
const MAX_LINE_BYTES: usize = 1024;
/// Bytes that are read of one pipe before another's turn comes.
const PIECE_BYTES: usize = 16 * 1024;
/// Pipes that are read in one go, and how long that takes but for the last one of them.
const MAX_IN_ONE_GO: usize = 16;
const MAX_GO: Duration = Duration::from_millis(2);
/// From one go to the next at least.
const PAUSE: Duration = Duration::from_millis(10);
/// A go that took so long is followed by a pause so many times as long.
const PAUSE_PER_WORK: u32 = 10;
/// Pieces that are read of what an ended world left: all of a pipe that has its usual size.
const LAST_PIECES: usize = 5;
/// Ends of lines among that, from the last one back.
const LAST_LINES: usize = 4096;
/// Bytes of a line as it is shown: what is written at once to a pipe is written whole, `pipe(7)`.
const MAX_SHOWN_BYTES: usize = 4000;

/// One stream of one life of a world.
struct Source {
    id: WorldId,
    name: Name,
    stream: Stream,
    pipe: OwnedFd,
    /// What came since the last end of a line.
    begun: Vec<u8>,
}

/// All pipes that worlds print into.
#[derive(Default)]
pub(super) struct Printed {
    sources: BTreeMap<u64, Source>,
    /// Those that have something, in the order in which they will be read.
    ready: VecDeque<u64>,
    not_before: Option<Instant>,
    number: u64,
    output: Outlet,
    error: Outlet,
}

impl Printed {
    /// What worlds print is shown there.
    pub(super) fn new([_, output, error]: &[OwnedFd; 3]) -> Self {
        Self { output: Outlet::new(output.as_fd()), error: Outlet::new(error.as_fd()), ..Self::default() }
    }

    pub(super) fn next_look(&self) -> Option<Instant> {
        (!self.ready.is_empty()).then(|| self.not_before.unwrap_or_else(Instant::now))
    }

    /// Reads a piece, and keeps and shows its lines. False when nothing more will come.
    fn read(&mut self, number: u64) -> Result<bool, Errno> {
        let Some(source) = self.sources.get_mut(&number) else { return Ok(false) };
        let outlet = if source.stream == Stream::Error { &mut self.error } else { &mut self.output };
        let mut piece = [0; PIECE_BYTES];
        let length = rustix::io::read(&source.pipe, &mut piece)?;
        source.take(&piece[..length], length == 0, outlet);
        Ok(length != 0)
    }

    /// Reads what is there of a source whose world is gone, and forgets it.
    fn finish(&mut self, number: u64) {
        let Some(mut source) = self.sources.remove(&number) else { return };
        let outlet = if source.stream == Stream::Error { &mut self.error } else { &mut self.output };
        let (mut left, mut piece) = (std::mem::take(&mut source.begun), [0; PIECE_BYTES]);
        for _ in 0..LAST_PIECES {
            // Whatever it is that isn't read now, nobody is left to write more of it.
            let Ok(length @ 1..) = rustix::io::read(&source.pipe, &mut piece) else { break };
            left.extend_from_slice(&piece[..length]);
        }
        let from = last_lines(&left);
        if from > 0 {
            let text = format!("left more lines than the last {LAST_LINES} of its {:?}", source.stream);
            note(source.id, &source.name, &text.to_lowercase());
        }
        source.take(&left[from..], true, outlet);
    }
}

impl Source {
    /// Keeps lines, and shows them, several at once: each time costs as much as many lines do.
    fn take(&mut self, bytes: &[u8], is_end: bool, outlet: &mut Outlet) {
        let Self { id, name, stream, begun, .. } = self;
        let mut together = String::new();
        let mut tell = |text: &str| {
            note_printed(*id, name, *stream, text);
            let line = shown(name, text);
            if together.len() + line.len() > MAX_SHOWN_BYTES {
                outlet.show(&std::mem::take(&mut together));
            }
            together.push_str(&line);
        };
        split(begun, bytes, &mut tell);
        if is_end && !begun.is_empty() {
            tell(&String::from_utf8_lossy(begun));
        }
        if !together.is_empty() {
            outlet.show(&together);
        }
    }
}

/// Where the last lines of a text begin.
fn last_lines(text: &[u8]) -> usize {
    let ends = text.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n');
    ends.map(|(at, _)| at + 1).nth(LAST_LINES).unwrap_or(0)
}

/// Puts the bytes behind the line that was begun, and tells each one that is whole, or as long as a line may be.
fn split(begun: &mut Vec<u8>, mut bytes: &[u8], mut tell: impl FnMut(&str)) {
    let mut whole = |begun: &mut Vec<u8>| {
        tell(String::from_utf8_lossy(begun.strip_suffix(b"\r").unwrap_or(begun)).as_ref());
        begun.clear();
    };
    while let Some(first) = bytes.first() {
        if begun.len() >= MAX_LINE_BYTES && *first != b'\n' {
            whole(begun);
        }
        let room = bytes.len().min(MAX_LINE_BYTES - begun.len());
        let end = bytes.iter().take(room + 1).position(|byte| *byte == b'\n');
        begun.extend_from_slice(&bytes[..end.unwrap_or(room)]);
        bytes = &bytes[end.map_or(room, |end| end + 1)..];
        if end.is_some() {
            whole(begun);
        }
    }
}

fn shown(name: &Name, text: &str) -> String {
    let line = format!("{name}: {}", one_line(text));
    format!("{}\n", cut(&line, MAX_SHOWN_BYTES))
}

impl Supervisor {
    /// The ends that a world writes to, its output's and its error's.
    pub(super) fn open_printed(&mut self, id: WorldId, name: &Name) -> Result<[OwnedFd; 2], Errno> {
        let mut open = |stream| {
            // Ours alone never waits: the two ends are two descriptions.
            let (pipe, theirs) = pipe_with(PipeFlags::CLOEXEC)?;
            rustix::io::ioctl_fionbio(&pipe, true)?;
            self.printed.number += 1;
            let number = self.printed.number;
            epoll::add(&self.epoll, &pipe, Token::Printed(number).pack(), EventFlags::IN | EventFlags::ONESHOT)?;
            let source = Source { id, name: name.clone(), stream, pipe, begun: Vec::new() };
            self.printed.sources.insert(number, source);
            Ok(theirs)
        };
        Ok([open(Stream::Output)?, open(Stream::Error)?])
    }

    /// A world has printed something: its turn comes.
    pub(super) fn hear_printed(&mut self, number: u64) {
        self.printed.ready.push_back(number);
    }

    /// Reads a piece of each of those that have something, if enough time has passed since the last go.
    pub(super) fn read_printed(&mut self, now: Instant) {
        if self.printed.not_before.is_some_and(|at| at > now) || self.printed.ready.is_empty() {
            return;
        }
        let begun = Instant::now();
        for _ in 0..MAX_IN_ONE_GO {
            let Some(number) = self.printed.ready.pop_front() else { break };
            match self.printed.read(number) {
                Ok(true) | Err(Errno::AGAIN | Errno::INTR) => self.listen_again(number),
                Ok(false) | Err(_) => drop(self.printed.sources.remove(&number)),
            }
            if begun.elapsed() >= MAX_GO {
                break;
            }
        }
        self.printed.not_before = Some(Instant::now() + PAUSE.max(begun.elapsed() * PAUSE_PER_WORK));
    }

    fn listen_again(&self, number: u64) {
        if let Some(source) = self.printed.sources.get(&number) {
            let flags = EventFlags::IN | EventFlags::ONESHOT;
            // It was added, and nothing can be missing for it: otherwise the rest of it would be read at its world's end.
            let _ = epoll::modify(&self.epoll, &source.pipe, Token::Printed(number).pack(), flags);
        }
    }

    /// A world has ended, or all have: what it left in its pipes comes before the news of its end.
    pub(super) fn finish_printed(&mut self, of: impl Fn(WorldId) -> bool) {
        let numbers = self.printed.sources.iter().filter(|(_, source)| of(source.id)).map(|(number, _)| *number);
        for number in numbers.collect::<Vec<_>>() {
            self.printed.finish(number);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn lines(pieces: &[&[u8]]) -> (Vec<String>, Vec<u8>) {
        let (mut begun, mut told) = (Vec::new(), Vec::new());
        pieces.iter().for_each(|piece| split(&mut begun, piece, |line| told.push(line.to_owned())));
        (told, begun)
    }

    #[test]
    fn lines_end_where_they_end_however_they_come() {
        assert_eq!(lines(&[b"a\nb", b"c\r\n\n", b"d"]), (vec!["a".into(), "bc".into(), String::new()], b"d".to_vec()));
        let exact = [&b"x".repeat(MAX_LINE_BYTES)[..], b"\ny\n"].concat();
        assert_eq!(lines(&[&exact]).0, ["x".repeat(MAX_LINE_BYTES), "y".into()]);
        let longer = lines(&[&b"x".repeat(MAX_LINE_BYTES + 1), b"\n"]);
        assert_eq!(longer.0, ["x".repeat(MAX_LINE_BYTES), "x".into()]);
        assert_eq!(lines(&[b"\xff\xfe\n"]).0, ["\u{fffd}\u{fffd}"]);
    }

    #[test]
    fn of_what_is_left_the_last_lines_count() {
        assert_eq!(last_lines(b"a\nb"), 0);
        let many = "x\n".repeat(LAST_LINES);
        assert_eq!(last_lines(many.as_bytes()), 0);
        assert_eq!(last_lines(format!("first\n{many}").as_bytes()), 6);
        assert_eq!(last_lines(format!("first\n{many}no end").as_bytes()), 6);
    }

    #[test]
    fn a_line_commands_no_terminal_and_has_its_worlds_name() {
        let name = "a".parse().unwrap();
        assert_eq!(shown(&name, "\u{1b}[2Jx"), "a: \\u{1b}[2Jx\n");
        assert!(shown(&name, &"\u{1b}".repeat(MAX_LINE_BYTES)).len() <= MAX_SHOWN_BYTES + 1);
    }

    proptest! {
        #[test]
        fn cut_anywhere_the_lines_are_the_same(bytes in prop::collection::vec(prop_oneof![Just(b'\n'), Just(b'a')], 0..5000), at in 0..5000_usize) {
            let (one, other) = bytes.split_at(at.min(bytes.len()));
            prop_assert_eq!(lines(&[&bytes]), lines(&[one, other]));
            prop_assert!(lines(&[&bytes]).0.iter().all(|line| line.len() <= MAX_LINE_BYTES));
        }
    }
}
