//! What a stranger or a world says to the supervisor.

use strait_protocol::control::{Answer, Request};
use strait_protocol::handshake::{self, Hello, Welcome};
use strait_protocol::{Name, Pattern};

/// Takes the bytes for each message there is. What is understood says the same again; nothing in it is longer than they are.
pub fn handshake_control(data: &[u8]) {
    if let Ok(hello) = Hello::decode(data) {
        assert_eq!(hello.encode(), data);
    }
    if let Ok(welcome) = Welcome::decode(data) {
        assert_eq!(welcome.encode(), data);
    }
    assert!(!handshake::is_mapped(data) || data == handshake::mapped());
    if let Ok(request) = Request::decode(data) {
        assert!(text_in(&request) <= data.len());
        assert_eq!(Request::decode(&request.encode()), Ok(request));
    }
    if let Ok(answer) = Answer::decode(data) {
        assert!(size_of_answer(&answer) <= data.len());
        assert_eq!(Answer::decode(&answer.encode()), Ok(answer));
    }
    if let Ok(text) = std::str::from_utf8(data) {
        names(text);
    }
}

fn names(text: &str) {
    assert!(handshake::refusal(text).len() <= handshake::MAX_BYTES);
    let pattern = text.parse::<Pattern>();
    if let Ok(name) = text.parse::<Name>() {
        assert_eq!(name.as_str(), text);
        assert!(pattern.expect("a name is a pattern").covers(&name));
    }
}

fn text_in(request: &Request) -> usize {
    match request {
        Request::Resolve { name } | Request::Inspect { name } => name.len(),
        Request::Start { template, name } => template.len() + name.as_ref().map_or(0, String::len),
        Request::Spawn { specification } => specification.len(),
        Request::Stop { name, reason, .. } => name.len() + reason.len(),
        // Of the others it is enough that they say the same again.
        _ => 0,
    }
}

/// At least so many bytes must have said this. (Text of up to eight bytes lies within its row.)
fn size_of_answer(answer: &Answer) -> usize {
    match answer {
        Answer::World { name, .. } => name.len(),
        Answer::Worlds { worlds, .. } => worlds.iter().map(|row| 32 + row.name.len() + row.state.len()).sum(),
        Answer::Ended(ended) => ended.note.len(),
        Answer::Report(text) | Answer::Refused(text) => text.len(),
        // Of the others it is enough that they say the same again.
        _ => 0,
    }
}
