//! The actors of the tests: one program with a role for each, which is also the broker's own processes.

use std::process::ExitCode;

#[path = "../actors/bombs.rs"]
mod bombs;
#[path = "../../../examples/async_echo.rs"]
mod example;
#[path = "../actors/grants.rs"]
mod grants;
#[path = "../actors/honest.rs"]
mod honest;
#[path = "../actors/link.rs"]
mod link;
#[path = "../actors/lives.rs"]
mod lives;
#[path = "../actors/loads.rs"]
mod loads;
#[path = "../actors/muffled.rs"]
mod muffled;
#[path = "../actors/network.rs"]
mod network;
#[path = "../actors/parcels.rs"]
mod parcels;
#[path = "../actors/pools.rs"]
mod pools;
#[path = "../actors/rogue.rs"]
mod rogue;
#[path = "../actors/states.rs"]
mod states;
#[path = "../actors/streams.rs"]
mod streams;
#[path = "../actors/templates.rs"]
mod templates;
#[path = "../actors/topics.rs"]
mod topics;
#[path = "../actors/writers.rs"]
mod writers;

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

fn main() -> ExitCode {
    strait_broker::init();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let result = match words[..] {
        ["echo"] => honest::echo(),
        ["talker", peer] => honest::talker(peer),
        ["flood", peer] => honest::flood(peer),
        ["asker", peer] => honest::asker(peer),
        ["deaf"] => honest::deaf(),
        ["stubborn"] => honest::stubborn(),
        ["starter", template] => honest::starter(template),
        ["obedient"] => grants::obedient(),
        ["judge"] => grants::judge(),
        ["insister", peer] => grants::insister(peer),
        ["asking-linker", peer] => grants::linker(peer),
        ["recorder", lasts, host] => lives::recorder(lasts, host),
        ["counter", peer, count] => lives::counter(peer, count),
        ["failing", step, file] => lives::failing(step, file),
        ["late", gate] => lives::late(gate),
        ["parting", victim] => lives::parting(victim),
        ["waker", peer] => lives::waker(peer),
        ["linker", peer] => honest::linker(peer),
        ["parcel-relay", to] => parcels::relay(to),
        ["parcel-reader"] => parcels::reader(),
        ["parcel-keeper"] => parcels::keeper(),
        ["muffled-host"] => muffled::run(),
        ["table", milliseconds] => templates::table(milliseconds),
        ["unready", obstacle] => templates::unready(obstacle),
        ["forger", what] => templates::forger(what),
        ["rogue"] => rogue::run(),
        ["unsealed"] => rogue::leave_unsealed(),
        ["async-echo"] => example::main().map_err(Into::into),
        ["courier", peer] => streams::courier(peer),
        ["collector"] => streams::collector(),
        ["curious", peer] => streams::curious(peer),
        ["timer", peer] => loads::timer(peer),
        ["socket-timer"] => loads::socket_timer(),
        ["socket-echo"] => loads::socket_echo(),
        ["sink"] => loads::sink(),
        ["flooder", peer, forbidden] => loads::flooder(peer, forbidden),
        ["caller", count] => loads::caller(count),
        ["petitioner", peer, count] => loads::petitioner(peer, count),
        ["party"] => topics::party(),
        ["dialer"] => network::dialer(),
        ["dial-storm", place] => network::dial_storm(place),
        ["saver"] => states::saver(false),
        ["saver", "lazy"] => states::saver(true),
        ["async-saver"] => states::async_saver(false),
        ["async-saver", "hasty"] => states::async_saver(true),
        ["hoarder"] => states::hoarder(),
        ["recorded"] => states::recorded_world(),
        ["small-disk", state] => states::small_disk(state),
        ["recorder"] => states::recorder(),
        ["burner"] => loads::burner(),
        ["bomb", kind] => bombs::bomb(kind),
        ["neighbour"] => bombs::neighbour(),
        ["storm", template, lull_ms] => loads::storm(template, lull_ms),
        ["worker"] => pools::worker(),
        ["pool-user", group] => pools::pool_user(group),
        ["soaker", seed] => seed.parse().map_err(Into::into).and_then(strait_tests::soak::live),
        _ => Err(format!("no such role: {words:?}").into()),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("world {words:?}: {error}");
            ExitCode::FAILURE
        }
    }
}
