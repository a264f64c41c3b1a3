//! What happened and what worlds printed, for those who ask later: the last lines, in memory.
//!
//! What happened to worlds has one ring, and what a world printed a ring of its own: who prints without end pushes out lines of its own alone. All
//! lines are numbered in the order in which they came here, and those of one ring are counted: who asks sees a gap by that.

use crate::text::cut;
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use strait_protocol::control::{LogLine, MAX_LINES_PER_ANSWER, Stream};
use strait_protocol::{Name, WorldId};

/// Lines that are kept of what happened.
const MAX_LINES: usize = 2048;
/// Bytes of such a line's text: what is quoted in it can be of a world's making.
const MAX_TEXT_BYTES: usize = 300;
/// Bytes that are kept of what one world printed, its lines' own included.
const MAX_PRINTED_BYTES: usize = 32 * 1024;
/// What a line takes beside its text.
const LINE_BYTES: usize = size_of::<LogLine>() + Name::MAX_BYTES;
/// Worlds that are gone of which is kept what they printed.
const MAX_GONE: usize = 64;
/// What all of it comes to: as many worlds as there may be, each with all that it may have printed.
const _: () = assert!((super::MAX_WORLDS + MAX_GONE) * MAX_PRINTED_BYTES <= 130 * 1024 * 1024);
/// Bytes of text in one answer.
const MAX_ANSWER_BYTES: usize = 16 * 1024;

/// Of this process, which is one broker's supervisor.
static JOURNAL: Mutex<Journal> = Mutex::new(Journal::new());

/// Lines of one origin: the oldest go first.
#[derive(Default)]
struct Ring {
    lines: VecDeque<LogLine>,
    bytes: usize,
    /// Lines ever.
    count: u64,
}

impl Ring {
    const fn new() -> Self {
        Self { lines: VecDeque::new(), bytes: 0, count: 0 }
    }

    fn push(&mut self, line: LogLine, max_lines: usize, max_bytes: usize) {
        self.count += 1;
        self.bytes += LINE_BYTES + line.text.len();
        self.lines.push_back(LogLine { nth: self.count, ..line });
        while self.lines.len() > max_lines || self.bytes > max_bytes {
            let Some(oldest) = self.lines.pop_front() else { return };
            self.bytes -= LINE_BYTES + oldest.text.len();
        }
    }

    /// The lines from this number on, no more than one answer takes.
    fn from(&self, number: u64) -> impl Iterator<Item = &LogLine> {
        let from = self.lines.partition_point(|line| line.number < number);
        self.lines.range(from..).take(MAX_LINES_PER_ANSWER as usize)
    }

    fn is_of(&self, is_wanted: impl Fn(&str) -> bool) -> bool {
        self.lines.back().is_some_and(|line| is_wanted(&line.world))
    }
}

struct Journal {
    events: Ring,
    /// What worlds printed, by their ids.
    printed: BTreeMap<u64, Ring>,
    /// Those of them that are gone, the longest gone first.
    gone: VecDeque<u64>,
    /// Lines ever: the number of the last one.
    written: u64,
}

impl Journal {
    const fn new() -> Self {
        Self { events: Ring::new(), printed: BTreeMap::new(), gone: VecDeque::new(), written: 0 }
    }

    fn write(&mut self, id: u64, world: &str, stream: Stream, text: &str) {
        self.written += 1;
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        let (number, world) = (self.written, world.into());
        let line = |text: &str| LogLine { number, nth: 0, at_ms, id, world, stream, text: text.into() };
        match stream {
            Stream::Event => self.events.push(line(cut(text, MAX_TEXT_BYTES)), MAX_LINES, usize::MAX),
            _ => self.printed.entry(id).or_default().push(line(text), usize::MAX, MAX_PRINTED_BYTES),
        }
    }

    /// A world is gone: what it printed is kept until as many others are that printed, too.
    fn outlive(&mut self, id: u64) {
        if self.printed.contains_key(&id) {
            self.gone.push_back(id);
        }
        if self.gone.len() > MAX_GONE
            && let Some(oldest) = self.gone.pop_front()
        {
            self.printed.remove(&oldest);
        }
    }

    /// The lines from this number on, as many as one answer takes: of what was printed, that of worlds of these names.
    fn from(&self, number: u64, is_shown: impl Fn(&str) -> bool) -> Vec<LogLine> {
        let printed = self.printed.values().filter(|ring| ring.is_of(&is_shown));
        let mut found: Vec<&LogLine> =
            std::iter::once(&self.events).chain(printed).flat_map(|ring| ring.from(number)).collect();
        found.sort_unstable_by_key(|line| line.number);
        let mut bytes = 0;
        let fits = |line: &&LogLine| {
            bytes += line.text.len();
            bytes <= MAX_ANSWER_BYTES
        };
        found.into_iter().take(MAX_LINES_PER_ANSWER as usize).take_while(fits).cloned().collect()
    }
}

