//! As much of HTTP as a scrape needs: one request per connection, one page.

use crate::Outcome;
use crate::failure::Failure;
use crate::text::say;
use std::fs;
use std::io::{self, ErrorKind, Read, Write};
use std::os::unix::fs::FileTypeExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::Path;
use std::time::{Duration, Instant};

/// The longest request; of a longer one the rest isn't read.
const MAX_REQUEST_BYTES: usize = 8192;
/// How long one may take altogether: they are served one after the other.
const PATIENCE: Duration = Duration::from_secs(2);

/// Serves a page on a Unix socket until the page can't be made any more, or a signal.
pub fn serve(path: &Path, mut page: impl FnMut() -> Result<String, Failure>) -> Outcome {
    let listener = listen(path).map_err(|error| {
        Failure::new(format!("{}: {error}", path.display())).hint("--listen names a new socket, where you may write")
    })?;
    say(&format!("metrics are at {}: curl --unix-socket {0} http://localhost/metrics", path.display()));
    loop {
        let connection = listener.accept().map_err(|error| Failure::new(format!("accept: {error}")));
        // Whoever goes away in the middle, or is too slow, is that one's own concern.
        let _ = answer(connection?.0, &page()?);
    }
}

/// Takes the place of a socket that nobody listens on any more.
fn listen(path: &Path) -> io::Result<UnixListener> {
    match UnixListener::bind(path) {
        Err(error) if error.kind() == ErrorKind::AddrInUse && !is_socket(path) => {
            Err(io::Error::new(ErrorKind::AddrInUse, "something is here that is no socket"))
        }
        Err(error) if error.kind() == ErrorKind::AddrInUse => match UnixStream::connect(path) {
            Err(refused) if refused.kind() == ErrorKind::ConnectionRefused => {
                fs::remove_file(path)?;
                UnixListener::bind(path)
            }
            _ => Err(io::Error::new(ErrorKind::AddrInUse, "something listens there already")),
        },
        other => other,
    }
}

/// To `connect(2)` any other file is a socket that nobody listens on.
fn is_socket(path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|file| file.file_type().is_socket())
}

fn answer(mut connection: UnixStream, page: &str) -> io::Result<()> {
    let request = read(&mut connection)?;
    let (status, kind, body) = response(&request, page);
    connection.set_write_timeout(Some(PATIENCE))?;
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    connection.write_all(head.as_bytes())?;
    connection.write_all(body.as_bytes())
}

/// The head of a request, as far as it came in time.
fn read(connection: &mut UnixStream) -> io::Result<Vec<u8>> {
    let end = Instant::now() + PATIENCE;
    let (mut head, mut buffer) = (Vec::new(), [0; 1024]);
    while !head.windows(4).any(|four| four == b"\r\n\r\n") && head.len() < MAX_REQUEST_BYTES {
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(ErrorKind::TimedOut.into());
        }
        connection.set_read_timeout(Some(left))?;
        match connection.read(&mut buffer)? {
            0 => break,
            count => head.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(head)
}

fn response<'a>(request: &[u8], page: &'a str) -> (&'static str, &'static str, &'a str) {
    const TEXT: &str = "text/plain; version=0.0.4; charset=utf-8";
    let mut words = request.split(|byte| matches!(byte, b' ' | b'\r' | b'\n'));
    match (words.next(), words.next()) {
        (Some(b"GET"), Some(b"/metrics" | b"/")) => ("200 OK", TEXT, page),
        (Some(b"HEAD"), Some(b"/metrics" | b"/")) => ("200 OK", TEXT, ""),
        (Some(b"GET" | b"HEAD"), _) => ("404 Not Found", TEXT, "there is /metrics\n"),
        _ => ("405 Method Not Allowed", TEXT, "GET /metrics\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Shutdown;
    use std::thread;

    fn asked(request: &[u8]) -> String {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let server = thread::spawn(move || answer(theirs, "a 1\n"));
        ours.write_all(request).unwrap();
        ours.shutdown(Shutdown::Write).unwrap();
        let mut answer = String::new();
        ours.read_to_string(&mut answer).unwrap();
        server.join().unwrap().unwrap();
        answer
    }

    #[test]
    fn a_scrape_gets_the_page_and_others_are_told_what_there_is() {
        let page = asked(b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n");
        assert!(page.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{page}");
        assert!(page.ends_with("Content-Length: 4\r\nConnection: close\r\n\r\na 1\n"), "{page}");
        assert!(asked(b"GET /other HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 404 "));
        assert!(asked(b"POST /metrics HTTP/1.1\r\n\r\n").starts_with("HTTP/1.1 405 "));
        assert!(asked(b"\xff\x00").starts_with("HTTP/1.1 405 "));
    }

    #[test]
    fn a_long_request_is_cut_off_and_a_slow_one_ends() {
        let (mut ours, theirs) = UnixStream::pair().unwrap();
        let reader = thread::spawn(move || read(&mut { theirs }).unwrap().len());
        // More than is read: writing it all fails or not, as the reader is gone or not.
        let _ = ours.write_all(&[b'x'; MAX_REQUEST_BYTES * 2]);
        assert!((MAX_REQUEST_BYTES..MAX_REQUEST_BYTES + 1024).contains(&reader.join().unwrap()));
        let (_ours, mut theirs) = UnixStream::pair().unwrap();
        let begun = Instant::now();
        assert!(read(&mut theirs).is_err());
        assert!(begun.elapsed() >= PATIENCE);
    }
}
