//! How large a position should be, before the caps of the portfolio.

use serde::{Deserialize, Serialize};

use super::limits::{Limits, Method};
use crate::action::{Action, PPM};
use crate::num::{BPS, Cash, saturate};

/// Trades after which the record is halved, so that old ones lose their weight.
const RECORD_TRADES: i64 = 1_000;
/// The size factor below `confidence_half_ppm`.
const HALF: i64 = PPM / 2;
/// The size factor above `confidence_high_ppm`.
const RAISED: i64 = PPM + PPM / 2;

/// How the size of a position came about, for the page. Factors are in parts per million.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sizing {
    /// How the base was found.
    pub method: Method,
    /// Value before scaling.
    pub base: Cash,
    /// Strength of the signal.
    pub strength: i64,
    /// Factor for the volatility regime.
    pub volatility: i64,
    /// Factor for correlation with what is held.
    pub correlation: i64,
    /// Factor for the policy's confidence.
    pub confidence: i64,
    /// Value that the position should have, within the cap of one position.
    pub target: Cash,
}

/// What is measured of an instrument when it is sized.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// Average true range, of the price, in basis points; `None` while it is not known.
    pub atr_bps: Option<i64>,
    /// Volatility of a day in basis points; `None` while it is not known.
    pub volatility_bps: Option<i64>,
    /// Largest magnitude of correlation with another held position, in parts per million.
    pub correlation_ppm: i64,
}

/// Closed trades so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    wins: i64,
    losses: i64,
    won: Cash,
    lost: Cash,
    /// Losses since the last win.
    pub streak: i64,
}

impl Record {
    /// Adds a closed trade with its profit after fees; one without profit or loss counts as neither.
    pub fn add(&mut self, realised: Cash) {
        if realised.0 > 0 {
            self.wins += 1;
            self.won += realised;
            self.streak = 0;
        } else if realised.0 < 0 {
            self.losses += 1;
            self.lost = self.lost - realised;
            self.streak += 1;
        }
        if self.trades() > RECORD_TRADES {
            self.wins /= 2;
            self.losses /= 2;
            self.won.0 /= 2;
            self.lost.0 /= 2;
        }
    }

    /// Trades that count.
    #[must_use]
    pub const fn trades(&self) -> i64 {
        self.wins + self.losses
    }

    /// Kelly's share `p - (1 - p) / b` in parts per million, where `p` is the share of wins and `b`
    /// the mean win over the mean loss (Kelly 1956): with sums it is
    /// `wins * (won - lost) / (won * trades)`.
    #[must_use]
    pub fn kelly_ppm(&self) -> i64 {
        if self.won.0 <= 0 {
            return 0;
        }
        let edge = i128::from(self.won.0) - i128::from(self.lost.0);
        let whole = i128::from(self.won.0) * i128::from(self.trades());
        saturate(edge * i128::from(self.wins) * i128::from(PPM) / whole)
    }
}

fn ppm(value: i128, factor: i64) -> i128 {
    value.saturating_mul(i128::from(factor)) / i128::from(PPM)
}

/// Volatility regimes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Regime {
    /// Below `volatility_medium_bps`.
    Low,
    /// Below `volatility_high_bps`.
    Medium,
    /// Below `volatility_extreme_bps`.
    High,
    /// At or above it.
    Extreme,
}

impl Regime {
    /// The regime of a daily volatility; while that is not known, [`Regime::High`].
    #[must_use]
    pub fn of(volatility_bps: Option<i64>, limits: &Limits) -> Self {
        match volatility_bps {
            None => Self::High,
            Some(v) if v < limits.volatility_medium_bps => Self::Low,
            Some(v) if v < limits.volatility_high_bps => Self::Medium,
            Some(v) if v < limits.volatility_extreme_bps => Self::High,
            Some(_) => Self::Extreme,
        }
    }

