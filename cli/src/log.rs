//! `strait log`: what happened to the worlds of a broker.

use crate::args::Log;
use crate::{Outcome, socket, text, units};
use serde_json::json;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use strait_broker::LogLine;

/// Between two questions what is new.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub fn log(args: &Log) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let own = client.id().0;
    let mut next = 0;
    loop {
        let lines = client.log(next)?;
        let is_all = lines.is_empty();
        next = lines.last().map_or(next, |line| line.number + 1);
        let is_wanted =
            |line: &&LogLine| line.id != own && args.world.as_ref().is_none_or(|world| line.world == *world);
        let written: String = lines.iter().filter(is_wanted).map(|line| written(line, args.json)).collect();
        if !text::print_on(written.as_bytes())? || is_all && !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        if is_all {
            std::thread::sleep(ASK_EVERY);
        }
    }
}

fn written(line: &LogLine, is_json: bool) -> String {
    let at = units::timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(line.at_ms));
    if is_json {
        let world = (line.id != 0).then_some(&line.world);
        return format!(
            "{}\n",
            json!({ "number": line.number, "at": at, "id": line.id, "world": world, "text": line.text })
        );
    }
    // A line may quote a world.
    let text = text::one_line(&line.text);
    match line.id {
        0 => format!("{at} {text}\n"),
        id => format!("{at} {} (#{id}) {text}\n", text::one_line(&line.world)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_one_line_and_commands_no_terminal() {
        let line = |id| LogLine { number: 3, at_ms: 1500, id, world: "a".into(), text: "killed: \u{1b}[2J\nx".into() };
        assert_eq!(written(&line(16), false), "1970-01-01T00:00:01.500000Z a (#16) killed: \\u{1b}[2J\\nx\n");
        assert_eq!(written(&line(0), false), "1970-01-01T00:00:01.500000Z killed: \\u{1b}[2J\\nx\n");
        let json: serde_json::Value = serde_json::from_str(&written(&line(0), true)).unwrap();
        assert_eq!((&json["world"], &json["number"]), (&serde_json::Value::Null, &json!(3)));
    }
}
