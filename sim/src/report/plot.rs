//! Pictures of a run, each as SVG and PNG: the KPIs' samples, and what happened when.
//!
//! The same outcome gives the same files. Colours are those of Okabe and Ito, told apart with every kind of colour
//! vision; no meaning hangs on colour alone.

mod axis;
mod bars;
mod faults;
mod frame;
mod histogram;
mod members;
mod over_time;

use std::io;
use std::path::Path;
use std::sync::OnceLock;

use plotters::coord::Shift;
use plotters::drawing::DrawingAreaErrorKind;
use plotters::prelude::{BitMapBackend, DrawingArea, DrawingBackend, IntoDrawingArea as _, SVGBackend};
use plotters::style::{Color, FontStyle, ShapeStyle, register_font};

use crate::outcome::{KpiResult, Outcome};

/// Width and height of a picture, in points: what an SVG claims to be.
const POINTS: (u32, u32) = (1_200, 640);
/// Pixels per point. The drawing library sets letters at whole pixels; at one pixel per point they stand unevenly.
const DENSITY: u32 = 2;
/// Width and height of what is drawn on, in pixels.
const SIZE: (u32, u32) = (POINTS.0 * DENSITY, POINTS.1 * DENSITY);
/// What an SVG names, and what the carried font is registered as: a browser takes its own where DejaVu is not there.
const FONT: &str = "sans-serif";

/// Where a chart is drawn.
type Area<DB> = DrawingArea<DB, Shift>;
/// What drawing gives: nothing but an error of the backend.
type Drawn<DB, T = ()> = Result<T, DrawingAreaErrorKind<<DB as DrawingBackend>::ErrorType>>;

/// Every picture there is.
enum Chart<'a> {
    /// A KPI's samples, with its target.
    Kpi(&'a KpiResult),
    /// Latency of each second.
    Latency,
    /// How many members each node sees.
    Members,
    /// What was sent, by type.
    Bytes,
    /// What became of the jobs.
    Jobs,
}

/// Draws all plots that there is something to show in, as `<name>.svg` and `<name>.png`, into an existing directory.
///
/// # Errors
/// Where a file cannot be written, with its name.
pub fn write_all(outcome: &Outcome, dir: &Path) -> io::Result<()> {
    register_fonts();
    for chart in charts(outcome) {
        let name = chart.name();
        let svg = svg(&chart, outcome).map_err(|e| io::Error::other(format!("cannot draw {name}.svg: {e}")))?;
        super::put(&dir.join(format!("{name}.svg")), svg.as_bytes())?;
        let path = dir.join(format!("{name}.png"));
        png(&chart, outcome, &path).map_err(|e| io::Error::other(format!("cannot write {}: {e}", path.display())))?;
    }
    Ok(())
}

/// The plots of a run. One that would be empty is left out.
fn charts(outcome: &Outcome) -> Vec<Chart<'_>> {
    let mut charts: Vec<Chart<'_>> = outcome.kpis.iter().filter(|k| !k.histogram.is_empty()).map(Chart::Kpi).collect();
    if outcome.timeline.iter().any(|row| row.accepted > 0) {
        charts.push(Chart::Latency);
    }
    if !outcome.timeline.is_empty() && !outcome.scenario.nodes.is_empty() {
        charts.push(Chart::Members);
    }
    if outcome.bytes_per_message_type.values().any(|&bytes| bytes > 0) {
        charts.push(Chart::Bytes);
    }
    if outcome.timeline.iter().any(|row| row.jobs_submitted > 0) {
        charts.push(Chart::Jobs);
    }
    charts
}

impl Chart<'_> {
    /// The file's name without its extension.
    fn name(&self) -> String {
        match self {
            Chart::Kpi(kpi) => format!("kpi_{}", kpi.name),
            Chart::Latency => "latency".to_owned(),
            Chart::Members => "members".to_owned(),
            Chart::Bytes => "bytes".to_owned(),
            Chart::Jobs => "jobs".to_owned(),
        }
    }

    fn draw<DB: DrawingBackend>(&self, outcome: &Outcome, area: &Area<DB>) -> Drawn<DB> {
        match self {
            Chart::Kpi(kpi) => histogram::draw(area, outcome, kpi),
            Chart::Latency => over_time::draw_latency(area, outcome),
            Chart::Members => members::draw(area, outcome),
            Chart::Bytes => bars::draw(area, outcome),
            Chart::Jobs => over_time::draw_jobs(area, outcome),
        }
    }
}

fn svg(chart: &Chart<'_>, outcome: &Outcome) -> Result<String, String> {
    let mut text = String::new();
    {
        let area = SVGBackend::with_string(&mut text, SIZE).into_drawing_area();
        chart.draw(outcome, &area).and_then(|()| area.present()).map_err(|e| e.to_string())?;
    }
    let drawn = format!("<svg width=\"{}\" height=\"{}\"", SIZE.0, SIZE.1);
    let shown = format!("<svg width=\"{}\" height=\"{}\"", POINTS.0, POINTS.1);
    // Smoothed edges would let the background through between the cells of a map.
    let crisp = "<style>rect[stroke=none]{shape-rendering:crispEdges}</style>\n<rect";
    Ok(text.replacen(&drawn, &shown, 1).replacen("<rect", crisp, 1))
}

/// So many points, in pixels.
const fn px(points: i32) -> i32 {
    points * DENSITY.cast_signed()
}

/// A line of this colour, so many points wide.
fn stroke(colour: impl Color, points: u32) -> ShapeStyle {
    colour.stroke_width(points * DENSITY)
}

fn png(chart: &Chart<'_>, outcome: &Outcome, path: &Path) -> Result<(), String> {
    let area = BitMapBackend::new(path, SIZE).into_drawing_area();
    chart.draw(outcome, &area).and_then(|()| area.present()).map_err(|e| e.to_string())
}

/// Makes the fonts that the binary carries known to the drawing library, once per process.
fn register_fonts() {
    static DONE: OnceLock<()> = OnceLock::new();
    DONE.get_or_init(|| {
        let normal = include_bytes!("../../assets/DejaVuSans-Latin.ttf");
        let bold = include_bytes!("../../assets/DejaVuSans-Bold-Latin.ttf");
        for (style, bytes) in [(FontStyle::Normal, normal.as_slice()), (FontStyle::Bold, bold.as_slice())] {
            assert!(register_font(FONT, style, bytes).is_ok(), "the carried fonts are valid: the tests draw with them");
        }
    });
}

#[cfg(test)]
mod tests;
