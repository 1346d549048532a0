//! The best features as a picture: a bar for each horizon, in the colour of the group.
//!
//! One SVG of its own, without scripts and without anything from elsewhere; it follows the reader's
//! light or dark setting. Every text that comes from a tape is escaped.

use std::fmt::{self, Write as _};

use super::report::{Report, Scored};

/// Features in a picture of "all" of them.
pub const BARS_MAX: usize = 60;
const WIDTH: f64 = 960.0;
/// Left edge of the bars; names stand before it.
const LEFT: f64 = 300.0;
const RIGHT: f64 = 24.0;
const TOP: f64 = 104.0;
const BOTTOM: f64 = 44.0;
/// Height of one horizon's bar, and of what lies between two features.
const BAR: f64 = 6.0;
const GAP: f64 = 6.0;
/// Grid lines on each side of zero.
const BANDS: u32 = 4;
/// Hues that are told apart on white and on black, one for each group in turn.
const COLOURS: [&str; 14] = [
    "#4c8dd6", "#e08a2e", "#43a563", "#d25a5a", "#8f73c9", "#a9745a", "#cf6fae", "#7f8c99",
    "#b0a13a", "#35a3b5", "#6f9a2f", "#c77b9b", "#5b77c0", "#c2953c",
];
/// How strong the bars of the horizons are, the shortest first.
const STRENGTHS: [&str; 3] = ["1", ".65", ".35"];

/// Draws the best `top` features (0: the first [`BARS_MAX`]).
#[must_use]
pub fn svg(report: &Report, top: usize) -> String {
    let mut text = String::new();
    // Writing into a String cannot fail.
    let _ = write_svg(report, top, &mut text);
    text
}

fn write_svg(report: &Report, top: usize, out: &mut String) -> fmt::Result {
    let count = if top == 0 {
        BARS_MAX
    } else {
        top.min(BARS_MAX)
    };
    let shown: Vec<&Scored> = report
        .features
        .iter()
        .filter(|one| one.why.is_none())
        .take(count)
        .collect();
    let mut groups: Vec<&str> = Vec::new();
    for one in &shown {
        if !groups.contains(&one.group) {
            groups.push(one.group);
        }
    }
    let all = shown.iter().flat_map(|one| &one.horizons);
    let largest = all
        .filter_map(|ic| ic.ic)
        .fold(0.0, |a: f64, b| a.max(b.abs()));
    let bound = round_up(largest);
    let pitch = BAR * STRENGTHS.len() as f64 + GAP;
    let bottom = TOP + pitch * shown.len() as f64;
    let height = bottom + BOTTOM;
    writeln!(
        out,
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0}" width="{WIDTH}" height="{height:.0}" role="img" aria-labelledby="title" font-family="system-ui, sans-serif" font-size="12">"#
    )?;
    out.write_str(
        "<style>.ground{fill:#fff}text{fill:#222}.quiet{fill:#666}.grid{stroke:#8884}.zero{stroke:#888}\
         @media(prefers-color-scheme:dark){.ground{fill:#16181c}text{fill:#e6e6e6}.quiet{fill:#a0a0a0}}</style>\n",
    )?;
    writeln!(
        out,
        r#"<rect class="ground" width="{WIDTH}" height="{height:.0}"/>"#
    )?;
    head(report, &shown, &groups, out)?;
    axis(bound, bottom, out)?;
    for (place, one) in shown.iter().enumerate() {
        let y = TOP + GAP / 2.0 + pitch * place as f64;
        let colour = groups.iter().position(|group| *group == one.group);
        bars(
            one,
            COLOURS[colour.unwrap_or(0) % COLOURS.len()],
            bound,
            y,
            out,
        )?;
    }
    out.write_str("</svg>\n")
}

