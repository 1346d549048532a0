//! What holding each perpetual costs in funding, and when to act.
//!
//! [`Status`] tells the page everything at a moment; [`Watch`] remembers only how alarming each rate was
//! found, so that an [`Alert`] comes when that changes. The levels are the limits of the risk gate
//! (`funding_warn_bps`, `funding_block_bps`): at the second one it refuses new risk by itself. A rate
//! is positive when longs pay shorts. Contracts other than [`Kind::Perpetual`] have no funding here, as
//! in [`crate::paper::funding`].

use alloc::vec::Vec;

use serde::{Deserialize, Serialize};

use crate::event::{Funding, RATE_SCALE};
use crate::instrument::{InstrumentId, Kind};
use crate::num::{BPS, Cash, Price, Qty};
use crate::paper::funding::Schedule;
use crate::risk::limits::Limits;
use crate::time::Time;

/// A rate of an interval below this is not worth waiting for: the least funding that the venues charge
/// in a balanced market is one basis point.
pub const NEGLIGIBLE_BPS: i64 = 2;

/// The size of a rate (a fraction in units of `10^-12`) in basis points, of either sign, rounded up.
#[must_use]
pub fn size_bps(rate: i64) -> i64 {
    const PER_BPS: u64 = 10_u64.pow(RATE_SCALE as u32) / BPS.unsigned_abs();
    rate.unsigned_abs().div_ceil(PER_BPS).cast_signed()
}

/// How alarming a rate is.
#[derive(
    Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
pub enum Level {
    /// It is not.
    #[default]
    Calm,
    /// It reached `funding_warn_bps`.
    Warning,
    /// It reached `funding_block_bps`: no new risk is taken.
    Blocking,
}

impl Level {
    /// Of a rate in units of `10^-12`.
    #[must_use]
    pub fn of(rate: i64, limits: &Limits) -> Self {
        let bps = size_bps(rate);
        if bps >= limits.funding_block_bps {
            Self::Blocking
        } else if bps >= limits.funding_warn_bps {
            Self::Warning
        } else {
            Self::Calm
        }
    }

    /// Its name in reports.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Warning => "warning",
            Self::Blocking => "blocking",
        }
    }
}

/// A rate became more, or less, alarming.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Alert {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// How alarming it was.
    pub before: Level,
    /// How alarming it is.
    pub level: Level,
    /// The rate of the current interval in units of `10^-12`.
    pub rate: i64,
    /// When it settles.
    pub settles: Time,
}

/// How alarming each instrument's rate was found.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Watch {
    levels: Vec<Level>,
}

impl Watch {
    /// Nothing found yet for so many instruments.
    #[must_use]
    pub fn new(instruments: usize) -> Self {
        Self {
            levels: alloc::vec![Level::Calm; instruments],
        }
    }

    /// Takes an announcement for a perpetual; tells when its level changes. One without a rate says
    /// nothing.
    pub fn update(
        &mut self,
        instrument: InstrumentId,
        funding: &Funding,
        limits: &Limits,
    ) -> Option<Alert> {
        let rate = funding.rate?;
        let level = Level::of(rate, limits);
        let known = self.levels.get_mut(instrument.index())?;
        let before = core::mem::replace(known, level);
        (before != level).then_some(Alert {
            instrument,
            before,
            level,
            rate,
            settles: funding.settles,
        })
    }

    /// How alarming an instrument's rate is.
    #[must_use]
    pub fn level(&self, instrument: InstrumentId) -> Level {
        self.levels
            .get(instrument.index())
            .copied()
            .unwrap_or_default()
    }
}

/// When to act, as far as funding is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Timing {
    /// It makes no difference: the rate is not known, settled, or below [`NEGLIGIBLE_BPS`].
    Anytime,
    /// Before this settlement.
    Before(Time),
    /// After this settlement.
    After(Time),
}

/// When a side should enter and exit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Advice {
    /// Enter.
    pub enter: Timing,
    /// Exit.
    pub exit: Timing,
}

impl Advice {
    /// Who holds at the settlement pays or receives for the whole interval. So the side that pays enters
    /// after it and exits before it, and the side that receives enters before it and exits after it.
    #[must_use]
    pub fn of(pays: bool, settles: Time) -> Self {
        if pays {
            Self {
                enter: Timing::After(settles),
                exit: Timing::Before(settles),
            }
        } else {
            Self {
                enter: Timing::Before(settles),
                exit: Timing::After(settles),
            }
        }
    }

    const INDIFFERENT: Self = Self {
        enter: Timing::Anytime,
        exit: Timing::Anytime,
    };
}

/// What is held of a perpetual.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holding {
    /// How much; negative when short.
    pub qty: Qty,
    /// Since when, and the funding received since (negative: paid); `None` when nothing is held.
    pub funded: Option<(Time, Cash)>,
}

/// Funding of one perpetual at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Of which instrument.
    pub instrument: InstrumentId,
    /// The rate of the current interval in units of `10^-12`.
    pub rate: Option<i64>,
    /// The rate predicted for the next interval, same unit.
    pub predicted: Option<i64>,
    /// Mark price; zero when none was stated.
    pub mark: Price,
    /// Index price; zero when none was stated.
    pub index: Price,
    /// When the current interval settles; `None` when that is not known or over.
    pub settles: Option<Time>,
    /// The real length of an interval in seconds, stated or witnessed.
    pub interval_s: Option<u32>,
    /// What is held.
    pub holding: Holding,
    /// What what is held would receive (negative: pay) over the holding time that was asked about;
    /// `None` when it cannot be told ([`Schedule::predicted`]).
    pub expected: Option<Cash>,
    /// How alarming the rate is.
    pub level: Level,
    /// When a long should act.
    pub long: Advice,
    /// When a short should act.
    pub short: Advice,
}

