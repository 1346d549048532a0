//! Charts as inline SVG that need nothing from elsewhere.
//!
//! A picture is stretched to the width of the page; words and numbers stand beside it as text, so that
//! they can be read on a phone. Colours are classes of the style sheet, and every other line is dashed, so
//! that lines are told apart without colours too. All positions are computed from the data alone: the same
//! data give the same bytes.

use std::fmt::Write as _;

use tickerml_edge::web::html::{Html, clock_short, day_clock, fixed, stamp};

pub use super::scale::Axis;
use super::scale::Scale;

/// Width and height of a picture in its own units.
const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 300.0;
/// Ticks along the bottom.
const TICKS_ACROSS: usize = 5;
/// A line is drawn with the lowest and the highest point of at most so many columns.
const COLUMNS: usize = 500;
/// A distance between points this many times the usual one is a hole.
const HOLE: f64 = 4.0;
/// Colours of the style sheet.
const COLOURS: usize = 8;
/// Values that a strip shows one by one; of more, it shows as many, evenly taken.
const STRIP_MAX: usize = 400;
/// Two days: longer time axes show dates, shorter ones also hours.
const DATES_FROM_NS: f64 = 2.0 * 86_400e9;

/// What numbers are, for ticks and labels.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Unit {
    /// Plain numbers.
    #[default]
    Plain,
    /// Fractions, shown as percentages.
    Percent,
    /// Nanoseconds since the epoch, shown as UTC.
    Time,
}

/// One line: its name and its points, in order of `x`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Line {
    /// What it is.
    pub name: String,
    /// Its points; one that is not finite interrupts it.
    pub points: Vec<(f64, f64)>,
}

/// A chart of several lines.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Lines {
    /// What it shows, for those who cannot see it and below it.
    pub caption: String,
    /// What goes across.
    pub across: Unit,
    /// What goes up.
    pub up: Unit,
    /// How it goes up.
    pub axis: Axis,
    /// The lines; the first is drawn strongest and on top.
    pub lines: Vec<Line>,
}

/// A row of a bar chart: a bar from zero, or a point with an interval.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Bar {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: f64,
    /// Lower and upper end of its interval; makes it a point with whiskers.
    pub interval: Option<[f64; 2]>,
    /// The number as it is written beside it.
    pub text: String,
}

/// A bin of a calibration plot.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bin {
    /// Mean of what was predicted.
    pub predicted: f64,
    /// Mean of what came.
    pub observed: f64,
    /// Cases in it.
    pub count: u64,
}

/// A named set of values of which the distribution is shown.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Strip {
    /// What they are.
    pub name: String,
    /// They.
    pub values: Vec<f64>,
}

/// A value with the decimals that its size calls for.
fn written(value: f64, unit: Unit, decimals: usize) -> String {
    match unit {
        Unit::Plain => fixed(Some(value), decimals),
        Unit::Percent => format!(
            "{}\u{a0}%",
            fixed(Some(value * 100.0), decimals.saturating_sub(2))
        ),
        Unit::Time => stamp(value.max(0.0) as u64),
    }
}

/// Draws lines, or says that there is nothing to draw.
pub(super) fn lines(h: &mut Html, chart: &Lines) {
    let drawn = |line: &Line| -> Vec<(f64, f64)> {
        let takes = |(x, y): &&(f64, f64)| x.is_finite() && Scale::takes(chart.axis, *y);
        line.points.iter().filter(takes).copied().collect()
    };
    let all: Vec<(f64, f64)> = chart.lines.iter().flat_map(drawn).collect();
    let [left, right] = bounds(all.iter().map(|point| point.0));
    if all.is_empty() || right <= left {
        h.raw("<p class=\"note\">")
            .text(&chart.caption)
            .raw(": not enough points to draw.</p>");
        return;
    }
    let [low, high] = bounds(all.iter().map(|point| point.1));
    let scale = Scale::new(chart.axis, low, high);
    h.raw("<figure>");
    legend(h, chart);
    h.raw("<div class=\"plot\"><svg viewBox=\"0 0 1000 300\" preserveAspectRatio=\"none\" role=\"img\" aria-label=\"")
        .text(&chart.caption)
        .raw("\">");
    for tick in &scale.ticks {
        level(h, (1.0 - scale.place(*tick)) * HEIGHT, "grid");
    }
    if scale.crosses_zero() {
        level(h, (1.0 - scale.place(0.0)) * HEIGHT, "zero");
    }
    for (place, line) in chart.lines.iter().enumerate().rev() {
        let path = path(&line.points, chart.axis, &scale, left, right);
        h.raw("<path class=\"line ");
        class(h, place);
        h.raw("\" d=\"").text(path).raw("\"><title>");
        h.text(&line.name).raw("</title></path>");
    }
    h.raw("</svg><ol class=\"ticks\" aria-hidden=\"true\">");
    for tick in &scale.ticks {
        h.raw("<li style=\"top:")
            .text(format_args!("{:.2}", (1.0 - scale.place(*tick)) * 100.0))
            .raw("%\">");
        h.text(written(*tick, chart.up, scale.decimals_of(*tick)))
            .raw("</li>");
    }
    h.raw("</ol></div>");
    across(h, chart.across, left, right);
    h.raw("<figcaption>")
        .text(&chart.caption)
        .raw("</figcaption></figure>");
}

