//! Tables that have a form for narrow screens.

use crate::web::html::{Html, int, put};
use std::fmt::Display;

/// A column: its heading and its class.
pub(super) struct Col {
    label: &'static str,
    class: &'static str,
}

/// A column of words.
pub(super) const fn text(label: &'static str) -> Col {
    Col { label, class: "t" }
}

/// A column of numbers, aligned to the right; on a card the heading stands beside the number.
pub(super) const fn number(label: &'static str) -> Col {
    Col { label, class: "n" }
}

/// A column of sentences, which may wrap and take the full width of a card.
pub(super) const fn wide(label: &'static str) -> Col {
    Col { label, class: "w" }
}

/// What a table does where there is no room for it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shape {
    /// Each row becomes a card: for things one looks at one by one.
    Cards,
    /// It scrolls sideways in its own frame: for lists one scans.
    Log,
}

/// A row being written. Cells come in the order of the columns; the first is the row's heading.
pub(super) struct Row<'a> {
    h: &'a mut Html,
    cols: &'static [Col],
    at: usize,
}

impl Row<'_> {
    /// A cell of escaped text.
    pub(super) fn cell(&mut self, value: impl Display) {
        self.with(|h| {
            h.text(value);
        });
    }

    /// A count of good things: zero is quiet.
    pub(super) fn good(&mut self, value: u64) {
        self.with(|h| match value {
            0 => put!(h; r#"<span class="quiet">0</span>"#),
            _ => put!(h; (int(value))),
        });
    }

    /// A count of bad things: zero is quiet, the rest stands out.
    pub(super) fn bad(&mut self, value: u64) {
        self.with(|h| match value {
            0 => put!(h; r#"<span class="quiet">0</span>"#),
            _ => put!(h; "<strong>" (int(value)) "</strong>"),
        });
    }

    /// A cell that writes itself.
    pub(super) fn with(&mut self, write: impl FnOnce(&mut Html)) {
        debug_assert!(self.at < self.cols.len(), "more cells than columns");
        let Some(col) = self.cols.get(self.at) else {
            return;
        };
        let (open, close) = match self.at {
            0 => (r#"<th scope="row" class=""#, "</th>"),
            _ => (r#"<td class=""#, "</td>"),
        };
        self.at += 1;
        self.h
            .raw(open)
            .raw(col.class)
            .raw(r#"" data-label=""#)
            .raw(col.label)
            .raw(r#"">"#);
        write(self.h);
        self.h.raw(close);
    }
}

/// Writes a table, or `none` where it would have no rows.
pub(super) fn table<T>(
    h: &mut Html,
    shape: Shape,
    caption: &'static str,
    cols: &'static [Col],
    rows: &[T],
    none: &'static str,
    mut write: impl FnMut(&mut Row<'_>, &T),
) {
    if rows.is_empty() {
        put!(h; r#"<p class="none">"# (none) "</p>");
        return;
    }
    // Either may be wider than its frame, which a keyboard must be able to scroll.
    put!(h; r#"<div class="scroll" tabindex="0" role="region" aria-label=""# (caption) r#"">"#);
    h.raw(match shape {
        Shape::Cards => r#"<table class="cards">"#,
        Shape::Log => r#"<table class="log">"#,
    });
    put!(h; r#"<caption class="vh">"# (caption) "</caption><thead><tr>");
    for col in cols {
        put!(h; r#"<th scope="col" class=""# (col.class) r#"">"# (col.label) "</th>");
    }
    put!(h; "</tr></thead><tbody>");
    for item in rows {
        put!(h; "<tr>");
        let mut row = Row { h, cols, at: 0 };
        write(&mut row, item);
        debug_assert!(
            row.at == cols.len(),
            "fewer cells than columns in {caption}"
        );
        put!(h; "</tr>");
    }
    put!(h; "</tbody></table></div>");
}