    /// Its size factor in parts per million.
    #[must_use]
    pub const fn factor(self, limits: &Limits) -> i64 {
        match self {
            Self::Low => limits.factor_low_ppm,
            Self::Medium => limits.factor_medium_ppm,
            Self::High => limits.factor_high_ppm,
            Self::Extreme => limits.factor_extreme_ppm,
        }
    }
}

/// The value before scaling; zero when there is no edge.
fn base(limits: &Limits, equity: Cash, action: &Action, is: &Measured, record: &Record) -> i128 {
    let equity = i128::from(equity.0.max(0));
    let fixed = equity * i128::from(limits.base_size_bps) / i128::from(BPS);
    let kelly = |share_ppm: i128| {
        let fraction =
            share_ppm.clamp(0, i128::from(1_000 * PPM)) * i128::from(limits.kelly_fraction_ppm);
        equity.saturating_mul(fraction) / (i128::from(PPM) * i128::from(PPM))
    };
    match limits.method {
        Method::Fixed => fixed,
        Method::Atr => {
            let atr = is.atr_bps.unwrap_or(limits.stop_loss_bps);
            let stop = i128::from(atr.max(1)) * i128::from(limits.atr_multiple_bps);
            // Both in basis points: (risk / 10^4) / (atr / 10^4 * multiple / 10^4).
            equity * i128::from(limits.risk_per_trade_bps) * i128::from(BPS) / stop.max(1)
        }
        Method::KellyRecord if record.trades() < limits.kelly_min_trades => fixed,
        Method::KellyRecord => kelly(i128::from(record.kelly_ppm())),
        Method::KellyValue => is.volatility_bps.map_or(fixed, |daily| {
            // edge / variance, with the daily variance (bps squared) taken to the horizon.
            let variance =
                i128::from(daily) * i128::from(daily) * i128::from(limits.kelly_horizon_s);
            let edge = i128::from(action.value) * i128::from(BPS) * i128::from(BPS) * 86_400;
            kelly(edge / variance.max(1))
        }),
    }
}

