//! The plots of `docs/`, drawn from what was recorded.

use std::collections::BTreeSet;
use std::path::Path;

use anyhow::{Result, anyhow};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::record::{LineRecord, Record, SeriesRecord, VariantRecord};

const FONT: &str = "sans-serif";
const OURS: RGBColor = RGBColor(0, 102, 180);
const THEIRS: RGBColor = RGBColor(140, 140, 140);
const MORE: RGBColor = RGBColor(210, 105, 30);
/// What costs more than this many times the median of all is told, not drawn: all others would be slivers.
const OFF_THE_SCALE: f64 = 5.0;
const PANEL: (u32, u32) = (480, 300);

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// The comparison as bars, with quartiles.
pub fn comparison(record: &Record, file: &Path) -> Result<()> {
    let mut costs: Vec<f64> = record.variants.iter().map(|variant| variant.cost.cpu_us.median).collect();
    costs.sort_by(f64::total_cmp);
    let middle = costs.get(costs.len() / 2).copied().unwrap_or(1.0);
    let (drawn, beyond): (Vec<_>, Vec<_>) =
        record.variants.iter().partition(|variant| variant.cost.cpu_us.median <= OFF_THE_SCALE * middle);
    let most = drawn.iter().map(|variant| variant.cost.cpu_us.upper_quartile).fold(1.0, f64::max) * 1.15;

    let height = 34 * u32::try_from(drawn.len() + beyond.len())? + 90;
    let root = SVGBackend::new(file, (900, height)).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    let rows = i32::try_from(drawn.len() + beyond.len())?;
    let mut chart = ChartBuilder::on(&root)
        .caption("CPU time of the whole Envoy for a request, µs (median, quartiles)", (FONT, 17))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(330)
        .build_cartesian_2d(0.0..most, 0..rows)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_labels(8)
        .x_label_formatter(&|cost| format!("{cost:.0}"))
        .label_style((FONT, 13))
        .draw()
        .map_err(drawing)?;
    let plain = |variant: &VariantRecord| variant.title.replace('`', "");
    for (at, variant) in drawn.iter().chain(&beyond).enumerate() {
        let row = rows - 1 - i32::try_from(at)?;
        let cpu = variant.cost.cpu_us;
        let drawn = cpu.median <= OFF_THE_SCALE * middle;
        let colour = if variant.title.starts_with("entra-gate") { OURS } else { THEIRS };
        // A row is a unit high: its middle in pixels, since the axis counts whole rows.
        let (left, bottom) = chart.backend_coord(&(0.0, row));
        let (_, top) = chart.backend_coord(&(0.0, row + 1));
        let centre = (top + bottom) / 2;
        let label = (FONT, 14).into_font().into_text_style(&root).pos(Pos::new(HPos::Right, VPos::Center));
        root.draw(&Text::new(plain(variant), (left - 8, centre), &label)).map_err(drawing)?;
        let value = (FONT, 13).into_font().into_text_style(&root).pos(Pos::new(HPos::Left, VPos::Center));
        if !drawn {
            root.draw(&Text::new(format!("{:.0}: not drawn", cpu.median), (left + 6, centre), &value))
                .map_err(drawing)?;
            continue;
        }
        let across = |cost: f64| chart.backend_coord(&(cost, row)).0;
        let bar = [(left, centre - 9), (across(cpu.median), centre + 9)];
        root.draw(&Rectangle::new(bar, colour.mix(0.75).filled())).map_err(drawing)?;
        let quartiles = vec![(across(cpu.lower_quartile), centre), (across(cpu.upper_quartile), centre)];
        root.draw(&PathElement::new(quartiles, BLACK.stroke_width(2))).map_err(drawing)?;
        let beside = across(cpu.upper_quartile.max(cpu.median)) + 6;
        root.draw(&Text::new(format!("{:.0}", cpu.median), (beside, centre), &value)).map_err(drawing)?;
    }
    root.present().map_err(drawing)
}

/// Each growth in a panel of its own.
pub fn growth(record: &Record, file: &Path) -> Result<()> {
    let rows = record.growth.len().div_ceil(2);
    let (width, height) = PANEL;
    let root = SVGBackend::new(file, (2 * width, height * u32::try_from(rows)?)).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    for (area, series) in root.split_evenly((rows, 2)).iter().zip(&record.growth) {
        panel(area, series)?;
    }
    root.present().map_err(drawing)
}

