//! What has happened lately.

use std::collections::{BTreeMap, VecDeque};

use tickerml_shared::action::PPM;
use tickerml_shared::event::{Decision, Gap};
use tickerml_shared::instrument::{Instrument, InstrumentId};
use tickerml_shared::num::Cash;
use tickerml_shared::order::{Fill, Order, Reason, Report};
use tickerml_shared::paper::toxicity::{self, HORIZONS_S, TOXIC_QUEUE_ORDERS};
use tickerml_shared::risk::denial::Denial;
use tickerml_shared::time::{DAYS, MILLIS, SECONDS, Time};

use super::{cash, fill_price, name, risk};
use crate::web::snapshot as web;

/// Events of each kind that the page keeps.
const KEPT: usize = 100;
/// Points of the equity chart; when they are full every second one goes and the step doubles.
const EQUITY_POINTS: usize = 600;

/// What has happened lately, for the page alone; nothing is decided on it.
#[derive(Debug)]
pub struct Recent {
    pub(super) fills: VecDeque<web::Fill>,
    pub(super) decisions: VecDeque<web::Decision>,
    pub(super) gaps: VecDeque<(InstrumentId, web::Gap)>,
    pub(super) alarms: VecDeque<web::Alarm>,
    pub(super) equity: Vec<(u64, f64)>,
    equity_step_ns: u64,
    pub(super) day: Option<(u64, f64)>,
    counts: web::FillCounts,
    pub(super) denials: VecDeque<web::Denial>,
    /// Denials by code.
    pub(super) denied: BTreeMap<&'static str, u64>,
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
            counts: web::FillCounts::default(),
            denials: VecDeque::new(),
            denied: BTreeMap::new(),
        }
    }
}

fn keep<T>(list: &mut VecDeque<T>, item: T) {
    list.truncate(KEPT - 1);
    list.push_front(item);
}

impl Recent {
    /// A fill of ours.
    pub fn fill(&mut self, instrument: &Instrument, report: &Report, fill: &Fill, reason: Reason) {
        let mid = fill.split.decided;
        let worse = (fill.notional.0 as f64 / mid.0 as f64 - 1.0) * 1e4 * fill.side.sign() as f64;
        self.counts.maker += u64::from(fill.maker);
        self.counts.taker += u64::from(!fill.maker);
        self.counts.synthetic += u64::from(fill.synthetic);
        let split = fill.split;
        let toxic = fill.maker && fill.queue_orders > TOXIC_QUEUE_ORDERS;
        self.counts.toxic += u64::from(toxic);
        keep(
            &mut self.fills,
            web::Fill {
                ns: report.executed.0,
                order: report.order.0.to_string(),
                instrument: instrument.symbol.to_string(),
                venue: instrument.venue.name().to_owned(),
                side: fill.side.name().to_owned(),
                qty: instrument.qty_text(fill.qty).to_string(),
                price: instrument
                    .price_text(fill_price(fill, instrument))
                    .to_string(),
                maker: fill.maker,
                fee: cash(fill.fee),
                slippage_bps: (mid > Cash::ZERO).then_some(worse),
                split: Some(web::Split {
                    latency: cash(split.latency),
                    queue: cash(split.queue),
                    spread: cash(split.spread),
                    impact: cash(split.impact),
                }),
                toxicity: web::Toxicity {
                    toxic,
                    joined_behind: fill.queue_orders,
                    adverse_bps: [None; HORIZONS_S.len()],
                },
                reason: reason.name().to_owned(),
                spanned_gap: fill.spanned_gap,
                synthetic: fill.synthetic,
            },
        );
    }

