//! What all charts share: colours, type sizes, the lines above the picture, axes.

use plotters::chart::{ChartBuilder, ChartContext};
use plotters::coord::cartesian::Cartesian2d;
use plotters::element::{PathElement, Text};
use plotters::prelude::DrawingBackend;
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{FontStyle, IntoFont as _, RGBColor, TextStyle, WHITE};

use super::axis::Axis;
use super::{Area, Drawn, FONT, SIZE, px, stroke};
use crate::outcome::Outcome;

pub(super) const BLUE: RGBColor = RGBColor(0, 114, 178);
pub(super) const VERMILLION: RGBColor = RGBColor(213, 94, 0);
pub(super) const ORANGE: RGBColor = RGBColor(230, 159, 0);
pub(super) const INK: RGBColor = RGBColor(34, 34, 34);
pub(super) const GREY: RGBColor = RGBColor(95, 95, 95);
const GRID: RGBColor = RGBColor(222, 222, 222);

/// Type sizes, in pixels.
const TITLE: i32 = px(25);
/// Of everything that explains the picture.
pub(super) const LABEL: i32 = px(17);
/// Of what stands inside the picture.
pub(super) const SMALL: i32 = px(15);

/// Pixels above the picture that title, subtitle and legend take.
pub(super) const HEADER: i32 = px(88);
/// Pixels left and right of everything.
const MARGIN: i32 = px(24);
/// Pixels for the labels of the vertical axis, where they are numbers.
pub(super) const NUMBER_LABELS: i32 = px(84);

/// A chart with both axes of ours.
pub(super) type Axes<'a, DB> = ChartContext<'a, DB, Cartesian2d<Axis, Axis>>;

/// An entry of the legend: a stroke of this colour and what it means.
pub(super) type Key<'a> = (RGBColor, &'a str);

/// Where the picture is within the area, and what its axes say.
pub(super) struct Layout<'a> {
    /// Pixels between header and picture.
    pub above: i32,
    /// Pixels right of the picture.
    pub right: i32,
    /// Pixels for the labels of the vertical axis.
    pub labels: i32,
    /// Lines at the ticks of the vertical and of the horizontal axis.
    pub grid: [bool; 2],
    /// What the horizontal axis shows, with its unit.
    pub x: &'a str,
    /// What the vertical axis shows, with its unit; may be empty.
    pub y: &'a str,
}

impl Default for Layout<'_> {
    fn default() -> Self {
        Layout { above: 0, right: MARGIN + px(8), labels: NUMBER_LABELS, grid: [true, false], x: "", y: "" }
    }
}

impl Layout<'_> {
    /// The pixels between which the horizontal axis runs.
    pub(super) fn x_range(&self) -> (i32, i32) {
        (MARGIN + self.labels, width() - self.right)
    }
}

/// Title with scenario and seed, one line of explanation, and a legend on its right.
pub(super) fn header<DB: DrawingBackend>(
    area: &Area<DB>,
    outcome: &Outcome,
    title: &str,
    subtitle: &str,
    legend: &[Key<'_>],
) -> Drawn<DB> {
    area.fill(&WHITE)?;
    let title = format!("{title} · {}, seed {}", outcome.scenario.name, outcome.scenario.seed);
    let bold = (FONT, f64::from(TITLE), FontStyle::Bold).into_font().color(&INK);
    area.draw(&Text::new(fitting(&title, &bold, width() - 2 * MARGIN), (MARGIN, px(16)), bold))?;
    let mut right = width() - MARGIN;
    for (colour, words) in legend.iter().rev() {
        right -= text_width(words, LABEL);
        area.draw(&Text::new((*words).to_owned(), (right, px(52)), text(LABEL, INK)))?;
        area.draw(&PathElement::new(vec![(right - px(36), px(60)), (right - px(8), px(60))], stroke(*colour, 4)))?;
        right -= px(60);
    }
    let plain = text(LABEL, GREY);
    area.draw(&Text::new(fitting(subtitle, &plain, right - MARGIN), (MARGIN, px(52)), plain))
}

/// Both axes with their ticks, labels and grid.
pub(super) fn axes<'a, DB: DrawingBackend>(
    area: &'a Area<DB>,
    layout: &Layout<'_>,
    x: Axis,
    y: Axis,
) -> Drawn<DB, Axes<'a, DB>> {
    let mut chart = ChartBuilder::on(area)
        .margin_left(MARGIN)
        .margin_right(layout.right)
        .margin_top(HEADER + layout.above)
        .margin_bottom(px(14))
        .x_label_area_size(px(58))
        .y_label_area_size(layout.labels)
        .build_cartesian_2d(x, y)?;
    let mut mesh = chart.configure_mesh();
    mesh.bold_line_style(stroke(GRID, 1))
        .set_all_tick_mark_size(px(6))
        .axis_style(stroke(GREY, 1))
        .label_style(text(SMALL, INK))
        .axis_desc_style(text(LABEL, INK));
    mesh.x_desc(layout.x).y_desc(layout.y);
    let [at_y_ticks, at_x_ticks] = layout.grid;
    if !at_y_ticks {
        mesh.disable_y_mesh();
    }
    if !at_x_ticks {
        mesh.disable_x_mesh();
    }
    mesh.draw()?;
    drop(mesh);
    Ok(chart)
}

/// Plain type of this size, in pixels.
pub(super) fn text(size: i32, colour: RGBColor) -> TextStyle<'static> {
    (FONT, f64::from(size)).into_font().color(&colour)
}

/// The same, with the point that it is placed by.
pub(super) fn anchored(size: i32, colour: RGBColor, h: HPos, v: VPos) -> TextStyle<'static> {
    text(size, colour).pos(Pos::new(h, v))
}

/// Pixels that the words take in a line, in the carried font; wide, compared with what browsers use instead.
pub(super) fn text_width(words: &str, size: i32) -> i32 {
    styled_width(words, &text(size, INK))
}

/// Pixels of a picture's width.
pub(super) fn width() -> i32 {
    i32::try_from(SIZE.0).expect("a picture is narrower than 2^31 pixels")
}

fn styled_width(words: &str, style: &TextStyle<'_>) -> i32 {
    let (wide, _) = style.font.box_size(words).expect("the carried font is registered before anything is drawn");
    i32::try_from(wide).expect("a line is narrower than 2^31 pixels")
}

/// As much as there is room for, with an ellipsis where something is missing.
fn fitting(words: &str, style: &TextStyle<'_>, room: i32) -> String {
    if styled_width(words, style) <= room {
        return words.to_owned();
    }
    let mut kept = words.to_owned();
    while kept.pop().is_some() {
        let cut = format!("{}…", kept.trim_end());
        if styled_width(&cut, style) <= room {
            return cut;
        }
    }
    String::new()
}
