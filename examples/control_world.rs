//! A world that decides what the others ask for, and commands.
//!
//! ```sh
//! cargo run --release -p strait-examples --example control_world
//! ```
//!
//! A loader may send to nobody. It may *ask* for the database and for the payroll, and gives its reasons. The control world, a jailed program
//! with `role = "control"`, grants the database for half a second, denies the payroll, and ends who asks for that a second time.

use std::time::Duration;
use strait_broker::{Asked, Client, Config, Decision, Error, Host, Role, World};
use strait_examples::{Outcome, actor, role};

const PATIENCE: Duration = Duration::from_secs(10);
/// How long the database is granted for.
const TERM: Duration = Duration::from_millis(500);
/// Longer than that by as much as a busy machine may take.
const LONGER: Duration = Duration::from_millis(1500);

fn main() -> Outcome {
    strait_broker::init();
    match role().as_deref() {
        Some([role]) if role == "control" => control(),
        Some([role]) if role == "loader" => loader(),
        Some(_) => database(),
        None => host(),
    }
}

fn host() -> Outcome {
    let mut host = Host::start(&Config::default())?;
    for (name, world) in worlds()? {
        host.spawn(name, &world)?;
    }
    let loader = host.client().resolve("loader")?;
    let mut told = Vec::new();
    while told.last().is_none_or(|line| line != "control: loader is ended") {
        let record = host.client().receive(Some(PATIENCE))?.ok_or("nobody says anything any more")?;
        told.push(String::from_utf8_lossy(record.payload()).into_owned());
        println!("{}", told.last().expect("just pushed"));
    }
    if host.client().list()?.iter().any(|row| row.id == loader.0) {
        return Err("the loader is still there".into());
    }
    host.stop(PATIENCE, "the story is over")?;
    println!("Nobody but the control world decided anything.");
    Ok(())
}

fn worlds() -> Outcome<[(&'static str, World); 4]> {
    let mut control = actor(&["control"], &["host"])?;
    control.role = Some(Role::Control);
    let mut loader = actor(&["loader"], &["host"])?;
    loader.ask = vec!["send db".into(), "send payroll".into()];
    Ok([("control", control), ("db", actor(&["db"], &[])?), ("payroll", actor(&["db"], &[])?), ("loader", loader)])
}

// --- the control world ---

/// Receives the questions, decides, and commands.
fn control() -> Outcome {
    let mut client = Client::open()?;
    let mut denied = 0;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, is_end, asked) = (record.header(), record.shutdown().is_some(), record.asked());
        if is_end {
            client.reply(&header, 0, b"")?;
            return Ok(());
        }
        let Some(asked) = asked else { continue };
        let decision = judge(&asked);
        tell(
            &mut client,
            &format!("control: {} asks for `{}` ({}): {}", asked.name, asked.resource, asked.reason, text(&decision)),
        )?;
        client.decide(&header, &decision)?;
        denied += u32::from(matches!(decision, Decision::Deny { .. }));
        if denied == 2 {
            client.kill(&asked.name, "it was told no once")?;
            tell(&mut client, &format!("control: {} is ended", asked.name))?;
        }
    }
}

/// The rules. What they don't know is left to a person: `strait requests`.
fn judge(asked: &Asked) -> Decision {
    match &*asked.resource {
        "send db" => Decision::Grant { for_ms: Some(TERM.as_millis() as u32) },
        "send payroll" => Decision::Deny { why: "nobody loads the payroll".into() },
        _ => Decision::Leave,
    }
}

fn text(decision: &Decision) -> String {
    match decision {
        Decision::Grant { for_ms: Some(ms) } => format!("yes, for {ms} ms"),
        Decision::Grant { for_ms: None } => "yes".into(),
        Decision::Deny { why } => format!("no, {why}"),
        Decision::Leave => "let a person decide".into(),
    }
}

// --- the others ---

/// Asks for what it needs, uses it, and finds out that it is over.
fn loader() -> Outcome {
    let mut client = Client::open()?;
    let granted = client.ask_for("send db", "to load the day's orders", PATIENCE)?;
    let db = client.resolve("db")?;
    let answer = client.request(db, b"orders", PATIENCE)?;
    tell(
        &mut client,
        &format!("loader: by grant {} it has {}", granted.number, String::from_utf8_lossy(&answer.payload)),
    )?;
    std::thread::sleep(LONGER);
    match client.request(db, b"orders", PATIENCE) {
        Err(error @ Error::Undelivered { .. }) => tell(&mut client, &format!("loader: and later not, {error}"))?,
        other => return Err(format!("the grant was to be over: {other:?}").into()),
    }
    for reason in ["out of curiosity", "once more"] {
        match client.ask_for("send payroll", reason, PATIENCE) {
            Err(Error::Denied(why)) => tell(&mut client, &format!("loader: denied, {why}"))?,
            other => return Err(format!("the payroll was to be denied: {other:?}").into()),
        }
    }
    std::thread::park();
    Ok(())
}

fn database() -> Outcome {
    let mut client = Client::open()?;
    loop {
        let Some(record) = client.receive(None)? else { continue };
        let (header, is_end) = (record.header(), record.shutdown().is_some());
        if header.kind == strait_broker::Kind::Request {
            client.reply(&header, 0, b"42 orders")?;
        }
        if is_end {
            return Ok(());
        }
    }
}

fn tell(client: &mut Client, line: &str) -> Outcome {
    let host = client.resolve("host")?;
    client.send(host, line.as_bytes())?;
    Ok(())
}
