//! The pages, rendered whole on the server.
//!
//! A page is a fixed shell with named parts. The shell is sent once; the event stream sends the
//! parts that changed, rendered by the same functions, so what the browser shows first and what it
//! shows later come from one place. Nothing here knows about HTTP.

use super::{
    chart,
    html::{
        Html, Markup, UNKNOWN, bytes, clock, duration, duration_s, fixed, int, money, price,
        signed, significant, stamp, with_unit,
    },
    snapshot::*,
};

/// Fills and decisions on the overview; their own page has all.
const RECENT: usize = 8;
/// Alarms on the overview; the system page has all.
const RECENT_ALARMS: usize = 5;
const NS_PER_MS: u64 = 1_000_000;
const DAY_NS: u64 = 86_400_000_000_000;

/// The pages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum View {
    /// Mode, money, positions, the last fills and decisions.
    Overview,
    /// Sessions, books and the gap ledger.
    Venues,
    /// Decisions, fills and features.
    Decisions,
    /// Build, model, process, alarms.
    System,
}

impl View {
    /// All, in the order of the navigation.
    pub(super) const ALL: [Self; 4] = [Self::Overview, Self::Venues, Self::Decisions, Self::System];

    /// Its name in `/events?view=…`.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Overview => "overview",
            Self::Venues => "venues",
            Self::Decisions => "decisions",
            Self::System => "system",
        }
    }

    /// Its address.
    pub(super) fn path(self) -> &'static str {
        match self {
            Self::Overview => "/",
            Self::Venues => "/venues",
            Self::Decisions => "/decisions",
            Self::System => "/system",
        }
    }

    fn title(self) -> &'static str {
        match self {
            Self::Overview => "Overview",
            Self::Venues => "Venues",
            Self::Decisions => "Decisions",
            Self::System => "System",
        }
    }
}

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
    /// The parts, in no particular order.
    pub(super) parts: Vec<Part>,
}

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

/// The state word of the whole edge. `silent_s` is how long the desk has published nothing, or zero.
pub(super) fn state(s: &Snapshot, silent_s: u64) -> (Tone, &'static str) {
    match s {
        _ if silent_s > 0 => (Tone::Bad, "silent"),
        s if s.health.halted => (Tone::Bad, "halted"),
        s if !s.health.ready => (Tone::Idle, "starting"),
        s if s.health.stale => (Tone::Warn, "stale"),
        _ => (Tone::Good, "running"),
    }
}

