//! What the examples share: each is one program that is its own worlds, started again inside jails under another role.

#![forbid(unsafe_code)]

use std::error::Error;
use strait_broker::World;

/// What an example comes to.
pub type Outcome<T = ()> = Result<T, Box<dyn Error>>;

/// The argument in front of a role.
const ROLE: &str = "--role";
/// Where a world finds this program.
const PROGRAM: &str = "/example";

/// Which role this process plays, with its arguments; none in the process that a person started.
pub fn role() -> Option<Vec<String>> {
    let mut arguments = std::env::args().skip(1);
    (arguments.next().as_deref() == Some(ROLE)).then(|| arguments.collect())
}

/// A world that is this program in a role, and may send to whom is named.
pub fn actor(role: &[&str], send: &[&str]) -> Outcome<World> {
    let mut world = World::new([PROGRAM, ROLE].iter().chain(role).copied());
    world.read = vec![format!("{}:{PROGRAM}", std::env::current_exe()?.display())];
    world.send = send.iter().map(ToString::to_string).collect();
    Ok(world)
}

/// The `index`th argument of a person, or what stands for it.
pub fn argument<T: std::str::FromStr>(index: usize, default: T) -> Outcome<T>
where
    T::Err: Error + 'static,
{
    Ok(std::env::args().nth(index).map_or(Ok(default), |text| text.parse())?)
}
