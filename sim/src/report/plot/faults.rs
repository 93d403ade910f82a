//! The faults above and behind a chart over time: a strip of labelled bars, and a shade below them.

use plotters::element::{PathElement, Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::series::DashedLineSeries;
use plotters::style::text_anchor::{HPos, VPos};
use plotters::style::{Color as _, WHITE};

use super::frame::{Axes, HEADER, INK, ORANGE, SMALL, anchored, text_width};
use super::{Area, Drawn, px, stroke};
use crate::outcome::Outcome;
use crate::report::words;

/// Bars above each other at most; more faults at once are shaded without a label.
const LANES: usize = 5;
/// Faults whose ends are marked on a map at most; more lines would hide what is below them.
const MARKED: usize = 12;
/// Pixels from one bar to the next.
const LANE: i32 = px(22);

/// The faults of a run, placed for a horizontal axis from 0 to `end` seconds.
pub(super) struct Faults {
    bars: Vec<Bar>,
    lanes: usize,
    unlabelled: usize,
}

/// One fault.
struct Bar {
    /// Seconds.
    from: f64,
    to: f64,
    label: String,
    /// None: no room.
    lane: Option<usize>,
    /// Pixels.
    left: i32,
    right: i32,
    text_left: i32,
}

impl Faults {
    /// `x_range`: the pixels between which the axis runs.
    pub(super) fn place(outcome: &Outcome, end: f64, x_range: (i32, i32)) -> Faults {
        let pixel = |second: f64| x_range.0 + (second / end * f64::from(x_range.1 - x_range.0)).round() as i32;
        let mut faults = Faults { bars: Vec::new(), lanes: 0, unlabelled: 0 };
        let mut taken: Vec<Vec<(i32, i32)>> = Vec::new();
        for fault in &outcome.scenario.faults {
            let from = fault.at.0 as f64 / 1e6;
            if from >= end {
                continue;
            }
            let to = fault.until.map_or(end, |until| (until.0 as f64 / 1e6).min(end));
            let label = words::fault(fault);
            let wide = text_width(&label, SMALL) + px(10);
            let (left, right) = (pixel(from), pixel(to).max(pixel(from) + px(2)));
            let text_left = (left + px(5)).min(x_range.1 - wide + px(5));
            let span = (left.min(text_left - px(5)), right.max(text_left + wide));
            let free = |lane: &Vec<(i32, i32)>| lane.iter().all(|t| span.1 < t.0 || t.1 < span.0);
            let lane = match taken.iter().position(free) {
                None if taken.len() < LANES => {
                    taken.push(Vec::new());
                    Some(taken.len() - 1)
                }
                found => found,
            };
            match lane {
                Some(lane) => taken[lane].push(span),
                None => faults.unlabelled += 1,
            }
            faults.bars.push(Bar { from, to, label, lane, left, right, text_left });
        }
        faults.lanes = taken.len();
        faults
    }

    /// Pixels that the strip needs between header and picture.
    pub(super) fn height(&self) -> i32 {
        i32::try_from(self.lanes).map_or(0, |lanes| lanes * LANE)
    }

    /// What the strip leaves out, in words for a subtitle.
    pub(super) fn unlabelled(&self) -> String {
        match self.unlabelled {
            0 => String::new(),
            1 => " (one more fault without a label)".to_owned(),
            more => format!(" ({more} more faults without a label)"),
        }
    }

    /// The strip.
    pub(super) fn draw_strip<DB: DrawingBackend>(&self, area: &Area<DB>) -> Drawn<DB> {
        for bar in &self.bars {
            let Some(lane) = bar.lane.and_then(|lane| i32::try_from(lane).ok()) else { continue };
            let top = HEADER - px(4) + lane * LANE;
            let corners = [(bar.left, top), (bar.right, top + LANE - px(3))];
            area.draw(&Rectangle::new(corners, ORANGE.mix(0.5).filled()))?;
            let style = anchored(SMALL, INK, HPos::Left, VPos::Center);
            area.draw(&Text::new(bar.label.clone(), (bar.text_left, top + LANE / 2), style))?;
        }
        Ok(())
    }

    /// A shade behind what is drawn next, from `low` to `high` of the vertical axis. Overlapping faults are one shade.
    pub(super) fn draw_shade<DB: DrawingBackend>(&self, chart: &mut Axes<'_, DB>, low: f64, high: f64) -> Drawn<DB> {
        let mut merged: Vec<(f64, f64)> = Vec::new();
        for bar in &self.bars {
            match merged.last_mut() {
                Some(last) if bar.from <= last.1 => last.1 = last.1.max(bar.to),
                _ => merged.push((bar.from, bar.to)),
            }
        }
        let shade = |(from, to)| Rectangle::new([(from, low), (to, high)], ORANGE.mix(0.16).filled());
        chart.draw_series(merged.into_iter().map(shade))?;
        Ok(())
    }

    /// Lines where faults begin and end, over a picture that a shade would discolour.
    pub(super) fn draw_edges<DB: DrawingBackend>(
        &self,
        chart: &mut Axes<'_, DB>,
        low: f64,
        high: f64,
        end: f64,
    ) -> Drawn<DB> {
        if self.bars.len() > MARKED {
            return Ok(());
        }
        for at in self.bars.iter().flat_map(|bar| [bar.from, bar.to]).filter(|at| *at > 0.0 && *at < end) {
            let ends = [(at, low), (at, high)];
            // Dark dashes on a light line show on every colour.
            chart.draw_series([PathElement::new(ends, stroke(WHITE.mix(0.7), 2))])?;
            chart.draw_series(DashedLineSeries::new(ends, px(4), px(4), stroke(INK, 2)))?;
        }
        Ok(())
    }
}
