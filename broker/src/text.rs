//! Text of a world, made harmless for a terminal.

/// The text, with everything escaped that isn't printable but line ends and tabs, and what changes the order in which the rest is shown.
///
/// ```
/// assert_eq!(strait_broker::harmless("a\tb\n\u{1b}[2J"), "a\tb\n\\u{1b}[2J");
/// ```
pub fn harmless(text: &str) -> String {
    let is_plain = |c: char| matches!(c, '\n' | '\t') || !(c.is_control() || is_reordering(c));
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_plain(c) {
            true => shown.push(c),
            false => shown.extend(c.escape_default()),
        }
    }
    shown
}

/// The same for what must stay one line.
pub fn one_line(text: &str) -> String {
    harmless(text).replace('\n', "\\n")
}

/// The beginning of a text, of so many bytes at most, that ends with a whole character.
pub(crate) fn cut(text: &str, max_bytes: usize) -> &str {
    let mut end = text.len().min(max_bytes);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

/// Characters that change the order in which others are shown.
fn is_reordering(c: char) -> bool {
    matches!(c, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
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
    fn a_long_text_is_cut_between_characters() {
        assert_eq!(cut("üüü", 4), "üü");
        assert_eq!(cut("aüü", 4), "aü");
        assert_eq!((cut("", 4), cut("ab", 4), cut("ü", 1)), ("", "ab", ""));
    }
}
