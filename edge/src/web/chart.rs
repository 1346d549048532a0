//! Charts as inline SVG. Positions are SVG attributes, because inline styles are refused by the
//! content security policy; colours and strokes are in the style sheet.

use super::{
    html::{Html, UNKNOWN, clock_short, day_clock, fixed, money, put, signed, stamp},
    snapshot::{Account, Queue},
};

const WIDTH: f64 = 1000.0;
const HEIGHT: f64 = 240.0;
/// Horizontal bands between grid lines.
const BANDS: usize = 4;
/// A hole in time this many times the usual step is drawn as a hole.
const HOLE: u64 = 4;
const DAY_NS: u64 = 86_400_000_000_000;
/// Width of the wider bars.
const WIDE: f64 = 90.0;

/// The scale of the vertical axis: a round step, and bounds that are multiples of it.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Scale {
    low: f64,
    step: f64,
}

impl Scale {
    /// The smallest round scale of [`BANDS`] bands that holds both values.
    fn new(min: f64, max: f64) -> Self {
        let span = (max - min).max(max.abs() * 1e-6).max(0.01);
        let mut step = 10f64.powf((span / BANDS as f64).log10().floor());
        // At most a dozen tries: three steps per decade, and a decade is always enough.
        for factor in [2.0, 2.5, 2.0].iter().cycle().take(12) {
            let low = (min / step).floor() * step;
            if low + step * BANDS as f64 >= max {
                return Self { low, step };
            }
            step *= factor;
        }
        Self {
            low: min,
            step: span / BANDS as f64,
        }
    }

    fn high(self) -> f64 {
        self.low + self.step * BANDS as f64
    }

    /// Vertical position in the picture, zero at the top.
    fn y(self, value: f64) -> f64 {
        (self.high() - value) / (self.high() - self.low) * HEIGHT
    }

    fn decimals(self) -> usize {
        if self.step >= 1.0 { 0 } else { 2 }
    }
}