/// Renders every part of a view.
pub(super) fn content(view: View, s: &Snapshot, silent_s: u64) -> Content {
    type Render = fn(&mut Html, &Snapshot);
    let table: &[(&'static str, Render)] = match view {
        View::Overview => &[
            ("account", account),
            ("chart", equity_chart),
            ("stats", account_stats),
            ("halts", halts),
            ("feeds", feeds),
            ("positions", positions),
            ("orders", orders),
            ("fills", |h, s| fills(h, s, RECENT)),
            ("decisions", |h, s| decisions(h, s, RECENT)),
            ("alarms", |h, s| alarms(h, s, RECENT_ALARMS)),
            ("model", model),
        ],
        View::Venues => &[
            ("brief", brief),
            ("sessions", sessions),
            ("books", books),
            ("faults", faults),
            ("gaps", gaps),
        ],
        View::Decisions => &[
            ("brief", brief),
            ("decisions", |h, s| decisions(h, s, DECISIONS)),
            ("fills", |h, s| fills(h, s, FILLS)),
            ("features", features),
        ],
        View::System => &[
            ("brief", brief),
            ("build", build),
            ("model", model),
            ("host", host),
            ("journal", journal),
            ("channels", channels),
            ("halts", halts),
            ("alarms", |h, s| alarms(h, s, ALARMS)),
        ],
    };
    let mut h = Html::new();
    mode(&mut h, s, silent_s);
    let mut parts = vec![Part {
        id: "state",
        html: h.finish(),
    }];
    for (id, render) in table {
        let mut h = Html::new();
        render(&mut h, s);
        parts.push(Part {
            id,
            html: h.finish(),
        });
    }
    let (_, word) = state(s, silent_s);
    let word = if word == "running" {
        String::new()
    } else {
        format!(" {}", word.to_uppercase())
    };
    Content {
        title: format!("{}{word} {} · TickerML", s.mode, money(s.account.equity)),
        at: clock(s.now_ns),
        parts,
    }
}

// ---------------------------------------------------------------------------------------------
// The shell

/// A whole page. `css` and `js` are the addresses of the assets.
pub(super) fn document(view: View, s: &Snapshot, content: &Content, css: &str, js: &str) -> Markup {
    let mut h = Html::new();
    head(&mut h, &content.title, css, Some(js));
    h.raw("<body").attr("data-view", view.name()).raw(">");
    header(&mut h, Some(view), &content.at);
    h.raw("<main id=\"main\" tabindex=\"-1\"")
        .attr("class", view.name())
        .raw(">");
    let part = |h: &mut Html, id: &'static str| slot(h, content, id);
    if view == View::Overview {
        h.raw("<h1 class=\"vh\">Overview</h1><section class=\"hero\" aria-label=\"Account\">");
        h.raw("<div class=\"state\" data-part=\"state\" aria-live=\"polite\">");
        part(&mut h, "state");
        h.raw("</div><div class=\"account\" data-part=\"account\">");
        part(&mut h, "account");
        h.raw("</div><div class=\"equity\" data-part=\"chart\">");
        part(&mut h, "chart");
        h.raw("</div><div data-part=\"stats\" class=\"money\">");
        part(&mut h, "stats");
        h.raw("</div></section>");
    } else {
        h.raw("<h1 class=\"vh\">").text(view.title()).raw("</h1>");
        h.raw("<section class=\"strip\" aria-label=\"State\">");
        h.raw("<div class=\"state\" data-part=\"state\" aria-live=\"polite\">");
        part(&mut h, "state");
        h.raw("</div><div data-part=\"brief\">");
        part(&mut h, "brief");
        h.raw("</div></section>");
    }
    for (id, title, class) in sections(view) {
        h.raw("<section")
            .attr("class", class)
            .attr("aria-labelledby", format_args!("h-{id}"));
        h.raw("><h2")
            .attr("id", format_args!("h-{id}"))
            .raw(">")
            .text(title)
            .raw("</h2><div");
        h.attr("data-part", id).raw(">");
        part(&mut h, id);
        h.raw("</div></section>");
    }
    h.raw("</main>");
    footer(&mut h, s);
    h.raw("</body></html>");
    h.finish()
}

/// A short page for a request that found nothing.
pub(super) fn not_found(path: &str, css: &str) -> Markup {
    let mut h = Html::new();
    head(&mut h, "Not found · TickerML", css, None);
    h.raw("<body>");
    header(&mut h, None, "");
    h.raw("<main id=\"main\" tabindex=\"-1\"><h1>Not found</h1><p>There is no page at <code>");
    h.text(path)
        .raw("</code>. The pages are named above.</p></main></body></html>");
    h.finish()
}

/// Parts of a view below its head: part, heading, width.
fn sections(view: View) -> &'static [(&'static str, &'static str, &'static str)] {
    match view {
        View::Overview => &[
            ("halts", "Halts", "w12"),
            ("feeds", "Feeds", "w12"),
            ("positions", "Positions", "w7"),
            ("orders", "Orders", "w5"),
            ("fills", "Last fills", "w7"),
            ("decisions", "Last decisions", "w5"),
            ("alarms", "Alarms", "w7"),
            ("model", "Model", "w5"),
        ],
        View::Venues => &[
            ("sessions", "Sessions", "w12"),
            ("books", "Books", "w12"),
            ("faults", "Integrity since start", "w12"),
            ("gaps", "Gap ledger", "w12"),
        ],
        View::Decisions => &[
            ("decisions", "Decisions", "w6"),
            ("fills", "Fills", "w6"),
            ("features", "Features now", "w12"),
        ],
        View::System => &[
            ("host", "Process and host", "w4"),
            ("journal", "Journal", "w4"),
            ("channels", "Channels", "w4"),
            ("model", "Model", "w4"),
            ("build", "Build", "w8"),
            ("halts", "Halts", "w12"),
            ("alarms", "Alarms", "w12"),
        ],
    }
}

fn slot(h: &mut Html, content: &Content, id: &'static str) {
    let part = content.parts.iter().find(|part| part.id == id);
    debug_assert!(part.is_some(), "the view has no part {id}");
    if let Some(part) = part {
        h.put(&part.html);
    }
}

