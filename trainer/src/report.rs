//! Pages by which a person can judge: what a candidate did in its examination, how a training went, and
//! what was left when a model walked forward.
//!
//! A [`Page`] is one HTML file without scripts and without anything from elsewhere: it follows the
//! reader's light or dark setting, fits a phone, and can be mailed. Everything that comes from data is
//! escaped, and the same data give the same bytes.

pub mod chart;
mod scale;
pub mod training;
pub mod walk;

use std::fmt::{self, Display};
use std::path::Path;

use tickerml_edge::web::html::{Html, UNKNOWN};

use self::chart::{Bar, Bin, Lines, Strip, Unit};
use crate::weights::replace;

/// Why a report cannot be written: one line with cause and remedy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReportError(pub(crate) String);

impl Display for ReportError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ReportError {}

/// How good news is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// As it should be.
    Good,
    /// Worth a look.
    Warn,
    /// Wrong.
    Bad,
    /// Neither.
    Idle,
}

impl Tone {
    const fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }
}

/// A cell of a table.
#[derive(Clone, Debug, PartialEq)]
pub enum Cell {
    /// Words, aligned to the left.
    Text(String),
    /// A number as it is written, aligned to the right.
    Number(String),
    /// A number that is good news above zero and bad news below.
    Signed(String, f64),
    /// A word with a mark.
    Badge(Tone, String),
    /// A hash or a name in fixed width.
    Code(String),
}

impl Cell {
    /// Words.
    pub fn text(value: impl Display) -> Self {
        Self::Text(value.to_string())
    }

    /// A number as it is written.
    pub fn number(value: impl Display) -> Self {
        Self::Number(value.to_string())
    }

    const fn is_number(&self) -> bool {
        matches!(self, Self::Number(_) | Self::Signed(..))
    }
}

/// A table: a head, and rows whose first cell names them.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Table {
    /// Names of the columns.
    pub head: Vec<String>,
    /// The rows.
    pub rows: Vec<Vec<Cell>>,
    /// Rows to stress, by place.
    pub strong: Vec<usize>,
}

impl Table {
    /// A table with these columns.
    #[must_use]
    pub fn new(head: &[&str]) -> Self {
        Self {
            head: head.iter().map(|name| (*name).to_owned()).collect(),
            ..Self::default()
        }
    }
}

/// A page under construction.
pub struct Page {
    h: Html,
    open: bool,
}

impl Page {
    /// A page with this title and a line below it.
    #[must_use]
    pub fn new(title: &str, under: &str) -> Self {
        let mut h = Html::new();
        h.raw("<!DOCTYPE html>\n<html lang=\"en\"><head><meta charset=\"utf-8\">")
            .raw("<meta name=\"viewport\" content=\"width=device-width,initial-scale=1\"><title>")
            .text(title)
            .raw("</title><style>\n")
            .raw(include_str!("report/page.css"))
            .raw("</style></head><body><header><p class=\"brand\">Ticker<b>ML</b></p><h1>")
            .text(title)
            .raw("</h1><p class=\"under\">")
            .text(under)
            .raw("</p></header><main>");
        Self { h, open: false }
    }

    /// What the page says, in one word and one sentence.
    pub fn lead(&mut self, tone: Tone, word: &str, sentence: &str) {
        self.close();
        self.h.raw("<div class=\"lead\" data-tone=\"");
        self.h.raw(tone.name()).raw("\"><strong>").text(word);
        self.h.raw("</strong><p>").text(sentence).raw("</p></div>");
    }

    /// Begins a section.
    pub fn section(&mut self, title: &str) {
        self.close();
        self.h.raw("<section><h2>").text(title).raw("</h2>");
        self.open = true;
    }

    fn close(&mut self) {
        if self.open {
            self.h.raw("</section>");
            self.open = false;
        }
    }

    /// A smaller title within a section.
    pub fn heading(&mut self, title: &str) {
        self.h.raw("<h3>").text(title).raw("</h3>");
    }

