//! Orders with their place in the queue, fills with what became of them, the paper venue's terms,
//! and reconciliation.

use super::{
    pieces::{
        Tone, badge, dash, flags, full, gain_to, more, or_dash, pair, side, since_s, stat, time,
    },
    table::{Col, Shape, number, table, text, wide},
};
use crate::web::{
    chart,
    html::{Html, duration, exact, fixed, int, plain, put, signed, with_unit},
    snapshot::{DIFFERENCES, FILLS, Fill, FillCounts, ORDERS, Order, Queue, Snapshot},
};

const NS_PER_MS: u64 = 1_000_000;
/// Orders on the overview; the page of trading has all.
const RECENT_ORDERS: usize = 8;
/// Fills on the overview; the page of trading has all.
const RECENT_FILLS: usize = 8;

/// Working orders in short.
pub(super) fn last_orders(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        wide("Order"),
        number("Left"),
        number("Price"),
        wide("Queue ahead"),
    ];
    let shown = &s.orders[..s.orders.len().min(RECENT_ORDERS)];
    table(
        h,
        Shape::Cards,
        "Working orders",
        COLS,
        shown,
        "No working orders.",
        |r, o| {
            r.with(|h| pair(h, &o.instrument, &o.venue));
            r.with(|h| {
                put!(h; [kind(h, o)] r#" <span class="nowrap">"# (or_dash(&o.state)) "</span>"
                    [order_flags(h, o)]);
            });
            r.cell(exact(&o.left));
            r.cell(o.price.as_deref().map_or_else(dash, exact));
            r.with(|h| queue(h, o.queue.as_ref(), false));
        },
    );
    more(h, s.orders.len(), RECENT_ORDERS, "/trading", "orders");
}

/// Working orders in full.
pub(super) fn orders(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        text("Order"),
        wide("State"),
        number("Quantity"),
        number("Executed"),
        number("Left"),
        number("Limit price"),
        number("Age"),
        wide("Queue ahead"),
    ];
    table(
        h,
        Shape::Cards,
        "Working orders",
        COLS,
        &s.orders,
        "No working orders.",
        |r, o| {
            r.with(|h| pair(h, &o.instrument, &o.venue));
            r.with(|h| put!(h; [kind(h, o)] " <small>" (&o.id) "</small>"));
            r.with(|h| {
                put!(h; (or_dash(&o.state)) r#" <span class="quiet">for "# (or_dash(&o.reason))
                    "</span>" [order_flags(h, o)]);
            });
            r.cell(exact(&o.qty));
            r.cell(exact(&o.executed));
            r.cell(exact(&o.left));
            r.cell(o.price.as_deref().map_or_else(dash, exact));
            r.cell(duration(o.age_ms.saturating_mul(NS_PER_MS)));
            r.with(|h| queue(h, o.queue.as_ref(), true));
        },
    );
    if s.orders.iter().any(|o| o.queue.is_some()) {
        put!(h; r#"<p class="note">Queue ahead: the bar runs from the front of the queue to what was "#
            "ahead when the order joined; the band is what can be ahead now, the mark the "
            "estimate.</p>");
    }
    full(h, s.orders.len(), ORDERS);
}

