//! Bytes by message type, the largest first.

use plotters::element::{Rectangle, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, VPos};

use super::axis::Axis;
use super::frame::{BLUE, INK, Layout, SMALL, anchored, axes, header, text_width};
use super::{Area, Drawn, px};
use crate::outcome::Outcome;
use crate::report::words;

pub(super) fn draw<DB: DrawingBackend>(area: &Area<DB>, outcome: &Outcome) -> Drawn<DB> {
    let mut sent: Vec<(&str, f64)> =
        outcome.bytes_per_message_type.iter().filter(|(_, b)| **b > 0).map(|(name, b)| (*name, *b as f64)).collect();
    // Stable, so equal ones keep the order of their names.
    sent.sort_by(|a, b| b.1.total_cmp(&a.1));
    let total: f64 = sent.iter().map(|s| s.1).sum();
    let subtitle = format!("{} after the warm-up, every receiver counted", words::quantity(total, "B"));
    header(area, outcome, "Bytes sent by message type", &subtitle, &[])?;
    let names: Vec<String> = sent.iter().map(|(name, _)| (*name).to_owned()).collect();
    let labels = names.iter().map(|name| text_width(name, SMALL)).max().unwrap_or_default() + px(16);
    let layout = Layout { x: "bytes sent", labels, grid: [false, true], ..Layout::default() };
    // A fifth more than the longest bar needs, for the words behind it.
    let x = Axis::linear_labelled(0.0, sent[0].1 * 1.2, 8, |at| words::exact_quantity(at, "B"));
    let mut chart = axes(area, &layout, x, Axis::rows(&names, names.len()))?;
    let bar = |(row, (_, bytes)): (usize, &(&str, f64))| {
        let middle = row as f64 + 0.5;
        Rectangle::new([(0.0, middle - 0.36), (*bytes, middle + 0.36)], BLUE.filled())
    };
    chart.draw_series(sent.iter().enumerate().map(bar))?;
    for (row, (_, bytes)) in sent.iter().enumerate() {
        let (x, y) = chart.plotting_area().map_coordinate(&(*bytes, row as f64 + 0.5));
        let percent = bytes / total * 100.0;
        let share = if percent < 0.1 { "< 0.1 %".to_owned() } else { format!("{percent:.1} %") };
        let words = format!("{} · {share}", words::quantity(*bytes, "B"));
        area.draw(&Text::new(words, (x + px(8), y), anchored(SMALL, INK, HPos::Left, VPos::Center)))?;
    }
    Ok(())
}
