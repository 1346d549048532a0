//! The pages, rendered whole on the server.
//!
//! A page is a fixed shell with named parts. The shell is sent once; the event stream sends the
//! parts that changed, rendered by the same functions, so what the browser shows first and what it
//! shows later come from one place. Nothing here knows about HTTP.

mod data;
mod machine;
mod market;
mod money;
mod pieces;
mod results;
mod risk;
mod signals;
mod table;
mod trading;

use super::{
    html::{Html, Markup, clock, money as amount, put},
    snapshot::{ALARMS, Snapshot},
};
use pieces::{or_dash, state};

/// Alarms on the overview; the system page has all.
const RECENT_ALARMS: usize = 5;

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Mode, money, positions, the last fills and decisions.
    Overview,
    /// Orders, fills, where the profit came from, performance, the paper venue.
    Trading,
    /// What is restricted, limits, violations, denials.
    Risk,
    /// Sessions, books and the gap ledger.
    Venues,
    /// Arbitrage, spreads between venues, funding, features.
    Signals,
    /// What was decided.
    Decisions,
    /// Build, model, process, alarms.
    System,
}

impl View {
    /// All, in the order of the navigation.
    pub(super) const ALL: [Self; 7] = [
        Self::Overview,
        Self::Trading,
        Self::Risk,
        Self::Venues,
        Self::Signals,
        Self::Decisions,
        Self::System,
    ];

    /// Its name in `/events?view=…`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Trading => "trading",
            Self::Risk => "risk",
            Self::Venues => "venues",
            Self::Signals => "signals",
            Self::Decisions => "decisions",
            Self::System => "system",
        }
    }

    /// Its address.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Trading => "/trading",
            Self::Risk => "/risk",
            Self::Venues => "/venues",
            Self::Signals => "/signals",
            Self::Decisions => "/decisions",
            Self::System => "/system",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Trading => "Trading",
            Self::Risk => "Risk",
            Self::Venues => "Venues",
            Self::Signals => "Signals",
            Self::Decisions => "Decisions",
            Self::System => "System",
        }
    }

    /// The sections below the head of the page.
    fn sections(self) -> &'static [Section] {
        match self {
            Self::Overview => OVERVIEW,
            Self::Trading => TRADING,
            Self::Risk => RISK,
            Self::Venues => VENUES,
            Self::Signals => SIGNALS,
            Self::Decisions => DECISIONS,
            Self::System => SYSTEM,
        }
    }
}

/// Whether a reader can close a section.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fold {
    /// No.
    Never,
    /// Yes; it is open at first.
    Open,
    /// Yes; it is closed at first.
    Closed,
}

/// A part under a heading.
struct Section {
    id: &'static str,
    title: &'static str,
    /// Columns of twelve on a wide screen, as a class.
    width: &'static str,
    fold: Fold,
    render: fn(&mut Html, &Snapshot),
}

const fn section(
    id: &'static str,
    title: &'static str,
    width: &'static str,
    render: fn(&mut Html, &Snapshot),
) -> Section {
    Section {
        id,
        title,
        width,
        fold: Fold::Never,
        render,
    }
}

impl Section {
    /// A section that is long enough to be closed.
    const fn fold(mut self, fold: Fold) -> Self {
        self.fold = fold;
        self
    }
}