fn panel(area: &Area<'_>, series: &SeriesRecord) -> Result<()> {
    let points = || series.lines.iter().flat_map(|line| &line.points);
    let power = |size: usize| (size as f64).log10();
    let sizes: BTreeSet<usize> = points().map(|point| point.size).collect();
    let (least, greatest) = (sizes.first().copied().map_or(0.0, power), sizes.last().copied().map_or(1.0, power));
    let beside = (greatest - least) * 0.05;
    let most = points().map(|point| point.cost.cpu_us.upper_quartile).fold(1.0, f64::max);
    let mut chart = ChartBuilder::on(area)
        .caption(format!("µs CPU by {}", series.axis), (FONT, 15))
        .margin(10)
        .x_label_area_size(28)
        .y_label_area_size(45)
        .build_cartesian_2d(least - beside..greatest + beside, 0.0..most * 1.35)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .disable_x_mesh()
        .x_labels(0)
        .y_labels(6)
        .y_label_formatter(&|cost| format!("{cost:.0}"))
        .label_style((FONT, 12))
        .draw()
        .map_err(drawing)?;
    // Marks at the sizes that were measured, which are no round powers of ten.
    let label = (FONT, 12).into_font().into_text_style(area).pos(Pos::new(HPos::Center, VPos::Top));
    for size in sizes {
        let (across, down) = chart.backend_coord(&(power(size), 0.0));
        let (left, top) = area.get_base_pixel();
        area.draw(&Text::new(size.to_string(), (across - left, down - top + 6), &label)).map_err(drawing)?;
    }
    for (line, colour) in series.lines.iter().zip(colours(&series.lines)) {
        let at = |size: usize, cost: f64| (power(size), cost);
        let medians = line.points.iter().map(|point| at(point.size, point.cost.cpu_us.median));
        chart
            .draw_series(LineSeries::new(medians.clone(), colour.stroke_width(2)))
            .map_err(drawing)?
            .label(line.title.clone())
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart.draw_series(medians.map(|point| Circle::new(point, 3, colour.filled()))).map_err(drawing)?;
        let quartiles = line.points.iter().map(|point| {
            let cpu = point.cost.cpu_us;
            let ends = vec![at(point.size, cpu.lower_quartile), at(point.size, cpu.upper_quartile)];
            PathElement::new(ends, colour.stroke_width(1))
        });
        chart.draw_series(quartiles).map_err(drawing)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 12))
        .draw()
        .map_err(drawing)
}

/// How large a share of values is at most so large: a line for each, with its name, its values and a limit.
pub fn distributions(caption: &str, axis: &str, lines: &[(&str, &[f64], f64)], file: &Path) -> Result<()> {
    let root = SVGBackend::new(file, (900, 340)).into_drawing_area();
    root.fill(&WHITE).map_err(drawing)?;
    let most = lines.iter().flat_map(|(_, values, limit)| values.iter().chain([limit])).copied().fold(0.0, f64::max);
    let mut chart = ChartBuilder::on(&root)
        .caption(caption, (FONT, 17))
        .margin(10)
        .x_label_area_size(40)
        .y_label_area_size(50)
        .build_cartesian_2d(0.0..most * 1.05, 0.0..1.0)
        .map_err(drawing)?;
    chart
        .configure_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc(axis)
        .y_label_formatter(&|share| format!("{:.0} %", share * 100.0))
        .label_style((FONT, 13))
        .draw()
        .map_err(drawing)?;
    for ((title, values, limit), colour) in lines.iter().zip([OURS, MORE]) {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let share = |at: usize| at as f64 / sorted.len() as f64;
        let steps = sorted.iter().enumerate().flat_map(|(at, value)| [(*value, share(at)), (*value, share(at + 1))]);
        chart
            .draw_series(LineSeries::new(steps, colour.stroke_width(2)))
            .map_err(drawing)?
            .label(*title)
            .legend(move |(x, y)| PathElement::new(vec![(x, y), (x + 16, y)], colour.stroke_width(2)));
        chart
            .draw_series(DashedLineSeries::new([(*limit, 0.0), (*limit, 1.0)], 4, 4, colour.stroke_width(1)))
            .map_err(drawing)?;
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.8))
        .label_font((FONT, 13))
        .draw()
        .map_err(drawing)?;
    root.present().map_err(drawing)
}

fn colours(lines: &[LineRecord]) -> impl Iterator<Item = RGBColor> {
    lines.iter().map(|line| match line.title.as_str() {
        "no filter" => THEIRS,
        title if title.ends_with("new tokens") => MORE,
        _ => OURS,
    })
}

fn drawing(error: impl std::fmt::Display) -> anyhow::Error {
    anyhow!("drawing: {error}")
}
