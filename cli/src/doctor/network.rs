//! The network, for worlds that dial.

use super::check::Check;
use rustix::net::sockopt;
use std::io;
use std::net::{TcpListener, TcpStream};
use strait_gate::{Connection, diag};

const FIX: &str = "as root, with CAP_NET_ADMIN, and a kernel with CONFIG_INET_DIAG_DESTROY; without, a world that still holds a connection when its grant is \
                   revoked is ended";

pub fn checks() -> Vec<Check> {
    let check = Check::new("network", "revoking");
    vec![match own_connection().and_then(|(connection, _ends)| Ok(diag::destroy(&connection)?)) {
        Ok(()) => check.ok("a connection ends with the grant that it was made by"),
        Err(error) => check.degraded(format!("no connection of another process can be ended: {error}"), FIX),
    }]
}

/// A connection with itself, to be ended.
fn own_connection() -> io::Result<(Connection, [TcpStream; 2])> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let one = TcpStream::connect(listener.local_addr()?)?;
    let (other, _) = listener.accept()?;
    let connection =
        Connection { local: one.local_addr()?, peer: one.peer_addr()?, cookie: sockopt::socket_cookie(&one)? };
    Ok((connection, [one, other]))
}