/// The equity curve with its axes, high-water mark and a readout that the script fills.
pub(super) fn equity(h: &mut Html, account: &Account) {
    let points: Vec<(u64, f64)> = account
        .equity_history
        .iter()
        .copied()
        .filter(|(_, v)| v.is_finite())
        .collect();
    let (Some(&(first, start)), Some(&(last, end))) = (points.first(), points.last()) else {
        h.raw("<p class=\"none\">No equity history yet.</p>");
        return;
    };
    if last <= first {
        h.raw("<p class=\"none\">The equity chart starts with the second point.</p>");
        return;
    }
    let min = points.iter().map(|(_, v)| *v).fold(f64::INFINITY, f64::min);
    let max = points
        .iter()
        .map(|(_, v)| *v)
        .fold(f64::NEG_INFINITY, f64::max);
    // The mark belongs in the picture only when it does not flatten the curve.
    let mark = account
        .high_water_mark
        .filter(|m| m.is_finite() && *m >= max && m - max <= (max - min).max(0.01) * 0.5);
    let scale = Scale::new(min, mark.unwrap_or(max));
    let x = |ns: u64| ns.saturating_sub(first) as f64 / (last - first) as f64 * WIDTH;

    put!(h; r#"<figure class="chart"><div class="plot"><svg viewBox="0 0 1000 240""#
        r#" preserveAspectRatio="none" role="img" data-chart data-t0=""# (first)
        r#"" data-t1=""# (last) r#"" data-low=""# (scale.low) r#"" data-high=""# (scale.high())
        r#"" aria-label="Equity from "# (stamp(first)) " to " (stamp(last)) " UTC: "
        (money(Some(start))) " to " (money(Some(end))) ", lowest " (money(Some(min))) ", highest "
        (money(Some(max))) r#""><g class="grid">"#);
    for band in 0..=BANDS {
        level(h, HEIGHT * band as f64 / BANDS as f64);
    }
    let (line, area) = curve(&points, x, scale);
    put!(h; r#"</g><path class="area" d=""# (area) r#""/>"#);
    if let Some(mark) = mark {
        put!(h; r#"<g class="mark">"# [level(h, scale.y(mark))] "</g>");
    }
    put!(h; r#"<path class="line" d=""# (line) r#""/><path class="dot" d=""#
        (format_args!("M{:.1},{:.1}h0", x(last), scale.y(end)))
        r#""/><line class="cross" x1="-9" x2="-9" y1="0" y2="240"/></svg>"#
        r#"<ol class="ticks" aria-hidden="true">"#);
    for band in 0..=BANDS {
        let value = scale.high() - scale.step * band as f64;
        put!(h; "<li>" (fixed(Some(value), scale.decimals())) "</li>");
    }
    put!(h; r#"</ol></div><ol class="times" aria-hidden="true">"#);
    let at = if last - first > DAY_NS {
        day_clock
    } else {
        clock_short
    };
    for ns in [first, first + (last - first) / 2, last] {
        put!(h; "<li>" (at(ns)) "</li>");
    }
    put!(h; "</ol><figcaption><span data-readout>" (signed(Some(end - start), 2)) " since "
        (at(first)) "</span>");
    if mark.is_some() {
        put!(h; r#"<span class="key">High-water mark</span>"#);
    }
    put!(h; "</figcaption></figure>");
}

/// A line across the whole picture.
fn level(h: &mut Html, y: f64) {
    let y = format!("{y:.1}");
    put!(h; r#"<line x1="0" x2="1000" y1=""# (&y) r#"" y2=""# (&y) r#""/>"#);
}

/// The curve and the area below it as path data. A hole in time is a hole in the curve.
fn curve(points: &[(u64, f64)], x: impl Fn(u64) -> f64, scale: Scale) -> (String, String) {
    use std::fmt::Write;
    let mut steps: Vec<u64> = points
        .windows(2)
        .map(|w| w[1].0.saturating_sub(w[0].0))
        .collect();
    steps.sort_unstable();
    let usual = steps.get(steps.len() / 2).copied().unwrap_or(0).max(1);
    let mut line = String::with_capacity(points.len() * 12);
    let mut area = String::with_capacity(points.len() * 13);
    let mut previous: Option<(u64, f64)> = None;
    // Writing into a String cannot fail.
    for &(ns, value) in points {
        let at = x(ns);
        let joined =
            previous.is_some_and(|(p, _)| ns.saturating_sub(p) <= usual.saturating_mul(HOLE));
        if !joined {
            if let Some((_, end)) = previous {
                let _ = write!(area, "L{end:.1},{HEIGHT}Z");
            }
            let _ = write!(area, "M{at:.1},{HEIGHT}");
        }
        let _ = write!(
            line,
            "{}{at:.1},{:.1}",
            if joined { 'L' } else { 'M' },
            scale.y(value)
        );
        let _ = write!(area, "L{at:.1},{:.1}", scale.y(value));
        previous = Some((ns, at));
    }
    if let Some((_, end)) = previous {
        let _ = write!(area, "L{end:.1},{HEIGHT}Z");
    }
    (line, area)
}

/// A balance in −1 to 1 as a bar from the middle, and as a number.
pub(super) fn balance(h: &mut Html, value: Option<f64>) {
    let Some(value) = value.filter(|v| v.is_finite()) else {
        h.raw(UNKNOWN);
        return;
    };
    let width = value.abs().min(1.0) * 30.0;
    let x = if value < 0.0 { 30.0 - width } else { 30.0 };
    let class = if value < 0.0 { "ask" } else { "bid" };
    bar(h, "M0,5h60M30,0v10", class, x, width);
    put!(h; " " (signed(Some(value), 2)));
}

/// A fill level as a bar and a percentage.
pub(super) fn fullness(h: &mut Html, depth: u64, capacity: u64) {
    if capacity == 0 {
        h.raw(UNKNOWN);
        return;
    }
    let share = (depth as f64 / capacity as f64).min(1.0);
    let class = if share > 0.5 { "ask" } else { "bid" };
    bar(h, "M0,5h60", class, 0.0, share * 60.0);
    put!(h; " " (format_args!("{:.0}\u{a0}%", share * 100.0)));
}

/// A place in a queue: from the front (left) to what was ahead on joining (right), the range between
/// both bounds, and a mark at the estimate.
pub(super) fn queue(h: &mut Html, queue: &Queue) {
    let joined = queue.joined.filter(|v| v.is_finite()).unwrap_or(0.0);
    let whole = queue.pessimistic.max(queue.estimate).max(joined);
    let at = |value: f64| {
        if whole > 0.0 {
            (value / whole).clamp(0.0, 1.0) * WIDE
        } else {
            0.0
        }
    };
    let (low, high) = (at(queue.optimistic), at(queue.pessimistic));
    let mark = at(queue.estimate).clamp(1.0, WIDE - 1.0);
    // A range of nothing is still a place.
    let width = (high - low).max(1.0).min(WIDE - low.min(WIDE - 1.0));
    put!(h; r#"<svg class="bar wide" viewBox="0 0 90 12" aria-hidden="true"><path class="rule" d="M.5,1v10M.5,6h89M89.5,1v10"/>"#
        r#"<rect class="range" y="3" height="6" x=""# (format_args!("{:.1}", low.min(WIDE - 1.0)))
        r#"" width=""# (format_args!("{width:.1}")) r#""/><rect class="mark" y="0" height="12" width="2" x=""#
        (format_args!("{:.1}", mark - 1.0)) r#""/></svg>"#);
}

/// How much of a limit is used, as a bar: the tick near its end is the limit itself.
pub(super) fn used(h: &mut Html, used: Option<f64>, tripped: bool) {
    /// Where the limit stands, so that what is beyond it can be seen.
    const LIMIT_AT: f64 = 75.0;
    let Some(used) = used.filter(|v| v.is_finite()) else {
        return;
    };
    let class = match used {
        _ if tripped => "over",
        u if u >= 0.8 => "ask",
        _ => "bid",
    };
    let width = (used * LIMIT_AT).clamp(0.0, WIDE);
    put!(h; r#"<svg class="bar wide" viewBox="0 0 90 12" aria-hidden="true"><path class="rule" d="M0,6h90"/><rect y="3" height="6" x="0" class=""#
        (class) r#"" width=""# (format_args!("{width:.1}")) r#""/><path class="tick" d="M75,0v12"/></svg>"#);
}

/// A bar of 60 by 10 with its rule.
fn bar(h: &mut Html, rule: &'static str, class: &'static str, x: f64, width: f64) {
    put!(h; r#"<svg class="bar" viewBox="0 0 60 10" aria-hidden="true"><path class="rule" d=""#
        (rule) r#""/><rect y="2" height="6" class=""# (class) r#"" x=""# (format_args!("{x:.1}"))
        r#"" width=""# (format_args!("{width:.1}")) r#""/></svg>"#);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_is_round_and_holds_both_ends() {
        for (min, max) in [
            (9_990.0, 10_042.0),
            (0.0, 0.0),
            (-5.5, 3.2),
            (1e7, 1e7 + 1.0),
            (99.9, 100.1),
        ] {
            let scale = Scale::new(min, max);
            assert!(
                scale.low <= min && scale.high() >= max,
                "{min} {max} {scale:?}"
            );
            assert!(scale.y(max) >= 0.0 && scale.y(min) <= HEIGHT);
        }
        assert_eq!(
            Scale::new(9_990.0, 10_042.0),
            Scale {
                low: 9_980.0,
                step: 20.0
            }
        );
    }

    #[test]
    fn a_hole_in_time_is_a_hole_in_the_curve() {
        let points = [(0, 1.0), (10, 2.0), (20, 1.0), (500, 1.5), (510, 1.0)];
        let (line, area) = curve(
            &points,
            |ns| ns as f64,
            Scale {
                low: 0.0,
                step: 1.0,
            },
        );
        assert_eq!(line.matches('M').count(), 2);
        assert_eq!(area.matches('Z').count(), 2);
    }

    #[test]
    fn too_little_history_says_so() {
        for history in [vec![], vec![(5, 1.0)], vec![(5, f64::NAN), (6, 1.0)]] {
            let mut h = Html::new();
            equity(
                &mut h,
                &Account {
                    equity_history: history,
                    ..Account::default()
                },
            );
            assert!(h.finish().as_str().contains("class=\"none\""));
        }
    }
}
