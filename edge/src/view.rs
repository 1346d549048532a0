//! What the page is told: the engine's state and the shell's counters as plain values.

use std::collections::VecDeque;

use tickerml_shared::action::PPM;
use tickerml_shared::book::State as BookState;
use tickerml_shared::engine::{Cell, Engine};
use tickerml_shared::event::{Decision, Gap, GapReason, Side};
use tickerml_shared::features::FEATURES;
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::{Cash, Price, Qty, div_round, pow10};
use tickerml_shared::paper::{Fill, Order};
use tickerml_shared::risk::Denial;
use tickerml_shared::time::{DAYS, MILLIS, SECONDS, Time};

use crate::feed::FeedStatus;
use crate::web::snapshot::{self as web, Snapshot};

/// Events of each kind that the page keeps.
const KEPT: usize = 100;
/// Points of the equity chart; when they are full every second one goes and the step doubles.
const EQUITY_POINTS: usize = 600;

/// What has happened lately, for the page alone; nothing is decided on it.
#[derive(Debug)]
pub struct Recent {
    fills: VecDeque<web::Fill>,
    decisions: VecDeque<web::Decision>,
    gaps: VecDeque<(InstrumentId, web::Gap)>,
    alarms: VecDeque<web::Alarm>,
    equity: Vec<(u64, f64)>,
    equity_step_ns: u64,
    day: Option<(u64, f64)>,
}

impl Default for Recent {
    fn default() -> Self {
        Self {
            fills: VecDeque::new(),
            decisions: VecDeque::new(),
            gaps: VecDeque::new(),
            alarms: VecDeque::new(),
            equity: Vec::new(),
            equity_step_ns: SECONDS,
            day: None,
        }
    }
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    list.truncate(KEPT - 1);
    list.push_front(item);
}

impl Recent {
    /// A fill of ours.
    pub fn fill(&mut self, instrument: &Instrument, fill: &Fill) {
        let average = average(fill.notional, fill.qty, instrument);
        let mid = fill.sent_double_mid as f64 / (2 * pow10(instrument.price_scale)) as f64;
        let worse = (average / mid - 1.0) * 1e4 * fill.side.sign() as f64;
        keep(
            &mut self.fills,
            web::Fill {
                ns: fill.executed.0,
                instrument: name(instrument),
                side: fill.side.name().to_owned(),
                qty: instrument.qty_text(fill.qty).to_string(),
                price: instrument
                    .price_text(average_price(fill, instrument))
                    .to_string(),
                fee: cash(fill.fee),
                slippage_bps: (fill.sent_double_mid > 0).then_some(worse),
                reason: "decision".to_owned(),
                ..web::Fill::default()
            },
        );
    }

    /// A judged decision.
    pub fn decision(
        &mut self,
        at: Time,
        instrument: &Instrument,
        decision: &Decision,
        verdict: Result<Order, Denial>,
    ) {
        let action = &decision.action;
        let share = |ppm: i64| ppm as f64 / PPM as f64;
        let verdict = match verdict {
            Ok(_) => web::Verdict::Allowed,
            Err(denial @ (Denial::Hold | Denial::AtTarget)) => web::Verdict::Idle {
                code: denial.code().to_owned(),
                reason: reason(denial).to_owned(),
            },
            Err(denial) => web::Verdict::Denied {
                code: denial.code().to_owned(),
                reason: reason(denial).to_owned(),
            },
        };
        keep(
            &mut self.decisions,
            web::Decision {
                ns: at.0,
                instrument: name(instrument),
                action: action.choice.name().to_owned(),
                size: Some(share(i64::from(action.size))),
                confidence: Some(share(i64::from(action.confidence()))),
                expected_bps: Some(share(i64::from(action.value)) * 1e4),
                verdict,
                latency_us: decision.latency_ns / 1_000,
            },
        );
    }

    /// A book lost continuity.
    pub fn gap(&mut self, at: Time, id: InstrumentId, instrument: &Instrument, gap: &Gap) {
        if self.gaps.len() >= KEPT {
            self.gaps.pop_back();
        }
        let text = |number: u64| {
            if number == 0 {
                String::new()
            } else {
                number.to_string()
            }
        };
        self.gaps.push_front((
            id,
            web::Gap {
                ns: at.0,
                venue: instrument.venue.name().to_owned(),
                instrument: instrument.symbol.to_string(),
                kind: gap.reason.name().to_owned(),
                expected: text(gap.expected),
                got: text(gap.got),
                duration_ms: None,
            },
        ));
    }