fn head(h: &mut Html, title: &str, css: &str, js: Option<&str>) {
    h.raw("<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\">");
    h.raw("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">");
    h.raw("<meta name=\"color-scheme\" content=\"light dark\">");
    h.raw(
        "<meta name=\"theme-color\" content=\"#f7f6f3\" media=\"(prefers-color-scheme: light)\">",
    );
    h.raw("<meta name=\"theme-color\" content=\"#101214\" media=\"(prefers-color-scheme: dark)\">");
    h.raw("<meta name=\"robots\" content=\"noindex\"><title>")
        .text(title)
        .raw("</title>");
    h.raw("<link rel=\"icon\" href=\"/assets/icon.svg\" type=\"image/svg+xml\">");
    h.raw("<link rel=\"stylesheet\"").attr("href", css).raw(">");
    if let Some(js) = js {
        h.raw("<script defer").attr("src", js).raw("></script>");
        h.raw("<noscript><meta http-equiv=\"refresh\" content=\"5\"></noscript>");
    }
    h.raw("</head>");
}

fn header(h: &mut Html, view: Option<View>, at: &str) {
    h.raw("<a class=\"skip\" href=\"#main\">Skip to content</a><header>");
    h.raw("<a class=\"brand\" href=\"/\">Ticker<b>ML</b></a><nav aria-label=\"Pages\">");
    for other in View::ALL {
        h.raw("<a").attr("href", other.path());
        if view == Some(other) {
            h.raw(" aria-current=\"page\"");
        }
        h.raw(">").text(other.title()).raw("</a>");
    }
    h.raw("</nav>");
    if view.is_some() {
        h.raw("<p class=\"link\" data-link data-tone=\"idle\">as of ")
            .text(at)
            .raw(" UTC</p>");
    }
    h.raw("</header>");
}

fn footer(h: &mut Html, s: &Snapshot) {
    h.raw("<footer><p>")
        .text(or_dash(&s.node))
        .raw(" · TickerML ")
        .text(or_dash(&s.version));
    h.raw(" · schema <code>")
        .text(or_dash(&s.schema_id))
        .raw("</code> · all times UTC</p><p>");
    h.raw("<a href=\"/api/v1/status\">JSON</a> <a href=\"/metrics\">Metrics</a> ");
    h.raw("<a href=\"/health\">Health</a> <a href=\"/ready\">Ready</a></p></footer>");
}

// ---------------------------------------------------------------------------------------------
// State and money

/// The mode word, the state word and the reasons. It is a live region, so all that is read aloud
/// changes only when the state does; running durations are hidden from assistive technology.
fn mode(h: &mut Html, s: &Snapshot, silent_s: u64) {
    let (tone, word) = state(s, silent_s);
    h.raw("<p class=\"mode\">")
        .text(or_dash(&s.mode))
        .raw("</p><p class=\"word\">");
    badge(h, tone, word);
    h.raw("</p>");
    if silent_s == 0 && s.health.reasons.is_empty() {
        return;
    }
    h.raw("<ul class=\"reasons\">");
    if silent_s > 0 {
        h.raw("<li>The desk has published nothing. What is shown may no longer be true.");
        h.raw("<small aria-hidden=\"true\"> for ")
            .text(duration_s(silent_s))
            .raw("</small></li>");
    }
    for reason in &s.health.reasons {
        h.raw("<li>").text(&reason.text).raw(" <small>since ");
        time(h, reason.since_ns, s.now_ns);
        h.raw("<span aria-hidden=\"true\">, ")
            .text(since(s, reason.since_ns));
        h.raw("</span></small></li>");
    }
    h.raw("</ul>");
}

fn account(h: &mut Html, s: &Snapshot) {
    let a = &s.account;
    h.raw("<p class=\"figure\"><span class=\"label\">Equity</span> <span class=\"big\">");
    h.text(money(a.equity))
        .raw("</span> <span class=\"unit\">")
        .text(&a.currency);
    h.raw("</span></p><p class=\"under\">");
    amount(h, a.day_pnl, 2);
    h.raw(" <span class=\"quiet\">today");
    if let (Some(day), Some(equity)) = (a.day_pnl, a.equity)
        && equity - day > 0.0
    {
        h.raw(" (")
            .text(with_unit(
                signed(Some(day / (equity - day) * 100.0), 2),
                "%",
            ))
            .raw(")");
    }
    h.raw("</span> <span class=\"quiet\">·</span> <span class=\"nowrap\">");
    h.text(with_unit(fixed(a.drawdown_pct, 2), "%"));
    h.raw(" <span class=\"quiet\">below high</span></span></p>");
}

fn account_stats(h: &mut Html, s: &Snapshot) {
    let a = &s.account;
    h.raw("<dl class=\"stats\">");
    let signed_stat = |h: &mut Html, label: &'static str, value: Option<f64>| {
        stat(h, label, |h| amount(h, value, 2));
    };
    signed_stat(h, "Unrealised", a.unrealised);
    signed_stat(h, "Realised", a.realised);
    stat(h, "Fees paid", |h| {
        h.text(money(a.fees));
    });
    stat(h, "Cash", |h| {
        h.text(money(a.cash));
    });
    stat(h, "High-water mark", |h| {
        h.text(money(a.high_water_mark));
    });
    h.raw("</dl>");
}