/// The names of the lines, each with a piece of its line and its last value.
fn legend(h: &mut Html, chart: &Lines) {
    if chart.lines.len() < 2 {
        return;
    }
    h.raw("<ol class=\"names\">");
    for (place, line) in chart.lines.iter().enumerate() {
        h.raw(
            "<li><svg viewBox=\"0 0 24 8\" aria-hidden=\"true\"><path fill=\"none\" class=\"line ",
        );
        class(h, place);
        h.raw("\" d=\"M0,4h24\"/></svg>").text(&line.name);
        h.raw("</li>");
    }
    h.raw("</ol>");
}

/// Colour and dash of a line by its place.
fn class(h: &mut Html, place: usize) {
    h.raw("s").text(place % COLOURS);
    if place == 0 {
        h.raw(" first");
    } else if place % 2 == 1 {
        h.raw(" dash");
    }
}

/// A line across the whole picture.
fn level(h: &mut Html, y: f64, class: &'static str) {
    h.raw("<path class=\"").raw(class).raw("\" d=\"M0,");
    h.text(format_args!("{y:.1}")).raw("H1000\"/>");
}

/// The numbers along the bottom.
fn across(h: &mut Html, unit: Unit, left: f64, right: f64) {
    let decimals = Scale::new(Axis::Linear, left, right).decimals;
    h.raw("<ol class=\"across\" aria-hidden=\"true\">");
    for tick in 0..TICKS_ACROSS {
        let value = left + (right - left) * tick as f64 / (TICKS_ACROSS - 1) as f64;
        h.raw("<li>");
        match unit {
            Unit::Time if right - left > DATES_FROM_NS => {
                h.text(&stamp(value as u64)[..10]);
            }
            Unit::Time if right - left > DATES_FROM_NS / 2.0 => {
                h.text(day_clock(value as u64));
            }
            Unit::Time => {
                h.text(clock_short(value as u64));
            }
            unit => {
                h.text(written(value, unit, decimals));
            }
        }
        h.raw("</li>");
    }
    h.raw("</ol>");
}

/// Least and greatest of finite values; infinite the wrong way round when there are none.
fn bounds(values: impl Iterator<Item = f64>) -> [f64; 2] {
    values.fold([f64::INFINITY, f64::NEG_INFINITY], |[low, high], value| {
        [low.min(value), high.max(value)]
    })
}

/// The path of a line: of each column of the picture its first, lowest, highest and last point.
fn path(points: &[(f64, f64)], axis: Axis, scale: &Scale, left: f64, right: f64) -> String {
    let mut steps: Vec<f64> = points.windows(2).map(|two| two[1].0 - two[0].0).collect();
    steps.sort_by(f64::total_cmp);
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0.0);
    let mut out = String::new();
    let mut previous: Option<f64> = None;
    for column in points.chunk_by(|one, other| {
        points.len() > 4 * COLUMNS && column(one.0, left, right) == column(other.0, left, right)
    }) {
        for (x, y) in extremes(column) {
            if !(x.is_finite() && Scale::takes(axis, y)) {
                previous = None;
                continue;
            }
            let joined = previous.is_some_and(|before| x - before <= usual.max(0.0) * HOLE);
            let joined = joined || previous.is_some() && points.len() > 4 * COLUMNS;
            let at = (x - left) / (right - left) * WIDTH;
            let up = (1.0 - scale.place(y)) * HEIGHT;
            // Writing into a String cannot fail.
            let _ = write!(out, "{}{at:.1},{up:.1}", if joined { 'L' } else { 'M' });
            previous = Some(x);
        }
    }
    out
}