    /// A paragraph.
    pub fn text(&mut self, text: impl Display) {
        self.h.raw("<p>").text(text).raw("</p>");
    }

    /// A remark.
    pub fn note(&mut self, text: impl Display) {
        self.h.raw("<p class=\"note\">").text(text).raw("</p>");
    }

    /// A list of sentences, each with its code.
    pub fn reasons<'a>(&mut self, reasons: impl IntoIterator<Item = (&'a str, &'a str)>) {
        self.h.raw("<ol class=\"reasons\">");
        for (code, sentence) in reasons {
            self.h.raw("<li><code>").text(code);
            self.h
                .raw("</code><span>")
                .text(sentence)
                .raw("</span></li>");
        }
        self.h.raw("</ol>");
    }

    /// A few figures that matter, large.
    pub fn stats(&mut self, figures: &[(&str, String)]) {
        self.pairs("<dl class=\"stats\">", figures);
    }

    /// Names and values, one a line.
    pub fn facts(&mut self, facts: &[(&str, String)]) {
        self.pairs("<dl class=\"facts\">", facts);
    }

    fn pairs(&mut self, open: &'static str, pairs: &[(&str, String)]) {
        self.h.raw(open);
        for (name, value) in pairs {
            self.h.raw("<div><dt>").text(name).raw("</dt><dd>");
            self.h.text(value).raw("</dd></div>");
        }
        self.h.raw("</dl>");
    }

    /// A table.
    pub fn table(&mut self, table: &Table) {
        let numeric = |column: usize| {
            let mut cells = table.rows.iter().filter_map(|row| row.get(column));
            cells.any(Cell::is_number)
        };
        self.h
            .raw("<div class=\"scroll\" tabindex=\"0\"><table><thead><tr>");
        for (column, name) in table.head.iter().enumerate() {
            self.h.raw(if numeric(column) {
                "<th scope=\"col\" class=\"n\">"
            } else {
                "<th scope=\"col\">"
            });
            self.h.text(name).raw("</th>");
        }
        self.h.raw("</tr></thead><tbody>");
        for (place, row) in table.rows.iter().enumerate() {
            self.h.raw(if table.strong.contains(&place) {
                "<tr data-strong>"
            } else {
                "<tr>"
            });
            for (column, cell) in row.iter().enumerate() {
                self.cell(cell, column == 0);
            }
            self.h.raw("</tr>");
        }
        self.h.raw("</tbody></table></div>");
    }

    fn cell(&mut self, cell: &Cell, names_row: bool) {
        let h = &mut self.h;
        h.raw(if names_row {
            "<th scope=\"row\""
        } else {
            "<td"
        });
        match cell {
            Cell::Text(text) => h
                .raw(if names_row { ">" } else { " class=\"w\">" })
                .text(text),
            Cell::Number(text) => h.raw(" class=\"n\">").text(text),
            Cell::Signed(text, value) => {
                let class = match value {
                    value if *value > 0.0 => " class=\"n up\">",
                    value if *value < 0.0 => " class=\"n down\">",
                    _ => " class=\"n\">",
                };
                h.raw(class).text(text)
            }
            Cell::Badge(tone, word) => h
                .raw("><span class=\"badge\" data-tone=\"")
                .raw(tone.name())
                .raw("\"><i></i>")
                .text(word)
                .raw("</span>"),
            Cell::Code(text) => h.raw("><code>").text(text).raw("</code>"),
        };
        h.raw(if names_row { "</th>" } else { "</td>" });
    }

    /// Several lines on one pair of axes.
    pub fn lines(&mut self, chart: &Lines) {
        chart::lines(&mut self.h, chart);
    }

    /// Bars from zero, or points with intervals, on one scale.
    pub fn bars(&mut self, rows: &[Bar], unit: Unit) {
        chart::bars(&mut self.h, rows, unit);
    }

    /// What was predicted against what came.
    pub fn calibration(&mut self, caption: &str, bins: &[Bin], unit: Unit) {
        chart::calibration(&mut self.h, caption, bins, unit);
    }

    /// Distributions on one scale.
    pub fn strips(&mut self, strips: &[Strip], unit: Unit) {
        chart::strips(&mut self.h, strips, unit);
    }

    /// The whole page.
    #[must_use]
    pub fn finish(mut self) -> String {
        self.close();
        self.h
            .raw("</main><footer>Written by TickerML ")
            .text(env!("CARGO_PKG_VERSION"))
            .raw(". Paper trading; nothing here is advice.</footer></body></html>\n");
        self.h.finish().into_string()
    }

    /// Writes the whole page to a file, which is replaced in one step.
    ///
    /// # Errors
    /// When the folder cannot be written to; the file is as it was then.
    pub fn write(self, path: &Path) -> Result<(), ReportError> {
        replace(path, self.finish().as_bytes()).map_err(ReportError)
    }
}

