//! Pictures of what was varied: message size, receivers, idle worlds. A line for each peer, named at its end.

use super::scale::Scale;
use super::svg::{Anchor, GRID, INK, LABEL, Look, OURS, SMALL, STRONG, SUBTITLE, Svg, TITLE, WIDTH};
use super::{Measure, Row, bytes, is_ours, short, unique};
use crate::table::median;

const LEFT: f64 = 76.0;
const RIGHT: f64 = 150.0;
const TOP: f64 = 84.0;
const HEIGHT: f64 = 560.0;
const BOTTOM: f64 = 58.0;
/// Between the names at the lines' ends.
const SPACING: f64 = 14.0;
/// Fewer points than this are no curve.
const LEAST_POINTS: usize = 3;

/// Colours that are told apart, by most eyes, in this order.
const PALETTE: [&str; 14] = [
    "#3e5c76", "#2a9d8f", "#7b5ea7", "#b08900", "#5b8c2a", "#d6679a", "#4a90d9", "#8d6e63", "#00838f", "#9e9d24",
    "#6d4c41", "#546e7a", "#ad1457", "#1565c0",
];

/// What was varied, and how to say it.
struct Varied {
    name: &'static str,
    workload: &'static str,
    title: &'static str,
    axis: &'static str,
    measure: Measure,
    /// The value on the axis, if a row is a point of this.
    at: fn(&Row) -> Option<usize>,
    label: fn(usize) -> String,
}

fn all() -> [Varied; 4] {
    fn after(row: &Row, prefix: &str) -> Option<usize> {
        row.workload.strip_prefix(prefix)?.parse().ok()
    }
    let size = |row: &Row| Some(row.size);
    let rate = Measure { metric: "bytes_per_s", title: "", unit: "bytes/s", less_is_better: false };
    let times = Measure::of("rtt", 64);
    let receivers = |row: &Row| if row.workload == "fanout" { Some(8) } else { after(row, "fanout-") };
    let idle = |row: &Row| after(row, "rtt-idle-");
    let plain = |n: usize| n.to_string();
    [
        Varied {
            name: "rtt-by-size",
            workload: "rtt",
            title: "Round trip by message size",
            axis: "message size",
            measure: times,
            at: size,
            label: bytes,
        },
        Varied {
            name: "oneway-by-size",
            workload: "oneway",
            title: "One way by message size",
            axis: "message size",
            measure: rate,
            at: size,
            label: bytes,
        },
        Varied {
            name: "fanout-by-receivers",
            workload: "fanout",
            title: "Fan-out by receivers, 64 B",
            axis: "receivers",
            measure: Measure::of("fanout", 64),
            at: receivers,
            label: plain,
        },
        Varied {
            name: "rtt-by-idle-worlds",
            workload: "rtt-idle",
            title: "Round trip among idle worlds, 64 B",
            axis: "idle worlds beside",
            measure: times,
            at: idle,
            label: plain,
        },
    ]
}

/// File names and pictures, one for each placement.
pub fn draw(rows: &[Row]) -> Vec<(String, String)> {
    let mut pictures = Vec::new();
    for varied in all() {
        let is_of_it = |row: &&Row| belongs(&row.workload, varied.workload) && row.metric == varied.measure.metric;
        let points: Vec<&Row> = rows.iter().filter(is_of_it).filter(|row| (varied.at)(row).is_some()).collect();
        for placement in unique(points.iter().map(|row| row.placement)) {
            let here: Vec<&Row> = points.iter().copied().filter(|row| row.placement == placement).collect();
            if let Some(picture) = picture(&varied, rows, &here, placement) {
                pictures.push((format!("{}-{placement}.svg", varied.name), picture));
            }
        }
    }
    pictures
}

/// Whether a workload is the one that is varied, or a variant of it.
fn belongs(workload: &str, varied: &str) -> bool {
    match varied {
        "rtt" | "oneway" => workload == varied,
        _ => workload.starts_with(varied),
    }
}

/// One peer's line.
struct Line<'a> {
    peer: &'a str,
    points: Vec<(usize, f64)>,
}

fn lines<'a>(varied: &Varied, rows: &'a [Row], here: &[&'a Row]) -> Vec<Line<'a>> {
    let line = |peer: &'a str| {
        let scenes = unique(here.iter().filter(|row| row.peer == peer).map(|row| ((varied.at)(row), row.scene())));
        let point = |(at, scene): (Option<usize>, _)| Some((at?, median(rows, peer, scene, varied.measure.metric)?));
        let mut points: Vec<(usize, f64)> = scenes.into_iter().filter_map(point).collect();
        points.sort_by_key(|(at, _)| *at);
        Line { peer, points }
    };
    unique(here.iter().map(|row| &*row.peer)).into_iter().map(line).collect()
}

