//! Throughput and p99 against concurrency, as a picture.

use std::fmt::Write as _;

use super::{
    Results,
    report::{best_bare, of},
};
use crate::figures::count;

/// Size of the picture, in pixels.
const WIDTH: f64 = 960.0;
const HEIGHT: f64 = 440.0;
/// Size of each of the two panels, and where they begin.
const PANEL_WIDTH: f64 = 380.0;
const PANEL_HEIGHT: f64 = 290.0;
const LEFT: [f64; 2] = [75.0, 555.0];
const TOP: f64 = 60.0;

/// Concurrency at the ends of the axes.
const FROM: f64 = 1.0;
const THROUGH: f64 = 512.0;

/// One line in both panels.
struct Series {
    name: &'static str,
    colour: &'static str,
    /// Concurrency, commands per second, p99 in milliseconds.
    points: Vec<(f64, f64, f64)>,
}

/// A value axis with powers of ten (and 2 and 5 times them) as its ticks.
#[derive(Clone, Copy)]
struct Axis {
    left: f64,
    from: f64,
    through: f64,
    title: &'static str,
}

impl Axis {
    /// Wide enough for all values, which are above 0.
    fn around(values: impl Iterator<Item = f64> + Clone, left: f64, title: &'static str) -> Axis {
        let lowest = values.clone().fold(f64::INFINITY, f64::min).max(1e-3);
        let highest = values.fold(0.0, f64::max).max(lowest);
        let from = ticks(1e-3, 1e9).into_iter().rfind(|tick| *tick <= lowest).unwrap_or(lowest);
        let through = ticks(1e-3, 1e9).into_iter().find(|tick| highest <= *tick);
        Axis { left, from, through: through.unwrap_or(highest).max(from * 10.0), title }
    }

    fn x(&self, concurrency: f64) -> f64 {
        self.left + PANEL_WIDTH * (concurrency / FROM).ln() / (THROUGH / FROM).ln()
    }

    fn y(&self, value: f64) -> f64 {
        let part = (value.max(self.from) / self.from).ln() / (self.through / self.from).ln();
        TOP + PANEL_HEIGHT * (1.0 - part)
    }
}

/// 1, 2 and 5 times powers of ten.
fn ticks(from: f64, through: f64) -> Vec<f64> {
    let decades = (-3..=9).map(|power| 10f64.powi(power));
    let ticks = decades.flat_map(|ten| [ten, 2.0 * ten, 5.0 * ten]);
    ticks.filter(|tick| from * 0.999 <= *tick && *tick <= through * 1.001).collect()
}

/// The picture.
pub(super) fn svg(results: &Results) -> String {
    let all = series(results);
    let values = |index: usize| {
        let points = all.iter().flat_map(|series| &series.points);
        points.map(move |point| if index == 0 { point.1 } else { point.2 })
    };
    let axes = [
        Axis::around(values(0), LEFT[0], "commands per second"),
        Axis::around(values(1), LEFT[1], "p99 latency, ms (bare: of one call)"),
    ];
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {HEIGHT}\" \
         font-family=\"system-ui, sans-serif\" font-size=\"13\" fill=\"#222\">\n\
         <rect width=\"{WIDTH}\" height=\"{HEIGHT}\" fill=\"#fff\"/>\n"
    );
    for (index, axis) in axes.iter().enumerate() {
        frame(&mut svg, axis);
        for series in &all {
            line(&mut svg, axis, series, index);
        }
    }
    legend(&mut svg, &all);
    let machine = &results.machine;
    let note = format!(
        "{}, {} cores, PostgreSQL {}, fsync on, events of {} bytes",
        results.date, machine.cores, machine.postgresql, results.payload_bytes
    );
    text(&mut svg, (WIDTH / 2.0, HEIGHT - 10.0), "middle", &note);
    svg + "</svg>\n"
}