    /// A snapshot brought the book back: its open gaps lasted until now.
    pub fn resynced(&mut self, at: Time, id: InstrumentId) {
        let open = |(gap_id, gap): &&mut (InstrumentId, web::Gap)| {
            *gap_id == id && gap.duration_ms.is_none()
        };
        for (_, gap) in self.gaps.iter_mut().filter(open) {
            gap.duration_ms = Some(at.0.saturating_sub(gap.ns) / MILLIS);
        }
    }

    /// Something an operator should know.
    pub fn alarm(&mut self, at: Time, severity: &str, code: &str, text: String) {
        let (severity, code) = (severity.to_owned(), code.to_owned());
        keep(
            &mut self.alarms,
            web::Alarm {
                ns: at.0,
                severity,
                code,
                text,
            },
        );
    }

    /// The equity of a moment.
    pub fn equity(&mut self, at: Time, equity: Cash) {
        let (now, value) = (at.0, cash(equity));
        if self.day.is_none_or(|(day, _)| day != now / DAYS) {
            self.day = Some((now / DAYS, value));
        }
        if self
            .equity
            .last()
            .is_some_and(|(last, _)| now < last + self.equity_step_ns)
        {
            return;
        }
        if self.equity.len() >= EQUITY_POINTS {
            let mut place = 0_usize;
            self.equity.retain(|_| {
                place += 1;
                place % 2 == 1
            });
            self.equity_step_ns *= 2;
        }
        self.equity.push((now, value));
    }

    /// The equity with which the UTC day began, as `(day since the epoch, equity)`.
    #[must_use]
    pub const fn day(&self) -> Option<(u64, f64)> {
        self.day
    }

    /// Restores the day's first equity after a restart.
    pub const fn restore_day(&mut self, day: Option<(u64, f64)>) {
        self.day = day;
    }
}

const fn reason(denial: Denial) -> &'static str {
    match denial {
        Denial::Hold => "The policy chose to hold.",
        Denial::StaleBook => "The book is stale: no price, no order.",
        Denial::Halted => "Trading is halted.",
        Denial::InFlight => "An order of this instrument is still on its way.",
        Denial::Unsure => "The policy is not sure enough.",
        Denial::AtTarget => "The position is already where it should be.",
        Denial::TooSmall => "The order would be smaller than the least allowed.",
        Denial::WideSpread => "The spread is too wide.",
        Denial::Exposure => "The exposure cap is reached.",
        Denial::Forbidden => "A spot position cannot be short.",
    }
}

/// The shell's own counters.
#[derive(Clone, Debug, Default)]
pub struct Shell {
    /// The parts of a snapshot that do not change while the process lives.
    pub identity: Snapshot,
    /// The process and its host.
    pub system: web::System,
    /// The policy.
    pub model: web::Model,
    /// How each connection is doing.
    pub feeds: Vec<FeedStatus>,
}

/// Everything the page shows.
#[must_use]
pub fn snapshot(engine: &Engine, recent: &Recent, shell: Shell, now: Time) -> Snapshot {
    let instruments = &engine.setup().instruments;
    let Shell {
        identity,
        system,
        model,
        feeds,
    } = shell;
    let mut snapshot = Snapshot {
        now_ns: now.0,
        account: account(engine, recent),
        positions: positions(engine),
        orders: orders(engine, now),
        fills: recent.fills.iter().cloned().collect(),
        decisions: recent.decisions.iter().cloned().collect(),
        venues: feeds.iter().map(venue).collect(),
        books: engine
            .cells()
            .iter()
            .zip(instruments)
            .map(|(c, i)| book(c, i))
            .collect(),
        gaps: recent.gaps.iter().map(|(_, gap)| gap.clone()).collect(),
        alarms: recent.alarms.iter().cloned().collect(),
        features: features(engine),
        system,
        halts: halts(engine),
        model,
        ..identity
    };
    snapshot.health = health(engine, &snapshot, now);
    snapshot.bound();
    snapshot
}

fn health(engine: &Engine, snapshot: &Snapshot, now: Time) -> web::Health {
    let mut reasons = Vec::new();
    for halt in &snapshot.halts {
        reasons.push(web::Reason {
            code: "halted".to_owned(),
            text: format!("Trading is halted: {}.", halt.why),
            since_ns: halt.since_ns,
        });
    }
    let stale: Vec<_> = engine
        .cells()
        .iter()
        .filter_map(|cell| match cell.book.state() {
            BookState::Stale { since, .. } => Some(since),
            BookState::Live { .. } => None,
        })
        .collect();
    // One stale book is the day's business; a market that is dark is not.
    let dark = stale.len() == engine.cells().len();
    if dark {
        let since = stale
            .iter()
            .max()
            .copied()
            .filter(|since| since.is_known())
            .unwrap_or(now);
        reasons.push(web::Reason {
            code: "stale".to_owned(),
            text: "No book is live.".to_owned(),
            since_ns: since.0,
        });
    }
    web::Health {
        ready: true,
        halted: !snapshot.halts.is_empty(),
        stale: dark,
        reasons,
    }
}

