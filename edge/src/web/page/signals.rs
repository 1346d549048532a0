//! What the markets say: arbitrage, what venues differ in, funding, features.

use super::{
    pieces::{Tone, badge, dash, full, gain, gain_to, pair, side, since, time, until_s},
    table::{Col, Row, Shape, number, table, text, wide},
};
use crate::web::{
    html::{Html, UNKNOWN, duration, duration_s, exact, fixed, int, put, signed, significant},
    snapshot::{
        Advice, CLOSED_OPPORTUNITIES, FeatureRow, Funding, FundingLevel, Gain, Market,
        OPEN_OPPORTUNITIES, Opportunity, Snapshot, Spread, Spreads, Timing, Trial,
    },
};

const NS_PER_MS: u64 = 1_000_000;

fn market(h: &mut Html, market: &Market) {
    pair(h, &market.instrument, &market.venue);
}

/// Where to buy and where to sell.
fn legs(r: &mut Row<'_>, buy: &Market, sell: &Market) {
    r.with(|h| put!(h; [narrow(h, "buy at ")] [market(h, buy)]));
    r.with(|h| put!(h; [narrow(h, "sell at ")] [market(h, sell)]));
}

/// A word that stands where a narrow screen shows no heading of the column.
fn narrow(h: &mut Html, word: &'static str) {
    put!(h; r#"<span class="quiet narrow">"# (word) "</span>");
}

fn gains(r: &mut Row<'_>, walk: &Gain, currency: &str) {
    let qty = exact(&walk.qty);
    r.cell(if walk.cut {
        format!("≥\u{a0}{qty}")
    } else {
        qty
    });
    r.with(|h| put!(h; [gain(h, Some(walk.net))] " <small>" (currency) "</small>"));
    r.with(|h| gain(h, Some(walk.net_bps)));
}

/// The open opportunities.
pub(super) fn opportunities(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Buy at"),
        text("Sell at"),
        number("Quantity"),
        number("Net"),
        number("Net, bps"),
        number("Best net"),
        number("Open for"),
    ];
    let a = &s.arbitrage;
    if a.watched == 0 {
        put!(h; r#"<p class="none">No asset is traded on the spot of two venues: nothing to compare.</p>"#);
        return;
    }
    put!(h; r#"<p class="note">"# (int(a.watched)) " pairs of markets are compared; "
        (int(a.opened)) " opportunities so far");
    if a.dropped > 0 {
        put!(h; ", of which " (int(a.dropped)) " could not be kept");
    }
    put!(h; ". Net is what remains after the taker fees of both orders.</p>");
    table(
        h,
        Shape::Cards,
        "Open opportunities of arbitrage",
        COLS,
        &a.open,
        "No opportunity above cost.",
        |r, o| {
            legs(r, &o.buy, &o.sell);
            gains(r, &o.last, &o.currency);
            r.with(|h| gain(h, Some(o.best.net)));
            r.cell(since(s, o.opened_ns));
        },
    );
    full(h, a.open.len(), OPEN_OPPORTUNITIES);
}

/// The newest opportunities that are over.
pub(super) fn closed(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Opened"),
        text("Buy at"),
        text("Sell at"),
        number("Lasted"),
        text("Ended by"),
        number("Best quantity"),
        number("Best net"),
        number("Best net, bps"),
        wide("Would it have filled"),
    ];
    let closed = &s.arbitrage.closed;
    table(
        h,
        Shape::Log,
        "Opportunities that are over, newest first",
        COLS,
        closed,
        "No opportunity is over yet.",
        |r, o| {
            r.with(|h| time(h, o.opened_ns, s.now_ns));
            legs(r, &o.buy, &o.sell);
            r.cell(duration(o.lifetime_ms.saturating_mul(NS_PER_MS)));
            r.cell(cause(o));
            gains(r, &o.best, &o.currency);
            r.with(|h| trial(h, o));
        },
    );
    if !closed.is_empty() {
        put!(h; r#"<p class="note">Both orders are tried on paper when an opportunity opens: each "#
            "meets its venue’s book after that venue’s latency. Unhedged is what one order got and "
            "the other did not.</p>");
    }
    full(h, closed.len(), CLOSED_OPPORTUNITIES);
}

fn cause(o: &Opportunity) -> &str {
    match o.closed.as_deref() {
        Some("price") => "the price",
        Some("stale") => "an old quote",
        Some("gap") => "a gap",
        Some(other) => other,
        None => UNKNOWN,
    }
}

