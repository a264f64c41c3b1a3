//! The command line of those who decide what worlds ask for, with its help.

use super::Socket;
use clap::Args as ClapArgs;
use std::time::Duration;
use strait_broker::quantity;

/// A list of something, from a broker.
#[derive(Debug, ClapArgs)]
pub struct Listing {
    /// Print JSON: one array of objects
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Grant {
    /// The request's number, as `strait requests` lists it
    pub number: u64,
    /// For how long: 30s, 10m, 2h [default: until it is revoked, or its world ends]
    #[arg(long = "for", value_name = "TIME", value_parser = quantity::duration)]
    pub time: Option<Duration>,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Deny {
    /// The request's number, as `strait requests` lists it
    pub number: u64,
    /// Why, for the world to read
    #[arg(long, value_name = "TEXT", default_value = "denied by a person")]
    pub why: String,
    #[command(flatten)]
    pub socket: Socket,
}

#[derive(Debug, ClapArgs)]
pub struct Revoke {
    /// The grant's number, as `strait grants` lists it
    pub number: u64,
    #[command(flatten)]
    pub socket: Socket,
}

pub const REQUESTS_HELP: &str = "\
A world may ask for what `ask` in its configuration covers. A world with `role = \"control\"` decides first, if there is one; what it \
leaves, and everything where there is none, waits here for a person. What nobody decides in time is denied.

Examples:
  strait requests
  strait requests --json

Exit codes: 0 listed, if there are any or none; 1 policy doesn't allow it, or the broker can't be asked; 2 bad usage.";

pub const GRANTS_HELP: &str = "\
LEFT is the time until a grant ends by itself, BY who decided. What the configuration gives isn't among them: `strait policy show` lists both.

Examples:
  strait grants
  strait grants --json

Exit codes: 0 listed, if there are any or none; 1 policy doesn't allow it, or the broker can't be asked; 2 bad usage.";

pub const GRANT_HELP: &str = "\
Returns when the grant is in force. It has the request's number, and ends when it is revoked, when its time is over, or with its world. A path of \
the host (`read`, `write`) is there from the world's next start on, and outlasts it: `strait restart` begins a world anew.

Examples:
  strait grant 7
  strait grant 7 --for 10m

Exit codes: 0 granted; 1 it isn't, and standard error says why; 2 bad usage.";

pub const DENY_HELP: &str = "\
Examples:
  strait deny 7
  strait deny 7 --why 'not on a Friday'

Exit codes: 0 denied; 1 it isn't, and standard error says why; 2 bad usage.";

pub const REVOKE_HELP: &str = "\
Returns when nothing goes through under the grant any more: what waited has gone back to its sender, and direct links have ended. A world \
that doesn't end its link, or holds more memory than it may from then on, is killed. One that has a path by it is told to end, killed after its \
grace (3 s at most), and begins anew without the path; one that sleeps otherwise sleeps until the next message.

Examples:
  strait grants
  strait revoke 7

Exit codes: 0 it is in force no more; 1 there is no such grant, or the broker can't be asked; 2 bad usage.";
