//! `strait log`: what happened to the worlds of a broker, and what they printed.

use crate::args::Log;
use crate::{Outcome, socket, text, units};
use serde_json::json;
use std::collections::HashMap;
use std::process::ExitCode;
use std::time::{Duration, SystemTime};
use strait_broker::{LogLine, Stream};

/// Between two questions what is new.
const ASK_EVERY: Duration = Duration::from_millis(200);

pub fn log(args: &Log) -> Outcome {
    let mut client = socket::attach(&args.socket)?;
    let own = client.id().0;
    let (mut next, mut gaps) = (0, Gaps::default());
    let since_ms = args.since.map_or(0, since_ms);
    let mut is_known = false;
    loop {
        let lines = client.log(next)?;
        let is_all = lines.is_empty();
        next = lines.last().map_or(next, |line| line.number + 1);
        let is_of_wanted = |line: &LogLine| match &args.world {
            Some(world) => line.world == *world,
            None => args.all || !is_visit(line),
        };
        let is_wanted = |line: &LogLine| line.id != own && line.at_ms >= since_ms && is_of_wanted(line);
        // What isn't wanted is counted too.
        let shown = |line: &LogLine| {
            let gap = gaps.before(line, args.json);
            is_wanted(line).then(|| gap + &written(line, args.json))
        };
        is_known |= args.world.as_ref().is_none_or(|world| lines.iter().any(|line| line.world == *world));
        let written: String = lines.iter().filter_map(shown).collect();
        if !text::print_on(written.as_bytes())? || is_all && !args.follow {
            if let Some(world) = args.world.as_ref().filter(|_| !is_known) {
                text::say(&format!("there is nothing about `{world}`: `strait ps` lists the worlds there are"));
            }
            return Ok(ExitCode::SUCCESS);
        }
        if is_all {
            std::thread::sleep(ASK_EVERY);
        }
    }
}

/// That a command came or went, which says nothing of any world. Whatever else happens to one is told of.
fn is_visit(line: &LogLine) -> bool {
    let is_told = line.stream != Stream::Event || !matches!(&*line.text, "attaches" | "is gone");
    !is_told && socket::is_command(&line.world)
}

/// So long ago, in milliseconds since 1970.
fn since_ms(ago: Duration) -> u64 {
    let then = SystemTime::now().checked_sub(ago).and_then(|then| then.duration_since(SystemTime::UNIX_EPOCH).ok());
    then.map_or(0, |then| u64::try_from(then.as_millis()).unwrap_or(u64::MAX))
}

/// How far the lines of each origin were shown.
#[derive(Default)]
struct Gaps(HashMap<Option<u64>, u64>);

impl Gaps {
    /// A line that says how many are missing before this one: nobody keeps them any more. Those before the first aren't told of.
    fn before(&mut self, line: &LogLine, is_json: bool) -> String {
        let origin = (line.stream != Stream::Event).then_some(line.id);
        let missing = match self.0.insert(origin, line.nth) {
            Some(last) => line.nth.saturating_sub(last + 1),
            None => 0,
        };
        match (missing, is_json) {
            (0, _) => String::new(),
            (_, true) => format!("{}\n", json!({ "world": line.world, "id": line.id, "dropped": missing })),
            (_, false) if origin.is_none() => format!("... {missing} events dropped\n"),
            (_, false) => format!("... {missing} lines of {} (#{}) dropped\n", text::one_line(&line.world), line.id),
        }
    }
}

fn written(line: &LogLine, is_json: bool) -> String {
    let at = units::timestamp(SystemTime::UNIX_EPOCH + Duration::from_millis(line.at_ms));
    let stream = match line.stream {
        Stream::Event => "event",
        Stream::Output => "out",
        Stream::Error => "err",
        Stream::Dial => "dial",
    };
    if is_json {
        let world = (line.id != 0).then_some(&line.world);
        let LogLine { number, id, nth, text, .. } = line;
        let object =
            json!({ "number": number, "at": at, "id": id, "world": world, "stream": stream, "nth": nth, "text": text });
        return format!("{object}\n");
    }
    // A line may be, or quote, a world's.
    let text = text::one_line(&line.text);
    let world = text::one_line(&line.world);
    match (line.id, line.stream) {
        (0, _) => format!("{at} {text}\n"),
        (id, Stream::Event | Stream::Dial) => format!("{at} {world} (#{id}) {text}\n"),
        (id, _) => format!("{at} {world} (#{id}) {stream}: {text}\n"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(id: u64, stream: Stream, nth: u64) -> LogLine {
        LogLine { number: 3, at_ms: 1500, id, world: "a".into(), stream, nth, text: "killed: \u{1b}[2J\nx".into() }
    }

    #[test]
    fn a_line_is_one_line_and_commands_no_terminal() {
        let plain = |id, stream| written(&line(id, stream, 1), false);
        assert_eq!(plain(16, Stream::Event), "1970-01-01T00:00:01.500000Z a (#16) killed: \\u{1b}[2J\\nx\n");
        assert_eq!(plain(16, Stream::Error), "1970-01-01T00:00:01.500000Z a (#16) err: killed: \\u{1b}[2J\\nx\n");
        assert_eq!(plain(0, Stream::Event), "1970-01-01T00:00:01.500000Z killed: \\u{1b}[2J\\nx\n");
        let json: serde_json::Value = serde_json::from_str(&written(&line(0, Stream::Event, 1), true)).unwrap();
        assert_eq!((&json["world"], &json["number"]), (&serde_json::Value::Null, &json!(3)));
        let json: serde_json::Value = serde_json::from_str(&written(&line(7, Stream::Output, 4), true)).unwrap();
        assert_eq!((&json["stream"], &json["nth"]), (&json!("out"), &json!(4)));
    }

    #[test]
    fn commands_come_and_go_unsaid_and_nothing_else_does() {
        let is = |world: &str, stream, text: &str| {
            is_visit(&LogLine { world: world.into(), text: text.into(), ..line(16, stream, 1) })
        };
        assert!(is("cli/12", Stream::Event, "attaches") && is("cli/12", Stream::Event, "is gone"));
        assert!(!is("cli/12", Stream::Event, "is ended by force: quarantined"));
        assert!(!is("cli/12", Stream::Output, "attaches"));
        assert!(["host", "cli", "cli/", "cli/x", "cli/1/2"].iter().all(|world| !is(world, Stream::Event, "attaches")));
    }

    #[test]
    fn lines_that_nobody_keeps_any_more_are_counted() {
        let mut gaps = Gaps::default();
        let mut before = |id, stream, nth| gaps.before(&line(id, stream, nth), false);
        assert_eq!(before(16, Stream::Output, 100), "");
        assert_eq!(before(16, Stream::Error, 101), "");
        assert_eq!(before(0, Stream::Event, 7), "");
        assert_eq!(before(16, Stream::Output, 104), "... 2 lines of a (#16) dropped\n");
        assert_eq!(before(16, Stream::Event, 9), "... 1 events dropped\n");
    }
}