fn halts(engine: &Engine) -> Vec<web::Halt> {
    let halt = engine.risk().halted().map(|halt| web::Halt {
        scope: "portfolio".to_owned(),
        what: "all instruments".to_owned(),
        why: halt.cause.name().to_owned(),
        since_ns: halt.since.0,
        how_to_clear: "tickerml-edge resume".to_owned(),
    });
    halt.into_iter().collect()
}

fn account(engine: &Engine, recent: &Recent) -> web::Account {
    let (ledger, risk) = (engine.ledger(), engine.risk());
    let equity = engine.equity();
    let realised = ledger.realised();
    let unrealised = equity - ledger.capital() - realised + ledger.fees();
    web::Account {
        currency: "USD".to_owned(),
        equity: Some(cash(equity)),
        cash: Some(cash(ledger.cash())),
        drawdown_pct: Some(risk.drawdown_bps(equity) as f64 / 100.0),
        high_water_mark: Some(cash(risk.high_water())),
        day_pnl: recent.day.map(|(_, start)| cash(equity) - start),
        realised: Some(cash(realised)),
        unrealised: Some(cash(unrealised)),
        fees: Some(cash(ledger.fees())),
        equity_history: recent.equity.clone(),
    }
}

fn positions(engine: &Engine) -> Vec<web::Position> {
    let instruments = &engine.setup().instruments;
    let cells = engine
        .cells()
        .iter()
        .zip(instruments)
        .zip(engine.ledger().positions());
    cells
        .filter(|(_, position)| position.qty.0 != 0)
        .map(|((cell, instrument), position)| {
            let long = position.qty.0 > 0;
            let mark = cell.marks().map(|(bid, ask)| if long { bid } else { ask });
            let value =
                mark.map(|mark| tickerml_shared::ledger::Ledger::value(position, mark, instrument));
            web::Position {
                instrument: instrument.symbol.to_string(),
                venue: instrument.venue.name().to_owned(),
                side: if long { "long" } else { "short" }.to_owned(),
                qty: instrument.qty_text(Qty(position.qty.0.abs())).to_string(),
                avg_price: Some(average(position.cost, position.qty, instrument)),
                mark: mark.map(|mark| price(mark, instrument)),
                unrealised: value.map(|value| cash(value - position.cost)),
                notional: value.map(|value| cash(value).abs()),
            }
        })
        .collect()
}

fn orders(engine: &Engine, now: Time) -> Vec<web::Order> {
    let working = engine.paper().working().iter();
    working
        .map(|working| {
            let order = &working.order;
            let instrument = &engine.setup().instruments[order.instrument.index()];
            web::Order {
                id: order.id.0.to_string(),
                instrument: name(instrument),
                side: order.side.name().to_owned(),
                kind: "market".to_owned(),
                qty: instrument.qty_text(order.qty).to_string(),
                state: "sent".to_owned(),
                age_ms: now.since(order.sent).unsigned_abs() / MILLIS,
                ..web::Order::default()
            }
        })
        .collect()
}

fn venue(feed: &FeedStatus) -> web::Venue {
    let status = &feed.session;
    let ms = |nanoseconds: i64| nanoseconds as f64 / MILLIS as f64;
    let live = status.state == "open";
    web::Venue {
        name: feed.venue.name().to_owned(),
        host: feed.host.clone(),
        state: if live { "live" } else { status.state }.to_owned(),
        reason: (!live && !status.why.is_empty()).then(|| status.why.clone()),
        connected_since_ns: status.connected_since.map(|since| since.0),
        reconnects: status.reconnects,
        last_message_ns: status.last_frame.is_known().then_some(status.last_frame.0),
        frames: status.frames,
        bytes: feed.bytes,
        latency_p50_ms: feed.latency_quantile(50).map(ms),
        latency_p99_ms: feed.latency_quantile(99).map(ms),
        clock_offset_ms: feed.clock_offset_ns().map(ms),
        parse_errors: status.parse_errors,
        resyncs: status.resyncs,
    }
}

