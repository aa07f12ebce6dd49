//! A chart as SVG, by plotters.

use std::error::Error;
use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::panels::{Kind, Line, Panel};

/// Narrow enough for a phone, where a page has room for one column.
const WIDTH: u32 = 520;
const BAR_PX: u32 = 9;
const GAP_PX: u32 = 7;
const HEAD_PX: u32 = 58;
const FOOT_PX: u32 = 40;
const NAMES_PX: u32 = 200;

/// From the first to the last value of a line.
const OURS: [RGBColor; 3] = [
    RGBColor(4, 120, 87),
    RGBColor(16, 185, 129),
    RGBColor(134, 214, 184),
];
const OTHERS: [RGBColor; 3] = [
    RGBColor(51, 65, 85),
    RGBColor(112, 128, 150),
    RGBColor(180, 190, 204),
];
const INK: RGBColor = RGBColor(15, 23, 42);
const GRID: RGBColor = RGBColor(226, 232, 240);

/// A chart, drawn.
pub(super) struct Chart {
    pub(super) svg: String,
    height: u32,
}

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;
type Drawn = Result<(), Box<dyn Error + Send + Sync>>;

/// # Errors
/// If plotters fails.
pub(super) fn draw(panel: &Panel) -> io::Result<Chart> {
    let lines = u32::try_from(panel.lines.len()).unwrap_or(0);
    let height = HEAD_PX + FOOT_PX + lines * line_px(panel);
    let mut svg = String::new();
    let area = SVGBackend::with_string(&mut svg, (WIDTH, height)).into_drawing_area();
    draw_on(panel, &area).map_err(io::Error::other)?;
    drop(area);
    Ok(Chart { svg, height })
}

/// All charts below each other, in one file.
pub(super) fn sheet(charts: &[Chart]) -> String {
    let height: u32 = charts.iter().map(|chart| chart.height).sum();
    let mut sheet = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH}\" height=\"{height}\" viewBox=\"0 0 {WIDTH} {height}\">\n"
    );
    let mut y = 0;
    for chart in charts {
        // A picture in a picture: only its place is new.
        sheet.push_str(
            &chart
                .svg
                .replacen("<svg ", &format!("<svg x=\"0\" y=\"{y}\" "), 1),
        );
        y += chart.height;
    }
    sheet.push_str("</svg>\n");
    sheet
}

/// What a line of a chart takes.
fn line_px(panel: &Panel) -> u32 {
    GAP_PX + BAR_PX * bars(panel)
}

fn bars(panel: &Panel) -> u32 {
    match panel.kind {
        Kind::Bars => u32::try_from(panel.series.len()).unwrap_or(1),
        Kind::Points => 1,
    }
}