/// Side, kind and time in force.
fn kind(h: &mut Html, o: &Order) {
    put!(h; [side(h, &o.side)] " " (&o.kind));
    if !o.time_in_force.is_empty() {
        put!(h; r#" <span class="quiet">"# (&o.time_in_force) "</span>");
    }
}

fn order_flags(h: &mut Html, o: &Order) {
    flags(
        h,
        &[
            (o.spanned_gap, "spanned a gap"),
            (o.synthetic, "synthetic book"),
        ],
    );
}

/// The quantity ahead as a bar and in words.
fn queue(h: &mut Html, queue: Option<&Queue>, with_joined: bool) {
    let Some(q) = queue else {
        put!(h; r#"<span class="quiet">not in a queue</span>"#);
        return;
    };
    let number = |value| plain(Some(value));
    chart::queue(h, q);
    put!(h; r#"<span class="nowrap">"# (number(q.optimistic)) " – " (number(q.pessimistic))
        r#"</span> <span class="quiet nowrap">est. "# (number(q.estimate)));
    if with_joined && let Some(joined) = q.joined {
        put!(h; " of " (number(joined)));
    }
    put!(h; "</span>");
}

/// The last few fills in short.
pub(super) fn last_fills(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Side"),
        number("Quantity"),
        number("Price"),
        number("Fee"),
        number("Slippage, bps"),
        wide("Reason"),
    ];
    let shown = &s.fills[..s.fills.len().min(RECENT_FILLS)];
    table(
        h,
        Shape::Log,
        "Last fills, newest first",
        COLS,
        shown,
        "No fills yet.",
        |r, f| {
            r.with(|h| time(h, f.ns, s.now_ns));
            r.with(|h| pair(h, &f.instrument, &f.venue));
            r.with(|h| put!(h; [side(h, &f.side)] " " [role(h, f)]));
            r.cell(exact(&f.qty));
            r.cell(exact(&f.price));
            r.cell(fixed(Some(f.fee), 4));
            r.cell(signed(f.slippage_bps, 1));
            r.with(|h| put!(h; (or_dash(&f.reason)) [fill_flags(h, f)]));
        },
    );
    more(h, s.fills.len(), RECENT_FILLS, "/trading", "recent fills");
}

/// The last fills with their split and what the market did afterwards.
pub(super) fn fills(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Time"),
        text("Instrument"),
        text("Side"),
        number("Quantity"),
        number("Price"),
        number("Fee"),
        number("Latency"),
        number("Queue"),
        number("Spread"),
        number("Impact"),
        number("Slippage, bps"),
        number("Against it, bps: 1 s"),
        number("5 s"),
        number("30 s"),
        wide("Reason and marks"),
    ];
    let c = &s.fill_counts;
    if *c != FillCounts::default() {
        put!(h; r#"<p class="note">Since start: "# (int(c.maker)) " as maker, " (int(c.taker))
            " as taker, " (int(c.toxic)) " toxic, " (int(c.synthetic))
            " against a synthetic book. The split is in " (or_dash(&s.account.currency))
            ": earned is positive, paid negative.</p>");
    }
    let shown = &s.fills[..s.fills.len().min(FILLS)];
    table(
        h,
        Shape::Log,
        "Fills, newest first",
        COLS,
        shown,
        "No fills yet.",
        |r, f| {
            r.with(|h| time(h, f.ns, s.now_ns));
            r.with(|h| pair(h, &f.instrument, &f.venue));
            r.with(|h| put!(h; [side(h, &f.side)] " " [role(h, f)]));
            r.cell(exact(&f.qty));
            r.cell(exact(&f.price));
            r.cell(fixed(Some(f.fee), 4));
            let split = f.split.as_ref();
            for part in [
                split.map(|x| x.latency),
                split.map(|x| x.queue),
                split.map(|x| x.spread),
                split.map(|x| x.impact),
            ] {
                r.with(|h| gain_to(h, part, 4));
            }
            r.cell(signed(f.slippage_bps, 1));
            for adverse in f.toxicity.adverse_bps {
                r.cell(signed(adverse, 1));
            }
            r.with(|h| put!(h; (or_dash(&f.reason)) [marks(h, f)]));
        },
    );
}

fn role(h: &mut Html, f: &Fill) {
    put!(h; r#"<span class="quiet">"# (if f.maker { "maker" } else { "taker" }) "</span>");
}

fn fill_flags(h: &mut Html, f: &Fill) {
    if f.toxicity.toxic {
        put!(h; " " [badge(h, Tone::Warn, "toxic")]);
    }
    flags(
        h,
        &[
            (f.spanned_gap, "spanned a gap"),
            (f.synthetic, "synthetic book"),
        ],
    );
}

/// Whether the fill is toxic, its place when it joined, and what is doubtful about it.
fn marks(h: &mut Html, f: &Fill) {
    let behind = f.toxicity.joined_behind;
    put!(h; [fill_flags(h, f)]);
    if behind > 0 {
        put!(h; r#" <span class="quiet nowrap">behind "# (behind)
            (if behind == 1 { " order" } else { " orders" }) "</span>");
    }
}

/// A line of alarm where a venue's statement differs from what is held here and nothing on its way
/// explains it; nothing otherwise.
pub(super) fn reconciliation_alarm(h: &mut Html, s: &Snapshot) {
    let mut faults = s.reconciliation.differences.iter().filter(|d| !d.explained);
    let Some(first) = faults.next() else { return };
    put!(h; r#"<p class="check" role="alert">"# [badge(h, Tone::Bad, "does not reconcile")] " "
        [pair(h, &first.what, &first.venue)] ": ours " (or_dash(&first.ours)) ", the venue’s "
        (or_dash(&first.theirs)));
    let more = faults.count();
    if more > 0 {
        put!(h; ", and " (more) " more");
    }
    put!(h; r#". <a href="/trading">Reconciliation</a></p>"#);
}

/// The last comparison with the venues, and where they differ.
pub(super) fn reconciliation(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("What"),
        text("Ours"),
        text("Venue’s"),
        text("Still travelling"),
        wide("Verdict"),
    ];
    let r = &s.reconciliation;
    put!(h; r#"<p class="check">"#);
    match (r.checked_ns, r.faults()) {
        (None, _) => badge(h, Tone::Idle, "not checked yet"),
        (Some(_), 0) => badge(h, Tone::Good, "ok"),
        (Some(_), _) => badge(h, Tone::Bad, "differs"),
    }
    if let Some(ns) = r.checked_ns {
        put!(h; r#" <span class="quiet">checked "# [time(h, ns, s.now_ns)] ", "
            (since_s(s, ns)) " ago; " (int(r.checks)) " checks since start</span>");
    }
    put!(h; "</p>");
    if r.differences.is_empty() {
        return;
    }
    table(
        h,
        Shape::Log,
        "Differences between ours and the venue's",
        COLS,
        &r.differences,
        "",
        |row, d| {
            row.with(|h| pair(h, &d.what, &d.venue));
            row.cell(or_dash(&d.ours));
            row.cell(or_dash(&d.theirs));
            row.cell(or_dash(&d.travelling));
            row.with(|h| {
                let (tone, word) = if d.explained {
                    (Tone::Idle, "explained by what travels")
                } else {
                    (Tone::Bad, "not explained")
                };
                badge(h, tone, word);
                if let Some(ns) = d.since_ns {
                    put!(h; r#" <span class="quiet">for "# (since_s(s, ns)) "</span>");
                }
            });
        },
    );
    full(h, r.differences.len(), DIFFERENCES);
}

/// The terms on which the paper venue trades.
pub(super) fn paper(h: &mut Html, s: &Snapshot) {
    if s.paper.is_empty() {
        put!(h; r#"<p class="none">No paper venue.</p>"#);
        return;
    }
    put!(h; r#"<ul class="terms">"#);
    for p in &s.paper {
        let bps = |value| with_unit(fixed(value, 2), "bps");
        let ms = |value| with_unit(fixed(value, 1), "ms");
        put!(h; "<li><h3>" (or_dash(&p.venue)) r#"</h3><dl class="facts">"#
            [stat(h, "Fee, maker / taker", |h| put!(h; (bps(p.maker_fee_bps)) " / " (bps(p.taker_fee_bps))))]
            [stat(h, "Latency", |h| put!(h; (or_dash(&p.latency_mode))))]
            [stat(h, "Round trip p50 / p99", |h| put!(h; (ms(p.round_trip_p50_ms)) " / "
                (ms(p.round_trip_p99_ms))))]
            [stat(h, "Round trips measured", |h| put!(h; (int(p.round_trips))))]
            [stat(h, "Queue model", |h| put!(h; (or_dash(&p.queue_model))))]
            r#"</dl><ul class="switches">"#);
        for switch in &p.switches {
            let (tone, word) = if switch.on {
                (Tone::Good, "on")
            } else {
                (Tone::Idle, "off")
            };
            put!(h; "<li>" (&switch.name) " " [badge(h, tone, word)] "</li>");
        }
        put!(h; "</ul></li>");
    }
    put!(h; "</ul>");
}