fn book(cell: &Cell, instrument: &Instrument) -> web::Book {
    let counters = cell.book.counters();
    let (live, stale_reason, since) = match cell.book.state() {
        BookState::Live { since } => (true, None, since),
        BookState::Stale { reason, since } => (false, Some(reason.name().to_owned()), since),
    };
    let best = |side: Side| {
        cell.book.best(side).map(|level| web::Quote {
            price: instrument.price_text(level.price).to_string(),
            qty: instrument.qty_text(level.qty).to_string(),
        })
    };
    let gaps = |reason: GapReason| counters.gaps[reason as usize];
    let feature = |name: &str| cell.vector.and_then(|v| v.named(name)).map(f64::from);
    let mid = cell
        .book
        .double_mid()
        .map(|d| d as f64 / (2 * pow10(instrument.price_scale)) as f64);
    web::Book {
        instrument: instrument.symbol.to_string(),
        venue: instrument.venue.name().to_owned(),
        live,
        stale_reason,
        since_ns: since.0,
        best_bid: best(Side::Buy),
        best_ask: best(Side::Sell),
        spread_bps: feature("spread"),
        mid,
        imbalance: feature("book_imbalance_5"),
        depth: [
            cell.book.len(Side::Buy) as u64,
            cell.book.len(Side::Sell) as u64,
        ],
        gaps: web::GapCounts {
            sequence: gaps(GapReason::Sequence),
            checksum: gaps(GapReason::Checksum),
            crossed: gaps(GapReason::Crossed) + gaps(GapReason::Touch),
            overflow: gaps(GapReason::Overflow),
            unparsable: gaps(GapReason::Unparsable),
            stale: gaps(GapReason::Silent) + gaps(GapReason::Horizon),
            disconnect: gaps(GapReason::Disconnected),
        },
        checksums_verified: counters.checksums_verified,
        checksums_failed: counters.checksums_failed,
        bbo_equal: counters.touches_equal,
        bbo_different: counters.touches_different,
        events: counters.events,
        trades: cell.trades,
    }
}

fn features(engine: &Engine) -> Vec<web::Feature> {
    let instruments = &engine.setup().instruments;
    let mut features = Vec::new();
    for (cell, instrument) in engine.cells().iter().zip(instruments) {
        for (index, feature) in FEATURES.iter().enumerate() {
            features.push(web::Feature {
                instrument: name(instrument),
                name: feature.name.to_owned(),
                unit: feature.unit.name().to_owned(),
                value: cell
                    .vector
                    .and_then(|vector| vector.get(index))
                    .map(f64::from),
            });
        }
    }
    features
}

/// `venue symbol`, as the page names an instrument.
#[must_use]
pub fn name(instrument: &Instrument) -> String {
    format!("{} {}", instrument.venue, instrument.symbol)
}

fn cash(amount: Cash) -> f64 {
    amount.0 as f64 / Cash::ONE.0 as f64
}

fn price(price: Price, instrument: &Instrument) -> f64 {
    price.0 as f64 / pow10(instrument.price_scale) as f64
}

fn average(notional: Cash, qty: Qty, instrument: &Instrument) -> f64 {
    cash(notional) / (qty.0 as f64 / pow10(instrument.qty_scale) as f64)
}

/// The average price of a fill in the instrument's own units.
fn average_price(fill: &Fill, instrument: &Instrument) -> Price {
    let shift = i32::from(instrument.price_scale) + i32::from(instrument.qty_scale) - 8;
    let factor = 10_i128.pow(shift.unsigned_abs());
    let notional = i128::from(fill.notional.0);
    let scaled = if shift >= 0 {
        notional * factor
    } else {
        notional / factor
    };
    Price(div_round(scaled, i128::from(fill.qty.0.max(1))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tickerml_shared::instrument::Venue;

    #[test]
    fn a_gap_lasts_until_its_own_book_is_back() {
        let instrument = Instrument::unknown(Venue::Kraken, "BTC/USD").expect("short");
        let gap = Gap::of(GapReason::Checksum);
        let mut recent = Recent::default();
        recent.gap(Time(10 * MILLIS), InstrumentId(0), &instrument, &gap);
        recent.resynced(Time(35 * MILLIS), InstrumentId(0));
        recent.gap(Time(90 * MILLIS), InstrumentId(0), &instrument, &gap);
        recent.resynced(Time(95 * MILLIS), InstrumentId(1));
        let durations: Vec<_> = recent.gaps.iter().map(|(_, gap)| gap.duration_ms).collect();
        assert_eq!(
            durations,
            [None, Some(25)],
            "newest first; the open one is not guessed"
        );
    }
}
