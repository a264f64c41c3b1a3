//! What happened, for those who ask later: the last lines, in memory.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;
use strait_protocol::control::{LogLine, MAX_LINES_PER_ANSWER};
use strait_protocol::{Name, WorldId};

/// Lines that are kept.
const MAX_LINES: usize = 2048;
/// Bytes of a line's text: what is quoted in it can be of a world's making.
const MAX_TEXT_BYTES: usize = 300;

/// Of this process, which is one broker's supervisor.
static JOURNAL: Mutex<Journal> = Mutex::new(Journal { lines: VecDeque::new(), written: 0 });

struct Journal {
    lines: VecDeque<LogLine>,
    /// Lines ever: the number of the last one.
    written: u64,
}

impl Journal {
    fn write(&mut self, id: u64, world: &str, text: &str) {
        self.written += 1;
        if self.lines.len() >= MAX_LINES {
            self.lines.pop_front();
        }
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        let at_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.lines.push_back(LogLine { number: self.written, at_ms, id, world: world.into(), text: cut(text).into() });
    }

    /// The lines from this number on, as many as one answer takes.
    fn from(&self, number: u64) -> Vec<LogLine> {
        let from = self.lines.partition_point(|line| line.number < number);
        self.lines.range(from..).take(MAX_LINES_PER_ANSWER as usize).cloned().collect()
    }
}

fn cut(text: &str) -> &str {
    let end = text.char_indices().map(|(at, c)| at + c.len_utf8()).take_while(|end| *end <= MAX_TEXT_BYTES).last();
    &text[..end.unwrap_or(0)]
}

/// Notes what happened to a world.
pub(super) fn note(id: WorldId, name: &Name, text: &str) {
    JOURNAL.lock().unwrap_or_else(PoisonError::into_inner).write(id.0, name.as_str(), text);
}

/// Notes what happened to the broker.
pub(super) fn note_broker(text: &str) {
    JOURNAL.lock().unwrap_or_else(PoisonError::into_inner).write(0, "", text);
}

/// What was noted from this line on, as many lines as one answer takes.
pub(super) fn lines_from(number: u64) -> Vec<LogLine> {
    JOURNAL.lock().unwrap_or_else(PoisonError::into_inner).from(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_lines_are_kept_and_numbered() {
        let mut journal = Journal { lines: VecDeque::new(), written: 0 };
        for at in 1..=MAX_LINES as u64 + 5 {
            journal.write(at, "a", &format!("line {at}"));
        }
        let numbers = |from| journal.from(from).iter().map(|line| line.number).collect::<Vec<_>>();
        assert_eq!(journal.lines.len(), MAX_LINES);
        assert_eq!(numbers(0)[..2], [6, 7]);
        assert_eq!(numbers(0).len(), MAX_LINES_PER_ANSWER as usize);
        assert_eq!(numbers(MAX_LINES as u64 + 4), [MAX_LINES as u64 + 4, MAX_LINES as u64 + 5]);
        assert!(numbers(u64::MAX).is_empty());
    }

    #[test]
    fn a_long_text_is_cut_between_characters() {
        let text = "ü".repeat(MAX_TEXT_BYTES);
        assert_eq!(cut(&text).len(), MAX_TEXT_BYTES);
        let odd = format!("a{text}");
        assert_eq!(cut(&odd).len(), MAX_TEXT_BYTES - 1);
        assert_eq!(cut(""), "");
    }
}
