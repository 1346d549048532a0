//! The one way to write HTML here, and how numbers are written for people.
//!
//! [`Html::raw`] takes only `&'static str`, so data cannot reach the page except through
//! [`Html::text`], which escapes. There are no inline styles, scripts or handlers:
//! the content security policy refuses them.

use std::fmt::{self, Display, Write};

/// What stands where a value is not known.
pub const UNKNOWN: &str = "—";
const MINUS: char = '\u{2212}';
const NS: u64 = 1_000_000_000;

/// Writes a run of pieces: string literals are markup, `(expressions)` are data and are escaped,
/// `[calls]` are run for what they write themselves.
macro_rules! put {
    ($h:expr;) => {};
    ($h:expr; $markup:literal $($rest:tt)*) => {{
        $h.raw($markup);
        $crate::web::html::put!($h; $($rest)*);
    }};
    ($h:expr; ($value:expr) $($rest:tt)*) => {{
        $h.text($value);
        $crate::web::html::put!($h; $($rest)*);
    }};
    ($h:expr; [$call:expr] $($rest:tt)*) => {{
        $call;
        $crate::web::html::put!($h; $($rest)*);
    }};
}
pub(super) use put;

/// HTML under construction.
#[derive(Default)]
pub struct Html {
    out: String,
}

impl Html {
    /// An empty document with some room.
    pub fn new() -> Self {
        Self {
            out: String::with_capacity(4096),
        }
    }

    /// Markup that stands in this program's source.
    pub fn raw(&mut self, markup: &'static str) -> &mut Self {
        self.out.push_str(markup);
        self
    }

    /// Data, escaped.
    pub fn text(&mut self, value: impl Display) -> &mut Self {
        // Writing into a String cannot fail; a Display that refuses leaves a shorter text.
        let _ = write!(Escape(&mut self.out), "{value}");
        self
    }

    /// A piece that was finished before.
    pub fn append(&mut self, piece: &Markup) -> &mut Self {
        self.out.push_str(&piece.0);
        self
    }

    /// The finished piece.
    pub fn finish(self) -> Markup {
        Markup(self.out)
    }
}

/// Finished HTML: only [`Html::finish`] makes it, so its data is escaped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    /// The HTML.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The HTML, for a response's body.
    pub fn into_string(self) -> String {
        self.0
    }
}

/// Escapes for element content and for quoted attributes alike.
struct Escape<'a>(&'a mut String);

impl Write for Escape<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for character in text.chars() {
            match character {
                '&' => self.0.push_str("&amp;"),
                '<' => self.0.push_str("&lt;"),
                '>' => self.0.push_str("&gt;"),
                '"' => self.0.push_str("&quot;"),
                '\'' => self.0.push_str("&#39;"),
                '\0'..='\u{8}' | '\u{b}' | '\u{c}' | '\u{e}'..='\u{1f}' | '\u{7f}' => {
                    // Control characters are not allowed in HTML; show that something was there.
                    self.0.push('\u{fffd}');
                }
                _ => self.0.push(character),
            }
        }
        Ok(())
    }
}

/// Whole numbers with thin groups of three: `12,345`.
pub fn int(value: u64) -> String {
    group(&value.to_string())
}