/// The line of money on the other pages.
fn brief(h: &mut Html, s: &Snapshot) {
    let a = &s.account;
    h.raw("<p class=\"brief\"><span class=\"quiet\">Equity</span> ")
        .text(money(a.equity));
    h.raw(" ").text(&a.currency).raw(" <span class=\"nowrap\">");
    amount(h, a.day_pnl, 2);
    h.raw(" <span class=\"quiet\">today</span></span></p>");
}

fn equity_chart(h: &mut Html, s: &Snapshot) {
    chart::equity(h, &s.account);
}

fn positions(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        text("Side"),
        number("Quantity"),
        number("Average"),
        number("Mark"),
        number("Notional"),
        number("Unrealised"),
    ];
    table(
        h,
        "Open positions",
        COLS,
        &s.positions,
        "No open positions.",
        |r, p| {
            r.with(|h| pair(h, &p.instrument, &p.venue));
            r.with(|h| side(h, &p.side));
            r.cell(&p.qty);
            r.cell(price(p.avg_price));
            r.cell(price(p.mark));
            r.cell(money(p.notional));
            r.with(|h| amount(h, p.unrealised, 2));
        },
    );
}

fn orders(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        text("Order"),
        number("Quantity"),
        number("Price"),
        text("State"),
        number("Age"),
        number("Ahead in queue"),
    ];
    table(
        h,
        "Working orders",
        COLS,
        &s.orders,
        "No working orders.",
        |r, o| {
            r.with(|h| pair(h, &o.instrument, &o.id));
            r.with(|h| {
                side(h, &o.side);
                h.raw(" ").text(&o.kind);
            });
            r.cell(&o.qty);
            r.cell(o.price.as_deref().unwrap_or(UNKNOWN));
            r.cell(&o.state);
            r.cell(duration(o.age_ms.saturating_mul(NS_PER_MS)));
            r.with(|h| match o.queue {
                Some([low, high]) => {
                    h.text(significant(Some(low)))
                        .raw("–")
                        .text(significant(Some(high)));
                }
                None => {
                    h.raw(UNKNOWN);
                }
            });
        },
    );
}

fn fills(h: &mut Html, s: &Snapshot, most: usize) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Side"),
        number("Quantity"),
        number("Price"),
        number("Fee"),
        number("Slippage"),
        wide("Reason"),
    ];
    let shown = &s.fills[..s.fills.len().min(most)];
    table(
        h,
        "Fills, newest first",
        COLS,
        shown,
        "No fills yet.",
        |r, f| {
            r.with(|h| time(h, f.ns, s.now_ns));
            r.cell(&f.instrument);
            r.with(|h| side(h, &f.side));
            r.cell(&f.qty);
            r.cell(&f.price);
            r.cell(fixed(Some(f.fee), 4));
            r.cell(with_unit(signed(f.slippage_bps, 1), "bps"));
            r.cell(or_dash(&f.reason));
        },
    );
    more(h, s.fills.len(), most, "fills");
}

fn decisions(h: &mut Html, s: &Snapshot, most: usize) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Action"),
        number("Size"),
        number("Confidence"),
        number("Expected"),
        number("Latency"),
        wide("Risk"),
    ];
    let shown = &s.decisions[..s.decisions.len().min(most)];
    table(
        h,
        "Decisions, newest first",
        COLS,
        shown,
        "No decisions yet.",
        |r, d| {
            r.with(|h| time(h, d.ns, s.now_ns));
            r.cell(&d.instrument);
            r.with(|h| side(h, &d.action));
            r.cell(with_unit(fixed(d.size.map(|v| v * 100.0), 1), "%"));
            r.cell(fixed(d.confidence, 2));
            r.cell(with_unit(signed(d.expected_bps, 1), "bps"));
            r.cell(with_unit(int(d.latency_us), "µs"));
            r.with(|h| match &d.verdict {
                Verdict::Allowed => badge(h, Tone::Good, "allowed"),
                Verdict::Denied { code, reason } => {
                    badge(h, Tone::Warn, "denied");
                    h.raw(" <code>")
                        .text(code)
                        .raw("</code> <span class=\"quiet\">");
                    h.text(reason).raw("</span>");
                }
            });
        },
    );
    more(h, s.decisions.len(), most, "decisions");
}

fn more(h: &mut Html, have: usize, shown: usize, what: &'static str) {
    if have > shown {
        h.raw("<p class=\"more\"><a href=\"/decisions\">All ")
            .text(have)
            .raw(" recent ");
        h.raw(what).raw("</a></p>");
    }
}

// ---------------------------------------------------------------------------------------------
// Market data

