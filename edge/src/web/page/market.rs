//! Market data: sessions, books, their integrity, the gap ledger.

use super::{
    pieces::{Tone, badge, dash, or_dash, pair, since, since_s, time},
    table::{Col, Shape, number, table, text, wide},
};
use crate::web::{
    chart,
    html::{Html, bytes, duration, exact, fixed, int, put, signed, with_unit},
    snapshot::{GAPS, Snapshot},
};

const NS_PER_MS: u64 = 1_000_000;

/// One short block per venue.
pub(super) fn feeds(h: &mut Html, s: &Snapshot) {
    if s.venues.is_empty() {
        put!(h; r#"<p class="none">No venue is configured.</p>"#);
        return;
    }
    put!(h; r#"<ul class="feeds">"#);
    for v in &s.venues {
        let (mut live, mut all, mut gaps) = (0u64, 0u64, 0u64);
        for book in s.books.iter().filter(|b| b.venue == v.name) {
            all += 1;
            live += u64::from(book.live);
            gaps += book.gaps.total();
        }
        put!(h; r#"<li><h3><a href="/venues">"# (&v.name) "</a></h3>"
            [badge(h, venue_tone(&v.state), or_dash(&v.state))]
            "<dl><div><dt>Last frame</dt><dd>" (ago(s, v.last_message_ns))
            "</dd></div><div><dt>Latency</dt><dd>" (with_unit(fixed(v.latency_p50_ms, 1), "ms"))
            "</dd></div><div><dt>Books live</dt><dd>" (live) " of " (all)
            "</dd></div><div><dt>Gaps</dt><dd>" (int(gaps)) "</dd></div></dl>");
        if let Some(reason) = &v.reason {
            put!(h; r#"<p class="why">"# (reason) "</p>");
        }
        put!(h; "</li>");
    }
    put!(h; "</ul>");
}

/// Venue sessions in full.
pub(super) fn sessions(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Venue"),
        wide("State"),
        number("Connected"),
        number("Last frame"),
        number("Latency p50"),
        number("Latency p99"),
        number("Clock offset"),
        number("Frames"),
        number("Bytes"),
        number("Reconnects"),
        number("Resyncs"),
        number("Parse errors"),
    ];
    let none = "No venue is configured.";
    table(
        h,
        Shape::Cards,
        "Venue sessions",
        COLS,
        &s.venues,
        none,
        |r, v| {
            r.with(|h| pair(h, &v.name, &v.host));
            r.with(|h| {
                badge(h, venue_tone(&v.state), or_dash(&v.state));
                if let Some(reason) = &v.reason {
                    put!(h; r#" <span class="quiet">"# (reason) "</span>");
                }
            });
            r.cell(v.connected_since_ns.map_or_else(dash, |ns| since_s(s, ns)));
            r.cell(ago(s, v.last_message_ns));
            r.cell(with_unit(fixed(v.latency_p50_ms, 1), "ms"));
            r.cell(with_unit(fixed(v.latency_p99_ms, 1), "ms"));
            r.cell(with_unit(signed(v.clock_offset_ms, 1), "ms"));
            r.good(v.frames);
            r.cell(bytes(Some(v.bytes)));
            r.bad(v.reconnects);
            r.bad(v.resyncs);
            r.bad(v.parse_errors);
        },
    );
}

/// Order books. A stale one shows why and since when, and no price.
pub(super) fn books(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        wide("State"),
        number("Bid size"),
        number("Best bid"),
        number("Best ask"),
        number("Ask size"),
        number("Spread"),
        number("Imbalance"),
        number("Levels"),
        number("Events"),
        number("Trades"),
    ];
    let none = "No book is configured.";
    table(
        h,
        Shape::Cards,
        "Order books",
        COLS,
        &s.books,
        none,
        |r, b| {
            let (bid, ask) = (b.best_bid.as_ref(), b.best_ask.as_ref());
            r.with(|h| pair(h, &b.instrument, &b.venue));
            r.with(|h| {
            let (tone, word) = if b.live { (Tone::Good, "live") } else { (Tone::Warn, "stale") };
            put!(h; [badge(h, tone, word)] r#" <span class="quiet">for "# (since_s(s, b.since_ns)));
            if !b.live {
                put!(h; ": " (b.stale_reason.as_deref().unwrap_or("no reason was given")));
            }
            put!(h; "</span>");
        });
            r.cell(bid.map_or_else(dash, |q| exact(&q.qty)));
            r.cell(bid.map_or_else(dash, |q| exact(&q.price)));
            r.cell(ask.map_or_else(dash, |q| exact(&q.price)));
            r.cell(ask.map_or_else(dash, |q| exact(&q.qty)));
            r.cell(with_unit(fixed(b.spread_bps, 2), "bps"));
            r.with(|h| chart::balance(h, b.imbalance));
            r.with(|h| put!(h; (int(b.depth[0])) " / " (int(b.depth[1]))));
            r.good(b.events);
            r.good(b.trades);
        },
    );
}

/// Gaps by kind, checksums, and comparisons with the venue's own best bid and ask.
pub(super) fn faults(h: &mut Html, s: &Snapshot) {
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
        number("Checksums failed"),
        number("Bid/ask equal"),
        number("Bid/ask different"),
    ];
    let caption = "Gaps by kind, checksums and cross-checks";
    table(
        h,
        Shape::Log,
        caption,
        COLS,
        &s.books,
        "No book is configured.",
        |r, b| {
            r.with(|h| pair(h, &b.instrument, &b.venue));
            for (_, count) in b.gaps.kinds() {
                r.bad(count);
            }
            r.good(b.checksums_verified);
            r.bad(b.checksums_failed);
            r.good(b.bbo_equal);
            r.bad(b.bbo_different);
        },
    );
}

/// The end of the gap ledger.
pub(super) fn gaps(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Kind"),
        number("Stale for"),
        text("Expected"),
        text("Got"),
    ];
    let shown = &s.gaps[..s.gaps.len().min(GAPS)];
    let none = "No gap since the ledger began.";
    table(
        h,
        Shape::Log,
        "Gaps, newest first",
        COLS,
        shown,
        none,
        |r, g| {
            r.with(|h| time(h, g.ns, s.now_ns));
            r.with(|h| pair(h, &g.instrument, &g.venue));
            r.cell(&g.kind);
            r.with(|h| match g.duration_ms {
                Some(ms) => put!(h; (duration(ms.saturating_mul(NS_PER_MS)))),
                None => badge(h, Tone::Warn, "still open"),
            });
            r.cell(or_dash(&g.expected));
            r.cell(or_dash(&g.got));
        },
    );
}

fn venue_tone(state: &str) -> Tone {
    match state {
        "live" => Tone::Good,
        "halted" | "failed" | "refused" | "disabled" => Tone::Bad,
        "" => Tone::Idle,
        _ => Tone::Warn,
    }
}

fn ago(s: &Snapshot, ns: Option<u64>) -> String {
    ns.map_or_else(dash, |ns| format!("{} ago", since(s, ns)))
}
