//! A KPI's samples, with its target and what was measured.

use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color as _, RGBColor, WHITE};

use super::axis::Axis;
use super::frame::{Axes, BLUE, INK, Layout, SMALL, VERMILLION, anchored, axes, header, text_width};
use super::{Area, Drawn, px, stroke};
use crate::outcome::{KpiResult, Outcome};
use crate::report::summary::{judged_statistic, to_unit};
use crate::report::words;
use crate::scenario::{Comparison, Statistic};

/// Bars at most: about 18 pixels each.
const BARS: u32 = 60;

pub(super) fn draw<DB: DrawingBackend>(area: &Area<DB>, outcome: &Outcome, kpi: &KpiResult) -> Drawn<DB> {
    let bounds = bounds(kpi);
    let x = x_axis(kpi, &bounds);
    let bars = bars(kpi, &x);
    let highest = bars.iter().map(|b| b.2).fold(0.0, f64::max);
    header(area, outcome, &words::title(kpi.name), &subtitle(kpi), &[])?;
    let x_words = match kpi.unit {
        "1" => words::title(kpi.name),
        unit => {
            format!("{} ({}{})", words::title(kpi.name), unit, if x.is_logarithmic() { ", logarithmic" } else { "" })
        }
    };
    let layout = Layout { above: px(14), x: &x_words, y: "samples", ..Layout::default() };
    let top = highest * 1.04;
    let mut chart = axes(area, &layout, x, Axis::counts(top, 6))?;
    let filled = bars.iter().filter(|b| b.2 > 0.0);
    let bar = |&(low, high, n): &(f64, f64, f64)| Rectangle::new([(low, 0.0), (high, n)], BLUE.filled());
    chart.draw_series(filled.clone().map(bar))?;
    let outline =
        |&(low, high, n): &(f64, f64, f64)| Rectangle::new([(low, 0.0), (high, n)], stroke(WHITE.mix(0.8), 1));
    chart.draw_series(filled.map(outline))?;
    let mut labels = Vec::new();
    for bound in &bounds {
        chart.draw_series(DashedLineSeries::new(
            [(*bound, 0.0), (*bound, top)],
            px(8),
            px(5),
            stroke(VERMILLION, 2),
        ))?;
    }
    if let (Some(bound), Some(target)) = (bounds.last(), &kpi.target) {
        let words = format!("target {} {}", judged_statistic(kpi), words::target(target, kpi.unit));
        labels.push((*bound, words, VERMILLION));
    }
    if let Some(at) = measured_in_picture(kpi) {
        chart.draw_series([PathElement::new([(at, 0.0), (at, top)], stroke(INK, 2))])?;
        labels.push((at, measured_words(kpi, at), INK));
    }
    draw_labels(area, &chart, labels)
}

/// Words above the vertical lines, each as near to its line as the picture's ends and the other one allow.
fn draw_labels<DB: DrawingBackend>(
    area: &Area<DB>,
    chart: &Axes<'_, DB>,
    mut labels: Vec<(f64, String, RGBColor)>,
) -> Drawn<DB> {
    labels.sort_by(|a, b| a.0.total_cmp(&b.0));
    let (x, y) = chart.plotting_area().get_pixel_range();
    let line = |at: f64| chart.plotting_area().map_coordinate(&(at, 0.0)).0;
    let wide: Vec<i32> = labels.iter().map(|(_, words, _)| text_width(words, SMALL)).collect();
    let mut lefts: Vec<i32> =
        labels.iter().zip(&wide).map(|(l, wide)| (line(l.0) - wide / 2).clamp(x.start, x.end - wide)).collect();
    if let ([left, right], [wide, second]) = (&mut lefts[..], &wide[..]) {
        let overlap = (*left + wide + px(24) - *right).max(0);
        *right = (*right + overlap / 2).min(x.end - second);
        *left = (*left).min(*right - wide - px(24)).max(x.start);
        *right = (*right).max(*left + wide + px(24));
    }
    for ((_, words, colour), left) in labels.into_iter().zip(lefts) {
        let style = anchored(SMALL, colour, HPos::Left, VPos::Bottom);
        area.draw(&Text::new(words, (left, y.start - px(4)), style))?;
    }
    Ok(())
}

fn subtitle(kpi: &KpiResult) -> String {
    let samples = words::count(kpi.histogram.len());
    let noun = if kpi.histogram.len() == 1 { "sample" } else { "samples" };
    let note = if kpi.note.is_empty() { String::new() } else { format!(": {}", kpi.note) };
    format!("{samples} {noun}, one per {}; {}{note}", kpi.one_sample_per, words::verdict(kpi.verdict))
}

fn measured_words(kpi: &KpiResult, value: f64) -> String {
    let shown = match kpi.target {
        Some(target) => words::quantity_beside(value, target.target, kpi.unit),
        None => words::quantity(value, kpi.unit),
    };
    format!("measured {} {shown}", judged_statistic(kpi))
}

/// What was measured, where that is a value of a sample and not their number.
fn measured_in_picture(kpi: &KpiResult) -> Option<f64> {
    let counted = kpi.target.is_some_and(|t| t.statistic == Statistic::Count);
    kpi.measured.filter(|value| !counted && value.is_finite())
}

/// Where the target's lines stand: one, two around a value, or none where the number of samples is judged.
fn bounds(kpi: &KpiResult) -> Vec<f64> {
    let Some(target) = kpi.target.filter(|t| t.statistic != Statistic::Count) else { return Vec::new() };
    match target.comparison {
        Comparison::Within(percent) => {
            [-1.0, 1.0].map(|side| target.target * (1.0 + side * f64::from(percent) / 100.0)).to_vec()
        }
        Comparison::Less | Comparison::AtMost | Comparison::AtLeast | Comparison::Greater | Comparison::Equal => {
            vec![target.target]
        }
    }
}

fn x_axis(kpi: &KpiResult, bounds: &[f64]) -> Axis {
    let h = &kpi.histogram;
    let marks = bounds.iter().copied().chain(measured_in_picture(kpi));
    let low = marks.clone().fold(to_unit(h.min(), kpi), f64::min);
    let high = marks.fold(to_unit(h.max(), kpi), f64::max);
    // A zero has no place on a logarithmic axis, and whole numbers are clearer on a linear one.
    if kpi.unit == "1" { Axis::linear(0.0, (high * 1.06).max(1.0), 12) } else { Axis::spanning(low, high, 12) }
}

/// Low end, high end and number of samples of each bar.
fn bars(kpi: &KpiResult, x: &Axis) -> Vec<(f64, f64, f64)> {
    let h = &kpi.histogram;
    // A bar narrower than a step of the samples would leave gaps that mean nothing.
    let steps = (x.edges(1)[1] - x.edges(1)[0]) * kpi.raw_per_unit;
    let count = if x.is_logarithmic() { BARS } else { steps.clamp(1.0, f64::from(BARS)) as u32 };
    let edges = x.edges(count);
    let mut bars: Vec<(f64, f64, f64)> = edges.windows(2).map(|e| (e[0], e[1], 0.0)).collect();
    for bucket in h.iter_recorded() {
        let raw = bucket.value_iterated_to();
        let middle = (to_unit(h.lowest_equivalent(raw), kpi) + to_unit(h.highest_equivalent(raw), kpi)) / 2.0;
        let bar = edges.partition_point(|e| *e <= middle).clamp(1, bars.len()) - 1;
        bars[bar].2 += bucket.count_at_value() as f64;
    }
    bars
}
