//! Words that more than one command writes, and writing them.

use crate::Outcome;
use crate::failure::Failure;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

/// One line to the operator.
pub fn say(line: &str) {
    // Nobody reads it any more: worlds don't end because of that.
    let _ = writeln!(io::stderr(), "strait: {line}");
}

/// Writes a result. Whoever stops reading, as `head` does, has had enough: that is no failure.
pub fn print(bytes: &[u8]) -> Outcome {
    print_on(bytes).map(|_| ExitCode::SUCCESS)
}

/// The same, of something that goes on. False if nobody reads it any more.
pub fn print_on(bytes: &[u8]) -> Result<bool, Failure> {
    let mut out = io::stdout();
    match out.write_all(bytes).and_then(|()| out.flush()) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == ErrorKind::BrokenPipe => Ok(false),
        Err(error) => Err(Failure::new(format!("standard output: {error}"))),
    }
}

/// A payload for JSON, under the key that says how: as text when it is text, else as hexadecimal digits.
pub fn as_json(payload: &[u8]) -> (&'static str, String) {
    match std::str::from_utf8(payload) {
        Ok(text) => ("payload", text.to_owned()),
        Err(_) => ("payload_hex", payload.iter().map(|byte| format!("{byte:02x}")).collect()),
    }
}

/// Text of a world, made harmless for a terminal: everything but line ends and tabs that isn't printable is escaped.
pub fn harmless(text: &str) -> String {
    let is_plain = |c: char| matches!(c, '\n' | '\t') || !(c.is_control() || is_reordering(c));
    text.chars().map(|c| if is_plain(c) { c.to_string() } else { c.escape_default().to_string() }).collect()
}

/// The same for what must stay one line.
pub fn one_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

/// Characters that change the order in which others are shown.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// The one of `known` that was most likely meant.
pub fn nearest<'a>(written: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let rated = known.into_iter().map(|word| (strsim::jaro_winkler(written, word), word));
    let best = rated.max_by(|one, other| one.0.total_cmp(&other.0));
    best.filter(|(likeness, _)| *likeness > 0.7).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn control_characters_are_escaped() {
        assert_eq!(harmless("a\tb\n\u{1b}[2Jc\u{202e}"), "a\tb\n\\u{1b}[2Jc\\u{202e}");
        assert_eq!(harmless("grüß"), "grüß");
        assert_eq!(one_line("a\nhint: b"), "a\\nhint: b");
    }

    #[test]
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("comand", ["env", "command", "read"]), Some("command"));
        assert_eq!(nearest("xyz", ["env", "command"]), None);
    }
}