/// A fraction as a percentage with its sign.
#[must_use]
pub fn percent(value: f64, decimals: usize) -> String {
    use tickerml_edge::web::html::signed;
    if value.is_finite() {
        format!("{}\u{a0}%", signed(Some(value * 100.0), decimals))
    } else {
        UNKNOWN.to_owned()
    }
}

/// A share as a percentage without a sign.
#[must_use]
pub fn share(value: f64, decimals: usize) -> String {
    use tickerml_edge::web::html::fixed;
    if value.is_finite() {
        format!("{}\u{a0}%", fixed(Some(value * 100.0), decimals))
    } else {
        UNKNOWN.to_owned()
    }
}

/// Keeps a page of a test for a person to look at, in the folder that `TICKERML_PAGES` names.
#[cfg(test)]
#[expect(
    clippy::disallowed_methods,
    reason = "whoever wants to look at the pages of the tests says where"
)]
pub(crate) fn shown(name: &str, text: &str) {
    if let Ok(folder) = std::env::var("TICKERML_PAGES") {
        std::fs::write(Path::new(&folder).join(name), text).expect("written");
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn page() -> Page {
        let mut page = Page::new("A <title>", "of \"today\"");
        page.lead(Tone::Bad, "REFUSED", "It lost <money>.");
        page.section("First & last");
        page.reasons([("G01", "too few < many")]);
        let mut table = Table::new(&["name", "value", "state"]);
        table.rows.push(vec![
            Cell::text("<script>"),
            Cell::Signed("−1".to_owned(), -1.0),
            Cell::Badge(Tone::Warn, "late".to_owned()),
        ]);
        table.strong.push(0);
        page.table(&table);
        page.facts(&[("hash", "ab<cd".to_owned())]);
        page.section("Second");
        page.note("end");
        page
    }

    #[test]
    fn a_page_is_closed_escaped_and_the_same_again() {
        let text = page().finish();
        assert_eq!(text, page().finish());
        assert!(!text.contains("<script>") && !text.contains("<money>"));
        for tag in ["section", "table", "main", "dl", "div"] {
            let opened = text.matches(&format!("<{tag}")).count();
            assert_eq!(opened, text.matches(&format!("</{tag}>")).count(), "{tag}");
        }
        assert!(!text.contains("http"), "nothing from elsewhere");
        assert!(text.contains("<th scope=\"col\" class=\"n\">value</th>"));
    }

    #[test]
    fn a_file_that_cannot_be_replaced_is_as_it_was() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("page.html");
        page().write(&path).expect("written");
        let before = fs::read(&path).expect("there");
        // A folder stands where the new file would be made.
        fs::create_dir(folder.path().join("page.html.new")).expect("a folder");
        let error = page().write(&path).expect_err("no room for the new file");
        assert!(error.to_string().contains("page.html"), "{error}");
        assert_eq!(fs::read(&path).expect("there"), before);
    }

    #[test]
    fn shares_are_written_for_people() {
        assert_eq!(percent(0.0123, 1), "+1.2\u{a0}%");
        assert_eq!(percent(-0.5, 0), "\u{2212}50\u{a0}%");
        assert_eq!(share(f64::NAN, 1), "—");
    }
}
