//! Small pieces that several parts use, and the state of the whole edge.

use crate::web::{
    html::{Html, UNKNOWN, clock, duration, duration_s, put, signed, stamp},
    snapshot::{Scope, Snapshot, TradingState},
};
use std::fmt::Display;

const DAY_NS: u64 = 86_400_000_000_000;
const NS: u64 = 1_000_000_000;

/// How good a state is. Shown by a shape and a word as well as a colour.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tone {
    Good,
    Warn,
    Bad,
    Idle,
}

impl Tone {
    fn name(self) -> &'static str {
        match self {
            Self::Good => "good",
            Self::Warn => "warn",
            Self::Bad => "bad",
            Self::Idle => "idle",
        }
    }
}

/// Reasons in the banner; the overview and the page of risk have all that is restricted.
const REASONS: usize = 4;

/// The state of the whole edge in one word, or a few where only a part is restricted.
pub(super) fn state(s: &Snapshot, silent_s: u64) -> (Tone, &'static str) {
    let all = |x: &&Scope| x.scope == "portfolio";
    let portfolio = s.risk.restricted().find(all).map(|x| x.state);
    let strictest = s.risk.restricted().map(|x| x.state).max();
    match &s.health {
        _ if silent_s > 0 => (Tone::Bad, "silent"),
        h if h.halted => (Tone::Bad, "halted"),
        h if !h.ready => (Tone::Idle, "starting"),
        h if h.stale => (Tone::Warn, "stale"),
        _ => match (portfolio, strictest) {
            (Some(TradingState::Reducing), _) => (Tone::Warn, "reducing"),
            (_, Some(TradingState::Halted)) => (Tone::Warn, "halted in part"),
            (_, Some(TradingState::Reducing)) => (Tone::Warn, "reducing in part"),
            _ => (Tone::Good, "running"),
        },
    }
}