const OVERVIEW: &[Section] = &[
    section("restrictions", "Halts and restrictions", "w12", |h, s| {
        trading::reconciliation_alarm(h, s);
        risk::restrictions(h, s);
    }),
    section("feeds", "Feeds", "w12", market::feeds),
    section("positions", "Positions", "w6", money::positions),
    section("orders", "Orders", "w6", trading::last_orders),
    section(
        "sources",
        "Where the profit came from",
        "w4",
        results::sources,
    ),
    section("nearest", "Nearest limits", "w4", risk::nearest),
    section("violations", "Violations", "w4", risk::violations),
    section("fills", "Last fills", "w7", trading::last_fills),
    section("decisions", "Last decisions", "w5", money::last_decisions),
    section("alarms", "Alarms", "w7", |h, s| {
        machine::alarms(h, s, RECENT_ALARMS)
    }),
    section("model", "Model", "w5", machine::model),
];
const TRADING: &[Section] = &[
    section("orders", "Orders", "w12", trading::orders).fold(Fold::Open),
    section(
        "reconciliation",
        "Reconciliation",
        "w12",
        trading::reconciliation,
    ),
    section("performance", "Performance", "w12", results::performance).fold(Fold::Open),
    section(
        "breakdown",
        "Performance by instrument and strategy",
        "w12",
        results::breakdown,
    )
    .fold(Fold::Closed),
    section(
        "attribution",
        "Where the profit came from",
        "w12",
        results::attribution,
    )
    .fold(Fold::Open),
    section("fills", "Fills", "w12", trading::fills).fold(Fold::Open),
    section("paper", "Terms of the paper venues", "w12", trading::paper).fold(Fold::Closed),
];
const RISK: &[Section] = &[
    section("scopes", "What may be traded", "w8", risk::scopes),
    section("violations", "Violations", "w4", risk::violations),
    section("limits", "Limits", "w12", risk::limits).fold(Fold::Open),
    section("denials", "Last denials", "w8", risk::denials).fold(Fold::Open),
    section("counts", "Denials since start", "w4", risk::denial_counts).fold(Fold::Open),
];
const VENUES: &[Section] = &[
    section("sessions", "Sessions", "w12", market::sessions),
    section("books", "Books", "w12", market::books),
    section("faults", "Integrity since start", "w12", market::faults),
    section("quality", "Quality of data", "w12", data::quality).fold(Fold::Open),
    section("gaps", "Gap ledger", "w12", market::gaps).fold(Fold::Open),
];
const SIGNALS: &[Section] = &[
    section(
        "opportunities",
        "Arbitrage between venues",
        "w12",
        signals::opportunities,
    ),
    section(
        "closed",
        "Opportunities that are over",
        "w12",
        signals::closed,
    )
    .fold(Fold::Open),
    section(
        "pairs",
        "Arbitrage by pair of venues",
        "w12",
        signals::pairs,
    )
    .fold(Fold::Open),
    section("funding", "Funding of perpetuals", "w12", signals::funding),
    section("spreads", "Spreads between venues", "w12", signals::spreads).fold(Fold::Open),
    section("drift", "Drift of features", "w12", data::drift).fold(Fold::Open),
    section("features", "Features now", "w12", signals::features),
];
const DECISIONS: &[Section] =
    &[section("decisions", "Decisions", "w12", money::decisions).fold(Fold::Open)];
const SYSTEM: &[Section] = &[
    section("host", "Process and host", "w4", machine::host),
    section("journal", "Journal", "w4", machine::journal),
    section("stored", "Stored features", "w4", machine::feature_store),
    section("model", "Model", "w4", machine::model),
    section("build", "Build", "w4", machine::build),
    section("channels", "Channels", "w8", machine::channels),
    section(
        "restrictions",
        "Halts and restrictions",
        "w12",
        risk::restrictions,
    ),
    section("alarms", "Alarms", "w12", |h, s| {
        machine::alarms(h, s, ALARMS)
    }),
];

/// One named piece of a page that changes with the snapshot.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Part {
    /// Its name, unique on the page.
    pub(super) id: &'static str,
    /// Its content.
    pub(super) html: Markup,
}

/// A page's content at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// The document's title.
    pub(super) title: String,
    /// Time of the snapshot, `HH:MM:SS` UTC.
    pub(super) at: String,
    /// The parts. Their order is the same for every content of a view.
    pub(super) parts: Vec<Part>,
}

/// Renders every part of a view. `silent_s` is how long the desk has published nothing, or zero.
pub(super) fn content(view: View, s: &Snapshot, silent_s: u64) -> Content {
    fn part(id: &'static str, render: impl FnOnce(&mut Html)) -> Part {
        let mut h = Html::new();
        render(&mut h);
        Part {
            id,
            html: h.finish(),
        }
    }
    let mut parts = vec![part("state", |h| pieces::mode(h, s, silent_s))];
    if view == View::Overview {
        parts.push(part("account", |h| money::account(h, s)));
        parts.push(part("chart", |h| super::chart::equity(h, &s.account)));
        parts.push(part("stats", |h| money::stats(h, s)));
    } else {
        parts.push(part("brief", |h| money::brief(h, s)));
    }
    parts.extend(
        view.sections()
            .iter()
            .map(|x| part(x.id, |h| (x.render)(h, s))),
    );
    let word = match state(s, silent_s).1 {
        "running" => String::new(),
        word => format!(" {}", word.to_uppercase()),
    };
    let title = format!("{}{word} {} · TickerML", s.mode, amount(s.account.equity));
    Content {
        title,
        at: clock(s.now_ns),
        parts,
    }
}

