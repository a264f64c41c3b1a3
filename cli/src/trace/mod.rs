//! `strait trace`: who caused what across worlds, as trees.

mod forest;
mod otlp;

use crate::args::Trace;
use crate::feed::{Feed, Seen};
use crate::{Outcome, tap, text, units};
use forest::{Forest, Node, Tree};
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::{Duration, Instant};
use strait_broker::{Fate, Header, cause_source};

/// Between two looks which trees have settled.
const LOOK_EVERY: Duration = Duration::from_millis(50);
/// Deeper than this nothing is indented any more: a conversation is as deep as it is long.
const MAX_INDENT: usize = 24;

pub fn trace(args: &Trace) -> Outcome {
    let mut feed = tap::open(&args.socket, "*", false)?;
    let mut forest = Forest::default();
    let end = args.time.map(|time| Instant::now() + time);
    let mut left = args.count.unwrap_or(u64::MAX);
    while left > 0 {
        let mut trees = Vec::new();
        if let Some(batch) = feed.next(LOOK_EVERY)? {
            let now = Instant::now();
            trees.extend(batch.seen.into_iter().filter_map(|seen| forest.add(seen, now)));
            match batch.missed {
                0 => {}
                // What reads spans knows no gaps.
                lost if args.otlp => text::say(missed(lost, false).trim_end()),
                lost if !text::print_on(missed(lost, args.json).as_bytes())? => break,
                _ => {}
            }
        }
        let is_over = end.is_some_and(|end| end <= Instant::now());
        let settle = if is_over { Duration::ZERO } else { args.settle };
        trees.extend(forest.settled(settle, Instant::now()));
        for tree in
            trees.iter().filter(|tree| is_wanted(&feed, tree, args)).take(usize::try_from(left).unwrap_or(usize::MAX))
        {
            left -= 1;
            if !text::print_on(written(&feed, tree, args).as_bytes())? {
                return Ok(ExitCode::SUCCESS);
            }
        }
        if is_over {
            break;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn is_wanted(feed: &Feed, tree: &Tree, args: &Trace) -> bool {
    let concerns = |name: &String| {
        let is = |seen: &Seen| [seen.header.source, seen.header.destination].iter().any(|id| feed.name(*id) == *name);
        tree.nodes.iter().any(|node| is(&node.seen))
    };
    tree.nodes.len() >= args.least && args.world.as_ref().is_none_or(concerns)
}

fn missed(records: u64, is_json: bool) -> String {
    match is_json {
        true => format!("{}\n", json!({ "missed": records })),
        false => format!("... {records} records more went by than a tap takes\n"),
    }
}

fn written(feed: &Feed, tree: &Tree, args: &Trace) -> String {
    if args.otlp {
        return otlp::line(feed, tree);
    }
    if args.json {
        return format!("{}\n", object(feed, tree));
    }
    let began = tree.nodes.first().map_or(Duration::ZERO, |root| root.seen.at);
    tree.walk().into_iter().map(|(depth, node)| line(feed, node, depth, began)).collect()
}

fn line(feed: &Feed, node: &Node, depth: usize, began: Duration) -> String {
    let Header { source, destination, sequence, length, cause, .. } = node.seen.header;
    let time = match depth {
        0 => units::time_of_day(feed.time(node.seen.at)),
        _ => format!("{:>+15.6}", node.seen.at.saturating_sub(began).as_secs_f64()),
    };
    let (from, to) = (text::one_line(&feed.name(source)), text::one_line(&feed.name(destination)));
    let indent = "  ".repeat(depth.min(MAX_INDENT));
    let mut line =
        format!("{time}  {indent}{from} -> {to}  {} {sequence}  {length} bytes", tap::what(feed, &node.seen));
    if node.seen.fate != Fate::Delivered {
        line += &format!("  {}", tap::fate(node.seen.fate));
    }
    if depth == 0 && cause != 0 {
        line += &format!("  (caused by a record of {} that was not seen)", cause_source(cause));
    }
    line + "\n"
}

/// A tree as its records in the order of [`Tree::walk`], each with its depth.
fn object(feed: &Feed, tree: &Tree) -> Value {
    let record = |(depth, node): (usize, &Node)| {
        let mut object = json!(tap::object(feed, &node.seen));
        object["depth"] = json!(depth);
        object
    };
    json!({ "records": tree.walk().into_iter().map(record).collect::<Vec<_>>() })
}
