//! What a reader of files hears, before it is known which instrument of an engine it concerns.

use std::collections::VecDeque;

use tickerml_shared::event::{Body, Depth, DepthKind, Gap, GapReason, LEVELS_PER_PART, Level};
use tickerml_shared::instrument::Instrument;
use tickerml_shared::num::{NumError, Price, Qty, pow10};
use tickerml_shared::time::Time;

/// One market event of a file.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Heard {
    /// When it was received, or happened where the file does not say.
    pub(super) at: Time,
    /// The venue's own stamp.
    pub(super) venue_time: Time,
    /// What it says.
    pub(super) body: Body,
}

impl Heard {
    /// Trades go before the books of the same time, as in the synchroniser.
    pub(super) const fn rank(&self) -> u8 {
        match self.body {
            Body::Trade(_) => 0,
            _ => 1,
        }
    }
}

/// Events in order.
pub(super) type Queue = VecDeque<Heard>;

/// An event at one time.
pub(super) const fn heard(at: Time, body: Body) -> Heard {
    Heard {
        at,
        venue_time: at,
        body,
    }
}

/// A loss of continuity.
pub(super) const fn gap(at: Time, reason: GapReason) -> Heard {
    heard(at, Body::Gap(Gap::of(reason)))
}

/// A depth message of any length, in parts.
pub(super) fn depth(
    out: &mut Queue,
    (at, venue_time): (Time, Time),
    kind: DepthKind,
    bids: &[Level],
    asks: &[Level],
) {
    let count = (bids.len() + asks.len()).div_ceil(LEVELS_PER_PART).max(1);
    let mut sides = (bids, asks);
    for part in 0..count {
        let taken = sides.0.len().min(LEVELS_PER_PART);
        let (these_bids, rest) = sides.0.split_at(taken);
        sides.0 = rest;
        let (these_asks, rest) = sides.1.split_at(sides.1.len().min(LEVELS_PER_PART - taken));
        sides.1 = rest;
        let levels = these_bids.iter().chain(these_asks).copied().collect();
        out.push_back(Heard {
            at,
            venue_time,
            body: Body::Depth(Depth {
                kind,
                first: part == 0,
                last: part + 1 == count,
                id: 0,
                bids: u8::try_from(taken).expect("at most a part's levels"),
                levels,
                checksum: None,
            }),
        });
    }
}

/// The best bid and ask alone, as a book of one level a side.
pub(super) fn touch(out: &mut Queue, times: (Time, Time), bid: Level, ask: Level) {
    let kind = DepthKind::Snapshot {
        truncated: true,
        limit: 1,
    };
    depth(out, times, kind, &[bid], &[ask]);
}

/// A number as the file prints it, exactly where its scale can hold it, else the nearest that it can.
fn number(text: &str, scale: u8) -> Result<i64, String> {
    let text = text.trim();
    match tickerml_shared::num::parse(text, scale) {
        Ok(value) => Ok(value),
        Err(NumError::TooPrecise) => text
            .parse()
            .ok()
            .and_then(|value| nearest(value, scale))
            .ok_or_else(|| format!("{text:?} is no number")),
        Err(error) => Err(format!("{text:?} {error}")),
    }
}

/// The nearest count of `10^-scale`; `None` where it does not fit.
pub(super) fn nearest(value: f64, scale: u8) -> Option<i64> {
    let scaled = (value * pow10(scale) as f64).round();
    #[expect(clippy::cast_possible_truncation, reason = "checked to fit")]
    (scaled.abs() < 9.0e18).then_some(scaled as i64)
}

/// A price of the file.
pub(super) fn price(instrument: &Instrument, text: &str) -> Result<Price, String> {
    number(text, instrument.price_scale).map(Price)
}

/// A quantity of the file.
pub(super) fn qty(instrument: &Instrument, text: &str) -> Result<Qty, String> {
    number(text, instrument.qty_scale).map(Qty)
}

/// A level of the file.
pub(super) fn level(instrument: &Instrument, at: &str, quantity: &str) -> Result<Level, String> {
    Ok(Level {
        price: price(instrument, at)?,
        qty: qty(instrument, quantity)?,
    })
}

/// An epoch stamp of any unit, as Binance's spot dumps changed from milliseconds to microseconds in 2025.
pub(super) fn stamp(text: &str) -> Result<Time, String> {
    let text = text.trim();
    let whole = text.split_once('.').map_or(text, |(whole, _)| whole);
    match whole.parse::<u64>() {
        Ok(stamp) if stamp > 0 => Ok(Time::from_epoch(stamp)),
        _ => Err(format!("{text:?} is no epoch stamp")),
    }
}