/// The mode word, the state word and the reasons. It is a live region, so all that is read aloud
/// changes only when the state does; running durations are hidden from assistive technology.
pub(super) fn mode(h: &mut Html, s: &Snapshot, silent_s: u64) {
    let (tone, word) = state(s, silent_s);
    put!(h; r#"<div class="banner" data-tone=""# (tone.name()) r#""><p class="mode">"#
        (or_dash(&s.mode)) r#"</p><p class="word">"# [badge(h, tone, word)] "</p>");
    if silent_s > 0 || !s.health.reasons.is_empty() {
        put!(h; r#"<ul class="reasons">"#);
        if silent_s > 0 {
            put!(h; "<li>The desk publishes nothing. What is shown may no longer be true. "
                r#"<small aria-hidden="true">for "# (duration_s(silent_s)) "</small></li>");
        }
        for reason in s.health.reasons.iter().take(REASONS) {
            put!(h; "<li>" (&reason.text) " <small>since " [time(h, reason.since_ns, s.now_ns)]
                r#"<span aria-hidden="true">, for "# (since_s(s, reason.since_ns))
                "</span></small>");
            if let Some(command) = &reason.command {
                put!(h; r#" <span class="clear">To clear: <code>"# (command) "</code></span>");
            }
            put!(h; "</li>");
        }
        let more = s.health.reasons.len().saturating_sub(REASONS);
        if more > 0 {
            put!(h; r#"<li><a href="/risk">"# (more) " more</a></li>");
        }
        put!(h; "</ul>");
    }
    put!(h; "</div>");
}

/// A state as shape, colour and word.
pub(super) fn badge(h: &mut Html, tone: Tone, word: &str) {
    put!(h; r#"<span class="badge" data-tone=""# (tone.name()) r#""><i></i>"# (word) "</span>");
}

/// A name with a quieter second name.
pub(super) fn pair(h: &mut Html, name: &str, detail: &str) {
    put!(h; (or_dash(name)) " <small>" (detail) "</small>");
}

/// Buy, sell, long, short, hold: an arrow and the word, without a colour: a sale is not a fault.
pub(super) fn side(h: &mut Html, side: &str) {
    let arrow = match side {
        "buy" | "long" => "▲",
        "sell" | "short" => "▼",
        _ => {
            put!(h; r#"<span class="quiet">"# (or_dash(side)) "</span>");
            return;
        }
    };
    put!(h; r#"<span class="arrow" aria-hidden="true">"# (arrow) "</span>" (side));
}

/// A signed amount, coloured by its sign.
pub(super) fn gain(h: &mut Html, value: Option<f64>) {
    gain_to(h, value, 2);
}

/// A signed amount with so many decimals, coloured by its sign; nothing is quiet.
pub(super) fn gain_to(h: &mut Html, value: Option<f64>, decimals: usize) {
    let text = signed(value, decimals);
    let class = match text.chars().next() {
        Some('+') => "up",
        Some('\u{2212}') => "down",
        _ => "flat",
    };
    put!(h; r#"<span class=""# (class) r#"">"# (text) "</span>");
}

/// A statistic, or that there is not enough data for it.
pub(super) fn figure(h: &mut Html, label: &'static str, value: String) {
    stat(h, label, |h| {
        if value == UNKNOWN {
            put!(h; r#"<span class="none">not enough data yet</span>"#);
        } else {
            put!(h; (value));
        }
    });
}

/// Small words that qualify a row.
pub(super) fn flags(h: &mut Html, words: &[(bool, &'static str)]) {
    for (_, word) in words.iter().filter(|(there, _)| *there) {
        put!(h; r#" <span class="flag">"# (word) "</span>");
    }
}

/// Says that a list was cut.
pub(super) fn full(h: &mut Html, have: usize, bound: usize) {
    if have >= bound {
        put!(h; r#"<p class="more quiet">At most "# (bound) " are kept.</p>");
    }
}

/// A term and what it is.
pub(super) fn stat(h: &mut Html, label: &'static str, write: impl FnOnce(&mut Html)) {
    put!(h; "<div><dt>" (label) "</dt><dd>" [write(h)] "</dd></div>");
}

/// A term and its value as text.
pub(super) fn fact(h: &mut Html, label: &'static str, value: impl Display) {
    put!(h; "<div><dt>" (label) "</dt><dd>" (value) "</dd></div>");
}

/// A moment: time of day, with the date when it was not today.
pub(super) fn time(h: &mut Html, ns: u64, now_ns: u64) {
    let full = stamp(ns);
    put!(h; r#"<time datetime=""# (full.replace(' ', "T")) r#"Z">"#);
    if ns / DAY_NS == now_ns / DAY_NS {
        put!(h; (clock(ns)));
    } else {
        // Month, day and time: the year is in the attribute.
        put!(h; (full.get(5..).unwrap_or(&full)));
    }
    put!(h; "</time>");
}

/// Time from then to the snapshot.
pub(super) fn since(s: &Snapshot, ns: u64) -> String {
    duration(s.now_ns.saturating_sub(ns))
}

/// As [`since`], in whole seconds.
pub(super) fn since_s(s: &Snapshot, ns: u64) -> String {
    duration_s(s.now_ns.saturating_sub(ns) / NS)
}

/// Time from the snapshot to then, in whole seconds.
pub(super) fn until_s(s: &Snapshot, ns: u64) -> String {
    duration_s(ns.saturating_sub(s.now_ns) / NS)
}

/// An em dash for a value that is not known.
pub(super) fn dash() -> String {
    UNKNOWN.to_owned()
}

/// An em dash for text that is not there.
pub(super) fn or_dash(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}

/// A link to all of a list, where more is kept than shown.
pub(super) fn more(
    h: &mut Html,
    have: usize,
    shown: usize,
    path: &'static str,
    what: &'static str,
) {
    if have > shown {
        put!(h; r#"<p class="more"><a href=""# (path) r#"">All "# (have) " " (what) "</a></p>");
    }
}
