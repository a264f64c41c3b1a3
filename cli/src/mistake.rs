//! A mistake in a configuration file, shown where it is: `file:line:column`, the line, a caret, and what was meant.

use crate::failure::Failure;
use crate::text::nearest;
use std::ops::Range;
use std::path::Path;
use strait_broker::Limits;

/// What is wrong, and at which bytes of the file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    pub span: Range<usize>,
    pub message: String,
    pub hint: Option<String>,
}

impl Mistake {
    pub fn new(span: Range<usize>, message: impl Into<String>) -> Self {
        Self { span, message: message.into(), hint: None }
    }

    /// Names the one of `known` that was most likely meant, and all of them.
    pub fn among<'a>(mut self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        let known: Vec<&str> = known.into_iter().collect();
        let all = match known.is_empty() {
            true => "there are none".into(),
            false => format!("there are: {}", known.join(", ")),
        };
        self.hint = Some(match nearest(written, known) {
            Some(meant) => format!("did you mean `{meant}`? ({all})"),
            None => all,
        });
        self
    }

    /// Names the one of `known` that was most likely meant, of so many that they can't all be named.
    pub fn like<'a>(mut self, written: &str, known: impl IntoIterator<Item = &'a str>) -> Self {
        self.hint = nearest(written, known).map(|meant| format!("did you mean `{meant}`?"));
        self
    }

    /// What the parser or serde says. serde names the known keys in its message, so that no list of them is kept here.
    pub fn from_toml(error: &toml::de::Error, text: &str) -> Self {
        let span = error.span().unwrap_or(text.len()..text.len());
        let message = error.message().replace('\n', ", ");
        let quoted: Vec<&str> = message.split('`').skip(1).step_by(2).collect();
        match quoted.split_first() {
            Some((written, known)) if message.starts_with("unknown field `") => {
                let mistake = Self::new(span, format!("unknown key `{written}`"));
                match !known.contains(written) && limit_names().contains(&(*written).to_owned()) {
                    true => mistake.hint(format!("`{written}` is a limit: limits = {{ {written} = ... }}")),
                    false => mistake.among(written, known.iter().copied()),
                }
            }
            Some((written, known)) if message.starts_with("unknown variant `") => {
                Self::new(span, format!("unknown value `{written}`")).among(written, known.iter().copied())
            }
            Some((key, _)) if message.starts_with("missing field `") => {
                Self::new(span, format!("`{key}` is missing here"))
            }
            _ => {
                let hint = form(&message);
                Self { hint: hint.map(Into::into), ..Self::new(span, message) }
            }
        }
    }

    fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// The failure of the command that read `text` from `path`.
    pub fn in_file(self, path: &Path, text: &str) -> Failure {
        let place = Place::of(&self.span, text);
        let message = format!("{}:{}:{}: {}", path.display(), place.line, place.column, self.message);
        let failure = Failure::new(message).excerpt(place.excerpt());
        match self.hint {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }
}

/// How TOML writes what serde expected: its words are those of programs.
fn form(message: &str) -> Option<&'static str> {
    let (found, expected) = message.split_once(", expected ").unwrap_or((message, ""));
    match expected {
        _ if message == "duplicate key" => {
            Some("it stands above already: write each key, and the head of each table, once")
        }
        "a sequence" if found.ends_with("map") => {
            Some("there may be several: each has a head in two brackets, as in [[attach]]")
        }
        "a sequence" => Some("a list is written in brackets: [\"one\", \"two\"]"),
        "a boolean" => Some("write true or false, without quotes"),
        "u32" | "u64" | "usize" => Some("write a whole number from 0 on, without quotes"),
        kind if kind == "a string" || message == "wanted string or table" => {
            Some("a text is written in quotes: \"text\"")
        }
        kind if kind == "a map" || kind.starts_with("struct ") => {
            Some("a table is written { key = \"value\" }, or under a head of its own such as [worlds.NAME]")
        }
        _ => None,
    }
}

/// The keys of `limits`, from serde's message about one that isn't there.
fn limit_names() -> Vec<String> {
    let message = toml::from_str::<Limits>("\"\" = 0").err().map(|error| error.message().to_owned());
    message.unwrap_or_default().split('`').skip(3).step_by(2).map(Into::into).collect()
}

/// A place in a text. Lines and columns count from 1, columns in characters.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Place {
    line: usize,
    column: usize,
    width: usize,
    text: String,
}

impl Place {
    fn of(span: &Range<usize>, text: &str) -> Self {
        let start = floor(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor(text, span.end).clamp(start, line_end);
        Self {
            line: text[..line_start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            width: text[start..end].trim_end().chars().count().max(1),
            // One column for each character: the caret stands under what it means.
            text: text[line_start..line_end].trim_end().replace(char::is_control, " "),
        }
    }

    fn excerpt(&self) -> String {
        let Self { line, column, width, text } = self;
        let margin = line.to_string().len();
        format!(" {line} | {text}\n {:margin$} | {:indent$}{}", "", "", "^".repeat(*width), indent = column - 1)
    }
}

/// The start of the character that the byte `at` belongs to.
fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_caret_stands_under_the_mistake() {
        let text = "a = 1\n\tü = \"xy\"\r\nc = 3";
        let at = text.find("\"xy\"").unwrap();
        let told = Mistake::new(at..at + 4, "wrong").in_file(Path::new("f.toml"), text).to_string();
        assert_eq!(told, "f.toml:2:6: wrong\n 2 |  ü = \"xy\"\n   |      ^^^^");
    }

    #[test]
    fn a_mistake_of_many_lines_is_shown_at_its_first() {
        let text = "a = [\n1,\n]";
        let place = Place::of(&(4..10), text);
        assert_eq!((place.line, place.column, place.width), (1, 5, 1));
    }

    #[test]
    fn the_end_of_the_text_is_a_place() {
        for (text, line, column) in [("", 1, 1), ("a =", 1, 4), ("a\n", 2, 1)] {
            let place = Place::of(&(text.len()..text.len() + 1), text);
            assert_eq!((place.line, place.column, place.width), (line, column, 1), "{text:?}");
        }
    }
}