/// A number with a fixed count of decimals, grouped, with a typographic minus.
pub fn fixed(value: Option<f64>, decimals: usize) -> String {
    let Some(value) = known(value) else {
        return UNKNOWN.to_owned();
    };
    let digits = format!("{:.decimals$}", value.abs());
    let (whole, fraction) = digits.split_once('.').unwrap_or((&digits, ""));
    let mut out = String::with_capacity(digits.len() + 6);
    if value < 0.0 && digits.bytes().any(|b| b.is_ascii_digit() && b != b'0') {
        out.push(MINUS);
    }
    out.push_str(&group(whole));
    if !fraction.is_empty() {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// As [`fixed`], with a plus for values above zero.
pub fn signed(value: Option<f64>, decimals: usize) -> String {
    let text = fixed(value, decimals);
    let positive = value.is_some_and(|v| v > 0.0);
    if positive && text.bytes().any(|b| (b'1'..=b'9').contains(&b)) {
        format!("+{text}")
    } else {
        text
    }
}

/// Money: two decimals.
pub fn money(value: Option<f64>) -> String {
    fixed(value, 2)
}

/// Exact decimal text with its whole part grouped; any other text as it is.
pub fn exact(text: &str) -> String {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let plain = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    if digits.is_empty() {
        return UNKNOWN.to_owned();
    }
    if whole.is_empty() || !plain(whole) || !plain(fraction) {
        return text.to_owned();
    }
    let mut out = String::with_capacity(text.len() + 6);
    if digits.len() < text.len() {
        out.push(MINUS);
    }
    out.push_str(&group(whole));
    out.push_str(&digits[whole.len()..]);
    out
}

/// A price: as many decimals as its size calls for.
pub fn price(value: Option<f64>) -> String {
    let size = value.unwrap_or(0.0).abs();
    let decimals = match size {
        s if s >= 1000.0 => 2,
        s if s >= 1.0 => 4,
        s if s >= 0.01 => 6,
        _ => 8,
    };
    fixed(value, decimals)
}

/// A feature's value: four significant digits or so, whatever its size.
pub fn significant(value: Option<f64>) -> String {
    let size = value.unwrap_or(0.0).abs();
    if size != 0.0 && size < 0.0001 {
        return match known(value) {
            Some(v) => format!("{v:.2e}").replace('-', "\u{2212}"),
            None => UNKNOWN.to_owned(),
        };
    }
    let decimals = match size {
        s if s >= 1000.0 => 1,
        s if s >= 100.0 => 2,
        s if s >= 1.0 => 3,
        _ => 4,
    };
    fixed(value, decimals)
}

/// As [`significant`], without the zeros at the end: for limits and bounds, which are round.
pub fn plain(value: Option<f64>) -> String {
    let text = significant(value);
    if text.contains('.') && !text.contains('e') {
        let text = text.trim_end_matches('0').trim_end_matches('.');
        return text.to_owned();
    }
    text
}

/// A value with its unit, or an em dash alone.
pub fn with_unit(text: String, unit: &str) -> String {
    if text == UNKNOWN || unit.is_empty() {
        text
    } else {
        format!("{text}\u{a0}{unit}")
    }
}

/// Bytes in decimal units: `1.2 GB`.
pub fn bytes(value: Option<u64>) -> String {
    let Some(value) = value else {
        return UNKNOWN.to_owned();
    };
    let units = [("GB", 1e9), ("MB", 1e6), ("kB", 1e3)];
    for (unit, size) in units {
        if value as f64 >= size {
            return format!("{:.1}\u{a0}{unit}", value as f64 / size);
        }
    }
    format!("{value}\u{a0}B")
}

/// A duration in words short enough for a table: `340 ms`, `12 s`, `4 min 3 s`, `2 d 5 h`.
pub fn duration(ns: u64) -> String {
    let seconds = ns / NS;
    let pair = |big: u64, unit: &str, small: u64, sub: &str| {
        if small == 0 {
            format!("{big}\u{a0}{unit}")
        } else {
            format!("{big}\u{a0}{unit} {small}\u{a0}{sub}")
        }
    };
    match seconds {
        0 => format!("{}\u{a0}ms", ns / 1_000_000),
        1..=9 => format!("{:.1}\u{a0}s", ns as f64 / NS as f64),
        10..=59 => format!("{seconds}\u{a0}s"),
        60..=3599 => pair(seconds / 60, "min", seconds % 60, "s"),
        3600..=86_399 => pair(seconds / 3600, "h", seconds / 60 % 60, "min"),
        _ => pair(seconds / 86_400, "d", seconds / 3600 % 24, "h"),
    }
}

/// As [`duration`], in whole seconds: for values that should not flicker.
pub fn duration_s(seconds: u64) -> String {
    let text = duration(seconds.saturating_mul(NS));
    match seconds {
        0 => "0\u{a0}s".to_owned(),
        1..=9 => format!("{seconds}\u{a0}s"),
        _ => text,
    }
}

/// UTC calendar fields of a unix time: year, month, day, hour, minute, second.
///
/// The day count is turned into a date as in Howard Hinnant's "chrono-compatible low-level date
/// algorithms" (`civil_from_days`).
fn utc(ns: u64) -> (u64, u64, u64, u64, u64, u64) {
    let seconds = ns / NS;
    let day = seconds / 86_400 + 719_468;
    let era = day / 146_097;
    let day_of_era = day % 146_097;
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 {
        shifted + 3
    } else {
        shifted - 9
    };
    let year = year_of_era + era * 400 + u64::from(month <= 2);
    let date = day_of_year - (153 * shifted + 2) / 5 + 1;
    (
        year,
        month,
        date,
        seconds / 3600 % 24,
        seconds / 60 % 60,
        seconds % 60,
    )
}

/// Time of day, UTC: `14:03:22`.
pub fn clock(ns: u64) -> String {
    let (_, _, _, h, m, s) = utc(ns);
    format!("{h:02}:{m:02}:{s:02}")
}

/// Time of day without seconds, UTC: `14:03`.
pub fn clock_short(ns: u64) -> String {
    let (_, _, _, h, m, _) = utc(ns);
    format!("{h:02}:{m:02}")
}

/// Day and time without seconds, UTC: `11-21 14:03`.
pub fn day_clock(ns: u64) -> String {
    let (_, month, day, h, m, _) = utc(ns);
    format!("{month:02}-{day:02}\u{a0}{h:02}:{m:02}")
}

/// Date and time, UTC: `2025-11-21 14:03:22`.
pub fn stamp(ns: u64) -> String {
    let (year, month, day, ..) = utc(ns);
    format!("{year:04}-{month:02}-{day:02} {}", clock(ns))
}

fn known(value: Option<f64>) -> Option<f64> {
    value.filter(|v| v.is_finite())
}

fn group(digits: &str) -> String {
    let mut out = String::with_capacity(digits.len() + digits.len() / 3);
    for (i, digit) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_and_attributes_are_escaped() {
        let mut h = Html::new();
        put!(h; "<a title=\"" ("\"><script>'&") "\">" ("<script>\u{0}") "</a>");
        assert_eq!(
            h.finish().as_str(),
            "<a title=\"&quot;&gt;&lt;script&gt;&#39;&amp;\">&lt;script&gt;\u{fffd}</a>"
        );
    }

    #[test]
    fn numbers_are_honest() {
        assert_eq!(money(None), "—");
        assert_eq!(money(Some(f64::NAN)), "—");
        assert_eq!(signed(Some(f64::INFINITY), 2), "—");
        assert_eq!(money(Some(1_234_567.891)), "1,234,567.89");
        assert_eq!(money(Some(-0.001)), "0.00");
        assert_eq!(signed(Some(0.001), 2), "0.00");
        assert_eq!(signed(Some(12.5), 2), "+12.50");
        assert_eq!(signed(Some(-1234.5), 1), "\u{2212}1,234.5");
        assert_eq!(price(Some(0.012345678)), "0.012346");
        assert_eq!(significant(Some(-0.00001234)), "\u{2212}1.23e\u{2212}5");
        assert_eq!(plain(Some(25.0)), "25");
        assert_eq!(plain(Some(10_000.0)), "10,000");
        assert_eq!(plain(Some(-1.4)), "\u{2212}1.4");
        assert_eq!(plain(Some(0.0)), "0");
        assert_eq!(plain(Some(0.00001)), "1.00e\u{2212}5");
        assert_eq!(plain(None), "—");
        assert_eq!(exact("64213.4000"), "64,213.4000");
        assert_eq!(exact("-1234"), "\u{2212}1,234");
        assert_eq!(exact("about 1234"), "about 1234");
        assert_eq!(exact(""), "—");
        assert_eq!(int(1_000), "1,000");
        assert_eq!(bytes(Some(1_234_567)), "1.2\u{a0}MB");
    }

    #[test]
    fn durations_and_dates() {
        assert_eq!(duration(340_000_000), "340\u{a0}ms");
        assert_eq!(duration(243 * NS), "4\u{a0}min 3\u{a0}s");
        assert_eq!(duration(7200 * NS), "2\u{a0}h");
        assert_eq!(duration_s(3), "3\u{a0}s");
        // `date -u -d @951827696` and `@1709210096`: leap days of 2000 and 2024.
        assert_eq!(stamp(951_827_696 * NS), "2000-02-29 12:34:56");
        assert_eq!(stamp(1_709_210_096 * NS), "2024-02-29 12:34:56");
        assert_eq!(stamp(0), "1970-01-01 00:00:00");
        assert_eq!(stamp(1_735_689_599 * NS), "2024-12-31 23:59:59");
    }
}