fn series(results: &Results) -> Vec<Series> {
    let Some(first) = results.rounds.first() else { return Vec::new() };
    let mut engine = Vec::new();
    let mut bare = Vec::new();
    for (index, level) in first.known_streams.iter().enumerate() {
        let at = count(level.concurrency as u64);
        let figures = |round: &super::Round| round.known_streams[index].engine.clone();
        let commands = of(results, |round| figures(round).commands);
        engine.push((at, commands, of(results, |round| figures(round).latency.p99_ms)));
        let best = best_bare(results, |round| &round.known_streams[index]);
        let commands = of(results, |round| best(round).figures.commands);
        bare.push((at, commands, of(results, |round| best(round).figures.latency.p99_ms)));
    }
    let mut baseline = Vec::new();
    for (index, level) in first.baseline.iter().enumerate() {
        let commands = of(results, |round| round.baseline[index].figures.commands);
        let p99 = of(results, |round| round.baseline[index].figures.latency.p99_ms);
        baseline.push((count(level.clients as u64), commands, p99));
    }
    vec![
        Series { name: "engine, distinct streams", colour: "#c0392b", points: engine },
        Series {
            name: "append function bare, as many events per call",
            colour: "#2c3e50",
            points: bare,
        },
        Series { name: "postgres-es, new aggregates", colour: "#2980b9", points: baseline },
    ]
}

/// Grid, ticks and titles of a panel.
fn frame(svg: &mut String, axis: &Axis) {
    let (right, bottom) = (axis.left + PANEL_WIDTH, TOP + PANEL_HEIGHT);
    for tick in ticks(axis.from, axis.through) {
        let y = axis.y(tick);
        let rule = format!("M{:.1} {y:.1}H{right:.1}", axis.left);
        let _ = writeln!(svg, "<path d=\"{rule}\" stroke=\"#ddd\"/>");
        text(svg, (axis.left - 8.0, y + 4.5), "end", &tick_label(tick));
    }
    for power in 0..=9 {
        let concurrency = 2f64.powi(power);
        let x = axis.x(concurrency);
        let rule = format!("M{x:.1} {TOP:.1}V{bottom:.1}");
        let _ = writeln!(svg, "<path d=\"{rule}\" stroke=\"#eee\"/>");
        text(svg, (x, bottom + 18.0), "middle", &concurrency.to_string());
    }
    let _ = writeln!(
        svg,
        "<rect x=\"{:.1}\" y=\"{TOP:.1}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\" \
         fill=\"none\" stroke=\"#888\"/>",
        axis.left
    );
    let middle = axis.left + PANEL_WIDTH / 2.0;
    text(svg, (middle, bottom + 38.0), "middle", "commands in flight (clients)");
    text(svg, (axis.left - 8.0, TOP - 12.0), "start", axis.title);
}

fn tick_label(tick: f64) -> String {
    if 1000.0 <= tick {
        format!("{} k", tick / 1000.0)
    } else {
        format!("{tick:.3}").trim_end_matches('0').trim_end_matches('.').to_owned()
    }
}

fn line(svg: &mut String, axis: &Axis, series: &Series, index: usize) {
    let value = |point: &(f64, f64, f64)| if index == 0 { point.1 } else { point.2 };
    let points: Vec<(f64, f64)> =
        series.points.iter().map(|point| (axis.x(point.0), axis.y(value(point)))).collect();
    let path: Vec<String> = points.iter().map(|(x, y)| format!("{x:.1},{y:.1}")).collect();
    let colour = series.colour;
    let _ = writeln!(
        svg,
        "<polyline points=\"{}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>",
        path.join(" ")
    );
    for (x, y) in points {
        let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3.5\" fill=\"{colour}\"/>");
    }
}

fn legend(svg: &mut String, all: &[Series]) {
    let mut x = LEFT[0];
    for series in all {
        let rule = format!("M{x:.1} 22H{:.1}", x + 24.0);
        let colour = series.colour;
        let _ = writeln!(svg, "<path d=\"{rule}\" stroke=\"{colour}\" stroke-width=\"3\"/>");
        text(svg, (x + 30.0, 26.5), "start", series.name);
        // About as wide as its letters are.
        x += 60.0 + 6.6 * count(series.name.len() as u64);
    }
}

/// A text that holds nothing of XML's own.
fn text(svg: &mut String, (x, y): (f64, f64), anchor: &str, text: &str) {
    let text = text.replace('&', "&amp;").replace('<', "&lt;");
    let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"{anchor}\">{text}</text>");
}