fn draw_on(panel: &Panel, area: &Area<'_>) -> Drawn {
    area.fill(&WHITE)?;
    draw_head(panel, area)?;
    let (begin, end) = range(panel);
    let lines = panel.lines.len();
    let mut chart = ChartBuilder::on(area)
        .margin_right(56)
        .margin_top(HEAD_PX)
        .set_label_area_size(LabelAreaPosition::Left, NAMES_PX)
        .set_label_area_size(LabelAreaPosition::Bottom, FOOT_PX)
        // Downwards, as the lines are read.
        .build_cartesian_2d(begin..end, lines as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(6)
        .x_label_formatter(&|&x| short(value_at(panel.kind, x)))
        .x_desc(panel.unit)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .draw()?;
    for (place, line) in panel.lines.iter().enumerate() {
        draw_name(panel, area, place, line)?;
        let marks = marks(panel, place, line);
        match panel.kind {
            Kind::Bars => {
                chart.draw_series(marks.iter().map(|mark| {
                    Rectangle::new(
                        [(begin, mark.top), (mark.x, mark.bottom)],
                        mark.color.filled(),
                    )
                }))?;
                // What it is exactly, where there is room for it.
                chart.draw_series(marks.iter().map(|mark| {
                    let style = ("sans-serif", 9).into_font().color(&INK);
                    Text::new(
                        short(mark.value),
                        (mark.x + (end - begin) * 0.01, mark.top),
                        style,
                    )
                }))?;
            }
            Kind::Points => {
                let middle = |mark: &Mark| (mark.x, f64::midpoint(mark.top, mark.bottom));
                chart.draw_series(LineSeries::new(
                    marks.iter().map(middle),
                    GRID.stroke_width(3),
                ))?;
                chart.draw_series(
                    marks
                        .iter()
                        .map(|mark| Circle::new(middle(mark), 4, mark.color.filled())),
                )?;
            }
        }
    }
    area.present()?;
    Ok(())
}

fn draw_head(panel: &Panel, area: &Area<'_>) -> Drawn {
    let title = ("sans-serif", 17)
        .into_font()
        .style(FontStyle::Bold)
        .color(&INK);
    area.draw_text(&panel.title, &title, (10, 10))?;
    let small = ("sans-serif", 12).into_font().color(&INK);
    let mut x = 10;
    for (series, name) in panel.series.iter().enumerate() {
        let (ours, others) = (OURS[series % OURS.len()], OTHERS[series % OTHERS.len()]);
        area.draw(&Rectangle::new([(x, 37), (x + 9, 46)], others.filled()))?;
        area.draw(&Rectangle::new([(x + 10, 37), (x + 19, 46)], ours.filled()))?;
        area.draw_text(name, &small, (x + 24, 36))?;
        x += 44 + 7 * i32::try_from(name.len()).unwrap_or(0);
    }
    Ok(())
}

fn draw_name(panel: &Panel, area: &Area<'_>, place: usize, line: &Line) -> Drawn {
    let place = u32::try_from(place).unwrap_or(0);
    let y = HEAD_PX + place * line_px(panel) + line_px(panel) / 2 - 6;
    let color = if line.is_ours { OURS[0] } else { INK };
    let style = ("sans-serif", 12).into_font().color(&color);
    area.draw_text(&line.name, &style, (10, i32::try_from(y).unwrap_or(0)))?;
    Ok(())
}

/// One value of a line, where it is drawn.
struct Mark {
    value: f64,
    x: f64,
    top: f64,
    bottom: f64,
    color: RGBColor,
}

fn marks(panel: &Panel, place: usize, line: &Line) -> Vec<Mark> {
    let colors = if line.is_ours { OURS } else { OTHERS };
    let (bar, gap) = (f64::from(BAR_PX), f64::from(GAP_PX));
    let whole = f64::from(line_px(panel));
    let values = line.values.iter().enumerate();
    values
        .filter_map(|(series, &value)| {
            let value = value?;
            let from_top = match panel.kind {
                Kind::Bars => gap / 2.0 + bar * series as f64,
                Kind::Points => gap / 2.0,
            };
            let top = place as f64 + from_top / whole;
            Some(Mark {
                value,
                x: x_of(panel.kind, value),
                top,
                bottom: top + (bar - 1.0) / whole,
                color: colors[series % colors.len()],
            })
        })
        .collect()
}

/// A logarithmic axis is drawn as a linear one of logarithms.
fn x_of(kind: Kind, value: f64) -> f64 {
    match kind {
        Kind::Bars => value,
        Kind::Points => value.max(0.1).log10(),
    }
}

fn value_at(kind: Kind, x: f64) -> f64 {
    match kind {
        Kind::Bars => x,
        Kind::Points => 10f64.powf(x),
    }
}

fn range(panel: &Panel) -> (f64, f64) {
    let values = panel
        .lines
        .iter()
        .flat_map(|line| line.values.iter().flatten());
    let (low, high) = values.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), &value| {
        (low.min(value), high.max(value))
    });
    match panel.kind {
        Kind::Bars => (0.0, if high > 0.0 { high * 1.02 } else { 1.0 }),
        Kind::Points => (
            x_of(panel.kind, low).floor(),
            x_of(panel.kind, high)
                .ceil()
                .max(x_of(panel.kind, low).floor() + 1.0),
        ),
    }
}

/// A number in at most four characters or so.
fn short(value: f64) -> String {
    match value {
        value if value >= 10_000_000.0 => format!("{:.0}M", value / 1e6),
        value if value >= 1_000_000.0 => format!("{:.1}M", value / 1e6),
        value if value >= 10_000.0 => format!("{:.0}k", value / 1e3),
        value if value >= 1_000.0 => format!("{:.1}k", value / 1e3),
        value if value >= 10.0 || value.fract() == 0.0 => format!("{value:.0}"),
        value if value >= 1.0 => format!("{value:.1}"),
        value => format!("{value:.2}"),
    }
}