fn column(x: f64, left: f64, right: f64) -> usize {
    ((x - left) / (right - left) * COLUMNS as f64) as usize
}

/// The points of a column that shape it, in order.
fn extremes(points: &[(f64, f64)]) -> Vec<(f64, f64)> {
    if points.len() <= 4 {
        return points.to_vec();
    }
    let by = |one: &usize, other: &usize| points[*one].1.total_cmp(&points[*other].1);
    let low = (0..points.len()).min_by(by).unwrap_or(0);
    let high = (0..points.len()).max_by(by).unwrap_or(0);
    let mut kept = vec![0, low, high, points.len() - 1];
    kept.sort_unstable();
    kept.dedup();
    kept.into_iter().map(|place| points[place]).collect()
}

/// Draws rows of bars on one scale that holds zero.
pub(super) fn bars(h: &mut Html, rows: &[Bar], unit: Unit) {
    let ends = rows.iter().flat_map(|row| {
        let [low, high] = row.interval.unwrap_or([row.value; 2]);
        [row.value, low, high]
    });
    let [low, high] = bounds(ends.filter(|value| value.is_finite()).chain([0.0]));
    let scale = Scale::new(Axis::Linear, low, high);
    let at = |value: f64| scale.place(value) * WIDTH;
    h.raw("<figure><ol class=\"bars\">");
    for row in rows {
        h.raw("<li><span>").text(&row.name);
        h.raw("</span><svg viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
        h.raw("<path class=\"zero\" d=\"M")
            .text(format_args!("{:.1}", at(0.0)))
            .raw(",-6v26\"/>");
        if row.value.is_finite() {
            match row.interval {
                Some([from, to]) if from.is_finite() && to.is_finite() => {
                    whiskers(h, [at(from), at(row.value), at(to)])
                }
                _ => {
                    let [from, to] = [at(0.0).min(at(row.value)), at(0.0).max(at(row.value))];
                    h.raw("<rect y=\"1\" height=\"12\" class=\"")
                        .raw(if row.value < 0.0 { "under0" } else { "box" })
                        .raw("\" x=\"")
                        .text(format_args!("{from:.1}"));
                    h.raw("\" width=\"")
                        .text(format_args!("{:.1}", to - from))
                        .raw("\"/>");
                }
            }
        }
        h.raw("</svg><span class=\"n\">")
            .text(&row.text)
            .raw("</span></li>");
    }
    foot(h, &scale, unit);
    h.raw("</ol></figure>");
}

/// A point with its interval.
fn whiskers(h: &mut Html, [from, at, to]: [f64; 3]) {
    h.raw("<path class=\"whisker\" d=\"M");
    h.text(format_args!(
        "{from:.1},3v8M{from:.1},7H{to:.1}M{to:.1},3v8"
    ));
    h.raw("\"/><path class=\"point\" d=\"M");
    h.text(format_args!("{at:.1},7h0")).raw("\"/>");
}

/// The ends of a scale below rows.
fn foot(h: &mut Html, scale: &Scale, unit: Unit) {
    let ends = [scale.ticks.first(), scale.ticks.last()];
    h.raw("<li><span class=\"ends\" aria-hidden=\"true\">");
    for end in ends.into_iter().flatten() {
        h.raw("<span>")
            .text(written(*end, unit, scale.decimals))
            .raw("</span>");
    }
    h.raw("</span></li>");
}

/// Draws what was predicted against what came; on the diagonal they agree.
pub(super) fn calibration(h: &mut Html, caption: &str, bins: &[Bin], unit: Unit) {
    let known: Vec<&Bin> = bins
        .iter()
        .filter(|bin| bin.count > 0 && bin.predicted.is_finite() && bin.observed.is_finite())
        .collect();
    if known.is_empty() {
        h.raw("<p class=\"note\">")
            .text(caption)
            .raw(": no case to show.</p>");
        return;
    }
    let [low, high] = bounds(known.iter().flat_map(|bin| [bin.predicted, bin.observed]));
    let scale = Scale::new(Axis::Linear, low, high);
    let most = known.iter().map(|bin| bin.count).max().unwrap_or(1) as f64;
    h.raw("<figure class=\"square\"><div class=\"plot\"><svg viewBox=\"0 0 300 300\" role=\"img\" aria-label=\"")
        .text(caption)
        .raw("\">");
    for tick in &scale.ticks {
        let at = scale.place(*tick) * HEIGHT;
        h.raw("<path class=\"grid\" d=\"M0,")
            .text(format_args!("{:.1}", HEIGHT - at))
            .raw("h300M")
            .text(format_args!("{at:.1}"))
            .raw(",0v300\"/>");
    }
    h.raw("<path class=\"zero dash\" d=\"M0,300L300,0\"/>");
    for bin in known {
        let (x, y) = (scale.place(bin.predicted), 1.0 - scale.place(bin.observed));
        h.raw("<path class=\"dots s0\" stroke-opacity=\"")
            .text(format_args!(
                "{:.2}",
                0.3 + 0.7 * (bin.count as f64 / most).sqrt()
            ))
            .raw("\" d=\"M")
            .text(format_args!("{:.1},{:.1}h0", x * HEIGHT, y * HEIGHT))
            .raw("\"><title>")
            .text(format_args!(
                "predicted {}, came {}, {} cases",
                written(bin.predicted, unit, scale.decimals + 1),
                written(bin.observed, unit, scale.decimals + 1),
                bin.count
            ))
            .raw("</title></path>");
    }
    h.raw("</svg><ol class=\"ticks\" aria-hidden=\"true\">");
    for tick in &scale.ticks {
        h.raw("<li style=\"top:")
            .text(format_args!("{:.2}", (1.0 - scale.place(*tick)) * 100.0))
            .raw("%\">");
        h.text(written(*tick, unit, scale.decimals)).raw("</li>");
    }
    h.raw("</ol></div><ol class=\"across\" aria-hidden=\"true\">");
    for tick in &scale.ticks {
        h.raw("<li>")
            .text(written(*tick, unit, scale.decimals))
            .raw("</li>");
    }
    h.raw("</ol><figcaption>")
        .text(caption)
        .raw(" Predicted across, what came up; the dashed line is perfect, strong points hold more cases.</figcaption></figure>");
}

/// Draws the distribution of each set of values: every value, the middle half, the range without the
/// outermost twentieths, and the median.
pub(super) fn strips(h: &mut Html, strips: &[Strip], unit: Unit) {
    let sorted: Vec<(&str, Vec<f64>)> = strips
        .iter()
        .map(|strip| {
            let finite = strip
                .values
                .iter()
                .copied()
                .filter(|value| value.is_finite());
            let mut values: Vec<f64> = finite.collect();
            values.sort_by(f64::total_cmp);
            (strip.name.as_str(), values)
        })
        .collect();
    let [low, high] = bounds(sorted.iter().flat_map(|(_, values)| values).copied());
    if low > high {
        h.raw("<p class=\"note\">No values to show.</p>");
        return;
    }
    let scale = Scale::new(Axis::Linear, low, high);
    let at = |value: f64| scale.place(value) * WIDTH;
    h.raw("<figure><ol class=\"bars\">");
    for (name, values) in &sorted {
        h.raw("<li><span>").text(name);
        h.raw("</span><svg viewBox=\"0 0 1000 14\" preserveAspectRatio=\"none\" aria-hidden=\"true\">");
        if scale.crosses_zero() {
            h.raw("<path class=\"zero\" d=\"M")
                .text(format_args!("{:.1}", at(0.0)))
                .raw(",-6v26\"/>");
        }
        let quantile = |share: f64| {
            let place = share * (values.len().saturating_sub(1)) as f64;
            values.get(place.round() as usize).copied()
        };
        let range = [0.05, 0.25, 0.5, 0.75, 0.95].map(quantile);
        if let [
            Some(low),
            Some(lower),
            Some(middle),
            Some(upper),
            Some(high),
        ] = range
        {
            for (class, from, to) in [("range", low, high), ("inner", lower, upper)] {
                h.raw("<rect y=\"1\" height=\"12\" class=\"")
                    .raw(class)
                    .raw("\" x=\"");
                h.text(format_args!("{:.1}", at(from))).raw("\" width=\"");
                h.text(format_args!("{:.1}", at(to) - at(from))).raw("\"/>");
            }
            let mut ticks = String::new();
            let every = values.len().div_ceil(STRIP_MAX).max(1);
            for value in values.iter().step_by(every) {
                // Writing into a String cannot fail.
                let _ = write!(ticks, "M{:.1},3v8", at(*value));
            }
            h.raw("<path class=\"each\" d=\"").text(ticks).raw("\"/>");
            h.raw("<path class=\"middle\" d=\"M");
            h.text(format_args!("{:.1},0v14", at(middle))).raw("\"/>");
            h.raw("</svg><span class=\"n\">");
            h.text(written(middle, unit, scale.decimals + 1));
            h.raw("</span></li>");
        } else {
            h.raw("</svg><span class=\"n\">—</span></li>");
        }
    }
    foot(h, &scale, unit);
    h.raw("</ol></figure>");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(draw: impl FnOnce(&mut Html)) -> String {
        let mut h = Html::new();
        draw(&mut h);
        h.finish().into_string()
    }

    #[test]
    fn a_hole_and_a_value_that_is_not_finite_interrupt_a_line() {
        let line = |points: &[(f64, f64)]| {
            let scale = Scale::new(Axis::Linear, 0.0, 4.0);
            path(points, Axis::Linear, &scale, 0.0, 100.0)
        };
        let whole: Vec<(f64, f64)> = (0..10).map(|x| (f64::from(x), 1.0)).collect();
        assert_eq!(line(&whole).matches('M').count(), 1);
        let mut holed = whole.clone();
        holed.push((99.0, 1.0));
        assert_eq!(line(&holed).matches('M').count(), 2);
        let mut broken = whole;
        broken[4].1 = f64::NAN;
        assert_eq!(line(&broken).matches('M').count(), 2);
    }

    #[test]
    fn a_long_line_keeps_its_extremes() {
        let mut points: Vec<(f64, f64)> = (0..100_000).map(|x| (f64::from(x), 0.0)).collect();
        points[54_321].1 = 4.0;
        let scale = Scale::new(Axis::Linear, 0.0, 4.0);
        let path = path(&points, Axis::Linear, &scale, 0.0, 99_999.0);
        assert!(path.len() < 40_000, "{}", path.len());
        assert!(path.contains(",0.0L"), "the peak is drawn at the top");
    }

    #[test]
    fn names_are_escaped_and_nothing_is_drawn_of_nothing() {
        let mut chart = Lines {
            caption: "<b>".to_owned(),
            lines: vec![
                Line {
                    name: "\"><script>".to_owned(),
                    points: vec![(0.0, 1.0), (1.0, 2.0)],
                },
                Line::default(),
            ],
            ..Lines::default()
        };
        let text = drawn(|h| lines(h, &chart));
        assert!(
            !text.contains("<script>") && !text.contains("<b>"),
            "{text}"
        );
        assert_eq!(text, drawn(|h| lines(h, &chart)), "the same bytes again");
        chart.lines.clear();
        assert!(drawn(|h| lines(h, &chart)).contains("not enough points"));
        assert!(drawn(|h| calibration(h, "c", &[], Unit::Plain)).contains("no case"));
        assert!(drawn(|h| strips(h, &[], Unit::Plain)).contains("No values"));
    }

    #[test]
    fn bars_stand_on_zero_and_points_have_whiskers() {
        let rows = [
            Bar {
                name: "fees".to_owned(),
                value: -1.0,
                text: "−1".to_owned(),
                ..Bar::default()
            },
            Bar {
                name: "difference".to_owned(),
                value: 2.0,
                interval: Some([1.0, 3.0]),
                text: "2".to_owned(),
            },
        ];
        let text = drawn(|h| bars(h, &rows, Unit::Plain));
        assert!(
            text.contains("under0") && text.contains("whisker"),
            "{text}"
        );
    }
}
