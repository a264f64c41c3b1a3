//! The gate's process: hears orders, and has a thread for each dial.

use crate::dial::Way;
use crate::{Order, Setup, Told, enclosure, receive, send};
use rustix::io::Errno;
use std::collections::HashMap;
use std::os::fd::{AsFd, OwnedFd};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

/// Dials at one time. One whose name takes long to resolve counts until that is over, though nobody waits for it any more.
pub(crate) const MAX_DIALS: usize = 1024;
/// What `getaddrinfo(3)` needs, several times over.
const STACK_BYTES: usize = 256 * 1024;

type Ways = Arc<Mutex<HashMap<u32, Arc<Way>>>>;

/// Runs the gate on the connection that the supervisor left as standard input.
pub fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("strait: the gate: {why}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), String> {
    strait_sys::wake::ignore_broken_pipes();
    let link = rustix::stdio::stdin().try_clone_to_owned().map_err(|error| error.to_string())?;
    let heard = |errno: Errno| format!("recvmsg: {errno}");
    let Some((setup, _)) = receive::<Setup>(link.as_fd()).map_err(heard)? else { return Ok(()) };
    enclosure::enter(setup)?;
    let (link, ways) = (Arc::new(link), Ways::default());
    while let Some((order, descriptors)) = receive::<Order>(link.as_fd()).map_err(heard)? {
        match order {
            Order::Dial(dial) => {
                let ticket = dial.ticket;
                let begun =
                    lane(descriptors).and_then(|lane| begin(Arc::new(Way::new(dial, lane)), ticket, &link, &ways));
                if let Err(why) = begun {
                    say(&link, &Told::Failed { ticket, why });
                }
            }
            Order::Cancel { ticket } => {
                let way = locked(&ways).get(&ticket).cloned();
                way.iter().for_each(|way| way.cancel());
                say(&link, &Told::Cancelled { ticket });
            }
        }
    }
    Ok(())
}

fn lane(descriptors: Vec<OwnedFd>) -> Result<OwnedFd, String> {
    let [lane]: [OwnedFd; 1] = descriptors.try_into().map_err(|_| "the gate got no lane")?;
    Ok(lane)
}

fn begin(way: Arc<Way>, ticket: u32, link: &Arc<OwnedFd>, ways: &Ways) -> Result<(), String> {
    let mut all = locked(ways);
    if all.len() >= MAX_DIALS {
        return Err(format!("the gate has {MAX_DIALS} dials under way: try again later"));
    }
    let (link, own, ways) = (link.clone(), way.clone(), ways.clone());
    let work = move || {
        own.run(&link);
        locked(&ways).remove(&ticket);
    };
    thread::Builder::new()
        .stack_size(STACK_BYTES)
        .spawn(work)
        .map_err(|error| format!("the gate has no thread left: {error}"))?;
    all.insert(ticket, way);
    Ok(())
}

fn locked(ways: &Ways) -> std::sync::MutexGuard<'_, HashMap<u32, Arc<Way>>> {
    ways.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Without a supervisor this process is about to end.
fn say(link: &OwnedFd, told: &Told) {
    let _ = send(link.as_fd(), told, &[]);
}