fn feeds(h: &mut Html, s: &Snapshot) {
    if s.venues.is_empty() {
        h.raw("<p class=\"none\">No venue is configured.</p>");
        return;
    }
    h.raw("<ul class=\"feeds\">");
    for v in &s.venues {
        let books = s.books.iter().filter(|b| b.venue == v.name);
        let (mut live, mut all, mut gaps) = (0u64, 0u64, 0u64);
        for book in books {
            all += 1;
            live += u64::from(book.live);
            gaps += book.gaps.total();
        }
        h.raw("<li><h3><a href=\"/venues\">")
            .text(&v.name)
            .raw("</a></h3>");
        badge(h, venue_tone(&v.state), or_dash(&v.state));
        h.raw("<dl><div><dt>Last message</dt><dd>")
            .text(ago(s, v.last_message_ns));
        h.raw("</dd></div><div><dt>Latency</dt><dd>")
            .text(with_unit(fixed(v.latency_p50_ms, 1), "ms"));
        h.raw("</dd></div><div><dt>Books live</dt><dd>")
            .text(live)
            .raw(" of ")
            .text(all);
        h.raw("</dd></div><div><dt>Gaps</dt><dd>")
            .text(int(gaps))
            .raw("</dd></div></dl>");
        if let Some(reason) = &v.reason {
            h.raw("<p class=\"why\">").text(reason).raw("</p>");
        }
        h.raw("</li>");
    }
    h.raw("</ul>");
}

fn sessions(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Venue"),
        wide("State"),
        number("Connected for"),
        number("Last message"),
        number("Latency p50"),
        number("Latency p99"),
        number("Clock offset"),
        number("Frames"),
        number("Bytes"),
        number("Reconnects"),
        number("Resyncs"),
        number("Parse errors"),
    ];
    table(
        h,
        "Venue sessions",
        COLS,
        &s.venues,
        "No venue is configured.",
        |r, v| {
            r.with(|h| pair(h, &v.name, &v.host));
            r.with(|h| {
                badge(h, venue_tone(&v.state), or_dash(&v.state));
                if let Some(reason) = &v.reason {
                    h.raw(" <span class=\"quiet\">").text(reason).raw("</span>");
                }
            });
            r.cell(v.connected_since_ns.map_or_else(dash, |ns| since(s, ns)));
            r.cell(ago(s, v.last_message_ns));
            r.cell(with_unit(fixed(v.latency_p50_ms, 1), "ms"));
            r.cell(with_unit(fixed(v.latency_p99_ms, 1), "ms"));
            r.cell(with_unit(signed(v.clock_offset_ms, 1), "ms"));
            r.cell(int(v.frames));
            r.cell(bytes(Some(v.bytes)));
            r.count(v.reconnects);
            r.count(v.resyncs);
            r.count(v.parse_errors);
        },
    );
}

fn books(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        wide("State"),
        number("Bid quantity"),
        number("Best bid"),
        number("Best ask"),
        number("Ask quantity"),
        number("Spread"),
        number("Imbalance"),
        number("Levels"),
        number("Events"),
        number("Trades"),
    ];
    table(
        h,
        "Order books",
        COLS,
        &s.books,
        "No book is configured.",
        |r, b| {
            let bid = b.best_bid.as_ref();
            let ask = b.best_ask.as_ref();
            r.with(|h| pair(h, &b.instrument, &b.venue));
            r.with(|h| {
                let (tone, word) = if b.live {
                    (Tone::Good, "live")
                } else {
                    (Tone::Warn, "stale")
                };
                badge(h, tone, word);
                h.raw(" <span class=\"quiet\">for ")
                    .text(since_s(s, b.since_ns));
                if !b.live {
                    h.raw(": ")
                        .text(b.stale_reason.as_deref().unwrap_or("no reason was given"));
                }
                h.raw("</span>");
            });
            r.cell(bid.map_or(UNKNOWN, |q| &q.qty));
            r.cell(bid.map_or(UNKNOWN, |q| &q.price));
            r.cell(ask.map_or(UNKNOWN, |q| &q.price));
            r.cell(ask.map_or(UNKNOWN, |q| &q.qty));
            r.cell(with_unit(fixed(b.spread_bps, 2), "bps"));
            r.with(|h| chart::balance(h, b.imbalance));
            r.with(|h| {
                h.text(int(b.depth[0])).raw(" / ").text(int(b.depth[1]));
            });
            r.cell(int(b.events));
            r.cell(int(b.trades));
        },
    );
}