fn trial(h: &mut Html, o: &Opportunity) {
    match &o.trial {
        Trial::Pending => put!(h; r#"<span class="quiet">its orders still travel</span>"#),
        Trial::Lost => put!(h; r#"<span class="quiet">not known: the edge restarted</span>"#),
        Trial::Done {
            filled,
            bought,
            sold,
            unhedged,
            net,
        } => {
            let none = |qty: &str| qty == "0";
            let (tone, word) = match filled {
                true => (Tone::Good, "filled"),
                false if none(bought) && none(sold) => (Tone::Idle, "nothing"),
                false => (Tone::Warn, "in part"),
            };
            put!(h; [badge(h, tone, word)]);
            if tone != Tone::Idle {
                put!(h; " net " [gain_to(h, Some(*net), 2)]
                    r#" <span class="quiet">bought "# (exact(bought)) ", sold " (exact(sold)) "</span>");
            }
            if !none(unhedged) {
                put!(h; r#" <span class="flag">unhedged "# (exact(unhedged)) "</span>");
            }
        }
    }
}

/// What became of the opportunities, by pair.
pub(super) fn pairs(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Buy at"),
        text("Sell at"),
        number("Opportunities"),
        number("Mean life"),
        number("Median life"),
        number("Net at best"),
        number("Tried"),
        number("Filled"),
        number("Net of trials"),
    ];
    let ms = |ms: Option<u64>| ms.map_or_else(dash, |ms| duration(ms.saturating_mul(NS_PER_MS)));
    table(
        h,
        Shape::Cards,
        "Arbitrage by pair of venues",
        COLS,
        &s.arbitrage.pairs,
        "No pair had an opportunity yet.",
        |r, p| {
            legs(r, &p.buy, &p.sell);
            r.good(p.opened);
            r.cell(ms(p.lifetime_mean_ms));
            r.cell(
                p.lifetime_median_ms
                    .map_or_else(dash, |_| format!("< {}", ms(p.lifetime_median_ms))),
            );
            r.with(|h| put!(h; [gain(h, Some(p.net))] " <small>" (&p.currency) "</small>"));
            r.good(p.tried);
            r.good(p.filled);
            r.with(|h| gain(h, Some(p.tried_net)));
        },
    );
}

/// Per asset, each instrument against each.
pub(super) fn spreads(h: &mut Html, s: &Snapshot) {
    if s.spreads.is_empty() {
        put!(h; r#"<p class="none">No asset is traded at two venues.</p>"#);
        return;
    }
    put!(h; r#"<p class="note">How far the mid of the row lies above that of the column, in basis "#
        "points; below it, what buying at the column and selling at the row brings before fees. A "
        "frame marks what brings something.</p>");
    put!(h; r#"<div class="matrices">"#);
    for asset in &s.spreads {
        put!(h; "<div>" [matrix(h, asset)] "</div>");
    }
    put!(h; "</div>");
}

fn matrix(h: &mut Html, asset: &Spreads) {
    put!(h; r#"<h3 class="sub">"# (&asset.asset) r#"</h3><div class="scroll" tabindex="0" "#
        r#"role="region" aria-label="Spreads of "# (&asset.asset) r#""><table class="log matrix"><caption "#
        r#"class="vh">Spreads of "# (&asset.asset) " between venues, in basis points</caption>"
        r#"<thead><tr><th scope="col">Row above column</th>"#);
    for column in &asset.instruments {
        put!(h; r#"<th scope="col">"# [market(h, column)] "</th>");
    }
    put!(h; "</tr></thead><tbody>");
    for (place, row) in asset.instruments.iter().enumerate() {
        put!(h; r#"<tr><th scope="row">"# [market(h, row)] "</th>");
        let against = asset.against.get(place).map_or(&[][..], Vec::as_slice);
        for other in 0..asset.instruments.len() {
            let spread = against.get(other).copied().flatten();
            put!(h; "<td>" [difference(h, spread, other == place)] "</td>");
        }
        put!(h; "</tr>");
    }
    put!(h; "</tbody></table></div>");
}

fn difference(h: &mut Html, spread: Option<Spread>, itself: bool) {
    let Some(spread) = spread else {
        put!(h; r#"<span class="quiet">"# (if itself { "" } else { UNKNOWN }) "</span>");
        return;
    };
    put!(h; "<div>" (signed(Some(spread.mid_bps), 2)) "</div>");
    let crossed = signed(Some(spread.crossed_bps), 2);
    if spread.crossed_bps > 0.0 {
        put!(h; r#"<span class="flag">"# (crossed) "</span>");
    } else {
        put!(h; "<small>" (crossed) "</small>");
    }
}

/// Funding of perpetual contracts.
pub(super) fn funding(h: &mut Html, s: &Snapshot) {
    const COLS: &[Col] = &[
        text("Instrument"),
        wide("Level"),
        number("Rate, bps"),
        number("Per day, bps"),
        number("Next, bps"),
        number("Settles in"),
        wide("Held"),
        number("Paid for it"),
        number("Cost over 24 h"),
        number("Paid in all"),
        wide("Best time to act"),
    ];
    table(
        h,
        Shape::Cards,
        "Funding",
        COLS,
        &s.funding,
        "No perpetual contract is traded, or no venue has announced its funding yet.",
        |r, f| {
            r.with(|h| pair(h, &f.instrument, &f.venue));
            r.with(|h| match f.rate_bps {
                Some(_) => level(h, f.level),
                None => badge(h, Tone::Idle, "no rate yet"),
            });
            r.with(|h| rate(h, f));
            r.cell(signed(f.per_day_bps, 2));
            r.cell(signed(f.next_rate_bps, 3));
            r.cell(f.next_ns.map_or_else(dash, |ns| until_s(s, ns)));
            r.with(|h| held(h, f, s));
            let paid = f.holding.as_ref().and_then(|held| held.paid);
            r.cell(fixed(paid, 4));
            r.cell(fixed(f.predicted, 4));
            r.cell(fixed(Some(f.paid), 4));
            r.with(|h| timing(h, f, s));
        },
    );
    if !s.funding.is_empty() {
        put!(h; r#"<p class="note">Longs pay a positive rate and shorts receive it. Amounts are in "#
            (super::pieces::or_dash(&s.account.currency)) ": paid is positive, received negative.</p>");
    }
}

fn level(h: &mut Html, level: FundingLevel) {
    let tone = match level {
        FundingLevel::Calm => Tone::Good,
        FundingLevel::Warning => Tone::Warn,
        FundingLevel::Blocking => Tone::Bad,
    };
    badge(h, tone, level.name());
    if level == FundingLevel::Blocking {
        put!(h; r#" <span class="quiet">no new risk is taken</span>"#);
    }
}

fn rate(h: &mut Html, f: &Funding) {
    put!(h; (signed(f.rate_bps, 3)));
    if let Some(interval) = f.interval_s {
        put!(h; " <small>per " (duration_s(interval.into())) "</small>");
    }
}

fn held(h: &mut Html, f: &Funding, s: &Snapshot) {
    narrow(h, "held: ");
    let Some(held) = &f.holding else {
        put!(h; r#"<span class="quiet">nothing</span>"#);
        return;
    };
    put!(h; [side(h, &held.side)] " " (exact(&held.qty)));
    if let Some(since_ns) = held.since_ns {
        put!(h; " <small>for " (duration_s(s.now_ns.saturating_sub(since_ns) / 1_000_000_000)) "</small>");
    }
}

/// The advice of the side that is held, or of both.
fn timing(h: &mut Html, f: &Funding, s: &Snapshot) {
    narrow(h, "best time: ");
    let side = f.holding.as_ref().map(|held| held.side.as_str());
    match side {
        Some(side) => {
            let advice = if side == "short" { f.short } else { f.long };
            put!(h; [moment(h, "exit ", advice.exit, s)]);
        }
        None if f.long == Advice::default() && f.short == Advice::default() => {
            put!(h; r#"<span class="quiet">any time</span>"#);
        }
        None => {
            put!(h; [moment(h, "long: enter ", f.long.enter, s)] ", "
                [moment(h, "short: enter ", f.short.enter, s)]);
        }
    }
}

fn moment(h: &mut Html, what: &'static str, timing: Timing, s: &Snapshot) {
    h.raw(what);
    match timing {
        Timing::Anytime => put!(h; "any time"),
        Timing::Before { ns } => put!(h; "before " [time(h, ns, s.now_ns)]),
        Timing::After { ns } => put!(h; "after " [time(h, ns, s.now_ns)]),
    }
}

/// Features by group: one row per feature, one column per instrument.
pub(super) fn features(h: &mut Html, s: &Snapshot) {
    let table = &s.features;
    if table.rows.is_empty() || table.instruments.is_empty() {
        put!(h; r#"<p class="none">No features yet.</p>"#);
        return;
    }
    put!(h; r#"<p class="note">What a model sees. A dash is a value that is not known: its window has "#
        "not been observed in full, or its book is not live.</p>");
    for (place, group) in table.groups().enumerate() {
        // The first one is open at first; page.js leaves the reader's choice alone.
        h.raw(if place == 0 {
            r#"<details class="group" open>"#
        } else {
            r#"<details class="group">"#
        });
        group_of(h, group, &table.instruments);
        put!(h; "</details>");
    }
}

fn group_of(h: &mut Html, group: &[FeatureRow], instruments: &[Market]) {
    let Some(first) = group.first() else { return };
    let name = first.group.replace('_', " ");
    let values = || group.iter().flat_map(|row| &row.values);
    let known = values().filter(|value| value.is_some()).count();
    put!(h; "<summary><h3>" (&name) r#"</h3> <span class="quiet">"# (group.len())
        (if group.len() == 1 { " feature, " } else { " features, " })
        (int(known as u64)) " of " (int(values().count() as u64)) r#" values known</span></summary>"#
        r#"<div class="scroll" tabindex="0" role="region" aria-label="Features: "# (&name)
        r#""><table class="log matrix"><caption class="vh">Features by instrument: "# (&name)
        r#"</caption><thead><tr><th scope="col">Feature</th>"#);
    for instrument in instruments {
        put!(h; r#"<th scope="col">"# [market(h, instrument)] "</th>");
    }
    put!(h; "</tr></thead><tbody>");
    for row in group {
        put!(h; r#"<tr><th scope="row">"# (&row.name) " <small>" (&row.unit) "</small></th>");
        for place in 0..instruments.len() {
            put!(h; "<td>" (significant(row.values.get(place).copied().flatten())) "</td>");
        }
        put!(h; "</tr>");
    }
    put!(h; "</tbody></table></div>");
}
