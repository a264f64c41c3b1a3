//! Telling the service manager how it is, if one listens: `sd_notify(3)`.

use std::io;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

/// The worlds are started.
pub fn ready() {
    tell("READY=1");
}

/// They are being stopped.
pub fn stopping() {
    tell("STOPPING=1");
}

fn tell(state: &str) {
    if let Some(name) = std::env::var_os("NOTIFY_SOCKET") {
        // A manager that can't be told finds out by its own time limit.
        let _ = send(name.as_bytes(), state);
    }
}

/// An address that starts with `@` is in the abstract namespace, of which the file system knows nothing: `unix(7)`.
fn send(name: &[u8], state: &str) -> io::Result<()> {
    let address = match name.split_first() {
        Some((b'@', name)) => SocketAddr::from_abstract_name(name)?,
        _ => SocketAddr::from_pathname(std::ffi::OsStr::from_bytes(name))?,
    };
    UnixDatagram::unbound()?.send_to_addr(state.as_bytes(), &address).map(drop)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn heard(name: &str, address: &SocketAddr) -> String {
        let manager = UnixDatagram::bind_addr(address).unwrap();
        manager.set_read_timeout(Some(Duration::from_secs(5))).unwrap();
        send(name.as_bytes(), "READY=1").unwrap();
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).unwrap();
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    }

    #[test]
    fn a_manager_hears_it_at_either_kind_of_address() {
        let name = format!("strait-notify-{}", std::process::id());
        let path = std::env::temp_dir().join(&name);
        let place = path.to_str().unwrap();
        assert_eq!(heard(place, &SocketAddr::from_pathname(&path).unwrap()), "READY=1");
        std::fs::remove_file(&path).unwrap();
        assert_eq!(heard(&format!("@{name}"), &SocketAddr::from_abstract_name(&name).unwrap()), "READY=1");
        assert!(send(b"/nowhere/at/all", "READY=1").is_err());
    }
}
