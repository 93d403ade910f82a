//! How many members each node holds for alive, as a map of node and second.

use plotters::element::{Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{BLACK, Color as _, RGBColor, WHITE};

use super::axis::Axis;
use super::faults::Faults;
use super::frame::{Axes, GREY, INK, Layout, ORANGE, SMALL, anchored, axes, header, width};
use super::over_time::end_second;
use super::{Area, Drawn, px, stroke};
use crate::outcome::Outcome;

/// Columns and rows at most. More seconds or nodes share a cell, which then shows the least of them.
const CELLS: (usize, usize) = (600, 200);
/// Names beside the rows at most.
const NAMES: usize = 20;
/// Numbers beside the scale at most.
const SCALE_NUMBERS: usize = 10;
/// Viridis: from dark to light, in every kind of colour vision and in grey.
const SHADES: [RGBColor; 5] =
    [RGBColor(68, 1, 84), RGBColor(59, 82, 139), RGBColor(33, 145, 140), RGBColor(94, 201, 98), RGBColor(253, 231, 37)];

/// A stretch of equal cells in a row.
struct Run {
    row: f64,
    from: f64,
    to: f64,
    alive_seen: u32,
}

pub(super) fn draw<DB: DrawingBackend>(area: &Area<DB>, outcome: &Outcome) -> Drawn<DB> {
    let (end, nodes) = (end_second(outcome), outcome.scenario.nodes.len());
    let (per_column, per_row) = (outcome.timeline.len().div_ceil(CELLS.0), nodes.div_ceil(CELLS.1));
    let names: Vec<String> = outcome.scenario.nodes.iter().step_by(per_row).map(|n| n.name.clone()).collect();
    let mut layout =
        Layout { right: px(128), grid: [false, false], x: "simulated time (s)", y: "node", ..Layout::default() };
    let faults = Faults::place(outcome, end, layout.x_range());
    layout.above = faults.height();
    let mut subtitle = "how many members each node holds for alive, itself included".to_owned();
    if per_column * per_row > 1 {
        subtitle = format!("{subtitle}; a cell is the least of {per_column} s and {per_row} nodes");
    }
    let legend = [(ORANGE, "fault")];
    let legend = if outcome.scenario.faults.is_empty() { &[][..] } else { &legend[..] };
    header(area, outcome, "Members as each node sees them", &(subtitle + &faults.unlabelled()), legend)?;

    let rows = Axis::rows(&names, NAMES);
    let ends = rows.edges(1);
    let mut chart = axes(area, &layout, Axis::seconds(end), rows)?;
    let runs = runs(outcome, per_column, per_row);
    let (down, up): (Vec<Run>, Vec<Run>) = runs.into_iter().partition(|run| run.alive_seen == 0);
    let cell = |run: Run| {
        let colour = shade(run.alive_seen, nodes);
        Rectangle::new([(run.from, run.row), (run.to, run.row + 1.0)], colour.filled())
    };
    chart.draw_series(up.into_iter().map(cell))?;
    // White with a line through it, so that it cannot be taken for a light colour.
    let half = (f64::from(px(2)) / row_height(&chart, names.len())).min(0.1);
    let line =
        |run: Run| Rectangle::new([(run.from, run.row + 0.5 - half), (run.to, run.row + 0.5 + half)], GREY.filled());
    chart.draw_series(down.into_iter().map(line))?;
    faults.draw_strip(area)?;
    faults.draw_edges(&mut chart, ends[0], ends[1], end)?;
    draw_scale(area, &chart, nodes)
}

/// Pixels from one row to the next.
fn row_height<DB: DrawingBackend>(chart: &Axes<'_, DB>, rows: usize) -> f64 {
    let (_, y) = chart.plotting_area().get_pixel_range();
    f64::from(y.end - y.start) / rows as f64
}

/// The cells, each row's equal neighbours joined: few shapes even for long runs.
fn runs(outcome: &Outcome, per_column: usize, per_row: usize) -> Vec<Run> {
    let nodes = outcome.scenario.nodes.len();
    let mut runs: Vec<Run> = Vec::new();
    for (row, first) in (0..nodes).step_by(per_row).enumerate() {
        let members = first..(first + per_row).min(nodes);
        for seconds in outcome.timeline.chunks(per_column) {
            let least = seconds.iter().filter_map(|s| s.alive_seen[members.clone()].iter().min()).min();
            let alive_seen = least.copied().unwrap_or_default();
            let from = seconds[0].second as f64;
            let to = seconds.last().map_or(from, |s| s.second as f64) + 1.0;
            match runs.last_mut() {
                Some(run) if run.row == row as f64 && run.alive_seen == alive_seen && run.to == from => run.to = to,
                _ => runs.push(Run { row: row as f64, from, to, alive_seen }),
            }
        }
    }
    runs
}

/// The scale right of the picture: what the colours mean, and that white is down.
fn draw_scale<DB: DrawingBackend>(area: &Area<DB>, chart: &Axes<'_, DB>, nodes: usize) -> Drawn<DB> {
    let (_, y) = chart.plotting_area().get_pixel_range();
    let (left, right) = (width() - px(100), width() - px(76));
    let down = [(left, y.end - px(24)), (right, y.end)];
    area.draw(&Rectangle::new(down, WHITE.filled()))?;
    area.draw(&Rectangle::new([(left, y.end - px(14)), (right, y.end - px(10))], GREY.filled()))?;
    area.draw(&Rectangle::new(down, stroke(GREY, 1)))?;
    let words = anchored(SMALL, INK, HPos::Left, VPos::Center);
    area.draw(&Text::new("down", (right + px(8), y.end - px(12)), words.clone()))?;

    let (top, bottom) = (y.start, y.end - px(40));
    let count = i32::try_from(nodes).unwrap_or(i32::MAX);
    let at =
        |seen: i32| bottom - i32::try_from(i64::from(bottom - top) * i64::from(seen) / i64::from(count)).unwrap_or(0);
    let every = nodes.div_ceil(SCALE_NUMBERS);
    for seen in 1..=count {
        let colour = shade(seen.unsigned_abs(), nodes);
        area.draw(&Rectangle::new([(left, at(seen)), (right, at(seen - 1))], colour.filled()))?;
        // The highest number stands; the one before it only where it keeps its distance.
        let from_top = usize::try_from(count - seen).unwrap_or(0);
        if from_top.is_multiple_of(every) {
            let middle = i32::midpoint(at(seen), at(seen - 1));
            area.draw(&Text::new(seen.to_string(), (right + px(8), middle), words.clone()))?;
        }
    }
    area.draw(&Rectangle::new([(left, top), (right, bottom)], stroke(BLACK.mix(0.4), 1)))
}

/// The colour for so many members seen, of so many there are.
fn shade(alive_seen: u32, nodes: usize) -> RGBColor {
    let most = u32::try_from(nodes).unwrap_or(u32::MAX).max(2);
    let missing = f64::from(most - alive_seen.clamp(1, most)) / f64::from(most - 1);
    // The root, because the first missing member is the news: 99 of 100 must not look like 100.
    let share = (1.0 - missing.sqrt()) * 4.0;
    let below = (share as usize).min(3);
    let part = share - below as f64;
    let mix = |a: u8, b: u8| (f64::from(a) + (f64::from(b) - f64::from(a)) * part).round() as u8;
    let (a, b) = (SHADES[below], SHADES[below + 1]);
    RGBColor(mix(a.0, b.0), mix(a.1, b.1), mix(a.2, b.2))
}