fn faults(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        number("Sequence"),
        number("Checksum"),
        number("Crossed"),
        number("Overflow"),
        number("Unparsable"),
        number("Stale"),
        number("Disconnect"),
        number("Checksums verified"),
        number("failed"),
        number("Best bid/ask equal"),
        number("different"),
    ];
    table(
        h,
        "Gaps by kind, checksums and cross-checks",
        COLS,
        &s.books,
        "No book is configured.",
        |r, b| {
            r.with(|h| pair(h, &b.instrument, &b.venue));
            for (_, count) in b.gaps.kinds() {
                r.count(count);
            }
            r.cell(int(b.checksums_verified));
            r.count(b.checksums_failed);
            r.cell(int(b.bbo_equal));
            r.count(b.bbo_different);
        },
    );
}

fn gaps(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Kind"),
        wide("Expected"),
        wide("Got"),
        number("Stale for"),
    ];
    let shown = &s.gaps[..s.gaps.len().min(GAPS)];
    table(
        h,
        "Gaps, newest first",
        COLS,
        shown,
        "No gap since the ledger began.",
        |r, g| {
            r.with(|h| time(h, g.ns, s.now_ns));
            r.with(|h| pair(h, &g.instrument, &g.venue));
            r.cell(&g.kind);
            r.cell(or_dash(&g.expected));
            r.cell(or_dash(&g.got));
            r.with(|h| match g.duration_ms {
                Some(ms) => {
                    h.text(duration(ms.saturating_mul(NS_PER_MS)));
                }
                None => badge(h, Tone::Warn, "still open"),
            });
        },
    );
}

/// Features as a matrix: one row per feature, one column per instrument, in the order they came.
fn features(h: &mut Html, s: &Snapshot) {
    if s.features.is_empty() {
        h.raw("<p class=\"none\">No features yet.</p>");
        return;
    }
    let mut instruments: Vec<&str> = Vec::new();
    let mut rows: Vec<(&str, &str)> = Vec::new();
    for f in &s.features {
        if !instruments.contains(&f.instrument.as_str()) {
            instruments.push(&f.instrument);
        }
        if !rows.contains(&(&f.name, &f.unit)) {
            rows.push((&f.name, &f.unit));
        }
    }
    h.raw("<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Features\">");
    h.raw("<table class=\"matrix\"><caption class=\"vh\">Feature values by instrument</caption>");
    h.raw("<thead><tr><th scope=\"col\">Feature</th><th scope=\"col\">Unit</th>");
    for instrument in &instruments {
        h.raw("<th scope=\"col\" class=\"n\">")
            .text(instrument)
            .raw("</th>");
    }
    h.raw("</tr></thead><tbody>");
    for (name, unit) in rows {
        h.raw("<tr><th scope=\"row\">")
            .text(name)
            .raw("</th><td class=\"quiet\">")
            .text(unit);
        h.raw("</td>");
        for instrument in &instruments {
            let value = s
                .features
                .iter()
                .find(|f| f.instrument == *instrument && f.name == name && f.unit == unit)
                .and_then(|f| f.value);
            h.raw("<td class=\"n\">")
                .text(significant(value))
                .raw("</td>");
        }
        h.raw("</tr>");
    }
    h.raw("</tbody></table></div>");
}

// ---------------------------------------------------------------------------------------------
// Machine room

fn halts(h: &mut Html, s: &Snapshot) {
    if s.halts.is_empty() {
        h.raw("<p class=\"none\">Nothing is halted.</p>");
        return;
    }
    h.raw("<ul class=\"halts\">");
    for halt in &s.halts {
        h.raw("<li>");
        badge(h, Tone::Bad, "halted");
        h.raw(" <strong>")
            .text(&halt.scope)
            .raw(" ")
            .text(&halt.what)
            .raw("</strong> ");
        h.text(&halt.why).raw(" <span class=\"quiet\">since ");
        time(h, halt.since_ns, s.now_ns);
        h.raw(", for ")
            .text(since_s(s, halt.since_ns))
            .raw(".</span> <span class=\"quiet\">To clear:");
        h.raw("</span> ")
            .text(or_dash(&halt.how_to_clear))
            .raw("</li>");
    }
    h.raw("</ul>");
}

fn alarms(h: &mut Html, s: &Snapshot, most: usize) {
    if s.alarms.is_empty() {
        h.raw("<p class=\"none\">No alarms.</p>");
        return;
    }
    h.raw("<ul class=\"alarms\">");
    for alarm in s.alarms.iter().take(most) {
        let tone = match alarm.severity.as_str() {
            "critical" => Tone::Bad,
            "warning" => Tone::Warn,
            _ => Tone::Idle,
        };
        h.raw("<li>");
        time(h, alarm.ns, s.now_ns);
        h.raw(" ");
        badge(h, tone, or_dash(&alarm.severity));
        h.raw(" <span>")
            .text(&alarm.text)
            .raw(" <code>")
            .text(&alarm.code);
        h.raw("</code></span></li>");
    }
    h.raw("</ul>");
    if s.alarms.len() > most {
        h.raw("<p class=\"more\"><a href=\"/system\">All ")
            .text(s.alarms.len());
        h.raw(" alarms</a></p>");
    }
}