/// How large the position should be; `None` when Kelly's bet is nothing.
#[must_use]
pub fn size(
    limits: &Limits,
    equity: Cash,
    action: &Action,
    is: &Measured,
    record: &Record,
) -> Option<Sizing> {
    let cap = i128::from(equity.0.max(0)) * i128::from(limits.position_cap_bps) / i128::from(BPS);
    let base = base(limits, equity, action, is, record).min(cap);
    let kelly = matches!(limits.method, Method::KellyRecord | Method::KellyValue);
    if kelly && base <= 0 {
        return None;
    }
    let strength = i64::from(action.size).min(PPM);
    let volatility = Regime::of(is.volatility_bps, limits).factor(limits);
    let cut = ppm(
        i128::from(limits.correlation_cut_ppm),
        is.correlation_ppm.clamp(0, PPM),
    );
    let correlation = PPM - saturate(cut);
    let sure = i64::from(action.confidence());
    let confidence = if sure < limits.confidence_half_ppm {
        HALF
    } else if sure > limits.confidence_high_ppm {
        RAISED
    } else {
        PPM
    };
    let scaled = [strength, volatility, correlation, confidence]
        .into_iter()
        .fold(base, ppm);
    Some(Sizing {
        method: limits.method,
        base: Cash(saturate(base)),
        strength,
        volatility,
        correlation,
        confidence,
        target: Cash(saturate(scaled.min(cap))),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::action::Choice;

    fn action(confidence: u32, size: u32, value: i32) -> Action {
        Action {
            choice: Choice::Buy,
            probabilities: [1_000_000 - confidence, 0, confidence],
            size,
            risk: 0,
            value,
        }
    }

    const EQUITY: Cash = Cash(10_000 * Cash::ONE.0);

    fn target(limits: &Limits, action: &Action, is: &Measured, record: &Record) -> Option<i64> {
        size(limits, EQUITY, action, is, record).map(|sizing| sizing.target.0 / Cash::ONE.0)
    }

    fn calm() -> Measured {
        Measured {
            volatility_bps: Some(200),
            ..Measured::default()
        }
    }

    #[test]
    fn the_fixed_size_is_scaled_by_every_factor() {
        let (limits, none) = (Limits::shipped(), Record::default());
        let of = |confidence, size, is: Measured| {
            target(&limits, &action(confidence, size, 0), &is, &none)
        };
        assert_eq!(of(800_000, 1_000_000, calm()), Some(200));
        assert_eq!(of(800_000, 500_000, calm()), Some(100));
        assert_eq!(of(649_999, 1_000_000, calm()), Some(100));
        assert_eq!(of(650_000, 1_000_000, calm()), Some(200));
        assert_eq!(of(850_000, 1_000_000, calm()), Some(200));
        assert_eq!(of(850_001, 1_000_000, calm()), Some(300));
        for (volatility, expected) in [
            (Some(99), 240),
            (Some(100), 200),
            (Some(299), 200),
            (Some(300), 120),
            (Some(500), 60),
            (None, 120),
        ] {
            let is = Measured {
                volatility_bps: volatility,
                ..Measured::default()
            };
            assert_eq!(of(800_000, 1_000_000, is), Some(expected), "{volatility:?}");
        }
        for (correlation_ppm, expected) in [(0, 200), (500_000, 150), (1_000_000, 100)] {
            let is = Measured {
                correlation_ppm,
                ..calm()
            };
            assert_eq!(of(800_000, 1_000_000, is), Some(expected));
        }
    }

    #[test]
    fn the_range_sets_the_size_of_an_atr_bet() {
        let limits = Limits {
            method: Method::Atr,
            ..Limits::shipped()
        };
        let is = Measured {
            atr_bps: Some(125),
            ..calm()
        };
        // 0.5 % of 10,000 is 50; a stop of two ranges is 2.5 %: 50 / 0.025 = 2,000.
        let got = target(
            &limits,
            &action(800_000, 1_000_000, 0),
            &is,
            &Record::default(),
        );
        assert_eq!(got, Some(2_000));
        let narrow = Measured {
            atr_bps: Some(1),
            ..calm()
        };
        let got = target(
            &limits,
            &action(800_000, 1_000_000, 0),
            &narrow,
            &Record::default(),
        );
        assert_eq!(got, Some(2_500), "the cap of one position");
    }

    #[test]
    fn kelly_bets_by_record_and_by_value() {
        let mut limits = Limits {
            method: Method::KellyRecord,
            kelly_min_trades: 10,
            ..Limits::shipped()
        };
        let sure = action(800_000, 1_000_000, 400);
        let mut record = Record::default();
        assert_eq!(
            target(&limits, &sure, &calm(), &record),
            Some(200),
            "no record yet"
        );
        for _ in 0..6 {
            record.add(Cash(300));
        }
        for _ in 0..4 {
            record.add(Cash(-150));
        }
        // p = 0.6 and b = 2: 0.6 - 0.4 / 2 = 0.4, a quarter of it is 10 %.
        assert_eq!((record.kelly_ppm(), record.streak), (400_000, 4));
        assert_eq!(target(&limits, &sure, &calm(), &record), Some(1_000));
        for _ in 0..20 {
            record.add(Cash(-150));
        }
        assert_eq!(target(&limits, &sure, &calm(), &record), None, "no edge");

        limits.method = Method::KellyValue;
        // Daily volatility 2 %: variance of a minute 0.0004 / 1440 = 2.78e-7; an expected 1e-7 gives
        // 0.36, a quarter of it 9 %.
        limits.kelly_horizon_s = 60;
        let tiny = |value| action(800_000, 1_000_000, value);
        assert_eq!(target(&limits, &tiny(0), &calm(), &record), None);
        assert_eq!(target(&limits, &tiny(-5), &calm(), &record), None);
        assert_eq!(target(&limits, &tiny(1), &calm(), &record), Some(2_500));
        limits.kelly_horizon_s = 3_600;
        // 1e-6 over 0.0004 / 24 = 0.06; a quarter is 1.5 %.
        assert_eq!(target(&limits, &tiny(1), &calm(), &record), Some(150));
    }
}