/// Title, legend of groups, legend of horizons.
fn head(report: &Report, shown: &[&Scored], groups: &[&str], out: &mut String) -> fmt::Result {
    let minutes = (report.span_ns[1] - report.span_ns[0]) as f64 / 60e9;
    let instruments = escaped(&shortened(&report.instruments.join(", "), 80));
    writeln!(
        out,
        r#"<text id="title" x="16" y="26" font-size="16" font-weight="600">Information coefficient of {} of {} features</text>"#,
        shown.len(),
        report.features.len()
    )?;
    writeln!(
        out,
        r#"<text class="quiet" x="16" y="46">{instruments}; {minutes:.0} minutes, {} samples, one each {} ms</text>"#,
        report.samples, report.every_ms
    )?;
    let mut x = 16.0;
    for (place, group) in groups.iter().enumerate() {
        let colour = COLOURS[place % COLOURS.len()];
        writeln!(
            out,
            r#"<rect x="{x:.0}" y="58" width="10" height="10" fill="{colour}"/><text x="{:.0}" y="67">{group}</text>"#,
            x + 14.0
        )?;
        x += 32.0 + 7.0 * group.len() as f64;
    }
    let mut x = 16.0;
    let horizons = report.features.first().map(|one| &one.horizons);
    for (ic, strength) in horizons.into_iter().flatten().zip(STRENGTHS) {
        writeln!(
            out,
            r##"<rect x="{x:.0}" y="78" width="18" height="8" fill="#888" fill-opacity="{strength}"/><text class="quiet" x="{:.0}" y="86">{} s ahead</text>"##,
            x + 23.0,
            ic.seconds
        )?;
        x += 96.0;
    }
    Ok(())
}

/// Grid and numbers.
fn axis(bound: f64, bottom: f64, out: &mut String) -> fmt::Result {
    for band in 0..=2 * BANDS {
        let value = bound * (f64::from(band) / f64::from(BANDS) - 1.0);
        let (x, class) = (
            at(value, bound),
            if band == BANDS { "zero" } else { "grid" },
        );
        writeln!(
            out,
            r#"<path class="{class}" d="M{x:.1},{TOP:.0}V{bottom:.0}"/><text class="quiet" x="{x:.1}" y="{:.0}" text-anchor="middle">{}</text>"#,
            bottom + 16.0,
            if band == BANDS {
                "0".to_owned()
            } else {
                format!("{value:+.3}")
            }
        )?;
    }
    writeln!(
        out,
        r#"<text class="quiet" x="{:.1}" y="{:.0}" text-anchor="middle">rank correlation with the next mid return</text>"#,
        at(0.0, bound),
        bottom + 34.0
    )
}

fn bars(one: &Scored, colour: &str, bound: f64, y: f64, out: &mut String) -> fmt::Result {
    let name = escaped(&shortened(&one.name, 40));
    let middle = y + BAR * STRENGTHS.len() as f64 / 2.0 + 4.0;
    writeln!(
        out,
        r#"<g fill="{colour}"><text x="{:.0}" y="{middle:.1}" text-anchor="end">{name}</text>"#,
        LEFT - 8.0
    )?;
    for (place, (ic, strength)) in one.horizons.iter().zip(STRENGTHS).enumerate() {
        let Some(value) = ic.ic else { continue };
        let (zero, end) = (at(0.0, bound), at(value, bound));
        let t = ic.t.map_or_else(|| "-".to_owned(), |t| format!("{t:+.1}"));
        writeln!(
            out,
            r#"<rect x="{:.1}" y="{:.1}" width="{:.1}" height="{:.1}" fill-opacity="{strength}"><title>{name}, {} s: {value:+.4}, t {t}</title></rect>"#,
            zero.min(end),
            y + BAR * place as f64,
            (end - zero).abs(),
            BAR - 1.0,
            ic.seconds
        )?;
    }
    out.write_str("</g>\n")
}

/// Horizontal position of a coefficient.
fn at(value: f64, bound: f64) -> f64 {
    LEFT + (value / bound + 1.0) / 2.0 * (WIDTH - RIGHT - LEFT)
}

/// The smallest of a few round numbers that is not below; 1 at most.
fn round_up(value: f64) -> f64 {
    let steps = [0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.2, 0.4, 0.6, 0.8];
    steps.into_iter().find(|step| value <= *step).unwrap_or(1.0)
}

fn shortened(text: &str, length: usize) -> String {
    if text.chars().count() <= length {
        return text.to_owned();
    }
    text.chars().take(length - 1).chain(['…']).collect()
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            // XML has no way to write these.
            letter if letter.is_control() => out.push('\u{fffd}'),
            letter => out.push(letter),
        }
    }
    out
}
