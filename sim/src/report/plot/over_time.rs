//! Lines over simulated time: latency and jobs, with the faults behind them.

use plotters::element::{Circle, PathElement, Text};
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color as _, RGBColor};

use super::axis::Axis;
use super::faults::Faults;
use super::frame::{Axes, BLUE, INK, Key, Layout, ORANGE, SMALL, VERMILLION, anchored, axes, header};
use super::{Area, Drawn, px, stroke};
use crate::outcome::{Outcome, TimelineRow};
use crate::report::words;
use crate::scenario::{KpiTarget, Statistic};

/// Points of a line at most: more stand closer than the line is thick.
const POINTS: usize = 600;

/// A figure of one second.
type Figure = fn(&TimelineRow) -> u64;

/// Median and 99th percentile of the latency in each second.
pub(super) fn draw_latency<DB: DrawingBackend>(area: &Area<DB>, outcome: &Outcome) -> Drawn<DB> {
    let heard = || outcome.timeline.iter().filter(|row| row.accepted > 0);
    let target = latency_target(outcome);
    let marks = target.iter().map(|t| t.target);
    let low = heard().map(|row| millis(row.latency_us_p50)).chain(marks.clone()).fold(f64::MAX, f64::min);
    let high = heard().map(|row| millis(row.latency_us_p99)).chain(marks).fold(0.0, f64::max);
    let y = Axis::spanning(low, high, 8);
    let y_words = if y.is_logarithmic() { "one-way latency (ms, logarithmic)" } else { "one-way latency (ms)" };
    let subtitle = match per_point(outcome) {
        1 => "all frames accepted in each second".to_owned(),
        several => format!("the middle and the worst of each {several} s"),
    };
    let legend = [(BLUE, "median"), (VERMILLION, "99th percentile")];
    let mut chart = over_time(area, outcome, "Message latency over time", &subtitle, &legend, y, y_words)?;
    if let Some(target) = target {
        let end = end_second(outcome);
        let line = [(0.0, target.target), (end, target.target)];
        chart.draw_series(DashedLineSeries::new(line, px(8), px(5), stroke(INK, 1)))?;
        let words = format!("target {} {}", words::statistic(target.statistic), words::target(&target, "ms"));
        let (x, y) = chart.plotting_area().map_coordinate(&(end, target.target));
        area.draw(&Text::new(words, (x - px(6), y - px(4)), anchored(SMALL, INK, HPos::Right, VPos::Bottom)))?;
    }
    let line = |pick: Figure, of: fn(Vec<u64>) -> Option<u64>| {
        let seconds = outcome.timeline.chunks(per_point(outcome));
        seconds.map(move |some| {
            let figures = some.iter().filter(|row| row.accepted > 0).map(pick).collect();
            of(figures).map(|micros| (middle(some), millis(micros)))
        })
    };
    draw_line(&mut chart, line(|row| row.latency_us_p99, |all| all.into_iter().max()), VERMILLION, 2)?;
    draw_line(&mut chart, line(|row| row.latency_us_p50, median), BLUE, 2)
}

/// Jobs submitted, completed and given up since the start.
pub(super) fn draw_jobs<DB: DrawingBackend>(area: &Area<DB>, outcome: &Outcome) -> Drawn<DB> {
    let series: [(RGBColor, &str, Figure); 3] = [
        (INK, "submitted", |row| row.jobs_submitted),
        (BLUE, "completed", |row| row.jobs_completed),
        (VERMILLION, "failed", |row| row.jobs_failed),
    ];
    let total = |pick: Figure| outcome.timeline.iter().map(pick).sum::<u64>();
    let high = series.iter().map(|s| total(s.2)).max().unwrap_or_default() as f64;
    let legend = series.map(|(colour, words, _)| (colour, words));
    let subtitle = "since the start; open jobs lie between the lines";
    let mut chart =
        over_time(area, outcome, "Jobs over time", subtitle, &legend, Axis::counts(high * 1.06, 8), "jobs")?;
    for (colour, _, pick) in series {
        let mut sum = 0;
        let totals = outcome.timeline.chunks(per_point(outcome)).map(|some| {
            sum += some.iter().map(pick).sum::<u64>();
            some.last().map(|row| (row.second as f64 + 1.0, sum as f64))
        });
        draw_line(&mut chart, std::iter::once(Some((0.0, 0.0))).chain(totals), colour, 3)?;
    }
    Ok(())
}

/// A chart over simulated time with its faults, ready for lines.
fn over_time<'a, DB: DrawingBackend>(
    area: &'a Area<DB>,
    outcome: &Outcome,
    title: &str,
    subtitle: &str,
    legend: &[Key<'_>],
    y: Axis,
    y_words: &str,
) -> Drawn<DB, Axes<'a, DB>> {
    let end = end_second(outcome);
    let mut layout = Layout { x: "simulated time (s)", y: y_words, grid: [true, true], ..Layout::default() };
    let faults = Faults::place(outcome, end, layout.x_range());
    layout.above = faults.height();
    let mut keys = legend.to_vec();
    if !outcome.scenario.faults.is_empty() {
        keys.push((ORANGE, "fault"));
    }
    header(area, outcome, title, &format!("{subtitle}{}", faults.unlabelled()), &keys)?;
    let y_ends = y.edges(1);
    let mut chart = axes(area, &layout, Axis::seconds(end), y)?;
    faults.draw_strip(area)?;
    faults.draw_shade(&mut chart, y_ends[0], y_ends[1])?;
    Ok(chart)
}

/// A line with gaps where there is no value. A value between two gaps is a dot.
fn draw_line<DB: DrawingBackend>(
    chart: &mut Axes<'_, DB>,
    points: impl Iterator<Item = Option<(f64, f64)>>,
    colour: RGBColor,
    width: u32,
) -> Drawn<DB> {
    let points: Vec<Option<(f64, f64)>> = points.collect();
    for run in points.split(Option::is_none) {
        let run: Vec<(f64, f64)> = run.iter().copied().flatten().collect();
        if let [one] = run[..] {
            chart.draw_series([Circle::new(one, px(3), colour.filled())])?;
        }
        // Piece by piece: as one path, sharp turns of a thick line grow long spikes in the bitmap.
        let pieces = run.windows(2).map(|piece| PathElement::new(piece.to_vec(), stroke(colour, width)));
        chart.draw_series(pieces)?;
    }
    Ok(())
}

/// Seconds that share a point of a line.
fn per_point(outcome: &Outcome) -> usize {
    outcome.timeline.len().div_ceil(POINTS).max(1)
}

/// The middle value, the lower of two.
fn median(mut figures: Vec<u64>) -> Option<u64> {
    figures.sort_unstable();
    figures.get(figures.len().checked_sub(1)? / 2).copied()
}

/// The target of `message_latency`, where it is one of what the chart shows.
fn latency_target(outcome: &Outcome) -> Option<KpiTarget> {
    let kpi = outcome.kpis.iter().find(|k| k.name == "message_latency" && k.unit == "ms")?;
    kpi.target.filter(|t| matches!(t.statistic, Statistic::P50 | Statistic::P99) && t.target > 0.0)
}

/// The end of the last second there is, so that a run that was ended early fills its picture.
pub(super) fn end_second(outcome: &Outcome) -> f64 {
    outcome.timeline.last().map_or(1.0, |row| row.second as f64 + 1.0)
}

/// The middle of some seconds.
fn middle(some: &[TimelineRow]) -> f64 {
    some[0].second as f64 + some.len() as f64 / 2.0
}

fn millis(micros: u64) -> f64 {
    micros as f64 / 1_000.0
}