fn picture(varied: &Varied, rows: &[Row], here: &[&Row], placement: &str) -> Option<String> {
    let lines = lines(varied, rows, here);
    let mut stops = unique(lines.iter().flat_map(|line| line.points.iter().map(|(at, _)| *at)));
    stops.sort_unstable();
    if stops.len() < LEAST_POINTS {
        return None;
    }
    let values: Vec<f64> = lines.iter().flat_map(|line| line.points.iter().map(|(_, value)| *value)).collect();
    let up = Scale::of(&values);
    let across = Scale::log(&stops.iter().map(|stop| *stop as f64).collect::<Vec<_>>());
    let x = |at: usize| LEFT + across.place(at as f64) * (WIDTH - LEFT - RIGHT);
    let y = |value: f64| HEIGHT - BOTTOM - up.place(value) * (HEIGHT - BOTTOM - TOP);
    let mut svg = Svg::new(HEIGHT);
    svg.text(24.0, 34.0, Anchor::Start, TITLE, varied.title);
    svg.text(
        24.0,
        54.0,
        Anchor::Start,
        SUBTITLE,
        &format!("{}; placement {placement}", varied.measure.subtitle(up.is_log)),
    );
    for tick in up.ticks() {
        svg.line((LEFT, y(tick)), (WIDTH - RIGHT, y(tick)), GRID);
        svg.text(LEFT - 8.0, y(tick) + 4.0, Anchor::End, SMALL, &short(tick).replace(".00", "").replace(".0", ""));
    }
    for stop in &stops {
        svg.line((x(*stop), HEIGHT - BOTTOM), (x(*stop), HEIGHT - BOTTOM + 4.0), INK);
        svg.text(x(*stop), HEIGHT - BOTTOM + 19.0, Anchor::Middle, SMALL, &(varied.label)(*stop));
    }
    svg.line((LEFT, HEIGHT - BOTTOM), (WIDTH - RIGHT, HEIGHT - BOTTOM), INK);
    svg.text((LEFT + WIDTH - RIGHT) / 2.0, HEIGHT - 16.0, Anchor::Middle, SMALL, varied.axis);
    let drawn: Vec<(&str, Vec<(f64, f64)>)> = lines
        .iter()
        .map(|line| (line.peer, line.points.iter().map(|(at, value)| (x(*at), y(*value))).collect()))
        .collect();
    draw_lines(&mut svg, &drawn);
    Some(svg.done())
}

/// The lines, ours over the others, and their names where they end, moved apart as far as they must.
fn draw_lines(svg: &mut Svg, lines: &[(&str, Vec<(f64, f64)>)]) {
    let (mut ours, mut theirs) = (0, 0);
    let mut names = Vec::new();
    let mut coloured = Vec::new();
    for (peer, points) in lines {
        let (count, colours, width) =
            if is_ours(peer) { (&mut ours, &OURS[..], 3.0) } else { (&mut theirs, &PALETTE[..], 1.6) };
        let colour = colours[*count % colours.len()];
        *count += 1;
        coloured.push((points, colour, width));
        if let Some(end) = points.last() {
            names.push((end.1, *end, *peer, colour));
        }
    }
    coloured.sort_by(|a, b| f64::total_cmp(&a.2, &b.2));
    coloured.into_iter().for_each(|(points, colour, width)| svg.curve(points, colour, width));
    spread(&mut names);
    for (y, end, peer, colour) in names {
        let look = if is_ours(peer) { STRONG } else { LABEL };
        svg.line((end.0 + 5.0, end.1), (WIDTH - RIGHT + 12.0, y), colour);
        svg.text(WIDTH - RIGHT + 16.0, y + 4.0, Anchor::Start, Look(look.0, colour, look.2), peer);
    }
}

/// Moves names down, then back up where they left the picture, until none covers another.
fn spread<T>(names: &mut [(f64, T, &str, &'static str)]) {
    names.sort_by(|a, b| a.0.total_cmp(&b.0));
    let mut least = TOP - SPACING;
    for name in names.iter_mut() {
        name.0 = name.0.max(least + SPACING);
        least = name.0;
    }
    let mut most = HEIGHT - BOTTOM + SPACING;
    for name in names.iter_mut().rev() {
        name.0 = name.0.min(most - SPACING);
        most = name.0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_keep_their_distance_and_stay_inside() {
        let mut names: Vec<(f64, (), &str, &'static str)> =
            [500.0, 501.0, 90.0, 502.0].map(|y| (y, (), "x", INK)).into();
        spread(&mut names);
        let places: Vec<f64> = names.iter().map(|name| name.0).collect();
        assert!(places.windows(2).all(|pair| pair[1] - pair[0] >= SPACING - 1e-9), "{places:?}");
        assert!(places.iter().all(|y| (TOP - SPACING..=HEIGHT - BOTTOM).contains(y)), "{places:?}");
    }
}
