//! One picture for each workload and size: the peers one below the other, best first, a bar for each placement.

use super::scale::Scale;
use super::svg::{Anchor, GRID, INK, LABEL, OURS, SMALL, STRONG, SUBTITLE, Svg, THEIRS, TITLE, WIDTH};
use super::{Measure, Row, bytes, is_ours, short, unique};
use crate::table::median;
use strait_measure::Load;

const LEFT: f64 = 150.0;
const RIGHT: f64 = 90.0;
const TOP: f64 = 96.0;
const BOTTOM: f64 = 36.0;
const BAR: f64 = 13.0;
const BETWEEN: f64 = 10.0;

/// A peer with its value in each placement.
struct Group<'a> {
    peer: &'a str,
    values: Vec<Option<f64>>,
}

/// File names and pictures.
pub fn draw(rows: &[Row]) -> Vec<(String, String)> {
    // What only a curve has points of is in its picture.
    let usual: Vec<(String, usize)> = Load::all().iter().map(|load| (load.name(), load.bytes)).collect();
    let is_usual = |(workload, size): &(&str, usize)| usual.iter().any(|(w, s)| w == workload && s == size);
    let loads = unique(rows.iter().map(|row| (&*row.workload, row.size)));
    loads
        .into_iter()
        .filter(is_usual)
        .filter_map(|load| Some((format!("{}-{}.svg", load.0, load.1), picture(rows, load)?)))
        .collect()
}

fn picture(rows: &[Row], (workload, size): (&str, usize)) -> Option<String> {
    let measure = Measure::of(workload, size);
    let is_shown = |row: &&Row| row.workload == workload && row.size == size && row.metric == measure.metric;
    let placements = unique(rows.iter().filter(is_shown).map(|row| row.placement));
    let peers = unique(rows.iter().filter(is_shown).map(|row| &*row.peer));
    let value = |peer, placement: &&str| median(rows, peer, (workload, size, *placement), measure.metric);
    let group = |peer| Group { peer, values: placements.iter().map(|placement| value(peer, placement)).collect() };
    let mut groups: Vec<Group> = peers.into_iter().map(group).collect();
    groups.sort_by(|a, b| {
        let [a, b] = [a, b].map(|group| group.values.iter().flatten().next().copied().unwrap_or(0.0));
        if measure.less_is_better { a.total_cmp(&b) } else { b.total_cmp(&a) }
    });
    let all: Vec<f64> = groups.iter().flat_map(|group| group.values.iter().flatten().copied()).collect();
    if all.is_empty() {
        return None;
    }
    let scale = Scale::of(&all);
    let of_group = placements.len() as f64 * BAR + BETWEEN;
    let mut svg = Svg::new(TOP + groups.len() as f64 * of_group + BOTTOM);
    let title = if workload == "idle" { measure.title.into() } else { format!("{}, {}", measure.title, bytes(size)) };
    svg.text(24.0, 34.0, Anchor::Start, TITLE, &title);
    svg.text(24.0, 54.0, Anchor::Start, SUBTITLE, &measure.subtitle(scale.is_log));
    legend(&mut svg, &placements);
    axis(&mut svg, scale, TOP + groups.len() as f64 * of_group);
    for (n, group) in groups.iter().enumerate() {
        bars(&mut svg, group, scale, TOP + n as f64 * of_group);
    }
    Some(svg.done())
}

fn across(scale: Scale, value: f64) -> f64 {
    scale.place(value) * (WIDTH - LEFT - RIGHT)
}

/// What the shades mean, where there is more than one.
fn legend(svg: &mut Svg, placements: &[&str]) {
    let mut x = LEFT;
    for (n, placement) in placements.iter().enumerate().filter(|_| placements.len() > 1) {
        svg.bar(x, 68.0, 11.0, 11.0, THEIRS[n % 3]);
        let meaning = match *placement {
            "free" => "free: the scheduler decides",
            "same" => "same: all on one processor",
            _ => "cross: sender and receiver on two",
        };
        svg.text(x + 16.0, 78.0, Anchor::Start, SMALL, meaning);
        x += 24.0 + 6.1 * meaning.len() as f64;
    }
}

fn axis(svg: &mut Svg, scale: Scale, bottom: f64) {
    for tick in scale.ticks() {
        let x = LEFT + across(scale, tick);
        svg.line((x, TOP - 6.0), (x, bottom), GRID);
        svg.text(x, bottom + 18.0, Anchor::Middle, SMALL, &short(tick).replace(".00", "").replace(".0", ""));
    }
    svg.line((LEFT, TOP - 6.0), (LEFT, bottom), INK);
}

fn bars(svg: &mut Svg, group: &Group, scale: Scale, top: f64) {
    let middle = top + group.values.len() as f64 * BAR / 2.0 + 4.5;
    let look = if is_ours(group.peer) { STRONG } else { LABEL };
    svg.text(LEFT - 10.0, middle, Anchor::End, look, group.peer);
    let colours = if is_ours(group.peer) { OURS } else { THEIRS };
    for (n, value) in group.values.iter().enumerate() {
        let Some(value) = value else { continue };
        let y = top + n as f64 * BAR;
        let width = across(scale, *value).max(1.0);
        svg.bar(LEFT, y, width, BAR - 2.0, colours[n % 3]);
        svg.text(LEFT + width + 6.0, y + BAR - 3.6, Anchor::Start, SMALL, &short(*value));
    }
}