    /// Where the price went after a resting order was hit.
    pub fn toxic(&mut self, mark: &toxicity::Mark) {
        let horizon = HORIZONS_S.iter().position(|h| *h == mark.horizon_s);
        let order = mark.order.0.to_string();
        let of = |fill: &&mut web::Fill| {
            let marked = horizon.and_then(|place| fill.toxicity.adverse_bps[place]);
            fill.order == order && fill.maker && marked.is_none()
        };
        let filled = mark.at.minus(u64::from(mark.horizon_s) * SECONDS);
        let fill = self.fills.iter_mut().filter(of);
        // One order may have several fills: the one that the mark's time belongs to is the nearest.
        let fill = fill.min_by_key(|fill| fill.ns.abs_diff(filled.0));
        if let (Some(fill), Some(place)) = (fill, horizon) {
            fill.toxicity.adverse_bps[place] = Some(mark.adverse_ppm as f64 / 100.0);
            self.counts.toxic += u64::from(mark.toxic && !fill.toxicity.toxic);
            fill.toxicity.toxic |= mark.toxic;
        }
    }

    /// Fills by role since the process began.
    #[must_use]
    pub const fn counts(&self) -> web::FillCounts {
        self.counts
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
            Err(
                denial @ (Denial::Hold | Denial::AtTarget | Denial::InFlight | Denial::Forbidden),
            ) => web::Verdict::Idle {
                code: denial.code().to_owned(),
                reason: risk::denial(denial).to_owned(),
            },
            Err(denial) => {
                self.denied(at, instrument, denial);
                web::Verdict::Denied {
                    code: denial.code().to_owned(),
                    reason: risk::denial(denial).to_owned(),
                }
            }
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

    fn denied(&mut self, at: Time, instrument: &Instrument, denial: Denial) {
        *self.denied.entry(denial.code()).or_default() += 1;
        let (symbol, venue) = (instrument.symbol.as_str(), instrument.venue.name());
        // Other instruments' denials between two of the same do not end the run.
        let of = |run: &web::Denial| run.instrument == symbol && run.venue == venue;
        let last = self.denials.iter().position(of);
        let run = last.filter(|place| self.denials[*place].code == denial.code());
        let run = run.and_then(|place| self.denials.remove(place));
        let mut run = run.unwrap_or_else(|| web::Denial {
            ns: at.0,
            since_ns: at.0,
            count: 0,
            instrument: symbol.to_owned(),
            venue: venue.to_owned(),
            code: denial.code().to_owned(),
            text: risk::denial(denial).to_owned(),
        });
        (run.ns, run.count) = (at.0, run.count + 1);
        self.denials.truncate(web::DENIALS - 1);
        self.denials.push_front(run);
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

#[cfg(test)]
mod tests {
    use tickerml_shared::event::GapReason;
    use tickerml_shared::instrument::Venue;

    use super::*;

    #[test]
    fn denials_of_one_kind_are_one_run() {
        let bitcoin = Instrument::unknown(Venue::Kraken, "BTC/USD").expect("short");
        let ether = Instrument::unknown(Venue::Kraken, "ETH/USD").expect("short");
        let mut recent = Recent::default();
        for second in 1..=3 {
            recent.denied(Time(second), &bitcoin, Denial::WideSpread);
            recent.denied(Time(second), &ether, Denial::WideSpread);
        }
        recent.denied(Time(4), &bitcoin, Denial::ThinBook);
        recent.denied(Time(5), &bitcoin, Denial::WideSpread);
        let runs = recent.denials.iter();
        let runs: Vec<_> = runs
            .map(|run| (run.instrument.as_str(), run.count, run.since_ns, run.ns))
            .collect();
        assert_eq!(
            runs,
            [
                ("BTC/USD", 1, 5, 5),
                ("BTC/USD", 1, 4, 4),
                ("ETH/USD", 3, 1, 3),
                ("BTC/USD", 3, 1, 3),
            ],
            "another denial of the instrument ends a run, another instrument does not"
        );
        assert_eq!(recent.denied["R07-wide-spread"], 7);
        for second in 6..500 {
            let denial = [Denial::WideSpread, Denial::ThinBook][usize::from(second % 2 == 0)];
            recent.denied(Time(second), &bitcoin, denial);
        }
        assert_eq!(recent.denials.len(), web::DENIALS, "bounded");
    }

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