fn model(h: &mut Html, s: &Snapshot) {
    let m = &s.model;
    h.raw("<dl class=\"facts\">");
    fact(h, "Name", or_dash(&m.name));
    fact(h, "Kind", or_dash(&m.kind));
    fact(h, "Version", or_dash(&m.version));
    fact(h, "Age", m.age_s.map_or_else(dash, duration_s));
    match m.expires_in_s {
        None => fact(h, "Expires", UNKNOWN),
        Some(left) if left < 0 => {
            stat(h, "Expires", |h| badge(h, Tone::Bad, "expired"));
        }
        Some(left) => fact(
            h,
            "Expires",
            format_args!("in {}", duration_s(left.unsigned_abs())),
        ),
    }
    h.raw("</dl>");
}

fn build(h: &mut Html, s: &Snapshot) {
    h.raw("<dl class=\"facts\">");
    fact(h, "Node", or_dash(&s.node));
    fact(h, "Version", or_dash(&s.version));
    fact(h, "Schema", or_dash(&s.schema_id));
    fact(h, "Configuration", or_dash(&s.config_hash));
    fact(h, "Started", stamp(s.started_ns));
    fact(h, "Snapshot", stamp(s.now_ns));
    h.raw("</dl>");
}

fn host(h: &mut Html, s: &Snapshot) {
    let y = &s.system;
    h.raw("<dl class=\"facts\">");
    fact(h, "Up for", duration_s(y.uptime_s));
    fact(h, "Memory, resident", bytes(y.rss_bytes));
    fact(h, "Memory, anonymous", bytes(y.anon_bytes));
    fact(h, "Threads", y.threads.map_or_else(dash, int));
    fact(
        h,
        "CPU temperature",
        with_unit(fixed(y.cpu_temp_c, 1), "°C"),
    );
    fact(h, "Written per day", bytes(y.disk_written_bytes_per_day));
    fact(
        h,
        "Frame to features, p50",
        with_unit(fixed(y.frame_to_features_p50_us, 1), "µs"),
    );
    fact(
        h,
        "Frame to features, p99",
        with_unit(fixed(y.frame_to_features_p99_us, 1), "µs"),
    );
    h.raw("</dl>");
}

fn journal(h: &mut Html, s: &Snapshot) {
    let j = &s.system.journal;
    h.raw("<dl class=\"facts\">");
    stat(h, "State", |h| match &j.suspended {
        None => badge(h, Tone::Good, "writing"),
        Some(reason) => {
            badge(h, Tone::Bad, "suspended");
            h.raw(" <span class=\"quiet\">").text(reason).raw("</span>");
        }
    });
    fact(h, "Events", int(j.events));
    fact(h, "Written", bytes(Some(j.bytes)));
    fact(h, "Dropped events", int(j.dropped));
    h.raw("</dl>");
}

fn channels(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Channel"),
        number("Waiting"),
        number("Capacity"),
        number("Full"),
    ];
    table(
        h,
        "Bounded channels",
        COLS,
        &s.system.channels,
        "No channel is reported.",
        |r, c| {
            r.cell(&c.name);
            r.cell(int(c.depth));
            r.cell(int(c.capacity));
            r.with(|h| chart::fullness(h, c.depth, c.capacity));
        },
    );
}

// ---------------------------------------------------------------------------------------------
// Small pieces

/// A column: its heading and its class (`n` is right-aligned, `w` takes a card's full width).
struct Col {
    label: &'static str,
    class: &'static str,
}

const fn text(label: &'static str) -> Col {
    Col { label, class: "t" }
}

const fn number(label: &'static str) -> Col {
    Col { label, class: "n" }
}

const fn wide(label: &'static str) -> Col {
    Col { label, class: "w" }
}

/// A row being written; cells come in the order of the columns, the first is the row's heading.
struct Row<'a> {
    h: &'a mut Html,
    cols: &'static [Col],
    at: usize,
}

impl Row<'_> {
    fn cell(&mut self, value: impl std::fmt::Display) {
        self.with(|h| {
            h.text(value);
        });
    }

    /// A count of bad things: zero is quiet.
    fn count(&mut self, value: u64) {
        self.with(|h| {
            if value == 0 {
                h.raw("<span class=\"quiet\">0</span>");
            } else {
                h.raw("<strong>").text(int(value)).raw("</strong>");
            }
        });
    }

    fn with(&mut self, write: impl FnOnce(&mut Html)) {
        debug_assert!(self.at < self.cols.len(), "more cells than columns");
        let Some(col) = self.cols.get(self.at) else {
            return;
        };
        let first = self.at == 0;
        self.at += 1;
        self.h.raw(if first { "<th scope=\"row\"" } else { "<td" });
        self.h
            .attr("class", col.class)
            .attr("data-label", col.label)
            .raw(">");
        write(self.h);
        self.h.raw(if first { "</th>" } else { "</td>" });
    }
}