/// A whole page. `css` and `js` are the addresses of the assets.
pub(super) fn document(view: View, s: &Snapshot, content: &Content, css: &str, js: &str) -> Markup {
    let mut h = Html::new();
    let h = &mut h;
    head(h, &content.title, css, Some(js));
    put!(h; r#"<body data-view=""# (view.name()) r#"">"# [header(h, Some(view), &content.at)]
        r#"<main id="main" tabindex="-1"><h1 class="vh">"# (view.title()) "</h1>");
    if view == View::Overview {
        put!(h; r#"<section class="hero" aria-label="Account">"#
            r#"<div class="state" data-part="state" aria-live="polite">"# [slot(h, content, "state")]
            r#"</div><div data-part="account">"# [slot(h, content, "account")]
            r#"</div><div class="equity" data-part="chart">"# [slot(h, content, "chart")]
            r#"</div><div data-part="stats">"# [slot(h, content, "stats")] "</div></section>");
    } else {
        put!(h; r#"<section class="strip" aria-label="State">"#
            r#"<div class="state" data-part="state" aria-live="polite">"# [slot(h, content, "state")]
            r#"</div><div data-part="brief">"# [slot(h, content, "brief")] "</div></section>");
    }
    for x in view.sections() {
        // What a reader opens or closes belongs to the shell, which the event stream does not touch.
        let (open, close) = match x.fold {
            Fold::Never => ("", ""),
            Fold::Open => ("<details open><summary>", "</details>"),
            Fold::Closed => ("<details><summary>", "</details>"),
        };
        let end = if x.fold == Fold::Never {
            ""
        } else {
            "</summary>"
        };
        put!(h; r#"<section class=""# (x.width) r#"" aria-labelledby="h-"# (x.id) r#"">"#
            [h.raw(open)] r#"<h2 id="h-"# (x.id) r#"">"# (x.title) "</h2>" [h.raw(end)]
            r#"<div data-part=""# (x.id) r#"">"# [slot(h, content, x.id)] "</div>" [h.raw(close)]
            "</section>");
    }
    put!(h; "</main>" [footer(h, s)] "</body></html>");
    std::mem::take(h).finish()
}

/// A short page for a request that found nothing.
pub(super) fn not_found(path: &str, css: &str) -> Markup {
    let mut h = Html::new();
    head(&mut h, "Not found · TickerML", css, None);
    put!(h; "<body>" [header(&mut h, None, "")] r#"<main id="main" tabindex="-1"><h1>Not found</h1>"#
        "<p>There is no page at <code>" (path) "</code>. The pages are named above.</p></main>"
        "</body></html>");
    h.finish()
}

fn slot(h: &mut Html, content: &Content, id: &'static str) {
    let part = content.parts.iter().find(|part| part.id == id);
    debug_assert!(part.is_some(), "the view has no part {id}");
    if let Some(part) = part {
        h.append(&part.html);
    }
}

fn head(h: &mut Html, title: &str, css: &str, js: Option<&str>) {
    put!(h; r#"<!doctype html><html lang="en"><head><meta charset="utf-8">"#
        r#"<meta name="viewport" content="width=device-width, initial-scale=1">"#
        r#"<meta name="color-scheme" content="light dark">"#
        r##"<meta name="theme-color" content="#fbfaf8" media="(prefers-color-scheme: light)">"##
        r##"<meta name="theme-color" content="#101214" media="(prefers-color-scheme: dark)">"##
        r#"<meta name="robots" content="noindex"><title>"# (title) "</title>"
        r#"<link rel="icon" href="/assets/icon.svg" type="image/svg+xml">"#
        r#"<link rel="stylesheet" href=""# (css) r#"">"#);
    if let Some(js) = js {
        put!(h; r#"<script defer src=""# (js) r#""></script>"#
            r#"<noscript><meta http-equiv="refresh" content="5"></noscript>"#);
    }
    put!(h; "</head>");
}

fn header(h: &mut Html, view: Option<View>, at: &str) {
    put!(h; r##"<a class="skip" href="#main">Skip to content</a><header>"##
        r#"<a class="brand" href="/">Ticker<b>ML</b></a><nav aria-label="Pages">"#);
    for other in View::ALL {
        put!(h; r#"<a href=""# (other.path()));
        h.raw(if view == Some(other) {
            r#"" aria-current="page">"#
        } else {
            r#"">"#
        });
        put!(h; (other.title()) "</a>");
    }
    put!(h; "</nav>");
    if view.is_some() {
        put!(h; r#"<p class="link" data-link data-tone="idle">as of "# (at) " UTC</p>");
    }
    put!(h; "</header>");
}

fn footer(h: &mut Html, s: &Snapshot) {
    put!(h; "<footer><p>" (or_dash(&s.node)) " · TickerML " (or_dash(&s.version)) " · schema <code>"
        (or_dash(&s.schema_id)) "</code> · all times UTC</p><p>"
        r#"<a href="/api/v1/status">JSON</a> <a href="/metrics">Metrics</a> "#
        r#"<a href="/health">Health</a> <a href="/ready">Ready</a></p></footer>"#);
}