fn journal<T>(with: impl FnOnce(&mut Journal) -> T) -> T {
    with(&mut JOURNAL.lock().unwrap_or_else(PoisonError::into_inner))
}

/// Notes what happened to a world.
pub(super) fn note(id: WorldId, name: &Name, text: &str) {
    journal(|journal| journal.write(id.0, name.as_str(), Stream::Event, text));
}

/// Notes what happened to the broker.
pub(super) fn note_broker(text: &str) {
    journal(|journal| journal.write(0, "", Stream::Event, text));
}

/// Notes what became of a dial, where what its world printed is: who dials without end pushes out lines of its own alone.
pub(super) fn note_dial(id: WorldId, name: &Name, text: &str) {
    journal(|journal| journal.write(id.0, name.as_str(), Stream::Dial, cut(text, MAX_TEXT_BYTES)));
}

/// Notes a line that a world printed.
pub(super) fn note_printed(id: WorldId, name: &Name, stream: Stream, text: &str) {
    journal(|journal| journal.write(id.0, name.as_str(), stream, text));
}

/// A world is gone for good.
pub(super) fn outlive(id: WorldId) {
    journal(|journal| journal.outlive(id.0));
}

/// What was noted from this line on, as many lines as one answer takes: of what worlds printed, that of those whose name is shown.
pub(super) fn lines_from(number: u64, is_shown: impl Fn(&str) -> bool) -> Vec<LogLine> {
    journal(|journal| journal.from(number, is_shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(journal: &Journal, from: u64) -> Vec<u64> {
        journal.from(from, |_| true).iter().map(|line| line.number).collect()
    }

    #[test]
    fn the_last_lines_are_kept_and_numbered() {
        let mut journal = Journal::new();
        for at in 1..=MAX_LINES as u64 + 5 {
            journal.write(at, "a", Stream::Event, &format!("line {at}"));
        }
        assert_eq!(journal.events.lines.len(), MAX_LINES);
        assert_eq!(numbers(&journal, 0)[..2], [6, 7]);
        assert_eq!(numbers(&journal, 0).len(), MAX_LINES_PER_ANSWER as usize);
        assert_eq!(numbers(&journal, MAX_LINES as u64 + 4), [MAX_LINES as u64 + 4, MAX_LINES as u64 + 5]);
        assert!(numbers(&journal, u64::MAX).is_empty());
    }

    #[test]
    fn who_prints_without_end_pushes_out_its_own_lines_alone_and_the_gap_is_seen() {
        let mut journal = Journal::new();
        journal.write(1, "quiet", Stream::Output, "before");
        (0..5000).for_each(|_| journal.write(2, "loud", Stream::Error, &"x".repeat(100)));
        journal.write(0, "", Stream::Event, "after");
        let loud = &journal.printed[&2];
        assert!(loud.bytes <= MAX_PRINTED_BYTES && loud.lines.len() > 50, "{} lines", loud.lines.len());
        assert_eq!(loud.lines.back().unwrap().nth, 5000);
        assert_eq!(loud.lines.front().unwrap().nth, 5001 - loud.lines.len() as u64);
        let first = journal.from(0, |_| true);
        assert_eq!((&*first[0].text, first[1].nth), ("before", loud.lines[0].nth));
        assert_eq!(journal.from(5002, |_| true)[0].text, "after");
    }

    #[test]
    fn what_is_printed_is_shown_to_those_who_may_see_it_alone() {
        let mut journal = Journal::new();
        journal.write(1, "a", Stream::Output, "secret");
        journal.write(2, "b", Stream::Output, "open");
        journal.write(1, "a", Stream::Event, "starts");
        let texts = |lines: Vec<LogLine>| lines.into_iter().map(|line| line.text).collect::<Vec<_>>();
        assert_eq!(texts(journal.from(0, |name| name == "b")), ["open", "starts"]);
        assert_eq!(texts(journal.from(0, |_| true)), ["secret", "open", "starts"]);
    }

    #[test]
    fn what_the_gone_printed_is_kept_for_a_while() {
        let mut journal = Journal::new();
        for id in 1..=MAX_GONE as u64 + 2 {
            journal.write(id, "a", Stream::Output, "last words");
            journal.outlive(id);
        }
        journal.outlive(9999);
        assert_eq!((journal.printed.len(), journal.gone.len()), (MAX_GONE, MAX_GONE));
        assert!(!journal.printed.contains_key(&2) && journal.printed.contains_key(&3));
    }

    #[test]
    fn an_answer_has_a_bounded_size() {
        let mut journal = Journal::new();
        (0..20).for_each(|_| journal.write(1, "a", Stream::Output, &"x".repeat(1000)));
        assert_eq!(numbers(&journal, 1), (1..=16).collect::<Vec<_>>());
        assert_eq!(numbers(&journal, 17).len(), 4);
    }
}
