//! `strait stop`.

use crate::args::Stop;
use crate::failure::Failure;
use crate::{Outcome, ended, socket, text};

pub fn stop(args: &Stop) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let ended = client.stop(&args.world, args.deadline, &args.reason);
    let ended = ended.map_err(|error| Failure::from(error).or_hint("`strait ps` lists the worlds there are"))?;
    text::print(format!("{} {}\n", args.world, ended::after_request(&ended)).as_bytes())
}