impl Status {
    /// Of a perpetual at `at`, held for `holding_ns` more; `None` for another kind of instrument, or
    /// before its venue announced anything.
    #[must_use]
    pub fn of(
        (instrument, kind): (InstrumentId, Kind),
        funding: Option<&Funding>,
        schedule: &Schedule,
        holding: Holding,
        level: Level,
        (at, holding_ns): (Time, u64),
    ) -> Option<Self> {
        let funding = funding.filter(|_| kind == Kind::Perpetual)?;
        let settles = schedule.settles().filter(|settles| *settles > at);
        let worth = |rate: &i64| size_bps(*rate) >= NEGLIGIBLE_BPS;
        let (long, short) = match (funding.rate.filter(worth), settles) {
            (Some(rate), Some(settles)) => {
                (Advice::of(rate > 0, settles), Advice::of(rate < 0, settles))
            }
            _ => (Advice::INDIFFERENT, Advice::INDIFFERENT),
        };
        Some(Self {
            instrument,
            rate: funding.rate,
            predicted: funding.predicted,
            mark: funding.mark,
            index: funding.index,
            settles,
            interval_s: schedule.interval_s(),
            holding,
            expected: schedule.predicted(at, holding.qty, holding_ns),
            level,
            long,
            short,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::instrument::{Instrument, Venue};
    use crate::time::{MINUTES, SECONDS};

    const HOUR: u64 = 60 * MINUTES;
    const START: Time = Time(1_000_000 * HOUR);
    /// A basis point as a rate.
    const BP: i64 = 100_000_000;

    fn perpetual() -> Instrument {
        Instrument {
            kind: Kind::Perpetual,
            price_scale: 2,
            qty_scale: 3,
            ..Instrument::unknown(Venue::BinanceUsdm, "BTCUSDT").expect("short")
        }
    }

    fn funding(rate: i64) -> Funding {
        Funding {
            mark: Price(1_000_000),
            index: Price(1_000_000),
            rate: Some(rate),
            predicted: Some(rate / 2),
            settles: START.plus(8 * HOUR),
            interval_s: 28_800,
        }
    }

    #[test]
    fn an_alert_comes_when_a_level_changes_and_only_then() {
        let mut watch = Watch::new(2);
        let limits = Limits::shipped();
        let id = InstrumentId(1);
        let mut told = Vec::new();
        for bps in [10, 49, 50, 60, -99, -100, 300, 20, 0] {
            let alert = watch.update(id, &funding(bps * BP), &limits);
            told.extend(alert.map(|alert| (bps, alert.before, alert.level)));
            assert_eq!(watch.level(InstrumentId(0)), Level::Calm);
        }
        let want = [
            (50, Level::Calm, Level::Warning),
            (-100, Level::Warning, Level::Blocking),
            (20, Level::Blocking, Level::Calm),
        ];
        assert_eq!(told, want, "0.5 % warns, 1 % blocks");
        let silent = Funding {
            rate: None,
            ..funding(0)
        };
        assert_eq!(watch.update(id, &silent, &limits), None);
        assert_eq!(
            watch.update(InstrumentId(9), &funding(99 * BP), &limits),
            None
        );
    }

    #[test]
    fn a_status_tells_cost_and_time() {
        let (id, instrument) = (InstrumentId(0), perpetual());
        let mut schedule = Schedule::new(id, &instrument);
        let announced = funding(10 * BP);
        schedule.update(&announced, START);
        let holding = Holding {
            qty: Qty(2_000),
            funded: Some((START, Cash(-5 * Cash::ONE.0))),
        };
        let status = |holding_ns, at| {
            let (about, when) = ((id, Kind::Perpetual), (at, holding_ns));
            Status::of(
                about,
                Some(&announced),
                &schedule,
                holding,
                Level::Calm,
                when,
            )
            .expect("announced")
        };
        let settles = START.plus(8 * HOUR);
        let now = status(HOUR, START.plus(SECONDS));
        assert_eq!(
            now.expected,
            Some(Cash::ZERO),
            "no settlement within an hour"
        );
        assert_eq!((now.settles, now.interval_s), (Some(settles), Some(28_800)));
        assert_eq!(now.long.enter, Timing::After(settles));
        assert_eq!(now.long.exit, Timing::Before(settles));
        assert_eq!(now.short.enter, Timing::Before(settles));
        assert_eq!(now.short.exit, Timing::After(settles));
        // 2 BTC at 10 000 are 20 000: 20 at ten basis points, then twice 10 at five.
        let day = status(24 * HOUR, START.plus(SECONDS));
        assert_eq!(day.expected, Some(Cash(-40 * Cash::ONE.0)));
        let late = status(HOUR, settles);
        assert_eq!((late.settles, late.long), (None, Advice::INDIFFERENT));
        assert_eq!(late.expected, None);
    }

    #[test]
    fn small_rates_and_other_kinds_are_left_alone() {
        let (id, instrument) = (InstrumentId(0), perpetual());
        let mut schedule = Schedule::new(id, &instrument);
        let announced = funding(-BP);
        schedule.update(&announced, START);
        let status = |kind| {
            let (about, when) = ((id, kind), (START, HOUR));
            let holding = Holding::default();
            Status::of(
                about,
                Some(&announced),
                &schedule,
                holding,
                Level::Calm,
                when,
            )
        };
        assert_eq!(status(Kind::Spot), None);
        let small = status(Kind::Perpetual).expect("announced");
        assert_eq!(small.long, Advice::INDIFFERENT);
        assert_eq!(small.short, Advice::INDIFFERENT);
    }
}
