//! A chart as SVG, by plotters.

use std::error::Error;
use std::io;

use plotters::coord::Shift;
use plotters::prelude::*;

use super::panels::{Line, Panel, Scale};
use crate::catalog::Kind;

/// Narrow enough for a phone, where a page has room for one column.
const WIDTH: u32 = 440;
const BAR_PX: u32 = 11;
const GAP_PX: u32 = 6;
const TITLE_PX: u32 = 36;
const LEGEND_PX: u32 = 22;
const FOOT_PX: u32 = 40;
const NAMES_PX: u32 = 190;

/// Of the first to the last value of a line.
type Shades = [RGBColor; 3];

const NEUTRAL: Shades = [
    RGBColor(51, 65, 85),
    RGBColor(112, 128, 150),
    RGBColor(180, 190, 204),
];

/// `page.css` has the first of each for the page's legend.
fn shades(kind: Option<Kind>) -> Shades {
    match kind {
        None => NEUTRAL,
        Some(Kind::Blocking) => rgb([0xb4_53_09, 0xf5_9e_0b, 0xfc_d3_4d]),
        Some(Kind::Requests) => rgb([0x6d_28_d9, 0xa7_8b_fa, 0xd0_c3_fd]),
        Some(Kind::Callbacks) => rgb([0x1d_4e_d8, 0x60_a5_fa, 0xb2_d4_fe]),
        Some(Kind::Actors) => rgb([0xbe_18_5d, 0xf4_72_b6, 0xfb_c4_e1]),
        Some(Kind::Async) => rgb([0x0e_74_90, 0x22_d3_ee, 0xa5_ec_f9]),
        Some(Kind::Coroutines) => rgb([0x04_78_57, 0x10_b9_81, 0x86_d6_b8]),
    }
}

const fn rgb(colors: [u32; 3]) -> Shades {
    const fn of(color: u32) -> RGBColor {
        let [_, red, green, blue] = color.to_be_bytes();
        RGBColor(red, green, blue)
    }
    [of(colors[0]), of(colors[1]), of(colors[2])]
}

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
    let height = head_px(panel) + FOOT_PX + lines * line_px(panel);
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

fn head_px(panel: &Panel) -> u32 {
    TITLE_PX + u32::from(panel.has_legend()) * LEGEND_PX
}

/// What a line of a chart takes.
fn line_px(panel: &Panel) -> u32 {
    GAP_PX + BAR_PX * bars(panel)
}

fn bars(panel: &Panel) -> u32 {
    match panel.scale {
        Scale::Linear => u32::try_from(panel.series.len()).unwrap_or(1),
        Scale::Logarithmic => 1,
    }
}

fn draw_on(panel: &Panel, area: &Area<'_>) -> Drawn {
    area.fill(&WHITE)?;
    draw_head(panel, area)?;
    let (begin, end) = range(panel);
    let lines = panel.lines.len();
    let mut chart = ChartBuilder::on(area)
        .margin_right(44)
        .margin_top(head_px(panel))
        .set_label_area_size(LabelAreaPosition::Left, NAMES_PX)
        .set_label_area_size(LabelAreaPosition::Bottom, FOOT_PX)
        // Downwards, as the lines are read.
        .build_cartesian_2d(begin..end, lines as f64..0.0)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(5)
        .x_label_formatter(&|&x| tick(panel.scale, x))
        .x_desc(panel.unit)
        .bold_line_style(GRID)
        .light_line_style(TRANSPARENT)
        .axis_style(GRID)
        .label_style(("sans-serif", 12).into_font().color(&INK))
        .draw()?;
    for (place, line) in panel.lines.iter().enumerate() {
        draw_name(panel, area, place, line)?;
        let marks = marks(panel, place, line);
        match panel.scale {
            Scale::Linear => {
                chart.draw_series(marks.iter().map(|mark| {
                    Rectangle::new(
                        [(begin, mark.top), (mark.x, mark.bottom)],
                        mark.color.filled(),
                    )
                }))?;
                // What it is exactly, where there is room for it.
                chart.draw_series(marks.iter().map(|mark| {
                    let place = (mark.x + (end - begin) * 0.01, mark.top);
                    Text::new(short(mark.value), place, label())
                }))?;
            }
            Scale::Logarithmic => {
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
                // The last alone: others stand before it on the same line.
                let last = marks.iter().max_by(|a, b| a.x.total_cmp(&b.x));
                chart.draw_series(last.map(|mark| {
                    let place = (mark.x + (end - begin) * 0.02, mark.top);
                    Text::new(short(mark.value), place, label())
                }))?;
            }
        }
    }
    area.present()?;
    Ok(())
}

fn label() -> TextStyle<'static> {
    ("sans-serif", 10).into_font().color(&INK)
}

fn draw_head(panel: &Panel, area: &Area<'_>) -> Drawn {
    let title = ("sans-serif", 17)
        .into_font()
        .style(FontStyle::Bold)
        .color(&INK);
    area.draw_text(&panel.title, &title, (10, 10))?;
    if !panel.has_legend() {
        return Ok(());
    }
    let small = ("sans-serif", 12).into_font().color(&INK);
    let mut x = 10;
    for (series, name) in panel.series.iter().enumerate() {
        let color = NEUTRAL[series % NEUTRAL.len()];
        area.draw(&Rectangle::new([(x, 37), (x + 9, 46)], color.filled()))?;
        area.draw_text(name, &small, (x + 14, 36))?;
        x += 34 + 7 * i32::try_from(name.len()).unwrap_or(0);
    }
    Ok(())
}

fn draw_name(panel: &Panel, area: &Area<'_>, place: usize, line: &Line) -> Drawn {
    let place = u32::try_from(place).unwrap_or(0);
    let y = head_px(panel) + place * line_px(panel) + line_px(panel) / 2 - 6;
    let [color, ..] = shades(line.kind);
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
    let colors = shades(line.kind);
    let (bar, gap) = (f64::from(BAR_PX), f64::from(GAP_PX));
    let whole = f64::from(line_px(panel));
    let values = line.values.iter().enumerate();
    values
        .filter_map(|(series, &value)| {
            let value = value?;
            let from_top = match panel.scale {
                Scale::Linear => gap / 2.0 + bar * series as f64,
                Scale::Logarithmic => gap / 2.0,
            };
            let top = place as f64 + from_top / whole;
            Some(Mark {
                value,
                x: x_of(panel.scale, value),
                top,
                bottom: top + (bar - 1.0) / whole,
                color: colors[series % colors.len()],
            })
        })
        .collect()
}

/// Nothing has no logarithm, and what is less is as good as nothing.
const LOGARITHM_MIN: f64 = 0.01;

/// A logarithmic axis is drawn as a linear one of logarithms.
fn x_of(scale: Scale, value: f64) -> f64 {
    match scale {
        Scale::Linear => value,
        Scale::Logarithmic => value.max(LOGARITHM_MIN).log10(),
    }
}

/// What stands below the axis at `x`: on a logarithmic one below powers of ten.
fn tick(scale: Scale, x: f64) -> String {
    match scale {
        Scale::Linear => short(x),
        Scale::Logarithmic if x.fract().abs() < 0.01 => short(10f64.powf(x)),
        Scale::Logarithmic => String::new(),
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
    match panel.scale {
        Scale::Linear => (0.0, if high > 0.0 { high * 1.02 } else { 1.0 }),
        Scale::Logarithmic => (
            x_of(panel.scale, low).floor(),
            x_of(panel.scale, high)
                .ceil()
                .max(x_of(panel.scale, low).floor() + 1.0),
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
