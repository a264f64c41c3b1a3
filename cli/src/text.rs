//! Words that more than one command writes, and writing them.

use crate::Outcome;
use crate::failure::Failure;
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;
pub use strait_broker::{harmless, one_line};

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
    fn the_nearest_word_is_near() {
        assert_eq!(nearest("comand", ["env", "command", "read"]), Some("command"));
        assert_eq!(nearest("xyz", ["env", "command"]), None);
    }
}