/// A table that turns into cards where there is no room for it.
fn table<T>(
    h: &mut Html,
    caption: &'static str,
    cols: &'static [Col],
    rows: &[T],
    none: &'static str,
    mut write: impl FnMut(&mut Row<'_>, &T),
) {
    if rows.is_empty() {
        h.raw("<p class=\"none\">").text(none).raw("</p>");
        return;
    }
    h.raw("<div class=\"scroll\"><table class=\"cards\"><caption class=\"vh\">")
        .text(caption);
    h.raw("</caption><thead><tr>");
    for col in cols {
        h.raw("<th scope=\"col\"")
            .attr("class", col.class)
            .raw(">")
            .text(col.label)
            .raw("</th>");
    }
    h.raw("</tr></thead><tbody>");
    for item in rows {
        h.raw("<tr>");
        let mut row = Row { h, cols, at: 0 };
        write(&mut row, item);
        debug_assert!(
            row.at == cols.len(),
            "fewer cells than columns in {caption}"
        );
        h.raw("</tr>");
    }
    h.raw("</tbody></table></div>");
}

/// A state as shape, colour and word.
fn badge(h: &mut Html, tone: Tone, word: &str) {
    h.raw("<span class=\"badge\"")
        .attr("data-tone", tone.name())
        .raw("><i></i>")
        .text(word);
    h.raw("</span>");
}

fn venue_tone(state: &str) -> Tone {
    match state {
        "live" => Tone::Good,
        "halted" | "failed" | "refused" | "disabled" => Tone::Bad,
        "" => Tone::Idle,
        _ => Tone::Warn,
    }
}

/// A name with a quieter second name.
fn pair(h: &mut Html, name: &str, detail: &str) {
    h.text(or_dash(name))
        .raw(" <small>")
        .text(detail)
        .raw("</small>");
}

/// Buy, sell, long, short, hold: an arrow and the word.
fn side(h: &mut Html, side: &str) {
    let (class, arrow) = match side {
        "buy" | "long" => ("up", "▲"),
        "sell" | "short" => ("down", "▼"),
        _ => ("quiet", ""),
    };
    h.raw("<span").attr("class", class).raw(">");
    if !arrow.is_empty() {
        h.raw("<span class=\"arrow\" aria-hidden=\"true\">")
            .raw(arrow)
            .raw("</span>");
    }
    h.text(or_dash(side)).raw("</span>");
}

/// A signed amount, coloured by its sign.
fn amount(h: &mut Html, value: Option<f64>, decimals: usize) {
    let text = signed(value, decimals);
    let class = match text.chars().next() {
        Some('+') => "up",
        Some('\u{2212}') => "down",
        _ => "flat",
    };
    h.raw("<span")
        .attr("class", class)
        .raw(">")
        .text(text)
        .raw("</span>");
}

fn stat(h: &mut Html, label: &'static str, write: impl FnOnce(&mut Html)) {
    h.raw("<div><dt>").raw(label).raw("</dt><dd>");
    write(h);
    h.raw("</dd></div>");
}

fn fact(h: &mut Html, label: &'static str, value: impl std::fmt::Display) {
    stat(h, label, |h| {
        h.text(value);
    });
}

/// A moment: time of day, with the date when it was not today.
fn time(h: &mut Html, ns: u64, now_ns: u64) {
    let full = stamp(ns);
    h.raw("<time")
        .attr("datetime", format_args!("{}Z", full.replace(' ', "T")))
        .raw(">");
    if ns / DAY_NS == now_ns / DAY_NS {
        h.text(clock(ns));
    } else {
        // Month, day and time: the year is in the attribute.
        h.text(full.get(5..).unwrap_or(&full));
    }
    h.raw("</time>");
}

fn since(s: &Snapshot, ns: u64) -> String {
    duration(s.now_ns.saturating_sub(ns))
}

fn since_s(s: &Snapshot, ns: u64) -> String {
    duration_s(s.now_ns.saturating_sub(ns) / 1_000_000_000)
}

fn ago(s: &Snapshot, ns: Option<u64>) -> String {
    ns.map_or_else(dash, |ns| format!("{} ago", since(s, ns)))
}

fn dash() -> String {
    UNKNOWN.to_owned()
}

fn or_dash(text: &str) -> &str {
    if text.is_empty() { UNKNOWN } else { text }
}
